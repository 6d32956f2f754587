"""Tables of the annotation store.

Times are seconds since 1970 (UTC); records travel as their own JSON. A row of `answers` is what one
person did with one item: its columns hold what was submitted, `draft` what is being typed. `version` rises
with every change, and a change that was based on an older version is refused (two tabs never overwrite
each other).
"""

from __future__ import annotations

import time
from typing import Any

from sqlalchemy import JSON, ForeignKey, Index, MetaData, Select, Text, UniqueConstraint, select
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from ilf.records import Program, Verdict

_JSON = JSON(none_as_null=True)
ANSWERED = ("submitted", "accepted")
"""States of an answer that is there, reviewed or not."""


class Base(DeclarativeBase):
    """All tables; constraints are named so that migrations can change them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {dict[str, Any]: _JSON, list[Any]: _JSON, str: Text}  # noqa: RUF012


class Setting(Base):
    """One setting or piece of state of the store, by name."""

    __tablename__ = "settings"
    name: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[dict[str, Any]]


class Person(Base):
    """Someone with an account."""

    __tablename__ = "people"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    role: Mapped[str]
    """`annotator`, `reviewer` or `owner`."""
    active: Mapped[bool] = mapped_column(default=True)
    epoch: Mapped[int] = mapped_column(default=0)
    """Rises to sign the person out everywhere."""
    created: Mapped[float]


class Link(Base):
    """An invitation, or a way to sign in again; works once."""

    __tablename__ = "links"
    id: Mapped[int] = mapped_column(primary_key=True)
    token_hash: Mapped[str] = mapped_column(unique=True)
    role: Mapped[str]
    person_id: Mapped[int | None] = mapped_column(ForeignKey("people.id"))
    """Who signs in with it; None: an invitation, which makes an account."""
    created_by: Mapped[int | None] = mapped_column(ForeignKey("people.id"))
    created: Mapped[float]
    expires: Mapped[float]
    used: Mapped[float | None]
    note: Mapped[str] = mapped_column(default="", server_default="")
    """Whom an invitation is for, in the owner's words."""


class ApiKey(Base):
    """A key with which a program acts for a person (or for workers of a vendor's)."""

    __tablename__ = "api_keys"
    id: Mapped[int] = mapped_column(primary_key=True)
    token_hash: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]
    person_id: Mapped[int] = mapped_column(ForeignKey("people.id"))
    created: Mapped[float]
    revoked: Mapped[float | None]


class Item(Base):
    """A task that the model did not solve."""

    __tablename__ = "items"
    id: Mapped[int] = mapped_column(primary_key=True)
    round: Mapped[int]
    task_id: Mapped[str]
    task: Mapped[dict[str, Any]]
    position: Mapped[int]
    """Place in the queue."""
    state: Mapped[str]
    """`open`, `done` (as many answers as asked for), `questioned` (waits for a reviewer), `removed`."""
    needed: Mapped[int]
    """How many people answer it."""
    created: Mapped[float]
    mistake: Mapped[str | None]
    """Kind of mistake its first candidate suggests (`ilf.feedback.asking`); empty: unknown, None: not yet
    looked for."""
    gain: Mapped[float | None]
    """Expected gain of asking about it, in arbitrary units; None: not computed."""
    chosen_id: Mapped[int | None]
    """The answer that a reviewer chose among several (`answers.id`, without a foreign key: that table
    refers to this)."""

    __table_args__ = (UniqueConstraint("round", "task_id"), Index(None, "state", "position"))


class Candidate(Base):
    """One of the model's wrong programs for an item."""

    __tablename__ = "candidates"
    id: Mapped[int] = mapped_column(primary_key=True)
    item_id: Mapped[int] = mapped_column(ForeignKey("items.id"), index=True)
    rank: Mapped[int]
    """From 1, the easiest to fix."""
    program: Mapped[dict[str, Any]]
    verdict: Mapped[dict[str, Any] | None]
    """None: it came with an import and was never run here."""


