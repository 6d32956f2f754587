"""One folder of files for a test and its program: what one side changes in `/tmp`, the other has next.

Only where a task's tests speak of temporary files. The tests themselves never lie there.
"""

from __future__ import annotations

import os
import shutil
from typing import Any

from .plain import CannotCross, text

ROOT = "/tmp"
MOST = 2 << 20
"""Bytes of all files together."""
COUNT = 500


class Files:
    """What both sides have had in common since the last message."""

    def __init__(self) -> None:
        self.known: dict[str, bytes | None] = {}
        """Path below `ROOT` → content; None for a folder."""

    def changes(self) -> list[Any]:
        """[path, content as hexadecimal, True for a folder, or None where it is gone] for the other side."""
        now = _found()
        changed: list[Any] = []
        for path, content in now.items():
            if path not in self.known or self.known[path] != content:
                changed.append([path, True if content is None else content.hex()])
        changed += [[path, None] for path in self.known if path not in now]
        self.known = now
        return changed

    def take(self, changes: Any) -> None:
        """What the other side has changed; CannotCross on what is no list of changes below `ROOT`."""
        if type(changes) is not list or len(changes) > 2 * COUNT:
            raise CannotCross("too many files")
        for entry in changes:
            if type(entry) is not list or len(entry) != 2:
                raise CannotCross("a file was expected")
            path, content = text(entry[0]), entry[1]
            parts = path.split("/")
            whole = os.path.join(ROOT, path)
            if not {"", ".", ".."}.isdisjoint(parts) or "\0" in path or os.path.islink(whole):
                raise CannotCross("a path outside the folder")
            if os.path.realpath(os.path.dirname(whole)) != os.path.join(ROOT, *parts[:-1]).rstrip("/"):
                raise CannotCross("a path outside the folder")
            if content is None:
                if os.path.isdir(whole):
                    shutil.rmtree(whole)
                elif os.path.exists(whole):
                    os.unlink(whole)
            elif content is True:
                os.makedirs(whole, exist_ok=True)
            else:
                with open(whole, "wb") as file:
                    file.write(bytes.fromhex(text(content)))
        self.known = _found()


def _found() -> dict[str, bytes | None]:
    """Every folder and regular file below `ROOT`, folders before what is in them."""
    found: dict[str, bytes | None] = {}
    size = 0
    for folder, folders, files in os.walk(ROOT):
        place = os.path.relpath(folder, ROOT)
        for name in folders:
            if not os.path.islink(os.path.join(folder, name)):
                found[os.path.normpath(os.path.join(place, name))] = None
        for name in files:
            whole = os.path.join(folder, name)
            if os.path.islink(whole) or not os.path.isfile(whole):
                continue
            size += os.path.getsize(whole)
            if size > MOST or len(found) > COUNT:
                raise CannotCross(
                    f"at most {COUNT} files of {MOST >> 20} MB together are shared with the tests"
                )
            with open(whole, "rb") as file:
                found[os.path.normpath(os.path.join(place, name))] = file.read()
    return found


def open_path(path: Any, *args: Any, **kwargs: Any) -> Any:
    """`open` for tests: of paths only, since a number of the program's would be a channel of the judge's."""
    if not isinstance(path, str | bytes | os.PathLike):
        raise TypeError("tests open paths only")
    return open(path, *args, **kwargs)
