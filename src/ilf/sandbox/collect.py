"""Tests as people write them for pytest and unittest become statements that run them.

A test that only defines a function or a `TestCase` checks nothing by itself: test runners collect what is
defined and call it. The same happens here, before a task goes to the judge.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable

from ilf.sandbox.inside.checks import CHECK, NO_CHECK, Checks
from ilf.syntax import try_parse, used_names


def collected(tests: Iterable[str]) -> list[str]:
    """The tests, each with calls of the test functions and cases that it defines and no test calls.

    Functions called `test…` without parameters, and subclasses of `unittest.TestCase` with their `setUp` and
    `setUpClass`. Functions with parameters (fixtures, `parametrize`) are left alone: nothing fills them in,
    so that their assertions are not carried out, and a verdict says so.
    """
    texts = list(tests)
    if not any("def test" in text or "TestCase" in text for text in texts):
        return texts
    trees = [try_parse(text) for text in texts]
    called = {
        node.func.id
        for tree in trees
        if tree is not None
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    runs_cases = any("unittest.main(" in text or "TextTestRunner" in text for text in texts)
    found = []
    for text, tree in zip(texts, trees, strict=True):
        calls = []
        for node in [] if tree is None else tree.body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test"):
                calls += [f"{node.name}()"] if _without_parameters(node) and node.name not in called else []
            elif isinstance(node, ast.ClassDef) and _is_case(node) and not runs_cases:
                calls.append(_run_case(node.name))
        found.append("\n".join([text.rstrip(), *calls]) if calls else text)
    return found


_COUNT = f"""
__ilf_checked__ = []
def {CHECK}(value=None):
    __ilf_checked__.append(1)
    return value
"""


def counting(setup: str, tests: Iterable[str]) -> tuple[str, list[str]]:
    """Setup and tests that run in the program's own process, failing at the end where nothing was checked.

    The judge counts for itself; there the program could forge the count as it could all else.
    """
    texts = [_counted(text) for text in tests]
    texts[-1] += f"\nif not __ilf_checked__:\n    raise AssertionError({NO_CHECK!r})"
    return _COUNT + _counted(setup), texts


def _counted(text: str) -> str:
    tree = try_parse(text)
    return text if tree is None else ast.unparse(ast.fix_missing_locations(Checks().visit(tree)))


def _without_parameters(node: ast.FunctionDef) -> bool:
    arguments = node.args
    needed = len(arguments.posonlyargs + arguments.args) - len(arguments.defaults)
    return needed == 0 and all(default is not None for default in arguments.kw_defaults)


def _is_case(node: ast.ClassDef) -> bool:
    return any("TestCase" in used_names(base) or "TestCase" in ast.unparse(base) for base in node.bases)


def _run_case(name: str) -> str:
    """Every test of a case; `debug` runs one with its set-up and lets its exception out."""
    return (
        f"import unittest as __ilf_unittest__\n{name}.setUpClass()\n"
        f"for __ilf_name__ in __ilf_unittest__.TestLoader().getTestCaseNames({name}):\n"
        f"    {name}(__ilf_name__).debug()\n"
        f"{name}.tearDownClass()"
    )
