"""Reading a test: the names it uses, binds and calls, and the calls that are known before any program is."""

from __future__ import annotations

import ast
import importlib
import marshal
from functools import cached_property
from typing import Any, NamedTuple

OPERATORS = {
    ast.Eq: "==", ast.NotEq: "!=", ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Is: "is",
    ast.IsNot: "is not", ast.In: "in", ast.NotIn: "not in",
}  # fmt: skip


BINDING = frozenset(
    {
        ast.FunctionDef,
        ast.AsyncFunctionDef,
        ast.ClassDef,
        ast.arg,
        ast.ExceptHandler,
        ast.Import,
        ast.ImportFrom,
    }
)


LEAVES = frozenset({ast.Constant, ast.Load, str, int, type(None), *OPERATORS, ast.And, ast.Or})
"""What a walk over a tree need not look into."""


class Source:
    """A piece of test code: its tree, and the names that it uses, binds and calls."""

    def __init__(self, text: str, statement: ast.stmt | None = None) -> None:
        """`statement`: what the text is, if that has been found out already, but for its place."""
        self.text = text
        self.used: set[str] = set()
        self.bound: set[str] = set()
        self.uncalled: set[str] = set()
        self.question = None if statement is None else question_of(text, [statement])
        if self.question is None:
            self.question = question_of(text, self.tree.body)
        if self.question is not None:
            self.used.add(self.question.name)
            return
        called: set[int] = set()
        stack: list[ast.AST] = [self.tree]
        while stack:
            node = stack.pop()
            kind = type(node)
            if kind is ast.Name:
                assert isinstance(node, ast.Name)
                if type(node.ctx) is not ast.Load:
                    self.bound.add(node.id)
                else:
                    self.used.add(node.id)
                    if id(node) not in called:
                        self.uncalled.add(node.id)
                continue
            if kind is ast.Call:
                called.add(id(node.func))  # type: ignore[attr-defined]
            elif kind in BINDING:
                self._bind(node)
            for name in node._fields:
                value = getattr(node, name)
                if type(value) is list:
                    stack += [item for item in value if type(item) not in LEAVES]
                elif type(value) not in LEAVES:
                    stack.append(value)

    @cached_property
    def tree(self) -> ast.Module:
        """The text, parsed."""
        return ast.parse(self.text)

    def _bind(self, node: ast.AST) -> None:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            self.bound.add(node.name)
        elif isinstance(node, ast.arg):
            self.bound.add(node.arg)
        elif isinstance(node, ast.ExceptHandler):
            self.bound |= {node.name} if node.name else set()
        else:
            self.bound |= set(import_names(node))


def sources(texts: list[str]) -> list[Source]:
    """Each text as a source; parsed together where each is one line and one statement, as it mostly is."""
    try:
        body = ast.parse("\n".join(texts)).body
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        body = []
    lines = [(node.lineno, node.end_lineno) for node in body]
    if lines != [(number, number) for number in range(1, len(texts) + 1)]:
        return [Source(text) for text in texts]
    return [Source(text, statement) for text, statement in zip(texts, body, strict=True)]


class Question(NamedTuple):
    """`assert name(literals) == literal`, as most tests are: nothing to compile, which is what costs most."""

    name: str
    arguments: bytes
    """marshal of (list, dict): new objects for each program, which may change them."""
    operator: str
    expected: Any
    call_on_the_right: bool
    call: list[Any]
    """The call as the program gets it."""

    def ask(self, namespace: dict[str, Any], runner: Any, text: str) -> None:
        """Do what the statement would."""
        arguments, keywords = marshal.loads(self.arguments)
        sides = [namespace[self.name](*arguments, **keywords), self.expected]
        which = int(self.call_on_the_right)
        if which:
            sides.reverse()
        if not runner.compare(self.operator, *sides, which, text):
            runner.fail()
        runner.check()


def question_of(text: str, body: list[ast.stmt]) -> Question | None:
    """The test as a question, if it is one."""
    match body:
        case [ast.Assert(test=ast.Compare(left=left, ops=[operator], comparators=[right]), msg=None)]:
            pass
        case _:
            return None
    if "\n" in text.strip():
        return None
    call, literal, reverse = (left, right, False) if isinstance(left, ast.Call) else (right, left, True)
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name):
        return None
    try:
        arguments = [ast.literal_eval(argument) for argument in call.args]
        keywords = {word.arg: ast.literal_eval(word.value) for word in call.keywords}
        expected = ast.literal_eval(literal)
        packed = marshal.dumps((arguments, keywords))
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return None
    if None in keywords:
        return None
    message = [call.func.id, arguments, keywords]
    return Question(call.func.id, packed, OPERATORS[type(operator)], expected, reverse, message)


def import_names(tree: ast.AST) -> dict[str, tuple[str, str | None]]:
    """name → (module, attribute) of every import statement."""
    found: dict[str, tuple[str, str | None]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.asname:
                    found[alias.asname] = (alias.name, None)
                else:
                    found[alias.name.split(".")[0]] = (alias.name.split(".")[0], None)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                if alias.name == "*":
                    try:
                        module = importlib.import_module(node.module)
                    except Exception:
                        continue
                    public = getattr(module, "__all__", [n for n in vars(module) if not n.startswith("_")])
                    found |= {name: (node.module, name) for name in public}
                else:
                    found[alias.asname or alias.name] = (node.module, alias.name)
    return found


class _Conditional(Exception):
    pass


def known_calls(tree: ast.Module, entries: frozenset[str]) -> list[Any] | None:
    """The calls that the test makes whatever the program answers; None where that is not known."""
    if len(tree.body) != 1 or not isinstance(tree.body[0], ast.Assert):
        return None
    found: list[Any] = []
    try:
        _walk(tree.body[0].test, entries, found, False)
        if tree.body[0].msg is not None:
            _walk(tree.body[0].msg, entries, found, True)
    except (_Conditional, ValueError, TypeError, SyntaxError, RecursionError):
        return None
    return found


def _walk(node: ast.AST, entries: frozenset[str], found: list[Any], conditional: bool) -> None:
    """Calls of `entries` in evaluation order; _Conditional if one may not happen or is no plain call."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in entries:
        if conditional:
            raise _Conditional
        args = [ast.literal_eval(argument) for argument in node.args]
        kwargs = {word.arg or "": ast.literal_eval(word.value) for word in node.keywords}
        if "" in kwargs:
            raise _Conditional
        marshal.dumps((args, kwargs))
        found.append([node.func.id, args, kwargs])
        return
    if type(node) in LEAVES:
        return
    if isinstance(node, ast.Name):
        if node.id in entries:
            raise _Conditional
        return
    later = isinstance(
        node, (ast.Lambda, ast.IfExp, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
    )
    children = list(ast.iter_child_nodes(node))
    for position, child in enumerate(children):
        maybe = later or (isinstance(node, ast.BoolOp) and position > 1) or (
            isinstance(node, ast.Compare) and len(node.ops) > 1 and position > len(node.ops)
        )  # fmt: skip
        _walk(child, entries, found, conditional or maybe)
