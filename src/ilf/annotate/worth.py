"""What kind of failure an item is, and how much is expected of asking about it.

The rules are those of `ilf feedback rank` and of the source `mixed` (`ilf.feedback.asking`); disagreement is
that of the candidates an item keeps.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from ilf.annotate.schema import Candidate, Item
from ilf.annotate.store import Store
from ilf.feedback import asking
from ilf.records import Program, Task, Verdict

TOGETHER = 200
"""Items that are ranked against each other: the work grows with the square."""


def failure_of(session: Session, item: Item) -> asking.Failure | None:
    """An item's failure, by its candidate that is easiest to fix; None where no candidate was ever run."""
    rows = session.scalars(select(Candidate).where(Candidate.item_id == item.id).order_by(Candidate.rank))
    pairs = [
        (Program.model_validate(row.program), Verdict.model_validate(row.verdict))
        for row in rows
        if row.verdict is not None
    ]
    if not pairs:
        return None
    return asking.failure(Task.model_validate(item.task), pairs[0], [verdict for _, verdict in pairs])


def look_at(store: Store) -> None:
    """Find the kind of mistake of new items, and their gain where it decides the order."""
    with store.read() as session:
        wanted = Item.gain.is_(None) if store.settings.order == "gain" else Item.mistake.is_(None)
        items = session.scalars(select(Item).where(wanted | Item.mistake.is_(None)).order_by(Item.id)).all()
        known = [(item.id, failure_of(session, item)) for item in items]
    if not known:
        return
    gains = _gains([failure for _, failure in known if failure]) if store.settings.order == "gain" else {}
    with store.write() as change:
        for item_id, failure in known:
            item = change.session.get(Item, item_id)
            assert item is not None
            item.mistake = failure.kind if failure else ""
            if store.settings.order == "gain":
                item.gain = gains.get(id(failure), 0.0)
        change.log(None, "look at failures", "items", None, {"items": len(known)})


def _gains(failures: Sequence[asking.Failure]) -> dict[int, float]:
    """Expected gain by the failure's identity."""
    return {id(ranked.failure): ranked.gain for part in _parts(failures) for ranked in asking.rank(part)}


def _parts(failures: Sequence[asking.Failure]) -> Iterable[Sequence[asking.Failure]]:
    # Evenly, so that no part is so small that its gains mean something else.
    count = -(-len(failures) // TOGETHER)
    return (failures[number::count] for number in range(count))
