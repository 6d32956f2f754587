"""What an annotator does: take a task, save a draft, submit, skip, undo, revise.

Each function is one transaction: when it returns, what it says is on disk. Whoever passes the `version` they
read is told (`Conflict`) when the answer changed since; whoever passes a `key` can ask again safely.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, and_, exists, func, or_, select
from sqlalchemy.orm import Session

from ilf.annotate.answers import Draft, Work, based_on, check_content, content, fill_in
from ilf.annotate.checks import Hint, text_hash
from ilf.annotate.schema import ANSWERED, Answer, Assignment, History, Item, Person, candidates_of
from ilf.annotate.store import Change, Refused, Store
from ilf.records import Task, Verdict

REASONS = {
    "ambiguous": "The task is ambiguous",
    "too hard": "I cannot tell what is wrong",
    "later": "Not now (give it back to the queue)",
    "other": "Another reason",
}
"""Why a task may be skipped. "The tests are wrong" is an answer, not a skip."""
SKIPS_TO_QUESTION = 2
"""So many people who find a task ambiguous bring it before a reviewer."""
_BURST_SECONDS = 60.0
"""Draft saves this close together share one row of the history."""
_PAUSE_SECONDS = 300.0
"""Without a browser that counts, a longer silence is a pause."""


# Who holds what -----------------------------------------------------------------------------------


def _taken(now: float) -> ColumnElement[bool]:
    """Answers that take up a place of their item."""
    held = and_(Answer.state == "open", Answer.lease_until > now)
    return or_(Answer.state.in_((*ANSWERED, "returned")), held)


def has_room(change: Change, item: Item, person_id: int) -> bool:
    """Whether an item still needs an answer of this person's."""
    others = change.session.scalar(
        select(func.count())
        .select_from(Answer)
        .where(Answer.item_id == item.id, Answer.person_id != person_id, _taken(change.now))
    )
    return item.state == "open" and (others or 0) < item.needed


def _renew(change: Change, answer: Answer, idle_minutes: float) -> bool:
    """Extend a lease, or take it up again after it ran out; False where someone else has the place now."""
    if answer.state != "open":
        return True
    lapsed = answer.lease_until is None or answer.lease_until <= change.now
    if lapsed and not has_room(change, _item(change.session, answer.item_id), answer.person_id):
        return False
    answer.lease_until = change.now + 60 * idle_minutes
    return True


def _item(session: Session, item_id: int) -> Item:
    item = session.get(Item, item_id)
    if item is None:
        raise Refused("there is no such task", status=404)
    return item


def _mine(session: Session, person_id: int, item_id: int) -> Answer:
    answer = session.scalar(select(Answer).where(Answer.item_id == item_id, Answer.person_id == person_id))
    if answer is None:
        raise Refused("this task was not given to you", status=404)
    return answer


def claim(store: Store, person_id: int) -> int | None:
    """The item a person should work on now: returned ones first, then the one in hand, then a new one.

    New ones are those given to this person before those for anybody.

    Returns:
        The item's id, or None where the queue has nothing for this person.
    """
    with store.write() as change:
        session, idle = change.session, change.settings.idle_minutes
        own = session.scalars(
            select(Answer)
            .join(Item, Answer.item_id == Item.id)
            .where(
                Answer.person_id == person_id, Answer.state.in_(("returned", "open")), Item.state != "removed"
            )
            .order_by(Answer.state.desc(), Answer.updated.desc())
        )
        for answer in own:
            if _renew(change, answer, idle):
                return answer.item_id
        taken = (
            select(func.count())
            .select_from(Answer)
            .where(Answer.item_id == Item.id, _taken(change.now))
            .correlate(Item)
            .scalar_subquery()
        )
        met = exists().where(Answer.item_id == Item.id, Answer.person_id == person_id).correlate(Item)
        # An account that was closed keeps nothing from the others.
        given = (
            exists()
            .where(Assignment.item_id == Item.id, Assignment.person_id == Person.id, Person.active)
            .correlate(Item)
        )
        first = [Item.gain.desc().nulls_last()] if change.settings.order == "gain" else []
        free = select(Item).where(Item.state == "open", ~met, taken < Item.needed)
        mine = free.join(Assignment, Assignment.item_id == Item.id).where(Assignment.person_id == person_id)
        item = session.scalar(mine.order_by(Item.round.desc(), *first, Item.position).limit(1))
        # Round by round, so that an index has the order and the first free item ends the search.
        rounds = session.scalars(select(Item.round).where(Item.state == "open").distinct()).all()
        for round in sorted(rounds, reverse=True) if item is None else ():
            here = free.where(Item.round == round, ~given)
            item = session.scalar(here.order_by(*first, Item.position).limit(1))
            if item is not None:
                break
        if item is None:
            return None
        give(change, item.id, person_id)
        return item.id


