"""Runs the tests that a test's code defines, as pytest and unittest would: functions, classes, cases.

It runs beside the tests: in the judge, or in the program's own process where a task is shared. The first test
that fails ends it with its exception. What is skipped, or expected to fail, is not carried out.
"""

from __future__ import annotations

import contextlib
import inspect
import itertools
import sys
from collections.abc import Iterator
from typing import Any

from . import minipytest
from .fixtures import BUILT_IN
from .minipytest import Fixture, Mark, ParameterSet, Skipped

Item = tuple[dict[str, Any], dict[str, Any]]
"""Values by parameter, and values that fixtures get (`indirect`)."""


def collect(namespace: dict[str, Any], names: list[str]) -> None:
    """Run tests.

    Args:
        namespace: of the tests: fixtures are looked up there.
        names: what to run: functions, classes of tests, and unittest's cases; other classes are passed over.

    Raises:
        AssertionError: one did not hold, or asks for a fixture that is not there.
    """
    with contextlib.ExitStack() as stack:
        found = [(name, namespace[name]) for name in names]
        _around(stack, namespace, "setUpModule", "tearDownModule")
        _around(stack, namespace, "setup_module", "teardown_module", namespace)
        run = _Run(namespace, stack)
        for name, value in found:
            if not isinstance(value, type):
                run.function(name, value, _marks(namespace), None)
            elif "unittest" in sys.modules and issubclass(value, sys.modules["unittest"].TestCase):
                run.case(value)
            elif name.startswith("Test") and inspect.getattr_static(value, "__init__") is object.__init__:
                run.group(value)


def _around(stack: contextlib.ExitStack, names: Any, before: str, after: str, *argument: Any) -> None:
    """Call the one now and the other at the end, where they are there."""

    def call(name: str) -> None:
        function = names.get(name) if isinstance(names, dict) else getattr(names, name, None)
        if function is not None:
            function(*argument[: len(inspect.signature(function).parameters)])

    stack.callback(call, after)
    call(before)


def _marks(owner: Any) -> list[Mark]:
    """The marks of a function, class or module."""
    found = owner.get("pytestmark", []) if isinstance(owner, dict) else getattr(owner, "pytestmark", [])
    return list(found) if isinstance(found, (list, tuple)) else [found]


def _left_out(marks: list[Mark]) -> bool:
    for mark in marks:
        if mark.name == "skip" or (mark.name in ("skipif", "xfail") and (not mark.args or mark.args[0])):
            return True
    return False


def _items(marks: list[Mark]) -> Iterator[Item]:
    """Every combination of the rows of all `parametrize`; the first mark varies slowest."""
    tables: list[list[Item]] = []
    for mark in marks:
        if mark.name != "parametrize":
            continue
        given = dict(zip(("argnames", "argvalues"), mark.args, strict=False)) | mark.kwargs
        names, indirect = given["argnames"], given.get("indirect", False)
        several = not isinstance(names, str) or "," in names
        if isinstance(names, str):
            names = [name.strip() for name in names.split(",") if name.strip()]
        rows: list[Item] = []
        for row in given["argvalues"]:
            if isinstance(row, ParameterSet):
                if _left_out(row.marks):
                    continue
                row = row.values
            else:
                row = tuple(row) if several else (row,)
            if len(row) != len(names):
                raise AssertionError(f"parametrize: {len(names)} names, {len(row)} values")
            values = dict(zip(names, row, strict=True))
            handed = set(names if indirect is True else indirect or ())
            rows.append(
                (
                    {name: value for name, value in values.items() if name not in handed},
                    {name: value for name, value in values.items() if name in handed},
                )
            )
        tables.append(rows)
    for rows_ in itertools.product(*tables):
        item: Item = ({}, {})
        for plain, through in rows_:
            item[0].update(plain)
            item[1].update(through)
        yield item


