"""Fixtures, `conftest.py` and `parametrize`: filled in as plain calls, or the test is left out by name."""

import ast

import pytest

from ilf.config import VerifyConfig
from ilf.kinds import verify
from ilf.project import testfolder
from ilf.project.fixtures import Unfilled, calls, fixtures_of
from ilf.records import Program

CART = """class Cart:
    def __init__(self, limit=9):
        self.items, self.limit = [], limit

    def put(self, item):
        if len(self.items) == self.limit:
            raise ValueError("full")
        self.items.append(item)
        return len(self.items)


def total(prices):
    return sum(prices)


def double(n):
    return 2 * n
"""
CONFTEST = """
import pytest
from cart import Cart

@pytest.fixture
def limit():
    return 2

@pytest.fixture(scope="function")
def cart(limit):
    made = Cart(limit)
    made.put("first")
    yield made
    made.items.clear()
"""
TESTS = """
import pytest
from cart import Cart, double, total

@pytest.fixture
def prices():
    return [1, 2]

def test_put(cart):
    assert cart.put(1) == 2

def test_full(cart):
    cart.put(1)
    with pytest.raises(ValueError):
        cart.put(1)

@pytest.mark.parametrize("more", [0, pytest.param(3, id="three")])
@pytest.mark.parametrize(("n", "times"), [(1, 1), (2, 2)])
def test_total(prices, n, times, more):
    assert total(prices + [n] * times + [more]) == 3 + n * times + more

class TestDouble:
    @pytest.mark.parametrize("n,wanted", [(1, 2), (0, 0)])
    def test_double(self, n, wanted):
        assert double(n) == wanted

def test_files(tmp_path):
    assert double(len(list(tmp_path.iterdir()))) == 0

@pytest.mark.skip(reason="later")
def test_later():
    assert double(1) == 3
"""


@pytest.fixture
def found(tmp_path):
    (tmp_path / "cart.py").write_text(CART)
    folder = tmp_path / "tests"
    folder.mkdir()
    (folder / "conftest.py").write_text(CONFTEST)
    (folder / "test_cart.py").write_text(TESTS)
    return testfolder.read(folder)


def test_what_can_be_filled_in_is_run_and_decides(found):
    tasks = {task.task_id: task for task in found.tasks}
    assert {name: len(task.tests) for name, task in tasks.items()} == {
        "cart.Cart": 2, "cart.total": 1, "cart.double": 1,
    }  # fmt: skip
    wrong = {
        "cart.Cart": CART.replace("== self.limit", "== 99"),
        "cart.total": "def total(prices):\n    return sum(prices[:4])\n",
        "cart.double": "def double(n):\n    return 2\n",
    }
    programs = [
        Program(task_id=name, code=code)
        for name, task in tasks.items()
        for code in (task.reference, wrong[name])
    ]
    verdicts = list(verify(tasks, programs, VerifyConfig(workers=1)))
    assert [v.status for v in verdicts] == ["passed", "failed"] * 3, [v.detail for v in verdicts]


def test_what_cannot_is_left_out_by_name(found):
    said = [note.partition("test_cart.py: ")[2] for note in found.notes]
    assert said == [
        "test_files is left out, it asks for tmp_path",
        "test_later is left out, it is marked skip",
    ]


@pytest.mark.parametrize(
    ("source", "made"),
    [
        ("def test_a(): pass", ""),
        ("def test_a(x=1): pass", ""),
        ("def test_a(one): pass", "test_a(one=one())"),
        ("def test_a(two): pass", "test_a(two=next(two(one=one())))"),
        ("@pytest.mark.slow\ndef test_a(one, x=1): pass", "test_a(one=one())"),
        ("@pytest.mark.parametrize('x', [1])\ndef test_a(x): pass", "for __x__ in [1]:\n    test_a(x=__x__)"),
        ("@pytest.mark.parametrize(['x'], [(1,)])\ndef test_a(x): pass", "for __x__ in [value for (value,) in [(1,)]]:\n    test_a(x=__x__)"),
    ],
)  # fmt: skip
def test_calls(source, made):
    fixtures = fixtures_of(ast.parse("@pytest.fixture\ndef one():\n    return 1\n@fixture()\ndef two(one):\n    yield one\n").body)  # fmt: skip
    assert calls(ast.parse(source).body[0], fixtures) == made


@pytest.mark.parametrize(
    "source",
    [
        "def test_a(monkeypatch): pass",
        "def test_a(loop): pass",
        "def test_a(many): pass",
        "@pytest.mark.parametrize(NAMES, [1])\ndef test_a(x): pass",
        "@pytest.mark.parametrize('x', [pytest.param(1, marks=skip)])\ndef test_a(x): pass",
        "@pytest.mark.xfail\ndef test_a(): pass",
    ],
)
def test_what_nothing_makes_is_refused(source):
    fixtures = fixtures_of(ast.parse("@pytest.fixture\ndef loop(loop): pass\n@pytest.fixture(params=[1])\ndef many(request): pass\n").body)  # fmt: skip
    with pytest.raises(Unfilled):
        calls(ast.parse(source).body[0], fixtures)
