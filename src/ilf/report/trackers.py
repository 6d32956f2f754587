"""The numbers of a report to experiment trackers: W&B, TensorBoard, trackio.

While a fine-tuning runs, `finetune.report_to` sends each optimiser step (`transformers` does it). This sends
what the report says: every number of every table, intervals included, and the losses as series. W&B and
trackio go where their own settings say (`WANDB_MODE=offline`, `TRACKIO_DIR`, …); TensorBoard's files lie
beside the report.
"""

from __future__ import annotations

import contextlib
import re
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from ilf.errors import MissingDependency, UserError, first_line
from ilf.metrics import Estimate
from ilf.report.content import Cell, Column, Document, Table

_SPELT = {"π": "pi", "θ": "theta", "@": "-at-", "*": "-star", "≥": "at-least-", "+": "-plus"}


class Tracker(Protocol):
    """One report at a tracker."""

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Numbers by name, at a step of their series."""
        ...

    def close(self) -> None:
        """All of it is kept when this returns."""
        ...


def numbers(document: Document) -> dict[str, float]:
    """Every number of a report's tables, as TABLE/ROW/COLUMN; an estimate's interval as /low and /high."""
    found: dict[str, float] = {}
    for table in document.tables:
        for number, row in enumerate(table.rows):
            place = f"{_name(table.name)}/{_row(table, row) or number + 1}"
            for column, cell in zip(table.columns, row, strict=True):
                name = f"{place}/{_name(column.name)}"
                if isinstance(cell, Estimate):
                    found |= {name: cell.value, f"{name}/low": cell.low, f"{name}/high": cell.high}
                elif isinstance(cell, int | float):
                    found[name] = float(cell)
    return found


def _row(table: Table, row: Sequence[Cell]) -> str:
    """What a row is about: its texts, without numbers that were written as text."""
    named: list[tuple[Column, Cell]] = [*zip(table.columns, row, strict=True)]
    return _name(" ".join(cell for column, cell in named if column.kind == "text" and isinstance(cell, str)))


def _name(text: str) -> str:
    """ASCII that every tracker takes."""
    for char, spelt in _SPELT.items():
        text = text.replace(char, spelt)
    return re.sub(r"[^A-Za-z0-9]+", "-", text).strip("-").lower()


def send(
    to: Sequence[str], document: Document, series: Mapping[str, Sequence[float]], *, name: str, beside: Path
) -> list[str]:
    """Send a report.

    Args:
        to: names of trackers.
        document: the report.
        series: name → its values at steps 1, 2, …
        name: of the run there.
        beside: the report's folder of files, for a tracker that writes files.

    Returns:
        What to say: a line a tracker.

    Raises:
        UserError: an unknown tracker, one that is not installed, or one that does not take it.
    """
    said = []
    values = numbers(document)
    for tracker in to:
        if tracker not in TRACKERS:
            raise UserError(f"--to: unknown tracker {tracker!r}; known: {', '.join(sorted(TRACKERS))}")
        try:
            with contextlib.redirect_stdout(sys.stderr):  # some say on standard output what they do
                opened = TRACKERS[tracker](name, beside)
                for label, found in series.items():
                    for step, value in enumerate(found, start=1):
                        opened.log({_name(label): value}, step)
                opened.log(values, max([0, *map(len, series.values())]) + 1)
                opened.close()
        except ImportError as error:
            raise MissingDependency(
                f"{tracker} is not installed ({error.name}): pip install {tracker}"
            ) from None
        except Exception as error:  # whatever a tracker's server or client has against it
            raise UserError(f"{tracker}: {first_line(error)}") from None
        said.append(f"{tracker}: {len(values)} numbers, {len(series)} series, as {name}")
    return said


class _TensorBoard:
    def __init__(self, name: str, beside: Path) -> None:
        from tensorboard.summary.writer.event_file_writer import (  # type: ignore[import-untyped, unused-ignore]
            EventFileWriter,
        )

        self._writer = EventFileWriter(str(beside / "tensorboard"))

    def log(self, values: Mapping[str, float], step: int) -> None:
        from tensorboard.compat.proto.event_pb2 import Event  # type: ignore[import-untyped, unused-ignore]
        from tensorboard.compat.proto.summary_pb2 import Summary  # type: ignore[import-untyped, unused-ignore]

        rows = [Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()]
        self._writer.add_event(Event(wall_time=time.time(), step=step, summary=Summary(value=rows)))

    def close(self) -> None:
        self._writer.close()


class _Wandb:
    def __init__(self, name: str, beside: Path) -> None:
        import wandb  # type: ignore[import-not-found, import-untyped, unused-ignore]

        beside.mkdir(parents=True, exist_ok=True)
        self._run: Any = wandb.init(project="ilf", name=name, dir=str(beside))

    def log(self, values: Mapping[str, float], step: int) -> None:
        # Series follow one another, and W&B takes a step once and in order: each row has its own.
        self._run.log({**values, "step": step})

    def close(self) -> None:
        self._run.finish()


class _Trackio:
    def __init__(self, name: str, beside: Path) -> None:
        import trackio  # type: ignore[import-not-found, import-untyped, unused-ignore]

        self._trackio: Any = trackio
        trackio.init(project="ilf", name=name)

    def log(self, values: Mapping[str, float], step: int) -> None:
        self._trackio.log(dict(values), step=step)

    def close(self) -> None:
        self._trackio.finish()


TRACKERS: dict[str, Callable[[str, Path], Tracker]] = {
    "tensorboard": _TensorBoard,
    "trackio": _Trackio,
    "wandb": _Wandb,
}
