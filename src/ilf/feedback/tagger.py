"""Kinds of bug (the paper's Table 5) by machine: from what people wrote, or from the failure alone.

Two rules, and a model beside them (`model_tagger`). `categories` reads a feedback text: every kind one of
whose patterns occurs in it, `logic` where none does. `of_failure` reads the program and its verdict, before
anybody wrote: the kinds of mistake that they suggest (`ilf.feedback.mistakes`), each under the paper's name.
Both are crude; docs/feedback.md has how far they agree with the tags of those who wrote the feedback.
"""

from __future__ import annotations

import re

from ilf.feedback.case import Case
from ilf.feedback.mistakes import mistakes

PAPER_CATEGORIES: dict[str, tuple[float, float]] = {
    "logic": (0.30, 0.46),
    "formatting": (0.36, 0.14),
    "missing step": (0.10, 0.06),
    "algebra": (0.10, 0.08),
    "recursion": (0.04, 0.14),
    "regex": (0.06, 0.06),
    "function semantics": (0.02, 0.04),
    "dynamic programming": (0.02, 0.0),
    "extra step": (0.0, 0.12),
    "no feedback needed": (0.0, 0.14),
    "unrelated": (0.0, 0.08),
}
"""Category → share of items by people and by InstructGPT in the paper's Table 5."""

MEANINGS = {
    "logic": "the steps are right but the reasoning is not: a wrong condition, order or formula of choice",
    "formatting": "right value, wrong form: type, case, spacing, order, rounding",
    "missing step": "something the task asks for is not done at all",
    "algebra": "arithmetic: a wrong formula, operator or constant",
    "recursion": "a wrong base case or recursive call",
    "regex": "a wrong regular expression",
    "function semantics": "a library function does something else than the program assumes",
    "dynamic programming": "wrong states, order or recurrence of a table",
    "extra step": "something is done that the task does not ask for",
}
"""What the kinds that feedback addresses mean, for people and for models that tag."""

_PATTERNS = {
    "formatting": r"format|round|decimal|\btype\b|as an? (?:string|list|tuple|int|float|set|dict)|tuple|"
    r"print|instead of an? (?:list|string|tuple)|spelling|capital|upper|lower ?case|quotes?\b|output string",
    "missing step": r"\bmiss(?:ing|es)\b|forg[eo]t|needs? to (?:also|first)|also (?:needs?|should|must)\b|"
    r"(?:does|did|do) ?n[o']t (?:handle|check|account|consider|include)|"
    r"\badd(?:ed|ing)? (?:a|an|the) (?:step|line|check|condition)",
    "algebra": r"formula|equation|algebra|arithmetic|coefficient|\bmodul(?:o|us)",
    "recursion": r"recurs",
    "regex": r"\bregex|regular expression|\bre\.",
    "function semantics": r"built-?in|library|does not exist|no attribute|not defined",
    "dynamic programming": r"dynamic program|\bdp\b|memoi",
    "extra step": r"unnecessar|not needed|redundant|\bremove\b|\bextra\b",
    "no feedback needed": r"\b(?:code|program|function) is (?:already )?correct\b|"
    r"no (?:change|feedback) (?:is )?need",
}


def categories(text: str) -> tuple[str, ...]:
    """Categories of Table 5 that a feedback text has by the rule."""
    found = tuple(name for name, pattern in _PATTERNS.items() if re.search(pattern, text, re.IGNORECASE))
    return found or ("logic",)


_KINDS = {
    "missing step": (
        "no code", "function missing", "missing return", "empty input", "division by zero", "unchanged",
        "unused argument",
    ),
    "function semantics": (
        "name not defined", "module missing", "value of an in-place method", "no such method",
        "wrong arguments", "wrong operand type", "bad conversion",
    ),
    "formatting": ("rounding", "wrong type", "case or white space"),
    "algebra": ("sign",),
    "recursion": ("endless recursion",),
    "regex": ("bad pattern",),
}  # fmt: skip
"""Category of the paper → kinds of mistake; all others are `logic`."""
_CATEGORY = {kind: name for name, kinds in _KINDS.items() for kind in kinds}


def of_failure(case: Case) -> tuple[str, ...]:
    """Categories of Table 5 that a failure suggests; `logic` where no rule speaks."""
    found = [_CATEGORY.get(mistake.kind, "logic") for mistake in mistakes(case)]
    return tuple(dict.fromkeys(found)) or ("logic",)
