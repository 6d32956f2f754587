"""BigCodeBench (Zhuo et al. 2024): a function with a long docstring, and a `unittest.TestCase`."""

from __future__ import annotations

import ast

from pydantic import BaseModel

from ilf.records import Task, TaskId
from ilf.syntax import definition, normalise, parse, problem, signature_only
from ilf.tasks.humaneval import docstring
from ilf.tasks.rows import BadRow, Row, fit


class _Row(BaseModel):
    task_id: TaskId
    complete_prompt: str
    entry_point: str
    test: str
    canonical_solution: str | None = None
    code_prompt: str | None = None


def read(row: Row, prefix: str = "all") -> Task:
    """One published row as a `Task`; raises `BadRow`."""
    published = fit(_Row, row)
    name = published.entry_point
    head = normalise(published.complete_prompt).strip("\n") + "\n"
    try:
        function = definition(parse(head + "    pass\n"), name)
    except SyntaxError as error:
        raise BadRow(f"complete_prompt: does not parse: {problem(error)}") from None
    if function is None:
        raise BadRow(f"complete_prompt: does not define {name}")
    test = normalise(published.test).strip("\n") + "\n"
    if "TestCase" not in test:
        raise BadRow("test: has no unittest.TestCase")
    reference = None
    if published.canonical_solution is not None:
        body = normalise(published.canonical_solution).strip("\n")
        reference = f"{head}{body}\n"
    return Task(
        task_id=published.task_id,
        description=docstring(function) or f"Write the function {name}.",
        entry_point=name,
        tests=tuple(_cases(test)),
        prefix=signature_only(head, name) if prefix == "signature" else head,
        example="",
        reference=reference,
    )


def _cases(test: str) -> list[str]:
    # The whole module is one test: its cases share imports, and what one method sets up another may use.
    try:
        tree = parse(test)
    except SyntaxError as error:
        raise BadRow(f"test: does not parse: {problem(error)}") from None
    kept = [node for node in tree.body if not _is_main(node)]
    return ["\n\n".join(ast.unparse(node) for node in kept)]


def _is_main(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and "__name__" in ast.unparse(node.test)
