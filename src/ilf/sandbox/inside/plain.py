"""What every part of the codec asks of data that a program sent."""

from __future__ import annotations

from typing import Any


class CannotCross(Exception):
    """A value that is not plain data."""


def text(body: Any) -> str:
    """Text, or CannotCross."""
    if type(body) is not str:
        raise CannotCross("text was expected")
    return body


def two(body: Any) -> list[Any]:
    """A list of two, or CannotCross."""
    if type(body) is not list or len(body) != 2:
        raise CannotCross("a pair was expected")
    return body
