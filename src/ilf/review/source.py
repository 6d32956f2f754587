"""Feedback source `review`: what colleagues wrote in code review, on the run's own tasks.

As `ilf feedback import` (`review.command`), but for tasks that there are already: those that an import wrote,
by their id, and others whose function has the name of the one that was commented on.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from ilf.errors import DataError
from ilf.feedback.sources import Asked
from ilf.places import Place
from ilf.progress import say
from ilf.records import Feedback, Task
from ilf.review.command import verified, write_dropped
from ilf.review.repository import Repository

DROPPED = "3-feedback-dropped.jsonl"
"""In the round's folder: comments that were left out, with the reason."""


def gather(asked: Asked, place: Place) -> list[Feedback]:
    """The comments that could be verified, one a task, those that πθ did not solve.

    Raises:
        DataError: an export cannot be read, or the repository is none.
    """
    settings = asked.settings.review
    assert settings.repository is not None
    by_name = _by_function(asked)
    exports = [Path(path) for path in settings.exports]
    found = verified(exports, Path(settings.repository), settings.head, place, asked.verify, by_name)
    kept: dict[str, Feedback] = {}
    wanted = asked.wanted
    for item in found.feedback:
        task = _task_of(item, found.tasks[item.task_id], asked, by_name)
        if task is None:
            found.dropped.append(
                (item.task_id, "its function is the one of no task of splits refine and train")
            )
        elif task.task_id not in wanted:
            found.dropped.append((item.task_id, "the model solves its task"))
        elif task.task_id in kept:
            found.dropped.append((item.task_id, "there is an earlier one on its task"))
        else:
            kept[task.task_id] = item.model_copy(update={"task_id": task.task_id, "foreign": True})
    write_dropped(asked.folder.round(asked.round).path / DROPPED, found)
    say(f"    kept: {len(kept)}")
    return list(kept.values())


def check(exports: list[str], repository: str | None, head: str) -> None:
    """Whether there is something to read, before hours of work.

    Raises:
        DataError: an export is not there, or the repository is none; the setting is named.
    """
    missing = next((path for path in exports if not Path(path).is_file()), None)
    if missing is not None:
        raise DataError(f"feedback.review.exports: {missing}: no such file")
    try:
        Repository(Path(repository or ""), head)
    except DataError as error:
        raise DataError(f"feedback.review.repository: {error}") from None


def _by_function(asked: Asked) -> dict[str, Task]:
    """The run's tasks by the name of their function, where only one has it."""
    counts = Counter(task.entry_point for task in asked.tasks.values())
    return {task.entry_point: task for task in asked.tasks.values() if counts[task.entry_point] == 1}


def _task_of(item: Feedback, joined: Task, asked: Asked, by_name: dict[str, Task]) -> Task | None:
    return asked.tasks.get(item.task_id) or by_name.get(joined.entry_point)
