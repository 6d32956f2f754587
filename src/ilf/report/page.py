"""Rendering a `Document` as one self-contained HTML file.

Nothing is fetched: style, script, figures and data are in the file, and a content security policy forbids the
rest. Texts of models and people are escaped by the template, or travel as packed JSON that the script writes
into the page as text.
"""

from __future__ import annotations

import base64
import gzip
import json
from dataclasses import asdict
from datetime import UTC, datetime
from importlib import resources
from typing import Any

import jinja2
from markupsafe import Markup, escape

import ilf
from ilf.metrics import Estimate
from ilf.report.content import Cell, Column, Document, Item, Table, interval, number, text

LIMIT = 15_000_000
"""Bytes that the packed items may take: the whole file then stays under 20 MB."""
_LONGEST = 20_000
"""Characters of a program or a detail that the explorer shows."""


def render(document: Document, limit: int = LIMIT) -> str:
    """The page as text."""
    from ilf.report import figures

    data, left_out = pack(document.items, limit) if document.items else ("", "")
    environment = jinja2.Environment(autoescape=True, trim_blocks=False, undefined=jinja2.StrictUndefined)
    return environment.from_string(_static("page.html.j2")).render(
        document=document,
        style=Markup(_static("style.css")),
        script=Markup(_static("explorer.js")),
        data=Markup(data),
        left_out=left_out,
        version=ilf.__version__,
        written=datetime.now(UTC).strftime("%Y-%m-%d"),
        scales={table.name: _scale(table) for table in document.tables},
        cell=_cell,
        svg=lambda figure: Markup(figures.svg(figure)),
    )


def pack(items: list[Item], limit: int = LIMIT) -> tuple[str, str]:
    """The items as base64 of gzipped JSON, and a sentence on what was left out to keep within `limit` bytes.

    Long texts are cut first of all; where that is not enough, seeds but the first are left out, then tasks on
    which nothing happened lose their models' programs, then all tasks do.
    """
    rows: list[Any] = [_shortened(asdict(item)) for item in items]
    packed = _packed(rows)
    if len(packed) <= limit:
        return packed, ""
    first = [item for item in items if item.seed == items[0].seed]
    if len(first) < len(items):
        packed, told = pack(first, limit)
        return packed, f"To keep this file small, the other seeds are left out. {told}".strip()
    dull = [row for row in rows if row["state"] in ("unchanged", "")]
    for row in dull:
        row["samples"] = []
    packed = _packed(rows)
    if len(packed) <= limit:
        return (
            packed,
            f"To keep this file small, {len(dull):,} unchanged tasks show no programs of the models.",
        )
    for row in rows:
        row["samples"] = []
    packed = _packed(rows)
    if len(packed) <= limit:
        return packed, "To keep this file small, the models' programs are left out; the run folder has them."
    kept = rows
    while len(packed) > limit and kept:
        kept = kept[: int(len(kept) * limit / len(packed) * 0.95)]
        packed = _packed(kept)
    return packed, f"To keep this file small, only the first {len(kept):,} tasks are shown."


def _packed(rows: list[Any]) -> str:
    # A lone surrogate (models write them) has no UTF-8: JSON's ASCII form carries it.
    return base64.b64encode(gzip.compress(json.dumps(rows).encode(), 6, mtime=0)).decode()


def _shortened(value: object) -> object:
    if isinstance(value, str) and len(value) > _LONGEST:
        return value[:_LONGEST] + f"\n… ({len(value) - _LONGEST:,} more characters)"
    if isinstance(value, dict):
        return {key: _shortened(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_shortened(inner) for inner in value]
    return value


def _static(name: str) -> str:
    return resources.files("ilf.report").joinpath("static", name).read_text(encoding="utf-8")


def _scale(table: Table) -> float:
    """What a full bar stands for: the largest upper end among the table's bars."""
    ends = [
        cell.high if isinstance(cell, Estimate) else float(cell)
        for row in table.rows
        for cell, column in zip(row, table.columns, strict=True)
        if column.bar and isinstance(cell, Estimate | float | int)
    ]
    return max([0.01, *ends])


def _cell(cell: Cell, column: Column, first: bool, scale: float) -> Markup:
    tag = "th" if first else "td"
    start = Markup(f"<{tag}{' scope=row' if first else ''}{' class=n' if column.kind != 'text' else ''}>")
    end = Markup(f"</{tag}>")
    if not isinstance(cell, Estimate):
        return start + escape(text(cell, column)) + end
    value = escape(number(cell.value, column.kind, column.digits))
    span = Markup('<span class="i">{}</span>').format(interval(cell, column.kind, column.digits))
    if not column.bar:
        return start + value + span + end
    left, width = 100 * cell.low / scale, 100 * (cell.high - cell.low) / scale
    bar = Markup(
        '<span class="bar"><i style="width:{:.1f}%"></i><b style="left:{:.1f}%;width:{:.1f}%"></b></span>'
    )
    return start + value + span + bar.format(100 * cell.value / scale, left, width) + end
