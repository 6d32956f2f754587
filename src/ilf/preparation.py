"""Before the first step: tasks, splits, the folder's manifest, and whether what later steps need is there."""

from __future__ import annotations

import platform
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from ilf import __version__, policy, seams
from ilf.config import RunConfig
from ilf.errors import ConfigError, DataError, RunFolderError
from ilf.learners import learner_of, require_training
from ilf.progress import say
from ilf.records import Feedback, Task
from ilf.runfolder import Manifest, RunFolder


@dataclass(frozen=True)
class Tasks:
    """The tasks of a run by what they are for."""

    everything: Mapping[str, Task]
    """All tasks of the source by id, those in no split included."""
    refine: tuple[Task, ...]
    """Their feedback teaches πRefine."""
    train: tuple[Task, ...]
    """Their refinements teach πθ*."""
    test: tuple[Task, ...]
    """Held out, for the evaluation."""
    validation: tuple[Task, ...] = ()
    """With several rounds: neither trained on nor in the evaluation; they tell when to stop."""

    @property
    def training(self) -> tuple[Task, ...]:
        """What πθ attempts and people say something about."""
        return self.refine + self.train

    @property
    def by_id(self) -> Mapping[str, Task]:
        """The training tasks by id."""
        return {task.task_id: task for task in self.training}


def load_source(config: RunConfig) -> list[Task]:
    """Every task of the config's source; raises as `ilf.tasks.load_tasks`."""
    from ilf.tasks import load_tasks

    asked = config.tasks
    return load_tasks(
        asked.source, prefix=asked.prefix, challenge_tests=asked.challenge_tests, columns=asked.map
    )


def load_splits(config: RunConfig, tasks: Sequence[Task] | None = None) -> dict[str, list[Task]]:
    """The tasks of a config by split: `refine`, `train` and the evaluation's.

    Args:
        config: with the splits.
        tasks: of the whole source; read where they are not given.

    Raises:
        ConfigError: a split is missing, empty, or overlaps another.
    """
    from ilf.tasks import PAPER_SPLITS, split_tasks
    from ilf.tasks.splits import split_by_seed

    asked = config.tasks
    tasks = load_source(config) if tasks is None else tasks
    needed = ("refine", "train", config.evaluation.split)
    by_default = PAPER_SPLITS if asked.source.partition(":")[0] == "mbpp" else {}
    specs = {name: asked.splits.get(name) or by_default.get(name) or f"split={name}" for name in needed}
    unknown = sorted(asked.splits.keys() - set(needed))
    if unknown:
        raise ConfigError(f"tasks.splits.{unknown[0]}: no step uses this split; used: {', '.join(needed)}")
    if not asked.splits and not by_default and all(task.split is None for task in tasks):
        found = split_by_seed(tasks, config.seed, config.evaluation.split)
        counts = ", ".join(f"{len(of_split)} {name}" for name, of_split in found.items())
        say(f"no task names its split: split by seed {config.seed} into {counts}")
        return {name: of_split[: asked.limit] for name, of_split in found.items()}
    return {name: of_split[: asked.limit] for name, of_split in split_tasks(tasks, specs).items()}


def prepare_tasks(config: RunConfig) -> Tasks:
    """The tasks of a run; raises as `load_source` and `load_splits`."""
    source = load_source(config)
    splits = load_splits(config, source)
    tasks = Tasks(
        everything={task.task_id: task for task in source},
        refine=tuple(splits["refine"]),
        train=tuple(splits["train"]),
        test=tuple(splits[config.evaluation.split]),
    )
    return tasks if config.rounds == 1 else _keep_apart(tasks, config)


