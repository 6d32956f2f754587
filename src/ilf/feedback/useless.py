"""Answers of a model that are no feedback, in the paper's words (Table 5): it says that the program is right,
or nothing about it at all."""

from __future__ import annotations

import re
from collections.abc import Callable

from ilf.records import Task
from ilf.syntax import try_parse

_RIGHT = re.compile(
    r"\b(?:code|program|function|solution|implementation|it)(?: \w+){0,2} (?:is|looks|seems)"
    r"(?: (?!not\b)\w+)? (?:correct|right|good|fine)\b"
    r"|no (?:change|feedback|fix)\w* (?:is |are )?need|nothing (?:is )?wrong",
    re.IGNORECASE,
)
_TURN = re.compile(r"\b(?:but|however|except|although|should|must|instead)\b|n['o]t\b|wrong", re.IGNORECASE)
_WORD = re.compile(r"[A-Za-z]{3,}")
RESTATED = 0.8
"""Share of a text's words that the task's description has, from which on it only restates it."""


_NAMED = re.compile(r"[A-Za-z_]\w*|\d+(?:\.\d+)?")
_LONG = re.compile(r"[A-Za-z]{4,}")
_COMMON = frozenset(
    _LONG.findall(
        "after also because been before being code correct could does each element elements every first from "
        "function given have here input into just last like line list lists make more most must need needs "
        "number numbers only other output program python result return returned returns same should some "
        "string strings such task test tests than that their them then there these they this those used uses "
        "using value values very were what when where which will with without would write wrong your"
    )
)
"""Words that are in any text about any program."""
_ANYWHERE = frozenset(
    _NAMED.findall(
        "0 1 2 a and as def elif else for from i if import in is it lambda len None not or print range "
        "return the to True False while with"
    )
)
"""Names and numbers that say nothing about which program is meant."""
KINDS = ("empty", "code instead of words", "no feedback needed", "restates the task", "unrelated")
"""What a text may be that is no feedback; the third and the last are the paper's."""


def useless(text: str, task: Task, code: str | None = None) -> str | None:
    """Why a text is no feedback on a wrong program, or None where it may be.

    Args:
        text: what a model said about it.
        task: that the program fails.
        code: the program; without it nothing is called unrelated.

    Returns:
        One of `KINDS`: `no feedback needed` says that the program is right, `unrelated` has no word of the
        task and no name or number of the program.
    """
    found = next((kind for kind, rule in _RULES.items() if rule(text, task)), None)
    if found is None and code is not None and _is_unrelated(text, task, code):
        return "unrelated"
    return found


def _is_unrelated(text: str, task: Task, code: str) -> bool:
    if (set(_NAMED.findall(code)) - _ANYWHERE) & set(_NAMED.findall(text)):
        return False
    said = _stems(text)
    return bool(said) and not said & _stems(f"{task.description} {task.entry_point} {code}")


def _stems(text: str) -> set[str]:
    """The words that tell one text from another, cut to five letters (`filter`, `filtered`)."""
    words = (word.lower() for word in _LONG.findall(text.replace("_", " ")))
    return {word[:5] for word in words if word not in _COMMON}


def _is_empty(text: str, task: Task) -> bool:
    return not _WORD.search(text)


def _is_code(text: str, task: Task) -> bool:
    prose = re.sub(r"```.*?(?:```|\Z)", "", text, flags=re.DOTALL)
    if prose != text:
        return len(_WORD.findall(prose)) < 3
    tree = try_parse(text.strip())
    return tree is not None and ("\n" in text.strip() or "(" in text or "=" in text)


def _says_right(text: str, task: Task) -> bool:
    return bool(_RIGHT.search(text)) and not _TURN.search(_RIGHT.sub("", text))


def _restates(text: str, task: Task) -> bool:
    said = {word.lower() for word in _WORD.findall(text)}
    asked = {word.lower() for word in _WORD.findall(task.description)}
    return len(said & asked) >= RESTATED * len(said)


_RULES: dict[str, Callable[[str, Task], bool]] = {
    "empty": _is_empty,
    "code instead of words": _is_code,
    "no feedback needed": _says_right,
    "restates the task": _restates,
}
