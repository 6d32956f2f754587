"""Feedback written by running the program: which test failed, what was expected, what came."""

from __future__ import annotations

from collections.abc import Iterable

from ilf.feedback import candidates
from ilf.records import Feedback, Program, Verdict


def write(
    programs: Iterable[Program], verdicts: Iterable[Verdict], *, only_unsolved: bool = True
) -> list[Feedback]:
    """One item a task, on the wrong program that is easiest to fix; the text is the verdict's detail.

    Args:
        programs: all samples.
        verdicts: one a program, in the same order.
        only_unsolved: leave out tasks with a passing program.
    """
    return [
        Feedback(
            task_id=task_id,
            code=program.code,
            text=verdict.detail,
            source="execution",
            author="ilf verify",
            model=program.model,
        )
        for task_id, ranked in sorted(candidates(programs, verdicts, only_unsolved=only_unsolved).items())
        for program, verdict in ranked[:1]
    ]
