"""Many at once: accept, return, assign; choose one of several answers. Each can be undone by who did it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import delete, select

from ilf.annotate import review
from ilf.annotate.schema import ANSWERED, Answer, Assignment, Base, Batch, Comment, Item, Person, snapshot
from ilf.annotate.store import Change, Refused, Store

MOST = 1000
"""Rows of a batch."""
How = Literal["only", "also", "anybody"]


@dataclass(frozen=True)
class Told:
    """What became of a batch."""

    id: int
    action: str
    changed: int
    left: dict[str, int]
    """Why rows were left as they are, and how many for that reason."""
    undone: bool


def told(store: Store, person_id: int, batch_id: int | None) -> Told | None:
    """What became of one's own batch; None where there is no such."""
    with store.read() as session:
        batch = session.get(Batch, batch_id) if batch_id is not None else None
        if batch is None or batch.person_id != person_id:
            return None
        kept = [row for row in batch.rows if row["table"] in ("answers", "assignments", "notes")]
        left = {row["why"]: row["count"] for row in batch.rows if row["table"] == "left"}
        return Told(batch.id, batch.action, len(kept), left, batch.undone is not None)


def accept(store: Store, reviewer_id: int, answer_ids: Sequence[int]) -> int:
    """Accept answers as they are; the batch's number."""
    return _each(
        store, reviewer_id, "accept", answer_ids, lambda change, n: review.accept_in(change, reviewer_id, n)
    )


def send_back(store: Store, reviewer_id: int, answer_ids: Sequence[int], comment: str) -> int:
    """Return answers with one comment; the batch's number.

    Raises:
        Refused: there is no comment.
    """
    review.needs_words(comment)
    return _each(
        store, reviewer_id, "return", answer_ids,
        lambda change, n: review.send_back_in(change, reviewer_id, n, comment),
    )  # fmt: skip


def _each(
    store: Store,
    reviewer_id: int,
    action: str,
    answer_ids: Sequence[int],
    do: Callable[[Change, int], Comment | None],
) -> int:
    rows: list[dict[str, Any]] = []
    left: Counter[str] = Counter()
    with store.write() as change:
        for number in bounded(answer_ids):
            answer = change.session.get(Answer, number)
            before = {} if answer is None else snapshot(answer)
            try:
                said = do(change, number)
            except Refused as error:  # it came before anything was changed
                left[str(error)] += 1
                continue
            assert answer is not None
            rows.append(_row(answer, before))
            if said is not None:
                rows.append({"table": "comments", "id": said.id})
        return keep(change, reviewer_id, action, rows, left)


def bounded(numbers: Sequence[int]) -> list[int]:
    """So many rows as a batch may have, each once; `Refused` where there are none or too many."""
    if not numbers:
        raise Refused("nothing is marked", status=422)
    if len(numbers) > MOST:
        raise Refused(f"{len(numbers):,} at once; at most {MOST:,}: narrow the list first", status=422)
    return list(dict.fromkeys(numbers))


def _row(row: Base, before: dict[str, Any]) -> dict[str, Any]:
    """What of a row changed, as undoing needs it."""
    after = snapshot(row)
    changed = {name: before[name] for name in after if after[name] != before[name] and name != "version"}
    return {
        "table": row.__tablename__, "id": before["id"], "before": changed, "version": after.get("version"),
    }  # fmt: skip


def keep(change: Change, person_id: int, action: str, rows: list[dict[str, Any]], left: Counter[str]) -> int:
    """Keep what was done to some rows, so that it can be undone; the batch's number."""
    rows = rows + [{"table": "left", "why": why, "count": count} for why, count in left.items()]
    batch = Batch(at=change.now, person_id=person_id, action=action, rows=rows)
    change.session.add(batch)
    change.session.flush()
    return batch.id


def assign(
    store: Store, reviewer_id: int, item_ids: Sequence[int], person_id: int | None, how: How = "only"
) -> int:
    """Say who is to answer items; the batch's number.

    Args:
        store: whose items.
        reviewer_id: who says so.
        item_ids: which.
        person_id: to whom; None only with `anybody`.
        how: `only` that person, that person `also`, or `anybody` (as without an assignment).

    Raises:
        Refused: the person is not there, or their account is closed.
    """
    rows: list[dict[str, Any]] = []
    left: Counter[str] = Counter()
    with store.write() as change:
        person = None if person_id is None else change.session.get(Person, person_id)
        if how != "anybody" and (person is None or not person.active):
            raise Refused("there is no such person, or the account is closed", status=422)
        for number in bounded(item_ids):
            item = change.session.get(Item, number)
            if item is None or item.state == "removed":
                left["the task is not there, or was taken out"] += 1
                continue
            before = _people(change, number)
            new = [] if person is None or how == "anybody" else [person.id]
            after = sorted({*before, *new}) if how == "also" else new
            _give(change, reviewer_id, number, before, after)
            rows.append({"table": "assignments", "id": number, "before": before, "after": after})
        return keep(change, reviewer_id, "assign", rows, left)


