"""Hostile programs against handles, callbacks, classes' operators, HumanEval's `check`, the protocol and the process."""

from hostile2_programs import SQUARE, Case, add, lying

EVEN = "def f(x):\n    return x % 2 == 0\n"
CALLS = "def f(g, x):\n    return g(x, 2)\n"
BAG = "class Bag(list):\n    pass\n"
MONEY = "class Money:\n    def __init__(self, n): self.n = n\n    def __add__(self, o): return Money(self.n + o.n)\n"

add("map", EVEN, "assert all(map(f, [2, 4]))", "assert not any(map(f, [1, 3]))")
add(
    "symmetric", "def f(x):\n    return set(x)\n", "assert f([1, 2, 2]).symmetric_difference({1, 2}) == set()"
)
add("difference", "def f(x):\n    return set(x)\n", "assert not f([1, 2, 2]).difference({1, 2})")
add("decimal", "from decimal import Decimal\ndef f(x):\n    return Decimal(x * x)\n",
    "assert f(2).compare(Decimal(4)) == 0", setup="from decimal import Decimal")  # fmt: skip
add("starts", "def f(x):\n    return x.upper()\n", "assert f('ab').startswith('AB') and f('ab').isupper()")
add("callable", "def f(x):\n    return lambda: x\n", "assert callable(f(1))")
add(
    "iterable",
    "def f(x):\n    return [x]\n",
    "assert isinstance(f(1), Iterable)",
    setup="from collections.abc import Iterable",
)
add("same", SQUARE, "x = 2\nassert f(x) == f(x)")
add(
    "pickle",
    "import pickle\ndef f(x):\n    return pickle.dumps(x)\n",
    "assert pickle.loads(f(4)) == 4",
    setup="import pickle",
)
add("eval", "def f(x):\n    return str(x * x)\n", "assert eval(f(2)) == 4")
add("power back", CALLS, "assert f(operator.pow, 2) == 4", setup="import operator")
add(
    "counts calls",
    "def f(g):\n    return g(1) + g(2)\n",
    "seen = []\ndef g(x):\n    seen.append(x)\n    return x\nassert f(g) == 3\nassert seen == [1, 2]",
)
add(
    "checks in a callback",
    "def f(g):\n    g(4)\n    return 4\n",
    "def g(x):\n    assert x == 4\n    return x\nassert f(g) == 4",
)
add(
    "calls in turn",
    "def f(g, n):\n    return g(n)\n",
    "def g(n): return 0 if n <= 0 else f(g, n - 1)\nassert f(g, 3) == 0",
)
add(
    "closure",
    "def f(n):\n    return lambda x: x + n\n",
    "add = f(3)\nassert add(4) == 7\nassert f(1)(1) == 2 and add(0) == 3",
)
add(
    "bag",
    BAG,
    "b = Bag([3])\nassert 3 in b",
    "assert 4 not in Bag([3])",
    "assert Bag([1]) == [1]",
    entry="Bag",
    reference=BAG,
)
add(
    "money",
    MONEY,
    "assert (Money(1) + Money(2)).n == 3",
    "m = Money(4)\nassert m.n == 4",
    entry="Money",
    reference=MONEY,
)
add(
    "check",
    SQUARE,
    "def check(candidate):\n    assert candidate(2) == 4\n    for n in range(3):\n        assert candidate(n) == n * n\n    assert candidate is not None\n\ncheck(f)",
)
add("async", "async def f(x):\n    return x * x\n", "import asyncio\nassert asyncio.run(f(2)) == 4")
add("iterator", "def f(x):\n    return iter([x, x])\n", "x = 1\nassert list(f(x)) == [1, 1]")
add("live bag", BAG, "x = 1\nassert Bag([x]) == [1]", entry="Bag", reference=BAG)

SAY = "import os\ndef send(b): os.write(4, len(b).to_bytes(4, 'little') + b)\n"


def frames(*messages: str) -> str:
    """A program that writes these frames to its conversation instead of answers, and ends."""
    return (
        SAY
        + "".join(f"send({message.encode()!r})\n" for message in messages)
        + "import time\ntime.sleep(0.1)\nos._exit(0)\n"
    )


ANSWERING = """import os
def read(n):
    b = b''
    while len(b) < n:
        part = os.read(4, n - len(b))
        if not part: os._exit(0)
        b += part
    return b
def send(b): os.write(4, len(b).to_bytes(4, 'little') + b)
send(b'{"v":null}')
while True:
    read(int.from_bytes(read(4), 'little'))
    send(%r)
"""
"""Gives one and the same answer to whatever it is asked."""

