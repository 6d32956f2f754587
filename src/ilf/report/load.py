"""Reading a run folder for a report: whatever is there, at whatever stage the run is."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ilf.errors import DataError, UserError
from ilf.metrics import Comparison, Evaluation
from ilf.records import Example, Feedback, Program, R, Refinement, Rows, Task, Verdict
from ilf.runfolder import Manifest, RoundFolder, RunFolder


@dataclass
class Written:
    """What one model wrote for the held-out tasks."""

    programs: Collection[Program]
    verdicts: Collection[Verdict]


@dataclass
class RoundData:
    """One round's files; what a run has not reached yet is empty. Samples are read as they are looked at."""

    number: int
    programs: Collection[Program] = ()
    verdicts: Collection[Verdict] = ()
    feedback: list[Feedback] = field(default_factory=list)
    refinements: Collection[Refinement] = ()
    examples: list[Example] = field(default_factory=list)
    evaluations: dict[str, Evaluation] = field(default_factory=dict)
    paired: list[Comparison] = field(default_factory=list)
    refinement: Evaluation | None = None
    """πRefine's rates on the tasks it refined."""
    written: dict[str, Written] = field(default_factory=dict)


@dataclass
class RunData:
    """A run folder in memory."""

    path: Path
    name: str
    config: Mapping[str, Any]
    config_text: str
    manifest: Manifest | None
    tasks: dict[str, Task]
    rounds: list[RoundData]
    notes: list[str]
    """What could not be read, and why."""


def load_run(path: Path) -> RunData:
    """Read a run folder.

    Raises:
        DataError: there is no run in it.
    """
    folder = RunFolder(path)
    if not folder.config.is_file():
        raise DataError(f"{path}: not a run folder (it has no config.toml)")
    config_text = folder.config.read_text(encoding="utf-8")
    try:
        config = tomllib.loads(config_text)
    except tomllib.TOMLDecodeError as error:
        raise DataError(f"{folder.config}: not TOML: {error}") from None
    notes: list[str] = []
    tasks: dict[str, Task] = {}
    try:
        tasks = _tasks(config)
    except UserError as error:
        notes.append(f"The tasks could not be read, so their descriptions are missing: {error}")
    return RunData(
        path=path,
        name=str(config.get("name", path.name)),
        config=config,
        config_text=config_text,
        manifest=folder.read_manifest(),
        tasks=tasks,
        rounds=[_round(number, files) for number, files in enumerate(folder.rounds(), start=1)],
        notes=notes,
    )


def _tasks(config: Mapping[str, Any]) -> dict[str, Task]:
    from ilf.tasks import load_tasks

    asked = config.get("tasks", {})
    tasks = load_tasks(
        str(asked.get("source", "")),
        prefix=asked.get("prefix", "all"),
        challenge_tests=bool(asked.get("challenge_tests", False)),
    )
    return {task.task_id: task for task in tasks}


def _round(number: int, files: RoundFolder) -> RoundData:
    data = RoundData(
        number=number,
        programs=_rows(files.programs, Program),
        verdicts=_rows(files.verdicts, Verdict),
        feedback=[*_rows(files.feedback, Feedback)],
        refinements=_rows(files.refinements, Refinement),
        examples=[*_rows(files.examples, Example)],
    )
    if files.evaluation.is_file():
        try:
            raw = json.loads(files.evaluation.read_text(encoding="utf-8"))
            data.evaluations = {arm: Evaluation.model_validate(e) for arm, e in raw["arms"].items()}
            data.paired = [Comparison.model_validate(c) for c in raw.get("paired", [])]
            if raw.get("refinement"):
                data.refinement = Evaluation.model_validate(raw["refinement"])
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(f"{files.evaluation}: not an evaluation: {str(error).splitlines()[0]}") from None
    for arm in data.evaluations:
        programs = _rows(files.evaluation_programs(arm), Program)
        verdicts = _rows(files.evaluation_verdicts(arm), Verdict)
        if programs and len(programs) == len(verdicts):
            data.written[arm] = Written(programs, verdicts)
    return data


def _rows(path: Path, kind: type[R]) -> Collection[R]:
    return Rows(path, kind) if path.is_file() else ()
