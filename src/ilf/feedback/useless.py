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


def useless(text: str, task: Task) -> str | None:
    """Why a text is no feedback on a wrong program, or None where it may be.

    Args:
        text: what a model said about it.
        task: that the program fails.

    Returns:
        `empty`, `code instead of words`, `no feedback needed` (it says that the program is right) or
        `restates the task`.
    """
    return next((kind for kind, rule in _RULES.items() if rule(text, task)), None)


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
