"""An annotation store: its settings, its queue of tasks, what is accepted and how far people are."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from ilf.annotate.database import Database
from ilf.annotate.progress import progress
from ilf.annotate.schema import (
    ANSWERED,
    Answer,
    Base,
    Candidate,
    History,
    Item,
    Person,
    Receipt,
    Setting,
    assisted,
    candidate,
    snapshot,
    utc,
)
from ilf.annotate.settings import Progress, Settings
from ilf.errors import IlfError
from ilf.feedback.ranking import rank
from ilf.records import Feedback, Program, Task, Verdict

MOST = 8
"""Candidates an item keeps."""


class Refused(IlfError):
    """What a person asked for cannot be done; `status` is the HTTP status, the message is for the person."""

    def __init__(self, message: str, status: int = 409) -> None:
        super().__init__(message)
        self.status = status


class Conflict(Refused):
    """The answer was changed elsewhere (another tab, a reviewer) since it was read."""


class Store:
    """The annotation store at `where`: the path of an SQLite file, or a database URL."""

    def __init__(self, where: Path | str, clock: Callable[[], float] = time.time) -> None:
        """Open or create it.

        Args:
            where: a path, or `sqlite:///…` or `postgresql://…`.
            clock: seconds since 1970; tests move it.

        Raises:
            DataError, MissingDependency, RunFolderError: see `Database`.
        """
        url = f"sqlite:///{where}" if isinstance(where, Path) or "://" not in where else where
        self.database = Database(url)
        self.clock = clock
        self.read = self.database.read

    def close(self) -> None:
        """Close it; nothing is pending."""
        self.database.close()

    @contextmanager
    def write(self) -> Iterator[Change]:
        """One change: on disk as a whole when the block ends."""
        with self.database.write() as session:
            yield Change(session, self.clock())

    @property
    def place(self) -> str:
        """Where it is, for people (without a password)."""
        url = self.database.engine.url
        return str(url.database) if self.database.sqlite else url.render_as_string(hide_password=True)

    # Settings and state ---------------------------------------------------------------------------

    def state(self, name: str) -> dict[str, Any] | None:
        """A named piece of state."""
        with self.read() as session:
            row = session.get(Setting, name)
            return None if row is None else row.value

    def set_state(self, name: str, value: dict[str, Any]) -> None:
        """Keep a named piece of state (not part of the history)."""
        with self.write() as change:
            change.session.merge(Setting(name=name, value=value))

    @property
    def settings(self) -> Settings:
        """How the team works."""
        with self.read() as session:
            return _settings(session)

    def configure(self, by: int | None = None, /, **changes: Any) -> Settings:
        """Change some settings. Another overlap holds for every item that is not removed.

        Args:
            by: who does it; None: the program itself.
            changes: fields of `Settings`.
        """
        before = self.settings
        after = Settings(**{**asdict(before), **changes})
        if after == before and self.state("settings") is not None:
            return after
        with self.write() as change:
            change.session.merge(Setting(name="settings", value=asdict(after)))
            change.log(by, "settings", "settings", asdict(before), asdict(after))
            if after.overlap != before.overlap:
                change.session.execute(
                    update(Item).where(Item.chosen_id.is_(None)).values(needed=after.overlap)
                )
                change.session.flush()
                for item in change.session.scalars(select(Item)):
                    change.settle(item)
        return after

    # The queue ------------------------------------------------------------------------------------

    def fill(
        self,
        tasks: Sequence[Task],
        programs: Iterable[Program],
        verdicts: Iterable[Verdict],
        round: int = 1,
        most: int = MOST,
        only_unsolved: bool = True,
    ) -> int:
        """Queue the tasks that no program solved; return how many are new.

        A task without any usable wrong program (none sampled, or only `sandbox_error`s) is passed over.
        Filling again with the same tasks changes nothing.

        Args:
            tasks: in the order in which people will see them.
            programs: samples of the model.
            verdicts: one a program, in any order.
            round: of the run.
            most: candidates to keep an item.
            only_unsolved: leave out tasks that some program solved.
        """
        judged = {verdict.program_id: verdict for verdict in verdicts}
        by_task: dict[str, list[tuple[Program, Verdict]]] = {}
        for program in programs:
            verdict = judged.get(program.program_id)
            # There is nothing to say about a completion that held no code.
            if verdict is not None and program.code.strip():
                by_task.setdefault(program.task_id, []).append((program, verdict))
        ranked = {
            task_id: rank(pairs, most)
            for task_id, pairs in by_task.items()
            if not (only_unsolved and any(v.passed for _, v in pairs))
        }
        return self.queue(tasks, ranked, round)

    def queue(
        self, tasks: Sequence[Task], wrong: Mapping[str, Sequence[tuple[Program, Verdict]]], round: int = 1
    ) -> int:
        """Queue tasks with wrong programs that were chosen already; return how many are new.

        Args:
            tasks: in the order in which people will see them.
            wrong: task id → its wrong programs, the easiest to fix first (`ilf.feedback.candidates`).
            round: of the run.
        """
        overlap = self.settings.overlap
        with self.write() as change:
            session = change.session
            known = set(session.scalars(select(Item.task_id).where(Item.round == round)))
            position = session.scalar(select(func.max(Item.position))) or 0
            new = 0
            for task in tasks:
                pairs = [pair for pair in wrong.get(task.task_id, ()) if pair[0].code.strip()]
                if not pairs or task.task_id in known:
                    continue
                known.add(task.task_id)
                new += 1
                change.add_item(task, pairs, round, position + new, overlap)
            if new:
                change.log(None, "fill", f"rounds/{round}", None, {"items": new})
        return new

    def accepted(self, round: int | None = None, mark_used: bool = False) -> list[Feedback]:
        """All accepted feedback, in the queue's order.

        Args:
            round: only this one's.
            mark_used: say that a run trains on it: from now on its authors cannot change it.
        """
        with self.write() if mark_used else self.read() as opened:
            session = opened.session if isinstance(opened, Change) else opened
            rows = session.execute(
                select(Answer, Item, Candidate, Person)
                .join(Item, Answer.item_id == Item.id)
                .join(Candidate, Answer.candidate_id == Candidate.id)
                .join(Person, Answer.person_id == Person.id)
                .where(Answer.state == "accepted", Answer.kind == "feedback", Item.state != "removed")
                .where(Item.round == round if round is not None else Item.round >= 0)
                .order_by(Item.round, Item.position, Answer.id)
            ).all()
            if isinstance(opened, Change):
                for answer, *_ in rows:
                    if answer.used is None:
                        answer.used = opened.now
                        opened.log(None, "use", f"answers/{answer.id}", {"used": None}, {"used": opened.now})
            return [as_feedback(*row) for row in rows]

    def progress(self, round: int | None = None) -> Progress:
        """How far people are, in all or in one round."""
        with self.read() as session:
            return progress(session, self.clock(), round)


def _settings(session: Session) -> Settings:
    kept = row.value if (row := session.get(Setting, "settings")) is not None else {}
    return Settings(**{field.name: kept[field.name] for field in fields(Settings) if field.name in kept})


class Change:
    """A transaction that changes the store, and its history."""

    def __init__(self, session: Session, now: float) -> None:
        self.session = session
        self.now = now

    @property
    def settings(self) -> Settings:
        """How the team works, as this transaction sees it."""
        return _settings(self.session)

    def log(
        self, person_id: int | None, action: str, subject: str, before: dict[str, Any] | None, after: Any
    ) -> None:
        """Keep one change: who, when, what, before and after."""
        self.session.add(
            History(
                at=self.now, person_id=person_id, action=action, subject=subject, before=before, after=after
            )
        )

    @contextmanager
    def changing(self, row: Base, person_id: int | None, action: str) -> Iterator[None]:
        """Log what the block changes in `row`; an answer's version rises."""
        before = snapshot(row)
        yield
        if isinstance(row, Answer):
            row.version += 1
            row.updated = self.now
        self.session.flush()
        after = snapshot(row)
        changed = [name for name in after if after[name] != before[name]]
        self.log(
            person_id,
            action,
            f"{row.__tablename__}/{before['id']}",
            {name: before[name] for name in changed},
            {name: after[name] for name in changed},
        )

    def add_item(
        self,
        task: Task,
        pairs: Sequence[tuple[Program, Verdict | None]],
        round: int,
        position: int,
        needed: int,
    ) -> Item:
        """A new item with its candidates."""
        item = Item(
            round=round,
            task_id=task.task_id,
            task=task.model_dump(mode="json", exclude_defaults=True),
            position=position,
            state="open",
            needed=needed,
            created=self.now,
        )
        self.session.add(item)
        self.session.flush()
        for place, (program, verdict) in enumerate(pairs, start=1):
            self.session.add(candidate(item, place, program, verdict))
        return item

    def settle(self, item: Item) -> None:
        """Put an item's state right after one of its answers changed."""
        if item.state in ("questioned", "removed"):
            return
        self.session.flush()
        answers = self.session.scalar(
            select(func.count())
            .select_from(Answer)
            .where(Answer.item_id == item.id, Answer.state.in_(ANSWERED), Answer.kind == "feedback")
        )
        item.state = "done" if (answers or 0) >= item.needed else "open"

    def once(
        self, person_id: int, key: str | None, request: Any, do: Callable[[], dict[str, Any]]
    ) -> dict[str, Any]:
        """Do something, or repeat the reply given when the same `key` came before.

        Raises:
            Refused: the key came before with another request.
        """
        if not key:
            return do()
        body = json.dumps(request, sort_keys=True, default=str)
        request_hash = hashlib.sha256(body.encode("utf-8", "surrogatepass")).hexdigest()
        receipt = self.session.get(Receipt, (person_id, key))
        if receipt is not None:
            if receipt.request_hash != request_hash:
                raise Refused("this idempotency key was used for another request", status=422)
            return receipt.reply
        reply = do()
        self.session.add(
            Receipt(person_id=person_id, key=key, request_hash=request_hash, reply=reply, created=self.now)
        )
        return reply


def as_feedback(answer: Answer, item: Item, chosen: Candidate, person: Person) -> Feedback:
    """An answer as the record that travels to the next step."""
    if answer.imported is not None and not answer.edited:
        return Feedback.model_validate(answer.imported)
    return Feedback(
        task_id=item.task_id,
        # Half a surrogate pair, which a model may write, is in no encoding.
        code=chosen.program["code"].encode("utf-8", "replace").decode("utf-8"),
        text=answer.text or "",
        source="human",
        author=person.name,
        seconds=round(answer.seconds, 1),
        refinement=answer.refinement or None,
        tags=tuple(answer.tags or ()),
        bugs=answer.bugs,
        model=chosen.program.get("model"),
        warnings=tuple(answer.warnings or ()),
        assisted=assisted(answer),
        created=utc(answer.submitted),
        notes=tuple(answer.notes or ()),
    )
