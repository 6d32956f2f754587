"""What tests can do with a program that runs elsewhere: values, changed arguments, iterators, exceptions, classes."""

import pytest

from ilf.records import Task
from ilf.sandbox import Limits, Verifier

PLAIN = """
import collections, datetime, decimal, fractions
VALUES = {
    "none": None, "bool": True, "int": 7, "big": 3 ** 20000, "float": 0.1, "inf": float("-inf"), "text": "\\ud800é\\0",
    "bytes": b"\\0\\xff", "bytearray": bytearray(b"ab"), "complex": 1 - 2j, "list": [1, [2]], "tuple": (1, (2, "x")),
    "dict": {1: "a", (2, 3): [4]}, "set": {1, "a"}, "frozenset": frozenset({1}), "range": range(1, 9, 2),
    "decimal": decimal.Decimal("1.10"), "fraction": fractions.Fraction(1, 3), "date": datetime.date(2020, 2, 29),
    "datetime": datetime.datetime(2020, 1, 1, 12, tzinfo=datetime.timezone.utc), "time": datetime.time(1, 2, 3),
    "delta": datetime.timedelta(days=1, microseconds=5), "counter": collections.Counter("aab"),
    "default": collections.defaultdict(list, a=[1]), "ordered": collections.OrderedDict(b=1, a=2),
    "deque": collections.deque([1, 2], 5), "ellipsis": ..., "type": int,
}
"""


def task(
    *tests: str, entry: str = "f", setup: str = "", prefix: str = "", reference: str | None = None, **more
) -> Task:
    name = repr((tests, entry, setup, prefix, reference, more))
    return Task(
        task_id=name, description="d", entry_point=entry, tests=tests, setup=setup, prefix=prefix,
        reference=reference, **more,
    )  # fmt: skip


@pytest.fixture(scope="module")
def verifier():
    with Verifier(limits=Limits(cpu_seconds=1), workers=1) as verifier:
        yield verifier


@pytest.fixture
def verdict(verifier):
    return verifier.verify_one


@pytest.mark.parametrize("name", ["none", "bool", "int", "big", "float", "inf", "text", "bytes", "bytearray", "complex",
    "list", "tuple", "dict", "set", "frozenset", "range", "decimal", "fraction", "date", "datetime", "time", "delta",
    "counter", "default", "ordered", "deque", "ellipsis", "type"])  # fmt: skip
def test_plain_data_crosses_both_ways_with_its_type(verdict, name):
    tests = (
        f"assert f({name!r}) == VALUES[{name!r}] and type(f({name!r})) is type(VALUES[{name!r}])",
        f"assert same(VALUES[{name!r}], {name!r})",
        f"assert repr(f({name!r})) == repr(VALUES[{name!r}])"
        if name not in ("big", "set")
        else "assert f('int') == 7",
    )
    code = PLAIN + "def f(x):\n    return VALUES[x]\n"
    code += "def same(x, name):\n    return x == VALUES[name] and type(x) is type(VALUES[name])\n"
    result = verdict(task(*tests, setup=PLAIN), code)
    assert result.passed, result.detail


def test_true_is_not_one_where_a_test_tells(verdict):
    strict = task("assert f(1) is True", "assert type(f(1)) is bool")
    assert verdict(strict, "def f(x): return x == 1\n").passed
    assert verdict(strict, "def f(x): return 1\n").tests == (False, False)
    assert verdict(task("assert f(1) == True"), "def f(x): return 1.0\n").passed
    assert not verdict(task("assert repr(f(1)) == '1.0'"), "def f(x): return 1\n").passed


def test_subclasses_cross_as_what_they_hold(verdict):
    code = "class T(str): pass\nclass L(list): pass\ndef f(x): return {'s': T('a'), 'l': L([1])}[x]\n"
    assert verdict(task("assert f('s') == 'a'", "assert f('l') == [1]"), code).passed
    points = "from collections import namedtuple\nP = namedtuple('P', 'x y')\ndef f(): return P(1, 2)\n"
    assert verdict(task("assert f() == (1, 2)", "assert f().y == 2"), points).passed


