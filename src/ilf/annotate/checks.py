"""Gentle checks of feedback while it is written: a warning, not a wall; each is recorded with the answer."""

from __future__ import annotations

import ast
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass

from ilf import notes
from ilf.feedback.tagger import MEANINGS
from ilf.metrics import edit_distance
from ilf.records import Task

FEW_WORDS = 6
MOST_TEXT = 20_000
"""Characters of feedback that can be submitted; longer text stays a draft."""
MOST_CODE = 100_000
"""Characters of a refinement that can be submitted."""
_COMPARED = 20_000

CATEGORIES = tuple(MEANINGS)
"""Kinds of bug that feedback addresses: the paper's Table 5 without its verdicts on useless feedback."""


@dataclass(frozen=True)
class Hint:
    """One thing worth a second look."""

    code: str
    text: str


HINTS = {
    "empty": "There is no feedback yet.",
    "too short": f"Fewer than {FEW_WORDS} words: say what is wrong and how to fix it.",
    "says correct": "This says that the code is correct, but its tests fail. Are the tests wrong? Say so.",
    "pasted code": "This is mostly code. Write words: what is wrong, where, and what to do instead.",
    "whole solution": "This gives the whole solution away as code. Describe the change instead.",
    "hard-coded tests": "The refinement has the tests' values in it: it should solve the task itself.",
    "no such line": "A note is about a line that this program does not have.",
    "same text": "The same text was already written for another task.",
    "refinement fails": "The refinement does not pass the tests.",
    "refinement too far": "The refinement changes half of the program or more: make smaller edits.",
    "refinement unchanged": "The refinement is the wrong program, unchanged.",
}
"""What each code says to the person writing."""


def text_hash(text: str) -> str:
    """Equal for texts that differ in case, spacing and punctuation only."""
    return hashlib.sha256(" ".join(re.findall(r"\w+", text.casefold())).encode()).hexdigest()[:32]


_SAYS_CORRECT = re.compile(
    r"\b(the\s+)?(code|program|function|solution|it|implementation)\s+(is|looks|seems|works)\s+"
    r"(already\s+|totally\s+|completely\s+|perfectly\s+)?(correct|right|fine|good|ok|okay|perfectly)\b(?!\s+(but|except|if|when|only))"
    r"|\bno\s+(bugs?|errors?|mistakes?|changes?\s+(are\s+)?needed|feedback\s+(is\s+)?needed)\b"
    r"|\bnothing\s+(is\s+)?(wrong|to\s+(fix|change))\b",
    re.IGNORECASE,
)
_NEGATED = re.compile(r"\b(but|however|except|instead|should|must|not)\b", re.IGNORECASE)
_CODE_LINE = re.compile(
    r"^\s*(def |class |return\b|import |from \w+ import|for .+ in .+:|while .+:|if .+:|elif .+:|else:"
    r"|try:|except\b.*:"
    r"|with .+:|@\w|#|[\w.\[\]]+\s*(=|\+=|-=|\*=|/=)\s*\S|\w[\w.]*\(.*\)\s*$|[)\]}]+\s*$)"
)


def _words(text: str) -> list[str]:
    return re.findall(r"[^\W_]+", text)


def _squeeze(code: str) -> str:
    """Code without comments, blank lines and spacing."""
    lines = (re.sub(r"#.*", "", line).strip() for line in code.splitlines())
    return "\n".join(re.sub(r"\s+", "", line) for line in lines if line)


def _body(code: str, prefix: str) -> list[str]:
    """Lines of a program that are not its prefix, squeezed."""
    given = set(_squeeze(prefix).split("\n"))
    return [line for line in _squeeze(code).split("\n") if line and line not in given]


def _literals(code: str) -> set[str]:
    """Telling constants of Python source (numbers beyond -2…10, texts and containers of some length)."""
    try:
        tree = ast.parse(code)
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return set()
    return set(_telling(tree))


def _telling(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant):
            value = node.value
            if isinstance(value, bool) or value is None:
                continue
            if (isinstance(value, (int, float)) and not -2 <= value <= 10) or (
                isinstance(value, (str, bytes)) and len(value) >= 4
            ):
                yield repr(value)
        elif isinstance(node, (ast.List, ast.Tuple, ast.Set, ast.Dict)):
            flat = all(
                isinstance(part, (ast.Constant, ast.expr_context)) for part in ast.iter_child_nodes(node)
            )
            if flat and len(ast.unparse(node)) >= 9:
                yield ast.unparse(node)


def hard_codes(refinement: str, wrong: str, task: Task) -> bool:
    """Does a refinement hold constants of the tests that neither the wrong program nor the task has?"""
    tests = set().union(*(_literals(test) for test in task.tests))
    new = (_literals(refinement) - _literals(wrong) - _literals(task.prefix)) & tests
    told = [value for value in new if value.strip("'\"") not in task.description]
    return bool(told)


def check(
    task: Task,
    wrong: str,
    text: str,
    refinement: str | None = None,
    passes: bool | None = None,
    seen_elsewhere: bool = False,
) -> list[Hint]:
    """The warnings that a piece of feedback earns.

    Args:
        task: what the program should do.
        wrong: the incorrect program.
        text: the feedback.
        refinement: the corrected program, where there is one.
        passes: whether the refinement passes its tests, where that is known.
        seen_elsewhere: the same text was written for another item.
    """
    codes: list[str] = []
    text, words = text[:_COMPARED], _words(text[:_COMPARED])
    if not text.strip():
        codes.append("empty")
    elif len(words) < FEW_WORDS:
        codes.append("too short")
    if any(
        not _NEGATED.search(text[match.end() : match.end() + 200]) for match in _SAYS_CORRECT.finditer(text)
    ):
        codes.append("says correct")
    lines = [line for line in text.splitlines() if line.strip()]
    code_lines = [line for line in lines if _CODE_LINE.match(line)]
    if len(code_lines) >= 2 and len(code_lines) * 2 >= len(lines):
        codes.append("pasted code")
    solution = _body((refinement or task.reference or "")[:MOST_CODE], task.prefix)
    if len(solution) >= 2:
        squeezed = re.sub(r"\s+", "", text)
        given = [line for line in solution if line in squeezed]
        if len(given) >= 0.8 * len(solution):
            codes.append("whole solution")
    if any(note.last > wrong.count("\n") + 1 for note in notes.parse(text)[0]):
        codes.append("no such line")
    if seen_elsewhere and words:
        codes.append("same text")
    if refinement and refinement.strip() and len(refinement) <= MOST_CODE:
        if unchanged(wrong, refinement):
            codes.append("refinement unchanged")
        else:
            if hard_codes(refinement, wrong, task):
                codes.append("hard-coded tests")
            if not close_enough(wrong, refinement):
                codes.append("refinement too far")
        if passes is False:
            codes.append("refinement fails")
    return [Hint(code, HINTS[code]) for code in codes]


def close_enough(wrong: str, refinement: str) -> bool:
    """The paper's filter: Levenshtein(refinement, wrong) < 0.5 · max(len) (§3.1)."""
    far = edits(wrong, refinement)
    return far is not None and far < 0.5 * max(len(wrong), len(refinement))


def unchanged(wrong: str, refinement: str) -> bool:
    """Whether the refinement is the wrong program to the last character: its edit distance is 0."""
    return edits(wrong, refinement) == 0


def edits(wrong: str, refinement: str) -> int | None:
    """The edit distance; None where a text is so long that computing it would hold up everyone else."""
    if max(len(wrong), len(refinement)) > MOST_CODE:
        return None
    return edit_distance(wrong, refinement)
