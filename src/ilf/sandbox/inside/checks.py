"""What of a test's code is a check: an assertion, or a comparison in other words. Each is counted when it is
carried out, since tests that carry out none prove nothing."""

from __future__ import annotations

import ast
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


def _fails(node: ast.stmt) -> bool:
    """`raise …`, `pytest.fail(…)`, `self.fail(…)`."""
    match node:
        case ast.Raise() | ast.Expr(ast.Call(ast.Attribute(attr="fail"))):
            return True
    return False


class Checks(ast.NodeTransformer):
    """Calls `CHECK` after each check."""

    def counted(self, test: ast.expr, statement: ast.stmt) -> list[ast.stmt]:
        """An assertion, counted. What names nothing, and a tuple, do not depend on the program."""
        named = any(isinstance(node, ast.Name) for node in ast.walk(test)) and not isinstance(test, ast.Tuple)
        return [statement, self._check(place(statement))] if named else [statement]

    def visit_Assert(self, node: ast.Assert) -> Any:
        """The plain case."""
        return self.counted(node.test, node)

    def visit_Call(self, node: ast.Call) -> Any:
        """Assertions that are calls."""
        self.generic_visit(node)
        if not _asserts(node):
            return node
        at = place(node)
        return ast.Call(ast.Name(CHECK, ast.Load(), **at), [node], [], **at)

    def visit_With(self, node: ast.With) -> Any:
        """`with self.assertRaises(…):` has checked when it is left."""
        asserts = any(_asserts(item.context_expr) for item in node.items)
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
        self.generic_visit(node)
        return [node, self._check(place(node))] if any(map(_fails, node.body)) else node

    def _check(self, at: dict[str, Any]) -> ast.stmt:
        return ast.Expr(ast.Call(ast.Name(CHECK, ast.Load(), **at), [], [], **at), **at)
