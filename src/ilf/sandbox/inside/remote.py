"""The program as the tests see it: names that call over, and handles of objects that stay there.

What comes back is plain data (`codec`) or a handle. A handle never takes part in a comparison of a function's
result: a program's object would otherwise be handed the expected value and asked whether it is equal.
"""

from __future__ import annotations

import builtins
import collections
from collections.abc import Callable
from typing import Any, TypeVar

from . import codec
from .codec import CannotCross, Decoder, Encoder, containers
from .plan import Trusted

T = TypeVar("T")
PREDICATES = frozenset(
    name
    for kind in (str, bytes, int, float, set, dict, list, tuple)
    for name in vars(kind)
    if name.startswith("is") or name in ("startswith", "endswith")
) | {"all", "any", "equals"}
"""Methods of plain data (and of arrays) whose answer alone decides a test."""
TAKE_EXPECTED = frozenset(
    {"count", "index", "find", "rfind", "rindex", "difference", "symmetric_difference", "intersection"}
    | {"compare", "compare_signal", "compare_total"}
)
"""Methods that are handed what is expected. An attribute of such a name that is data may be read."""
COMPARISONS = ("eq", "ne", "lt", "le", "gt", "ge")


class ProgramGone(BaseException):
    """The program's process has ended, or broke a limit; no test can go on."""


class Opaque(Exception):
    """A result that is not plain data was used as if it were."""


class ProgramError(Exception):
    """An exception of a type that only the program knows."""