def _keep_apart(tasks: Tasks, config: RunConfig) -> Tasks:
    """`tasks` with some of `train` as validation tasks; never one with recorded feedback, which is needed."""
    from ilf.feedback import recorded

    annotated = {item.task_id for path in _recorded_paths(config) for item in recorded.read(path)}
    free = [task.task_id for task in tasks.train if task.task_id not in annotated]
    share = 2 if config.feedback.source == "recorded" else 4  # else each of them is one less to ask about
    count = min(config.tasks.validation, len(free) // share)
    chosen = set(random.Random(f"{config.seed} rounds").sample(free, count))
    return replace(
        tasks,
        train=tuple(task for task in tasks.train if task.task_id not in chosen),
        validation=tuple(task for task in tasks.train if task.task_id in chosen),
    )


def recorded_path(config: RunConfig, number: int) -> Path | None:
    """The file of recorded feedback for round `number`; None where the source needs none.

    Raises:
        DataError: it is not there.
    """
    paths = config.feedback.path
    if isinstance(paths, list):
        path = paths[min(number, len(paths)) - 1]
    elif paths is not None:
        path = paths
    elif "recorded" in config.feedback.sources:
        from ilf.tasks import SUITES

        return SUITES[config.tasks.source] / "feedback.jsonl"
    else:
        return None
    if not Path(path).is_file():
        raise DataError(f"feedback.path: {path}: no such file")
    return Path(path)


def _recorded_paths(config: RunConfig) -> list[Path]:
    """The files of recorded feedback of all rounds, each once, the first round's first."""
    paths = (recorded_path(config, number) for number in range(1, config.rounds + 1))
    return list(dict.fromkeys(path for path in paths if path is not None))


def check_needs(config: RunConfig, tasks: Tasks) -> None:
    """Before hours of work: is what the later steps need there, and can it be read?

    Raises:
        UserError: it is not; the setting is named.
    """
    from ilf.feedback import recorded
    from ilf.feedback.sources import source_of
    from ilf.kinds import Settled, kind_of

    asked = config.feedback
    for source in {asked.source, *asked.sources}:
        source_of(source)
    if "review" in asked.sources:
        from ilf.review.source import check

        check(asked.review.exports, asked.review.repository, asked.review.head)
    learner_of(config.learner.name)
    for name in {task.kind for task in tasks.everything.values()}:
        kind = kind_of(name)
        if isinstance(kind, Settled):
            kind.require(config.verify)
    known = tasks.everything if "recorded" in asked.sources else None
    items = [recorded.read(path, known) for path in _recorded_paths(config)]
    others = [config.refiner_model, asked.model if "model" in asked.sources else None]
    for model in filter(None, others):
        policy.get(model, config.engine, config.prompts.style)
    taught = [config.refiner.finetune] if config.refiner.method == "finetune" else []
    taught += [config.finetune] if config.learner.name in seams.LEARNERS else []
    require_training(taught, config.engine)
    if config.engine.name == "scripted":
        return  # a rehearsal: its numbers mean nothing anyway
    first = items[0] if asked.source == "recorded" else None
    for line in _expectations(config, tasks, first):
        say(f"expect little: {line}")
    if config.evaluation.control:
        say(
            "one more fine-tuning and evaluation than the paper's: on the model's own correct samples alone, "
            "to see what feedback adds (evaluation.control = false leaves it out)"
        )


def _expectations(config: RunConfig, tasks: Tasks, items: Sequence[Feedback] | None) -> list[str]:
    """What too little data means for this run's result, and what would help (`ilf.outlook`).

    Args:
        config: of the run.
        tasks: its tasks.
        items: the first round's feedback, where it is recorded.
    """
    from ilf.outlook import expectations, held_out_too_small

    if items is None:
        return list(held_out_too_small(len(tasks.test)))
    of = {
        name: {task.task_id for task in split}
        for name, split in (("refine", tasks.refine), ("train", tasks.train))
    }
    return expectations(
        len(tasks.test),
        [item for item in items if item.task_id in of["refine"]],
        [item for item in items if item.task_id in of["train"]],
        finetuned_refiner=config.refiner.method == "finetune",
    )


def open_manifest(
    folder: RunFolder, identity: Mapping[str, Any], what: str, own: Sequence[str] = ()
) -> Manifest:
    """The manifest of a run or study folder, as it is or new, with this machine's versions.

    Args:
        folder: locked by the caller.
        identity: the settings that make it this run.
        what: `run` or `study`, for the message.
        own: files that may lie in a new folder.

    Raises:
        RunFolderError: it belongs to another run, is not one, or its steps have another version's keys.
    """
    path, found = folder.path, folder.read_manifest()
    if found is None:
        if any(entry.name not in (".lock", *own) for entry in path.iterdir()):
            raise RunFolderError(f"{path} is not empty and has no manifest.json: choose another folder")
        created = datetime.now(UTC).isoformat(timespec="seconds")
        found = Manifest(version=__version__, created=created, identity=dict(identity))
    for key, value in identity.items():
        if found.identity.get(key) != value:
            raise RunFolderError(
                f"{path} belongs to a {what} with {key} = {found.identity.get(key)!r}, not {value!r}: "
                "choose another folder with --out"
            )
    folder.refuse_older(found)
    return found.model_copy(update={"version": __version__, "environment": environment()})


def environment() -> dict[str, str]:
    """Versions of what computes, for the manifest."""
    found = {
        "python": platform.python_version(),
        "system": platform.platform(),
        "machine": platform.machine(),
    }
    for library in ("torch", "transformers", "peft", "numpy", "scipy"):
        try:
            found[library] = metadata.version(library)
        except metadata.PackageNotFoundError:
            continue
    return found
