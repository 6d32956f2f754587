"""Containers that a test and its program both have: each side tells the other what it has changed in them.

So a list that a test puts into an object is the one that the object changes, as it would be in one process.
"""

from __future__ import annotations

import collections
import io
from typing import Any

from .boxes import changed, copy, refill
from .plain import CannotCross

KINDS = frozenset(
    {list, dict, set, bytearray, collections.deque, collections.OrderedDict, collections.Counter}
    | {collections.defaultdict, io.StringIO, io.BytesIO}
)
MOST = 2000
"""Containers in common; what comes after them crosses as a copy."""


class Common:
    """One side's view. It gives even numbers (0) or odd ones (1), so that the two never give the same."""

    def __init__(self, first: int) -> None:
        self.next = first
        self.boxes: dict[int, Any] = {}
        self.before: dict[int, Any] = {}
        self.numbers: dict[int, int] = {}

    def add(self, number: int, box: Any) -> None:
        """Both have `box` from now on."""
        self.boxes[number] = box
        self.before[number] = copy(box)
        self.numbers[id(box)] = number

    def encode(self, encoder: Any, box: Any) -> Any:
        """A container's number; with its content where the other side has not seen it."""
        number = self.numbers.get(id(box))
        if number is not None:
            return {"@": number}
        if len(self.boxes) >= MOST:
            return encoder.content(box)
        number = self.next
        self.next += 2
        self.add(number, box)
        return {"=": [number, encoder.content(box)]}

    def decode(self, number: Any, box: Any) -> Any:
        """A container that the other side has told of."""
        if (
            type(number) is not int
            or number % 2 == self.next % 2
            or number in self.boxes
            or type(box) not in KINDS
        ):
            raise CannotCross("an unknown container")
        self.add(number, box)
        return box

    def changes(self, encoder: Any) -> list[Any]:
        """[number, content] of all that was changed here."""
        found = []
        for number, box in list(self.boxes.items()):
            if changed(box, self.before[number]):
                self.before[number] = copy(box)
                found.append([number, encoder.content(box)])
        return found

    def take(self, changes: Any, decoder: Any) -> None:
        """What was changed on the other side."""
        if type(changes) is not list:
            raise CannotCross("changes were expected")
        for number, content in changes:
            box = self.boxes[number]
            refill(box, decoder.decode(content))
            self.before[number] = copy(box)
