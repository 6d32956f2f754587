"""One rule, many programs: what was said about one failure, where it holds for others of the same kind.

Which failures are alike is what `ilf feedback rank` goes by (`ilf.feedback.asking`): the kind of mistake is
the same, and the nearest come first. A person looks at each program and confirms it; what they confirm
becomes a draft of the note's author, who still writes each program's refinement.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import exists, select
from sqlalchemy.orm import Session

from ilf.annotate import bulk, queue, threads
from ilf.annotate.answers import Draft, clean
from ilf.annotate.checks import MOST_TEXT
from ilf.annotate.schema import ANSWERED, Answer, Assignment, Candidate, Item, Person, candidates_of
from ilf.annotate.store import Refused, Store
from ilf.annotate.worth import failure_of
from ilf.feedback import asking

SHOWN = 20
"""Programs shown at a time."""
_COMPARED = 300
"""Items of the same kind that are looked at."""


@dataclass(frozen=True)
class Alike:
    """An item whose failure is like the note's."""

    item: Item
    candidate: Candidate
    likeness: float
    """From 0 to 1."""


def look(store: Store, person_id: int, answer_id: int) -> tuple[Answer, Item, Person, list[Alike]]:
    """A note, its item and author, and open items with the same kind of failure, the most alike first.

    Raises:
        Refused: the person is neither its author nor a reviewer, or the answer is no submitted feedback.
    """
    with store.read() as session:
        answer = _note(session, person_id, answer_id)
        item, author = session.get(Item, answer.item_id), session.get(Person, answer.person_id)
        assert item is not None and author is not None
        own = failure_of(session, item)
        if not item.mistake or own is None:
            return answer, item, author, []
        met = exists().where(Answer.item_id == Item.id, Answer.person_id == author.id)
        query = select(Item).where(Item.state == "open", Item.mistake == item.mistake, ~met)
        found = []
        for other in session.scalars(query.order_by(Item.round.desc(), Item.position).limit(_COMPARED)):
            failure = failure_of(session, other)
            first = session.scalar(candidates_of(other.id).limit(1))
            if failure is not None and first is not None:
                found.append(Alike(other, first, asking.likeness(own, failure)))
        found.sort(key=lambda one: -one.likeness)
        return answer, item, author, found[:SHOWN]


def _note(session: Session, person_id: int, answer_id: int) -> Answer:
    answer = threads.allowed(session.get(Answer, answer_id), session.get(Person, person_id))
    if answer.kind != "feedback" or answer.state not in ANSWERED:
        raise Refused("only feedback that was submitted can be said elsewhere")
    return answer


def apply(store: Store, person_id: int, answer_id: int, texts: Mapping[int, str]) -> int:
    """Make drafts of the note's author out of what was confirmed; the batch's number.

    The tasks are given to the author, who gets them next; whoever holds or answered one keeps it.

    Args:
        store: whose items.
        person_id: who confirms: the author, or a reviewer.
        answer_id: the note.
        texts: item → what is to be said there: the note, or as it was changed for this program.

    Raises:
        Refused: as `look`, or nothing was confirmed, or a text is empty or too long.
    """
    rows, left = [], Counter[str]()
    with store.write() as change:
        session = change.session
        note = _note(session, person_id, answer_id)
        source = session.get(Item, note.item_id)
        author = session.get(Person, note.person_id)
        assert source is not None and author is not None
        if not author.active:
            raise Refused("the author's account is closed")
        for item_id in bulk.bounded(list(texts)):
            text, item = clean(texts[item_id]).strip(), session.get(Item, item_id)
            if not text or len(text) > MOST_TEXT:
                raise Refused(f"a note has 1 to {MOST_TEXT:,} characters", status=422)
            known = select(Answer.id).where(Answer.item_id == item_id, Answer.person_id == author.id)
            if item is None or item.mistake != source.mistake or session.scalar(known) is not None:
                left["it is of another kind, or the author has it already"] += 1
                continue
            if not queue.has_room(change, item, author.id):
                left["someone else has the task"] += 1
                continue
            first = session.scalar(candidates_of(item_id).limit(1))
            draft = Draft(candidate=first and first.id, text=text, tags=list(note.tags or ()))
            answer = queue.give(change, item_id, author.id)
            answer.draft = draft.model_dump(mode="json")
            if session.get(Assignment, (item_id, author.id)) is None:
                session.add(Assignment(item_id=item_id, person_id=author.id, created=change.now))
            change.log(
                person_id, "apply note", f"answers/{answer.id}", None,
                {"from": f"answers/{note.id}", "text": text},
            )  # fmt: skip
            rows.append({"table": "notes", "id": answer.id, "version": answer.version})
        return bulk.keep(change, person_id, "apply", rows, left)
