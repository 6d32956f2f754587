"""What counts as a test: nothing passes without an assertion on what the program gives."""

import pytest

from ilf.records import Task
from ilf.sandbox import Verifier

RIGHT = "def add(a, b):\n    return a + b\n"
RAISES = "def add(a, b):\n    if a < 0:\n        raise ValueError(a)\n    return a + b\n"
WRONG = "def add(a, b):\n    return None\n"

CASE = """import unittest

class TestAdd(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.base = 1

    def setUp(self):
        self.two = 2

    def test_sum(self):
        self.assertEqual(add(self.base, self.two), 3)

    def test_zero(self):
        self.assertTrue(add(0, 0) == 0)
"""

PYTEST_CLASS = """import pytest

@pytest.fixture(scope="module")
def made():
    return []

@pytest.fixture
def two(made):
    made.append(2)
    yield 2
    made.pop()

@pytest.fixture(params=[1, 2])
def number(request, two):
    return request.param * two

class TestAdd:
    @pytest.fixture(autouse=True)
    def prepared(self):
        self.one = 1

    def setup_method(self):
        self.zero = 0

    @pytest.mark.parametrize("more", [1, 2])
    def test_add(self, number, more, made):
        assert made == [2]
        assert add(number, more) == number + more
        assert add(self.one, self.zero) == 1
"""

CHECKS = {
    "pytest function": ["def test_add():\n    assert add(1, 2) == 3"],
    "several functions": [
        "def test_a():\n    assert add(1, 2) == 3\n\ndef test_b(x=4):\n    assert add(x, 0) == x"
    ],
    "called by itself": ["def test_add():\n    assert add(1, 2) == 3\ntest_add()"],
    "called by another test": ["def test_add(n):\n    assert add(n, 2) == n + 2", "test_add(1)"],
    "unittest case": [CASE],
    "unittest case, plain base": ["from unittest import TestCase\n" + CASE.replace("unittest.", "")],
    "unittest.main()": [CASE + "\nif __name__ == '__main__':\n    unittest.main()"],
    "unittest.main() as it is": [CASE + "\nunittest.main()"],
    "one skipped": [
        CASE + "\n    @unittest.skip('later')\n    def test_other(self):\n        self.assertEqual(1, 2)"
    ],
    "a runner of its own": [
        CASE + "\nunittest.TextTestRunner().run(unittest.defaultTestLoader.loadTestsFromTestCase(TestAdd))"
    ],
    "a guard that calls": [
        "def test_a():\n    assert add(1, 2) == 3\n\nif __name__ == '__main__':\n    test_a()"
    ],
    "an asynchronous case": [
        "import unittest\n\nclass T(unittest.IsolatedAsyncioTestCase):\n    async def test_a(self):\n        self.assertEqual(add(1, 2), 3)"
    ],
    "an asynchronous function": [
        "import asyncio\n\nasync def test_a():\n    await asyncio.sleep(0)\n    assert add(1, 2) == 3"
    ],
    "parametrize": [
        "import pytest\n\n@pytest.mark.parametrize('k', [1, 2])\n"
        "@pytest.mark.parametrize('a, b, c', [(0, 0, 0), pytest.param(1, 2, 3, id='p')])\n"
        "def test_add(a, b, c, k):\n    assert add(a * k, b * k) == c * k"
    ],
    "fixtures and a class": [PYTEST_CLASS],
    "fixtures of pytest": [
        "def test_add(tmp_path, monkeypatch, capsys):\n    (tmp_path / 'a').write_text('3')\n"
        "    monkeypatch.setenv('A', '2')\n    print(1)\n    import os\n"
        "    assert add(int(capsys.readouterr().out), int(os.environ['A'])) == int((tmp_path / 'a').read_text())"
    ],
    "raises and approx": [
        "import pytest\n\ndef test_add():\n    assert add(0.1, 0.2) == pytest.approx(0.3)\n"
        "    with pytest.raises(TypeError, match='unsupported'):\n        add(1, 'a')"
    ],
    "a mock": [
        "from unittest.mock import Mock\nx = Mock()\nx(add(1, 2))\nx.assert_called_once()\nx.assert_called_with(3)"
    ],
    "its own list, handed over": ["x = [1]\ny = [2]\nx += add(x, y)\nassert x == [1, 1, 2]"],
    "its own list, kept elsewhere": ["x = []\nd = {0: x}\nd[0].append(add(1, 2))\nassert x == [3]"],
    "its own list, in a function": [
        "x = []\ndef keep(n):\n    x.append(n)\nkeep(add(1, 2))\nassert x == [3]"
    ],
    "loop": ["for a, b, c in [(1, 2, 3)]:\n    assert add(a, b) == c"],
    "a value kept first": ["result = add(1, 2)\nassert result == 3"],
    "raise instead of assert": ["if add(1, 2) != 3:\n    raise AssertionError('sum')"],
    "numpy's": [
        "import types\ntesting = types.SimpleNamespace(assert_equal=lambda a, b: (_ for _ in ()).throw(AssertionError) if a != b else None)\ntesting.assert_equal(add(1, 2), 3)"
    ],
}
PROVE_NOTHING = {
    "assigns only": ["result = add(1, 2)"],
    "branch not taken": ["if add(1, 2) == 4:\n    assert False"],
    "never calls": ["assert True"],
    "calls, asserts something else": ["add(1, 2)\nassert True"],
    "empty loop": ["for a, b, c in []:\n    assert add(a, b) == c"],
    "or True": ["assert add(1, 2) or True"],
    "not and False": ["assert not (add(1, 2) and False)"],
    "its own value": ["x = 3\nadd(1, 2)\nassert x == 3 and sum([x, 1]) == 4"],
    "the same on both sides": ["x = add(1, 2)\nassert x == x"],
    "equal to itself": [
        "import unittest\n\nclass T(unittest.TestCase):\n    def test_a(self):\n        x = add(1, 2)\n        self.assertEqual(x, x)\n        self.assertTrue(True)"
    ],
    "raises by itself": ["import pytest\nadd(1, 2)\nwith pytest.raises(ValueError):\n    int('x')"],
    "all skipped": [
        "import unittest\n\nclass T(unittest.TestCase):\n    @unittest.skip('no')\n    def test_b(self):\n        self.assertEqual(add(1, 2), 3)"
    ],
    "marked as skipped": ["import pytest\n\n@pytest.mark.skip\ndef test_b():\n    assert add(1, 2) == 3"],
    "a function that nothing calls": ["def helper():\n    assert add(1, 2) == 3"],
    "any exception": ["try:\n    add(1, 2)\nexcept Exception:\n    pass"],
    "a tuple, always true": ["assert (add(1, 2) == 3, 'sum')"],
    "empty case": ["import unittest\n\nclass TestAdd(unittest.TestCase):\n    pass\nadd(1, 2)"],
}