class Session:
    """One program under test: sends calls, or takes the answers that came ahead, and keeps what it saw."""

    def __init__(
        self, exchange: Callable[[bytes], bytes] | None, ahead: list[bytes], trusted: Trusted
    ) -> None:
        self.exchange = exchange
        self.ahead = ahead
        self.position = 0
        self.trusted = trusted
        self.class_under_test = trusted.class_under_test
        self.gone = False
        self.needs_live = False
        self.answers = 0
        """How often the program has said something."""
        self.call: tuple[str, Any, Any] | None = None
        self.returned: Any = None
        self.has_returned = False
        self.error: dict[str, Any] | None = None
        self.raised: BaseException | None = None
        self.callbacks: list[Any] = []
        self.classes: dict[str, type[BaseException]] = {}

    def ended(self) -> bool:
        """Whether the program's process has ended."""
        return self.gone

    def begin_test(self) -> None:
        """Forget what earlier tests saw."""
        self.call = self.error = self.raised = None
        self.has_returned = False

    def message(self, head: dict[str, Any], args: list[Any], kwargs: dict[str, Any]) -> bytes:
        """A message to the program, with its arguments as data."""
        encoder = _Encoder(self)

        def build() -> bytes:
            words = {key: encoder.encode(value) for key, value in kwargs.items()}
            return codec.dumps({**head, "args": encoder.items(args), "kw": words})

        try:
            return build()
        except ValueError:  # an int of more digits than Python writes
            encoder.plain = codec.SCALARS - {int}
            return build()

    def answer(
        self, head: dict[str, Any], args: list[Any] | None = None, kwargs: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Send a message (live) or take the next answer that came ahead."""
        if self.gone:
            raise ProgramGone
        self.answers += 1
        if self.exchange is None:
            if head["op"] != "call":
                self.needs_live = self.gone = True
                raise ProgramGone
            if self.position >= len(self.ahead):
                self.gone = True
                raise ProgramGone
            line = self.ahead[self.position]
            self.position += 1
        else:
            line = self.exchange(self.message(head, args or [], kwargs or {}))
        while True:
            try:
                reply = codec.loads(line)
            except (ValueError, RecursionError):
                raise Opaque("the program sent something that is no answer") from None
            if type(reply) is not dict:
                raise Opaque("the program sent something that is no answer")
            if "live" in reply and self.exchange is None:
                self.needs_live = self.gone = True
                raise ProgramGone
            if "cb" not in reply or self.exchange is None:
                return reply
            line = self.exchange(codec.dumps({"result": self.call_back(reply["cb"])}))

    def call_back(self, body: Any) -> dict[str, Any]:
        """The program calls a function that a test passed as an argument."""
        try:
            number, args, keywords = body
            decoder = _Decoder(self)
            function = self.callbacks[number]
            result = function(
                *decoder.items(args), **{str(k): decoder.decode(v) for k, v in keywords.items()}
            )
            return {"v": _Encoder(self).encode(result)}
        except Exception as error:
            name = type(error).__name__
            return {"x": name if hasattr(builtins, name) else "Exception", "text": str(error)[:1000]}

    def invoke(self, target: Any, shown: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call something of the program's."""
        self.call = (shown, args, kwargs)
        self.has_returned = False
        self.error = None
        arguments = list(args)
        reply = self.answer({"op": "call", "on": target}, arguments, kwargs)
        boxes = None
        if "m" in reply or type(reply.get("v")) is not str:
            boxes = containers([arguments, list(kwargs.values())] if kwargs else arguments)
        try:
            return self.result(reply, boxes)
        except StopIteration as error:
            if type(target) is not str or self.class_under_test or self.trusted.stops:
                raise
            # As in a generator (PEP 479): it would end the test's own loop, and nothing more would be asked.
            self.raised = RuntimeError("the program raised StopIteration")
            raise self.raised from error

    def operate(self, operation: str, on: int, *args: Any) -> Any:
        """An operation on an object that stayed with the program."""
        return self.result(self.answer({"op": operation, "on": on}, list(args)), None)

    def name(self, name: str) -> Any:
        """A global of the program that is used without being called."""
        return self.result(self.answer({"op": "name", "on": name}), None)

    def result(self, reply: dict[str, Any], boxes: list[Any] | None) -> Any:
        """What an answer stands for: a value, or an exception to raise. Changed arguments change here too."""
        decoder = _Decoder(self, boxes)
        try:
            if "m" in reply and boxes is not None:
                for number, content in reply["m"]:
                    mine = dict(enumerate(boxes))
                    _refill(mine[number], decoder.decode(content))
            if "x" in reply:
                self.error = reply["x"]
                raise self.exception(reply["x"])
            if "c" in reply:
                raise Opaque(f"the result cannot cross to the tests: {str(reply['c'])[:300]}")
            value = decoder.decode(reply["v"])
        except (CannotCross, KeyError, IndexError, OverflowError, RecursionError) as error:
            if "x" in reply:
                raise
            raise Opaque(f"the result cannot cross to the tests: {type(error).__name__}: {error}") from None
        except (ValueError, TypeError, ArithmeticError) as error:
            if "x" in reply:
                raise
            raise Opaque(f"the result is malformed: {error}") from None
        self.returned = value
        self.has_returned = True
        return value

    def exception(self, body: Any) -> BaseException:
        """The exception that the program raised, as an instance of its built-in type."""
        if type(body) is not dict or type(body.get("bases")) is not list:
            raise Opaque("the program sent something that is no answer")
        text = str(body.get("text", ""))
        name = str(body.get("type", "Exception"))[:100]
        kind: Any = ProgramError
        for base in body["bases"]:
            found = getattr(builtins, base, None) if type(base) is str else None
            if isinstance(found, type) and issubclass(found, BaseException):
                kind = found
                break
        if kind.__name__ != name:
            kind = self.mirror(name, kind)
        try:
            args = _Decoder(self).items(body["args"])
            error: BaseException = kind(*args)
        except Exception:
            try:
                error = kind(text)
            except Exception:
                error = ProgramError(f"{name}: {text}")
        self.raised = error
        return error

    def mirror(self, name: str, base: type[BaseException]) -> type[BaseException]:
        """A stand-in for an exception class of the program's own."""
        kind = self.classes.get(name)
        if kind is None or not issubclass(kind, base):
            kind = self.classes[name] = type(name, (base,), {"__module__": "program"})
        return kind


def _refill(box: Any, value: Any) -> None:
    """Give the judge's own container the contents that the program left in its copy."""
    if isinstance(box, list):
        box[:] = value
    elif isinstance(box, (dict, set)):
        box.clear()
        box.update(value)
    elif isinstance(box, bytearray):
        box[:] = bytes(value)
    elif isinstance(box, collections.deque):
        box.clear()
        box.extend(value)
    else:
        box[...] = value


class _Encoder(Encoder):
    """Arguments to the program."""

    def __init__(self, session: Session) -> None:
        super().__init__()
        self.session = session

    def other(self, value: Any) -> Any:
        kind = type(value)
        if issubclass(kind, Handle):
            return {"h": object.__getattribute__(value, "_ilf_number")}
        if kind is Name:
            return {"n": value.name}
        if isinstance(value, type) and issubclass(value, BaseException) and hasattr(builtins, value.__name__):
            return {"n": value.__name__}
        name = getattr(value, "__name__", "")
        if kind.__name__ == "builtin_function_or_method" and getattr(builtins, name, None) is value:
            return {"n": name}
        if hasattr(kind, "__next__"):
            return self.encode(list(value))
        if callable(value):
            self.session.callbacks.append(value)
            return {"cb": len(self.session.callbacks) - 1}
        raise CannotCross(f"an argument of type {kind.__name__} is not plain data")


class _Decoder(Decoder):
    def __init__(self, session: Session, objects: list[Any] | None = None) -> None:
        super().__init__(objects)
        self.session = session

    def other(self, tag: str, body: Any) -> Any:
        if tag == "h" and self.session.exchange is not None:
            number, name, what, bases = body
            if type(number) is not int or type(name) is not str:
                raise CannotCross("a handle was expected")
            if what == "t" and type(bases) is list and "BaseException" in bases:
                return self.exception_class(name, bases)
            kind = HandleIterator if what == "i" else Handle
            return kind(self.session, number, name[:100])
        return super().other(tag, body)

    def exception_class(self, name: str, bases: list[Any]) -> type[BaseException]:
        """The built-in class of that name, or a stand-in for the program's own."""
        if name in bases[:1] and isinstance(getattr(builtins, name, None), type):
            found: type[BaseException] = getattr(builtins, name)
            return found
        for base in bases:
            kind = getattr(builtins, base, None) if type(base) is str else None
            if isinstance(kind, type) and issubclass(kind, BaseException):
                return self.session.mirror(name, kind)
        raise CannotCross("an exception class was expected")


class Name:
    """A global name of the program: calling it calls over; any other use fetches what it stands for."""

    def __init__(self, session: Session, name: str) -> None:
        self.session = session
        self.name = name
        self.value: Any = None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call it over there."""
        return self.session.invoke(self.name, self.name, args, kwargs)

    def __getattr__(self, attribute: str) -> Any:
        if attribute == "__name__":
            return self.name
        return getattr(self._fetch(), attribute)

    def _fetch(self) -> Any:
        if self.value is None:
            self.value = (self.session.name(self.name),)
        return self.value[0]

    def __instancecheck__(self, instance: Any) -> bool:
        return isinstance(instance, self._fetch())

    def __iter__(self) -> Any:
        return iter(self._fetch())

    def __len__(self) -> int:
        return len(self._fetch())

    def __getitem__(self, key: Any) -> Any:
        return self._fetch()[key]

    def __eq__(self, other: Any) -> Any:
        return self._fetch() == other

    __hash__ = object.__hash__


class Handle:
    """An object that stays with the program; attributes, methods and operators are calls."""

    __slots__ = ("_ilf_name", "_ilf_number", "_ilf_session")
    _ilf_session: Session
    _ilf_number: int
    _ilf_name: str

    def __init__(self, session: Session, number: int, name: str) -> None:
        object.__setattr__(self, "_ilf_session", session)
        object.__setattr__(self, "_ilf_number", number)
        object.__setattr__(self, "_ilf_name", name)

    def __getattr__(self, attribute: str) -> Any:
        if attribute.startswith("__array_"):  # numpy would read memory there, or hand over what it computed
            raise AttributeError(attribute)
        if attribute in PREDICATES and attribute not in self._ilf_session.trusted.methods:
            raise _opaque(self)
        value = self._ilf_session.operate("getattr", self._ilf_number, attribute)
        own = attribute in self._ilf_session.trusted.methods
        if attribute in TAKE_EXPECTED and not own and isinstance(value, Handle):
            raise _opaque(self)
        return value

    def __setattr__(self, attribute: str, value: Any) -> None:
        self._ilf_session.operate("setattr", self._ilf_number, attribute, value)

    def __delattr__(self, attribute: str) -> None:
        self._ilf_session.operate("delattr", self._ilf_number, attribute)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call it over there."""
        return self._ilf_session.invoke([self._ilf_number], f"{self._ilf_name}", args, kwargs)

    def __instancecheck__(self, instance: Any) -> bool:
        return (
            isinstance(instance, Handle)
            and self._ilf_session.operate("isinstance", instance._ilf_number, self) is True
        )

    def __iter__(self) -> Any:
        return self._ilf_session.operate("iter", self._ilf_number)

    def __eq__(self, other: Any) -> Any:
        return _equal(self, other)

    def __ne__(self, other: Any) -> Any:
        if isinstance(other, Handle) and self._ilf_session.class_under_test:
            return self._ilf_session.operate("ne", self._ilf_number, other)
        return not _equal(self, other)

    def __hash__(self) -> int:
        return self._ilf_number

    def __repr__(self) -> str:
        session = self._ilf_session
        if "__repr__" in session.trusted.methods and not session.gone:
            return _exactly(str, session.operate("repr", self._ilf_number))
        return f"<{self._ilf_name} object of the program>"

    def __str__(self) -> str:
        return _exactly(str, self._ilf_session.operate("str", self._ilf_number))

    def __format__(self, spec: str) -> str:
        return _exactly(str, self._ilf_session.operate("format", self._ilf_number, spec))

    def __bool__(self) -> bool:
        # An answer as good as True or False, which the program could have returned itself.
        return _exactly(bool, self._ilf_session.operate("bool", self._ilf_number))

    def __contains__(self, item: Any) -> bool:
        session = self._ilf_session
        if session.class_under_test:
            if "__contains__" in session.trusted.methods:
                return _exactly(bool, session.operate("contains", self._ilf_number, item))
            if session.trusted.methods.isdisjoint({"__iter__", "__getitem__"}):
                held = session.operate("plain", self._ilf_number)
                return type(held) is tuple and len(held) == 1 and item in held[0]
        return any(found is item or found == item for found in self)

    def __len__(self) -> int:
        return _exactly(int, self._ilf_session.operate("len", self._ilf_number))

    def __getitem__(self, key: Any) -> Any:
        return self._ilf_session.operate("getitem", self._ilf_number, key)

    def __setitem__(self, key: Any, value: Any) -> None:
        self._ilf_session.operate("setitem", self._ilf_number, key, value)

    def __delitem__(self, key: Any) -> None:
        self._ilf_session.operate("delitem", self._ilf_number, key)

    def __enter__(self) -> Any:
        return self._ilf_session.operate("enter", self._ilf_number)

    def __exit__(self, *rest: Any) -> Any:
        return self._ilf_session.operate("exit", self._ilf_number)

    def __int__(self) -> int:
        return _exactly(int, self._ilf_session.operate("int", self._ilf_number))

    def __float__(self) -> float:
        return _exactly(float, self._ilf_session.operate("float", self._ilf_number))

    def __index__(self) -> int:
        return _exactly(int, self._ilf_session.operate("index", self._ilf_number))


class HandleIterator(Handle):
    """An iterator or generator of the program.

    Items are fetched as the test asks for them: one at a time at first, then in growing batches, so that a
    long one is quick and an endless one runs ahead of the test by no more than the test has already taken.
    """

    __slots__ = ("_ilf_end", "_ilf_items", "_ilf_taken")

    def __init__(self, session: Session, number: int, name: str) -> None:
        super().__init__(session, number, name)
        object.__setattr__(self, "_ilf_items", collections.deque())
        object.__setattr__(self, "_ilf_taken", 0)
        object.__setattr__(self, "_ilf_end", None)

    def __iter__(self) -> HandleIterator:
        return self

    def __next__(self) -> Any:
        items: collections.deque[Any] = object.__getattribute__(self, "_ilf_items")
        if not items:
            end = object.__getattribute__(self, "_ilf_end")
            if end is None:
                end = self._fetch(items)
            if not items:
                object.__setattr__(self, "_ilf_end", None)
                session = self._ilf_session
                session.error = end
                raise session.exception(end)
        return items.popleft()

    def _fetch(self, items: collections.deque[Any]) -> Any:
        taken: int = object.__getattribute__(self, "_ilf_taken")
        count = 1 if taken < 4 else min(taken // 2, 1024)
        reply = self._ilf_session.answer({"op": "take", "on": self._ilf_number}, [count])
        found = self._ilf_session.result(reply, None)
        if type(found) is not list or len(found) > count:
            raise Opaque("the program sent something that is no answer")
        items.extend(found)
        object.__setattr__(self, "_ilf_taken", taken + len(found))
        end = reply.get("end")
        if end is None and not found:
            raise Opaque("the program sent something that is no answer")
        object.__setattr__(self, "_ilf_end", end)
        return end


def _exactly(kind: type[T], value: Any) -> T:
    if type(value) is not kind:
        raise Opaque(f"{kind.__name__} was expected from the program, {type(value).__name__} came")
    return value


def _opaque(handle: Handle) -> Opaque:
    return Opaque(
        f"the result is an object of type {handle._ilf_name}, which is no plain data: it cannot cross"
    )


def _own(handle: Handle, operation: str, *args: Any) -> Any:
    """An operator that is handed the test's own data. Only the one of a class under test is asked, where the
    trusted class has that operator: any other object could be equal to everything.
    """
    session = handle._ilf_session
    name = operation.rstrip("_")
    related = COMPARISONS if name in COMPARISONS else (name, name.removeprefix("r"))
    if not session.class_under_test or session.trusted.methods.isdisjoint(f"__{name}__" for name in related):
        raise _opaque(handle)
    return session.operate(operation, handle._ilf_number, *args)


def _equal(left: Handle, right: Any) -> bool:
    session = left._ilf_session
    if not isinstance(right, Handle):
        if session.class_under_test and session.trusted.methods.isdisjoint({"__eq__", "__ne__"}):
            # A class made from list, dict …: what it holds is compared here.
            return bool(session.operate("plain", left._ilf_number) == (right,))
        return bool(_exactly(bool, _own(left, "eq", right)))
    if session.class_under_test:
        return bool(_exactly(bool, session.operate("eq", left._ilf_number, right)))
    if left._ilf_number == right._ilf_number:
        return True
    # The program's own __eq__ is not asked: two objects are equal if they hold equal plain data.
    mine, theirs = (session.operate("state", item._ilf_number) for item in (left, right))
    return bool(mine == theirs)


def _forward(name: str) -> Callable[..., Any]:
    def operator(self: Handle, *args: Any) -> Any:
        if args and not isinstance(args[0], Handle):
            return _own(self, name, *args)
        return self._ilf_session.operate(name, self._ilf_number, *args)

    return operator


for _name in [
    "lt",
    "le",
    "gt",
    "ge",
    "add",
    "sub",
    "mul",
    "truediv",
    "floordiv",
    "mod",
    "pow",
    "matmul",
    "and_",
    "or_",
    "xor",
    "lshift",
    "rshift",
    "neg",
    "pos",
    "abs",
    "invert",
    "radd",
    "rsub",
    "rmul",
    "rtruediv",
    "rfloordiv",
    "rmod",
    "rpow",
    "rand_",
    "ror_",
    "rxor",
    "round",
    "reversed",
    "complex",
]:
    _dunder = f"__{_name.rstrip('_')}__"
    setattr(Handle, _dunder, _forward(_name))
for _name in ("lt", "le", "gt", "ge"):
    setattr(Handle, f"__{_name}__", lambda self, other, name=_name: _exactly(bool, _own(self, name, other)))
