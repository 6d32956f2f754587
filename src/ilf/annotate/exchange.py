"""Files in and out: our JSONL (exact), the paper's file, CSV, and rows for Label Studio and Argilla."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import func, select

from ilf.annotate.accounts import named
from ilf.annotate.checks import CATEGORIES, text_hash
from ilf.annotate.schema import Answer, Candidate, Item, Person, candidate, utc
from ilf.annotate.store import MOST, Store, as_feedback
from ilf.errors import DataError
from ilf.metrics import edit_distance
from ilf.records import Feedback, Program, Task, Verdict

Format = Literal["ilf", "csv", "labelstudio", "argilla"]
FORMATS: tuple[Format, ...] = ("ilf", "csv", "labelstudio", "argilla")
SUFFIX = {"ilf": "jsonl", "csv": "csv", "labelstudio": "json", "argilla": "json"}
MEDIA = {
    "ilf": "application/jsonl",
    "csv": "text/csv; charset=utf-8",
    "labelstudio": "application/json",
    "argilla": "application/json",
}


@dataclass(frozen=True)
class Imported:
    """What an import did."""

    added: int
    known: int
    """Rows that were there already."""


def import_feedback(
    store: Store,
    rows: Sequence[Feedback],
    tasks: Mapping[str, Task],
    round: int = 1,
    verdicts: Mapping[str, Verdict] | None = None,
) -> Imported:
    """Add recorded feedback as accepted answers; items and candidates that are missing are added too.

    Args:
        store: where to.
        rows: what to add; a row that is there already (task, program, text and author) is passed over.
        tasks: by id, for items that are not in the store yet.
        round: of the items.
        verdicts: of programs and refinements, by program id, where they were run.

    Raises:
        DataError: a row's task is neither in the store nor in `tasks`.
    """
    authors = {row.author or "imported": 0 for row in rows}
    for name in authors:
        authors[name] = named(store, name, "annotator", active=False)
    verdicts = verdicts or {}
    added = known = 0
    overlap = store.settings.overlap
    with store.write() as change:
        session = change.session
        for number, row in enumerate(rows, start=1):
            item = session.scalar(select(Item).where(Item.task_id == row.task_id, Item.round == round))
            program = Program(task_id=row.task_id, code=row.code, model=row.model)
            verdict = verdicts.get(program.program_id)
            if item is None:
                task = tasks.get(row.task_id)
                if task is None:
                    raise DataError(
                        f"row {number}: unknown task {row.task_id!r}: name the tasks with --tasks"
                    )
                position = (session.scalar(select(func.max(Item.position))) or 0) + 1
                item = change.add_item(task, [(program, verdict)], round, position, overlap)
                session.flush()
            chosen = next(
                (
                    c
                    for c in session.scalars(select(Candidate).where(Candidate.item_id == item.id))
                    if c.program["code"] == row.code
                ),
                None,
            )
            if chosen is None:
                last = (
                    session.scalar(select(func.max(Candidate.rank)).where(Candidate.item_id == item.id))
                    or MOST
                )
                chosen = candidate(item, last + 1, program, verdict)
                session.add(chosen)
                session.flush()
            author = authors[row.author or "imported"]
            answer = session.scalar(
                select(Answer).where(Answer.item_id == item.id, Answer.person_id == author)
            )
            if answer is not None:
                known += 1
                continue
            refined = row.refinement and verdicts.get(
                Program(task_id=row.task_id, code=row.refinement).program_id
            )
            session.add(
                Answer(
                    item_id=item.id,
                    person_id=author,
                    state="accepted",
                    version=1,
                    opened=change.now,
                    updated=change.now,
                    submitted=change.now,
                    seconds=row.seconds or 0.0,
                    kind="feedback",
                    candidate_id=chosen.id,
                    text=row.text,
                    notes=[note.model_dump() for note in row.notes],
                    suggestions=[
                        {"source": source, "text": "", "taken": True, "outcome": "edited", "share": 0.0}
                        for source in row.assisted
                    ],
                    text_hash=text_hash(row.text),
                    tags=list(row.tags),
                    bugs=row.bugs,
                    refinement=row.refinement,
                    verdict=refined.model_dump(mode="json", exclude_defaults=True) if refined else None,
                    edit_distance=edit_distance(row.code, row.refinement) if row.refinement else None,
                    warnings=list(row.warnings),
                    imported=row.model_dump(mode="json"),
                    edited=False,
                )
            )
            change.settle(item)
            added += 1
        change.log(None, "import", "answers", None, {"added": added, "known": known})
    return Imported(added, known)


@dataclass(frozen=True)
class _Row:
    answer: Answer
    item: Item
    chosen: Candidate | None
    person: Person

    @property
    def feedback(self) -> Feedback | None:
        if self.answer.kind != "feedback" or self.chosen is None:
            return None
        return as_feedback(self.answer, self.item, self.chosen, self.person)


def _rows(store: Store, everything: bool) -> list[_Row]:
    with store.read() as session:
        query = (
            select(Answer, Item, Candidate, Person)
            .join(Item, Answer.item_id == Item.id)
            .outerjoin(Candidate, Answer.candidate_id == Candidate.id)
            .join(Person, Answer.person_id == Person.id)
            .order_by(Item.round, Item.position, Answer.id)
        )
        if not everything:
            query = query.where(
                Answer.state == "accepted", Answer.kind == "feedback", Item.state != "removed"
            )
        return [_Row(*row) for row in session.execute(query).all()]


def said(store: Store) -> list[Feedback]:
    """All feedback that people submitted, accepted or not."""
    return [found for row in _rows(store, True) if (found := row.feedback) is not None and found.text.strip()]


def export(store: Store, format: Format) -> Iterator[str]:
    """The store's answers as text, in pieces.

    `ilf`, `labelstudio` and `argilla` hold what is accepted; `csv` holds every answer and skip with its
    state, for people with a spreadsheet.
    """
    if format == "ilf":
        for row in _rows(store, everything=False):
            feedback = row.feedback
            assert feedback is not None
            yield feedback.to_json() + "\n"
    elif format == "csv":
        yield from _csv(_rows(store, everything=True))
    else:
        make = _label_studio if format == "labelstudio" else _argilla
        parts = [make(row) for row in _rows(store, everything=False)]
        yield json.dumps(parts, ensure_ascii=False, indent=1) + "\n"


COLUMNS = (
    "round", "task_id", "state", "kind", "author", "submitted", "seconds", "feedback", "words", "tags",
    "suggested", "bugs", "wrong_program", "refinement", "refinement_passes", "edit_distance", "warnings",
    "skip_reason", "comment",
)  # fmt: skip


def _csv(rows: Sequence[_Row]) -> Iterator[str]:
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(COLUMNS)
    for row in rows:
        answer, item = row.answer, row.item
        passes = "" if answer.verdict is None else answer.verdict.get("status") == "passed"
        cells = [
            item.round, item.task_id, answer.state, answer.kind or "", row.person.name,
            utc(answer.submitted) or "", round(answer.seconds, 1), answer.text or "",
            len((answer.text or "").split()) or "",
            "; ".join(answer.tags or ()),
            "; ".join(f"{s['source']} {s['outcome']}" for s in answer.suggestions or ()),
            "" if answer.bugs is None else answer.bugs,
            "" if row.chosen is None else row.chosen.program["code"], answer.refinement or "", passes,
            "" if answer.edit_distance is None else answer.edit_distance, "; ".join(answer.warnings or ()),
            answer.reason or "", answer.comment or "",
        ]  # fmt: skip
        writer.writerow([_harmless(cell) for cell in cells])
        yield out.getvalue()
        out.seek(0)
        out.truncate()
    yield out.getvalue()


def _harmless(cell: object) -> object:
    """A cell that a spreadsheet does not take for a formula."""
    return "'" + cell if isinstance(cell, str) and cell[:1] in ("=", "+", "-", "@", "\t", "\r") else cell


def _label_studio(row: _Row) -> dict[str, Any]:
    """A task of Label Studio with one annotation; `LABEL_CONFIG` is the labelling set-up it belongs to."""
    answer, feedback = row.answer, row.feedback
    assert feedback is not None
    task = row.item.task

    def text(name: str, value: str) -> dict[str, Any]:
        return {"from_name": name, "to_name": "code", "type": "textarea", "value": {"text": [value]}}

    result = [text("feedback", feedback.text)]
    if feedback.refinement is not None:
        result.append(text("refinement", feedback.refinement))
    if feedback.tags:
        choices = {"choices": list(feedback.tags)}
        result.append({"from_name": "tags", "to_name": "code", "type": "choices", "value": choices})
    if feedback.bugs is not None:
        bugs = {"number": feedback.bugs}
        result.append({"from_name": "bugs", "to_name": "code", "type": "number", "value": bugs})
    return {
        "data": {
            "task_id": feedback.task_id,
            "description": task["description"],
            "tests": "\n".join(task["tests"]),
            "code": feedback.code,
            "author": feedback.author or "",
        },
        "annotations": [{"result": result, "lead_time": feedback.seconds, "was_cancelled": False}],
        "meta": {
            "answer": answer.id,
            "created": feedback.created,
            "notes": [note.model_dump() for note in feedback.notes],
            "assisted": list(feedback.assisted),
        },
    }


_CHOICES = "\n".join(f'    <Choice value="{name}"/>' for name in CATEGORIES)
LABEL_CONFIG = f"""<View>
  <Text name="description" value="$description"/>
  <Text name="tests" value="$tests"/>
  <Text name="code" value="$code"/>
  <TextArea name="feedback" toName="code"/>
  <TextArea name="refinement" toName="code"/>
  <Choices name="tags" toName="code" choice="multiple">
{_CHOICES}
  </Choices>
  <Number name="bugs" toName="code"/>