def task(tests, **fields):
    return Task(
        task_id="t",
        description="Add.",
        tests=tuple(tests),
        **{"entry_point": "add", "reference": RIGHT, **fields},
    )


@pytest.fixture(scope="module")
def verdict():
    with Verifier(workers=1) as verifier:
        yield lambda tests, code, **fields: verifier.verify_one(task(tests, **fields), code)


@pytest.mark.parametrize("isolation", ["separate", "shared"])
@pytest.mark.parametrize("tests", CHECKS.values(), ids=CHECKS)
def test_what_checks_something_tells_right_from_wrong(verdict, tests, isolation):
    assert verdict(tests, RIGHT, isolation=isolation).status == "passed"
    assert not verdict(tests, WRONG, isolation=isolation).passed


@pytest.mark.parametrize("isolation", ["separate", "shared"])
@pytest.mark.parametrize("tests", PROVE_NOTHING.values(), ids=PROVE_NOTHING)
def test_what_proves_nothing_never_passes(verdict, tests, isolation):
    for code in (RIGHT, WRONG):
        found = verdict(tests, code, isolation=isolation)
        assert found.status == "failed" and "no assertion or comparison" in found.error
        assert "no assertion or comparison" in found.detail


def test_an_expected_exception_is_a_comparison(verdict):
    tests = ["try:\n    add(-1, 2)\n    assert False, 'no error'\nexcept ValueError:\n    pass"]
    assert verdict(tests, RAISES).passed
    assert not verdict(tests, RIGHT).passed
    case = [
        "import unittest\n\nclass T(unittest.TestCase):\n    def test_e(self):\n        with self.assertRaises(ValueError):\n            add(-1, 2)"
    ]
    assert verdict(case, RAISES).passed
    assert not verdict(case, RIGHT).passed


def test_an_assertion_that_is_swallowed_is_none(verdict):
    tests = ["try:\n    assert add(1, 2) == 3\nexcept AssertionError:\n    pass"]
    assert verdict(tests, RIGHT).passed
    assert not verdict(tests, WRONG).passed
    assert not verdict(tests, WRONG, isolation="shared").passed