def test_numpy(verdict):
    pytest.importorskip("numpy")
    code = "import numpy as np\ndef f(n): return np.arange(n) * 1.5\ndef g(a): a[0] = 7; return a.sum()\n"
    tests = (
        "assert (f(3) == np.array([0, 1.5, 3])).all() and f(3).dtype == np.float64",
        "assert np.allclose(f(4), [0, 1.5, 3, 4.5])",
        "a = np.zeros(3); s = g(a); assert s == 7 and a[0] == 7 and type(s) is np.float64",
    )
    result = verdict(task(*tests, setup="import numpy as np"), code)
    assert result.passed, result.detail
    assert not verdict(task(*tests, setup="import numpy as np"), code.replace("1.5", "1.6")).passed


def test_arguments_changed_in_place_change_for_the_test(verdict):
    code = "def f(x):\n    x.sort()\n    x.append([0])\ndef g(d, k):\n    d[k]['n'].add(5)\n    return d\n"
    tests = (
        "x = [3, 1]; y = x; assert f(x) is None; assert y == [1, 3, [0]]",
        "d = {'a': {'n': {1}}}; inner = d['a']; r = g(d, 'a'); assert inner['n'] == {1, 5}; assert r is d",
        "x = (1, [2, 1]); f(x[1]); assert x == (1, [1, 2, [0]])",
    )
    result = verdict(task(*tests), code)
    assert result.passed, result.detail
    assert verdict(task(*tests), "def f(x): return None\ndef g(d, k): return {'a': {'n': {1, 5}}}\n").tests == (
        False, False, False,
    )  # fmt: skip


def test_iterators_and_generators(verdict):
    code = "def f(n):\n    for i in range(n): yield i\ndef g():\n    n = 0\n    while True:\n        yield n\n        n += 1\n"
    tests = (
        "assert list(f(3)) == [0, 1, 2]",
        "assert sum(f(4)) == 6 and sorted(f(2), reverse=True) == [1, 0]",
        "it = g(); assert next(it) == 0 and next(it) == 1",
        "import itertools; assert list(itertools.islice(g(), 5)) == [0, 1, 2, 3, 4]",
        "assert dict(zip('ab', f(2))) == {'a': 0, 'b': 1}",
        "assert set(f(3)) == {0, 1, 2}",
    )
    result = verdict(task(*tests), code)
    assert result.passed, result.detail
    lazy = "def f(x): return map(str, x)\n"
    assert verdict(task("assert list(f([1, 2])) == ['1', '2']", "assert f([1]) != ['1']"), lazy).tests[0]
    assert verdict(task("assert list(f([1])) == ['2']"), lazy).status == "failed"
    broken = "def f(n):\n    yield 1\n    raise ValueError('late')\n"
    result = verdict(task("assert list(f(3)) == [1]"), broken)
    assert result.status == "error" and result.error == "ValueError: late" and result.line == 3


def test_arguments_that_are_functions_are_called_back(verdict):
    code = "def f(g, xs): return [g(x) for x in xs]\n"
    tests = (
        "assert f(lambda x: x + 1, [1, 2]) == [2, 3]",
        "assert f(len, ['a', 'bb']) == [1, 2]",
        "assert f(str, [1]) == ['1']",
    )
    result = verdict(task(*tests), code)
    assert result.passed, result.detail
    raising = "def bad(x):\n    raise KeyError('k')\n"
    catching = "def f(g, x):\n    try: return g(x)\n    except KeyError: return 'caught'\n"
    assert verdict(task("assert f(bad, 1) == 'caught'", setup=raising), catching).passed


def test_functions_returned(verdict):
    code = "def f(n):\n    def add(x): return x + n\n    return add\n"
    assert verdict(task("assert f(3)(4) == 7", "assert callable(f(1))"), code).passed
    assert verdict(task("assert f(3)(4) == 8"), code).status == "failed"


