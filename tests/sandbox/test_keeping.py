"""Tests that look at an answer after they have asked again, and those that do not."""

import ast

import pytest

from ilf.records import Program, Task
from ilf.sandbox import Limits, Verifier
from ilf.sandbox.inside.keeping import keeps

pytestmark = pytest.mark.alone

KEEP = [
    "a = f(1)\nb = f(2)\nassert a == [1]",
    "a = f(1)\nassert a == f(2)",
    "assert [f(n) for n in range(3)] == [[0], [1], [2]]",
    "found = []\nfor n in range(3):\n    found.append(f(n))\nassert found == [[0], [1], [2]]",
    "pair = (f(1), f(2))\nassert pair == ([1], [2])",
    "def check(candidate):\n    a = candidate(1)\n    candidate(2)\n    assert a == [1]\ncheck(f)",
]
FORGET = [
    "a = f(1)\nassert a == [1]",
    "a = f(1)\nassert a == [1]\na = f(2)\nassert a == [2]",
    "for n in range(3):\n    a = f(n)\n    assert a == [n]",
    "def check(candidate):\n    assert candidate(1) == [1]\n    assert candidate(2) == [2]\ncheck(f)",
    "for n, right in [(1, [1]), (2, [2])]:\n    assert f(n) == right",
]
SHARED = "kept = []\ndef f(x):\n    kept[:] = [x]\n    return kept\n"
DEFAULT = "def f(x, kept=[]):\n    kept.append(x)\n    return kept\n"
RIGHT = "def f(x):\n    return [x]\n"


@pytest.mark.parametrize("test", KEEP)
def test_an_answer_is_kept(test):
    assert keeps(ast.parse(test), frozenset({"f"}))


@pytest.mark.parametrize("test", FORGET)
def test_no_answer_is_kept(test):
    assert not keeps(ast.parse(test), frozenset({"f"}))


def plain(code, test):
    """What plain CPython says."""
    space = {}
    try:
        exec(code, space)
        exec(test, space)
    except AssertionError:
        return "failed"
    return "passed"


def test_verdicts_are_those_of_one_process():
    cases = [(code, test) for test in KEEP + FORGET for code in (SHARED, DEFAULT, RIGHT)]
    pairs = [
        (
            Task(task_id=str(n), description="d", entry_point="f", tests=(test,)),
            Program(task_id=str(n), code=code),
        )
        for n, (code, test) in enumerate(cases)
    ]
    with Verifier(limits=Limits(cpu_seconds=2), isolation="separate") as verifier:
        found = [verdict.status for verdict in verifier.judge(pairs)]
    assert found == [plain(code, test) for code, test in cases]
    assert found.count("failed") > 8


def test_a_list_that_a_class_hands_out_stays_the_same_list():
    code = "class Shelf:\n    def __init__(self):\n        self.books = [1]\n    def all(self):\n        return self.books\n"
    test = "s = Shelf()\nbooks = s.all()\nbooks.append(2)\nassert s.all() == [1, 2]\ns.all().append(3)\nassert books == [1, 2, 3]"
    task = Task(task_id="t", description="d", entry_point="Shelf", tests=(test,), reference=code)
    copied = code.replace("return self.books", "return [*self.books]")
    pairs = [(task, Program(task_id="t", code=text)) for text in (code, copied)]
    with Verifier(isolation="separate") as verifier:
        assert [verdict.status for verdict in verifier.judge(pairs)] == ["passed", "failed"]
