"""The program's own process: a fork of the server that runs the program and then the calls it is told to.

Everything here runs in the hands of the program and is believed by nobody: the judge reads the answers as
data. An answer is one line of JSON: `{"v": value}`, `{"x": exception}` or `{"c": reason it cannot cross}`,
with `"m"` where arguments were changed in place.
"""

from __future__ import annotations

import builtins
import contextlib
import gc
import marshal
import os
import sys
from collections import deque
from collections.abc import Callable
from io import BytesIO, StringIO
from operator import is_
from types import CodeType, ModuleType
from typing import Any, no_type_check

from . import codec
from .codec import SAFE_INT, SCALARS, Decoder, Encoder, containers
from .plain import CannotCross
from .streams import Borrowed

ANSWERS = 3  # file descriptor of the file that takes the answers of calls sent along with the program
LIVE = 4  # file descriptor of the socket on which further calls come, where there are any
NAME = "solution"  # the module the program runs as
FILE = "program.py"
MAX_ANSWER = 8 << 20
LOADED = b'{"v":null}'

EXCEPTIONS = frozenset(
    name
    for name, value in vars(builtins).items()
    if isinstance(value, type) and issubclass(value, BaseException)
)


class NeedsLive(Exception):
    """An answer that can only be used by further calls, in a process that was not told to wait for them."""


class Program:
    """The program's module, the objects the judge holds handles of, and the calls."""

    def __init__(self) -> None:
        self.live = False
        self.class_under_test: str | None = None
        self.module = ModuleType(NAME)
        self.objects: list[Any] = []
        self.numbers: dict[int, int] = {}
        """id() of each → its place: one object, one handle."""
        self.borrowed: Borrowed | None = None
        sys.modules[NAME] = self.module

    def load(self, source: str | CodeType) -> bytes | None:
        """Run the module's body, compiled or not; what it raised, if it did, as an answer."""
        try:
            if type(source) is str:
                source = compile(source, FILE, "exec", dont_inherit=True)
            exec(source, self.module.__dict__)
        except BaseException as error:
            return codec.dumps({"x": describe(error)})
        return None

    def handle(self, value: Any) -> Any:
        """A number under which the judge can use `value` later."""
        if not self.live:
            raise NeedsLive
        number = self.numbers.setdefault(id(value), len(self.objects))
        if number == len(self.objects):
            self.objects.append(value)
        kind = type(value)
        name = value.__name__ if isinstance(value, type) else kind.__name__
        what = "t" if isinstance(value, type) else "o"
        for letter, method in (("i", "__next__"), ("a", "__await__"), ("g", "__anext__")):
            if what == "o" and hasattr(kind, method):
                what = letter
        bases = [base.__name__ for base in value.__mro__] if what == "t" else []
        return {"h": [number, str(name), what, bases]}

    def target(self, path: Any) -> Any:
        """The object that a call goes to: a global name, or [handle, attribute]."""
        if type(path) is str:
            namespace = self.module.__dict__
            if path in namespace:
                return namespace[path]
            if hasattr(builtins, path):
                return getattr(builtins, path)
            raise NameError(f"name {path!r} is not defined")
        value = self.objects[path[0]]
        return getattr(value, path[1]) if len(path) > 1 else value

    def call(self, path: Any, args: list[Any], kwargs: dict[str, Any]) -> bytes:
        """Call and answer.

        Most take numbers and text only, or give them back: then nothing is looked at twice. In a fork each
        function and object that is used for the first time is a page or two to copy.
        """
        try:
            boxes: list[Any] = []
            if kwargs or not SCALARS.issuperset(map(type, args)):
                boxes = containers([args, list(kwargs.values())] if kwargs else args)
                before = [_copy(box) for box in boxes]
            try:
                namespace = self.module.__dict__
                function = namespace[path] if type(path) is str and path in namespace else self.target(path)
                value = function(*args, **kwargs)
                answer: dict[str, Any] = {"v": value}
            except BaseException as error:
                value = self  # anything but plain
                answer = {"x": describe(error, self)}
            refs: dict[int, int] = {}
            changed = None
            if boxes:
                refs = {id(box): number for number, box in enumerate(boxes)}
                changed = [(n, box) for n, box in enumerate(boxes) if _changed(box, before[n])] or None
            if changed is None:
                kind = type(value)
                if kind is list:
                    # A copy, as of other values: one too large for it is too large, and not merely slow.
                    answer["v"] = found = list(value)
                    plain = id(value) not in refs and SCALARS.issuperset(map(type, found))
                    if not plain:
                        answer["v"] = value
                else:
                    plain = -SAFE_INT < value < SAFE_INT if kind is int else kind in SCALARS
                if plain:
                    try:
                        line = codec.dumps(answer)
                        if len(line) <= MAX_ANSWER:
                            return line
                    except ValueError:
                        pass  # an int of more digits than Python writes
            return self.encoded(_Encoder(self, refs), answer, changed)
        except NeedsLive:
            raise
        except BaseException as error:
            return codec.dumps({"c": _short(error)})

    def encoded(self, encoder: _Encoder, answer: dict[str, Any], changed: Any) -> bytes:
        """The answer as one line of JSON, or the reason why it cannot cross."""

        def build() -> bytes:
            if "v" in answer:
                out = {**answer, "v": encoder.encode(answer["v"])}
            else:
                out = dict(answer)
            if changed is not None:
                refs = encoder.refs or {}
                out["m"] = []
                for number, box in changed:
                    mine = refs.pop(id(box))
                    out["m"].append([number, encoder.encode(box)])
                    refs[id(box)] = mine
            return codec.dumps(out)

        try:
            try:
                line = build()
            except ValueError:
                encoder.plain = SCALARS - {int}
                line = build()
        except CannotCross as error:
            return codec.dumps({"c": str(error)})
        except RecursionError:
            return codec.dumps({"c": "the value is nested too deeply, or contains itself"})
        if len(line) > MAX_ANSWER:
            return codec.dumps(
                {"c": f"the value takes {len(line) >> 20} MB; at most {MAX_ANSWER >> 20} MB cross"}
            )
        return line


