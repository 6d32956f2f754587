"""How far people are: counts over items and answers."""

from __future__ import annotations

import statistics

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from ilf.annotate.schema import ANSWERED, Answer, Assignment, Item, Person
from ilf.annotate.settings import Progress


def progress(session: Session, now: float, round: int | None = None) -> Progress:
    """How far people are, in all or in one round.

    Args:
        session: to read with.
        now: seconds since 1970; leases after it hold.
        round: only this one's items.
    """
    where = Item.round == round if round is not None else Item.round >= 0
    items = dict(session.execute(select(Item.state, func.count()).where(where).group_by(Item.state)).all())
    mine = select(Answer.state, func.count()).join(Item, Answer.item_id == Item.id).where(where)
    answers = dict(session.execute(mine.group_by(Answer.state)).all())
    feedback = session.execute(
        select(func.count(), Item.needed)
        .select_from(Answer)
        .join(Item, Answer.item_id == Item.id)
        .where(where, Answer.state == "accepted", Answer.kind == "feedback", Item.state != "removed")
        .group_by(Item.id, Item.needed)
    ).all()
    held = session.scalar(
        select(func.count(func.distinct(Answer.item_id)))
        .join(Item, Answer.item_id == Item.id)
        .where(where, Answer.state == "open", Answer.lease_until > now)
    )
    seconds = session.scalars(
        select(Answer.seconds)
        .join(Item, Answer.item_id == Item.id)
        .where(where, Answer.state.in_(ANSWERED), Answer.seconds > 0)
    ).all()
    # An item that every person skipped, or is done with, is nobody's any more.
    people = session.scalar(select(func.count()).select_from(Person).where(Person.active)) or 0
    skipped = (
        select(Answer.item_id)
        .join(Item, Answer.item_id == Item.id)
        .join(Person, Answer.person_id == Person.id)
        .where(where, Item.state == "open", Person.active)
        .where(Answer.state.in_((*ANSWERED, "skipped", "reassigned")))
        .group_by(Answer.item_id)
        .having(func.count() >= max(people, 1))
    )
    # One that was given to some is nobody's when all of those did.
    given = (
        select(Assignment.item_id)
        .join(Item, Assignment.item_id == Item.id)
        .join(Person, Assignment.person_id == Person.id)
        .outerjoin(
            Answer,
            (Answer.item_id == Assignment.item_id)
            & (Answer.person_id == Assignment.person_id)
            & Answer.state.in_((*ANSWERED, "skipped", "reassigned")),
        )
        .where(where, Item.state == "open", Person.active)
        .group_by(Assignment.item_id)
        .having(func.count() == func.count(Answer.id))
    )
    dead = len({*session.scalars(skipped), *session.scalars(given)})
    waiting = answers.get("submitted", 0)
    return Progress(
        items=sum(items.values()) - items.get("removed", 0),
        done=items.get("done", 0),
        accepted=sum(count for count, _ in feedback),
        ready=sum(count >= needed for count, needed in feedback),
        waiting=waiting,
        returned=answers.get("returned", 0),
        held=held or 0,
        questioned=items.get("questioned", 0),
        removed=items.get("removed", 0),
        left=items.get("open", 0) - dead + items.get("questioned", 0) + waiting,
        median_seconds=statistics.median(seconds) if seconds else None,
    )
