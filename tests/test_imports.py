"""The shape of the package: which room may import which, and how long a file may be.

Every import statement counts, those inside functions and under TYPE_CHECKING, too: a circle is a circle for
its reader wherever it is written.
"""

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import ilf

ROOT = Path(ilf.__file__).parent
MOST_LINES = 400

# Imports that go up and so close a circle, room → room. This list only gets shorter.
KNOWN = {
    ("sandbox", "tasks"),  # `ilf verify` in sandbox/command.py reads tasks
    ("training", "config"),  # `ilf finetune` in training/command.py reads TOML
}


def modules():
    """Dotted name → file, of every module of the package."""
    found = {}
    for path in ROOT.rglob("*.py"):
        parts = path.relative_to(ROOT.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imported(name, path, known):
    """The modules of the package that one imports, wherever in it the statement stands."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
                base = ".".join([*package[: len(package) - node.level + 1], *filter(None, [node.module])])
            # `from package import x`: the module x where there is one, else the package itself.
            names = {f"{base}.{alias.name}" for alias in node.names}
            found |= names & known or {base}
    return (found & known) - {name}


@pytest.fixture(scope="module")
def edges():
    known = modules()
    return {name: imported(name, path, known.keys()) for name, path in known.items()}


def room(name):
    return (name.split(".") + [""])[1]


def circle(graph):
    """One circle of a graph as text, or None."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return " ← ".join(error.args[1])
    return None


def test_rooms_do_not_import_in_circles(edges):
    graph = {}
    for name, others in edges.items():
        for other in others:
            pair = (room(name), room(other))
            if "" not in pair and pair[0] != pair[1] and pair not in KNOWN:
                graph.setdefault(pair[0], set()).add(pair[1])
    assert len(graph) > 10
    assert circle(graph) is None


def test_modules_of_a_room_do_not_import_in_circles(edges):
    inside = {
        # A package and its own modules: the package hands their names on, which is no circle of theirs.
        name: {other for other in others if room(other) == room(name) and not name.startswith(f"{other}.")}
        for name, others in edges.items()
    }
    assert circle(inside) is None


@pytest.mark.parametrize("lower", ["feedback", "review", "report", "sampling", "tasks", "metrics", "records"])
def test_lower_rooms_know_nothing_of_the_loop(edges, lower):
    above = {"algorithm", "steps", "runner", "standalone", "study", "annotate", "cli"}
    found = {
        (lower, room(other)) for name, others in edges.items() if room(name) == lower for other in others
    }
    assert {pair for pair in found if pair[1] in above} <= KNOWN | {("report", "steps")}


def test_no_file_is_too_long():
    long = {
        str(path.relative_to(ROOT))
        for path in ROOT.rglob("*.py")
        if len(path.read_text(encoding="utf-8").splitlines()) > MOST_LINES
    }
    assert not long


def test_a_circle_is_found():
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"a"}}) is not None
    assert circle({"a": {"b", "c"}, "b": {"c"}}) is None