HANDLES = [
    Case("its own startswith", "failed", "starts", lying("startswith = isupper = lambda s, *a: True")),
    Case("its own __getattr__ for every method", "failed", "starts", lying("__getattr__ = lambda s, n: lambda *a: True")),
    Case("its own symmetric_difference", "failed", "symmetric", lying("symmetric_difference = lambda s, o: set()")),
    Case("its own difference", "failed", "difference", lying("difference = lambda s, o: set()")),
    Case("its own compare", "failed", "decimal", lying("compare = lambda s, o: 0")),
    Case("called callable", "failed", "callable", lying("pass")),
    Case("called iterable", "failed", "iterable", lying("pass")),
    Case("two objects without content", "failed", "same", lying("pass")),
    Case("StopIteration in place of an answer", "error", "map", "def f(x): raise StopIteration\n"),
    Case("a pickle that is a program", "failed", "pickle",
         "import pickle\nclass A:\n    def __reduce__(s): return (eval, ('2 + 2',))\ndef f(x): return pickle.dumps(A())\n"),
    Case("a pickle that ends the judge", "failed", "pickle",
         "import pickle, os\nclass A:\n    def __reduce__(s): return (os._exit, (0,))\ndef f(x): return pickle.dumps(A())\n"),
    Case("a text that looks for the judge", "error", "eval",
         "def f(x): return '__import__(\"sys\").modules[\"ilf.sandbox.inside.judge\"] and 4'\n"),
]  # fmt: skip

CALLBACKS = [
    Case("numbers too large for the test's function", "timeout", "power back", "def f(g, x): return g(10, 10 ** 9)\n"),
    Case("calls back once more", "failed", "counts calls", "def f(g): return g(1) + g(2) + 0 * g(3)\n"),
    Case("calls back when it is loaded again", "failed", "counts calls", "def f(g):\n    return 3\n"),
    Case("calls back with objects", "failed", "counts calls", lying("__add__ = lambda s, o: 3").replace("def f(x):\n    return A()", "def f(g): return g(A()) + g(A())")),
    Case("calls back from a thread, late", "failed", "counts calls",
         "import threading\ndef f(g):\n    threading.Timer(0.02, g, (2,)).start()\n    return 3\n"),
    Case("swallows the test's exception", "failed", "checks in a callback",
         "def f(g):\n    try: g(5)\n    except BaseException: pass\n    return 5\n"),
    Case("calls back without end", "error", "calls in turn", "import sys\nsys.setrecursionlimit(10 ** 6)\ndef f(g, n): return g(10 ** 9)\n"),
    Case("answers a call with a call, for ever", "timeout", "calls in turn",
         "def f(g, n):\n    while True: g(0)\n"),
    Case("a closure that forgets", "failed", "closure", "def f(n):\n    m = [n]\n    return lambda x: x + (m.pop() if m else 0)\n"),
    Case("one closure for all", "failed", "closure", "k = 0\ndef g(x): return x + k\ndef f(n):\n    global k\n    k = n\n    return g\n"),
    Case("a closure that is an object with __call__", "failed", "closure",
         "class A:\n    __call__ = lambda s, x: s\n    __eq__ = lambda s, o: True\ndef f(n): return A()\n"),
]  # fmt: skip

CLASSES = [
    Case("equal where the reference has no __eq__", "failed", "bag",
         "class Bag(list):\n    __eq__ = lambda s, o: True\n    __contains__ = lambda s, o: o == 3\n    def __init__(s, x): pass\n"),
    Case("contains what the reference's list would", "failed", "bag",
         "class Bag(list):\n    __contains__ = lambda s, o: o == 3\n    def __init__(s, x): list.__init__(s, [1])\n"),
    Case("reflected operators", "failed", "money",
         "class N:\n    __eq__ = __req__ = lambda s, o: True\n    __hash__ = None\nclass Money:\n    n = N()\n"
         "    def __init__(s, n): pass\n    __add__ = __radd__ = lambda s, o: s\n"),
    Case("an instance that is an int", "failed", "money",
         "class Money(int):\n    n = property(lambda s: s)\n    __eq__ = lambda s, o: True\n    __add__ = lambda s, o: s\n"),
    Case("a class that makes other objects", "failed", "money",
         "class Money:\n    def __new__(s, n): return 5\n"),
    Case("check of its own", "failed", "check", "def check(candidate): pass\ndef f(x): return 0\n"),
    Case("check replaced in the frames above", "failed", "check",
         "import sys\ndef f(x):\n    g = sys._getframe()\n    while g:\n        g.f_globals['check'] = lambda c: None\n        g = g.f_back\n    return 0\n"),
    Case("a candidate that is a class", "failed", "check", "class f:\n    def __init__(s, x): pass\n    __eq__ = lambda s, o: True\n    __hash__ = None\n"),
    Case("right for the first call only", "failed", "check", "seen = []\ndef f(x):\n    seen.append(x)\n    return x * x if len(seen) == 1 else 0\n"),
]  # fmt: skip

