"""The tests of a function in a repository, as tests of a task: test files and doctests."""

from __future__ import annotations

import ast
import builtins
import doctest
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from ilf.feedback.case import MISSING, value_of
from ilf.review.repository import Repository
from ilf.syntax import Definition, try_parse, used_names


@dataclass(frozen=True)
class Tests:
    """What decides whether a version of a function is right."""

    tests: tuple[str, ...]
    setup: str = ""
    """Imports of the test files, those of the module under test left out."""


def tests_of(repository: Repository, commit: str, path: str, function: Definition) -> Tests | None:
    """The tests of a function at a commit: those that name it in a test file, else its doctests.

    Args:
        repository: read from.
        commit: whose tests count; the later one, since a fix brings its test.
        path: of the file that defines the function.
        function: its definition at that commit.
    """
    module = PurePosixPath(path).stem
    found: list[str] = []
    setup: list[str] = []
    for name in repository.paths(commit):
        stem = PurePosixPath(name).stem
        if not name.endswith(".py") or not (stem.startswith("test_") or stem.endswith("_test")):
            continue
        tree = try_parse(repository.file(commit, name) or "")
        if tree is None or not _imports(tree, module, function.name):
            continue
        picked = [ast.unparse(node) for node in tree.body if _tests(node, function.name)]
        found += picked
        setup += _imports_of_others(tree, module) if picked else []
    if found:
        return Tests(tuple(found), "\n".join(dict.fromkeys(setup)))
    examples = tuple(_doctests(ast.get_docstring(function) or ""))
    return Tests(examples) if examples else None


def _imports(tree: ast.Module, module: str, name: str) -> bool:
    """Whether a test file imports the function from the module by its own name."""
    return any(
        isinstance(node, ast.ImportFrom)
        and (node.module or "").split(".")[-1] == module
        and any(alias.name == name and alias.asname in (None, name) for alias in node.names)
        for node in tree.body
    )


def _tests(node: ast.stmt, name: str) -> bool:
    if isinstance(node, ast.FunctionDef):
        return node.name.startswith("test") and name in used_names(node)
    return isinstance(node, ast.ClassDef) and "TestCase" in ast.unparse(node) and name in used_names(node)


def _imports_of_others(tree: ast.Module, module: str) -> Sequence[str]:
    return [
        ast.unparse(node)
        for node in tree.body
        if isinstance(node, ast.Import)
        or (isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[-1] != module)
    ]


def _doctests(docstring: str) -> Iterable[str]:
    """Examples of one expression whose result is a literal, or that raise, as assertions."""
    try:
        examples = doctest.DocTestParser().get_examples(docstring)
    except ValueError:
        return
    for example in examples:
        source, want = example.source.strip(), example.want.strip()
        try:
            ast.parse(source, mode="eval")
        except SyntaxError:
            continue
        kind = (example.exc_msg or "").partition(":")[0].strip()
        if value_of(want) is not MISSING:
            yield f"assert ({source}) == {want}"
        elif isinstance(getattr(builtins, kind, None), type):
            # What it says is not asked for: a message changes from version to version.
            raised = f"raised = None\ntry:\n    {source}\nexcept Exception as error:\n"
            yield f"{raised}    raised = type(error).__name__\nassert raised == {kind!r}"