def test_humanevals_check_counts(verdict):
    setup = "def check(candidate):\n    assert candidate(1, 2) == 3\n"
    assert verdict(["check(add)"], RIGHT, setup=setup).passed
    assert verdict(["check(add)"], WRONG, setup=setup).status == "failed"
    empty = "def check(candidate):\n    pass\n"
    assert not verdict(["check(add)"], RIGHT, setup=empty).passed


@pytest.mark.parametrize("isolation", ["separate", "shared"])
def test_a_test_that_asks_for_what_is_not_there_fails_and_says_so(verdict, isolation):
    found = verdict(["def test_add(numbers):\n    assert add(*numbers) == 3"], RIGHT, isolation=isolation)
    assert found.status == "failed" and "'numbers', which is no fixture" in found.error
    assert "__ilf" not in found.detail


PRINTS = """
import sys
def greet(name):
    print("Hello", name)
    print("warning", file=sys.stderr)
def ask():
    return input("? ") + "!"
"""
CAPTURES = {
    "capsys": "def test_p(capsys):\n    greet('Ann')\n    out, err = capsys.readouterr()\n    assert (out, err) == ('Hello Ann\\n', 'warning\\n')\n    greet('B')\n    assert capsys.readouterr().out == 'Hello B\\n'",
    "redirect_stdout": "import io, contextlib\nout = io.StringIO()\nwith contextlib.redirect_stdout(out):\n    greet('Ann')\nassert out.getvalue() == 'Hello Ann\\n'",
    "patch": "import io\nfrom unittest.mock import patch\nwith patch('sys.stdout', new_callable=io.StringIO) as out:\n    greet('B')\n    assert out.getvalue() == 'Hello B\\n'",
    "input": "from unittest.mock import patch\nwith patch('builtins.input', side_effect=['1', '2']) as asked:\n    assert ask() + ask() == '1!2!'\n    asked.assert_called_with('? ')",
    "stdin": "import io\ndef test_s(monkeypatch, capsys):\n    monkeypatch.setattr('sys.stdin', io.StringIO('a\\nb\\n'))\n    assert ask() + ask() == 'a!b!' and capsys.readouterr().out == '? ? '",
}


@pytest.mark.parametrize("isolation", ["separate", "shared"])
@pytest.mark.parametrize("test", CAPTURES.values(), ids=CAPTURES)
def test_printed_text_and_typed_input(verdict, test, isolation):
    assert verdict([test], PRINTS, isolation=isolation).status == "passed"
    wrong = PRINTS.replace("Hello", "Hallo").replace('"!"', '"?"')
    assert verdict([test], wrong, isolation=isolation).status == "failed"
    quiet = verdict([test, "assert ask() == '!'"], PRINTS, isolation=isolation)
    assert quiet.tests == (True, None) or quiet.tests == (True, False)  # nothing of it stays


ASYNC = """
import asyncio
async def later(n):
    await asyncio.sleep(0)
    if n < 0:
        raise ValueError("negative")
    return n * 2
async def items(n):
    for i in range(n):
        yield i
class Box:
    def __init__(self): self.queue = asyncio.Queue()
    async def __aenter__(self): return self
    async def __aexit__(self, *rest): await self.queue.put("closed")
    async def take(self): return await self.queue.get()
"""
AWAITS = {
    "run": "assert asyncio.run(later(4)) == 8",
    "await": "async def main():\n    assert await later(2) == 4\n    assert await asyncio.gather(later(1), later(2)) == [2, 4]\nasyncio.run(main())",
    "async for": "async def test():\n    assert [x async for x in items(await later(1))] == [0, 1]",
    "async with": "async def test():\n    async with Box() as box:\n        pass\n    assert await box.take() == 'closed' and await later(1) == 2",
    "exception": "async def test():\n    try:\n        await later(-2)\n        assert False\n    except ValueError as error:\n        assert str(error) == 'negative'\n    assert await later(1) == 2",
}


@pytest.mark.parametrize("test", AWAITS.values(), ids=AWAITS)
def test_asynchronous_programs(verdict, test):
    right = verdict([test], ASYNC, setup="import asyncio")
    assert right.status == "passed", right.detail
    assert verdict([test], ASYNC.replace("n * 2", "n * 3"), setup="import asyncio").status == "failed"


def test_a_program_may_be_called_as_a_builtin_is(verdict):
    tests = ["x = 1\nassert sum([x, 2]) == 7"]
    assert verdict(tests, "def sum(xs): return 7\n", entry_point="sum").passed
