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
from typing import Any, NamedTuple

from .checks import COLLECT, Checks, own_names, place, settled
from .files import open_path
from .helpers import Helpers
from .keeping import keeps
from .program import MAX_ANSWER
from .source import OPERATORS, Source, import_names, known_calls, sources

COMPARE, TRUTH, FAIL = "__ilf_compare__", "__ilf_truth__", "__ilf_fail__"
# Text from a program must not become code here: these run in the program's own process instead.
REMOTE_BUILTINS = frozenset({"eval", "exec", "compile", "open", "input", "__import__", "breakpoint"})
BUILTINS = frozenset(vars(builtins)) - REMOTE_BUILTINS


class Test:
    """One test statement: its source, how to run it, and the calls it makes if they are known beforehand."""

    def __init__(
        self, source: Source, name: str, entries: frozenset[str], bound: set[str], own: frozenset[str]
    ) -> None:
        self.source = source.text.partition(f"\n{COLLECT}")[0]
        question = source.question
        self.question = question if question and question.name in entries - bound else None
        self.kept = False
        if self.question is not None:
            self.calls: list[Any] | None = [self.question.call]
        else:
            self.calls = known_calls(source.tree, entries)
            self.kept = self.calls is None and keeps(source.tree, entries)
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
        self.seconds = self.wall = 0.0  # of processor time, and of sleep, for the tests' own code
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
        texts = (self.setup_source, *task["tests"])
        self.files = any(word in text for text in texts for word in ("tempfile", "tmp_path", "tmpdir"))
        """Whether the tests share a folder with the program."""
        if self.files:
            self.local["open"] = open_path
            used = used - {"open"}
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
        if any(test.kept for test in self.tests):
            self.trusted = self.trusted._replace(kept=True)
        if self.setup_source:
            self.setup = compile(rewrite(setup, entries, own), "setup", "exec", dont_inherit=True)
        self.calls: list[Any] = []
        self.live = self.files or not entries.isdisjoint(setup.used)
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
    kept: bool = False
    """A test looks at an answer after it has asked again."""


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


def _import(where: tuple[str, str | None]) -> Any:
    try:
        module = importlib.import_module(where[0])
        return module if where[1] is None else getattr(module, where[1])
    except Exception:
        return None


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

    def _open(self, *parts: ast.AST) -> bool:
        # The program may define a name of a builtin's: then that is no function of Python's.
        if len(parts) == 1 and isinstance(parts[0], ast.expr) and settled(parts[0]) is not None:
            return False
        return super()._open(*parts) or any(map(self._mentions, parts))

    def _mentions(self, node: ast.AST) -> bool:
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in self.entries:
            return True
        return any(isinstance(n, ast.Name) and n.id in self.entries for n in ast.walk(node))


def rewrite(source: Source, entries: frozenset[str], own: frozenset[str]) -> ast.Module:
    """The tree with its assertions rewritten."""
    new: ast.Module = _Rewriter(source.text, entries, own).visit(source.tree)
    return new
