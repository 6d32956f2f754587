"""Steps of a study that a run does not have."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ilf.feedback import model as model_feedback
from ilf.policy import Model
from ilf.records import Feedback, Program, Task, Verdict, read_jsonl, write_jsonl
from ilf.runfolder import write_text
from ilf.runner import Job, Step


@dataclass(frozen=True)
class Cached(Step[Any]):
    """A JSON-able value that takes long to compute."""

    file = "value.json"

    compute: Callable[[], Any]
    of: Mapping[str, Any]
    """What decides it."""

    def inputs(self) -> Mapping[str, Any]:
        """As given."""
        return self.of

    def run(self, job: Job) -> dict[str, float]:
        """Compute and write it."""
        job.place.close()
        write_text(job.out, json.dumps(self.compute()) + "\n")
        return {}

    def result(self, out: Path) -> Any:
        """The value."""
        return json.loads(out.read_text(encoding="utf-8"))


@dataclass(frozen=True)
class WriteFeedback(Step[list[Feedback]]):
    """Feedback on given wrong programs by a model (the paper's ablation, section 3.4)."""

    file = "feedback.jsonl"

    writer: Model
    wrong: tuple[Feedback, ...]
    """The items whose programs are written about."""
    tasks: Mapping[str, Task]
    shots: tuple[Feedback, ...]
    seed: int

    def inputs(self) -> Mapping[str, Any]:
        """All that decides the texts."""
        return {
            "writer": self.writer.identity(),
            "wrong": [item.feedback_id for item in self.wrong],
            "shots": [item.to_json() for item in self.shots],
            "seed": self.seed,
        }

    def run(self, job: Job) -> dict[str, float]:
        """Ask the model."""
        asked = {}
        for item in self.wrong:
            program = Program(task_id=item.task_id, code=item.code, model=item.model)
            failed = Verdict(task_id=item.task_id, program_id=program.program_id, status="failed")
            asked[item.task_id] = [(program, failed)]
        rows = model_feedback.write(
            lambda: job.place.open(self.writer), self.tasks, asked, shots=self.shots, seed=self.seed
        )
        write_jsonl(job.out, rows)
        return {"items": len(rows)}

    def result(self, out: Path) -> list[Feedback]:
        """The items."""
        return read_jsonl(out, Feedback)