TIME = [
    Case("a coroutine where a number is wanted", "failed", "square", "async def f(x):\n    return x * x\n"),
    Case("an asynchronous generator", "error", "generator", "async def f(x):\n    yield x\n    yield x\n"),
    Case("a coroutine that answers late", "failed", "square",
         "import asyncio\nasync def g(x):\n    await asyncio.sleep(0.05)\n    return x * x\ndef f(x): return asyncio.ensure_future(g(x), loop=asyncio.new_event_loop())\n"),
    Case("a future that is done later", "failed", "square",
         "from concurrent.futures import ThreadPoolExecutor\np = ThreadPoolExecutor(1)\ndef f(x): return p.submit(pow, x, 2)\n"),
    Case("a thread that answers in its stead", "failed", "square",
         "import threading, os, time\ndef late():\n    time.sleep(0.02)\n    os.write(3, b'{\"v\":4}\\n{\"v\":9}\\n')\n"
         "def f(x):\n    threading.Thread(target=late).start()\n    return 0\n"),
    Case("a child that answers in its stead", "timeout", "square",
         "import os, time\ndef f(x):\n    if os.fork() == 0: return x * x\n    time.sleep(1000)\n"),
]  # fmt: skip

PROTOCOL = [
    Case("the same key twice", "failed", "live", frames('{"v":null}', '{"v":4,"v":5}', '{"v":5,"v":0}')),
    Case("a value and an exception", "error", "live", frames('{"v":null}', '{"v":4,"x":{"type":"E","bases":["ValueError"],"args":[]}}', '{"v":9}')),
    Case("an int of too many digits", "failed", "live", frames('{"v":null}', '{"v":' + "9" * 5000 + "}", '{"v":9}')),
    Case("lists too deep", "failed", "live", frames('{"v":null}', '{"v":' + "[" * 20_000 + "]" * 20_000 + "}", '{"v":9}')),
    Case("numbers that JSON does not have", "failed", "live", frames('{"v":null}', '{"v":NaN}', '{"v":-Infinity}')),
    Case("text that is not UTF-8", "failed", "live", SAY + "send(b'{\"v\":null}')\nsend(b'{\"v\":\"\\xff\\xfe\"}')\nsend(b'{\"v\":9}')\nimport time\ntime.sleep(0.1)\n"),
    Case("an answer to nobody's question", "failed", "live", frames('{"v":null}', '{"result":{"v":4}}', '{"result":{"v":9}}')),
    Case("a call of a function nobody passed", "failed", "live", frames('{"v":null}', '{"cb":[-1,[],{}]}', '{"cb":[{"t":[]},[],{}]}', '{"v":0}', '{"v":0}')),
    Case("a namedtuple with names of methods", "failed", "live", frames('{"v":null}', '{"v":{"nt":["int",["__eq__"],[4]]}}', '{"v":{"nt":["A",["count","index"],[9,9]]}}')),
    Case("an exception of the judge's own name", "error", "live", frames('{"v":null}', *['{"x":{"type":"Late","bases":["BaseException"],"text":"","args":[]}}'] * 2)),
    Case("an assertion of the judge's own name", "error", "live", frames('{"v":null}', *['{"x":{"type":"Failed","bases":["AssertionError"],"text":"","args":[]}}'] * 2)),
    Case("an object within an object without end", "failed", "live bag", ANSWERING % b'{"v":{"t":[{"h":[0,"Bag","o",[]]}]}}'),
    Case("a call within a call without end", "timeout", "calls in turn", ANSWERING % b'{"cb":[-1,[5],{}]}'),
    Case("an iterator that gives more than was asked", "failed", "iterator",
         SAY + "send(b'{\"v\":null}')\nsend(b'{\"v\":{\"h\":[0,\"g\",\"i\",[]]}}')\nsend(b'{\"v\":[1,1,1,1]}')\nimport time\ntime.sleep(0.1)\n"),
]  # fmt: skip

