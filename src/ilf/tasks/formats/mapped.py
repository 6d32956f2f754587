"""Rows in columns of somebody's own, renamed with `--map task_id=id,description=question,…`."""

from __future__ import annotations

import ast
import builtins
import difflib
from collections.abc import Mapping
from typing import Any

from ilf.errors import ConfigError
from ilf.kinds import FUNCTION
from ilf.records import Task
from ilf.syntax import split_at_signature, try_parse
from ilf.tasks.mbpp import find_entry_point
from ilf.tasks.rows import BadRow, Row


def parse_map(text: str) -> dict[str, str]:
    """`task_id=id,tests=info.tests` as field → column.

    Raises:
        ConfigError: it does not have that form, or names no field of a task.
    """
    found: dict[str, str] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        field, equals, column = (piece.strip() for piece in part.partition("="))
        if not equals or not field or not column:
            raise ConfigError(f"--map: {part!r}: FIELD=COLUMN was expected, as in task_id=id,tests=asserts")
        found[field] = column
    check_map(found)
    return found


def check_map(columns: Mapping[str, str]) -> None:
    """Raise `ConfigError` where a key is no field of a task."""
    for field in columns:
        if field not in Task.model_fields:
            near = difflib.get_close_matches(field, Task.model_fields, n=1)
            hint = f"did you mean {near[0]}?" if near else f"fields: {', '.join(Task.model_fields)}"
            raise ConfigError(f"map: a task has no field {field!r}; {hint}")


def renamed(row: Row, columns: Mapping[str, str], number: int) -> Row:
    """A row in our fields, and what can be found out of the others; raises `BadRow`.

    Columns that the map does not name keep their names where a task has such a field. The id is the row's
    number, the entry point what every test calls and the reference defines, the prefix all up to the
    reference's signature, where no column says so.
    """
    found = {name: value for name, value in row.items() if name in Task.model_fields}
    for field, column in columns.items():
        found[field] = _at(row, column, field)
    if found.get("task_id") is None:
        found["task_id"] = number
    if not isinstance(found["task_id"], str):
        found["task_id"] = str(found["task_id"])
    if isinstance(found.get("tests"), str):
        found["tests"] = _statements(found["tests"])
    if found.get("kind", FUNCTION) == FUNCTION:
        _find_out(found)
    return found


def _at(row: Row, column: str, field: str) -> Any:
    """The value of a column; `a.b` is the entry b of an object in the column a."""
    if column in row:
        return row[column]
    value: Any = row
    for part in column.split("."):
        if not isinstance(value, dict) or part not in value:
            raise BadRow(f"{field}: there is no column {column!r}; the row has {', '.join(row)}")
        value = value[part]
    return value


def _statements(text: str) -> list[str]:
    """A text of several asserts is as many tests; any other text is one."""
    tree = try_parse(text)
    if tree is not None and len(tree.body) > 1 and all(isinstance(node, ast.Assert) for node in tree.body):
        return [ast.get_source_segment(text, node) or ast.unparse(node) for node in tree.body]
    return [text]


def _find_out(found: dict[str, Any]) -> None:
    tests = found.get("tests")
    trees = [try_parse(test) for test in tests] if isinstance(tests, list) else []
    reference = found.get("reference")
    code = try_parse(reference) if isinstance(reference, str) else None
    if not found.get("entry_point") and trees and all(trees):
        asked = [tree for tree in trees if tree is not None]
        found["entry_point"] = find_entry_point(asked, code) if code else _called_by_all(asked)
    name = found.get("entry_point")
    if not found.get("prefix") and code is not None and isinstance(name, str):
        split = split_at_signature(str(reference), name)
        found["prefix"] = split[0] if split else ""


def _called_by_all(trees: list[ast.Module]) -> str | None:
    """The one name that every test calls and Python does not have; None where there is none or several."""
    names = [
        {
            node.func.id
            for node in ast.walk(tree)
            if isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and not hasattr(builtins, node.func.id)
        }
        for tree in trees
    ]
    common = set.intersection(*names)
    return common.pop() if len(common) == 1 else None
