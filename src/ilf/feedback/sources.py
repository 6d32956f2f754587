"""The seam of feedback sources: wrong programs and verdicts in, `Feedback` out."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from ilf.config import FeedbackConfig, VerifyConfig
from ilf.feedback import candidates, execution, model, recorded, solved
from ilf.places import Place
from ilf.policy import Model
from ilf.progress import say
from ilf.records import Feedback, Program, Rows, Task, Verdict
from ilf.runfolder import RunFolder
from ilf.seams import SOURCES, load


@dataclass(frozen=True)
class Asked:
    """What a source is asked: about which programs, and under which settings."""

    programs: Rows[Program]
    """πθ's samples for the refine and train tasks."""
    verdicts: Rows[Verdict]
    """One a program, in the same order."""
    tasks: Mapping[str, Task]
    """The refine and train tasks, by id."""
    everything: Mapping[str, Task]
    """All tasks of the source, by id."""
    held_out: Collection[str]
    """Ids of the evaluation split; no feedback may be about them."""
    settings: FeedbackConfig
    verify: VerifyConfig
    folder: RunFolder
    """Of the run."""
    round: int = 1
    seed: int = 0
    recorded: Path | None = None
    """The file that `feedback.path` names for this round."""
    writer: Model | None = None
    """Who writes feedback, where a model does."""

    @property
    def wanted(self) -> set[str]:
        """Ids of the tasks to say something about: by default those that πθ never solved."""
        return set(self.tasks) - (solved(self.programs, self.verdicts) if self.only_unsolved else set())

    @property
    def only_unsolved(self) -> bool:
        """A later round asks only about what still fails."""
        return self.settings.only_unsolved or self.round > 1

    @property
    def candidates(self) -> dict[str, list[tuple[Program, Verdict]]]:
        """The wrong program of each of `tasks` that is easiest to fix, with its verdict."""
        found = candidates(self.programs, self.verdicts, only_unsolved=self.only_unsolved)
        return {task_id: ranked for task_id, ranked in found.items() if task_id in self.tasks}


Source = Callable[[Asked, Place], list[Feedback]]
"""Says something of what failed; the place opens models."""


def source_of(name: str) -> Source:
    """The source called `name` (`feedback.source` of a config).

    Raises:
        ConfigError: there is no such source.
    """
    return cast(Source, load(SOURCES, name, "feedback.source"))


def from_file(asked: Asked, place: Place) -> list[Feedback]:
    """What was written before, through the paper's filters."""
    assert asked.recorded is not None
    items, counts = recorded.load(
        asked.recorded, asked.everything, keep=asked.wanted, filters=asked.settings.filter, seed=asked.seed,
        verify=asked.verify,
    )  # fmt: skip
    for what, count in counts.items():
        say(f"    {what}: {count}")
    ours, written = set(), set()
    for program in asked.programs:
        ours.add(program.model)
        written.add((program.task_id, program.code))
    items = [
        item.model_copy(
            update={"foreign": item.model not in ours and (item.task_id, item.code) not in written}
        )
        for item in items
    ]
    if foreign := sum(item.foreign for item in items):
        say(f"    {foreign} items are on programs that this model did not write, as far as is known")
    return items


def from_execution(asked: Asked, place: Place) -> list[Feedback]:
    """What running the programs says."""
    return execution.write(asked.tasks, asked.candidates, hide_tests=asked.settings.hide_tests)


def from_model(asked: Asked, place: Place) -> list[Feedback]:
    """What a language model says, few-shot prompted."""
    assert asked.writer is not None
    writer, shots = asked.writer, []
    if asked.recorded is not None:
        shown = {name: task for name, task in asked.everything.items() if name not in asked.held_out}
        shots = model.load_shots(asked.recorded, shown, asked.settings.shots, asked.seed, asked.wanted)
    return model.write(
        lambda: place.open(writer), asked.everything, asked.candidates, shots=shots, seed=asked.seed
    )