def give(change: Change, item_id: int, person_id: int) -> Answer:
    """Let someone hold an item that they never had."""
    answer = Answer(
        item_id=item_id, person_id=person_id, state="open", version=1,
        lease_until=change.now + 60 * change.settings.idle_minutes, opened=change.now, updated=change.now,
        seconds=0.0, edited=False,
    )  # fmt: skip
    change.session.add(answer)
    change.session.flush()
    change.log(person_id, "claim", f"answers/{answer.id}", None, {"item_id": item_id})
    return answer


def look(store: Store, person_id: int, item_id: int) -> Work:
    """An item that was given to this person.

    Raises:
        Refused: it was not.
    """
    with store.read() as session:
        item, answer = _item(session, item_id), _mine(session, person_id, item_id)
        rows = session.scalars(candidates_of(item_id))
        return Work(item, Task.model_validate(item.task), list(rows), answer)


def reopen(store: Store, person_id: int, item_id: int) -> None:
    """Take a skipped item up again.

    Raises:
        Refused: someone else has it now.
    """
    with store.write() as change:
        answer = _mine(change.session, person_id, item_id)
        if answer.state == "skipped":
            _take_up(change, answer, change.settings.idle_minutes)


def _take_up(change: Change, answer: Answer, idle_minutes: float) -> None:
    item = _item(change.session, answer.item_id)
    if item.state == "questioned" and not _questions(change, item, apart_from=answer):
        item.state = "open"
    if not has_room(change, item, answer.person_id):
        raise Refused("this task is with someone else now, or before a reviewer; your text is kept")
    with change.changing(answer, answer.person_id, "reopen"):
        answer.state, answer.reason = "open", None
        answer.lease_until = change.now + 60 * idle_minutes


def _questions(change: Change, item: Item, apart_from: Answer | None = None) -> bool:
    """Does an answer still say that this item's tests or wording are wrong?"""
    rows = change.session.scalars(select(Answer).where(Answer.item_id == item.id)).all()
    rows = [row for row in rows if apart_from is None or row.id != apart_from.id]
    ambiguous = sum(row.state == "skipped" and (row.reason or "").startswith("ambiguous") for row in rows)
    reported = any(row.state == "submitted" and row.kind == "tests_wrong" for row in rows)
    return reported or ambiguous >= SKIPS_TO_QUESTION


# Writing ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Saved:
    """What became of a draft: its new version, and whether the item is still this person's."""

    version: int
    held: bool


def _spend(answer: Answer, now: float, seconds: float | None) -> None:
    """Count time: what the browser counted while there were signs of work, but never more than went by."""
    passed = max(0.0, now - answer.updated)
    if seconds is None:
        answer.seconds += passed if passed <= _PAUSE_SECONDS else 0.0
    else:
        answer.seconds = min(max(answer.seconds, seconds), answer.seconds + passed + 5.0)


def save_draft(
    store: Store,
    person_id: int,
    item_id: int,
    version: int | None,
    draft: Draft,
    seconds: float | None = None,
) -> Saved:
    """Keep what is being typed, and the lease with it.

    Args:
        store: where to.
        person_id: who types.
        item_id: what about.
        version: of the answer that the draft started from; None overwrites.
        draft: all of it.
        seconds: time spent on the item so far, pauses left out.

    Raises:
        Conflict: the answer has another version by now.
        Refused: the item is not this person's, or a run already trains on the answer.
    """
    with store.write() as change:
        answer = _mine(change.session, person_id, item_id)
        _editable(answer)
        new = draft.model_dump(mode="json")
        if answer.draft != new:  # the same text from a page that closed meanwhile is no conflict
            based_on(answer, version)
        held = _renew(change, answer, change.settings.idle_minutes)
        if answer.draft == new or (
            answer.draft is None and answer.kind and new == content(answer).model_dump()
        ):
            _spend(answer, change.now, seconds)
            answer.updated = change.now
            return Saved(answer.version, held)
        before = answer.draft
        _spend(answer, change.now, seconds)
        answer.draft = new
        answer.version += 1
        answer.updated = change.now
        _log_draft(change, answer, before)
        return Saved(answer.version, held)


def _log_draft(change: Change, answer: Answer, before: dict[str, Any] | None) -> None:
    subject = f"answers/{answer.id}"
    last = change.session.scalar(
        select(History).where(History.subject == subject).order_by(History.id.desc()).limit(1)
    )
    if last is not None and last.action == "draft" and change.now - last.at < _BURST_SECONDS:
        last.after = {"draft": answer.draft}
    else:
        change.log(answer.person_id, "draft", subject, {"draft": before}, {"draft": answer.draft})


def _editable(answer: Answer) -> None:
    if answer.used is not None:
        raise Refused("a run already trains on this answer, so it stays as it is")
    if answer.state == "reassigned":
        raise Refused("a reviewer gave this task to someone else")


