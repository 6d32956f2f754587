"""What kind of failure an item is, and how much is expected of asking about it.

The rules are those of `ilf feedback rank` and of the source `mixed` (`ilf.feedback.asking`); disagreement is
that of the candidates an item keeps.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from ilf.annotate.schema import Item, candidates_of
from ilf.annotate.store import Store
from ilf.feedback import asking
from ilf.records import Program, Task, Verdict

TOGETHER = 200
"""Items that are ranked against each other: the work grows with the square."""


def failure_of(session: Session, item: Item) -> asking.Failure | None:
    """An item's failure, by its candidate that is easiest to fix; None where no candidate was ever run."""
    pairs = _pairs(session, item)
    if not pairs:
        return None
    return asking.failure(Task.model_validate(item.task), pairs[0], [verdict for _, verdict in pairs])


def _pairs(session: Session, item: Item) -> list[asking.Pair]:
    rows = session.scalars(candidates_of(item.id))
    return [
        (Program.model_validate(row.program), Verdict.model_validate(row.verdict))
        for row in rows
        if row.verdict is not None
    ]


def look_at(store: Store) -> None:
    """Find the kind of mistake of new items, and their gain where it decides the order.

    A few items are one change, so that people get in between, and an interrupted search goes on where it was.
    """
    with store.read() as session:
        if store.settings.order == "gain":
            wanted, look = Item.gain.is_(None), _gains
        else:
            wanted, look = Item.mistake.is_(None), _kinds
        numbers = session.scalars(select(Item.id).where(wanted).order_by(Item.position)).all()
    # Evenly, so that no part is so small that its gains mean something else.
    count = -(-len(numbers) // TOGETHER)
    for start in range(count):
        with store.read() as session:
            part = session.scalars(select(Item).where(Item.id.in_(numbers[start::count]))).all()
            found = look(session, part)
        with store.write() as change:
            for number, (kind, gain) in found.items():
                item = change.session.get(Item, number)
                assert item is not None
                item.mistake = kind
                item.gain = gain if gain is not None else item.gain
            change.log(None, "look at failures", "items", None, {"items": len(found)})


_Found = dict[int, tuple[str, float | None]]


def _kinds(session: Session, items: Sequence[Item]) -> _Found:
    found: _Found = {}
    for item in items:
        pairs = _pairs(session, item)
        kind = asking.kind_of(Task.model_validate(item.task), pairs[0]) if pairs else ""
        found[item.id] = kind, None
    return found


def _gains(session: Session, items: Sequence[Item]) -> _Found:
    failures = {item.id: failure_of(session, item) for item in items}
    ranked = asking.rank([failure for failure in failures.values() if failure is not None])
    gains = {id(one.failure): one.gain for one in ranked}
    return {
        number: ("", 0.0) if failure is None else (failure.kind, gains[id(failure)])
        for number, failure in failures.items()
    }