NOTICED = (  # right where it is not being verified: a program that finds out
    "import os, sys\ndef f(x):\n    if {test}: return 0\n    return x * x\n"
)
PROCESS = [
    Case("finds its module's name", "failed", "square", NOTICED.format(test="__name__ == 'solution'")),
    Case("finds the frame that calls it", "failed", "square", NOTICED.format(test="sys._getframe(1).f_code.co_name == 'call'")),
    Case("finds its descriptors", "failed", "square", NOTICED.format(test="os.fstat(3)")),
    Case("finds that its folder is empty", "failed", "square", NOTICED.format(test="os.listdir('/tmp') == []")),
    Case("finds that there is no network", "failed", "square",
         "import socket\ntry:\n    socket.socket()\n    seen = False\nexcept OSError: seen = True\ndef f(x): return 0 if seen else x * x\n"),
    Case("is right only where it ran before", "failed", "square",
         "import os\nold = os.path.exists('/tmp/.seen') or os.environ.get('SEEN')\nopen('/tmp/.seen', 'w').close()\nos.environ['SEEN'] = '1'\n"
         "def f(x): return x * x if old else 0\n"),
    Case("is right only for the arguments it has seen in its frames", "failed", "square",
         "import sys\ndef f(x):\n    found = [v for v in sys._getframe(1).f_locals.values() if v == x * x and v != x]\n    return found[0] if found else 0\n"),
    Case("an audit hook that ends it", "error", "square", "import sys, os\nsys.addaudithook(lambda *a: os._exit(0))\nopen('/dev/null')\n" + SQUARE),
    Case("an excepthook that says it is right", "error", "square", "import sys\nsys.excepthook = sys.unraisablehook = lambda *a: print('passed')\ndef f(x): raise ValueError\n"),
    Case("warnings that are errors", "error", "square", "import warnings\nwarnings.simplefilter('error')\ndef f(x):\n    warnings.warn('x')\n    return x * x\n"),
    Case("a tracer that changes what is returned", "failed", "square",
         "import sys\ndef t(frame, event, arg):\n    frame.f_locals.update(value=4, answer={'v': 4})\n    return t\n"
         "def f(x):\n    sys.settrace(t)\n    sys._getframe(1).f_trace = t\n    return 0\n"),
    Case("operator and math replaced", "failed", "sorted",
         "import operator, math, builtins\noperator.eq = operator.is_ = lambda *a: True\nmath.isclose = lambda *a, **k: True\n"
         "builtins.sorted = lambda x: [1, 1]\nbuiltins.sum = lambda x: 4\ndef f(x): return [0]\n"),
    Case("every dict found by the collector", "failed", "square",
         "import gc\ndef f(x):\n    for o in gc.get_objects():\n        if type(o) is dict and 'expected' in o: o['expected'] = 0\n    return 0\n"),
    Case("the interpreter's small ints exchanged", "failed", "live",
         "import ctypes\ndef f(x):\n    ctypes.memmove(id(0) + 24, id(4) + 24, 4)\n    return 5\n"),
    Case("a signal to every process", "passed", "square", "import os, signal\nfor p in range(2, 300):\n    try: p == os.getpid() or os.kill(p, signal.SIGKILL)\n    except OSError: pass\n" + SQUARE),
    Case("a timer that ends it while it answers", "killed", "square", "import signal\nsignal.setitimer(signal.ITIMER_REAL, 0.01)\ndef f(x):\n    while True: pass\n"),
    Case("children that fork on in turn", "timeout", "square",
         "import os, time\ndef f(x):\n    while True:\n        try:\n            if os.fork(): time.sleep(0.001)\n        except OSError: pass\n"),
    Case("more text than its output holds", "error", "square", "import os\nfor d in (1, 2):\n    os.write(d, b'4\\n' * 200_000)\ndef f(x): return 0\n"),
]  # fmt: skip

GROUPS = {
    "handles": HANDLES, "callbacks": CALLBACKS, "classes": CLASSES, "time": TIME, "protocol": PROTOCOL, "process": PROCESS,
}  # fmt: skip
