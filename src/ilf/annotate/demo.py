"""A made-up queue to try the page with: tasks of the starter suite, and wrong programs that came with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ilf.annotate import accounts, queue
from ilf.annotate.answers import Draft
from ilf.annotate.store import Store
from ilf.feedback import recorded
from ilf.records import Program
from ilf.tasks import STARTER, load_tasks

if TYPE_CHECKING:
    from ilf.config import VerifyConfig

TASKS = 8
"""Few, because the page opens only when their programs are verified."""
_WRITERS = ("Ada (made up)", "Ben (made up)")


def fill(store: Store, settings: VerifyConfig) -> None:
    """Queue `TASKS` tasks, a wrong program each; two made-up people have answered some of them.

    Raises:
        SandboxUnavailable: programs cannot run here.
    """
    from ilf import kinds

    tasks = {task.task_id: task for task in load_tasks("starter")}
    rows = [
        row for row in recorded.read(STARTER / "feedback.jsonl") if row.task_id in tasks and row.refinement
    ]
    # The shortest first, one of each task: a page of code is no demonstration.
    rows = list({row.task_id: row for row in sorted(rows, key=lambda row: -len(row.code))}.values())[-TASKS:]
    programs = [Program(task_id=row.task_id, code=row.code) for row in rows]
    chosen = {row.task_id: tasks[row.task_id] for row in rows}
    verdicts = list(kinds.verify(chosen, programs, settings))
    store.configure(title="Demo (made up)", review=True)
    store.fill(list(chosen.values()), programs, verdicts)
    texts = {row.task_id: row for row in rows}
    for name in _WRITERS:
        person = accounts.named(store, name)
        for _ in range(2):
            item_id = queue.claim(store, person)
            if item_id is None:
                return
            row = texts[queue.look(store, person, item_id).item.task_id]
            queue.submit(store, person, item_id, Draft(text=row.text, tags=list(row.tags)))
