"""More hostile programs, each with the exact verdict it must get, and an honest program for the same task.

`hostile_programs` attacks one function under plain tests. These attack what a test does with an answer: what it asks
an object, when it is asked, and what judges the answer. Further ones are in `hostile2_attacks`.
"""

from typing import NamedTuple

from ilf.records import Task


class Case(NamedTuple):
    """One program, for the task of that name in `TASKS`."""

    name: str
    status: str
    task: str
    code: str


TASKS: dict[str, tuple[Task, str]] = {}
"""name → (task, honest program)"""


def add(name: str, honest: str, *tests: str, entry: str = "f", **more: str) -> None:
    """A task that cases refer to by its name."""
    task = Task(task_id=f"second-{name}", description="d", entry_point=entry, tests=tests, **more)
    TASKS[name] = (task, honest)


SQUARE = "def f(x):\n    return x * x\n"
LIST = "def f(x):\n    return [x, x]\n"
ARRAY = "import numpy as np\ndef f(x):\n    return np.array([x * x] * 2)\n"

add("square", SQUARE, "assert f(2) == 4", "assert f(3) == 9")
add("live", SQUARE, "x = 2\nassert f(x) == 4", "y = 3\nassert f(y) == 9")
add("list", LIST, "assert f(1) == [1, 1]", "assert len(f(2)) == 2", "assert list(f(3)) == [3, 3]")
add("sorted", LIST, "assert sorted(f(1)) == [1, 1] and sum(f(2)) == 4")
add(
    "dict", "def f(x):\n    return {x: x}\n", "assert f(1) == {1: 1}", "assert f(2)[2] == 2 and 1 not in f(2)"
)
add("text", "def f(x):\n    return x.upper()\n", "assert f('ab') == 'AB'", "assert f('c') + '!' == 'C!'")
add("set", "def f(x):\n    return {x}\n", "assert f(1) == {1}", "assert 2 in f(2) and len(f(2)) == 1")
add("fspath", "def f(x):\n    return x\n", "assert os.path.basename(f('/a/b')) == 'b'", setup="import os")
add("index", SQUARE, "assert 'abcdefghij'[f(2)] == 'e'", "assert range(20)[f(3)] == 9")
add("truth", "def f(x):\n    return x > 0\n", "assert f(1)", "assert not f(-1)", "assert f(2) is True")
add("nan", "def f(x):\n    return x\n", "assert f(1.5) == 1.5", "assert not f(2.5) != 2.5 and f(2.5) > 2")
add(
    "generator",
    "def f(x):\n    yield x\n    yield x\n",
    "assert list(f(1)) == [1, 1]",
    "assert sum(f(2)) == 4",
)
add("first", "def f(x):\n    while True: yield x\n", "assert next(f(1)) == 1", "assert next(iter(f(2))) == 2")
add("kept", "def f(x):\n    return [x]\n", "a = f(1)\nb = f(2)\nassert a == [1]\nassert b == [2]")
add(
    "keeps its argument",
    "def f(x):\n    return sorted(x)\n",
    "x = [2, 1]\nassert f(x) == [1, 2]\nassert x == [2, 1]",
)
add("equal", ARRAY, "assert np.equal(f(2), [4, 4]).all()", setup="import numpy as np")
add(
    "close",
    ARRAY,
    "assert np.allclose(f(2), [4, 4])",
    "assert f(3).shape == (2,)",
    setup="import numpy as np",
)
add("shift", SQUARE, "assert 1 << f(2) == 16")
add("power", SQUARE, "assert 10 ** f(2) == 10_000")
add("repeat", SQUARE, "assert 'ab' * f(2) == 'abababab'")
add("width", SQUARE, "assert f'{1:{f(2)}}' == '   1'")
add("range", "def f(x):\n    return range(x)\n", "assert list(f(3)) == [0, 1, 2]")
add(
    "json",
    "import json\ndef f(x):\n    return json.dumps(x)\n",
    "import json\nassert json.loads(f([1])) == [1]",
)

A = "class A{base}:\n{body}\ndef f(x):\n    return A({value})\n"


def lying(body: str, base: str = "", value: str = "") -> str:
    """A program whose function returns an object with the methods of `body`."""
    lines = "\n".join("    " + line for line in body.splitlines())
    return A.format(base=f"({base})" if base else "", body=lines, value=value)