def test_expected_exceptions(verdict):
    code = "class Odd(ValueError): pass\ndef f(x):\n    if x < 0: raise ValueError('negative')\n    if x > 9: raise Odd('big', 7)\n    return x\n"
    expects = "try:\n    f({})\n    assert False, 'no exception'\nexcept ValueError as error:\n    assert {} in str(error)\n"
    tests = (expects.format(-1, "'neg'"), expects.format(10, "'7'"), "assert f(3) == 3")
    result = verdict(task(*tests), code)
    assert result.passed, result.detail
    result = verdict(task(*tests), "def f(x): return x\n")
    assert result.tests == (False, False, True) and "no exception" in result.detail
    raises = "import pytest\nwith pytest.raises(ValueError, match='neg'):\n    f(-1)\n"
    assert verdict(task(raises), code).passed
    assert verdict(task(raises), "def f(x): raise TypeError('neg')\n").status == "error"
    assert verdict(task(raises), "def f(x): return 1\n").status == "failed"
    own = "try:\n    f(10)\n    assert False\nexcept Odd as error:\n    assert error.args == ('big', 7)\n"
    assert verdict(task(own), code).passed


def test_a_test_that_swallows_everything_does_not_pass_a_dead_program(verdict):
    test = "try:\n    f()\nexcept:\n    pass\n"
    assert verdict(task(test), "import os\ndef f(): os._exit(0)\n").status == "error"
    assert verdict(task(test + "x = 1\n"), "def f():\n    while True: pass\n").status == "timeout"


def test_floats_compared_with_tolerance(verdict):
    tests = (
        "import math\nassert math.isclose(f(0.1), 0.3, rel_tol=1e-9)",
        "from pytest import approx\nassert f(0.1) == approx(0.3)",
        "assert abs(f(0.1) - 0.3) < 1e-9",
    )
    assert verdict(task(*tests), "def f(x): return x + x + x\n").passed
    assert verdict(task(*tests), "def f(x): return 0.31\n").tests == (False, False, False)


CLASS = """
class Stack:
    def __init__(self, items=()): self.items = list(items)
    def push(self, x): self.items.append(x); return self
    def pop(self): return self.items.pop()
    def __len__(self): return len(self.items)
    def __eq__(self, other): return isinstance(other, Stack) and self.items == other.items
    def __repr__(self): return f"Stack({self.items})"
    def __iter__(self): return iter(self.items)
    def __contains__(self, x): return x in self.items
    def __add__(self, other): return Stack(self.items + other.items)
    @property
    def top(self): return self.items[-1]
    @staticmethod
    def of(*items): return Stack(items)
"""


def test_classes_under_test(verdict):
    tests = (
        "s = Stack(); s.push(1).push(2); assert len(s) == 2 and s.top == 2",
        "s = Stack([1]); s.items = [4, 5]; assert s.pop() == 5 and list(s) == [4]",
        "assert Stack([1]) == Stack([1]) and Stack([1]) != Stack([2])",
        "assert str(Stack([1])) == 'Stack([1])' and isinstance(Stack(), Stack)",
        "assert 3 in Stack.of(1, 3) and (Stack([1]) + Stack([2])).items == [1, 2]",
        "try:\n    Stack().pop()\n    assert False\nexcept IndexError:\n    pass",
    )
    under_test = task(*tests, entry="Stack", reference=CLASS)
    result = verdict(under_test, CLASS)
    assert result.passed, result.detail
    wrong = verdict(under_test, CLASS.replace("self.items.pop()", "self.items[0]"))
    assert wrong.tests == (True, False, True, True, True, True)


def test_a_functions_objects_are_never_asked_whether_they_are_equal(verdict):
    node = "class Node:\n    def __init__(self, v): self.v = v\n    __eq__ = lambda s, o: True\n"
    check = task("assert f(1) == Node(1)", "assert f(2) == Node(3)", entry="f", prefix=node + "def f(x):\n")
    assert verdict(check, node + "def f(x): return Node(x)\n").tests == (True, False)
    spy = (
        node
        + "import os\nclass Spy(Node):\n    def __sub__(s, o): return 0\n    __abs__ = __sub__\ndef f(x): return Spy(x)\n"
    )
    result = verdict(task("assert abs(f(1) - 5) < 1e-6"), spy)
    assert result.status == "failed" and "Spy" in result.error


