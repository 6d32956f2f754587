"""Feedback as others keep it: the paper's file, exports of Label Studio and Argilla, conversations.

A conversation gives one item: its last turn of the user criticises the program before it, and an answer of
the assistant behind it is the corrected program.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, Field

from ilf.formats.messages import Turn, program_in, turns
from ilf.records import Feedback, Task, TaskId
from ilf.syntax import normalise

Row = dict[str, Any]
Tasks = Mapping[str, Task]


class BadItem(ValueError):
    """What is wrong with one row, starting with the field."""


@dataclass(frozen=True)
class Form:
    """One way to keep feedback."""

    says: str
    fits: Callable[[Row], bool]
    read: Callable[[Row, Tasks], Iterator[Feedback]]
    """The items of a row; none where it was skipped. Raises `BadItem` or pydantic's error."""


# ---------------------------------------------------------------- the paper's


class _PaperRow(BaseModel):
    task_id: TaskId
    text: str = Field(alias="Feedback")
    original: str = Field(alias="original_model_completion")
    refinement: str = Field(alias="unedited_annotator_completion")
    worker_id: str | None = None


def _paper(row: Row, tasks: Tasks) -> Iterator[Feedback]:
    paper = _PaperRow.model_validate(row)
    yield Feedback(
        task_id=paper.task_id,
        code=_program(paper.original),
        text=normalise(paper.text).strip(),
        source="recorded",
        author=paper.worker_id,
        refinement=_program(paper.refinement),
    )


def _program(text: str) -> str:
    """A published program without the docstring of its prompt, in our form."""
    text = normalise(text).lstrip()
    if text.startswith('"""') and text.count('"""') > 1:
        text = text.split('"""', 2)[2]
    return text.strip("\n").rstrip() + "\n"


# ---------------------------------------------------------------- Label Studio


def _item(given: Mapping[str, Any], author: Any, seconds: Any, created: Any = None) -> Feedback:
    """What people filled in, by our names for it."""
    for name in ("task_id", "code"):
        if given.get(name) in (None, ""):
            raise BadItem(f"{name}: missing: the labelled data must have it")
    tags = given.get("tags") or ()
    tags = tags.get("choices", ()) if isinstance(tags, Mapping) else tags
    bugs = given.get("bugs")
    return Feedback.model_validate(
        {
            "task_id": given["task_id"],
            "code": given["code"],
            "text": str(given["feedback"]).strip(),
            "source": "human",
            "author": None if author in (None, "") else str(author),
            "seconds": seconds if isinstance(seconds, int | float) else None,
            "refinement": given.get("refinement") or None,
            "tags": (tags,) if isinstance(tags, str) else tuple(tags),
            "bugs": bugs if isinstance(bugs, int) else int(bugs) if isinstance(bugs, float) else None,
            "created": str(created) if created else None,
        }
    )


def _label_studio(row: Row, tasks: Tasks) -> Iterator[Feedback]:
    for annotation in row["annotations"]:
        if annotation.get("was_cancelled"):
            continue
        given = dict(row["data"])
        for result in annotation.get("result") or []:
            value = result.get("value") or {}
            found = value.get("text", value.get("choices", value.get("number")))
            if isinstance(found, list) and result.get("type") == "textarea":
                found = "\n".join(found)
            given[result.get("from_name")] = found
        if str(given.get("feedback") or "").strip():
            who = annotation.get("completed_by")
            who = who.get("email") or who.get("id") if isinstance(who, Mapping) else who
            yield _item(
                given,
                given.get("author") if who is None else who,
                annotation.get("lead_time"),
                annotation.get("created_at"),
            )


def _label_studio_min(row: Row, tasks: Tasks) -> Iterator[Feedback]:
    if str(row.get("feedback") or "").strip():
        given = {
            k: "\n".join(v) if k in ("feedback", "refinement") and isinstance(v, list) else v
            for k, v in row.items()
        }
        yield _item(given, row.get("annotator"), row.get("lead_time"), row.get("created_at"))


# ---------------------------------------------------------------- Argilla


