"""From the rows of a file to checked tasks, with errors that name file, line and field."""

from __future__ import annotations

import ast
import builtins
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from ilf.errors import ConfigError, DataError
from ilf.formats.files import ordinal
from ilf.kinds import FUNCTION, Checked, kind_of
from ilf.records import Task, describe
from ilf.syntax import bound_names, find_hole, parse, problem, used_names

Row = dict[str, Any]
M = TypeVar("M", bound=BaseModel)


class BadRow(ValueError):
    """What is wrong with one row, starting with the field; `collect` adds the file and the line."""


class LeftOut(ValueError):
    """A row that is sound but can be no task of ours: the reason, said of several ("have no tests")."""


def fit(kind: type[M], row: Row) -> M:
    """`row` as a `kind`; raises `BadRow`."""
    try:
        return kind.model_validate(row)
    except ValidationError as error:
        raise BadRow(describe(error)) from None


def must_parse(field: str, what: str, code: str) -> None:
    """Raise `BadRow` where `code` is not Python."""
    try:
        parse(code)
    except SyntaxError as error:
        raise BadRow(f"{field}: {what} does not parse: {problem(error)}") from None


def collect(
    source: str,
    rows: Iterable[tuple[str, Row]],
    convert: Callable[[Row, int], Task],
    left_out: Counter[str] | None = None,
) -> list[Task]:
    """Convert (place, row) pairs read from `source` to tasks.

    Args:
        source: what errors name.
        rows: with their places, `line 3` or `row 3`.
        convert: a row and its number to a task.
        left_out: counts, by their reasons, the rows that can be no task.

    Raises:
        DataError: one line naming file, line or row, and field: a field is missing or wrong, there are no
            tests, a test or the reference does not parse, an id was there before, or there is no row.
    """
    tasks = []
    seen: dict[str, str] = {}
    for place, row in rows:
        try:
            task = convert(row, ordinal(place))
            if task.task_id in seen:
                raise BadRow(f"task_id: {task.task_id!r} is already on {seen[task.task_id]}")
            _check(task)
        except LeftOut as error:
            if left_out is None:
                raise DataError(f"{source}, {place}: rows that {error} can be no tasks") from None
            left_out[str(error)] += 1
            continue
        except BadRow as error:
            raise DataError(f"{source}, {place}: {error}") from None
        seen[task.task_id] = place
        tasks.append(task)
    if not tasks:
        why = f": {say_left_out(left_out)}" if left_out else ""
        raise DataError(f"{source}: no tasks in it{why}")
    return tasks


def say_left_out(counts: Counter[str]) -> str:
    """Which rows were left out and why, in a few words."""
    return "; ".join(f"{count} rows were left out, they {why}" for why, count in counts.items())


def _check(task: Task) -> None:
    if task.kind != FUNCTION:
        _check_other(task)
        return
    if not task.entry_point:
        raise BadRow("entry_point: Field required")
    for index, test in enumerate(task.tests):
        must_parse(f"tests.{index}", "the test", test)
    must_parse("setup", "the setup code", task.setup)
    if not task.entry_point.isidentifier():
        raise BadRow(f"entry_point: {task.entry_point!r} is not a Python name")
    if task.reference is not None:
        must_parse("reference", "the reference program", task.reference)
    if task.prefix.strip() and find_hole(task.prefix) is None:
        must_parse("prefix", "the code before the body", task.prefix.rstrip() + "\n    pass\n")
        raise BadRow("prefix: the code before the body does not end with a signature")
    _check_name(task)


def _check_other(task: Task) -> None:
    """What tests of another kind must be, the kind says; a kind of somebody else's may not be here to ask."""
    try:
        kind = kind_of(task.kind)
    except ConfigError as error:
        if ":" in task.kind:
            return
        raise BadRow(str(error)) from None
    if isinstance(kind, Checked):
        wrong = kind.problem(task)
        if wrong is not None:
            raise BadRow(wrong)


def _check_name(task: Task) -> None:
    """The entry point must be somewhere: a task about a name that nothing has cannot be passed."""
    hole = find_hole(task.prefix) if task.prefix.strip() else None
    reference = parse(task.reference) if task.reference is not None else ast.Module([], [])
    defined = {name for node in reference.body for name in bound_names(node)}
    defined |= {hole.node.name} if hole is not None else set()
    tested = used_names(*map(parse, task.tests), parse(task.setup))
    if task.entry_point in defined | tested:
        return
    called = {
        node.func.id
        for tree in map(parse, task.tests)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and not hasattr(builtins, node.func.id)
    }
    there = ", ".join(sorted(defined | called)) or "no names at all"
    raise BadRow(
        f"entry_point: {task.entry_point!r} is in neither the reference nor the tests; they have {there}"
    )
