"""Tests as people write them for pytest and unittest become statements that run them.

A test that only defines a function or a `TestCase` checks nothing by itself: test runners collect what is
defined and call it. The same happens here, before a task goes to the judge.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable

from ilf.sandbox.inside.checks import CHECK, COLLECT, NO_CHECK, Checks, own_names
from ilf.syntax import try_parse


def collected(tests: Iterable[str]) -> list[str]:
    """The tests, each with a call that runs what it defines for a test runner.

    That is functions called `test…` which nothing in the tests uses, classes called `Test…` and subclasses of
    `unittest.TestCase` of which the tests make no object themselves. `unittest.main()` and `pytest.main()`
    are taken out, and what else stands under `if __name__ == "__main__":` is carried out.
    """
    texts = list(tests)
    if not any("def test" in text or "TestCase" in text or "__main__" in text for text in texts):
        return texts
    trees = [try_parse(text) for text in texts]
    used, made = set(), set()
    for tree in trees:
        if tree is not None:
            tree.body = [statement for node in tree.body for statement in _without_main(node)]
            used |= {
                node.id
                for node in ast.walk(tree)
                if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)
            }
            made |= {
                node.func.id
                for node in ast.walk(tree)
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
            }
    found = []
    for text, tree in zip(texts, trees, strict=True):
        names = [] if tree is None else [name for node in tree.body for name in _test_names(node, used, made)]
        if tree is not None and "main" in text:
            text = ast.unparse(tree)
        call = f"{COLLECT}(globals(), {list(dict.fromkeys(names))})"
        found.append(f"{text.rstrip()}\n{call}" if names else text)
    return found


def _without_main(node: ast.stmt) -> list[ast.stmt]:
    """The statements that take a top-level one's place."""
    match node:
        case ast.If(test=ast.Compare(left=ast.Name("__name__")), body=body):
            return [statement for inner in body for statement in _without_main(inner)]
        case ast.Expr(ast.Call(ast.Attribute(ast.Name("unittest" | "pytest"), "main"))):
            return []
        case ast.Expr(ast.Call(args=[ast.Call(ast.Attribute(ast.Name("unittest" | "pytest"), "main"))])):
            return []  # sys.exit(pytest.main())
    return [node]


def _test_names(node: ast.stmt, used: set[str], made: set[str]) -> list[str]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return [node.name] if node.name.startswith("test") and node.name not in used else []
    return [node.name] if isinstance(node, ast.ClassDef) and node.name not in made else []


_COUNT = f"""
__ilf_checked__ = []
def {CHECK}(value=None):
    __ilf_checked__.append(1)
    return value
"""
_HARNESS = f"from inside.harness import collect as {COLLECT}\n"


def counting(setup: str, tests: Iterable[str]) -> tuple[str, list[str]]:
    """Setup and tests that run in the program's own process, failing at the end where nothing was checked.

    The judge counts for itself; there the program could forge the count as it could all else.
    """
    texts = list(tests)
    own = own_names(tree for text in (setup, *texts) if (tree := try_parse(text)) is not None)
    texts = [_counted(text, own) for text in texts]
    harness = _HARNESS if any(COLLECT in text or "pytest" in text for text in (setup, *texts)) else ""
    texts[-1] += f"\nif not __ilf_checked__:\n    raise AssertionError({NO_CHECK!r})"
    return _COUNT + harness + _counted(setup, own), texts


def _counted(text: str, own: frozenset[str]) -> str:
    tree = try_parse(text)
    return text if tree is None else ast.unparse(ast.fix_missing_locations(Checks(own).visit(tree)))
