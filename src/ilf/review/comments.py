"""Review comments in one form, read from what GitHub, GitLab and linters export.

- GitHub: the REST list of a pull request's or a repository's review comments (`/pulls/comments`);
- GitLab: the REST list of a merge request's discussions;
- SARIF 2.1.0, what linters and scanners write;
- patches that were commented on by mail: `ilf.review.patches`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ilf.errors import DataError
from ilf.records import read_rows

_SUGGESTION = re.compile(r"```suggestion[^\n]*\n(.*?)```", re.DOTALL)


@dataclass(frozen=True)
class Comment:
    """What somebody said about lines of a file."""

    where: str
    """Where it was read, for messages."""
    path: str
    """Of the file, in the repository."""
    first: int
    """First and last line it is about, from 1, in the version that was commented on."""
    last: int
    text: str
    author: str | None = None
    commit: str | None = None
    """The version that was commented on; None where the export does not say."""
    created: str | None = None
    suggestion: str | None = None
    """Lines that its author puts in the place of `first` to `last`."""
    content: str | None = None
    """The whole file as it was commented on, where the export has it (patches)."""


@dataclass
class Reading:
    """Comments of a file, and what of it is none."""

    comments: list[Comment] = field(default_factory=list)
    dropped: list[tuple[str, str]] = field(default_factory=list)
    """Where it stands, and why it was left out."""

    def drop(self, where: str, why: str) -> None:
        """Note what is left out."""
        self.dropped.append((where, why))

    def keep(self, where: str, body: str, **fields: Any) -> None:
        """Take a comment, unless its text says nothing."""
        found = _SUGGESTION.search(body)
        text = _SUGGESTION.sub("", body).strip()
        if found is not None and not text:
            text = f"Replace this by:\n{found[1].rstrip()}"
        if len(text.split()) < 2:
            self.drop(where, "no words")
            return
        suggestion = None if found is None else found[1]
        self.comments.append(Comment(where=where, text=text, suggestion=suggestion, **fields))


def read(path: Path) -> Reading:
    """The comments of one export in JSON; which of the three it is shows in its first row.

    Raises:
        DataError: it is none of the three, or a row of it cannot be read; the message names file and row.
    """
    rows = [*_rows(path)]
    if not rows:
        raise DataError(f"{path}: there is nothing in it")
    kinds = {"runs": _sarif, "notes": _gitlab, "diff_hunk": _github}
    for key, reader in kinds.items():
        if key in rows[0][1]:
            return reader(rows)
    raise DataError(
        f"{path}: neither review comments of GitHub (diff_hunk), discussions of GitLab (notes), SARIF (runs) "
        "nor a .patch"
    )


def _rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Rows of JSONL, of one list, or a single object over many lines, as SARIF is."""
    try:
        raw = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError):
        raw = ""  # `read_rows` says what is wrong with it
    if raw.lstrip().startswith("{"):
        try:
            whole = json.loads(raw)
        except (ValueError, RecursionError):
            whole = None
        if isinstance(whole, dict):
            yield str(path), whole
            return
    for place, row in read_rows(path):
        yield f"{path}, {place}", row


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _line(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def _objects(value: Any) -> list[dict[str, Any]]:
    return [part for part in value if isinstance(part, dict)] if isinstance(value, list) else []


def _part(row: Any, *names: str | int) -> Any:
    """A value deep in JSON, or None where a part of the way is missing."""
    for name in names:
        try:
            row = row[name]
        except (KeyError, IndexError, TypeError):
            return None
    return row


def _github(rows: list[tuple[str, dict[str, Any]]]) -> Reading:
    reading = Reading()
    more: dict[str, list[Mapping[str, Any]]] = {}
    for _, row in rows:
        if row.get("in_reply_to_id") is not None:
            more.setdefault(str(row["in_reply_to_id"]), []).append(row)
    for where, row in rows:
        if row.get("in_reply_to_id") is not None:
            continue
        author = _text(_part(row, "user", "login")) or None
        # The version that its author saw; `line` and `commit_id` move on with the pull request.
        last = _line(row.get("original_line")) or _line(row.get("line"))
        first = _line(row.get("original_start_line")) or _line(row.get("start_line")) or last
        replies = more.get(str(row.get("id")), [])
        said = [_text(row.get("body"))]
        said += [_text(reply.get("body")) for reply in replies if _part(reply, "user", "login") == author]
        if _part(row, "user", "type") == "Bot" or (author or "").endswith("[bot]"):
            reading.drop(where, "written by a bot")
        elif row.get("side") == "LEFT":
            reading.drop(where, "on a line that is removed")
        elif last is None or first is None or not _text(row.get("path")):
            reading.drop(where, "on no line of a file")
        else:
            reading.keep(
                where, "\n\n".join(filter(None, said)), path=row["path"], first=min(first, last), last=last,
                author=author, created=_text(row.get("created_at")) or None,
                commit=_text(row.get("original_commit_id")) or _text(row.get("commit_id")) or None,
            )  # fmt: skip
    orphans = more.keys() - {str(row.get("id")) for _, row in rows}
    for where, row in rows:
        if str(row.get("in_reply_to_id")) in orphans:
            reading.drop(where, "a reply to a comment that is not in the export")
    return reading


def _gitlab(rows: list[tuple[str, dict[str, Any]]]) -> Reading:
    reading = Reading()
    for where, row in rows:
        notes = _objects(_part(row, "notes"))
        root = notes[0] if notes else {}
        position = root.get("position")
        author = _text(_part(root, "author", "username")) or None
        last = _line(_part(position, "new_line"))
        first = _line(_part(position, "line_range", "start", "new_line")) or last
        said = [
            _text(n.get("body")) for n in notes if _text(_part(n, "author", "username")) == (author or "")
        ]
        if root.get("system"):
            reading.drop(where, "written by a bot")
        elif isinstance(position, dict) and last is None and _line(position.get("old_line")):
            reading.drop(where, "on a line that is removed")
        elif last is None or first is None or not _text(_part(position, "new_path")):
            reading.drop(where, "on no line of a file")
        else:
            reading.keep(
                where, "\n\n".join(filter(None, said)), path=_part(position, "new_path"),
                first=min(first, last), last=last, author=author,
                commit=_text(_part(position, "head_sha")) or None,
                created=_text(root.get("created_at")) or None,
            )  # fmt: skip
    return reading


def _sarif(rows: list[tuple[str, dict[str, Any]]]) -> Reading:
    reading = Reading()
    for place, row in rows:
        for run in _objects(_part(row, "runs")):
            author = _text(_part(run, "tool", "driver", "name")) or None
            commit = _text(_part(run, "versionControlProvenance", 0, "revisionId")) or None
            for number, result in enumerate(_objects(_part(run, "results")), start=1):
                where = f"{place}, result {number}"
                at = _part(result, "locations", 0, "physicalLocation")
                first = _line(_part(at, "region", "startLine"))
                last = _line(_part(at, "region", "endLine")) or first
                path = _text(_part(at, "artifactLocation", "uri")).removeprefix("file://")
                if first is None or last is None or not path:
                    reading.drop(where, "on no line of a file")
                    continue
                reading.keep(
                    where, _text(_part(result, "message", "text")), path=path, first=first,
                    last=max(first, last), author=author, commit=commit,
                )  # fmt: skip
    return reading
