"""MBPP as published (Austin et al. 2021): 974 tasks, each a description, a reference program, three asserts.

The published rows name neither the function under test nor its signature. Both are read from the syntax trees
of the tests and the reference, so that every task gets an entry point, a prefix and a prompt.
"""

from __future__ import annotations

import ast
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Literal

from pydantic import AliasChoices, BaseModel, Field

from ilf.records import Task, TaskId
from ilf.syntax import (
    bound_names,
    normalise,
    parse,
    problem,
    signature_only,
    split_at_signature,
    used_names,
)
from ilf.tasks.rows import BadRow, Row, fit

Prefix = Literal["all", "signature"]


class _Row(BaseModel):
    # `prompt` and `test_imports` are how the sanitized edition names them.
    task_id: TaskId
    text: str = Field(validation_alias=AliasChoices("text", "prompt"))
    code: str
    test_list: list[str]
    test_setup_code: str = ""
    test_imports: list[str] = []
    challenge_test_list: list[str] = []


def task_from_row(row: Row, prefix: Prefix = "all", challenge_tests: bool = False) -> Task:
    """One published row as a `Task`; raises `BadRow`."""
    published = fit(_Row, row)
    if not published.test_list:
        raise BadRow("test_list: no tests; a task needs at least one")
    tests = list(published.test_list)
    if challenge_tests:
        tests += published.challenge_test_list
    tests = [normalise(test).strip("\n") for test in tests]
    trees = [_parsed("test_list", test) for test in tests]
    code = normalise(published.code).lstrip("\n")
    reference = _parsed("code", code)

    entry_point = find_entry_point(trees[: len(published.test_list)], reference)
    if entry_point is None:
        raise BadRow("code: defines none of the functions that the tests call")
    split = split_at_signature(code, entry_point)
    if split is None:
        raise BadRow(f"code: {entry_point} is assigned, not defined, so there is no signature to show")
    head = split[0]

    setup = normalise(published.test_setup_code)
    setup_tree = _parsed("test_setup_code", setup)
    needed = used_names(*trees, setup_tree) - {entry_point}
    if prefix == "signature":
        head = signature_only(head, entry_point, needed)
    return Task(
        task_id=published.task_id,
        description=published.text,
        entry_point=entry_point,
        tests=tuple(tests),
        prefix=head,
        setup="\n".join([*published.test_imports, *_imports(reference, needed), *([setup] if setup else [])]),
        reference=code.rstrip() + "\n",
    )


def _parsed(field: str, code: str) -> ast.Module:
    try:
        return parse(code)
    except SyntaxError as error:
        what = {"code": "the reference program", "test_list": "a test"}.get(field, "the code")
        raise BadRow(f"{field}: {what} does not parse: {problem(error)}") from None


def _imports(reference: ast.Module, needed: set[str]) -> list[str]:
    # A test may lean on an import of the reference (`sys.getsizeof(…)`); the tests' side needs its own.
    return [
        ast.unparse(node)
        for node in reference.body
        if isinstance(node, ast.Import | ast.ImportFrom) and bound_names(node) & needed
    ]


def _called(tree: ast.AST) -> Iterator[str]:
    # Breadth first: in `set(f(g(x)))` the outer function comes first.
    queue: deque[ast.AST] = deque([tree])
    while queue:
        node = queue.popleft()
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            yield node.func.id
        queue.extend(ast.iter_child_nodes(node))


def find_entry_point(tests: Sequence[ast.Module], reference: ast.Module) -> str | None:
    """The name of the function (or class) under test, or None.

    It is what every test calls and the reference defines at its top level; of several, the one called
    outermost and first (`f` in `f([Pair(1, 2)])`).
    """
    calls = [list(dict.fromkeys(_called(test))) for test in tests]
    known: set[str] = set()
    for node in reference.body:
        if not isinstance(node, ast.Import | ast.ImportFrom):
            known |= bound_names(node)
    everywhere = [name for name in calls[0] if all(name in names for names in calls)] if calls else []
    return next((name for names in [everywhere, *calls] for name in names if name in known), None)
