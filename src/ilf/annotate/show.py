"""Text of models and people as HTML: highlighted code by line, diffs, marks where a character would deceive.

Everything is escaped here or by Jinja; direction and control characters are shown by name, so that code
cannot look like other code than it is.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from markupsafe import Markup, escape
from pygments.lexers.python import PythonLexer
from pygments.token import STANDARD_TYPES, Token

from ilf.annotate.schema import utc

MOST_SHOWN = 60_000
"""Characters of a text that a page shows."""
MOST_LINES = 1500

# Controls except newline and tab, and format characters: direction marks, zero-width and invisible ones.
_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]"
)


def _mark(match: re.Match[str]) -> Markup:
    character = match.group()
    name = unicodedata.name(character, "CONTROL CHARACTER")
    return Markup('<span class="hidden-char" title="{}">U+{:04X}</span>').format(name, ord(character))


def plain(text: str) -> Markup:
    """Text, escaped, hidden characters shown by their number."""
    if not _HIDDEN.search(text):
        return escape(text)
    parts, at = [], 0
    for match in _HIDDEN.finditer(text):
        parts += [escape(text[at : match.start()]), _mark(match)]
        at = match.end()
    return Markup("").join([*parts, escape(text[at:])])


def cut(text: str | None, most: int = MOST_SHOWN) -> str:
    """A text that fits on a page, saying what was left out."""
    text = text or ""
    lines = text.split("\n")
    if len(lines) > MOST_LINES:
        text = "\n".join(lines[:MOST_LINES]) + f"\n… {len(lines) - MOST_LINES:,} more lines are not shown"
    return (
        text if len(text) <= most else text[:most] + f"\n… {len(text) - most:,} more characters are not shown"
    )


@dataclass(frozen=True)
class Line:
    """A line of code as HTML."""

    number: int
    html: Markup
    kind: str = ""
    """`error`: an exception arose here; `add`, `del`: of a diff; `gap`: lines left out."""


def code_lines(code: str, error_line: int | None = None) -> tuple[Line, ...]:
    """Python source as highlighted lines.

    Args:
        code: the source; long ones are cut.
        error_line: where an exception arose, from 1.
    """
    code = cut(code.replace("\r\n", "\n").replace("\r", "\n")).rstrip("\n")
    return (_remembered if len(code) <= _SHORT else _highlighted)(code, error_line)


def _highlighted(code: str, error_line: int | None) -> tuple[Line, ...]:
    lines: list[list[str]] = [[]]
    for token, text in PythonLexer(stripnl=False, ensurenl=False).get_tokens(code):
        name = STANDARD_TYPES.get(token, "") if token is not Token.Error else ""
        for place, part in enumerate(text.split("\n")):
            if place:
                lines.append([])
            if part:
                shown = plain(part)
                # Class names are Pygments' own; plain concatenation is what makes long programs quick.
                lines[-1].append(f'<span class="{name}">{shown}</span>' if name else shown)
    return tuple(
        Line(number, Markup("".join(parts)), "error" if number == error_line else "")
        for number, parts in enumerate(lines, start=1)
    )


_SHORT = 6000
_remembered = lru_cache(maxsize=1024)(_highlighted)
"""A page's programs are shown over and over; highlighting them was a third of its time."""


def diff_lines(before: str, after: str, context: int = 3) -> list[Line]:
    """A line diff of two programs."""
    old, new = code_lines(before), code_lines(after)
    matcher = difflib.SequenceMatcher(None, cut(before).splitlines(), cut(after).splitlines(), autojunk=False)
    return list(_diff(matcher, old, new, context))


def _diff(
    matcher: difflib.SequenceMatcher[str], old: Sequence[Line], new: Sequence[Line], context: int
) -> Iterator[Line]:
    for group in matcher.get_grouped_opcodes(context):
        if group[0][3] > 0:
            yield Line(0, Markup("…"), "gap")
        for tag, i1, i2, j1, j2 in group:
            if tag == "equal":
                yield from new[j1:j2]
                continue
            for line in old[i1:i2]:
                yield Line(line.number, line.html, "del")
            for line in new[j1:j2]:
                yield Line(line.number, line.html, "add")


def word_diff(other: str, text: str) -> Markup:
    """A text, with the words marked that another one does not have there."""
    old, new = re.findall(r"\s+|\w+|[^\w\s]", other), re.findall(r"\s+|\w+|[^\w\s]", text)
    parts = []
    for tag, _, _, start, end in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        piece = plain("".join(new[start:end]))
        parts.append(
            piece if tag == "equal" or not piece.strip() else Markup("<mark>{}</mark>").format(piece)
        )
    return Markup("").join(parts)


def duration(seconds: float | None) -> str:
    """Seconds for people: `40 s`, `4 min`, `1 h 05 min`."""
    if seconds is None:
        return "–"
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"


_HEAD_LINES, _HEAD_CHARS = 10, 1000


def fold(text: str) -> tuple[str, str]:
    """The beginning of a long text, and the rest, which a page folds away; a short text has no rest."""
    lines = text.splitlines(keepends=True)
    if len(lines) > _HEAD_LINES + 4:
        text, rest = "".join(lines[:_HEAD_LINES]), "".join(lines[_HEAD_LINES:])
    else:
        rest = ""
    if len(text) > _HEAD_CHARS + 300:
        cut = text.rfind(" ", _HEAD_CHARS // 2, _HEAD_CHARS) + 1 or _HEAD_CHARS
        text, rest = text[:cut], text[cut:] + rest
    return text.rstrip("\n") if rest else text, rest


def when(seconds: float | None) -> Markup:
    """A moment; the page's script puts it into the reader's own time, and words where it is recent."""
    stamp = utc(seconds)
    if stamp is None:
        return Markup("")
    return Markup('<time datetime="{}">{}</time>').format(stamp, stamp.replace("T", " ").replace("Z", " UTC"))
