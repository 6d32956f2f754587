"""Progress of long work: a bar on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from ilf.pace import Pace, Steady


class Progress(Protocol):
    """What a long step reports to."""

    def advance(self, done: int = 0, tokens: int = 0, shared: int = 0) -> None:
        """Say that `done` more units are finished and `tokens` more tokens were computed.

        `shared` of the units are verdicts with isolation shared.
        """
        ...


FIRST = 5.0
"""Seconds after which the first line says how fast it goes, and how long it will take."""


class _Plain:
    """One line after the first seconds, and then one every `every` seconds."""

    def __init__(self, what: str, total: int, start: int, every: float, pace: Pace) -> None:
        self._what, self._total, self._done, self._every, self._pace = what, total, start, every, pace
        self._tokens, self._shared = 0, 0
        self._began = time.monotonic()
        self._next = min(FIRST, every)

    def advance(self, done: int = 0, tokens: int = 0, shared: int = 0) -> None:
        self._done += done
        self._tokens += tokens
        self._shared += shared
        elapsed = time.monotonic() - self._began
        self._pace.heard(elapsed, done, tokens)
        if elapsed >= self._next:
            self._next = elapsed + self._every
            say(self.line(elapsed))

    def line(self, elapsed: float) -> str:
        text = f"  {self._what}: {self._done:,} of {self._total:,}"
        if self._tokens and elapsed > 0:
            text += f", {self._tokens / elapsed:,.0f} tokens/s"
        if self._shared:
            text += f", {self._shared:,} with isolation shared"
        left = self._pace.left(elapsed)
        return text if left is None else f"{text}, about {duration(left)} left"


class _Bar:
    """A rich progress bar."""

    def __init__(self, what: str, total: int, start: int, pace: Pace) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
        from rich.progress import Progress as RichProgress

        self.bar = RichProgress(
            TextColumn("  {task.description}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TextColumn("{task.fields[notes]}"),
            console=Console(stderr=True),
            transient=True,
        )
        self._task = self.bar.add_task(what, total=total, completed=start, notes="")
        self._tokens, self._shared, self._began = 0, 0, time.monotonic()
        self._pace, self._left, self._asked = pace, "", 0.0

    def advance(self, done: int = 0, tokens: int = 0, shared: int = 0) -> None:
        self._tokens += tokens
        self._shared += shared
        elapsed = time.monotonic() - self._began
        self._pace.heard(elapsed, done, tokens)
        if elapsed >= self._asked:  # a second is as often as anybody reads it
            left = self._pace.left(elapsed)
            self._asked, self._left = elapsed + 1, "" if left is None else f"about {duration(left)} left"
        notes = [f"{self._tokens / elapsed:,.0f} tokens/s"] if self._tokens and elapsed > 0 else []
        notes += [f"{self._shared:,} with isolation shared"] if self._shared else []
        notes += [self._left] if self._left else []
        self.bar.update(self._task, advance=done, notes=", ".join(notes))


def duration(seconds: float) -> str:
    """`2 h 05 min`, `3 min 20 s`, `45 s`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return (
        f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s" if minutes else f"{rest} s"
    )


_quiet = False


def be_quiet(wanted: bool = True) -> None:
    """From here on say nothing of what goes on (`ilf --quiet`): results and errors only."""
    global _quiet
    _quiet = wanted


def say(text: str) -> None:
    """One line for the person watching (standard error, so that output can be piped)."""
    if _quiet:
        return
    print(text, file=sys.stderr, flush=True)  # noqa: T201


@contextmanager
def progress(
    what: str, total: int, start: int = 0, every: float = 30.0, pace: Pace | None = None
) -> Iterator[Progress]:
    """Show progress over `total` units, `start` of them done before.

    Args:
        what: a word or two.
        total: units in all.
        start: units that need no work.
        every: seconds between plain lines where standard error is no terminal, or a dumb one.
        pace: says how long it will still take; None takes each unit for as long as any other.
    """
    pace = pace or Steady(total - start)
    # A dumb terminal, as an editor's, can move no cursor.
    if sys.stderr.isatty() and os.environ.get("TERM") not in ("dumb", "unknown") and not _quiet:
        bar = _Bar(what, total, start, pace)
        with bar.bar:
            yield bar
    else:
        yield _Plain(what, total, start, every, pace)