def _people(change: Change, item_id: int) -> list[int]:
    query = select(Assignment.person_id).where(Assignment.item_id == item_id)
    return sorted(change.session.scalars(query))


def _give(change: Change, by: int, item_id: int, before: list[int], after: list[int]) -> None:
    if before == after:
        return
    change.session.execute(delete(Assignment).where(Assignment.item_id == item_id))
    for person_id in after:
        change.session.add(Assignment(item_id=item_id, person_id=person_id, created=change.now))
    change.session.flush()
    change.log(by, "assign", f"items/{item_id}", {"people": before}, {"people": after})


def choose(store: Store, reviewer_id: int, answer_id: int) -> int:
    """Let one of an item's answers stand for it: it is accepted, the others are overruled.

    Returns the batch's number.

    Raises:
        Refused: there is only one, the reviewer wrote one of them, or a run trains on one.
    """
    with store.write() as change:
        session = change.session
        chosen = session.get(Answer, answer_id)
        if chosen is None or chosen.kind != "feedback" or chosen.state not in (*ANSWERED, "overruled"):
            raise Refused("there is no such answer to choose", status=404 if chosen is None else 409)
        item = session.get(Item, chosen.item_id)
        answers = session.scalars(
            select(Answer)
            .where(Answer.item_id == chosen.item_id, Answer.kind == "feedback")
            .where(Answer.state.in_((*ANSWERED, "overruled")))
        ).all()
        assert item is not None
        if item.state in ("questioned", "removed"):
            raise Refused("decide first whether this task is right")
        if len(answers) < 2:
            raise Refused("this task has one answer: accept or return it")
        review.may_judge(change, reviewer_id, answers)
        rows, was = [], snapshot(item)
        for answer in answers:
            before = snapshot(answer)
            with change.changing(answer, reviewer_id, "choose" if answer is chosen else "overrule"):
                review.sign(
                    answer, reviewer_id, change.now, "accepted" if answer is chosen else "overruled", None
                )
            rows.append(_row(answer, before))
        with change.changing(item, reviewer_id, "choose"):
            item.needed, item.chosen_id = 1, chosen.id
        change.settle(item)
        rows.append(_row(item, was))
        return keep(change, reviewer_id, "choose", rows, Counter())


def undo(store: Store, person_id: int, batch_id: int) -> tuple[int, int]:
    """Take a batch back; what changed since stays as it is.

    Returns:
        How many rows are as before, and how many had changed.

    Raises:
        Refused: it is not this person's, or undone already.
    """
    with store.write() as change:
        batch = change.session.get(Batch, batch_id)
        if batch is None or batch.person_id != person_id:
            raise Refused("there is nothing of yours to undo", status=404)
        if batch.undone is not None:
            raise Refused("this is undone already")
        back = kept = 0
        # A word that was said with a return goes only where the return goes.
        for row, following in zip(batch.rows, [*batch.rows[1:], {"table": ""}], strict=True):
            if row["table"] in ("left", "comments"):
                continue
            done = (
                _assigned_before(change, person_id, row)
                or _not_noted(change, person_id, row)
                or _as_before(change, person_id, row)
            )
            back, kept = back + done, kept + (not done)
            if done and following["table"] == "comments":
                change.session.execute(delete(Comment).where(Comment.id == following["id"]))
        batch.undone = change.now
        return back, kept


def _assigned_before(change: Change, person_id: int, row: dict[str, Any]) -> bool:
    if row["table"] != "assignments" or _people(change, row["id"]) != row["after"]:
        return False
    _give(change, person_id, row["id"], row["after"], row["before"])
    return True


def _not_noted(change: Change, person_id: int, row: dict[str, Any]) -> bool:
    """Take back a draft that was made of a note, and that nobody touched since."""
    answer = change.session.get(Answer, row["id"]) if row["table"] == "notes" else None
    if answer is None or answer.version != row["version"] or answer.state != "open":
        return False
    change.session.execute(delete(Comment).where(Comment.answer_id == answer.id))
    change.session.execute(
        delete(Assignment).where(
            Assignment.item_id == answer.item_id, Assignment.person_id == answer.person_id
        )
    )
    change.log(person_id, "undo", f"answers/{answer.id}", snapshot(answer), None)
    change.session.delete(answer)
    return True


def _as_before(change: Change, person_id: int, row: dict[str, Any]) -> bool:
    found: Answer | Item | None = None
    if row["table"] == "answers":
        found = change.session.get(Answer, row["id"])
    elif row["table"] == "items":
        found = change.session.get(Item, row["id"])
    if isinstance(found, Answer) and (found.version != row["version"] or found.used is not None):
        return False
    if found is None:
        return False
    with change.changing(found, person_id, "undo"):
        for name, value in row["before"].items():
            if name not in ("updated", "state") or isinstance(found, Answer):
                setattr(found, name, value)
    item = change.session.get(Item, found.item_id if isinstance(found, Answer) else found.id)
    assert item is not None
    change.settle(item)
    return True
