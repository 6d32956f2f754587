"""What a reviewer does: accept, edit or return answers, and decide about tasks said to be wrong."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, and_, or_, select
from sqlalchemy.orm import Session

from ilf.annotate import threads
from ilf.annotate.answers import Draft, based_on, check_content, content, fill_in
from ilf.annotate.schema import ANSWERED, Answer, Candidate, Comment, Item, Person, candidates_of
from ilf.annotate.store import Change, Refused, Store
from ilf.records import Verdict


def waits() -> ColumnElement[bool]:
    """Which answers (with their items) wait for a reviewer."""
    doubt = and_(Answer.state == "skipped", Item.state == "questioned", Answer.reason.like("ambiguous%"))
    return or_(Answer.state == "submitted", doubt)


def waiting(store: Store) -> list[tuple[Answer, Item, Person]]:
    """What a reviewer has to look at, the oldest first: submitted answers, and skips of questioned items."""
    with store.read() as session:
        rows = session.execute(
            select(Answer, Item, Person)
            .join(Item, Answer.item_id == Item.id)
            .join(Person, Answer.person_id == Person.id)
            .where(waits())
            .order_by(Answer.updated)
        )
        return list(rows.all())


def recent(store: Store, most: int = 50) -> list[tuple[Answer, Item, Person]]:
    """Answers that are not waiting, the latest first."""
    with store.read() as session:
        rows = session.execute(
            select(Answer, Item, Person)
            .join(Item, Answer.item_id == Item.id)
            .join(Person, Answer.person_id == Person.id)
            .where(Answer.state.in_(("accepted", "returned", "reassigned")))
            .order_by(Answer.updated.desc())
            .limit(most)
        )
        return list(rows.all())


def look(store: Store, answer_id: int) -> tuple[Answer, Item, Person, list[Candidate]]:
    """One answer with its item, author and the item's programs.

    Raises:
        Refused: there is no such answer.
    """
    with store.read() as session:
        answer = _answer(session, answer_id)
        item, person = session.get(Item, answer.item_id), session.get(Person, answer.person_id)
        rows = session.scalars(candidates_of(answer.item_id))
        assert item is not None and person is not None
        return answer, item, person, list(rows)


def others(store: Store, answer: Answer) -> list[tuple[Answer, Person]]:
    """What other people wrote about the same item (for overlap)."""
    with store.read() as session:
        rows = session.execute(
            select(Answer, Person)
            .join(Person, Answer.person_id == Person.id)
            .where(Answer.item_id == answer.item_id, Answer.id != answer.id, Answer.kind.is_not(None))
            .order_by(Answer.id)
        )
        return list(rows.all())


def accept(store: Store, reviewer_id: int, answer_id: int, version: int | None = None) -> None:
    """Accept an answer as it is."""
    with store.write() as change:
        accept_in(change, reviewer_id, answer_id, version)


def accept_in(change: Change, reviewer_id: int, answer_id: int, version: int | None = None) -> None:
    """The same inside of a change; what it refuses, it refuses before it changes anything."""
    answer, item = _judged(change, reviewer_id, answer_id, version)
    if answer.kind != "feedback":
        raise Refused("decide whether the tests are wrong instead")
    with change.changing(answer, reviewer_id, "accept"):
        sign(answer, reviewer_id, change.now, "accepted", None)
    change.settle(item)


def edit(
    store: Store,
    reviewer_id: int,
    answer_id: int,
    draft: Draft,
    checked: Verdict | None,
    version: int | None = None,
) -> None:
    """Accept an answer with changes; the author stays its author, the history has both forms."""
    with store.write() as change:
        answer, item = _judged(change, reviewer_id, answer_id, version)
        chosen = check_content(change.session, item, draft)
        with change.changing(answer, reviewer_id, "edit"):
            if draft != content(answer):
                kept = answer.warnings
                fill_in(answer, draft, chosen, checked, [])
                answer.warnings = kept
                answer.edited = True
                answer.draft = None  # it was of the old text, and would take the reviewer's place unseen
            sign(answer, reviewer_id, change.now, "accepted", None)
        change.settle(item)


def send_back(
    store: Store, reviewer_id: int, answer_id: int, comment: str, version: int | None = None
) -> None:
    """Return an answer to its author with a comment; it is the next thing they see.

    Raises:
        Refused: there is no comment.
    """
    needs_words(comment)
    with store.write() as change:
        send_back_in(change, reviewer_id, answer_id, comment, version)


def needs_words(comment: str) -> None:
    """Refuse to return an answer without a comment."""
    if not comment.strip():
        raise Refused("say what should be better: a comment goes with a returned answer", status=422)


def send_back_in(
    change: Change, reviewer_id: int, answer_id: int, comment: str, version: int | None = None
) -> Comment:
    """The same inside of a change; the comment is the next word of the talk about the answer."""
    answer, item = _judged(change, reviewer_id, answer_id, version)
    with change.changing(answer, reviewer_id, "return"):
        sign(answer, reviewer_id, change.now, "returned", comment.strip()[: threads.MOST])
    change.settle(item)
    return threads.add(change, reviewer_id, answer_id, comment)


def reassign(store: Store, reviewer_id: int, answer_id: int, version: int | None = None) -> None:
    """Put an item back into the queue for someone else; the answer stays in the history only."""
    with store.write() as change:
        answer, item = _judged(change, reviewer_id, answer_id, version)
        with change.changing(answer, reviewer_id, "reassign"):
            sign(answer, reviewer_id, change.now, "reassigned", answer.comment)
        change.settle(item)


def decide(store: Store, reviewer_id: int, item_id: int, remove: bool, comment: str = "") -> None:
    """Decide about an item said to be wrong: take it out for good, or put it back.

    Where it goes back, an author who said that the tests are wrong gets it first, with the comment.
    """
    with store.write() as change:
        session = change.session
        item = session.get(Item, item_id)
        if item is None or item.state != "questioned":
            raise Refused("nobody questions this task", status=404 if item is None else 409)
        reports = session.scalars(
            select(Answer).where(
                Answer.item_id == item_id, Answer.kind == "tests_wrong", Answer.state == "submitted"
            )
        ).all()
        doubts = session.scalars(
            select(Answer).where(
                Answer.item_id == item_id, Answer.state == "skipped", Answer.reason.like("ambiguous%")
            )
        ).all()
        with change.changing(item, reviewer_id, "remove" if remove else "put back"):
            item.state = "removed" if remove else "open"
        for answer in reports:
            with change.changing(answer, reviewer_id, "decide"):
                note = comment.strip()[:5000] or "A reviewer checked the tests: they are right."
                sign(
                    answer,
                    reviewer_id,
                    change.now,
                    "accepted" if remove else "returned",
                    None if remove else note,
                )
        for answer in doubts:
            if not remove:
                with change.changing(answer, reviewer_id, "decide"):
                    answer.reason = "reviewed " + (answer.reason or "")
        change.settle(item)


def _answer(session: Session, answer_id: int) -> Answer:
    answer = session.get(Answer, answer_id)
    if answer is None:
        raise Refused("there is no such answer", status=404)
    return answer


def _judged(change: Change, reviewer_id: int, answer_id: int, version: int | None) -> tuple[Answer, Item]:
    answer = _answer(change.session, answer_id)
    item = change.session.get(Item, answer.item_id)
    assert item is not None
    may_judge(change, reviewer_id, [answer])
    if answer.state not in ("submitted", "accepted", "returned"):
        raise Refused("this answer is not there to be reviewed: its author has it open, or skipped the task")
    based_on(answer, version)
    return answer, item


def may_judge(change: Change, reviewer_id: int, answers: Sequence[Answer]) -> None:
    """Refuse to let someone judge their own answer (an owner may), or one that a run trains on."""
    reviewer = change.session.get(Person, reviewer_id)
    assert reviewer is not None
    if reviewer.role != "owner" and any(answer.person_id == reviewer_id for answer in answers):
        raise Refused("someone else has to review your own answer", status=403)
    if any(answer.used is not None for answer in answers):
        raise Refused("a run already trains on this answer, so it stays as it is")


def sign(answer: Answer, reviewer_id: int, now: float, state: str, comment: str | None) -> None:
    """Put a judgement on an answer."""
    answer.state, answer.comment = state, comment
    answer.reviewer_id, answer.reviewed = reviewer_id, now


def as_dict(answer: Answer) -> dict[str, Any]:
    """What a program may know of an answer."""
    return {
        "answer": answer.id,
        "item": answer.item_id,
        "state": answer.state,
        "version": answer.version,
        **content(answer).model_dump(mode="json"),
        "notes": list(answer.notes or ()),
        "edit_distance": answer.edit_distance,
        "passes": None if answer.verdict is None else answer.verdict.get("status") == "passed",
        "warnings": list(answer.warnings or ()),
        "seconds": round(answer.seconds, 1),
        "comment": answer.comment,
    }


def rivals(store: Store, item_id: int) -> tuple[Item, list[Candidate], list[tuple[Answer, Person]]]:
    """An item, its programs, and the answers between which a reviewer may choose.

    Raises:
        Refused: there is no such item.
    """
    with store.read() as session:
        item = session.get(Item, item_id)
        if item is None:
            raise Refused("there is no such task", status=404)
        programs = session.scalars(candidates_of(item_id))
        rows = session.execute(
            select(Answer, Person)
            .join(Person, Answer.person_id == Person.id)
            .where(Answer.item_id == item_id, Answer.kind == "feedback")
            .where(Answer.state.in_((*ANSWERED, "overruled")))
            .order_by(Answer.id)
        )
        return item, list(programs), list(rows.all())