class _Encoder(Encoder):
    def __init__(self, program: Program, refs: dict[int, int] | None = None) -> None:
        super().__init__(refs)
        self.program = program

    def other(self, value: Any) -> Any:
        return self.program.handle(value)

    def unusual(self, value: Any, kind: type) -> Any:
        # An instance of a class under test keeps its methods, also where the class is a kind of list or dict.
        if kind.__name__ == self.program.class_under_test and kind.__module__ == NAME:
            return self.program.handle(value)
        return super().unusual(value, kind)


class _Decoder(Decoder):
    def __init__(self, program: Program) -> None:
        super().__init__()
        self.program = program

    def other(self, tag: str, body: Any) -> Any:
        if tag == "h":
            return self.program.objects[body]
        if tag == "n":
            return self.program.target(body)
        if tag in ("cb", "it"):
            number = body

            def callback(*args: Any, **kwargs: Any) -> Any:
                return _callback(self.program, number, args, kwargs)

            return callback if tag == "cb" else _Items(callback)
        return super().other(tag, body)


class _Items:
    """An iterator of the test's: items are fetched as the program asks for them."""

    def __init__(self, fetch: Any) -> None:
        self.fetch = fetch

    def __iter__(self) -> _Items:
        return self

    def __next__(self) -> Any:
        return self.fetch()


def _copy(box: Any) -> Any:
    if isinstance(box, (StringIO, BytesIO)):
        return None if box.closed else (box.getvalue(), box.tell())
    if isinstance(box, dict):
        return list(dict.items(box))
    if isinstance(box, (set, bytearray)):
        return box.copy()
    if isinstance(box, (list, deque)):
        return list(box)
    return box.tobytes()


