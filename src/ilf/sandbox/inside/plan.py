"""What a task's tests look like to the judge: compiled once, with the calls that can be sent ahead.

Most tests are `assert f(literals) == literal`. Their calls are known before any program is: they travel with
the program, and one exchange of messages decides a verdict. A test of any other form talks to the program
call by call ("live").
"""

from __future__ import annotations

import ast
import builtins
import importlib
import marshal
import re
import sys
from functools import cached_property
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any, NamedTuple

from .checks import COLLECT, Checks, own_names, place
from .program import MAX_ANSWER

COMPARE, TRUTH, FAIL = "__ilf_compare__", "__ilf_truth__", "__ilf_fail__"
OPERATORS = {
    ast.Eq: "==", ast.NotEq: "!=", ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Is: "is",
    ast.IsNot: "is not", ast.In: "in", ast.NotIn: "not in",
}  # fmt: skip
# Text from a program must not become code here: these run in the program's own process instead.
REMOTE_BUILTINS = frozenset({"eval", "exec", "compile", "open", "input", "__import__", "breakpoint"})
BUILTINS = frozenset(vars(builtins)) - REMOTE_BUILTINS


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


class Test:
    """One test statement: its source, how to run it, and the calls it makes if they are known beforehand."""

    def __init__(
        self, source: Source, name: str, entries: frozenset[str], bound: set[str], own: frozenset[str]
    ) -> None:
        self.source = source.text.partition(f"\n{COLLECT}")[0]
        question = source.question
        self.question = question if question and question.name in entries - bound else None
        if self.question is not None:
            self.calls: list[Any] | None = [self.question.call]
        else:
            self.calls = known_calls(source.tree, entries)
            self.code = compile(rewrite(source, entries, own), name, "exec", dont_inherit=True)

    def run(self, namespace: dict[str, Any], runner: Any) -> None:
        """Run the statement; AssertionError where it does not hold."""
        if self.question is not None:
            self.question.ask(namespace, runner, self.source.strip())
        else:
            exec(self.code, namespace)


class Plan:
    """A task's setup and tests, ready to run against any program."""

    def __init__(self, task: dict[str, Any]) -> None:
        self.seconds = 0.0  # processor time for the tests' own code
        self.entry: str = task["entry_point"]
        self.setup_source: str = task.get("setup", "")
        prefix, reference = task.get("prefix", ""), task.get("reference") or ""
        self.class_under_test = _is_class(self.entry, prefix, reference)
        self.random = any("random" in text for text in (prefix, self.setup_source, *task["tests"]))
        setup = Source(self.setup_source)
        tests = sources(task["tests"])
        used = setup.used.union(*(test.used for test in tests))
        bound = setup.bound.union(*(test.bound for test in tests))
        self.local: dict[str, Any] = {}
        self.remote: set[str] = {self.entry} & used
        missing = used - bound - self.remote - BUILTINS
        if COLLECT in used or any("pytest" in text for text in (self.setup_source, *task["tests"])):
            from .harness import collect

            self.local[COLLECT] = collect
            missing -= {COLLECT}
        stops = any("StopIteration" in text for text in (self.setup_source, *task["tests"]))
        self.trusted = Trusted(stops=stops)
        if self.class_under_test or "class " in prefix or "class " in reference:
            self.trusted = Trusted(self.class_under_test, methods_of(prefix, reference), stops)
        self.helpers: Helpers | None = None
        if missing:
            self._resolve(missing, _parse_prefix(prefix), _parse(reference))
        entries = frozenset(self.remote)
        # Names that are used otherwise than by calling them.
        self.fetched = entries & setup.uncalled.union(*(test.uncalled for test in tests)) - {self.entry}
        own: frozenset[str] = frozenset()
        if all(
            test.question is None for test in tests
        ):  # a question is a check: then the others decide nothing
            own = own_names(source.tree for source in (setup, *tests))
        self.tests = [
            Test(source, f"test {number}", entries, bound, own) for number, source in enumerate(tests)
        ]
        if self.setup_source:
            self.setup = compile(rewrite(setup, entries, own), "setup", "exec", dont_inherit=True)
        self.calls: list[Any] = []
        self.live = not entries.isdisjoint(setup.used)
        for test in self.tests:
            if test.calls is None or self.live:
                self.live = True
                self.calls = []
                break
            self.calls += test.calls
        self.request = marshal.dumps(self.calls, 2)
        if len(self.request) > MAX_ANSWER:
            self.live, self.calls = True, []

    def names(self) -> dict[str, Any]:
        """Names for the tests of one program."""
        if self.helpers is None:
            return self.local
        fresh = self.helpers.names()
        return {name: fresh.get(name, value) for name, value in self.local.items()}

    def _resolve(self, missing: set[str], prefix: ast.Module, reference: ast.Module) -> None:
        """Names that neither tests nor setup define: the prefix's, a module's, or else the program's."""
        helpers = Helpers(prefix, self.entry)
        names = helpers.names()
        imports = import_names(reference) | import_names(prefix)
        for name in missing:
            if name in names:
                self.local[name] = names[name]
                if helpers.stateful:
                    self.helpers = helpers
            elif (name in imports and (value := _import(imports[name])) is not None) or (
                name in sys.stdlib_module_names and (value := _import((name, None))) is not None
            ):
                self.local[name] = value
            else:
                self.remote.add(name)


class Trusted(NamedTuple):
    """What is known, from reference and prefix, of the classes that a task is about."""

    class_under_test: bool = False
    methods: frozenset[str] = frozenset()
    stops: bool = False
    """The tests speak of StopIteration, so a function may raise it."""


