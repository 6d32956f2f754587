"""MultiPL-E (Cassano et al. 2022), its Python files: HumanEval's and MBPP's tasks with type annotations."""

from __future__ import annotations

import ast

from pydantic import BaseModel

from ilf.records import Task
from ilf.syntax import Definition, find_hole, normalise, parse, problem, used_names
from ilf.tasks import humaneval
from ilf.tasks.rows import BadRow, Row, fit


class _Row(BaseModel):
    name: str
    language: str
    prompt: str
    tests: str


def read(row: Row, prefix: str = "all") -> Task:
    """One published row as a `Task`; raises `BadRow`."""
    published = fit(_Row, row)
    if published.language != "py":
        raise BadRow(f"language: {published.language!r}; programs in Python (py) are read, no others")
    hole = find_hole(normalise(published.prompt))
    if hole is None:
        raise BadRow("prompt: does not end with a signature")
    return humaneval.task_from_row(
        {
            "task_id": published.name,
            "prompt": published.prompt,
            "entry_point": hole.node.name,
            "test": _check_alone(published.tests),
        },
        prefix,
    )


def _check_alone(tests: str) -> str:
    """`check(candidate)` and what it uses, without the statements that call it."""
    try:
        tree = parse(normalise(tests))
    except SyntaxError as error:
        raise BadRow(f"tests: does not parse: {problem(error)}") from None
    callers = {"check", "test_check"}
    kept = [
        node
        for node in tree.body
        if not (isinstance(node, Definition) and node.name == "test_check")
        and (isinstance(node, Definition) or not callers & used_names(node))
    ]
    return "\n\n".join(ast.unparse(node) for node in kept) + "\n"
