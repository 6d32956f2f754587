"""Printed text and typed input, where a test has put something of its own in the place of a stream.

`redirect_stdout`, `capsys`, `patch("sys.stdin", …)`, `patch("builtins.input", …)` change the process of the
tests; what the program prints and reads is in another. So the judge says with each message what was changed,
the program does the same for as long as it answers, and what it printed comes back with the answer.
"""

from __future__ import annotations

import builtins
import io
import sys
from collections.abc import Callable
from typing import Any

from . import codec

KEPT = 1 << 18
"""Characters of printed text that go back with one answer."""


class Lent:
    """The judge's side: what the tests have changed since this was made."""

    def __init__(self) -> None:
        self.streams = sys.stdout, sys.stderr, sys.stdin, builtins.input
        self.position: int | None = None
        self.length = 0

    def changed(self, encode: Callable[[Any], Any]) -> dict[str, Any] | None:
        """For the program: which streams to catch, what to read, and whom to ask for input."""
        out, error, typed, ask = self.streams
        caught = [sys.stdout is not out, sys.stderr is not error]
        if not any(caught) and sys.stdin is typed and builtins.input is ask:
            return None
        fields: dict[str, Any] = {"caught": caught}
        self.position = None
        if sys.stdin is not typed and sys.stdin is not None:
            self.position = sys.stdin.tell()
            text = sys.stdin.read()
            self.length = len(text)
            fields["typed"] = text
        if builtins.input is not ask:
            fields["ask"] = encode(builtins.input)
        return fields

    def restore(self) -> None:
        """What tests have left changed, as it was."""
        sys.stdout, sys.stderr, sys.stdin, builtins.input = self.streams

    def take(self, printed: Any) -> None:
        """What came back: printed text, and how much of the input was left."""
        if type(printed) is not list or list(map(type, printed)) != [str, str, int]:
            return
        for number, stream in enumerate((sys.stdout, sys.stderr)):
            if printed[number] and stream is not self.streams[number] and stream is not None:
                stream.write(printed[number])
        if self.position is not None and 0 <= printed[2] <= self.length:
            sys.stdin.seek(self.position + self.length - printed[2])


class Borrowed:
    """The program's side: streams of the tests' for as long as it answers one message."""

    def __init__(self, fields: dict[str, Any], decode: Callable[[Any], Any]) -> None:
        self.before = sys.stdout, sys.stderr, sys.stdin, builtins.input
        self.out, self.error = io.StringIO(), io.StringIO()
        self.typed = io.StringIO(fields.get("typed", ""))
        if fields["caught"][0]:
            sys.stdout = self.out
        if fields["caught"][1]:
            sys.stderr = self.error
        if "typed" in fields:
            sys.stdin = self.typed
        if "ask" in fields:
            builtins.input = decode(fields["ask"])

    def answer(self, line: bytes) -> bytes:
        """An answer with what was printed until then."""
        printed = []
        for stream in (self.out, self.error):
            printed.append(stream.getvalue()[-KEPT:])
            stream.seek(0)
            stream.truncate()
        if sys.__stdout__ is not None:
            sys.__stdout__.write("".join(printed))
        position = self.typed.tell()
        left = len(self.typed.read())
        self.typed.seek(position)
        return b'{"printed":' + codec.dumps([*printed, left]) + b"," + line[1:]

    def give_back(self) -> None:
        """The program's own streams again."""
        sys.stdout, sys.stderr, sys.stdin, builtins.input = self.before
