"""What a prompt ended with, which every reading of a completion goes by."""

from __future__ import annotations

from dataclasses import dataclass

from ilf.records import Task
from ilf.syntax import Hole, normalise


@dataclass(frozen=True)
class Opening:
    """What the prompt ended with, and what is to be continued."""

    prefix: str
    """Ends with the signature's line break, or is a signature's unfinished beginning, such as `def f(`."""
    entry_point: str
    definitions_after: bool
    """Whether functions and classes below the one to be written are kept."""
    hole: Hole | None

    @property
    def top(self) -> str:
        """Name of the top-level definition that is to be completed."""
        return self.hole.top.name if self.hole else self.entry_point

    @property
    def inner(self) -> str:
        """Name of the definition whose body is to be written: `top`, or a method of it."""
        return self.hole.node.name if self.hole else self.entry_point

    @property
    def indent(self) -> str:
        """Indentation of that definition's own line."""
        return self.hole.indent if self.hole else ""

    @property
    def lines(self) -> int:
        """Number of finished lines."""
        return self.prefix.count("\n")


def indent_of(line: str) -> str:
    """The white space that a line begins with."""
    return line[: len(line) - len(line.lstrip(" \t"))]


def opening(task: Task) -> str:
    """The code that every prompt for `task` ends with: its prefix, ending in one line break.

    A task without prefix (its signature is not known) opens with `def NAME(`, or `class NAME` where the name
    is capitalised as a class's.
    """
    if task.prefix.strip():
        return normalise(task.prefix).rstrip() + "\n"
    return f"class {task.entry_point}" if task.entry_point[:1].isupper() else f"def {task.entry_point}("
