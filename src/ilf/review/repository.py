"""A local git repository, read only: files at a commit, and what came after."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from ilf.errors import DataError, UserError

_COMMIT = re.compile(r"[0-9a-f]{7,64}")


class Repository:
    """The clone at `folder`.

    Args:
        folder: with a `.git`, or a bare one.
        head: the version that the review led to; a branch, tag or commit.

    Raises:
        DataError: it is no git repository, or has no such version.
        UserError: git is not installed.
    """

    def __init__(self, folder: Path, head: str = "HEAD") -> None:
        self.folder = folder
        if self._git("rev-parse", "--git-dir") is None:
            raise DataError(f"{folder}: not a git repository")
        found = self._git("rev-parse", "--verify", "--end-of-options", f"{head}^{{commit}}")
        if found is None:
            raise DataError(f"{folder}: there is no version {head!r}")
        self.head = found.strip()

    def _git(self, *words: str) -> str | None:
        """What git prints, or None where it fails."""
        try:
            done = subprocess.run(
                ["git", "-C", str(self.folder), *words], capture_output=True, check=False, timeout=60
            )
        except FileNotFoundError:
            raise UserError("git is not installed, and the repository's versions are read with it") from None
        except subprocess.TimeoutExpired:
            return None
        return done.stdout.decode("utf-8", "replace") if done.returncode == 0 else None

    def has(self, commit: str) -> bool:
        """Whether a commit is there."""
        known = _COMMIT.fullmatch(commit) and self._git("cat-file", "-e", f"{commit}^{{commit}}")
        return known is not None and bool(_COMMIT.fullmatch(commit))

    @lru_cache(maxsize=256)  # noqa: B019 (one repository a call of the command)
    def file(self, commit: str, path: str) -> str | None:
        """A file at a commit; None where it has none of that name."""
        return self._git("show", f"{commit}:{path}")

    @lru_cache(maxsize=64)  # noqa: B019
    def paths(self, commit: str) -> Sequence[str]:
        """The names of all files at a commit."""
        return (self._git("ls-tree", "-r", "--name-only", "-z", commit) or "").split("\0")[:-1]

    @lru_cache(maxsize=256)  # noqa: B019
    def later(self, commit: str, path: str) -> Sequence[str]:
        """Commits between `commit` and the head that changed a file, the oldest first."""
        said = self._git("rev-list", "--reverse", f"{commit}..{self.head}", "--", path)
        return (said or "").split()
