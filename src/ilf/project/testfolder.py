"""Tasks from a folder of tests: what each test file imports and calls is a function under test."""

from __future__ import annotations

import ast
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from ilf.errors import DataError
from ilf.project.fixtures import Fixtures, Unfilled, asked_for, calls, fixtures_of, is_fixture, plain
from ilf.records import Task
from ilf.syntax import (
    Definition,
    bound_names,
    definition,
    needed_statements,
    parse,
    segment,
    split_at_signature,
    try_parse,
    used_names,
)

_Test = ast.FunctionDef | ast.ClassDef


def has_tests(folder: Path) -> bool:
    """Whether a folder has test files."""
    return folder.is_dir() and next(iter(_test_files(folder)), None) is not None


def _test_files(folder: Path) -> list[Path]:
    found = [*folder.rglob("test_*.py"), *folder.rglob("*_test.py")]
    return sorted({path for path in found if not any(p.startswith(".") for p in path.parts[1:])})


@dataclass
class Found:
    """What a folder gave."""

    tasks: list[Task] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """What was passed over, a line each."""


def read(folder: Path) -> Found:
    """Tasks of the test files below `folder`, one for each function or class that they import and test.

    The modules under test are looked for beside the folder, in `src` beside it, and here; where one is found
    the reference is what the function needs of it, and what stands above its signature the prefix.

    Raises:
        DataError: no test file imports anything that it tests.
    """
    found = Found()
    seen: dict[str, Task] = {}
    for path in _test_files(folder):
        try:
            tree = parse(path.read_text(encoding="utf-8-sig"))
        except (SyntaxError, UnicodeDecodeError) as error:
            found.notes.append(f"{path}: passed over, it cannot be read ({error})")
            continue
        tree.body = [*_shared(path, folder), *tree.body]
        tasks, left_out = _tasks(tree, folder)
        found.notes += [f"{path}: {name} is left out, {why}" for name, why in left_out]
        if not tasks and not left_out:
            found.notes.append(
                f"{path}: passed over, it calls nothing that it imports from a module of yours"
            )
        for task in tasks:
            known = seen.get(task.task_id)
            if known is None:
                seen[task.task_id] = task
            elif known.setup == task.setup:
                seen[task.task_id] = known.model_copy(update={"tests": (*known.tests, *task.tests)})
            else:
                found.notes.append(
                    f"{path}: its tests of {task.task_id} are passed over, another file has some"
                )
    found.tasks = list(seen.values())
    if not found.tasks:
        notes = "; ".join(found.notes[:3]) or "there is no test_*.py"
        raise DataError(f"{folder}: no function under test was found: {notes}")
    return found


class _Target:
    """A name that a test file imports from a module of the project's."""

    def __init__(self, name: str, module: str, source: str | None) -> None:
        self.name, self.module, self.source = name, module, source


def _shared(path: Path, folder: Path) -> list[ast.stmt]:
    """The statements of the `conftest.py` files between a test file and the folder, the outermost first."""
    found: list[ast.stmt] = []
    for parent in [place for place in path.parents if place == folder or folder in place.parents][::-1]:
        conftest = parent / "conftest.py"
        if conftest.is_file():
            tree = try_parse(conftest.read_text(encoding="utf-8-sig", errors="replace"))
            found += tree.body if tree is not None else []
    return found


def _tasks(tree: ast.Module, folder: Path) -> tuple[list[Task], list[tuple[str, str]]]:
    """The tasks of a file, and which tests are left out and why."""
    targets, renames = _targets(tree, folder)
    if not targets:
        return [], []
    fixtures, left_out = fixtures_of(tree.body), list[tuple[str, str]]()
    tree = ast.fix_missing_locations(_Plain(renames).visit(tree))
    of_target: dict[str, list[tuple[_Test, str]]] = {}
    rest: list[ast.stmt] = []
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name.lower().startswith("test"):
            makers = [fixtures[name] for name in sorted(asked_for(node, fixtures))]
            called = Counter(name for part in (node, *makers) for name in _names(part) if name in targets)
            if called:
                try:
                    text = _test_text(node, fixtures)
                except Unfilled as why:
                    left_out.append((node.name, str(why)))
                else:
                    of_target.setdefault(called.most_common(1)[0][0], []).append((node, text))
                continue
        if not _brings(node, renames):
            rest.append(node)
    return [_task(targets[name], tests, rest, targets) for name, tests in of_target.items()], left_out


def _task(
    target: _Target, tests: list[tuple[_Test, str]], rest: list[ast.stmt], targets: dict[str, _Target]
) -> Task:
    nodes = [node for node, _ in tests]
    helpers = [
        plain(node) if isinstance(node, ast.FunctionDef | ast.ClassDef) else node
        for node in rest
        if not isinstance(node, ast.Expr)
    ]
    if not any("pytest" in used_names(node) for node in [*map(plain, nodes), *helpers]):
        helpers = [node for node in helpers if not _only_pytest(node)]
    needed = {name for node in [*nodes, *helpers] for name in used_names(node)} & targets.keys()
    setup = [_definitions(targets[name], target) for name in sorted(needed - {target.name})]
    setup += [ast.unparse(node) for node in helpers]
    reference = _needed(target.source, target.name) if target.source else None
    split = split_at_signature(reference, target.name) if reference else None
    function = definition(parse(reference), target.name) if reference else None
    said = ast.get_docstring(function) if function else None
    return Task(
        task_id=f"{target.module}.{target.name}",
        description=(said or f"Write {target.name}, as its tests describe it.").strip(),
        entry_point=target.name,
        tests=tuple(text for _, text in tests),
        prefix=split[0] if split else "",
        setup="\n".join(filter(None, setup)),
        example=next(filter(None, (_example(node, target.name) for node in nodes)), ""),
        reference=reference,
    )