def test_a_class_under_tests_other_objects_are_not_asked_either(verdict):
    reference = "class S:\n    def __init__(s): s.i = []\n    def push(s, x): s.i.append(x)\n    def pop(s): return s.i.pop()\n"
    check = task(
        "s = S(); s.push(5); assert s.pop() == 5",
        "s = S(); s.push(5); assert abs(s.pop() - 5) < 1",
        entry="S",
        reference=reference,
    )
    assert verdict(check, reference).passed
    anything = "class A:\n    __eq__ = lambda s, o: True\n    __sub__ = __abs__ = lambda s, *o: 0\n"
    for pop in ("return A()", "return s"):
        code = f"{anything}class S(A):\n    def push(s, x): pass\n    def pop(s): {pop}\n"
        assert verdict(check, code).tests == (False, False)
    money = "class M:\n    def __init__(s, x): s.x = x\n    def __eq__(s, o): return s.x == o\n    def __repr__(s): return f'M({s.x})'\n"
    check = task("assert M(3) == 3 and M(3) != 4", "assert repr(M(3)) == 'M(3)'", entry="M", reference=money)
    result = verdict(check, money)
    assert result.passed, result.detail


def test_classes_under_test_made_from_containers(verdict):
    cache = "from collections import OrderedDict\nclass Cache(OrderedDict):\n    def put(s, k, v):\n        s[k] = v\n"
    cache += "        while len(s) > 2: s.popitem(last=False)\n"
    tests = (
        "c = Cache(); c.put(1, 2); c.put(2, 3); c.put(3, 4); assert len(c) == 2 and 1 not in c and c[3] == 4",
        "c = Cache(); c.put(1, 2); assert c == {1: 2} and c != {1: 3}",
    )
    check = task(*tests, entry="Cache", reference=cache)
    result = verdict(check, cache)
    assert result.passed, result.detail
    assert verdict(check, cache.replace("> 2", "> 3")).tests == (False, True)


def test_no_object_answers_for_text_or_sets(verdict):
    duck = "class A:\n    def __getattr__(s, n): return lambda *a: True\ndef f(x): return A()\n"
    for test in ("f('abc').startswith('ab')", "f('1').isdigit()", "f({1}).issubset({1, 2})"):
        result = verdict(task(f"assert {test}"), duck)
        assert result.status == "failed" and "no plain data" in result.error
    assert verdict(task("assert f('abc').startswith('ab')"), "def f(x): return x\n").passed
    assert verdict(task("assert 3 in f(5)", "assert 9 not in f(5)"), "def f(n): yield from range(n)\n").passed


def test_several_entry_points_and_names_of_the_program(verdict):
    code = "import math as m\nLIMIT = 3\ndef f(x): return x + LIMIT\ndef g(x): return f(x) * 2\n"
    assert verdict(task("assert f(1) == 4 and g(1) == 8", "assert LIMIT == 3"), code).passed
    assert verdict(task("assert g(1) == 9"), code).status == "failed"


def test_helpers_of_the_tests_are_the_prefixs_not_the_programs(verdict):
    prefix = "def encode(s):\n    return s[::-1]\n\ndef decode(s):\n"
    check = task("assert decode(encode('ab')) == 'ab'", entry="decode", prefix=prefix)
    right = "def encode(s): return s[::-1]\ndef decode(s): return s[::-1]\n"
    cheat = "def encode(s): return s\ndef decode(s): return s\n"
    assert verdict(check, right).passed
    assert verdict(check, cheat).status == "failed"


