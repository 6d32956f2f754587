"""What an annotator sees of their own work, and what happened to a thing."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from ilf.annotate.schema import ANSWERED, Answer, History, Item, Person, snapshot
from ilf.annotate.store import Store


@dataclass(frozen=True)
class Mine:
    """One person's progress."""

    answered: int
    skipped: int
    returned: int
    median_seconds: float | None


def my_progress(store: Store, person_id: int) -> Mine:
    """How far one person is."""
    with store.read() as session:
        rows = session.execute(
            select(Answer.state, Answer.seconds).where(Answer.person_id == person_id)
        ).all()
    times = [row.seconds for row in rows if row.state in ANSWERED and row.seconds > 0]
    return Mine(
        answered=sum(row.state in ANSWERED for row in rows),
        skipped=sum(row.state == "skipped" for row in rows),
        returned=sum(row.state == "returned" for row in rows),
        median_seconds=statistics.median(times) if times else None,
    )


def earlier_on_task(store: Store, item: Item, most: int = 5) -> list[tuple[Answer, Item, Person]]:
    """Accepted feedback on the same task in earlier rounds, the latest first; this round's stays hidden."""
    with store.read() as session:
        return list(
            session.execute(
                select(Answer, Item, Person)
                .join(Item, Answer.item_id == Item.id)
                .join(Person, Answer.person_id == Person.id)
                .where(Item.task_id == item.task_id, Item.round < item.round)
                .where(Answer.state == "accepted", Answer.kind == "feedback")
                .order_by(Item.round.desc(), Answer.id)
                .limit(most)
            ).all()
        )


def history(store: Store, subject: str) -> list[dict[str, Any]]:
    """All changes of one thing, the oldest first."""
    with store.read() as session:
        rows = session.scalars(select(History).where(History.subject == subject).order_by(History.id))
        return [snapshot(row) for row in rows]
