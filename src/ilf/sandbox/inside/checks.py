"""What of a test's code is a check: an assertion, or a comparison in other words. Each is counted when it is
carried out, since tests that carry out none prove nothing."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterable
from typing import Any

CHECK, COLLECT = "__ilf_check__", "__ilf_collect__"
NO_CHECK = "the tests carried out no assertion or comparison on what the program gives: they prove nothing"


def place(node: ast.stmt | ast.expr) -> dict[str, Any]:
    """Where a node stands, for those that take its place."""
    return {
        "lineno": node.lineno, "col_offset": node.col_offset,
        "end_lineno": node.end_lineno, "end_col_offset": node.end_col_offset,
    }  # fmt: skip


def _asserts(node: ast.AST) -> bool:
    """`self.assertEqual(…)`, `pytest.raises(…)`, `numpy.testing.assert_allclose(…)`."""
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr.startswith(("assert", "raises", "warns"))
    )


MOCKS = ("assert_called", "assert_any", "assert_has", "assert_not", "assert_await")
"""What a mock asserts is about itself."""
IMPURE = frozenset(
    {
        "open",
        "input",
        "eval",
        "exec",
        "compile",
        "globals",
        "locals",
        "vars",
        "getattr",
        "next",
        "iter",
        "print",
    }
    | {
        "__import__",
        "breakpoint",
        "setattr",
        "delattr",
        "hasattr",
        "super",
        "callable",
        "dir",
        "map",
        "filter",
    }
)
PURE = frozenset(vars(builtins)) - IMPURE


def own_names(trees: Iterable[ast.AST]) -> frozenset[str]:
    """Names of the tests' own that no program can have changed: bound to constants, used in assertions only.

    A name that is handed to anything, kept in anything, or bound otherwise is not among them.
    """
    bound: set[str] = set()
    other: set[str] = set()
    for tree in trees:
        stack: list[ast.AST] = [tree]
        while stack:
            node = stack.pop()
            if isinstance(node, ast.Assign) and all(isinstance(target, ast.Name) for target in node.targets):
                bound |= {target.id for target in node.targets if isinstance(target, ast.Name)}
                if any(isinstance(n, ast.Name | ast.Attribute) for n in ast.walk(node.value)):
                    other |= {target.id for target in node.targets if isinstance(target, ast.Name)}
                stack.append(node.value)
            elif isinstance(node, ast.Assert) and _only(node.test, None):
                continue  # a use that changes nothing
            elif isinstance(node, ast.Name):
                other.add(node.id)
            elif isinstance(node, ast.arg):
                other.add(node.arg)
            elif isinstance(node, ast.Global | ast.Nonlocal):
                other |= set(node.names)
            else:
                stack.extend(ast.iter_child_nodes(node))
    return frozenset(bound - other)


def _only(node: ast.AST, own: frozenset[str] | None) -> bool:
    """Whether code uses nothing but these names (None: any), constants, and functions that only compute."""
    for part in ast.walk(node):
        if isinstance(part, ast.Attribute | ast.Await | ast.NamedExpr | ast.Yield | ast.Lambda):
            return False
        if isinstance(part, ast.Call) and not (isinstance(part.func, ast.Name) and part.func.id in PURE):
            return False
        if isinstance(part, ast.Name) and own is not None and part.id not in own and part.id not in PURE:
            return False
    return True


def settled(node: ast.expr) -> bool | None:
    """What a condition is whatever the program answers, as far as its form says: `f(1) or True`, `x == x`."""
    match node:
        case ast.Constant(value):
            return bool(value)
        case ast.Tuple(items) | ast.List(items) | ast.Set(items):
            return bool(items)
        case ast.UnaryOp(ast.Not(), operand):
            inner = settled(operand)
            return None if inner is None else not inner
        case ast.BoolOp(operator, values):
            decides = isinstance(operator, ast.Or)
            found = [settled(value) for value in values]
            return decides if decides in found else None if None in found else not decides
        case ast.IfExp(_, body, orelse):
            found = [settled(body), settled(orelse)]
            return found[0] if found[0] == found[1] else None
        case ast.Compare(left, [ast.Eq() | ast.Is() | ast.LtE() | ast.GtE()], [right]):
            calls = any(isinstance(part, ast.Call | ast.Await) for part in ast.walk(left))
            return True if not calls and ast.dump(left) == ast.dump(right) else None
    return None


def _fails(node: ast.stmt) -> bool:
    """`raise …`, `pytest.fail(…)`, `self.fail(…)`."""
    match node:
        case ast.Raise() | ast.Expr(ast.Call(ast.Attribute(attr="fail"))):
            return True
    return False


class Checks(ast.NodeTransformer):
    """Calls `CHECK` after each check that can depend on the program."""

    def __init__(self, own: frozenset[str] = frozenset()) -> None:
        self.own = own
        """`own_names` of all tests."""

    def counted(self, test: ast.expr, statement: ast.stmt) -> list[ast.stmt]:
        """An assertion, counted where the program has a say in it."""
        return [statement, self._check(place(statement))] if self._open(test) else [statement]

    def _open(self, *parts: ast.AST) -> bool:
        """Whether what is tested can depend on the program."""
        if len(parts) == 1 and isinstance(parts[0], ast.expr) and settled(parts[0]) is not None:
            return False
        return not all(_only(part, self.own) for part in parts)

    def visit_Assert(self, node: ast.Assert) -> Any:
        """The plain case."""
        return self.counted(node.test, node)

    def visit_Call(self, node: ast.Call) -> Any:
        """Assertions that are calls."""
        self.generic_visit(node)
        same = len(node.args) > 1 and settled(ast.Compare(node.args[0], [ast.Eq()], [node.args[1]]))
        parts = [*node.args, *(word.value for word in node.keywords)]
        if isinstance(node.func, ast.Attribute) and node.func.attr.startswith(MOCKS):
            parts.append(node.func.value)
        if not _asserts(node) or same or not self._open(*parts):
            return node
        at = place(node)
        return ast.Call(ast.Name(CHECK, ast.Load(), **at), [node], [], **at)

    def visit_With(self, node: ast.With) -> Any:
        """`with self.assertRaises(…):` has checked when it is left."""
        asserts = any(_asserts(item.context_expr) for item in node.items)
        asserts = asserts and self._open(*node.body)
        self.generic_visit(node)
        return [node, self._check(place(node))] if asserts else node

    visit_AsyncWith: Any = visit_With

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> Any:
        """That a call raises what a handler names is a comparison: `try: f(-1) … except ValueError: pass`."""
        self.generic_visit(node)
        names = {n.id for n in ast.walk(node.type) if isinstance(n, ast.Name)} if node.type else set()
        if names and not names & {"Exception", "BaseException", "AssertionError"}:
            node.body.insert(0, self._check(place(node.body[0])))
        return node

    def visit_If(self, node: ast.If) -> Any:
        """`if f(1) != 2: raise …` is an assertion in other words."""
        checks = any(map(_fails, node.body)) and self._open(node.test)
        self.generic_visit(node)
        return [node, self._check(place(node))] if checks else node

    def _check(self, at: dict[str, Any]) -> ast.stmt:
        return ast.Expr(ast.Call(ast.Name(CHECK, ast.Load(), **at), [], [], **at), **at)
