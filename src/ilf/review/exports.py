"""An export of a review, whichever of the four forms it has."""

from __future__ import annotations

from pathlib import Path

from ilf.review import comments, patches
from ilf.review.comments import Reading

PATCHES = (".patch", ".diff", ".mbox", ".eml", ".txt")
"""Endings of files that are mail; all else is JSON."""


def read(path: Path) -> Reading:
    """The comments of an export.

    Raises:
        DataError: it is none of the four, or a row of it cannot be read; the message names file and row.
    """
    return patches.read(path) if path.suffix in PATCHES else comments.read(path)
