"""What feedback talks about: kinds of bug (Table 5) and how many of them (Table 6, Figure 5).

The paper's authors read 50 items and labelled them by hand. Where an item carries labels of people, those
count. Elsewhere this rule does: an item has every category one of whose patterns occurs in its text, and
`logic` where none does; it addresses as many bugs as it has sentences (or list entries) that tell what to
change, and at least one. The rule is crude, and a report says where it was used.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence

from ilf.feedback.parts import parts
from ilf.records import Feedback, Refinement
from ilf.study.results import ItemResult

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


def count_bugs(text: str) -> int:
    """How many bugs a feedback text addresses by the rule."""
    return len(parts(text))


def item_results(
    feedback: Sequence[Feedback], refinements: Iterable[Refinement], chosen: frozenset[str] = frozenset()
) -> list[ItemResult]:
    """Each item with its bugs and what became of its refinements.

    Args:
        feedback: the items.
        refinements: samples that follow them, with verdicts.
        chosen: ids of the feedback behind the examples that were trained on.
    """
    n, passed = Counter[str](), Counter[str]()
    for row in refinements:
        if row.verdict is not None and row.verdict.status not in ("sandbox_error", "flaky"):
            n[row.feedback_id] += 1
            passed[row.feedback_id] += row.verdict.passed
    return [
        ItemResult(
            feedback_id=item.feedback_id,
            task_id=item.task_id,
            author=item.author,
            source=item.source,
            seconds=item.seconds,
            words=len(item.text.split()),
            tags=item.tags or categories(item.text),
            tagged=bool(item.tags),
            bugs=item.bugs or count_bugs(item.text),
            counted=item.bugs is not None,
            n=n[item.feedback_id],
            passed=passed[item.feedback_id],
            chosen=item.feedback_id in chosen,
        )
        for item in feedback
    ]