def _argilla(row: Row, tasks: Tasks) -> Iterator[Feedback]:
    metadata = row.get("metadata") or {}
    base = {"task_id": metadata.get("task_id"), **metadata, **row["fields"]}
    answers: dict[str, dict[str, Any]] = {}
    for question, of_question in (row.get("responses") or {}).items():
        for answer in of_question or []:
            if answer.get("status", "submitted") == "submitted":
                answers.setdefault(str(answer.get("user_id") or ""), {})[question] = answer.get("value")
    if not answers:
        # What nobody has answered yet has what was suggested, with who suggested it.
        suggested = row.get("suggestions") or {}
        who = str((suggested.get("feedback") or {}).get("agent") or metadata.get("author") or "")
        answers[who] = {question: (one or {}).get("value") for question, one in suggested.items()}
    for who, given in answers.items():
        if str(given.get("feedback") or "").strip():
            yield _item({**base, **given}, who, metadata.get("seconds"))


def _argilla_flat(row: Row, tasks: Tasks) -> Iterator[Feedback]:
    """A record as `records.to_datasets` has it, its parts in columns with dots."""
    whole: Row = {"fields": {}, "metadata": {}, "responses": {}, "suggestions": {}}
    questions = {name.partition(".")[0] for name in row if ".responses" in name or ".suggestion" in name}
    for name, value in row.items():
        question, dot, rest = name.partition(".")
        if question == "metadata" and dot:
            whole["metadata"][rest] = value
        elif question not in questions and not dot:
            whole["fields"][name] = value
    for question in questions:
        users = row.get(f"{question}.responses.users") or []
        states = row.get(f"{question}.responses.status") or []
        whole["responses"][question] = [
            {
                "value": value,
                "user_id": users[place] if place < len(users) else None,
                "status": states[place] if place < len(states) else "submitted",
            }
            for place, value in enumerate(row.get(f"{question}.responses") or [])
        ]
        whole["suggestions"][question] = {
            "value": row.get(f"{question}.suggestion"), "agent": row.get(f"{question}.suggestion.agent"),
        }  # fmt: skip
    yield from _argilla(whole, tasks)


# ---------------------------------------------------------------- conversations


def _conversation(row: Row, tasks: Tasks) -> Iterator[Feedback]:
    said = turns(row.get("messages", row.get("conversations")))
    if said is None:
        raise BadItem("messages: a list of messages with role and content (or from and value) was expected")
    last = max((place for place, (role, _) in enumerate(said) if role == "user"), default=-1)
    before = [place for place, (role, _) in enumerate(said[: max(last, 0)]) if role == "assistant"]
    if not before:
        raise BadItem("messages: no turn of the user stands behind a program of the assistant")
    task_id = _task_of(row, said, tasks)
    task = tasks.get(task_id)
    after = [text for role, text in said[last + 1 :] if role == "assistant"]
    yield Feedback(
        task_id=task_id,
        code=program_in(said[before[-1]][1], task),
        text=said[last][1].strip(),
        source="recorded",
        author=row.get("author") if isinstance(row.get("author"), str) else None,
        refinement=(program_in(after[-1], task) or None) if after else None,
    )


def _task_of(row: Row, said: list[Turn], tasks: Tasks) -> str:
    """The row's own id where it is a task's, or the one task whose description the first turn quotes."""
    for name in ("task_id", "id"):
        if row.get(name) is not None and (str(row[name]) in tasks or name == "task_id"):
            return str(row[name])
    asked = " ".join(next((text for role, text in said if role == "user"), "").split())
    found = [
        task.task_id
        for task in tasks.values()
        if task.description.strip() and " ".join(task.description.split()) in asked
    ]
    if len(found) != 1:
        raise BadItem(
            "task_id: missing, and the first turn quotes the description of "
            f"{'no task' if not found else f'{len(found)} tasks'}"
        )
    return found[0]


FORMS = (
    Form("the paper's annotations", lambda row: "original_model_completion" in row, _paper),
    Form("a Label Studio export", lambda row: {"data", "annotations"} <= row.keys(), _label_studio),
    Form(
        "a Label Studio export (JSON-MIN)",
        lambda row: {"annotation_id", "task_id", "code"} <= row.keys(),
        _label_studio_min,
    ),
    Form("an Argilla export", lambda row: {"fields", "responses"} <= row.keys(), _argilla),
    Form("an Argilla export", lambda row: "feedback.responses" in row, _argilla_flat),
    Form("conversations", lambda row: bool({"messages", "conversations"} & row.keys()), _conversation),
)  # fmt: skip


def recognise(row: Row) -> Form | None:
    """The form of a row; None for ours."""
    return next((form for form in FORMS if form.fits(row)), None)
