"""Are the tasks any good? `check` runs their reference programs, `audit` looks for tests that stubs pass.

`check_feedback` asks the same of recorded feedback: do the wrong programs fail, and the corrected ones pass?
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ilf.feedback.recorded import MAX_EDIT, is_near
from ilf.kinds import FUNCTION
from ilf.progress import progress
from ilf.records import Feedback, Program, Task, Verdict
from ilf.sandbox import stdin
from ilf.syntax import definition, find_hole, parse, try_parse

Verify = Callable[[Iterable[Program]], Iterator[Verdict]]
"""Programs in, their verdicts out, in order."""


@dataclass(frozen=True)
class Checked:
    """What running the reference programs showed."""

    tasks: int
    without_reference: tuple[str, ...]
    """Ids of tasks that have none; nothing is known about their tests."""
    verdicts: tuple[Verdict, ...]
    """Of the others, in the tasks' order."""
    shared: tuple[str, ...]
    """Ids of tasks whose rows ask for tests inside the program's own process (`Task.isolation`)."""
    found: tuple[str, ...]
    """Ids of tasks that leave it open, and whose tests ran there: their references pass only so."""

    @property
    def failing(self) -> list[Verdict]:
        """Verdicts of the reference programs that do not pass."""
        return [verdict for verdict in self.verdicts if not verdict.passed]


def check(tasks: Sequence[Task], verify: Verify) -> Checked:
    """Run every reference program against its own tests."""
    programs = [Program(task_id=t.task_id, code=t.reference) for t in tasks if t.reference is not None]
    with progress("verifying reference programs", len(programs)) as bar:
        verdicts = []
        for verdict in verify(programs):
            verdicts.append(verdict)
            bar.advance(1, shared=verdict.shared)
    asking = {t.task_id for t in tasks if t.isolation == "shared"}
    return Checked(
        tasks=len(tasks),
        without_reference=tuple(t.task_id for t in tasks if t.reference is None),
        verdicts=tuple(verdicts),
        shared=tuple(t.task_id for t in tasks if t.task_id in asking),
        found=tuple(v.task_id for v in verdicts if v.shared and v.task_id not in asking),
    )


def check_feedback(items: Sequence[Feedback], tasks: Mapping[str, Task], verify: Verify) -> dict[int, str]:
    """What is wrong with feedback, as far as running its programs shows (the paper's rules, section 3.1).

    Args:
        items: all on tasks of `tasks`.
        tasks: by id.
        verify: the sandbox.

    Returns:
        Place of an item → the complaint, for those there is one about.
    """
    found: dict[int, str] = {}
    programs, places = [], []
    for place, item in enumerate(items):
        for what, code in (("wrong", item.code), ("refinement", item.refinement)):
            if code is not None:
                programs.append(Program(task_id=item.task_id, code=code))
                places.append((place, what))
        if not is_near(item):
            found[place] = f"the refinement changes {MAX_EDIT:.0%} of the program or more"
    with progress("verifying programs with feedback", len(programs)) as bar:
        for (place, what), verdict in zip(places, verify(programs), strict=True):
            if what == "wrong" and verdict.passed:
                found[place] = "the program that the feedback calls wrong passes all tests"
            elif what == "refinement" and not verdict.passed:
                found[place] = f"the refinement does not pass ({verdict.status})"
            bar.advance(1)
    return dict(sorted(found.items()))


# ---------------------------------------------------------------- audit

CONSTANTS = ("None", "0", '""', "[]", "True")
SHOWN = "the shown value"
INPUT = "its input"


@dataclass(frozen=True)
class Weak:
    """A task whose tests a program passes that does nothing."""

    task_id: str
    stubs: tuple[str, ...]
    """What those programs return."""


def audit(tasks: Sequence[Task], verify: Verify) -> list[Weak]:
    """The tasks whose tests a stub passes.

    A stub returns one of `CONSTANTS`, the value that the shown test expects, or its first argument. Whoever
    is rewarded by such tests need not solve the task.
    """
    programs, names = [], []
    for task in tasks:
        for name, code in stubs(task):
            programs.append(Program(task_id=task.task_id, code=code))
            names.append(name)
    weak: dict[str, list[str]] = {}
    with progress("verifying stubs", len(programs)) as bar:
        for name, verdict in zip(names, verify(programs), strict=True):
            if verdict.passed:
                weak.setdefault(verdict.task_id, []).append(name)
            bar.advance(1)
    return [Weak(task.task_id, tuple(weak[task.task_id])) for task in tasks if task.task_id in weak]


def stubs(task: Task) -> Iterator[tuple[str, str]]:
    """Programs for `task` that do nothing: (what they return or print, code)."""
    if task.kind == stdin.KIND:
        yield '""', "pass\n"
        yield INPUT, "import sys\nprint(sys.stdin.read())\n"
        if task.shown:
            yield SHOWN, f"print({stdin.case(task.shown).outputs[0]!r})\n"
    if task.kind != FUNCTION:
        return
    returned = [(text, text) for text in CONSTANTS]
    shown = expected(task.shown, task.entry_point)
    if shown is not None and shown not in CONSTANTS:
        returned.append((SHOWN, shown))
    returned.append((INPUT, "args[0] if args else None"))
    # Classes that the tests build stay; the stub below replaces what they are about.
    hole = find_hole(task.prefix)
    before = hole.code + "\n\n" if hole else ""
    for name, value in returned:
        yield name, before + _stub(task, value)


def _stub(task: Task, value: str) -> str:
    tree = try_parse(task.reference or "") or try_parse(task.prefix + "    pass\n")
    if tree is not None and isinstance(definition(tree, task.entry_point), ast.ClassDef):
        return (
            f"class {task.entry_point}:\n"
            "    def __init__(self, *args, **kwargs):\n        pass\n"
            f"    def __getattr__(self, name):\n        return lambda *args, **kwargs: {value}\n"
        )
    return f"def {task.entry_point}(*args, **kwargs):\n    return {value}\n"


def expected(test: str, entry_point: str) -> str | None:
    """The source of the value that makes `assert …` hold, or None where the test does not name one."""
    try:
        statement = parse(test).body[0]
    except (SyntaxError, IndexError):
        return None
    if not isinstance(statement, ast.Assert):
        return None
    node: ast.expr = statement.test
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        return "False"
    if isinstance(node, ast.Compare) and len(node.comparators) == 1:
        sides = [node.left, node.comparators[0]]
        if isinstance(node.ops[0], ast.Lt | ast.LtE):  # abs(f(x) - 1.5) < 1e-6
            inner = [n for n in ast.walk(node.left) if isinstance(n, ast.BinOp) and isinstance(n.op, ast.Sub)]
            sides = [inner[0].left, inner[0].right] if inner else []
        elif not isinstance(node.ops[0], ast.Eq | ast.Is):
            return None
    elif isinstance(node, ast.Call) and len(node.args) >= 2:  # math.isclose(f(x), 1.5)
        sides = node.args[:2]
    else:
        return None
    other = [side for side in sides if not _calls(side, entry_point)]
    return ast.unparse(other[0]) if len(other) == 1 else None


def _calls(node: ast.AST, name: str) -> bool:
    return any(isinstance(n, ast.Name) and n.id == name for n in ast.walk(node))