def methods_of(prefix: str, reference: str) -> frozenset[str]:
    """Names of the methods that classes in the prefix and the reference define."""
    classes = [
        node for tree in (_parse_prefix(prefix), _parse(reference)) for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
    ]  # fmt: skip
    found = {item.name for node in classes for item in node.body if isinstance(item, ast.FunctionDef)}
    for node in classes:
        for item in node.body:
            if isinstance(item, ast.Assign):
                found |= {target.id for target in item.targets if isinstance(target, ast.Name)}
    return frozenset(found)


def _parse(source: str) -> ast.Module:
    try:
        return ast.parse(source)
    except (SyntaxError, ValueError, RecursionError):
        return ast.Module([], [])


def _parse_prefix(prefix: str) -> ast.Module:
    """The prefix ends with an open signature; give it a body."""
    for ending in ("", "\n    pass", "\n        pass", " pass", "\n\tpass"):
        try:
            return ast.parse(prefix.replace("\r\n", "\n") + ending)
        except (SyntaxError, ValueError):
            continue
    lines = prefix.splitlines()
    return _parse_prefix("\n".join(lines[:-1])) if lines else ast.Module([], [])


def _is_class(name: str, prefix: str, reference: str) -> bool:
    """Whether the thing under test is a class. The program is not asked: it would choose."""
    if not reference and name not in prefix:
        return name[:1].isupper() and not name.isupper()
    if f"class {name}" not in prefix and f"class {name}" not in reference:
        return False
    found = re.search(
        rf"^(class|def|async +def)\s+{re.escape(name)}\b", f"{prefix}\n{reference}", re.MULTILINE
    )
    return found is not None and found[1] == "class"


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


def _import(where: tuple[str, str | None]) -> Any:
    try:
        module = importlib.import_module(where[0])
        return module if where[1] is None else getattr(module, where[1])
    except Exception:
        return None


IMMUTABLE = (
    type(None),
    bool,
    int,
    float,
    complex,
    str,
    bytes,
    range,
    frozenset,
    type,
    ModuleType,
    BuiltinFunctionType,
)


class Helpers:
    """What the trusted prefix defines for the tests to use: imports, helper functions and constants.

    Classes stay the program's: the tests build objects that the program's functions will take.
    """

    def __init__(self, prefix: ast.Module, entry: str) -> None:
        self.codes: list[Any] = []
        self.stateful = False
        namespace: dict[str, Any] = {"__name__": "prefix"}
        for node in prefix.body:
            if isinstance(node, ast.ClassDef) or getattr(node, "name", None) == entry:
                continue
            try:
                code = compile(ast.Module([node], []), "prefix", "exec", dont_inherit=True)
                exec(code, namespace)
            except Exception:
                continue
            self.codes.append(code)
        self.stateful = not all(map(_stateless, self._public(namespace).values()))
        self.first = self._public(namespace)

    def names(self) -> dict[str, Any]:
        """The names; made anew each time where the tests of one program could leave something behind."""
        if not self.stateful:
            return self.first
        namespace: dict[str, Any] = {"__name__": "prefix"}
        for code in self.codes:
            exec(code, namespace)
        return self._public(namespace)

    @staticmethod
    def _public(namespace: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in namespace.items() if not name.startswith("__")}


def _stateless(value: Any) -> bool:
    if isinstance(value, FunctionType):
        return not value.__dict__ and not value.__closure__ and all(
            map(_stateless, (*(value.__defaults__ or ()), *(value.__kwdefaults__ or {}).values()))
        )  # fmt: skip
    return isinstance(value, IMMUTABLE) or (type(value) is tuple and all(map(_stateless, value)))


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


class _Rewriter(Checks):
    """`assert a == b` becomes a call that keeps both values for the report."""

    def __init__(self, source: str, entries: frozenset[str], own: frozenset[str]) -> None:
        super().__init__(own)
        self.source = source
        self.lines = source.count("\n") + 1
        self.entries = entries

    def visit_Assert(self, node: ast.Assert) -> Any:
        at = place(node)
        whole = node.col_offset == 0 and node.end_lineno is not None and self.lines == node.end_lineno == 1
        text = (
            self.source.strip() if whole else ast.get_source_segment(self.source, node) or ast.unparse(node)
        )
        test = node.test
        values: list[ast.expr]
        if isinstance(test, ast.Compare) and len(test.ops) == 1:
            left, right = test.left, test.comparators[0]
            which = 1 if not self._mentions(left) and self._mentions(right) else 0
            operator = ast.Constant(OPERATORS[type(test.ops[0])], **at)
            name, values = COMPARE, [operator, left, right, ast.Constant(which, **at)]
        else:
            name, values = TRUTH, [test]
        call = ast.Call(ast.Name(name, ast.Load(), **at), [*values, ast.Constant(text, **at)], [], **at)
        fail = ast.Call(ast.Name(FAIL, ast.Load(), **at), [node.msg] if node.msg else [], [], **at)
        held = ast.If(ast.UnaryOp(ast.Not(), call, **at), [ast.Expr(fail, **at)], [], **at)
        return self.counted(test, held)

    def _mentions(self, node: ast.AST) -> bool:
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in self.entries:
            return True
        return any(isinstance(n, ast.Name) and n.id in self.entries for n in ast.walk(node))


def rewrite(source: Source, entries: frozenset[str], own: frozenset[str]) -> ast.Module:
    """The tree with its assertions rewritten."""
    new: ast.Module = _Rewriter(source.text, entries, own).visit(source.tree)
    return new