class _Run:
    """The tests of one text, with the fixtures they share."""

    def __init__(self, namespace: dict[str, Any], stack: contextlib.ExitStack) -> None:
        self.namespace = namespace
        self.stack = stack
        self.fixtures = {value.name: value for value in namespace.values() if isinstance(value, Fixture)}
        self.made: dict[Any, Any] = {}

    def case(self, case: Any) -> None:
        """A `unittest.TestCase`; `debug` runs a test with its set-up and lets its exception out."""
        unittest = sys.modules["unittest"]
        if getattr(case, "__unittest_skip__", False) or getattr(
            case, "__unittest_expecting_failure__", False
        ):
            return
        case.setUpClass()
        try:
            for name in unittest.TestLoader().getTestCaseNames(case):
                if getattr(getattr(case, name), "__unittest_expecting_failure__", False):
                    continue
                test = case(name)
                with contextlib.suppress(unittest.SkipTest, Skipped):
                    test.debug()
        finally:
            case.tearDownClass()
            case.doClassCleanups()

    def group(self, kind: type) -> None:
        """A plain class of tests: an object of its own for each."""
        fixtures = dict(self.fixtures)
        for base in reversed(kind.__mro__):
            self.fixtures |= {
                value.name: value for value in vars(base).values() if isinstance(value, Fixture)
            }
        marks = _marks(self.namespace) + _marks(kind)
        names = dict.fromkeys(name for base in reversed(kind.__mro__) for name in vars(base))
        with contextlib.ExitStack() as stack:
            _around(stack, kind, "setup_class", "teardown_class", kind)
            for name in names:
                if name.startswith("test") and callable(getattr(kind, name)):
                    self.function(name, getattr(kind, name), marks, kind)
        self.fixtures = fixtures

    def function(self, name: str, function: Any, marks: list[Mark], kind: type | None) -> None:
        """One test function, once for every row of its parameters."""
        marks = marks + [mark for mark in _marks(function) if mark not in marks]
        if _left_out(marks) or getattr(function, "__unittest_skip__", False):
            return
        used = [str(name) for mark in marks if mark.name == "usefixtures" for name in mark.args]
        used = [fixture.name for fixture in self.fixtures.values() if fixture.autouse] + used
        for values, handed in _items(marks):
            asked = list(dict.fromkeys(used + _parameters(function, kind)))
            for chosen in self._choices(asked, handed, values):
                unittest = sys.modules.get("unittest")
                skips = (Skipped,) if unittest is None else (Skipped, unittest.SkipTest)
                with contextlib.suppress(*skips), contextlib.ExitStack() as stack:
                    owner = kind() if kind is not None else None
                    call = getattr(owner, name) if kind is not None else function
                    if owner is None:
                        _around(stack, self.namespace, "setup_function", "teardown_function", function)
                    else:
                        _around(stack, owner, "setup_method", "teardown_method", call)
                    _Item(self, stack, name, owner, values, handed | chosen).run(call, used)

    def _choices(self, asked: list[str], handed: dict[str, Any], values: Any) -> list[dict[str, Any]]:
        """A row for each combination of the `params` of the fixtures that a test asks for."""
        needed: dict[str, list[Any]] = {}
        seen = set(values)
        while asked:
            name = asked.pop()
            fixture = self.fixtures.get(name)
            if name in seen or fixture is None:
                continue
            seen.add(name)
            asked += _parameters(fixture.function, None)
            if fixture.params is not None and name not in handed:
                rows = [
                    row
                    for row in fixture.params
                    if not isinstance(row, ParameterSet) or not _left_out(row.marks)
                ]
                needed[name] = [row.values[0] if isinstance(row, ParameterSet) else row for row in rows]
        return [dict(zip(needed, row, strict=True)) for row in itertools.product(*needed.values())]


class _Item:
    """One test with one row of parameters, and what it asks for."""

    def __init__(
        self, run: _Run, stack: contextlib.ExitStack, name: str, owner: Any, values: Any, handed: Any
    ) -> None:
        self.all = run
        self.stack = stack
        self.name = name
        self.owner = owner
        self.values: dict[str, Any] = dict(values)
        self.handed = handed
        self.loop: Any = None

    def run(self, call: Any, used: list[str]) -> None:
        """Make what is asked for, and call the test."""
        for name in used:
            self.value(name)
        keywords = {name: self.value(name) for name in _parameters(call, None)}
        self.finish(call(**keywords))

    def finish(self, result: Any) -> Any:
        """What a coroutine gives; anything else as it is."""
        if not inspect.isawaitable(result):
            return result
        import asyncio

        if self.loop is None:
            self.loop = asyncio.Runner()
            self.stack.callback(self.loop.close)
        awaited: Any = result
        return self.loop.run(awaited)

    def value(self, name: str) -> Any:
        """A parameter's value, or what its fixture makes."""
        if name in self.values:
            return self.values[name]
        fixture = self.all.fixtures.get(name)
        if fixture is None:
            if name == "request":
                return Request(self, self.stack, "")
            if name not in BUILT_IN:
                raise AssertionError(f"{self.name} asks for {name!r}, which is no fixture here")
            value = self.stack.enter_context(BUILT_IN[name]())
        else:
            key = (name, repr(self.handed.get(name)))
            if fixture.shared and key in self.all.made:
                return self.all.made[key]
            value = self._make(fixture)
            if fixture.shared:
                self.all.made[key] = value
        self.values[name] = value
        return value

    def _make(self, fixture: Fixture) -> Any:
        stack = self.all.stack if fixture.shared else self.stack
        names = _parameters(fixture.function, None)
        owner = []
        if names[:1] == ["self"] and "self" not in self.all.fixtures:
            owner, names = [self.owner], names[1:]
        keywords = {name: self.value(name) for name in names if name != "request"}
        if "request" in names:
            keywords["request"] = Request(self, stack, fixture.name)
        made = fixture.function(*owner, **keywords)
        if inspect.isasyncgen(made):
            value = self.finish(made.__anext__())
            stack.callback(lambda: self.finish(anext(made, None)))
            return value
        if inspect.isgenerator(made):
            stack.callback(next, made, None)
            return next(made)
        return self.finish(made)


class Request:
    """What a fixture learns about the test that asks for it."""

    def __init__(self, item: _Item, stack: contextlib.ExitStack, name: str) -> None:
        self.param = item.handed.get(name)
        self.function = self.node = item
        self.instance = item.owner
        self.addfinalizer = stack.callback
        self.getfixturevalue = item.value


def _parameters(function: Any, kind: type | None) -> list[str]:
    """Parameters without a default; without `self` where the function comes from a class."""
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    try:
        found = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return []
    names = [p.name for p in found if p.kind in kinds and p.default is p.empty]
    method = kind is not None and inspect.isfunction(function) and names[:1] == ["self"]
    return names[1:] if method else names


minipytest.install()
