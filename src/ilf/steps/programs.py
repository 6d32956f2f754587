"""Sample programs x0 ~ πθ(·|t) (Algorithm 1, line 1)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ilf import costs
from ilf.config import SamplingConfig
from ilf.costs import Cost
from ilf.errors import DataError
from ilf.policy import Model
from ilf.progress import progress
from ilf.records import Program, Rows, Task
from ilf.runfolder import Growing
from ilf.runner import Job, Step
from ilf.steps.sampling import Batch, batched, pace_of, require_room, sample_counts, sampled, seed_of
from ilf.tasks import source_hash


@dataclass(frozen=True)
class Sample(Step[Rows[Program]]):
    """n programs a task, n rows each, in the tasks' order."""

    file = "1-programs.jsonl"

    model: Model
    tasks: tuple[Task, ...]
    sampling: SamplingConfig
    seed: int = 0
    round: int = 1
    """Noted in each row."""
    what: str = "programs"
    """Name of this sampling, part of the seed."""

    def inputs(self) -> Mapping[str, Any]:
        """All that decides the samples."""
        return {
            "model": self.model.identity(),
            "tasks": source_hash(self.tasks),
            "sampling": self.sampling.model_dump(),
            "seed": self.seed,
            "round": self.round,
            "what": self.what,
        }

    def cost(self) -> Cost:
        """n samples a task."""
        return costs.sampling(len(self.tasks), self.sampling, self.model.folder)

    def run(self, job: Job) -> dict[str, float]:
        """Sample batch by batch.

        Raises:
            ModelError: a prompt does not fit; it names the task.
        """
        n = self.sampling.n
        writer = job.place.open(self.model)
        batches = list(batched(self.tasks, max(1, writer.at_once // n)))
        growing = Growing(job.out, job.key, Program, (len(batch) * n for batch in batches))
        prompts = {number: [writer.prompter.program(task) for task in batches[number]]
                   for number in range(growing.done, len(batches))}  # fmt: skip
        left = [task for number in prompts for task in batches[number]]
        require_room(writer, [p for batch in prompts.values() for p in batch], self.sampling, left, job.out)
        pace = pace_of(writer, [n * len(of_batch) for of_batch in prompts.values()], self.sampling)
        with progress(f"sampling {self.what}", len(self.tasks) * n, growing.rows, pace=pace) as bar:
            asked = [
                Batch(of_batch, seed_of(self.seed, self.round, self.what, number), batches[number])
                for number, of_batch in prompts.items()
            ]
            for (_, seed, batch), samples in zip(
                asked, sampled(writer, asked, self.sampling, bar), strict=True
            ):
                growing.append(
                    Program(
                        task_id=batch[sample.prompt].task_id,
                        code=writer.prompter.extract_program(batch[sample.prompt], sample.text),
                        completion=sample.text,
                        model=self.model.hash,
                        round=self.round,
                        index=sample.index,
                        style=self.model.style,
                        seed=seed,
                        logprob=sample.logprob,
                        tokens=sample.tokens,
                        finish=sample.finish,
                    )
                    for sample in samples
                )
        growing.finish()
        return sample_counts(Rows(job.out, Program))

    def result(self, out: Path) -> Rows[Program]:
        """The programs.

        Raises:
            DataError: one was sampled from other weights.
        """
        rows = Rows(out, Program)
        stale = next((program for program in rows if program.model != self.model.hash), None)
        if stale is not None:
            raise DataError(
                f"{out}: a program of task {stale.task_id} was not sampled from this round's model "
                f"({(stale.model or 'unknown')[:12]}, not {self.model.hash[:12]}): remove the file to sample "
                "again"
            )
        return rows