def test_text_from_a_program_never_becomes_code_for_the_judge(verdict):
    evil = "def f(x): return \"__import__('os')._exit(0)\"\n"
    check = task("assert eval(f(1)) == 5")
    assert verdict(check, "def f(x): return '2 + 3'\n").passed
    assert verdict(check, evil).status == "error"
    assert verdict(check, "def f(x): return '2 + 4'\n").status == "failed"


def test_results_that_hurt_the_tests_own_code(verdict):
    assert verdict(task("assert sum(f(1)) == 3"), "def f(x): return range(10 ** 12)\n").status in (
        "timeout",
        "memory",
    )
    assert verdict(task("assert sorted(f(1)) == [3]"), "def f(x): return range(10 ** 12)\n").status in (
        "timeout",
        "memory",
    )
    endless = "def f(x):\n    while True: yield 1\n"
    assert verdict(task("assert list(f(1)) == [3]"), endless).status in ("timeout", "memory")
    assert verdict(task("assert f(1) == 3"), "def f(x): return 3\n").passed


def test_shared_isolation_is_recorded(verdict):
    inside = "import sys\nassert f(1) == 2 and 'solution' in sys.modules"
    check = task(inside, "assert f(2) == 9", isolation="shared")
    result = verdict(check, "def f(x): return x + 1\n")
    assert result.shared and result.tests == (True, False) and result.status == "failed"
    assert verdict(task(inside, isolation="shared"), "def f(x): return x + 1\n").passed
    assert verdict(task(inside, isolation="shared"), "import os\nos._exit(0)\n").status == "error"


def test_what_the_verdict_says(verdict):
    check = task("assert f([3, 1]) == [1, 3]", "assert f([]) == []", "assert f([2]) == [2]")
    result = verdict(check, "def f(x):\n    print('sorting', x)\n    return x\n")
    assert result.status == "failed" and result.tests == (False, True, True) and result.test == 0
    assert (result.expected, result.actual) == ("[1, 3]", "[3, 1]")
    assert "sorting [3, 1]" in result.stdout
    for part in (
        "assert f([3, 1]) == [1, 3]",
        "Expected: [1, 3]",
        "Got: [3, 1]",
        "2 of 3 tests passed (test 2, 3)",
    ):
        assert part in result.detail
    result = verdict(check, "def f(x):\n    y = 1\n    return x[5]\n")
    assert (
        result.status == "error"
        and result.line == 3
        and result.error == "IndexError: list index out of range"
    )
    assert "line 3" in result.detail
    result = verdict(check, "def f(x):\n    return list(range(10 ** 5))\n")
    assert len(result.actual) < 700 and "…" in result.actual
    result = verdict(check, "def f(x:\n")
    assert result.status == "error" and result.line == 1 and result.error.startswith("SyntaxError")
    assert result.tests == (None, None, None)


def test_setup_code_builds_on_the_programs_classes(verdict):
    setup = "root = Node(1)\nroot.left = Node(2)\nroot.left.left = Node(3)\n"
    code = "class Node:\n    def __init__(self, v): self.v, self.left = v, None\n"
    code += "def depth(n):\n    return 0 if n is None else 1 + depth(n.left)\n"
    check = task("assert depth(root) == 3", "assert root.left.v == 2", entry="depth", setup=setup)
    result = verdict(check, code)
    assert result.passed, result.detail
    assert verdict(check, code.replace("1 +", "2 +")).status == "failed"


def test_expressions_of_a_person(verifier):
    check = task("assert f(1) == 2")
    code = "def f(x):\n    print('hi')\n    return x + 1\n"
    result = verifier.run(check, code, "f(41)")
    assert (result.status, result.value, result.stdout) == ("passed", "42", "hi\n")
    assert verifier.run(check, code, "f('a')").error.startswith("TypeError")
    assert verifier.run(check, code, "f('a')").line == 3
    assert verifier.run(check, code, "for i in range(2): print(f(i))").stdout.count("hi") == 2
    assert verifier.run(check, code, "while True: pass").status == "timeout"
    assert verifier.run(check, "def f(", "f(1)").error.startswith("SyntaxError")