def _changed(box: Any, before: Any) -> bool:
    if isinstance(box, (StringIO, BytesIO)):
        return not box.closed and _copy(box) != before
    if isinstance(box, dict):
        if len(box) != len(before):
            return True
        return not all(k is k2 and v is v2 for (k, v), (k2, v2) in zip(dict.items(box), before, strict=True))
    if isinstance(box, (set, bytearray)):
        return bool(box != before)
    if isinstance(box, (list, deque)):
        return len(box) != len(before) or not all(map(is_, box, before))
    return bool(box.tobytes() != before)


def _short(error: BaseException) -> str:
    try:
        return f"{type(error).__name__}: {error}"[:300]
    except BaseException:
        return "an exception that cannot be shown"


def describe(error: BaseException, program: Program | None = None) -> dict[str, Any]:
    """An exception as data: its type and built-in bases, its text, and its line in the program."""
    kind = type(error)
    bases = [
        base.__name__
        for base in kind.__mro__
        if base.__module__ == "builtins" and base.__name__ in EXCEPTIONS
    ]
    try:
        text = str(error)
    except BaseException:
        text = "?"
    line = None
    try:
        trace = error.__traceback__
        while trace is not None:
            if trace.tb_frame.f_code.co_filename == FILE:
                line = trace.tb_lineno
            trace = trace.tb_next
        if isinstance(error, SyntaxError) and line is None and error.filename == FILE:
            line, text = error.lineno, str(error.msg)
    except BaseException:
        pass
    out: dict[str, Any] = {
        "type": str(kind.__name__)[:100],
        "bases": bases,
        "text": text[:2000],
        "line": line,
    }
    try:
        out["args"] = Encoder().encode(list(error.args))
        if len(codec.dumps(out["args"])) > 10000:
            del out["args"]
    except BaseException:
        out.pop("args", None)
    return out


def _send(descriptor: int, data: bytes, framed: bool) -> None:
    data = len(data).to_bytes(4, "little") + data if framed else data + b"\n"
    written = os.write(descriptor, data)
    while written < len(data):
        written += os.write(descriptor, memoryview(data)[written:])


def _receive() -> Any:
    size = int.from_bytes(_exactly(4), "little")
    return codec.loads(_exactly(size))


def _exactly(size: int) -> bytes:
    parts = []
    while size:
        part = os.read(LIVE, min(size, 1 << 20))
        if not part:
            os._exit(0)
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def _callback(program: Program, number: int, args: Any, kwargs: Any) -> Any:
    encoder = _Encoder(program)
    keywords = {key: encoder.encode(value) for key, value in kwargs.items()}
    _say(program, codec.dumps({"cb": [number, encoder.items(args), keywords]}))
    answer = _serve_until_result(program)
    if "x" in answer:
        kind = getattr(builtins, answer["x"], Exception)
        raise kind(answer.get("text", ""))
    return _Decoder(program).decode(answer["v"])


def _serve_until_result(program: Program) -> Any:
    while True:
        message = _receive()
        if "result" in message:
            return message["result"]
        _reply(program, message)


def _say(program: Program, line: bytes) -> None:
    _send(LIVE, line if program.borrowed is None else program.borrowed.answer(line), True)


def _reply(program: Program, message: dict[str, Any]) -> None:
    """Answer one message, with the streams that the tests lend for it."""
    if "streams" not in message:
        _send(LIVE, live_answer(program, message), True)
        return
    before = program.borrowed
    program.borrowed = borrowed = Borrowed(message["streams"], _Decoder(program).decode)
    try:
        _say(program, live_answer(program, message))
    finally:
        borrowed.give_back()
        program.borrowed = before


