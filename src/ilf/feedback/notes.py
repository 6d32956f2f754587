"""Words about lines: paragraphs of a feedback text may begin with the lines that they are about.

    Line 4: the range ends one too early.
    Lines 6-7: return the list only after the loop.

    The rest is right.

A note goes from its line numbers to the next note or empty line. The text is what people write and models
read; the notes in it are data beside it (`Feedback.notes`), shown next to the program's lines.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from ilf.records import LineNote

_HEAD = re.compile(
    r"^[ \t]*lines?[ \t]+([0-9]{1,6})(?:[ \t]*(?:-|–|—|to)[ \t]*([0-9]{1,6}))?[ \t]*:[ \t]*", re.IGNORECASE
)
_END = re.compile(r"\r\n|\r|\n")


def split(text: str) -> tuple[tuple[LineNote, ...], str]:
    """The notes of a text in their order, and what is said besides.

    Args:
        text: as somebody wrote it. Line numbers that no program has (0, or the last before the first) are
            words like others.
    """
    notes: list[tuple[int, int, list[str]]] = []
    rest: list[str] = []
    open_note = False
    for line in _END.split(text):
        head = _HEAD.match(line)
        lines = None if head is None else (int(head[1]), int(head[2] or head[1]))
        if head is not None and lines is not None and 1 <= lines[0] <= lines[1]:
            notes.append((*lines, [line[head.end() :].strip()]))
            open_note = True
        elif open_note and line.strip():
            notes[-1][2].append(line.strip())
        else:
            open_note = False
            rest.append(line)
    found = (
        LineNote(first=first, last=last, text="\n".join(filter(None, said))) for first, last, said in notes
    )
    return tuple(note for note in found if note.text), "\n".join(rest).strip()


def join(notes: Iterable[LineNote], rest: str) -> str:
    """The text that says these notes and the rest; `split` takes it apart again."""
    said = "\n".join(head(note) + note.text for note in notes)
    return "\n\n".join(part for part in (said, rest.strip()) if part)


def head(note: LineNote) -> str:
    """What a note begins with in a text."""
    return f"Line {note.first}: " if note.first == note.last else f"Lines {note.first}-{note.last}: "


def without_lines(text: str) -> str:
    """The same words without the line numbers before them."""
    return "\n".join(_HEAD.sub("", line) for line in _END.split(text))
