"""Values of the standard library, iterators, files in memory and a program's own constants, between test and program."""

import time

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
def verifier():
    with Verifier(limits=Limits(cpu_seconds=1, wall_seconds=2), workers=1) as verifier:
        yield verifier


@pytest.fixture
def verdict(verifier):
    return lambda *tests: verifier.verify_one(
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


def test_a_test_sleeps_no_longer_than_a_program_may_run(verdict):
    tests = ("import time\ntime.sleep(take([0.01], 1)[0])\nassert take([1], 1) == [1]",)
    assert verdict(*tests).passed
    started = time.monotonic()
    late = verdict(*tests, "import time\ntime.sleep(take([1000], 1)[0])\nassert take([1], 1) == [1]")
    assert late.status == "timeout" and time.monotonic() - started < 30


@pytest.mark.parametrize("name", ["space", "tuple_of"])
def test_no_function_of_the_program_answers_for_a_method_of_plain_data(verdict, name):
    result = verdict(f"text = 'x'\nassert {name}().startswith(text)")
    assert result.status == "failed" and "cross" in result.error


FILES = """import os, sqlite3
def save(path, text):
    with open(path, "w") as file:
        file.write(text)
def load(path):
    with open(path) as file:
        return file.read()
def table(path):
    db = sqlite3.connect(path)
    db.execute("create table names (name text)")
    db.execute("insert into names values ('Ida')")
    db.commit()
    db.close()
def link(path): os.symlink("/ilf", path)
def remove(path): os.unlink(path)
"""
SHARED = {
    "written": "path = os.path.join(tempfile.mkdtemp(), 'a')\nsave(path, 'hi')\nassert open(path).read() == 'hi'",
    "read": "path = os.path.join(tempfile.mkdtemp(), 'a')\nwith open(path, 'w') as file:\n    file.write('hi')\nassert load(path) == 'hi'",
    "tmp_path": "def test(tmp_path):\n    (tmp_path / 'a').write_text('1')\n    assert load(tmp_path / 'a') == '1'\n    remove(tmp_path / 'a')\n    assert not (tmp_path / 'a').exists()",
    "database": "path = os.path.join(tempfile.mkdtemp(), 'a.db')\ntable(path)\nassert sqlite3.connect(path).execute('select * from names').fetchall() == [('Ida',)]",
}


@pytest.mark.parametrize("test", SHARED.values(), ids=SHARED)
def test_files_in_a_folder_that_test_and_program_share(verifier, test):
    def judge(code):
        setup = "import os, sqlite3, tempfile"
        task = Task(task_id=test, description="d", entry_point="save", tests=(test,), setup=setup)
        return verifier.verify_one(task, code)

    right = judge(FILES)
    assert right.passed, right.detail
    wrong = FILES.replace("write(text)", "write('no')").replace("file.read()", "'no'").replace("Ida", "Eve")
    assert judge(wrong).status == "failed"


def test_links_and_numbers_of_the_program_lead_nowhere(verifier):
    setup = "import os, tempfile"
    test = "path = os.path.join(tempfile.mkdtemp(), 'a')\nlink(path)\nassert os.path.exists(path)"
    task = Task(task_id="link", description="d", entry_point="link", tests=(test,), setup=setup)
    assert verifier.verify_one(task, FILES).status == "failed"
    number = Task(
        task_id="n", description="d", entry_point="f", tests=("assert open(f()).read() == ''",), setup=setup
    )
    found = verifier.verify_one(number, "def f(): return 0\n")
    assert found.status == "failed" and "paths only" in found.error


REGISTER = """class Register:
    def __init__(self):
        self.marks, self.menu = {}, []
    def add(self, name, subject, mark):
        self.marks[name][subject] = mark
    def keep(self, item):
        self.menu.append(item)
    def take(self, dish):
        for entry in self.menu:
            if entry["dish"] == dish and entry["count"] > 0:
                entry["count"] -= 1
                return entry
        raise KeyError(dish)
"""
REGISTERS = {
    "into an attribute": "r = Register()\nr.marks['Ida'] = {}\nr.add('Ida', 'maths', 2)\nassert r.marks == {'Ida': {'maths': 2}}",
    "an item's own": "r = Register()\nsoup = {'dish': 'soup', 'count': 1}\nr.menu.append(soup)\nassert r.take('soup') is soup\nassert soup['count'] == 0",
    "handed over": "r = Register()\nsoup = {'dish': 'soup', 'count': 2}\nr.keep(soup)\nr.take('soup')\nsoup['count'] = 5\nassert r.take('soup')['count'] == 4 and soup == r.menu[0]",
    "after an exception": "r = Register()\nr.keep({'dish': 'soup', 'count': 2 ** 9000})\ntry:\n    r.take('tea')\n    assert False\nexcept KeyError:\n    r.menu.clear()\nr.keep([1])\nassert r.menu == [[1]]",
}


@pytest.mark.parametrize("test", REGISTERS.values(), ids=REGISTERS)
def test_a_container_is_one_for_test_and_object(verifier, test):
    task = Task(task_id=test, description="d", entry_point="Register", tests=(test,), reference=REGISTER)
    right = verifier.verify_one(task, REGISTER)
    assert right.passed, right.detail
    wrong = REGISTER.replace("= mark", "= 0").replace("return entry", "return dict(entry, count=0)")
    wrong = wrong.replace("raise KeyError(dish)", "return None")
    assert verifier.verify_one(task, wrong).status == "failed"