LIES = [
    Case("an int's __class__ on a plain object", "failed", "square",
         lying("__class__ = property(lambda s: int)\n__int__ = __index__ = lambda s: 4")),
    Case("a bool's __class__ on an int", "failed", "truth", lying("__class__ = bool", "int", "1")),
    Case("a float that compares by reflection", "failed", "square",
         lying("__eq__ = __req__ = __le__ = __ge__ = lambda s, o: True\n__hash__ = float.__hash__", "float", "0")),
    Case("a list that lies about its length", "failed", "list", lying("__len__ = lambda s: 2", "list", "[x] * 3")),
    Case("a list whose iterator lies", "failed", "sorted",
         lying("__iter__ = lambda s: iter([1, 1])\n__getitem__ = lambda s, i: 1", "list", "[0, 0]")),
    Case("a list whose iterator never ends", "failed", "sorted",
         lying("def __iter__(s):\n    while True: yield 1", "list", "[0]")),
    Case("a list that reverses, sorts and copies itself into the answer", "failed", "sorted",
         lying("copy = __copy__ = __reversed__ = lambda s: [1, 1]\nsort = lambda s, **k: s.__init__([1, 1])", "list", "[0]")),
    Case("a tuple in a list's clothes", "failed", "list", lying("__class__ = list\n__eq__ = lambda s, o: True", "tuple", "(x, x)")),
    Case("a dict with __missing__ and every key", "failed", "dict",
         lying("__missing__ = lambda s, k: k\n__contains__ = lambda s, k: True\n__eq__ = lambda s, o: True", "dict")),
    Case("a dict of keys that are equal to everything", "failed", "dict",
         "class K(int):\n    __eq__ = lambda s, o: True\n    __hash__ = lambda s: 1\ndef f(x): return {K(7): 1}\n"),
    Case("a text equal to everything with a hash of its own", "failed", "text",
         lying("__eq__ = lambda s, o: True\n__hash__ = lambda s: hash('AB')\n__add__ = lambda s, o: 'C!'", "str", "'zz'")),
    Case("a set that claims every member", "failed", "set",
         lying("__contains__ = __eq__ = lambda s, o: True\n__hash__ = None\n__len__ = lambda s: 1", "set", "[0]")),
    Case("a hash equal to the expected key's", "failed", "set",
         "class H:\n    __hash__ = lambda s: hash(1)\n    __eq__ = lambda s, o: True\ndef f(x): return {H()}\n"),
    Case("__fspath__ in place of a text", "failed", "fspath", lying("__fspath__ = lambda s: '/a/b'")),
    Case("__index__ that answers True", "failed", "index", lying("__index__ = lambda s: True")),
    Case("__index__ that is an object again", "error", "index", lying("__index__ = lambda s: s")),
    Case("__bool__ that is no bool", "error", "truth", lying("__bool__ = lambda s: 1")),
    Case("__bool__ that does not answer", "timeout", "truth", lying("def __bool__(s):\n    while True: pass")),
    Case("__bool__ true by turns", "failed", "truth",
         "n = 0\nclass A:\n    def __bool__(s):\n        global n\n        n += 1\n        return n % 2 == 1\ndef f(x): return A()\n"),
    Case("not a number, with a friendly __ne__", "failed", "nan",
         lying("__eq__ = lambda s, o: True\n__ne__ = lambda s, o: False", "float", "'nan'")),
    Case("a signalling not-a-number", "failed", "nan", "from decimal import Decimal\ndef f(x): return Decimal('sNaN')\n"),
    Case("not a number, inside what is compared by identity", "failed", "list",
         "n = float('nan')\ndef f(x): return [n, n]\n"),
    Case("a metaclass that answers for its class", "failed", "list",
         "class M(type):\n    __len__ = lambda s: 2\n    __iter__ = lambda s: iter([1, 1])\n    __eq__ = lambda s, o: True\n"
         "    __hash__ = type.__hash__\nclass A(metaclass=M): pass\ndef f(x): return A\n"),
    Case("an exception with lying arguments", "error", "square",
         "class E(ValueError):\n    args = property(lambda s: 1 / 0)\n    __traceback__ = property(lambda s: 1 / 0)\n"
         "def f(x): raise E(4)\n"),
    Case("an exception class whose name is no text", "error", "square",
         "E = type('E\\0', (Exception,), {})\ndef f(x): raise E(4)\n"),
]  # fmt: skip

