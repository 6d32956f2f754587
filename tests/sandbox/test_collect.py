"""What counts as a test: nothing passes without an assertion on what the program gives."""

import pytest

from ilf.records import Program, Task
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

CHECKS = {
    "pytest function": ["def test_add():\n    assert add(1, 2) == 3"],
    "several functions": [
        "def test_a():\n    assert add(1, 2) == 3\n\ndef test_b(x=4):\n    assert add(x, 0) == x"
    ],
    "called by itself": ["def test_add():\n    assert add(1, 2) == 3\ntest_add()"],
    "called by another test": ["def test_add(n):\n    assert add(n, 2) == n + 2", "test_add(1)"],
    "unittest case": [CASE],
    "unittest case, plain base": ["from unittest import TestCase\n" + CASE.replace("unittest.", "")],
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
    "a function with a fixture": ["def test_add(numbers):\n    assert add(*numbers) == 3"],
    "a function that nothing calls": ["def helper():\n    assert add(1, 2) == 3"],
    "any exception": ["try:\n    add(1, 2)\nexcept Exception:\n    pass"],
    "a tuple, always true": ["assert (add(1, 2) == 3, 'sum')"],
    "empty case": ["import unittest\n\nclass TestAdd(unittest.TestCase):\n    pass\nadd(1, 2)"],
}


def task(tests, **fields):
    return Task(
        task_id="t", description="Add.", entry_point="add", tests=tuple(tests), reference=RIGHT, **fields
    )


@pytest.fixture(scope="module")
def verdict():
    def one(tests, code, **fields):
        of = task(tests, **fields)
        with Verifier({"t": of}, workers=1) as verifier:
            [found] = verifier.verify([Program(task_id="t", code=code)])
        return found

    return one


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
