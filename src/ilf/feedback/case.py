"""One wrong program and what may be said about it: the test it fails, or nothing of a test that is hidden."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ilf.records import Program, Task, Verdict
from ilf.syntax import Definition, definition, try_parse

MISSING = object()
"""A value that its text does not tell."""


def value_of(text: str | None) -> Any:
    """The value that a repr stands for, or `MISSING` where it is no literal."""
    if text is None:
        return MISSING
    try:
        return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return MISSING


def call_in(test: str, name: str) -> ast.Call | None:
    """The first call of `name` in a test, or None."""
    tree = try_parse(test)
    calls = (node for node in ast.walk(tree) if isinstance(node, ast.Call)) if tree else ()
    return next((c for c in calls if isinstance(c.func, ast.Name) and c.func.id == name), None)


def arguments_of(call: ast.Call | None) -> list[Any]:
    """The values of a call's arguments; `MISSING` for those that are not literals."""
    if call is None:
        return []
    return [value_of(ast.unparse(node)) for node in [*call.args, *(k.value for k in call.keywords)]]


@dataclass(frozen=True)
class Case:
    """A wrong program with its verdict, as far as it may be spoken of.

    A test that is not the shown one is hidden where `hide_tests` is set: neither its text nor any value,
    exception or line that it led to is to be had from here.
    """

    task: Task
    program: Program
    verdict: Verdict
    hide_tests: bool = True

    @cached_property
    def shown(self) -> int | None:
        """Index of the shown test among the tests; None where it is none of them."""
        tests = [test.strip() for test in self.task.tests]
        return tests.index(self.task.shown.strip()) if self.task.shown.strip() in tests else None

    @cached_property
    def before_tests(self) -> bool:
        """It failed before any test ran."""
        return self.verdict.test is None and all(result is None for result in self.verdict.tests)

    @cached_property
    def open(self) -> bool:
        """Whether the test that failed first may be spoken of."""
        if not self.hide_tests or self.before_tests:
            return True
        return self.verdict.test is not None and self.verdict.test == self.shown

    @property
    def code(self) -> str:
        """The program."""
        return self.program.code

    @cached_property
    def tree(self) -> ast.Module | None:
        """Its syntax tree; None where it does not parse."""
        return try_parse(self.code)

    @cached_property
    def function(self) -> Definition | None:
        """The definition under test."""
        return definition(self.tree, self.task.entry_point) if self.tree else None

    @property
    def status(self) -> str | None:
        """The verdict's; None where a hidden test led to it."""
        return self.verdict.status if self.open else None

    @cached_property
    def test(self) -> str | None:
        """The test that failed first."""
        number = self.verdict.test
        return self.task.tests[number].strip() if self.open and number is not None else None

    @cached_property
    def arguments(self) -> list[Any]:
        """What the failing call is given."""
        return arguments_of(call_in(self.test, self.task.entry_point)) if self.test else []

    @cached_property
    def expected(self) -> Any:
        """The value that the test wants."""
        return value_of(self.verdict.expected) if self.open else MISSING

    @cached_property
    def actual(self) -> Any:
        """The value that came."""
        return value_of(self.verdict.actual) if self.open else MISSING

    @property
    def exception(self) -> tuple[str, str]:
        """Type and message of the exception; empty where there is none."""
        if not self.open or self.status != "error":
            return "", ""
        kind, _, message = (self.verdict.error or "").partition(":")
        return kind.strip(), message.strip()

    @cached_property
    def line(self) -> str | None:
        """The line of the program where the exception arose, without its indentation."""
        lines = self.code.split("\n")
        number = self.verdict.line if self.open else None
        return lines[number - 1].strip() if number is not None and 0 < number <= len(lines) else None
