"""Reading a run folder for a report: whatever is there, at whatever stage the run is."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ilf.errors import DataError, UserError
from ilf.metrics import Evaluation
from ilf.records import Example, Feedback, Program, R, Refinement, Rows, Task, Verdict
from ilf.runfolder import Manifest, RoundFolder, RunFolder

ARM_NAMES = {"before": "before (πθ)", "own": "own correct samples alone", "after": "after (πθ*)"}
"""In the order of the report: what the run is about comes last."""
TRAINING_LOG = "training_log.jsonl"


@dataclass
class Written:
    """What one model wrote for the held-out tasks."""

    programs: Collection[Program]
    verdicts: Collection[Verdict]


@dataclass
class Measured:
    """What a round's evaluation says; empty where there is none yet."""

    arms: dict[str, Evaluation] = field(default_factory=dict)
    """By model."""
    refinement: Evaluation | None = None
    """πRefine's rates on the tasks it refined."""
    validated: tuple[Evaluation, Evaluation] | None = None
    """πθ's and πθ*'s rates on the validation tasks."""


@dataclass
class RoundData:
    """One round's files; what a run has not reached yet is empty. Samples are read as they are looked at."""

    number: int
    programs: Collection[Program] = ()
    verdicts: Collection[Verdict] = ()
    feedback: list[Feedback] = field(default_factory=list)
    refinements: Collection[Refinement] = ()
    examples: list[Example] = field(default_factory=list)
    evaluation: Measured = field(default_factory=Measured)
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
    config_text, config = read_config(folder.config)
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


def training_rows(files: RoundFolder) -> dict[str, list[dict[str, float]]]:
    """Model of a round → the rows of its fine-tuning's log, a step each; also while it goes on.

    A fine-tuning keeps its log in a hidden folder until the model gets its name.
    """
    found = {}
    for name, model in (("πRefine", files.refiner), ("πθ*", files.model), ("control", files.control)):
        for path in (model.with_name(f".{model.name}.partial") / TRAINING_LOG, model / TRAINING_LOG):
            if path.is_file() and (rows := [row for row in json_rows(path) if "loss" in row]):
                found[name] = rows
                break
    return found


def json_rows(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a file that may be growing: what is not whole yet is left out."""
    with suppress(OSError), path.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            with suppress(ValueError):
                row = json.loads(line)
                if isinstance(row, dict):
                    yield row


def read_config(path: Path) -> tuple[str, dict[str, Any]]:
    """The settings of a run or study folder, as text and as a table.

    Raises:
        DataError: they are missing, or not TOML.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise DataError(f"{path.parent}: not a run folder (it has no {path.name})") from None
    except UnicodeDecodeError:
        raise DataError(f"{path}: not UTF-8 text") from None
    try:
        return text, tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise DataError(f"{path}: not TOML: {error}") from None


def read_evaluation(files: RoundFolder) -> Measured:
    """What a round's evaluation says; empty where there is none.

    Raises:
        DataError: the file is broken.
    """
    if not files.evaluation.is_file():
        return Measured()
    try:
        raw = json.loads(files.evaluation.read_text(encoding="utf-8"))
        arms = {arm: Evaluation.model_validate(e) for arm, e in raw["arms"].items()}
        refinement = Evaluation.model_validate(raw["refinement"]) if raw.get("refinement") else None
        validated = None
        if raw.get("validation"):
            of = raw["validation"]["arms"]
            validated = Evaluation.model_validate(of["before"]), Evaluation.model_validate(of["after"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{files.evaluation}: not an evaluation: {str(error).splitlines()[0]}") from None
    return Measured(arms, refinement, validated)


def stages(rounds: Sequence[Mapping[str, Evaluation]]) -> dict[str, Evaluation]:
    """Label → evaluation on the held-out tasks: before, then after each round.

    Args:
        rounds: each round's evaluations by model (`before`, `after`), in order.
    """
    found: dict[str, Evaluation] = {}
    for number, evaluations in enumerate(rounds, start=1):
        for arm in sorted(evaluations, key=lambda arm: [*ARM_NAMES, arm].index(arm)):
            evaluation = evaluations[arm]
            if arm == "before" and found:
                continue  # the same model as the round before's `after`
            label = ARM_NAMES.get(arm, arm)
            if len(rounds) > 1 and arm != "before":
                label = f"after round {number} (πθ*)" if arm == "after" else f"{label}, round {number}"
            found[label] = evaluation
    return found


def differing(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """Settings that two configs do not share: dotted key → what each says, `–` where it says nothing."""
    left, right = flat(a), flat(b)
    return {
        key: (str(left.get(key, "–")), str(right.get(key, "–")))
        for key in sorted(left.keys() | right.keys())
        if left.get(key) != right.get(key)
    }


def flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A nested config with dotted keys."""
    found: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value
    return found


def _tasks(config: Mapping[str, Any]) -> dict[str, Task]:
    from ilf.tasks import load_tasks

    asked = config.get("tasks", {})
    tasks = load_tasks(
        str(asked.get("source", "")),
        prefix=asked.get("prefix", "all"),
        challenge_tests=bool(asked.get("challenge_tests", False)),
        columns=asked.get("map"),
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
    data.evaluation = read_evaluation(files)
    for arm in data.evaluation.arms:
        programs = _rows(files.evaluation_programs(arm), Program)
        verdicts = _rows(files.evaluation_verdicts(arm), Verdict)
        if programs and len(programs) == len(verdicts):
            data.written[arm] = Written(programs, verdicts)
    return data


def _rows(path: Path, kind: type[R]) -> Collection[R]:
    return Rows(path, kind) if path.is_file() else ()
