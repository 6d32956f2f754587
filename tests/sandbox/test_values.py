"""Values of the standard library, iterators, files in memory and a program's own constants, between test and program."""

import pytest

from ilf.records import Task
from ilf.sandbox import Limits, Verifier

VALUES = """import array, collections, enum, io, ipaddress, itertools, pathlib, types, uuid
VALUES = {
    "chain": collections.ChainMap({"a": 1}, {"b": 2}), "pure path": pathlib.PurePosixPath("a/b"),
    "path": pathlib.Path("/tmp/x"), "uuid": uuid.UUID(int=5), "array": array.array("d", [1, 2.5]),
    "namespace": types.SimpleNamespace(a=1, b=[2]), "address": ipaddress.ip_address("10.0.0.1"),
    "network": ipaddress.ip_network("10.0.0.0/8"), "proxy": types.MappingProxyType({1: (2,)}),
}
"""
PROGRAM = (
    VALUES
    + """
class Color(enum.Enum):
    RED = 1
    BLUE = 2
def f(name): return VALUES[name]
def same(value, name): return value == VALUES[name] and type(value) is type(VALUES[name])
def color(number): return Color(number)
def take(iterator, count): return list(itertools.islice(iterator, count))
def double(file):
    text = file.read()
    file.write(text)
    return len(text)
def space(): return types.SimpleNamespace(startswith=lambda prefix: True)
def tuple_of(): return collections.namedtuple("T", "startswith")(lambda prefix: True)
"""
)


@pytest.fixture(scope="module")
def verdict():
    with Verifier(limits=Limits(cpu_seconds=1), workers=1) as verifier:
        yield lambda *tests: verifier.verify_one(
            Task(task_id=repr(tests), description="d", entry_point="f", tests=tests, setup=VALUES), PROGRAM
        )


@pytest.mark.parametrize(
    "name", ["chain", "pure path", "path", "uuid", "array", "namespace", "address", "network", "proxy"]
)
def test_values_of_the_standard_library_cross_both_ways(verdict, name):
    result = verdict(
        f"assert f({name!r}) == VALUES[{name!r}] and type(f({name!r})) is type(VALUES[{name!r}])",
        f"assert same(VALUES[{name!r}], {name!r})",
        f"assert f({name!r}) != VALUES[{name!r}]",
    )
    assert result.tests == (True, True, False), result.detail


def test_one_object_of_the_program_is_one_object_for_the_test(verdict):
    result = verdict(
        "assert color(1) is Color.RED and color(1) is not Color.BLUE",
        "assert {Color.RED: 7}[color(1)] == 7 and color(2) in (Color.RED, Color.BLUE)",
        "assert color(2) is Color.RED",
    )
    assert result.tests == (True, True, False), result.detail


def test_iterators_are_read_as_far_as_the_program_asks(verdict):
    result = verdict(
        "items = itertools.count()\nassert take(items, 2) == [0, 1] and next(items) == 2",
        "assert take((n * n for n in [1, 2]), 5) == [1, 4]",
        "def broken():\n    yield 1\n    raise KeyError('k')\ntry:\n    take(broken(), 5)\n    assert False\nexcept KeyError:\n    pass",
    )
    assert result.passed, result.detail


def test_files_in_memory_are_changed_for_the_test(verdict):
    result = verdict(
        "file = io.StringIO('a\\r\\nb')\nfile.read(1)\nassert double(file) == 3 and file.getvalue() == 'a\\r\\nb\\r\\nb'",
        "file = io.BytesIO(b'\\0\\xff')\nassert double(file) == 2 and file.getvalue() == b'\\0\\xff\\0\\xff' and file.tell() == 4",
    )
    assert result.passed, result.detail


@pytest.mark.parametrize("name", ["space", "tuple_of"])
def test_no_function_of_the_program_answers_for_a_method_of_plain_data(verdict, name):
    result = verdict(f"text = 'x'\nassert {name}().startswith(text)")
    assert result.status == "failed" and "cross" in result.error
