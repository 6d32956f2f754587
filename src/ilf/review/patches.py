"""Patches commented on by mail: the patch quoted with `> `, and what is said of a line below it.

> --- a/stats.py
> +++ b/stats.py
> @@ -1,2 +1,2 @@
>  def mean(xs):
> -    return sum(xs)
> +    return sum(xs) / len(xs)
An empty list divides by zero here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from ilf.errors import DataError
from ilf.review.comments import Reading
from ilf.syntax import normalise

_HUNK = re.compile(r"@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@")
_QUOTE = re.compile(r"^> ?")
_SHA = re.compile(r"^(?:From|commit) ([0-9a-f]{7,64})\b")
_AUTHOR = re.compile(r"^From: (?:\"?([^<\"]*[^<\" ])\"? *<|(\S+))")


@dataclass
class _File:
    """What the quoted part of a file says its new version is."""

    path: str = ""
    new: bool = False
    """It has no older version, so that the hunk is the whole file."""
    line: int = 0
    """Last line of the new version that was quoted."""
    lines: list[str] = field(default_factory=list)
    on_removed: bool = False


def read(path: Path) -> Reading:
    """The comments of a patch.

    A comment is about the last quoted line that the new version has. The whole file is known where the patch
    makes it; else it is the repository's, of the commit that a line `From SHA` or `commit SHA` names.

    Raises:
        DataError: no such file, not UTF-8, or no quoted patch in it.
    """
    try:
        text = normalise(path.read_text(encoding="utf-8-sig"))
    except (FileNotFoundError, IsADirectoryError):
        raise DataError(f"{path}: no such file") from None
    except UnicodeDecodeError:
        raise DataError(f"{path}: not UTF-8 text") from None
    reading, found = Reading(), list[tuple[int, str, _File, int, bool]]()
    file, commit, author = _File(), None, None
    said: list[str] = []
    begun = 0

    def finish() -> None:
        body = "\n".join(said).strip()
        said.clear()
        if body and file.path:
            found.append((begun, body, file, file.line, file.on_removed))

    for number, raw in enumerate(text.split("\n"), start=1):
        quoted = raw.startswith(">")
        line = _QUOTE.sub("", raw)
        if (sha := _SHA.match(line)) is not None:
            commit = sha[1]
        if not quoted:
            if author is None and (name := _AUTHOR.match(raw)) is not None:
                author = name[1] or name[2]
            if not said:
                begun = number
            said.append(raw)
            continue
        finish()
        file = _quoted(file, line)
    finish()
    if not file.path:
        raise DataError(f"{path}: no patch quoted with `> ` (+++ and @@ lines) in it")
    for number, body, of, at, on_removed in found:
        where = f"{path}, line {number}"
        if on_removed:
            reading.drop(where, "on a line that is removed")
        elif at == 0:
            reading.drop(where, "on no line of a file")
        elif commit is None and not of.new:
            reading.drop(where, "its patch names no commit")
        else:
            content = "\n".join(of.lines) + "\n" if of.new else None
            reading.keep(
                where, body, path=of.path, first=at, last=at, author=author, commit=commit, content=content
            )
    return reading


def _quoted(file: _File, line: str) -> _File:
    """Take one line of the patch in."""
    if line.startswith("--- "):
        return _File(new=line[4:].strip() == "/dev/null")
    if line.startswith("+++ "):
        file.path = line[4:].split("\t")[0].strip().removeprefix("b/")
    elif (hunk := _HUNK.match(line)) is not None:
        file.line = max(0, int(hunk[3]) - 1)
    elif file.path and (line.startswith(("+", " ")) or (file.line and not line)):
        file.line += 1
        file.lines.append(line[1:])
        file.on_removed = False
    elif file.path and line.startswith("-"):
        file.on_removed = True
    return file
