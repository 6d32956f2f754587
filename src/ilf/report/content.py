"""What a report is made of: tables, figures, sections and the explorer's items, before any HTML.

A builder (`run`, `compare`, `files`, or the study) fills a `Document`; `page` renders it and `files` of
every table and figure are written beside it by `export`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from ilf.metrics import Estimate

Cell = str | int | float | Estimate | None
Kind = Literal["text", "percent", "points", "number", "p"]


@dataclass(frozen=True)
class Column:
    """A column of a table."""

    name: str
    kind: Kind = "text"
    """How numbers are written: `percent` and `points` multiply by 100, `p` is a p-value."""
    digits: int = 1
    bar: bool = False
    """Draw the number as a bar with its interval (percent columns)."""


@dataclass(frozen=True)
class Table:
    """A table, one cell a column in each row."""

    name: str
    """File name without its ending."""
    title: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    note: str = ""


@dataclass(frozen=True)
class Figure:
    """A drawn figure."""

    name: str
    title: str
    caption: str
    drawing: Any
    """A matplotlib figure."""
    alt: str
    """What it shows, in words."""


@dataclass
class Section:
    """A heading with text, tables and figures."""

    name: str
    """Anchor in the page."""
    title: str
    text: list[str] = field(default_factory=list)
    parts: list[Table | Figure] = field(default_factory=list)


@dataclass
class Sample:
    """A program in the explorer, with its verdict."""

    label: str
    code: str
    status: str | None = None
    detail: str = ""
    passed: int | None = None
    """How many of the n samples pass."""
    n: int | None = None


@dataclass
class Item:
    """One task in the explorer."""

    task_id: str
    description: str = ""
    state: str = ""
    """What the filter chooses by: `fixed`, `broken`, `unchanged`, `refined`, `not refined` …"""
    wrong: Sample | None = None
    feedback: str = ""
    notes: list[tuple[int, int, str]] = field(default_factory=list)
    """What of the feedback is about lines of the wrong program: first, last, words."""
    author: str = ""
    refinement: Sample | None = None
    samples: list[Sample] = field(default_factory=list)
    """What each model writes for the task."""
    seed: str = ""
    """Where an explorer has several seeds, which one the item is of; the first is shown first."""


@dataclass
class Document:
    """A whole report."""

    title: str
    claim: str
    """The result in one sentence with its interval."""
    about: list[str] = field(default_factory=list)
    """A few sentences for a reader who knows nothing of the method."""
    sections: list[Section] = field(default_factory=list)
    items: list[Item] = field(default_factory=list)
    provenance: list[tuple[str, str]] = field(default_factory=list)
    """Settings, versions, seeds, hashes and cost: what, and the value."""
    settings: str = ""
    """The config as TOML."""

    @property
    def tables(self) -> list[Table]:
        """All tables in order."""
        return [part for section in self.sections for part in section.parts if isinstance(part, Table)]

    @property
    def figures(self) -> list[Figure]:
        """All figures in order."""
        return [part for section in self.sections for part in section.parts if isinstance(part, Figure)]


def number(value: float | None, kind: Kind = "number", digits: int = 1) -> str:
    """A number as text, without its interval."""
    if value is None:
        return "–"
    if kind == "percent":
        return f"{100 * value:.{digits}f}%"
    if kind == "points":
        return f"{100 * value:+.{digits}f}"
    if kind == "p":
        return "<\u00a00.001" if value < 0.001 else f"{value:.3f}"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:,.{digits}f}"


def interval(estimate: Estimate, kind: Kind = "number", digits: int = 1) -> str:
    """An interval as text: `[30.2, 42.0]`."""
    scale = 100 if kind in ("percent", "points") else 1
    sign = "+" if kind == "points" else ""
    return f"[{scale * estimate.low:{sign}.{digits}f}, {scale * estimate.high:{sign}.{digits}f}]"


def text(cell: Cell, column: Column) -> str:
    """A cell as plain text, its interval included."""
    if isinstance(cell, str):
        return cell
    if isinstance(cell, Estimate):
        value = number(cell.value, column.kind, column.digits)
        return f"{value} {interval(cell, column.kind, column.digits)}"
    return number(cell, column.kind, column.digits)
