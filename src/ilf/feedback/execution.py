"""Feedback written by running the program: which call failed, how, and what kind of mistake it suggests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ilf.feedback import words
from ilf.records import Feedback, Program, Task, Verdict


def write(
    tasks: Mapping[str, Task],
    candidates: Mapping[str, Sequence[tuple[Program, Verdict]]],
    *,
    hide_tests: bool = True,
) -> list[Feedback]:
    """One item a task, on the wrong program that is easiest to fix.

    Args:
        tasks: by id.
        candidates: the wrong programs of each task, ranked (`ilf.feedback.candidates`).
        hide_tests: speak of the shown test only.
    """
    return [
        about(tasks[task_id], *ranked[0], hide_tests=hide_tests)
        for task_id, ranked in sorted(candidates.items())
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
