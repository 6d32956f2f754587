"""Keeping a store: backups, what is kept for how long, a person's data, the audit trail as a file."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import delete, or_, select, update

from ilf.annotate.schema import (
    Answer,
    ApiKey,
    Assignment,
    Batch,
    Comment,
    History,
    Item,
    Link,
    Person,
    Receipt,
    utc,
)
from ilf.annotate.store import Refused, Store
from ilf.errors import DataError, UserError
from ilf.progress import say
from ilf.runfolder import write_text

_PAGES = 1000
"""Of the database in one step of a backup: writers get in between."""


def backup(store: Store, path: Path) -> int:
    """Copy a store's database as it is at one moment, also while servers write to it; its size in bytes.

    Args:
        store: on SQLite.
        path: of the copy, which is there as a whole or not at all; an older one is replaced.

    Raises:
        UserError: the store is on PostgreSQL, which has `pg_dump`.
        DataError: the copy cannot be written, or is no sound database.
    """
    if not store.database.sqlite:
        raise UserError("--backup copies SQLite files; for PostgreSQL use pg_dump, which is consistent, too")
    source = store.database.engine.url.database or ""
    if path.exists() and path.samefile(source):
        raise UserError(f"{path}: this is the store itself")
    part = path.with_name(path.name + ".part")
    try:
        # As the store's own: it holds the secret that signs sessions.
        os.close(os.open(part, os.O_CREAT | os.O_TRUNC | os.O_RDWR, 0o600))
        with sqlite3.connect(source) as original, sqlite3.connect(part) as copy:
            original.backup(copy, pages=_PAGES)
            # One file without a log beside it; opening a store turns the log on again.
            copy.execute("PRAGMA journal_mode=DELETE")
            sound = copy.execute("PRAGMA integrity_check").fetchone()[0]
        original.close()
        copy.close()
        if sound != "ok":
            raise DataError(f"{path}: the copy is not sound: {sound}")
        part.replace(path)
    except (OSError, sqlite3.Error) as error:
        raise DataError(f"{path}: {error}") from None
    finally:
        part.unlink(missing_ok=True)
    return path.stat().st_size


def audit(store: Store) -> Iterator[str]:
    """Every change as a JSON object a line, the oldest first: when, who, what, before, after."""
    with store.read() as session:
        names = {row.id: row.name for row in session.scalars(select(Person))}
        for row in session.scalars(select(History).order_by(History.id).execution_options(yield_per=1000)):
            change = {
                "id": row.id, "at": utc(row.at), "person": names.get(row.person_id or 0),
                "person_id": row.person_id, "action": row.action, "subject": row.subject,
                "before": row.before, "after": row.after,
            }  # fmt: skip
            yield json.dumps(change, ensure_ascii=False) + "\n"


def retain(store: Store, days: float) -> int:
    """Forget what older changes changed (that they were made, when and by whom stays); how many.

    Replies kept for repeated requests, used links and what could be undone go with them.

    Args:
        store: whose.
        days: how long to keep it all.
    """
    with store.write() as change:
        before = change.now - 86400 * days
        told = or_(History.before.is_not(None), History.after.is_not(None))
        number = change.session.execute(
            update(History).where(History.at < before, told).values(before=None, after=None)
        ).rowcount  # type: ignore[attr-defined]
        for table, at in ((Receipt, Receipt.created), (Batch, Batch.at), (Link, Link.expires)):
            change.session.execute(delete(table).where(at < before))
        if number:
            change.log(None, "retain", "history", None, {"days": days, "changes": number})
        return int(number)


def forget(store: Store, name: str, answers: bool = False, by: int | None = None) -> str:
    """Delete a person's data; returns the name under which what has to stay is kept.

    The account is closed and renamed; links, keys, drafts, reasons, comments and the content of their changes
    go. Submitted answers stay under the new name, unless `answers` is set; those that a run trains on always
    do, because the run's own files hold them, too.

    Args:
        store: whose.
        name: of the person.
        answers: delete their answers as well.
        by: who does it; None: the program itself.

    Raises:
        Refused: there is no such person, or it is the store's owner.
    """
    from ilf.annotate.accounts import OWNER

    with store.write() as change:
        session = change.session
        person = session.scalar(select(Person).where(Person.name == name))
        if person is None:
            raise Refused(f"there is nobody called {name!r}", status=404)
        if person.name == OWNER:
            raise Refused("the store's own account stays: it is nobody's name", status=422)
        number, new = person.id, f"deleted {person.id}"
        own = session.scalars(select(Answer).where(Answer.person_id == number)).all()
        subjects = [f"people/{number}", *(f"answers/{answer.id}" for answer in own)]
        used = select(History.subject).where(History.person_id == number, History.action == "use link")
        invited = [int(subject.partition("/")[2]) for subject in session.scalars(used)]
        session.execute(update(Link).where(Link.id.in_(invited)).values(note=""))
        subjects += [f"links/{n}" for n in session.scalars(select(Link.id).where(Link.person_id == number))]
        subjects += [
            f"api_keys/{n}" for n in session.scalars(select(ApiKey.id).where(ApiKey.person_id == number))
        ]
        for start in range(0, len(subjects), 500):  # SQLite takes so many values at a time
            part = subjects[start : start + 500]
            session.execute(update(History).where(History.subject.in_(part)).values(before=None, after=None))
        session.execute(
            update(History)
            .where(History.person_id == number, History.action == "comment")
            .values(before=None, after=None)
        )
        for table in (Link, ApiKey, Receipt, Batch, Assignment, Comment):
            session.execute(delete(table).where(table.person_id == number))
        for answer in own:
            item_id = answer.item_id
            gone = answer.used is None and (answers or answer.kind is None)
            if gone:
                session.execute(delete(Comment).where(Comment.answer_id == answer.id))
                session.delete(answer)
            else:
                answer.draft = answer.reason = None
                if answer.imported is not None:
                    answer.imported = {**answer.imported, "author": new}
            item = session.get(Item, item_id)
            assert item is not None
            if gone and item.chosen_id == answer.id:
                item.chosen_id, item.needed = None, change.settings.overlap
            change.settle(item)
        person.name, person.active, person.role, person.epoch = new, False, "annotator", person.epoch + 1
        session.flush()
        change.log(by, "forget", f"people/{number}", None, {"answers": answers})
    return new


def chores(
    store: Store, backup_file: Path | None, audit_file: Path | None, gone: str | None, with_answers: bool
) -> bool:
    """What `ilf annotate` does instead of serving; whether there was anything."""
    if gone is not None:
        new = forget(store, gone, with_answers)
        say(f"the data of {gone!r} is deleted; what has to stay is kept as {new!r}")
    if audit_file is not None:
        write_text(audit_file, "".join(audit(store)))
        say(f"{audit_file}: every change of {store.place}")
    if backup_file is not None:
        say(f"{backup_file}: {backup(store, backup_file):,} bytes, a copy of {store.place}")
    return any(asked is not None for asked in (backup_file, audit_file, gone))
