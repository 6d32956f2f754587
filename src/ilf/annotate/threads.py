"""What an answer's author and its reviewers say to each other about it."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import func, select

from ilf.annotate.answers import clean
from ilf.annotate.schema import Answer, Comment, Person
from ilf.annotate.store import Change, Refused, Store

MOST = 5000
"""Characters of a comment."""
_READERS = ("reviewer", "owner")


def add(change: Change, person_id: int, answer_id: int, text: str) -> Comment:
    """A comment, inside of a change."""
    row = Comment(answer_id=answer_id, person_id=person_id, at=change.now, text=clean(text).strip()[:MOST])
    change.session.add(row)
    change.session.flush()
    change.log(person_id, "comment", f"answers/{answer_id}", None, {"comment": row.id, "text": row.text})
    return row


def say(store: Store, person_id: int, answer_id: int, text: str) -> None:
    """Add to the talk about an answer.

    Raises:
        Refused: the person is neither its author nor a reviewer (404), or says nothing.
    """
    if not text.strip():
        raise Refused("write something first", status=422)
    if len(text) > MOST:
        raise Refused(f"the comment has {len(text):,} characters; at most {MOST:,}", status=422)
    with store.write() as change:
        allowed(change.session.get(Answer, answer_id), change.session.get(Person, person_id))
        add(change, person_id, answer_id, text)


def talk(store: Store, person_id: int, answer_id: int) -> tuple[Answer, list[tuple[Comment, Person]]]:
    """An answer and what was said about it, the oldest first.

    Raises:
        Refused: as `say`.
    """
    with store.read() as session:
        answer = allowed(session.get(Answer, answer_id), session.get(Person, person_id))
        rows = session.execute(
            select(Comment, Person)
            .join(Person, Comment.person_id == Person.id)
            .where(Comment.answer_id == answer_id)
            .order_by(Comment.id)
        )
        return answer, [(comment, person) for comment, person in rows]


def counts(store: Store, answer_ids: Sequence[int]) -> dict[int, int]:
    """How much was said about some answers."""
    with store.read() as session:
        query = select(Comment.answer_id, func.count()).where(Comment.answer_id.in_(answer_ids))
        return dict(session.execute(query.group_by(Comment.answer_id)).all())


def allowed(answer: Answer | None, person: Person | None) -> Answer:
    """An answer that a person may read: their own, or a reviewer's to judge.

    Raises:
        Refused: it is not there, or another's (404).
    """
    if answer is None or person is None or not (answer.person_id == person.id or person.role in _READERS):
        raise Refused("there is no such answer, or it is not yours", status=404)
    return answer
