"""Temporary folders that are gone when their process is, also where it was killed.

A process holds a lock on each of its folders. The kernel gives the locks of a killed process back, so that
the next start can tell what nobody uses any more, and removes it.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

PREFIX = "ilf-sandbox-"


class Folder:
    """A new temporary folder, held until `close` or the end of this process.

    Args:
        what: part of its name, for people who look into the temporary folder.
    """

    def __init__(self, what: str) -> None:
        self._owner = os.getpid()
        while True:
            self.path = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{what}-"))
            held = _lock(self.path)
            if held is not None:
                self._held = held
                return
            # A start at the same moment took it for a left one.

    def close(self) -> None:
        """Remove it; a fork of the process that made it leaves it alone."""
        if os.getpid() == self._owner:
            shutil.rmtree(self.path, ignore_errors=True)
            os.close(self._held)


def remove_left() -> None:
    """Remove this user's folders that no process holds."""
    with suppress(OSError), os.scandir(tempfile.gettempdir()) as entries:
        for entry in entries:
            if not entry.name.startswith(PREFIX):
                continue
            with suppress(OSError):
                if not entry.is_dir(follow_symlinks=False) or entry.stat().st_uid != os.geteuid():
                    continue
                held = _lock(Path(entry.path))
                if held is not None:
                    shutil.rmtree(entry.path, ignore_errors=True)
                    os.close(held)


def _lock(folder: Path) -> int | None:
    """A descriptor that holds the folder; None where another process holds it, or has removed it."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(descriptor), folder.stat()):
            return descriptor
    except (BlockingIOError, FileNotFoundError):
        pass
    os.close(descriptor)
    return None