def live_answer(program: Program, message: dict[str, Any]) -> bytes:
    """Do what the judge asks (a call, an attribute, an operator, the next item …) and answer."""
    operation = message["op"]
    encoder = _Encoder(program)
    decoder = _Decoder(program)
    if operation == "call":
        try:
            args = decoder.items(message["args"])
            kwargs = {key: decoder.decode(value) for key, value in message["kw"].items()}
        except BaseException as error:
            return codec.dumps({"c": _short(error)})
        return program.call(message["on"], args, kwargs)
    answer: dict[str, Any]
    try:
        if operation == "name":
            answer = {"v": program.target(message["on"])}
        elif operation == "take":
            answer = _take(program, program.objects[message["on"]], message["args"][0])
        else:
            on = program.objects[message["on"]]
            args = decoder.items(message["args"])
            answer = {"v": OPERATIONS[operation](on, *args)}
    except BaseException as error:
        answer = {"x": describe(error, program)}
    try:
        return program.encoded(encoder, answer, None)
    except BaseException as error:
        return codec.dumps({"c": _short(error)})


def _take(program: Program, iterator: Any, count: int) -> dict[str, Any]:
    """Up to `count` items of an iterator, and the exception that ended it, if one did."""
    items: list[Any] = []
    try:
        for _ in range(count):
            items.append(next(iterator))
    except BaseException as error:
        return {"v": items, "end": describe(error, program)}
    return {"v": items}


def _plain(value: Any) -> tuple[Any, ...]:
    """What an object of a class made from list, dict … holds, without what the class adds; else ()."""
    bases: tuple[Any, ...] = (str, int, float, tuple, list, set, frozenset, bytes)
    for base in bases:
        if isinstance(value, base):
            return (base(value),)
    return (dict(dict.items(value)),) if isinstance(value, dict) else ()


def _class_of(value: Any, kind: Any) -> bool:
    return isinstance(value, kind)


def _state(value: Any) -> Any:
    kind: Any = type(value)
    if kind.__eq__ is object.__eq__:  # two such objects are equal where they are one
        return [kind.__name__, id(value)]
    names = list(getattr(value, "__dict__", {}))
    for base in type(value).__mro__:
        slots = base.__dict__.get("__slots__", ())
        names += [slots] if isinstance(slots, str) else list(slots)
    return [type(value).__name__, {name: getattr(value, name) for name in names if hasattr(value, name)}]


def _await(value: Any) -> Any:
    """What an awaitable gives; all of a program's run in one loop, which its locks and tasks belong to."""
    import asyncio

    if not LOOP:
        LOOP.append(asyncio.new_event_loop())
        asyncio.set_event_loop(LOOP[0])
    return LOOP[0].run_until_complete(value)


LOOP: list[Any] = []


async def _anext(iterator: Any) -> Any:
    return await anext(iterator)


OPERATORS = (
    "add sub mul truediv floordiv mod pow matmul and_ or_ xor lshift rshift neg pos abs invert "
    "eq ne lt le gt ge contains getitem setitem delitem index iadd isub imul"
)


def _operations() -> dict[str, Any]:
    import operator

    table: dict[str, Any] = {name: getattr(operator, name) for name in OPERATORS.split()}
    for name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "and_", "or_", "xor"):
        table["r" + name] = lambda a, b, op=table[name]: op(b, a)
    table |= {
        "getattr": getattr, "setattr": setattr, "delattr": delattr, "len": len, "iter": iter,
        "bool": bool, "str": str, "repr": repr, "int": int, "float": float, "hash": hash, "round": round,
        "isinstance": _class_of, "state": _state, "plain": _plain, "reversed": reversed,
        "complex": complex, "format": format,
        "await": _await, "anext": lambda value: _await(_anext(value)),
        "aenter": lambda value: _await(value.__aenter__()),
        "aexit": lambda value: _await(value.__aexit__(None, None, None)),
        "enter": lambda value: value.__enter__(), "exit": lambda value: value.__exit__(None, None, None),
    }  # fmt: skip
    return table


OPERATIONS = _operations()


BATCH, LIVE_CALLS, SHARED, EXPRESSION = b"blse"


