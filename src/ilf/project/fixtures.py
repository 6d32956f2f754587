"""Pytest's fixtures and `parametrize` as plain calls, so that a test needs no runner."""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterable, Mapping, Sequence

Fixtures = Mapping[str, ast.FunctionDef]
"""Functions that make what tests ask for, by their names."""
_LEFT = ("pytest.mark.skip", "pytest.mark.skipif", "pytest.mark.xfail", "pytest.mark.asyncio")


class Unfilled(ValueError):
    """A test that cannot be called: the reason."""


def fixtures_of(nodes: Iterable[ast.stmt]) -> dict[str, ast.FunctionDef]:
    """The fixtures among the statements of a file."""
    return {
        node.name: node for node in nodes if isinstance(node, ast.FunctionDef) and is_fixture(node)
    }  # fmt: skip


def is_fixture(node: ast.stmt) -> bool:
    """Whether a function is decorated as one."""
    return isinstance(node, ast.FunctionDef) and any(
        _name(decorator) in ("pytest.fixture", "fixture") for decorator in node.decorator_list
    )


def _name(decorator: ast.expr) -> str:
    return ast.unparse(decorator.func if isinstance(decorator, ast.Call) else decorator)


def plain(node: ast.FunctionDef | ast.ClassDef) -> ast.FunctionDef | ast.ClassDef:
    """A fixture, test or test class without pytest's decorators."""
    found = copy.deepcopy(node)
    for inner in ast.walk(found):
        if isinstance(inner, ast.FunctionDef | ast.ClassDef):
            inner.decorator_list = [
                decorator
                for decorator in inner.decorator_list
                if not _name(decorator).startswith(("pytest.", "fixture"))
            ]
    return found


def calls(test: ast.FunctionDef, fixtures: Fixtures, of: str = "") -> str:
    """Statements that call a test with all that it asks for; `""` where it asks for nothing.

    Args:
        test: a function, or a method (its first parameter is left alone).
        fixtures: by name.
        of: what stands before the name of a method: `case.`.

    Raises:
        Unfilled: it asks for something that nothing here makes, or is marked to be skipped.
    """
    given: dict[str, str] = {}
    loops = []
    for decorator in test.decorator_list:
        name = _name(decorator)
        if name in _LEFT:
            raise Unfilled(f"it is marked {name.rpartition('.')[2]}")
        if name != "pytest.mark.parametrize":
            continue
        names, values = _parametrized(decorator)
        given |= {one: f"__{one}__" for one in names}
        loops.append(f"for {', '.join(given[one] for one in names)} in {values}:")
    arguments = test.args.args[1 if of else 0 :]
    with_default = (
        {a.arg for a in arguments[len(arguments) - len(test.args.defaults) :]}
        if test.args.defaults
        else set()
    )
    parts = [
        f"{argument.arg}={given.get(argument.arg) or _made(argument.arg, fixtures, ())}"
        for argument in arguments
        if argument.arg in given or argument.arg not in with_default
    ]
    if not parts and not of:
        return ""
    lines = [*reversed(loops), f"{of}{test.name}({', '.join(parts)})"]
    return "\n".join("    " * depth + line for depth, line in enumerate(lines))


def _parametrized(decorator: ast.expr) -> tuple[list[str], str]:
    """Names and values of a `parametrize`."""
    if not isinstance(decorator, ast.Call) or len(decorator.args) < 2:
        raise Unfilled("its parametrize is written in a way that is not read")
    try:
        names = ast.literal_eval(decorator.args[0])
    except ValueError:
        raise Unfilled("the names of its parametrize are computed") from None
    many = not isinstance(names, str) or "," in names
    found = [name.strip() for name in names.split(",")] if isinstance(names, str) else list(names)
    values = _Params(len(found) > 1).visit(copy.deepcopy(decorator.args[1]))
    if many and len(found) == 1:
        return found, f"[value for (value,) in {ast.unparse(values)}]"
    return found, ast.unparse(ast.fix_missing_locations(values))


class _Params(ast.NodeTransformer):
    """`pytest.param(1, 2, id="x")` is (1, 2)."""

    def __init__(self, many: bool) -> None:
        self._many = many

    def visit_Call(self, node: ast.Call) -> ast.expr:
        if ast.unparse(node.func) != "pytest.param":
            return node
        if any(keyword.arg == "marks" for keyword in node.keywords):
            raise Unfilled("a case of its parametrize has marks")
        return ast.Tuple(node.args, ast.Load()) if self._many else node.args[0]


def _made(name: str, fixtures: Fixtures, asked: Sequence[str]) -> str:
    """The expression that makes what a fixture gives."""
    fixture = fixtures.get(name)
    if fixture is None or name in asked:
        raise Unfilled(f"it asks for {name}")
    if any(k.arg == "params" for d in fixture.decorator_list if isinstance(d, ast.Call) for k in d.keywords):
        raise Unfilled(f"its fixture {name} has params")
    parts = [f"{a.arg}={_made(a.arg, fixtures, (*asked, name))}" for a in fixture.args.args]
    made = f"{name}({', '.join(parts)})"
    yields = any(isinstance(inner, ast.Yield) for inner in ast.walk(fixture))
    return f"next({made})" if yields else made


def asked_for(node: ast.AST, fixtures: Fixtures) -> set[str]:
    """The fixtures that a test or a class of tests asks for, directly or through one another."""
    found: set[str] = set()
    left = [node]
    while left:
        for inner in ast.walk(left.pop()):
            if isinstance(inner, ast.arg) and inner.arg in fixtures and inner.arg not in found:
                found.add(inner.arg)
                left.append(fixtures[inner.arg])
    return found
