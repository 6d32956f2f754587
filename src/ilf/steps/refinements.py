"""Sample refinements x1 ~ πRefine(·|t, x0, f) and verify them (Algorithm 1, line 3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ilf import costs, metrics
from ilf.config import SamplingConfig, VerifyConfig
from ilf.costs import Cost
from ilf.errors import DataError
from ilf.policy import Writer
from ilf.progress import Progress, progress
from ilf.prompts import Prompt
from ilf.records import Feedback, Program, Refinement, Rows, Task
from ilf.runfolder import Growing
from ilf.runner import Job, Step
from ilf.sampling import Completion
from ilf.steps.refiner import Refiner
from ilf.steps.sampling import (
    Batch,
    batched,
    pace_of,
    refuse_failures,
    require_room,
    sample_counts,
    sampled,
    seed_of,
)
from ilf.steps.verdicts import shared_counts
from ilf.tasks import source_hash


@dataclass(frozen=True)
class Refine(Step[Rows[Refinement]]):
    """n refinements an item with their verdicts; items on one task follow one another in the file."""

    file = "5-refinements.jsonl"

    refiner: Refiner
    feedback: tuple[Feedback, ...]
    tasks: Mapping[str, Task]
    """By id."""
    sampling: SamplingConfig
    verify: VerifyConfig
    use_feedback: bool = True
    """False leaves the feedback out of the prompt."""
    max_sandbox_errors: float = 0.05
    """Share of refinements without a verdict above which this stops."""
    seed: int = 0
    what: str = "refinements"
    """Name of this sampling, part of the seed."""

    @property
    def items(self) -> list[Feedback]:
        """The feedback in the file's order: a reader needs one task's refinements at a time."""
        places = {name: place for place, name in enumerate(dict.fromkeys(f.task_id for f in self.feedback))}
        return sorted(self.feedback, key=lambda item: places[item.task_id])

    def inputs(self) -> Mapping[str, Any]:
        """All that decides the refinements."""
        unknown = next((f.task_id for f in self.feedback if f.task_id not in self.tasks), None)
        if unknown is not None:
            raise DataError(
                f"feedback is on task {unknown!r}, which is not among the {len(self.tasks)} tasks"
            )
        return {
            "refiner": self.refiner.model.identity(),
            "shots": [[task.to_json(), *rest] for task, *rest in self.refiner.shots],
            "feedback": [item.to_json() for item in self.feedback],
            "tasks": source_hash([self.tasks[name] for name in sorted({f.task_id for f in self.feedback})]),
            "sampling": self.sampling.model_dump(),
            "verify": self.verify.deciding(),
            "use_feedback": self.use_feedback,
            "seed": self.seed,
            "what": self.what,
        }

    def cost(self) -> Cost:
        """n samples an item, each with a verdict."""
        return costs.sampling(len(self.feedback), self.sampling, self.refiner.model.folder)

    def run(self, job: Job) -> dict[str, float]:
        """Sample and verify, batch by batch.

        Raises:
            ModelError: a prompt does not fit; it names the task.
            SandboxFailure: too many refinements got no verdict; what was verified is kept.
        """
        n = self.sampling.n
        items = self.items
        writer = job.place.open(self.refiner.model)
        batches = list(batched(items, max(1, writer.at_once // n)))
        growing = Growing(job.out, job.key, Refinement, (len(batch) * n for batch in batches))
        prompts = {
            number: [self._prompt(writer, item) for item in batches[number]]
            for number in range(growing.done, len(batches))
        }
        left = [self.tasks[item.task_id] for number in prompts for item in batches[number]]
        require_room(writer, [p for batch in prompts.values() for p in batch], self.sampling, left, job.out)
        pace = pace_of(writer, [n * len(of_batch) for of_batch in prompts.values()], self.sampling)
        with progress(f"sampling {self.what}", len(items) * n, growing.rows, pace=pace) as bar:
            asked = [self._asked(of_batch, batches[number], number) for number, of_batch in prompts.items()]
            completions = sampled(writer, asked, self.sampling, bar)
            for number, batch, samples in zip(prompts, asked, completions, strict=True):
                rows = self._rows(writer, batch, batches[number], samples)
                growing.append(self._verified(job, rows, batches[number]))
        rows_written = Rows(growing.part, Refinement)
        refuse_failures((r.verdict for r in rows_written if r.verdict is not None), self.max_sandbox_errors)
        growing.finish()
        found = self.result(job.out)
        passed = sum(r.verdict is not None and r.verdict.passed for r in found)
        shared = shared_counts(r.verdict for r in found if r.verdict is not None)
        return {**sample_counts(found), "passed": passed, **shared}

    def _prompt(self, writer: Writer, item: Feedback) -> Prompt:
        text = item.text if self.use_feedback else None
        return writer.prompter.refinement(self.tasks[item.task_id], item.code, text, shots=self.refiner.shots)

    def _sampled(
        self, writer: Writer, prompts: Sequence[Prompt], batch: Sequence[Feedback], number: int, bar: Progress
    ) -> list[Refinement]:
        asked = self._asked(prompts, batch, number)
        [samples] = sampled(writer, [asked], self.sampling, bar)
        return self._rows(writer, asked, batch, samples)

    def _asked(self, prompts: Sequence[Prompt], items: Sequence[Feedback], number: int) -> Batch:
        seed = seed_of(self.seed, self.what, number)
        return Batch(prompts, seed, [self.tasks[item.task_id] for item in items])

    def _rows(
        self, writer: Writer, asked: Batch, items: Sequence[Feedback], samples: Sequence[Completion]
    ) -> list[Refinement]:
        rows = []
        for sample in samples:
            item = items[sample.prompt]
            code = writer.prompter.extract_refinement(asked.tasks[sample.prompt], sample.text)
            rows.append(
                Refinement(
                    feedback_id=item.feedback_id,
                    task_id=item.task_id,
                    code=code,
                    completion=sample.text,
                    model=writer.model,
                    index=sample.index,
                    seed=asked.seed,
                    logprob=sample.logprob,
                    tokens=sample.tokens,
                    finish=sample.finish,
                    edit_distance=metrics.edit_distance(item.code, code),
                )
            )
        return rows

    def _verified(self, job: Job, rows: Sequence[Refinement], items: Sequence[Feedback]) -> list[Refinement]:
        programs = [
            Program(task_id=row.task_id, code=row.code, follows=items[place // self.sampling.n])
            for place, row in enumerate(rows)
        ]
        verdicts = job.place.verify(self.tasks, programs, self.verify)
        return [
            row.model_copy(update={"verdict": verdict}) for row, verdict in zip(rows, verdicts, strict=True)
        ]

    def result(self, out: Path) -> Rows[Refinement]:
        """The refinements."""
        return Rows(out, Refinement)
