"""A program's exceptions as data."""

from __future__ import annotations

import builtins
from typing import Any

from . import codec
from .codec import Encoder

FILE = "program.py"
EXCEPTIONS = frozenset(
    name
    for name, value in vars(builtins).items()
    if isinstance(value, type) and issubclass(value, BaseException)
)


def short(error: BaseException) -> str:
    """An exception as one line, whatever it does when it is shown."""
    try:
        return f"{type(error).__name__}: {error}"[:300]
    except BaseException:
        return "an exception that cannot be shown"


def describe(error: BaseException) -> dict[str, Any]:
    """An exception as data: its type and built-in bases, its text, and its line in the program."""
    kind = type(error)
    bases = [
        base.__name__
        for base in kind.__mro__
        if base.__module__ == "builtins" and base.__name__ in EXCEPTIONS
    ]
    try:
        text = str(error)
    except BaseException:
        text = "?"
    line = None
    try:
        trace = error.__traceback__
        while trace is not None:
            if trace.tb_frame.f_code.co_filename == FILE:
                line = trace.tb_lineno
            trace = trace.tb_next
        if isinstance(error, SyntaxError) and line is None and error.filename == FILE:
            line, text = error.lineno, str(error.msg)
    except BaseException:
        pass
    out: dict[str, Any] = {
        "type": str(kind.__name__)[:100],
        "bases": bases,
        "text": text[:2000],
        "line": line,
    }
    try:
        out["args"] = Encoder().encode(list(error.args))
        if len(codec.dumps(out["args"])) > 10000:
            del out["args"]
    except BaseException:
        out.pop("args", None)
    return out
