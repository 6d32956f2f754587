"""Whether a test keeps an answer while it asks again, so that it sees if the program changes it meanwhile."""

from __future__ import annotations

import ast
from collections.abc import Iterator

REPEATING = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
DISPLAYS = (ast.List, ast.Tuple, ast.Set, ast.Dict)
INTO = frozenset({"append", "add", "extend", "insert", "appendleft"})
"""Methods by which a container takes what it is given."""
LOOPS = (ast.For, ast.While, ast.AsyncFor)
BLOCKS = ("body", "handlers", "orelse", "finalbody")


def keeps(tree: ast.Module, entries: frozenset[str]) -> bool:
    """Whether an answer of one of `entries` may be alive when the next is asked for, and looked at later.

    Read from the order of the lines: what it misses is a test that hides its answers in objects of its own.
    """
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    names = entries.union(argument.arg for node in functions for argument in node.args.args)
    return any(_block(body, names) for body in _bodies(tree))


def _bodies(tree: ast.Module) -> Iterator[list[ast.stmt]]:
    yield tree.body
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.body


def _block(body: list[ast.stmt], names: frozenset[str]) -> bool:
    asked: list[int] = []
    kept: dict[str, int] = {}  # name → the line on which it got an answer
    for statement, parts, looped in _statements(body, False):
        nodes = [node for part in parts for node in ast.walk(part)]
        asks = any(_asks(node, names) for node in nodes)
        for node in nodes:
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id in kept:
                if asks or any(kept[node.id] < line for line in asked):
                    return True
            elif _holds(node):
                inside = sum(_asks(part, names) for part in ast.walk(node))
                if inside > 1 or (inside and (looped or isinstance(node, REPEATING))):
                    return True
        if asks:
            asked.append(statement.lineno)
        if isinstance(statement, ast.Assign | ast.AnnAssign | ast.AugAssign):
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            for node in (part for target in targets for part in ast.walk(target)):
                if isinstance(node, ast.Name):
                    kept.pop(node.id, None)
                    if asks:
                        kept[node.id] = statement.lineno
    return False


def _statements(body: list[ast.stmt], looped: bool) -> Iterator[tuple[ast.stmt, list[ast.AST], bool]]:
    """A block's statements in order, what of each is no block of its own, and whether it is in a loop."""
    for statement in body:
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
            continue  # a body of its own
        inner = [part for name in BLOCKS for part in getattr(statement, name, [])]
        yield statement, [part for part in ast.iter_child_nodes(statement) if part not in inner], looped
        for part in inner:
            block = part.body if isinstance(part, ast.ExceptHandler) else [part]
            yield from _statements(block, looped or isinstance(statement, LOOPS))


def _holds(node: ast.AST) -> bool:
    """Whether it keeps what is in it: a display, a comprehension, `found.append(…)`."""
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Attribute) and node.func.attr in INTO
    return isinstance(node, (*REPEATING, *DISPLAYS))


def _asks(node: ast.AST, names: frozenset[str]) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in names
