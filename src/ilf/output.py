"""What a command gives on standard output: text for people, or with `--json` one JSON value and nothing else.

What goes on (`progress.say`, bars) is standard error in both cases.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from pydantic_core import to_jsonable_python

_machines = False


def for_machines(wanted: bool) -> bool:
    """From here on results are JSON (`--json`), or text again; `wanted` comes back, as of any callback."""
    global _machines
    _machines = wanted
    return wanted


def machines() -> bool:
    """Whether results are JSON."""
    return _machines


def tell(text: str) -> None:
    """A line of a result, for people; nothing with `--json`."""
    # Not through rich: code keeps its tabs and brackets.
    if not _machines:
        sys.stdout.write(text + "\n")


def answer(found: Any) -> None:
    """The result of a command, for machines; nothing without `--json`.

    Args:
        found: records, dataclasses, paths and plain values, nested as you like; a NaN becomes null.
    """
    if _machines:
        value = to_jsonable_python(found, inf_nan_mode="null")
        # ASCII: any standard output takes it, and lone surrogates of a task, too.
        sys.stdout.write(json.dumps(value, indent=2, allow_nan=False) + "\n")
        sys.stdout.flush()  # a server answers, and goes on
