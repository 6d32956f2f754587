"""Fine-tune πθ on (t → x1), giving πθ* (Algorithm 1, line 4)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ilf import costs, policy
from ilf.config import LearnerConfig
from ilf.costs import Cost
from ilf.learners import Lesson, learner_of
from ilf.policy import Model
from ilf.records import Example, Feedback
from ilf.runfolder import digest_of
from ilf.runner import Job, Step
from ilf.training import FinetuneConfig


@dataclass(frozen=True)
class Learn(Step[Model]):
    """A model folder, fine-tuned from another model."""

    file = "7-model"

    start: Model
    examples: tuple[Example, ...]
    finetune: FinetuneConfig
    learner: LearnerConfig = LearnerConfig()  # noqa: RUF009 - frozen
    feedback: tuple[Feedback, ...] = ()
    """What the examples follow, for learners that read it."""
    seed: int = 0
    what: str = "πθ*"
    """For the person watching."""
    card: Mapping[str, object] | None = field(default=None, compare=False)
    """Said in the model card besides, by heading."""

    def inputs(self) -> Mapping[str, Any]:
        """All that decides the weights."""
        return {
            "start": self.start.hash,
            "examples": digest_of(example.to_json() for example in self.examples),
            "finetune": self.finetune.model_dump(),
            "learner": self.learner.model_dump(),
            "feedback": digest_of(item.to_json() for item in self.feedback),
            "seed": self.seed,
        }

    def cost(self) -> Cost:
        """At most `max_length` tokens an example and epoch."""
        return costs.fine_tuning(len(self.examples), self.finetune, self.start.folder)

    def run(self, job: Job) -> Mapping[str, float]:
        """Hand it to the learner; a folder that holds something else is replaced."""
        job.place.close()
        lesson = Lesson(
            start=self.start,
            examples=self.examples,
            feedback=self.feedback,
            out=job.out,
            finetune=self.finetune.model_copy(update={"seed": self.seed}),
            options=self.learner.options,
            what=self.what,
            card=self.card,
            place=job.place,
        )
        return learner_of(self.learner.name)(lesson)

    def result(self, out: Path) -> Model:
        """πθ*, to be sampled as πθ was."""
        return policy.get(out, self.start.engine, self.start.style)
