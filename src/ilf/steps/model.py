"""Fine-tune πθ on (t → x1), giving πθ* (Algorithm 1, line 4)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ilf import costs, policy
from ilf.config import LearnerConfig, VerifyConfig
from ilf.costs import Cost
from ilf.learners import Lesson, Teacher, learner_of
from ilf.policy import Model
from ilf.records import Example, Feedback, Task
from ilf.runfolder import digest_of
from ilf.runner import Job, Step
from ilf.tasks import source_hash
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
    tasks: Mapping[str, Task] = field(default_factory=dict)
    """Tasks that may be trained on, by id, for learners that sample; with `teacher` and `verify`."""
    teacher: Teacher | None = None
    verify: VerifyConfig = VerifyConfig()  # noqa: RUF009 - frozen
    card: Mapping[str, object] | None = field(default=None, compare=False)
    """Said in the model card besides, by heading."""

    def inputs(self) -> Mapping[str, Any]:
        """All that decides the weights."""
        own = self.learner.section
        found: dict[str, Any] = {
            "start": self.start.hash,
            "examples": digest_of(example.to_json() for example in self.examples),
            "finetune": self.finetune.deciding(),
            "learner": {
                **self.learner.model_dump(include={"name", "options"}),
                **({} if own is None else own.model_dump(exclude_defaults=True)),
            },
            "feedback": digest_of(item.to_json() for item in self.feedback),
            "seed": self.seed,
        }
        if self.learner.name != "sft":  # which reads examples alone
            found["tasks"] = source_hash([self.tasks[name] for name in sorted(self.tasks)])
            found["teacher"] = None if self.teacher is None else self.teacher.identity()
            found["verify"] = self.verify.deciding()
        return found

    def cost(self) -> Cost:
        """At most `max_length` tokens an example and epoch; learners that sample add to it."""
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
            learner=self.learner,
            what=self.what,
            card=self.card,
            place=job.place,
            key=job.key,
            tasks=self.tasks,
            teacher=self.teacher,
            verify=self.verify,
        )
        return learner_of(self.learner.name)(lesson)

    def result(self, out: Path) -> Model:
        """πθ*, to be sampled as πθ was."""
        return policy.get(out, self.start.engine, self.start.style, self.start.lines)
