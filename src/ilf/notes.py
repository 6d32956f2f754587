"""Words about lines: notes that say which lines of the wrong program they are about.

A note is one line of the feedback's text, "Line 4: …" or "Lines 4-6: …", wherever someone writes it; all
other lines are the general text. So the text alone carries everything, whichever program reads it, and
`Feedback.notes` says the same as data.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

_NOTE = re.compile(r"[ \t]*lines?[ \t]*(\d{1,6})(?:[ \t]*[-–—][ \t]*(\d{1,6}))?[ \t]*:(.*)", re.I | re.S)

Lines = Literal["number", "quote", "none"]
"""How a prompt names a note's lines: by number as people wrote it, by quoting them, or not at all."""


def _one_line(text: str) -> str:
    text = " ".join(text.split())
    if not text:
        raise ValueError("a note says something about its lines")
    return text


class LineNote(BaseModel):
    """What someone says about some lines of the wrong program."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    first: int = Field(ge=1, le=999_999)
    """The first line it is about, counted from 1."""
    last: int = Field(ge=1, le=999_999)
    """The last one, itself included."""
    text: Annotated[str, AfterValidator(_one_line)]
    """One line; white space is made single blanks."""

    @model_validator(mode="after")
    def _in_order(self) -> LineNote:
        if self.last < self.first:
            raise ValueError(f"lines {self.first}-{self.last}: the last line comes before the first")
        return self

    @property
    def where(self) -> str:
        """`Line 4` or `Lines 4-6`."""
        return f"Line {self.first}" if self.first == self.last else f"Lines {self.first}-{self.last}"

    def __str__(self) -> str:
        """The note as a line of a text."""
        return f"{self.where}: {self.text}"


def note_in(line: str) -> LineNote | None:
    """The note that one line of a text is; None where it is part of the general text."""
    found = _NOTE.fullmatch(line)
    if found is None or not found[3].strip():
        return None
    first, last = int(found[1]), int(found[2] or found[1])
    return LineNote(first=first, last=last, text=found[3]) if 1 <= first <= last else None


def parse(text: str) -> tuple[tuple[LineNote, ...], str]:
    """A text's notes in the order they were written, and its general text."""
    notes: list[LineNote] = []
    rest: list[str] = []
    for line in text.split("\n"):
        note = note_in(line)
        if note is None:
            rest.append(line)
        else:
            notes.append(note)
    return tuple(notes), "\n".join(rest).strip()


def covering(notes: Iterable[LineNote], number: int) -> list[LineNote]:
    """The notes that are about a line."""
    return [note for note in notes if note.first <= number <= note.last]


def compose(notes: Iterable[LineNote], general: str = "") -> str:
    """Notes and a general text as one text; `parse` makes the same of it again."""
    return "\n\n".join(part for part in ("\n".join(map(str, notes)), general.strip()) if part)


def complete(text: str, notes: Sequence[LineNote]) -> str:
    """A text with those of the notes in it that it does not hold yet, before the rest."""
    there = parse(text)[0]
    missing = [note for note in notes if note not in there]
    return compose(missing, text) if missing else text


def for_prompt(text: str | None, code: str, lines: Lines = "number") -> str | None:
    """A feedback's text as a prompt has it.

    Args:
        text: of the feedback; None (there is none) stays None.
        code: the wrong program that the notes' numbers count in.
        lines: `number` leaves the text as it is; `quote` puts the lines' own text in place of their numbers
            (a model reads, but hardly counts); `none` leaves only what is said of them.
    """
    if text is None or lines == "number":
        return text
    source = code.split("\n")
    return "\n".join(
        line if (note := note_in(line)) is None else _worded(note, source, lines) for line in text.split("\n")
    )


def _worded(note: LineNote, source: Sequence[str], lines: Lines) -> str:
    quoted = [line.strip() for line in source[note.first - 1 : note.last]]
    if lines == "none" or not any(quoted):
        return note.text
    ends = [quoted[0]] if len(quoted) == 1 else [quoted[0], quoted[-1]]
    return f"{' to '.join(f'`{line}`' for line in ends if line)}: {note.text}"