VALUES = [
    Case("one list for all answers", "failed", "kept", "kept = []\ndef f(x):\n    kept[:] = [x]\n    return kept\n"),
    Case("an answer that a thread changes later", "failed", "list",
         "import threading\ndef f(x):\n    a = [0, 0]\n    threading.Timer(0.01, a.__setitem__, (slice(None), [x, x])).start()\n    return a\n"),
    Case("sorts its argument in place as well", "failed", "keeps its argument", "def f(x):\n    x.sort()\n    return list(x)\n"),
    Case("gives its argument back, changed", "failed", "keeps its argument", "def f(x):\n    x.sort()\n    return x\n"),
    Case("empties its argument and returns it", "failed", "keeps its argument", "def f(x):\n    x.clear()\n    return x\n"),
    Case("changes its argument while it is encoded", "failed", "keeps its argument",
         "class L(list):\n    def __iter__(s): raise SystemExit\ndef f(x):\n    x.append(L([x]))\n    return [1, 2]\n"),
    Case("puts its argument into itself", "failed", "keeps its argument", "def f(x):\n    x.append(x)\n    return [1, 2]\n"),
    Case("an endless generator of endless generators", "timeout", "generator",
         "def f(x):\n    while True: yield f(x)\n"),
    Case("an endless generator where a number is wanted", "failed", "square", "from itertools import repeat\ndef f(x): return repeat(x * x)\n"),
    Case("a generator that never yields", "timeout", "first", "def f(x):\n    while True: pass\n    yield\n"),
    Case("a generator that ends the process", "error", "first", "import os\ndef f(x):\n    os._exit(0)\n    yield\n"),
    Case("a generator that raises StopIteration inside", "error", "first", "def f(x):\n    raise StopIteration(1)\n    yield\n"),
    Case("a generator that closes badly", "failed", "first",
         "def f(x):\n    while True:\n        try: yield 0\n        except GeneratorExit: pass\n"),
    Case("an iterator that is a new one each time", "timeout", "generator",
         "class A:\n    def __iter__(s): return A()\n    def __next__(s): return 0\ndef f(x): return A()\n"),
    Case("a tuple a million deep", "failed", "square",
         "x_ = ()\nfor _ in range(1_000_000): x_ = (x_,)\ndef f(x): return x_\n"),
    Case("a dict a million deep", "failed", "square", "def f(x):\n    d = {}\n    for _ in range(300_000): d = {1: d}\n    return d\n"),
    Case("a dict that contains itself", "failed", "square", "def f(x):\n    d = {}\n    d[1] = d\n    return d\n"),
    Case("two lists that contain each other", "failed", "square", "def f(x):\n    a, b = [], []\n    a.append(b)\n    b.append(a)\n    return a\n"),
    Case("an int of many digits", "failed", "square", "def f(x): return 10 ** 100_000\n"),
    Case("that int in a message", "error", "square", "def f(x): raise ValueError(10 ** 5000)\n"),
    Case("the digits' limit lifted", "failed", "square", "import sys\nsys.set_int_max_str_digits(0)\ndef f(x): return 10 ** 20_000\n"),
    Case("a text of lone surrogates", "failed", "text", "def f(x): return '\\ud800' * 100_000\n"),
    Case("surrogates in a type's name", "error", "square", "A = type('\\udcff', (), {})\ndef f(x): return A()\n"),
    Case("prints surrogates and ends of lines", "failed", "square",
         "import os\nos.write(1, b'\\xff\\xfe\\x00\\r' * 5000)\ndef f(x): return 0\n"),
    Case("sets with one hash", "timeout", "set",
         "class K(int):\n    __hash__ = int.__hash__\ndef f(x): return {i * (2 ** 61 - 1) for i in range(100_000)}\n"),
    Case("a number the tests shift by", "memory", "shift", "def f(x): return 10 ** 12\n"),
    Case("a number the tests raise to", "timeout", "power", "def f(x): return 10 ** 9\n"),
    Case("a number the tests repeat by", "memory", "repeat", "def f(x): return 10 ** 11\n"),
    Case("a number the tests pad to", "memory", "width", "def f(x): return 10 ** 10\n"),
    Case("a range the tests make a list of", "memory", "range", "def f(x): return range(10 ** 10)\n"),
    Case("deep JSON for the tests to read", "failed", "json", "def f(x): return '[' * 200_000 + ']' * 200_000\n"),
]  # fmt: skip

NUMPY = [
    Case("an object array of liars", "failed", "equal",
         "import numpy as np\nclass A:\n    __eq__ = lambda s, o: True\ndef f(x): return np.array([A(), A()], dtype=object)\n"),
    Case("an object array of near numbers", "failed", "close",
         "import numpy as np\nclass A:\n    __float__ = lambda s: 4.0\n    __sub__ = __rsub__ = lambda s, o: 0\n"
         "def f(x): return np.array([A(), A()], dtype=object)\n"),
    Case("an array that contains itself", "failed", "equal",
         "import numpy as np\ndef f(x):\n    a = np.empty(2, dtype=object)\n    a[:] = [a, a]\n    return a\n"),
    Case("a subclass of ndarray that is equal to everything", "failed", "equal",
         "import numpy as np\nclass A(np.ndarray):\n    __array_ufunc__ = lambda s, *a, **k: np.array([True, True])\n"
         "def f(x): return np.zeros(2).view(A)\n"),
    Case("a forged array of objects", "failed", "equal",
         "import os\nos.write(3, b'{\"v\":null}\\n{\"v\":{\"np\":[\"|O\",[2],\"AAAAAAAAAAAAAAAAAAAAAA==\"]}}\\n')\nos._exit(0)\n"),
    Case("__array_struct__ that is no capsule", "failed", "close", lying("__array_struct__ = 5")),
    Case("wraps what numpy computed with it", "failed", "equal",
         "import numpy as np\n" + lying("__array__ = lambda s, *a, **k: np.zeros(2)\n__array_wrap__ = lambda s, *a: np.array([True, True])")),
    Case("an array at an address of its choice", "failed", "close",
         lying("__array_interface__ = {'shape': (2,), 'typestr': '<f8', 'data': (8, False), 'version': 3}")),
]  # fmt: skip