def run(
    mode: int, request: memoryview, answers: int = ANSWERS, leave: Callable[[int], object] = os._exit
) -> None:
    """Run one program to its end. Never returns: the process ends here.

    Args:
        mode: `b` all calls came along (batch), `l` live calls follow, `s` the tests came along (shared),
            `e` an expression to evaluate.
        request: marshal of (source, or the program compiled; random seed or None; the entry point where it
            is a class; what the mode needs).
        answers: descriptor that takes the answers.
        leave: ends the process.
    """
    status = 0
    try:
        gc.enable()
        source, seed, kind, rest = marshal.loads(request)
        if seed is not None or "random" in sys.modules:
            import random

            random.seed(seed or 0)
        live = mode == LIVE_CALLS
        program = PROGRAM
        program.live, program.class_under_test = live, kind
        raised = program.load(source)
        _send(LIVE if live else answers, raised or LOADED, live)
        if raised is not None:
            pass
        elif mode == BATCH:
            for path, args, kwargs in rest:
                _send(answers, program.call(path, args, kwargs), False)
        elif live:
            while True:
                _reply(program, _receive())
        elif mode == SHARED:
            _shared(program, rest)
        elif mode == EXPRESSION:
            _evaluate(program, rest)
    except NeedsLive:
        _send(answers, b'{"live":1}', False)
    except BaseException as error:
        status = 1
        with contextlib.suppress(BaseException):
            _send(answers, codec.dumps({"c": _short(error)}), False)
    finally:
        with contextlib.suppress(BaseException):
            sys.stdout.flush()
        leave(status)


PROGRAM = Program()
"""Made beforehand, once: each program's process has its own copy."""


@no_type_check
def _rehearsal():
    global f, g, math
    import math

    def f(xs, k=1):
        seen, out = {}, []
        for i, x in enumerate(xs):
            if x not in seen and len(out) < 10:
                seen[x] = i
                out.append(str(x).strip())
        return [tuple(sorted(out)), max(k, 2) + sum(range(3)), " ".join(out), set(), {1: 2.0}, None, True]

    def g(x):
        while x > 1:
            x = x // 2 if x % 2 == 0 else 3 * x + 1
        return int(x)


# A function's code, not text: what is left of compiling in the server's memory, every fork would copy.
REHEARSAL = marshal.dumps(
    (
        _rehearsal.__code__, None, None,
        [["f", [[3, 1, 3]], {}], ["g", [6], {}], ["f", [["a", "b"], 2], {}]],
    )
)  # fmt: skip


def rehearse(nowhere: int) -> None:
    """Run a harmless program, its answers going to the descriptor `nowhere`."""
    run(BATCH, memoryview(bytearray(REHEARSAL)), nowhere, int)


def settle() -> None:
    """Forget the rehearsals."""
    gc.disable()
    PROGRAM.__init__()  # type: ignore[misc]


def _shared(program: Program, sources: list[str]) -> None:
    # The weaker way, for suites that need it: the program could forge these answers.
    namespace = program.module.__dict__
    for source in sources:
        try:
            exec(compile(source, "test.py", "exec", dont_inherit=True), namespace)
            answer: dict[str, Any] = {"v": None}
        except BaseException as error:
            answer = {"x": describe(error)}
        _send(ANSWERS, codec.dumps(answer), False)


def _evaluate(program: Program, expression: str) -> None:
    namespace = program.module.__dict__
    try:
        try:
            value = eval(compile(expression, "input", "eval", dont_inherit=True), namespace)
        except SyntaxError:
            exec(compile(expression, "input", "exec", dont_inherit=True), namespace)
            value = None
        if hasattr(type(value), "__next__"):
            from itertools import islice

            value = list(islice(value, 1000))
        answer: dict[str, Any] = {"v": None if value is None else repr(value)[:100_000]}
    except BaseException as error:
        answer = {"x": describe(error)}
    _send(ANSWERS, codec.dumps(answer), False)
