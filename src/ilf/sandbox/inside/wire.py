"""How a program's process hears the judge, and answers it."""

from __future__ import annotations

import os
from typing import Any

from . import codec

ANSWERS = 3  # file descriptor of the file that takes the answers of calls sent along with the program
LIVE = 4  # file descriptor of the socket on which further calls come, where there are any


ABILITIES = (
    "__call__", "__iter__", "__len__", "__contains__", "__getitem__", "__setitem__", "__delitem__",
    "__enter__", "__exit__", "__aenter__", "__aexit__", "__int__", "__float__", "__index__", "__reversed__",
)  # fmt: skip
"""Methods that an object has or has not: `callable` and abstract base classes ask without calling them."""


def abilities(value: Any) -> int:
    """Which of them an object has, a bit each."""
    found = 0
    for base in reversed(type(value).__mro__):
        own = base.__dict__
        for number, name in enumerate(ABILITIES):
            if name in own:
                found = found & ~(1 << number) | (own[name] is not None) << number
    if hasattr(value, "__class_getitem__"):
        found |= 1 << ABILITIES.index("__getitem__")
    return found


def send(descriptor: int, data: bytes, framed: bool) -> None:
    """An answer: a line of its own, or in a conversation a frame."""
    data = len(data).to_bytes(4, "little") + data if framed else data + b"\n"
    written = os.write(descriptor, data)
    while written < len(data):
        written += os.write(descriptor, memoryview(data)[written:])


def receive() -> Any:
    """The judge's next message."""
    size = int.from_bytes(_exactly(4), "little")
    return codec.loads(_exactly(size))


def _exactly(size: int) -> bytes:
    parts = []
    while size:
        part = os.read(LIVE, min(size, 1 << 20))
        if not part:
            os._exit(0)
        parts.append(part)
        size -= len(part)
    return b"".join(parts)
