"""The seam of learners: a model, examples and feedback in; a model folder out."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from ilf.config import EngineConfig, LearnerConfig, VerifyConfig
from ilf.errors import missing
from ilf.places import Place
from ilf.policy import Model
from ilf.records import Example, Feedback, Task
from ilf.seams import LEARNERS, load
from ilf.training import FinetuneConfig


@dataclass(frozen=True)
class Teacher:
    """Who follows feedback, with the worked examples in its prompt: what learners distil from."""

    model: Model
    shots: tuple[tuple[Task, str, str | None, str], ...] = ()
    """Task, wrong program, feedback, refinement."""
    use_feedback: bool = True
    """False: it is shown the wrong program alone."""

    def prompt(self, task: Task, item: Feedback) -> str:
        """What it is asked: the task, the wrong program, and what was said about that program."""
        text = item.text if self.use_feedback else None
        return self.model.prompter.refinement(task, item.code, text, shots=self.shots).text

    def identity(self) -> Mapping[str, Any]:
        """All that decides what it says, for the key of a step."""
        shots = [[task.to_json(), *rest] for task, *rest in self.shots]
        return {"model": self.model.identity(), "shots": shots, "use_feedback": self.use_feedback}


@dataclass(frozen=True)
class Lesson:
    """What a learner is given."""

    start: Model
    """Where it starts from."""
    examples: tuple[Example, ...]
    feedback: tuple[Feedback, ...]
    """What the examples follow, wrong programs included."""
    out: Path
    """The model folder to write, whole or not at all; one that holds something else is replaced."""
    finetune: FinetuneConfig
    """Settings of the optimiser; its seed is the run's."""
    learner: LearnerConfig
    """The learner's own settings."""
    what: str
    """What is made, for the person watching."""
    card: Mapping[str, object] | None
    """Said in the model card besides, by heading."""
    place: Place
    """For learners that sample or verify."""
    key: str
    """Hash of all that decides what is made: remains of another one's work are thrown away."""
    tasks: Mapping[str, Task]
    """Tasks that may be trained on, by id; those of the feedback among them."""
    teacher: Teacher | None
    """πRefine, where there is one."""
    verify: VerifyConfig
    """Settings of the sandbox."""

    @property
    def options(self) -> Mapping[str, Any]:
        """Settings of a learner of somebody else's (`[learner.options]`)."""
        return self.learner.options


Learner = Callable[[Lesson], Mapping[str, float]]
"""Writes the model folder; returns counts for the manifest."""


def learner_of(name: str) -> Learner:
    """The learner called `name` (`learner.name` of a config).

    Raises:
        ConfigError: there is no such learner.
    """
    return cast(Learner, load(LEARNERS, name, "learner.name"))


def require_training(settings: Iterable[FinetuneConfig], engine: EngineConfig) -> None:
    """Refuse what fine-tuning with `settings` would stumble over, before hours of sampling.

    Raises:
        MissingDependency: a library, or an experiment tracker, is not installed.
        TrainingError: an unknown tracker.
    """
    if engine.name == "scripted":
        return
    for asked in settings:
        wanted = ["torch", "transformers", "accelerate", *(["peft"] if asked.adapters else [])]
        lacking = next((name for name in wanted if importlib.util.find_spec(name) is None), None)
        if lacking is not None:
            raise missing(lacking, "models")
        if asked.method == "qlora" and importlib.util.find_spec("bitsandbytes") is None:
            raise missing("bitsandbytes", "qlora")
        if asked.report_to:
            from ilf.training.trainer import check_trackers

            check_trackers(asked.report_to)
