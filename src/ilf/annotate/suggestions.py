"""Suggestions that save typing, each with its source, and what became of them.

Three sources: the verdict in words, a draft that a model wrote for the run, what this person wrote before.
What was shown, taken, edited and refused is kept with the answer, and an answer with another's words in it is
never counted as written by people alone (`Feedback.assisted`).
"""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from sqlalchemy import select

from ilf import notes
from ilf.annotate.schema import ANSWERED, Answer, Candidate
from ilf.annotate.store import Store
from ilf.feedback import words
from ilf.records import Feedback, Program, Task, Verdict

Source = Literal["verdict", "model", "earlier"]
OUTCOMES = ("taken", "edited", "refused")
_LEFT = 0.3
"""Share of a suggestion's words that are left in the text from which it counts as edited, not as refused."""
_MOST_FOUND = 8
_MOST_SEARCHED = 500


def _clean(text: str) -> str:
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "\ufffd")
    return text.encode("utf-8", "replace").decode("utf-8")


class Suggested(BaseModel):
    """A suggestion that someone was shown."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: Source
    text: Annotated[str, Field(min_length=1, max_length=5000), AfterValidator(_clean)]
    taken: bool = False
    """It was put into the text; what became of it there is seen on submitting."""


def offered(store: Store, task: Task, program: Program, verdict: Verdict | None) -> list[Suggested]:
    """What a person is offered on one of a task's programs; nothing where the team has it switched off."""
    if not store.settings.suggest:
        return []
    found = []
    if verdict is not None and not verdict.passed and verdict.status != "sandbox_error":
        # People see every test on the page: the sentence may speak of any.
        sentence = words.happened(task, program, verdict)
        if sentence:
            found.append(Suggested(source="verdict", text=sentence[:5000]))
    draft = ((store.state("drafts") or {}).get(program.program_id) or "").strip()
    if draft:
        found.append(Suggested(source="model", text=draft[:5000]))
    return found


def remember_drafts(store: Store, rows: Iterable[Feedback]) -> int:
    """Keep what a model wrote on programs (`Feedback.source` is `model`), to offer it; return how many."""
    drafts = {
        Program(task_id=row.task_id, code=row.code).program_id: row.text
        for row in rows
        if row.source == "model" and row.text.strip()
    }
    if drafts:
        store.set_state("drafts", {**(store.state("drafts") or {}), **drafts})
    return len(drafts)


def earlier(store: Store, person_id: int, query: str, kind: str = "") -> list[str]:
    """Sentences and notes that a person wrote before and that hold all words of `query`.

    Args:
        store: to search.
        person_id: whose they are; nobody sees another's.
        query: words, in any order; empty finds the latest.
        kind: of failure (`kind_of`): what was written on programs that failed so comes first.
    """
    wanted = query.casefold().split()
    with store.read() as session:
        rows = session.execute(
            select(Answer.text, Candidate.verdict)
            .join(Candidate, Answer.candidate_id == Candidate.id)
            .where(Answer.person_id == person_id, Answer.kind == "feedback", Answer.state.in_(ANSWERED))
            .order_by(Answer.submitted.desc())
            .limit(_MOST_SEARCHED)
        ).all()
    same: dict[str, None] = {}
    other: dict[str, None] = {}
    for text, verdict in rows:
        place = same if kind and kind_of(verdict) == kind else other
        for piece in pieces(text or ""):
            if all(word in piece.casefold() for word in wanted):
                place.setdefault(piece)
    return [*dict.fromkeys([*same, *other])][:_MOST_FOUND]


def pieces(text: str) -> list[str]:
    """A text's notes without their lines, and its sentences."""
    of_lines, general = notes.parse(text)
    sentences = re.split(r"(?<=[.!?])\s+(?=[A-Z`])|\n+", general)
    return [piece for piece in (*(note.text for note in of_lines), *map(str.strip, sentences)) if piece]


def kind_of(verdict: dict[str, Any] | None) -> str:
    """How a program failed: its status, and the exception where there was one."""
    found = verdict or {}
    return f"{found.get('status', '')} {str(found.get('error') or '').split(':')[0]}".strip()


def outcomes(suggested: Sequence[Suggested], text: str) -> list[dict[str, Any]]:
    """What became of suggestions in a submitted text, as the store keeps it.

    Returns:
        `source`, `text`, `taken`, `outcome` (`taken` as it was, `edited`, or `refused`) and `share` of its
        words that are left in the text, of each.
    """
    whole = text.split()
    found = []
    for one in suggested:
        mine = one.text.split()
        blocks = difflib.SequenceMatcher(None, mine, whole, autojunk=False).get_matching_blocks()
        share = sum(block.size for block in blocks) / len(mine) if one.taken and mine else 0.0
        as_it_was = one.taken and " ".join(mine) in " ".join(whole)
        outcome = "taken" if as_it_was else "edited" if share >= _LEFT else "refused"
        found.append({**one.model_dump(), "outcome": outcome, "share": round(share, 3)})
    return found


def shares(store: Store) -> dict[str, Counter[str]]:
    """How many suggestions of each source were taken, edited and refused, over all submitted answers."""
    found: dict[str, Counter[str]] = {}
    with store.read() as session:
        for kept in session.scalars(select(Answer.suggestions).where(Answer.state.in_(ANSWERED))):
            for one in kept or ():
                found.setdefault(one["source"], Counter())[one["outcome"]] += 1
    return found
