"""πRefine learns to follow feedback, from the refine split's written refinements (paper, section 3.2)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ilf import costs, policy
from ilf.config import RefinerConfig
from ilf.costs import Cost
from ilf.errors import DataError, TrainingError, UserError
from ilf.policy import Model
from ilf.progress import say
from ilf.prompts import Prompter
from ilf.records import Example, Feedback, Task, read_jsonl, write_jsonl
from ilf.runner import Job, Step
from ilf.steps.model import Learn

Shot = tuple[Task, str, str | None, str]
"""A worked refinement for a few-shot prompt: task, wrong program, feedback, refinement."""


@dataclass(frozen=True)
class Refiner:
    """Who refines, and the worked examples in its prompt."""

    model: Model
    shots: tuple[Shot, ...] = ()


@dataclass(frozen=True)
class Teach(Step[Refiner]):
    """Fine-tune πRefine, or pick the worked examples that it is prompted with."""

    file = "4-refiner"

    start: Model
    feedback: tuple[Feedback, ...]
    """On the refine split."""
    tasks: Mapping[str, Task]
    """By id."""
    refiner: RefinerConfig
    seed: int = 0
    card: Mapping[str, object] | None = None

    def inputs(self) -> Mapping[str, Any]:
        """All that decides πRefine."""
        return {
            "start": self.start.identity(),
            "feedback": [item.to_json() for item in self.feedback],
            "refiner": self.refiner.model_dump(exclude={"sampling"}),
            "seed": self.seed,
        }

    def cost(self) -> Cost:
        """That of fine-tuning; worked examples take nothing."""
        if self.refiner.method == "few-shot":
            return Cost()
        return costs.fine_tuning(len(self.feedback), self.refiner.finetune, self.start.folder)

    def run(self, job: Job) -> Mapping[str, float]:
        """Write the model folder, or the worked examples.

        Raises:
            TrainingError: no feedback carries a refinement.
            DataError: fewer worked examples than asked for.
        """
        if self.refiner.method == "few-shot":
            job.out.mkdir(exist_ok=True)
            chosen = pick_shots(self.feedback, self.refiner.shots, "refiner.shots: split refine")
            write_jsonl(job.out / "shots.jsonl", chosen)
            return {}
        examples, left_out = refiner_examples(
            self.start.prompter, self.tasks, self.feedback, use_feedback=self.refiner.use_feedback
        )
        say_left_out(left_out)
        if not examples:
            raise TrainingError(
                "no feedback on split refine carries a refinement, so πRefine has nothing to learn from: "
                'set refiner.method = "few-shot", or write refinements'
            )
        learn = Learn(
            self.start, tuple(examples), self.refiner.finetune, seed=self.seed, what="πRefine", card=self.card
        )
        return learn.run(job)

    def result(self, out: Path) -> Refiner:
        """Who refines."""
        if self.refiner.method == "finetune":
            return Refiner(policy.get(out, self.start.engine, self.start.style, self.start.lines))
        chosen = read_jsonl(out / "shots.jsonl", Feedback)
        return Refiner(self.start, worked(chosen, self.tasks, use_feedback=self.refiner.use_feedback))


def pick_shots(
    feedback: Iterable[Feedback], count: int, where: str, *, refined: bool = True
) -> list[Feedback]:
    """The shortest items: they make the cheapest prompt, and every item is continued with the same ones.

    Args:
        feedback: to choose from.
        count: how many.
        where: they come from, for the message.
        refined: only items that carry a refinement.

    Raises:
        DataError: there are fewer.
    """
    usable = [item for item in feedback if item.refinement is not None or not refined]
    if len(usable) < count:
        what = "items with a refinement" if refined else "items"
        raise DataError(f"{where} has {len(usable)} {what}, {count} worked examples are asked for")
    usable.sort(key=lambda item: (len(item.code) + len(item.text) + len(item.refinement or ""), item.task_id))
    return usable[:count]


def worked(
    items: Iterable[Feedback], tasks: Mapping[str, Task], *, use_feedback: bool = True
) -> tuple[Shot, ...]:
    """Feedback as worked examples of a prompt."""
    return tuple(
        (tasks[i.task_id], i.code, i.text if use_feedback else None, i.refinement or "") for i in items
    )


def refiner_examples(
    prompter: Prompter, tasks: Mapping[str, Task], feedback: Iterable[Feedback], *, use_feedback: bool = True
) -> tuple[list[Example], list[str]]:
    """What πRefine is fine-tuned on: (t, x0, f) → the refinement written by the same person.

    Returns:
        The examples, and the ids of tasks whose refinement the prompt style cannot express.
    """
    examples, left_out = [], []
    for item in feedback:
        if item.refinement is None:
            continue
        task = tasks[item.task_id]
        try:
            completion = prompter.refinement_target(task, item.refinement)
        except UserError:
            left_out.append(item.task_id)
            continue
        prompt = prompter.refinement(task, item.code, item.text if use_feedback else None)
        examples.append(
            Example(
                prompt=prompt.text,
                completion=completion,
                task_id=item.task_id,
                feedback_id=item.feedback_id,
                origin="human",
            )
        )
    return examples, left_out


def say_left_out(task_ids: Sequence[str]) -> None:
    """Name what cannot be trained on."""
    if task_ids:
        say(f"    {len(task_ids)} programs change what stands above the body and cannot be trained on: "
            f"{', '.join(sorted(task_ids)[:8])}{' …' if len(task_ids) > 8 else ''}")  # fmt: skip