</View>
"""


def _argilla(row: _Row) -> dict[str, Any]:
    """A record as Argilla's `Dataset.records.from_json` reads it (its settings are in the docs)."""
    feedback = row.feedback
    assert feedback is not None
    task = row.item.task
    suggested: dict[str, Any] = {"feedback": feedback.text}
    if feedback.refinement is not None:
        suggested["refinement"] = feedback.refinement
    if feedback.tags:
        suggested["tags"] = list(feedback.tags)
    metadata = {
        "task_id": feedback.task_id,
        "author": feedback.author or "",
        "seconds": feedback.seconds if feedback.seconds is not None else 0.0,
        "bugs": feedback.bugs if feedback.bugs is not None else 0,
    }
    return {
        "id": feedback.feedback_id,
        "status": "pending",
        "fields": {
            "description": task["description"],
            "tests": "\n".join(task["tests"]),
            "code": feedback.code,
        },
        "metadata": metadata,
        # Responses belong to accounts of the Argilla server, which a file cannot know: these are suggestions.
        "suggestions": {
            name: {"value": value, "score": None, "agent": feedback.author or "ilf"}
            for name, value in suggested.items()
        },
        "responses": {},
        "vectors": {},
    }


def _argilla_settings() -> str:
    """What `argilla.Settings.from_json` reads."""
    fields = [
        {
            "name": name,
            "title": name.capitalize(),
            "required": True,
            "settings": {"type": "text", "use_markdown": False},
        }
        for name in ("description", "tests", "code")
    ]
    texts = [
        {"name": name, "title": name.capitalize(), "required": name == "feedback",
         "settings": {"type": "text", "use_markdown": False}}
        for name in ("feedback", "refinement")
    ]  # fmt: skip
    options = [{"value": name, "text": name, "description": None} for name in CATEGORIES]
    tags = {"name": "tags", "title": "Kinds of bug", "required": False,
            "settings": {"type": "multi_label_selection", "options": options,
                         "visible_options": len(options)}}  # fmt: skip
    metadata = [
        {"name": name, "title": name, "settings": {"type": kind}, "visible_for_annotators": True}
        for name, kind in (
            ("task_id", "terms"),
            ("author", "terms"),
            ("seconds", "float"),
            ("bugs", "integer"),
        )
    ]
    return json.dumps(
        {"guidelines": None, "allow_extra_metadata": False, "fields": fields, "questions": [*texts, tags],
         "metadata": metadata, "vectors": []},
        indent=1,
    )  # fmt: skip


SETTINGS = {
    "labelstudio": (".labelstudio.xml", LABEL_CONFIG),
    "argilla": (".settings.json", _argilla_settings()),
}
"""For each of the other tools: ending and text of the labelling set-up that the rows belong to."""
