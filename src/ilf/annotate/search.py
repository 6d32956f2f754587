"""Lists of answers and items: filtered by state, category, person and words, a page at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from sqlalchemy import ColumnElement, Text, and_, cast, exists, func, or_, select

from ilf.annotate import review
from ilf.annotate.schema import ANSWERED, Answer, Assignment, Item, Person
from ilf.annotate.store import Store

ROWS = 100
"""Rows of a page."""
JUDGED = ("waiting", "accepted", "returned", "reassigned", "overruled", "skipped")
"""What a reviewer can ask for."""
OWN = ("open", "submitted", "accepted", "returned", "skipped", "overruled")
"""What one can ask for among one's own."""
ITEMS = ("open", "done", "questioned", "removed", "twice")
"""What the queue can be asked for; `twice`: answered by several people, and none chosen yet."""
_SEEN = ("submitted", "accepted", "returned", "reassigned", "overruled", "skipped")
"""States of answers that others than the author may read."""


@dataclass(frozen=True)
class Filter:
    """What to list; empty fields ask for everything."""

    state: str = ""
    category: str = ""
    """A kind of bug that people tagged, or a kind of mistake that the failure suggests."""
    person: int | None = None
    text: str = ""
    page: int = 1

    def query(self, **changes: Any) -> str:
        """As a URL's query, with changes."""
        fields = {**vars(self), "state": self.state or "any", **changes}
        return urlencode({name: value for name, value in fields.items() if value not in ("", None)})


@dataclass(frozen=True)
class Found:
    """A page of a list."""

    rows: Sequence[Any]
    total: int
    filter: Filter

    @property
    def pages(self) -> int:
        """How many there are."""
        return max(1, -(-self.total // ROWS))


def answers(store: Store, filter: Filter, rows: int = ROWS) -> Found:
    """Answers as (answer, item, person): what waits by age, everything else the latest first.

    Args:
        store: whose.
        filter: which.
        rows: of a page.
    """
    query = (
        select(Answer, Item, Person)
        .join(Item, Answer.item_id == Item.id)
        .join(Person, Answer.person_id == Person.id)
        .where(Answer.state.in_(_SEEN), *_answer_conditions(filter))
    )
    if filter.state == "waiting":
        return _page(store, query.order_by(Answer.updated, Answer.id), filter, rows)
    return _page(store, query.order_by(Answer.updated.desc(), Answer.id), filter, rows)


def own(store: Store, person_id: int, filter: Filter) -> Found:
    """One's own answers as (answer, item), the latest first."""
    query = (
        select(Answer, Item)
        .join(Item, Answer.item_id == Item.id)
        .where(Answer.person_id == person_id, *_answer_conditions(filter))
    )
    return _page(store, query.order_by(Answer.updated.desc(), Answer.id), filter)


def _answer_conditions(filter: Filter) -> list[ColumnElement[bool]]:
    found = []
    if filter.state == "waiting":
        found.append(review.waits())
    elif filter.state:
        found.append(Answer.state == filter.state)
    if filter.category:
        # Names of kinds of bug are plain ASCII: a JSON list holds them as they are.
        tagged = cast(Answer.tags, Text).contains(f'"{filter.category}"', autoescape=True)
        found.append(or_(tagged, Item.mistake == filter.category))
    if filter.person is not None:
        found.append(Answer.person_id == filter.person)
    if filter.text.strip():
        found.append(_says([Answer.text, Answer.reason, Answer.comment, *_item_texts()], filter.text))
    return found


def items(store: Store, filter: Filter, rows: int = ROWS) -> Found:
    """Items as they come in the queue; the arguments are those of `answers`."""
    query = select(Item)
    if filter.state == "twice":
        query = query.where(_answered() > 1, Item.chosen_id.is_(None))
    elif filter.state:
        query = query.where(Item.state == filter.state)
    if filter.category:
        query = query.where(Item.mistake == filter.category)
    if filter.person is not None:
        given = exists().where(Assignment.item_id == Item.id, Assignment.person_id == filter.person)
        did = exists().where(Answer.item_id == Item.id, Answer.person_id == filter.person)
        query = query.where(or_(given, did))
    if filter.text.strip():
        query = query.where(_says(_item_texts(), filter.text))
    order = [Item.gain.desc().nulls_last()] if store.settings.order == "gain" else []
    return _page(store, query.order_by(Item.round.desc(), *order, Item.position), filter, rows)


def _item_texts() -> list[Any]:
    return [Item.task_id, Item.task["description"].as_string()]


def _says(columns: Sequence[Any], text: str) -> ColumnElement[bool]:
    """Every word is in one of the columns, in any case."""
    words = text.split()[:20]
    return and_(
        *(
            or_(*(func.coalesce(column.icontains(word, autoescape=True), False) for column in columns))
            for word in words
        )
    )


def _answered() -> Any:
    """How many people's feedback an item has."""
    return (
        select(func.count())
        .select_from(Answer)
        .where(Answer.item_id == Item.id, Answer.kind == "feedback", Answer.state.in_(ANSWERED))
        .correlate(Item)
        .scalar_subquery()
    )


def _page(store: Store, query: Any, filter: Filter, rows: int = ROWS) -> Found:
    with store.read() as session:
        total = session.scalar(select(func.count()).select_from(query.order_by(None).subquery())) or 0
        page = query.limit(rows).offset(rows * (min(max(filter.page, 1), 10**6) - 1))
        result = session.execute(page)
        found = result.scalars().all() if len(query.column_descriptions) == 1 else result.all()
        return Found(found, total, filter)


@dataclass(frozen=True)
class Beside:
    """What the queue's page shows beside an item."""

    answers: int
    people: list[str]
    """Names of those it was given to."""


def beside(store: Store, item_ids: Sequence[int]) -> dict[int, Beside]:
    """Answers and assignments of some items."""
    with store.read() as session:
        counts = dict(
            session.execute(
                select(Answer.item_id, func.count())
                .where(Answer.item_id.in_(item_ids), Answer.kind == "feedback")
                .where(Answer.state.in_(("submitted", "accepted", "overruled")))
                .group_by(Answer.item_id)
            ).all()
        )
        names: dict[int, list[str]] = {}
        given = (
            select(Assignment.item_id, Person.name)
            .join(Person, Assignment.person_id == Person.id)
            .where(Assignment.item_id.in_(item_ids))
            .order_by(Person.name)
        )
        for item_id, name in session.execute(given):
            names.setdefault(item_id, []).append(name)
    return {number: Beside(counts.get(number, 0), names.get(number, [])) for number in item_ids}


def categories(store: Store) -> list[str]:
    """Kinds of mistake in the queue, the commonest first."""
    with store.read() as session:
        query = select(Item.mistake).where(Item.mistake != "").group_by(Item.mistake)
        return [name for name in session.scalars(query.order_by(func.count().desc(), Item.mistake)) if name]


def people(store: Store) -> list[Person]:
    """Everyone whose account is open, or who answered something."""
    with store.read() as session:
        did = exists().where(Answer.person_id == Person.id)
        return list(session.scalars(select(Person).where(or_(Person.active, did)).order_by(Person.name)))
