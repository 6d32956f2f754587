"""`ilf runs watch RUN`: a run as it goes on, with the curves of loss and pass rate.

It only reads: the run itself knows nothing of who looks, and may be on another machine with the same disk.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ilf.errors import DataError
from ilf.output import answer
from ilf.progress import duration
from ilf.report.load import json_rows, training_rows
from ilf.runfolder import Manifest, RoundFolder, RunFolder
from ilf.runs import row_of
from ilf.terminal import console

if TYPE_CHECKING:
    from rich.console import Group

EVERY = 2.0
"""Seconds between looks."""
WIDTH, HEIGHT = 60, 5
"""Of a curve, in characters."""
_BLOCKS = " ▁▂▃▄▅▆▇█"


@dataclass(frozen=True)
class Curve:
    """Numbers in their order, with what they are."""

    name: str
    values: tuple[float, ...]


@dataclass(frozen=True)
class Step:
    """A step that is done, or under way."""

    name: str
    seconds: float | None
    """None while it is under way."""
    made: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Look:
    """What a run folder says at one moment."""

    row: dict[str, Any]
    """As of `ilf runs --json`."""
    steps: tuple[Step, ...]
    loss: tuple[Curve, ...]
    """Nats a label token, each optimiser step's, a fine-tuning each."""
    passing: tuple[Curve, ...]
    """Share of the programs so far that pass, row by row."""


def look(path: Path) -> Look:
    """Read what is there.

    Raises:
        DataError: it is no run folder.
    """
    folder = RunFolder(path)
    row = row_of(path)
    if row["kind"] != "run" or row["problem"] is not None:
        raise DataError(f"{path}: {row['problem'] or 'not a run folder'}")
    manifest = folder.read_manifest()
    assert manifest is not None  # or it would have been a problem
    loss, passing = [], []
    for number, files in enumerate(folder.rounds(), start=1):
        of_round = f", round {number}" if len(folder.rounds()) > 1 else ""
        for what, rows in training_rows(files).items():
            loss.append(Curve(f"{what}{of_round}", tuple(row["loss"] for row in rows)))
        for what, file in _judged(files):
            if values := _passes(file):
                passing.append(Curve(f"{what}{of_round}", values))
    return Look(row, tuple(_steps(manifest, row["step"], folder)), tuple(loss), tuple(passing))


def _steps(manifest: Manifest, current: str | None, folder: RunFolder) -> Iterator[Step]:
    for label, state in manifest.steps.items():
        yield Step(label, state.seconds, state.counts)
    if current is not None and current not in manifest.steps:
        part = next(folder.path.glob(f"{current}.jsonl.part"), None)
        yield Step(current, None, {} if part is None else {"rows": float(_lines(part))})


def _lines(path: Path) -> int:
    with suppress(OSError), path.open("rb") as file:
        return sum(line.endswith(b"\n") for line in file)
    return 0


def _judged(files: RoundFolder) -> list[tuple[str, Path]]:
    held_out = [(f"{arm}, held out", files.evaluation_verdicts(arm)) for arm in ("before", "own", "after")]
    return [("programs", files.verdicts), ("refinements", files.refinements), *held_out]


def _passes(path: Path) -> tuple[float, ...]:
    """The share that passes among the first 1, 2, … rows, thinned to a curve's width."""
    found = next((file for file in (path, path.with_name(path.name + ".part")) if file.is_file()), None)
    if found is None:
        return ()
    state = found.stat()
    return _running(found, state.st_size, state.st_mtime_ns)


@lru_cache(maxsize=64)
def _running(path: Path, size: int, changed: int) -> tuple[float, ...]:
    passed: list[bool] = []
    for row in json_rows(path):
        verdict = row.get("verdict", row)
        if verdict is not None and verdict.get("status") not in (None, "sandbox_error"):
            passed.append(verdict["status"] == "passed")
    ends = sorted({max(1, round(len(passed) * (i + 1) / WIDTH)) for i in range(WIDTH)}) if passed else []
    return tuple(sum(passed[:end]) / end for end in ends)


def drawn(values: Sequence[float], width: int = WIDTH, height: int = HEIGHT) -> list[str]:
    """A curve of eighth blocks, `height` lines from the top; its ends are the least and the largest value."""
    count = min(width, len(values))
    means = []
    for i in range(count):
        part = values[i * len(values) // count : (i + 1) * len(values) // count]
        means.append(sum(part) / len(part))
    low, high = min(means), max(means)
    levels = [round((value - low) / (high - low or 1) * (8 * height - 1)) + 1 for value in means]
    return [
        "".join(_BLOCKS[min(8, max(0, level - 8 * line))] for level in levels)
        for line in range(height - 1, -1, -1)
    ]


def view(found: Look) -> Group:
    """The steps, and the newest curve of each kind, for a terminal."""
    from rich import box
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE, title=f"{found.row['folder']}: {_state(found.row)}", title_justify="left")
    table.add_column("step", no_wrap=True)
    table.add_column("time", justify="right")
    table.add_column("made")
    for step in found.steps:
        took = "under way" if step.seconds is None else duration(step.seconds)
        table.add_row(step.name, took, ", ".join(f"{n:,.0f} {what}" for what, n in step.made.items()))
    parts: list[Any] = [table]
    for curves, form in ((found.loss, "{:.3f} nats a token"), (found.passing, "{:.1%} pass")):
        for curve in curves[-1:]:
            ends = " → ".join(form.format(value) for value in (curve.values[0], curve.values[-1]))
            kind = "Loss" if curves is found.loss else "Pass rate"
            parts += [Text(f"{kind}, {curve.name}: {ends}"), *map(Text, drawn(curve.values)), Text("")]
        parts += [
            Text(f"  {curve.name}: {form.format(curve.values[-1])}", style="dim") for curve in curves[:-1]
        ]
    if "says" in found.row:
        parts.append(Text(found.row["says"]))
    return Group(*parts)


def _state(row: dict[str, Any]) -> str:
    return "finished" if row["step"] is None else f"{row['state']}, at {row['step']}"


def watch(path: Path, every: float = EVERY) -> None:
    """Show a run until it is finished, or one look at it where standard output is no terminal.

    Args:
        path: its folder.
        every: seconds between looks.

    Raises:
        DataError: it is no run folder.
    """
    from rich.live import Live

    found = look(path)
    answer(found)
    out = console()
    if not out.is_terminal or out.is_dumb_terminal:
        out.print(view(found))
        return
    with Live(view(found), console=out, auto_refresh=False) as live:
        while found.row["step"] is not None:
            time.sleep(every)
            found = look(path)
            live.update(view(found), refresh=True)
