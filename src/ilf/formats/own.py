"""Rows in our own form, written by hand: what is unknown is passed over, what is null is absent."""

from __future__ import annotations

import difflib
from typing import Any

from ilf.records import Record


class Own:
    """Rows of a file that a person wrote: what is not known is passed over, and said once when all are read.

    Args:
        kind: the record that they should be.
    """

    def __init__(self, kind: type[Record]) -> None:
        self._fields = kind.model_fields
        self._unknown: dict[str, int] = {}

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """The row without unknown fields; null for a field that has a default is that default."""
        kept = {}
        for name, value in row.items():
            field = self._fields.get(name)
            if field is None:
                self._unknown[name] = self._unknown.get(name, 0) + 1
            elif value is not None or field.is_required():
                kept[name] = value
        return kept

    def near(self, field: str) -> str:
        """What stands in the rows where a field is missed: " (the row has entry_pont)", or nothing."""
        close = difflib.get_close_matches(field, self._unknown, n=1, cutoff=0.75)
        return f" (the row has {close[0]})" if close else ""

    def passed_over(self) -> str | None:
        """One line on the unknown fields, or None."""
        if not self._unknown:
            return None
        parts = []
        for name, count in self._unknown.items():
            close = difflib.get_close_matches(name, self._fields, n=1, cutoff=0.75)
            parts.append(f"{name} ({count}{f', did you mean {close[0]}?' if close else ''})")
        return f"fields passed over: {', '.join(parts)}"
