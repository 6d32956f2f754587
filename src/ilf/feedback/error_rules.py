"""Mistakes that a limit or an exception tells: rules of `ilf.feedback.mistakes`."""

from __future__ import annotations

import ast
import builtins
import difflib
import re
import sys
from typing import Any

from ilf.feedback.case import Case
from ilf.feedback.source_rules import endless


def too_slow(case: Case) -> str | None:
    """A time limit that no loop explains."""
    if case.status != "timeout" or endless(case) is not None:
        return None
    return "It takes too long: a loop may not end, or the work grows too fast with its input."


def too_large(case: Case) -> str | None:
    """The memory limit."""
    return "It needs too much memory: something grows without end." if case.status == "memory" else None


def no_base(case: Case) -> str | None:
    """Recursion without end."""
    if case.exception[0] != "RecursionError":
        return None
    return "The recursion does not end: a base case is missing, or the call does not come nearer to it."


def unknown_name(case: Case) -> str | None:
    """A name, or a module that was not imported."""
    kind, message = case.exception
    found = re.search(r"name '(\w+)' is not defined", message)
    if kind != "NameError" or found is None or (name := found[1]) == case.task.entry_point:
        return None
    if name in sys.stdlib_module_names:
        return f"The module {name} is used but not imported: add `import {name}`."
    known = {n.id for n in ast.walk(case.tree) if isinstance(n, ast.Name)} if case.tree else set()
    known |= {a.arg for a in ast.walk(case.tree) if isinstance(a, ast.arg)} if case.tree else set()
    near = difflib.get_close_matches(name, (known | set(dir(builtins))) - {name}, n=1, cutoff=0.75)
    return f"The name {name} is not defined{f'; did you mean {near[0]}?' if near else '.'}"


def too_early(case: Case) -> str | None:
    """A local variable without a value."""
    found = re.search(r"variable '(\w+)'", case.exception[1])
    if case.exception[0] != "UnboundLocalError" or found is None:
        return None
    return f"The variable {found[1]} is used before it is given a value on this path."


def no_module(case: Case) -> str | None:
    """An import that fails."""
    if case.exception[0] not in ("ModuleNotFoundError", "ImportError"):
        return None
    return f"An import fails ({case.exception[1]}): use the standard library only."


def empty(case: Case) -> str | None:
    """An empty argument that is not handled."""
    kinds = ("IndexError", "ZeroDivisionError", "ValueError", "StopIteration", "TypeError", "KeyError")
    if not any(_is_empty(value) for value in case.arguments):
        return None
    if case.exception[0] in kinds or (case.status == "failed" and len(case.arguments) == 1):
        return "Empty input is not handled: say what is returned for it before anything else."
    return None


def _is_empty(value: Any) -> bool:
    return isinstance(value, list | tuple | dict | set | str) and not value


def bounds(case: Case) -> str | None:
    """An index past the end."""
    if case.exception[0] != "IndexError" or empty(case) is not None:
        return None
    return "An index is out of range: check where the loop or the index ends (len(x) - 1 is the last)."


def missing_key(case: Case) -> str | None:
    """A key that is not there."""
    if case.exception[0] != "KeyError":
        return None
    return "A key is not in the dictionary: check that it is there first, or use .get()."


def by_zero(case: Case) -> str | None:
    """A division by zero."""
    if case.exception[0] != "ZeroDivisionError" or empty(case) is not None:
        return None
    return "It divides by zero: treat that case on its own."


def arity(case: Case) -> str | None:
    """A call that does not fit the signature."""
    found = re.search(r"positional argument|missing \d+ required|unexpected keyword", case.exception[1])
    if case.exception[0] != "TypeError" or found is None:
        return None
    return "The number or the names of the arguments do not fit: compare the signature with the call."


def unfit(case: Case) -> str | None:
    """An operand of the wrong type."""
    kind, message = case.exception
    if kind != "TypeError" or arity(case) is not None:
        return None
    if "NoneType" in message:
        return "A value is None here: something before it gave nothing."
    return "A value has the wrong type for this operation: convert it, or use another operation."


def no_attribute(case: Case) -> str | None:
    """A method that the type does not have."""
    kind, message = case.exception
    found = re.search(r"'(\w+)' object has no attribute '(\w+)'", message)
    if kind != "AttributeError" or found is None:
        return None
    owner, name = found.groups()
    if owner == "NoneType":
        return f"The value before .{name} is None: something before it gave nothing."
    fits = getattr(builtins, owner, None)
    known = [n for n in dir(fits) if not n.startswith("_")] if isinstance(fits, type) else []
    same = {("list", "push"): "append", ("list", "add"): "append", ("set", "append"): "add",
            ("dict", "has_key"): "get"}  # fmt: skip
    near = [same[owner, name]] if (owner, name) in same else difflib.get_close_matches(name, known, n=1)
    return f"A {owner} has no .{name}{f'; did you mean .{near[0]}?' if near else '.'}"


def conversion(case: Case) -> str | None:
    """A text or a sequence that cannot be taken apart so."""
    if case.exception[0] != "ValueError" or empty(case) is not None:
        return None
    if re.search(r"unpack", case.exception[1]):
        return "The number of names and of values in an assignment differ."
    if re.search(r"invalid literal|could not convert", case.exception[1]):
        return "A text that is no number is converted to one."
    return None


def pattern(case: Case) -> str | None:
    """A regular expression that does not compile."""
    if case.exception[0] not in ("re.error", "PatternError", "re.PatternError", "error"):
        return None
    return "The regular expression is not valid."