class Answer(Base):
    """What one person did with one item."""

    __tablename__ = "answers"
    id: Mapped[int] = mapped_column(primary_key=True)
    item_id: Mapped[int] = mapped_column(ForeignKey("items.id"))
    person_id: Mapped[int] = mapped_column(ForeignKey("people.id"), index=True)
    state: Mapped[str]
    """`open`, `skipped`, `submitted` (waits for review), `accepted`, `returned`, `reassigned`, `overruled`
    (a reviewer chose another answer to the same item)."""
    version: Mapped[int] = mapped_column(default=1)
    lease_until: Mapped[float | None]
    """Only while `open`: until then nobody else gets the item."""
    opened: Mapped[float]
    updated: Mapped[float]
    submitted: Mapped[float | None]
    seconds: Mapped[float] = mapped_column(default=0.0)
    """Time spent on it, pauses left out."""
    draft: Mapped[dict[str, Any] | None]
    """What is being typed: `candidate`, `text`, `tags`, `bugs`, `refinement`."""

    kind: Mapped[str | None]
    """`feedback` or `tests_wrong`."""
    candidate_id: Mapped[int | None] = mapped_column(ForeignKey("candidates.id"))
    text: Mapped[str | None]
    notes: Mapped[list[Any] | None]
    """What of the text is about single lines: `first`, `last` and `text` of each (`ilf.notes`)."""
    suggestions: Mapped[list[Any] | None]
    """What was suggested and what became of it (`annotate.suggestions.outcomes`)."""
    text_hash: Mapped[str | None] = mapped_column(index=True)
    """Of the text without case and spacing: the same text on another item is found by it."""
    tags: Mapped[list[Any] | None]
    bugs: Mapped[int | None]
    refinement: Mapped[str | None]
    verdict: Mapped[dict[str, Any] | None]
    """Of the refinement."""
    edit_distance: Mapped[int | None]
    warnings: Mapped[list[Any] | None]
    reason: Mapped[str | None]
    """Why it was skipped."""

    comment: Mapped[str | None]
    """The reviewer's."""
    reviewer_id: Mapped[int | None] = mapped_column(ForeignKey("people.id"))
    reviewed: Mapped[float | None]
    edited: Mapped[bool] = mapped_column(default=False)
    """A reviewer changed it."""
    imported: Mapped[dict[str, Any] | None]
    """The feedback record it came from, if it was not written here."""
    used: Mapped[float | None]
    """When a run took it for training; from then on it stays as it is."""

    __table_args__ = (UniqueConstraint("item_id", "person_id"), Index(None, "state", "person_id"))


class Assignment(Base):
    """Who is to answer an item: where there is any, nobody else gets it."""

    __tablename__ = "assignments"
    item_id: Mapped[int] = mapped_column(ForeignKey("items.id"), primary_key=True)
    person_id: Mapped[int] = mapped_column(ForeignKey("people.id"), primary_key=True, index=True)
    created: Mapped[float]


class Comment(Base):
    """One word of the talk between an answer's author and its reviewers."""

    __tablename__ = "comments"
    id: Mapped[int] = mapped_column(primary_key=True)
    answer_id: Mapped[int] = mapped_column(ForeignKey("answers.id"), index=True)
    person_id: Mapped[int] = mapped_column(ForeignKey("people.id"))
    at: Mapped[float]
    text: Mapped[str]


class Batch(Base):
    """Something that was done to many rows at once, so that it can be undone."""

    __tablename__ = "batches"
    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[float]
    person_id: Mapped[int] = mapped_column(ForeignKey("people.id"))
    action: Mapped[str]
    rows: Mapped[list[Any]]
    """For each row: what it is, its version afterwards, and what its columns held before."""
    undone: Mapped[float | None]


class Receipt(Base):
    """The reply to a request with an idempotency key: asked again, it is answered again, not done again."""

    __tablename__ = "receipts"
    person_id: Mapped[int] = mapped_column(ForeignKey("people.id"), primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    request_hash: Mapped[str]
    reply: Mapped[dict[str, Any]]
    created: Mapped[float]


class History(Base):
    """Every change: who, when, what, before and after."""

    __tablename__ = "history"
    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[float]
    person_id: Mapped[int | None] = mapped_column(ForeignKey("people.id"))
    """None: the program itself (an import, a run)."""
    action: Mapped[str]
    subject: Mapped[str]
    """Table and id, such as `answers/12`."""
    before: Mapped[dict[str, Any] | None]
    after: Mapped[dict[str, Any] | None]

    __table_args__ = (Index(None, "subject"),)


def snapshot(row: Base) -> dict[str, Any]:
    """A row's columns as JSON-able values."""
    return {column.name: getattr(row, column.name) for column in row.__table__.columns}


def utc(seconds: float | None) -> str | None:
    """A time as ISO 8601 in UTC, to the second."""
    return None if seconds is None else time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def assisted(answer: Answer) -> tuple[str, ...]:
    """The sources of suggestions whose words are in an answer's text."""
    return tuple(dict.fromkeys(s["source"] for s in answer.suggestions or () if s["outcome"] != "refused"))


def candidates_of(item_id: int) -> Select[Candidate]:
    """An item's wrong programs, the easiest to fix first."""
    return select(Candidate).where(Candidate.item_id == item_id).order_by(Candidate.rank)


def candidate(item: Item, place: int, program: Program, verdict: Verdict | None) -> Candidate:
    """A candidate's row."""
    return Candidate(
        item_id=item.id,
        rank=place,
        program=program.model_dump(mode="json", exclude_defaults=True),
        verdict=None if verdict is None else verdict.model_dump(mode="json", exclude_defaults=True),
    )
