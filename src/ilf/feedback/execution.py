"""Feedback written by running the program: which call failed, how, and what kind of mistake it suggests."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ilf.feedback import candidates, words
from ilf.records import Feedback, Program, Task, Verdict


def write(
    programs: Iterable[Program],
    verdicts: Iterable[Verdict],
    tasks: Mapping[str, Task],
    *,
    only_unsolved: bool = True,
    hide_tests: bool = True,
) -> list[Feedback]:
    """One item a task, on the wrong program that is easiest to fix.

    Args:
        programs: all samples.
        verdicts: one a program, in the same order.
        tasks: by id.
        only_unsolved: leave out tasks with a passing program.
        hide_tests: speak of the shown test only.
    """
    chosen = candidates(programs, verdicts, only_unsolved=only_unsolved)
    return [
        about(tasks[task_id], *ranked[0], hide_tests=hide_tests) for task_id, ranked in sorted(chosen.items())
    ]


def about(task: Task, program: Program, verdict: Verdict, *, hide_tests: bool = True) -> Feedback:
    """The item on one wrong program; arguments as of `words.say`."""
    return Feedback(
        task_id=task.task_id,
        code=program.code,
        text=words.say(task, program, verdict, hide_tests=hide_tests),
        source="execution",
        author="ilf verify",
        model=program.model,
    )