def submit(
    store: Store,
    person_id: int,
    item_id: int,
    draft: Draft,
    version: int | None = None,
    seconds: float | None = None,
    checked: Verdict | None = None,
    hints: list[Hint] | None = None,
    key: str | None = None,
) -> dict[str, Any]:
    """Submit an answer, or submit a revised one.

    Args:
        store: where to.
        person_id: who wrote it.
        item_id: what about.
        draft: the answer.
        version: of the answer it started from; None overwrites.
        seconds: time spent on the item, pauses left out.
        checked: the refinement's verdict.
        hints: warnings to record with it.
        key: idempotency key.

    Returns:
        `item`, `answer`, `state` and `version`.

    Raises:
        Conflict: the answer has another version by now.
        Refused: the item is not this person's (any more), or the answer is not one.
    """
    request = {"do": "submit", "item": item_id, "draft": draft.model_dump(mode="json")}
    with store.write() as change:

        def do() -> dict[str, Any]:
            session, settings = change.session, change.settings
            answer, item = _mine(session, person_id, item_id), _item(session, item_id)
            _editable(answer)
            based_on(answer, version)
            chosen = check_content(session, item, draft)
            if item.state == "removed":
                raise Refused("a reviewer took this task out")
            if answer.state == "skipped" or not _renew(change, answer, settings.idle_minutes):
                _take_up(change, answer, settings.idle_minutes)
            with change.changing(answer, person_id, "submit" if answer.submitted is None else "revise"):
                _spend(answer, change.now, seconds)
                fill_in(answer, draft, chosen, checked, hints or [])
                answer.state = "submitted" if settings.review or draft.kind == "tests_wrong" else "accepted"
                answer.submitted = change.now
                answer.lease_until = answer.draft = answer.reviewed = answer.reviewer_id = None
            if item.state == "questioned" and not _questions(change, item):
                item.state = "open"
            elif draft.kind == "tests_wrong":
                item.state = "questioned"
            change.settle(item)
            return {"item": item.id, "answer": answer.id, "state": answer.state, "version": answer.version}

        return change.once(person_id, key, request, do)


def seen_elsewhere(store: Store, item_id: int, text: str) -> bool:
    """Was this text already submitted for another item?"""
    with store.read() as session:
        query = select(Answer.id).where(
            Answer.text_hash == text_hash(text), Answer.item_id != item_id, Answer.kind == "feedback"
        )
        return bool(text.strip()) and session.scalar(query.limit(1)) is not None


def skip(
    store: Store, person_id: int, item_id: int, reason: str, note: str = "", key: str | None = None
) -> dict[str, Any]:
    """Give an item back with a reason of `REASONS`; this person does not get it again by itself.

    Raises:
        Refused: the reason is not one, or there is nothing to skip.
    """
    if reason not in REASONS:
        raise Refused(f"unknown reason {reason!r}; allowed: {', '.join(REASONS)}", status=422)
    request = {"do": "skip", "item": item_id, "reason": reason, "note": note}
    with store.write() as change:

        def do() -> dict[str, Any]:
            answer, item = _mine(change.session, person_id, item_id), _item(change.session, item_id)
            if answer.state not in ("open", "returned", "skipped"):
                raise Refused("this task is answered; it can be revised or undone, but not skipped")
            with change.changing(answer, person_id, "skip"):
                answer.state, answer.lease_until = "skipped", None
                answer.reason = f"{reason}: {note.strip()[:1000]}" if note.strip() else reason
            if item.state == "open" and _questions(change, item):
                item.state = "questioned"
            change.settle(item)
            return {"item": item.id, "answer": answer.id, "state": answer.state, "version": answer.version}

        return change.once(person_id, key, request, do)


def undo(store: Store, person_id: int, item_id: int) -> None:
    """Take back one's own submission or skip: the item is open again with everything that was written.

    Raises:
        Refused: a reviewer has judged it, a run trains on it, or someone else has the item.
    """
    with store.write() as change:
        answer, item = _mine(change.session, person_id, item_id), _item(change.session, item_id)
        _editable(answer)
        if answer.state == "skipped":
            _take_up(change, answer, change.settings.idle_minutes)
            return
        if answer.state not in ANSWERED:
            raise Refused("there is nothing to undo")
        if answer.reviewed is not None and answer.state == "accepted":
            raise Refused("a reviewer has accepted this already")
        with change.changing(answer, person_id, "undo"):
            answer.draft = content(answer).model_dump(mode="json")
            answer.state, answer.kind, answer.submitted = "open", None, None
            answer.text_hash = None
            answer.lease_until = change.now + 60 * change.settings.idle_minutes
        if item.state == "questioned" and not _questions(change, item):
            item.state = "open"
        change.settle(item)
