"""Mistakes that the expected and the actual value tell: rules of `ilf.feedback.mistakes`."""

from __future__ import annotations

from collections import Counter
from math import isclose
from typing import Any

from ilf.feedback.case import MISSING, Case


def _values(case: Case) -> tuple[Any, Any] | None:
    if case.expected is MISSING or case.actual is MISSING or case.actual is None:
        return None
    return case.expected, case.actual


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def off_by_one(case: Case) -> str | None:
    """One more or less, or an element too many or too few at an end."""
    if (pair := _values(case)) is None:
        return None
    wanted, got = pair
    if type(wanted) is type(got) is int and abs(wanted - got) == 1:
        more = "more" if got > wanted else "less"
        return f"The result is one {more} than expected, as when a range or a count is off by one."
    if type(wanted) is type(got) and isinstance(wanted, list | tuple | str) and wanted and got:
        if wanted[1:] == got or wanted[:-1] == got:
            place = "first" if wanted[1:] == got else "last"
            return f"The {place} element is missing, as when a range or slice is off by one."
        if wanted in (got[1:], got[:-1]):
            place = "first" if wanted == got[1:] else "last"
            return f"There is one element too many, the {place}, as when a range or slice is off by one."
    return None


def opposite(case: Case) -> str | None:
    """True for False."""
    pair = _values(case)
    if pair is None or not all(isinstance(value, bool) for value in pair) or pair[0] == pair[1]:
        return None
    return (
        "The answer is the opposite of the right one here: check the condition and what each branch returns."
    )


def sign(case: Case) -> str | None:
    """The same number with the other sign."""
    pair = _values(case)
    if pair is None or not all(map(_number, pair)) or pair[0] == 0 or pair[0] != -pair[1]:
        return None
    return "The sign is wrong."


def rounding(case: Case) -> str | None:
    """A number that is near."""
    pair = _values(case)
    if pair is None or not all(map(_number, pair)) or pair[0] == pair[1]:
        return None
    if isinstance(pair[0], int) and isinstance(pair[1], int):
        return None
    near = isclose(*pair, rel_tol=1e-2) or int(pair[0]) == int(pair[1])
    return "The number is near: check the rounding, and / against //." if near else None


def wrong_type(case: Case) -> str | None:
    """A value of another type."""
    if (pair := _values(case)) is None or (_number(pair[0]) and _number(pair[1])):
        return None
    wanted, got = (type(value).__name__ for value in pair)
    if wanted == got or pair[0] is None:
        return None
    return f"The result has the wrong type: {_article(got)}, where {_article(wanted)} is expected."


def _article(name: str) -> str:
    return f"an {name}" if name[0] in "aeiou" else f"a {name}"


def order(case: Case) -> str | None:
    """The same elements otherwise."""
    pair = _values(case)
    if pair is None or type(pair[0]) is not type(pair[1]) or not isinstance(pair[0], list | tuple | str):
        return None
    wanted, got = (Counter(map(repr, value)) for value in pair)
    if pair[0] == pair[1]:
        return None
    if wanted == got:
        return "The elements are right, their order is not."
    if wanted.keys() == got.keys():
        return "The right elements are there, but not as often as expected: check how duplicates are treated."
    return None


def text(case: Case) -> str | None:
    """Texts that differ in case or white space only."""
    pair = _values(case)
    if pair is None or not all(isinstance(value, str) for value in pair) or pair[0] == pair[1]:
        return None
    if pair[0].lower() == pair[1].lower():
        return "Only upper and lower case differ."
    if "".join(pair[0].split()) == "".join(pair[1].split()):
        return "Only white space differs."
    return None


def unchanged(case: Case) -> str | None:
    """An argument handed back."""
    pair = _values(case)
    if pair is None or pair[0] == pair[1] or not case.arguments or isinstance(pair[1], bool):
        return None
    first = case.arguments[0]
    if first is MISSING or type(first) is not type(pair[1]) or first != pair[1]:
        return None
    return "The result is the first argument, unchanged."
