"""Worked items of feedback on somebody's own tasks: a reference with one bug put in, and what to say."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence

from ilf import kinds
from ilf.config import VerifyConfig
from ilf.kinds import FUNCTION
from ilf.records import Feedback, Program, Task
from ilf.sandbox import stdin
from ilf.syntax import definition, parse, try_parse

AUTHOR = "ilf init"
_SWAPS: dict[type, type] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult,
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.And: ast.Or, ast.Or: ast.And,
}  # fmt: skip
TRIED = 8
"""Bugs tried in one program."""


def items(tasks: Sequence[Task], count: int = 2, *, verify: VerifyConfig | None = None) -> list[Feedback]:
    """At most `count` items, each on the first tasks in which a bug is noticed by the tests.

    Args:
        tasks: to choose from.
        count: how many.
        verify: the sandbox's settings; None takes the first bug untried.
    """
    found: list[Feedback] = []
    for task in tasks:
        if len(found) == count:
            break
        if task.kind not in (FUNCTION, stdin.KIND) or task.reference is None:
            continue
        tried = list(_bugs(task))[:TRIED]
        if verify is not None and tried:
            programs = [Program(task_id=task.task_id, code=code) for code, _ in tried]
            verdicts = kinds.verify({task.task_id: task}, programs, verify)
            wrong = [v.status == "failed" for v in verdicts]
            tried = [bug for bug, failed in zip(tried, wrong, strict=True) if failed]
        if tried:
            code, text = tried[0]
            found.append(
                Feedback(task_id=task.task_id, code=code, text=text, source="recorded", author=AUTHOR,
                         refinement=task.reference, bugs=1)
            )  # fmt: skip
    return found


def _bugs(task: Task) -> Iterator[tuple[str, str]]:
    """(program with one bug, what is wrong with it)."""
    assert task.reference is not None
    tree = parse(task.reference)
    function = definition(tree, task.entry_point) if task.kind == FUNCTION else tree
    if function is None:
        return
    lines = task.reference.split("\n")
    for node in ast.walk(function):
        for wrong in _variants(node):
            right, said = ast.unparse(node), ast.unparse(wrong)
            code = _replaced(lines, node, f"({said})" if _inner(node, function) else said)
            if code is not None and try_parse(code) is not None:
                yield code, (
                    f"`{said}` is wrong: it must be `{right}`. Everything else can stay as it is."
                )  # fmt: skip


def _variants(node: ast.AST) -> Iterator[ast.expr]:
    if isinstance(node, ast.BinOp) and type(node.op) in _SWAPS:
        yield ast.BinOp(node.left, _SWAPS[type(node.op)](), node.right)
    elif isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in _SWAPS:
        yield ast.Compare(node.left, [_SWAPS[type(node.ops[0])]()], node.comparators)
    elif isinstance(node, ast.BoolOp):
        yield ast.BoolOp(_SWAPS[type(node.op)](), node.values)
    elif isinstance(node, ast.Constant) and type(node.value) is int:
        yield ast.Constant(node.value + 1)


def _inner(node: ast.AST, function: ast.AST) -> bool:
    """Whether an expression is a part of a larger one, where brackets keep what it means."""
    return any(
        node is child and isinstance(parent, ast.BinOp | ast.BoolOp | ast.Compare | ast.UnaryOp)
        for parent in ast.walk(function)
        for child in ast.iter_child_nodes(parent)
    ) and not isinstance(node, ast.Constant)


def _replaced(lines: list[str], node: ast.AST, text: str) -> str | None:
    """The program with one expression of one line replaced."""
    if not isinstance(node, ast.expr) or node.end_lineno != node.lineno or node.end_col_offset is None:
        return None
    line = lines[node.lineno - 1].encode()
    changed = line[: node.col_offset] + text.encode() + line[node.end_col_offset :]
    return "\n".join([*lines[: node.lineno - 1], changed.decode(), *lines[node.lineno :]])