def _needed(source: str, name: str) -> str | None:
    """What a module's function or class needs: the imports, what it uses of the rest, and last itself."""
    tree, lines = parse(source), source.split("\n")
    target = definition(tree, name)
    if target is None:
        return None
    kept = needed_statements(tree, used_names(target), target)
    above = [segment(lines, tree.body[place]) for place in sorted(kept)]
    return "".join([*above, segment(lines, target)])


def _targets(tree: ast.Module, folder: Path) -> tuple[dict[str, _Target], dict[str, str | None]]:
    """Names under test, and what the file calls them: local name → name, None for a whole module."""
    targets: dict[str, _Target] = {}
    renames: dict[str, str | None] = {}
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            source = _source(node.module, folder)
            if source is None and not _foreign(node.module):
                continue
            for alias in node.names:
                targets[alias.name] = _Target(alias.name, node.module, source)
                renames[alias.asname or alias.name] = alias.name
        elif isinstance(node, ast.Import):
            for alias in node.names:
                source = _source(alias.name, folder)
                if source is None or ("." in alias.name and alias.asname is None):
                    continue
                renames[alias.asname or alias.name] = None
                for inner in parse(source).body:
                    if isinstance(inner, Definition):
                        targets[inner.name] = _Target(inner.name, alias.name, source)
    return targets, renames


def _foreign(module: str) -> bool:
    """A module that is neither Python's nor installed: the project's own, though its file was not found."""
    import importlib.util

    top = module.partition(".")[0]
    return top not in sys.stdlib_module_names and importlib.util.find_spec(top) is None


def _source(module: str, folder: Path) -> str | None:
    inner = Path(*module.split("."))
    roots = (folder, folder.parent, folder.parent / "src", Path())
    for root in roots:
        for path in (root / inner.with_suffix(".py"), root / inner / "__init__.py"):
            if path.is_file() and module.partition(".")[0] not in sys.stdlib_module_names:
                try:
                    text = path.read_text(encoding="utf-8-sig")
                    parse(text)
                except (SyntaxError, UnicodeDecodeError):
                    return None
                return text.rstrip() + "\n"
    return None


class _Plain(ast.NodeTransformer):
    """`module.name` and aliases become the names themselves."""

    def __init__(self, renames: dict[str, str | None]) -> None:
        self._renames = renames

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        self.generic_visit(node)
        whole = isinstance(node.value, ast.Name) and self._renames.get(node.value.id, "") is None
        return ast.Name(id=node.attr, ctx=node.ctx) if whole else node

    def visit_Name(self, node: ast.Name) -> ast.Name:
        name = self._renames.get(node.id)
        return ast.Name(id=name, ctx=node.ctx) if name else node


def _brings(node: ast.stmt, renames: dict[str, str | None]) -> bool:
    """Whether a statement only imports what is under test."""
    return isinstance(node, ast.Import | ast.ImportFrom) and bound_names(node) <= renames.keys()


def _names(node: ast.AST) -> list[str]:
    return [inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name)]


def _definitions(other: _Target, target: _Target) -> str:
    """What tests need of a name that is not under test here."""
    if other.source is None or (other.module == target.module and _above(other, target)):
        return ""
    return _needed(other.source, other.name) or ""


def _above(other: _Target, target: _Target) -> bool:
    """Whether the target's prefix has it already."""
    reference = _needed(target.source or "", target.name)
    return reference is not None and definition(parse(reference), other.name) is not None


def _only_pytest(node: ast.stmt) -> bool:
    return isinstance(node, ast.Import) and all(alias.name == "pytest" for alias in node.names)


def _test_text(node: _Test, fixtures: Fixtures) -> str:
    """A test with the call that runs it, where no collector of ours does; raises `Unfilled`."""
    text = ast.unparse(plain(node))
    if isinstance(node, ast.FunctionDef):
        return "\n".join(filter(None, [text, calls(node, fixtures)]))
    if any("TestCase" in ast.unparse(base) for base in node.bases):
        return text
    of_class = {inner.name: inner for inner in node.body if isinstance(inner, ast.FunctionDef)}
    if any(map(is_fixture, of_class.values())):
        raise Unfilled("it has fixtures of its own")
    set_up = "__case__.setup_method()\n" if "setup_method" in of_class else ""
    for name, method in of_class.items():
        if name.startswith("test"):
            text += f"\n__case__ = {node.name}()\n{set_up}{calls(method, fixtures, of='__case__.')}"
    return text


def _example(node: _Test, name: str) -> str:
    """An assertion on the function that stands on its own, to be shown in the prompt; `""` without one."""
    for inner in ast.walk(node):
        if isinstance(inner, ast.Assert) and set(_names(inner)) == {name}:
            return ast.unparse(ast.Assert(test=inner.test))
    return ""
