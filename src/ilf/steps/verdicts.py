"""EVAL(x, t) of each program (Algorithm 1, line 1)."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice, repeat
from pathlib import Path
from typing import Any

from ilf import costs
from ilf.config import VerifyConfig
from ilf.costs import Cost
from ilf.errors import DataError
from ilf.progress import progress, say
from ilf.records import Program, Rows, Task, Verdict
from ilf.runfolder import Growing, digest
from ilf.runner import Job, Step
from ilf.steps.sampling import batched, refuse_failures
from ilf.tasks import source_hash

ROWS = 64
"""Verdicts between two writes."""
NAMED = 8
"""Tasks with shared isolation that a line names."""
SHARED = "with isolation shared"
"""What the manifest calls the number of verdicts whose tests ran inside the program's process."""


@dataclass(frozen=True)
class Verify(Step[Rows[Verdict]]):
    """One verdict a program, in the programs' order."""

    file = "2-verdicts.jsonl"

    programs: Rows[Program]
    tasks: Mapping[str, Task]
    """By id."""
    verify: VerifyConfig
    max_sandbox_errors: float = 0.05
    """Share of programs without a verdict above which this stops."""

    def inputs(self) -> Mapping[str, Any]:
        """All that decides the verdicts."""
        of_programs: set[str] = set()
        content = digest(self.programs.path, lambda line: of_programs.add(_task_of(line)))
        if "" in of_programs:  # lines of somebody's own: their reader knows, or says what is wrong
            of_programs = {program.task_id for program in self.programs}
        unknown = sorted(of_programs - self.tasks.keys())
        if unknown:
            raise DataError(
                f"a program is for task {unknown[0]!r}, which is not among the {len(self.tasks)} tasks"
            )
        return {
            "programs": content,
            "tasks": source_hash([self.tasks[task_id] for task_id in sorted(of_programs)]),
            "verify": self.verify.deciding(),
        }

    def cost(self) -> Cost:
        """A row a program."""
        with self.programs.path.open("rb") as rows:
            return costs.verifying(sum(1 for _ in rows))

    def run(self, job: Job) -> dict[str, float]:
        """Verify, and write every few verdicts.

        Raises:
            SandboxFailure: too many programs got no verdict; what was verified is kept.
        """
        count = len(self.programs)
        growing = Growing(job.out, job.key, Verdict, repeat(1, count))
        if growing.done < count:
            with progress("verifying", count, growing.rows) as bar:
                left = islice(self.programs, growing.rows, None)
                for batch in batched(job.place.verify(self.tasks, left, self.verify, bar), ROWS):
                    growing.append(batch)
        refuse_failures(Rows(growing.part, Verdict), self.max_sandbox_errors)
        growing.finish()
        found = self.result(job.out)
        return {**Counter(verdict.status for verdict in found), **shared_counts(found)}

    def result(self, out: Path) -> Rows[Verdict]:
        """The verdicts."""
        return Rows(out, Verdict)


def _task_of(line: bytes) -> str:
    """The task of a row as we write it, without the cost of reading a whole record; "" for another one."""
    with suppress(ValueError):
        row = json.loads(line)
        if isinstance(row, dict) and isinstance(row.get("task_id"), str):
            return str(row["task_id"])
    return ""


def shared_counts(verdicts: Iterable[Verdict]) -> dict[str, float]:
    """How many verdicts have shared isolation, for the manifest; nothing where none has.

    It is also said, with the tasks: such a verdict is the program's own word.
    """
    shared = Counter(verdict.task_id for verdict in verdicts if verdict.shared)
    if not shared:
        return {}
    named = ", ".join(list(shared)[:NAMED]) + (" …" if len(shared) > NAMED else "")
    say(f"    {shared.total()} verdicts {SHARED}, where a hostile program is able to cheat; tasks: {named}")
    return {SHARED: shared.total()}
