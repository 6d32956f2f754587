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
from collections.abc import Callable
from types import CodeType, ModuleType
from typing import Any

from . import codec
from .boxes import changed, copy
from .codec import SAFE_INT, SCALARS, Decoder, Encoder, containers
from .common import Common
from .exceptions import FILE, describe, short
from .operations import OPERATIONS, Items
from .plain import CannotCross
from .rehearsal import REHEARSAL
from .streams import Borrowed
from .wire import ANSWERS, LIVE, abilities, receive, send

NAME = "solution"  # the module the program runs as
MAX_ANSWER = 8 << 20
LOADED = b'{"v":null}'


class NeedsLive(Exception):
    """An answer that can only be used by further calls, in a process that was not told to wait for them."""


class Program:
    """The program's module, the objects the judge holds handles of, and the calls."""

    def __init__(self) -> None:
        self.live = False
        self.class_under_test: str | None = None
        self.module = ModuleType(NAME)
        self.objects: list[Any] = []
        self.files: Any = None
        self.common: Common | None = None
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
        return {"h": [number, str(name), what, bases, abilities(value)]}

    def target(self, path: Any) -> Any:
        """The object that a call goes to: a global name, or [handle, attribute]."""
        if type(path) is str:
            if path in self.module.__dict__:
                return self.module.__dict__[path]
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
                boxes = containers([args, list(kwargs.values())], self.common is not None)
                before = [copy(box) for box in boxes]
            try:
                namespace = self.module.__dict__
                function = namespace[path] if type(path) is str and path in namespace else self.target(path)
                value = function(*args, **kwargs)
                answer: dict[str, Any] = {"v": value}
            except BaseException as error:
                value = self  # anything but plain
                answer = {"x": describe(error)}
            refs: dict[int, int] = {}
            moved = None
            if boxes:
                refs = {id(box): number for number, box in enumerate(boxes)}
                moved = [(n, box) for n, box in enumerate(boxes) if changed(box, before[n])] or None
            if moved is None:
                kind = type(value)
                if kind is list:
                    # A copy, as of other values: one too large for it is too large, and not merely slow.
                    answer["v"] = found = list(value)
                    plain = id(value) not in refs and SCALARS.issuperset(map(type, found))
                    if not plain or self.common is not None:
                        answer["v"] = value
                else:
                    plain = -SAFE_INT < value < SAFE_INT if kind is int else kind in SCALARS
                if plain and self.common is None:
                    try:
                        line = codec.dumps(answer)
                        if len(line) <= MAX_ANSWER:
                            return line
                    except ValueError:
                        pass  # an int of more digits than Python writes
            return self.encoded(_Encoder(self, refs), answer, moved)
        except NeedsLive:
            raise
        except BaseException as error:
            return codec.dumps({"c": short(error)})

    def encoded(self, encoder: _Encoder, answer: dict[str, Any], moved: Any) -> bytes:
        """The answer as one line of JSON, or the reason why it cannot cross."""

        def build() -> bytes:
            common = None if self.common is None else self.common.changes(encoder)
            if "v" in answer:
                out = {**answer, "v": encoder.encode(answer["v"])}
            else:
                out = dict(answer)
            if common is not None:
                out["common"] = common
            if moved is not None:
                refs = encoder.refs or {}
                out["m"] = []
                for number, box in moved:
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
        super().__init__(refs, program.common)
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
        super().__init__(None, program.common)
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

            return callback if tag == "cb" else Items(callback)
        return super().other(tag, body)


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
        message = receive()
        if "result" in message:
            return message["result"]
        _reply(program, message)


def _say(program: Program, line: bytes) -> None:
    """A message to the judge, with what was printed and which files were changed until then."""
    if program.borrowed is not None:
        line = program.borrowed.answer(line)
    if program.files is not None:
        try:
            line = b'{"files":' + codec.dumps(program.files.changes()) + b"," + line[1:]
        except (CannotCross, OSError) as error:
            line = codec.dumps({"c": short(error)})
    send(LIVE, line, True)


def _reply(program: Program, message: dict[str, Any]) -> None:
    """Answer one message, with the streams that the tests lend for it."""
    if "common" in message:
        program.common = program.common or Common(1)
        program.common.take(message["common"], _Decoder(program))
    if "files" in message:
        from .files import Files  # few programs need it

        program.files = program.files or Files()
        program.files.take(message["files"])
    if "streams" not in message:
        _say(program, live_answer(program, message))
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
            return codec.dumps({"c": short(error)})
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
        answer = {"x": describe(error)}
    try:
        return program.encoded(encoder, answer, None)
    except BaseException as error:
        return codec.dumps({"c": short(error)})


def _take(program: Program, iterator: Any, count: int) -> dict[str, Any]:
    """Up to `count` items of an iterator, and the exception that ended it, if one did."""
    items: list[Any] = []
    try:
        for _ in range(count):
            items.append(next(iterator))
    except BaseException as error:
        return {"v": items, "end": describe(error)}
    return {"v": items}


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
        send(LIVE if live else answers, raised or LOADED, live)
        if raised is not None:
            pass
        elif mode == BATCH:
            for path, args, kwargs in rest:
                send(answers, program.call(path, args, kwargs), False)
        elif live:
            while True:
                _reply(program, receive())
        elif mode == SHARED:
            _shared(program, rest)
        elif mode == EXPRESSION:
            _evaluate(program, rest)
    except NeedsLive:
        send(answers, b'{"live":1}', False)
    except BaseException as error:
        status = 1
        with contextlib.suppress(BaseException):
            send(answers, codec.dumps({"c": short(error)}), False)
    finally:
        with contextlib.suppress(BaseException):
            sys.stdout.flush()
        leave(status)


PROGRAM = Program()
"""Made beforehand, once: each program's process has its own copy."""


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
        send(ANSWERS, codec.dumps(answer), False)


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
    send(ANSWERS, codec.dumps(answer), False)
