"""An answer's content: what is typed, whether it can be submitted, and how it becomes a row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from sqlalchemy.orm import Session

from ilf import notes
from ilf.annotate.checks import CATEGORIES, MOST_CODE, MOST_TEXT, Hint, edits, text_hash, unchanged
from ilf.annotate.schema import Answer, Candidate, Item, candidates_of
from ilf.annotate.store import Conflict, Refused
from ilf.annotate.suggestions import Suggested, outcomes
from ilf.records import Program, Task, Verdict


def clean(text: str) -> str:
    """Text with one kind of line end, and without what no database can hold (NUL, lone surrogates)."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "\ufffd")
    return text.encode("utf-8", "replace").decode("utf-8")


LongText = Annotated[str, Field(max_length=1_500_000), AfterValidator(clean)]


class Draft(BaseModel):
    """What an annotator has typed so far."""

    model_config = ConfigDict(extra="forbid")

    kind: Literal["feedback", "tests_wrong"] = "feedback"
    candidate: int | None = Field(default=None, ge=1, le=2**31)
    """Id of the wrong program."""
    text: LongText = ""
    tags: list[str] = Field(default=[], max_length=len(CATEGORIES))
    bugs: int | None = Field(default=None, ge=0, le=99)
    refinement: LongText | None = None
    suggested: list[Suggested] = Field(default=[], max_length=100)
    """What the person was shown to save typing, and what of it they took."""


@dataclass(frozen=True)
class Work:
    """An item as one person sees it."""

    item: Item
    task: Task
    candidates: list[Candidate]
    answer: Answer

    @property
    def draft(self) -> Draft:
        """What is being typed, or else what was submitted, or else nothing."""
        answer = self.answer
        if answer.draft is not None:
            return Draft.model_validate(answer.draft)
        if answer.kind is not None:
            return content(answer)
        return Draft()

    def chosen(self, draft: Draft | None = None) -> Candidate:
        """The wrong program that the draft is about (the first where none was picked)."""
        wanted = (draft or self.draft).candidate
        return next((c for c in self.candidates if c.id == wanted), self.candidates[0])


def content(answer: Answer) -> Draft:
    """What an answer says, as a draft to start from."""
    return Draft(
        kind="tests_wrong" if answer.kind == "tests_wrong" else "feedback",
        candidate=answer.candidate_id,
        text=answer.text or "",
        tags=list(answer.tags or ()),
        bugs=answer.bugs,
        refinement=answer.refinement,
        suggested=[
            Suggested(source=one["source"], text=one["text"], taken=one["taken"])
            for one in answer.suggestions or ()
            if one["text"]  # of an imported answer only the sources are known
        ],
    )


def program(row: Candidate) -> Program:
    """The record behind a candidate."""
    return Program.model_validate(row.program)


def verdict(row: Candidate) -> Verdict | None:
    """Its verdict, where it was ever run."""
    return None if row.verdict is None else Verdict.model_validate(row.verdict)


def based_on(answer: Answer, version: int | None) -> None:
    """Refuse (`Conflict`) a change that started from another version."""
    if version is not None and version != answer.version:
        raise Conflict("this task was changed in another tab or by a reviewer since you opened it here")


def check_content(session: Session, item: Item, draft: Draft) -> Candidate:
    """The program that a draft is about; `Refused` where the draft cannot be submitted."""
    rows = session.scalars(candidates_of(item.id)).all()
    chosen = next((row for row in rows if draft.candidate in (None, row.id)), None)
    if chosen is None:
        raise Refused("pick one of this task's programs", status=422)
    if draft.kind == "feedback" and not draft.text.strip():
        raise Refused("there is no feedback yet: write what is wrong and how to fix it", status=422)
    if draft.kind == "tests_wrong" and not draft.text.strip():
        raise Refused("say which test is wrong and why", status=422)
    if len(draft.text) > MOST_TEXT:
        raise Refused(
            f"the feedback has {len(draft.text):,} characters; at most {MOST_TEXT:,} can be submitted",
            status=422,
        )
    if len(draft.refinement or "") > MOST_CODE:
        raise Refused(
            f"the refinement has {len(draft.refinement or ''):,} characters; at most {MOST_CODE:,}",
            status=422,
        )
    unknown = sorted(set(draft.tags) - set(CATEGORIES))
    if unknown:
        raise Refused(f"unknown tag {unknown[0]!r}; allowed: {', '.join(CATEGORIES)}", status=422)
    return chosen


def fill_in(
    answer: Answer, draft: Draft, chosen: Candidate, checked: Verdict | None, hints: list[Hint]
) -> None:
    """Write a draft into an answer's columns."""
    feedback = draft.kind == "feedback"
    wrong = clean(chosen.program["code"])
    refinement = draft.refinement if feedback else None
    if refinement is not None and (not refinement.strip() or unchanged(wrong, refinement)):
        refinement = None
    answer.kind = draft.kind
    answer.candidate_id = chosen.id
    answer.text = draft.text.strip()
    answer.notes = [note.model_dump() for note in notes.parse(answer.text)[0]] if feedback else []
    answer.text_hash = text_hash(answer.text)
    if draft.suggested or answer.imported is None:  # of an imported one the file said all that is known
        answer.suggestions = outcomes(draft.suggested, answer.text)
    answer.tags = list(dict.fromkeys(draft.tags))
    answer.bugs = draft.bugs
    answer.refinement = refinement
    answer.verdict = (
        checked.model_dump(mode="json", exclude_defaults=True) if checked is not None and refinement else None
    )
    answer.edit_distance = edits(wrong, refinement) if refinement else None
    answer.warnings = [hint.code for hint in hints] if feedback else []
    answer.reason = None
