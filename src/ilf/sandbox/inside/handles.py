"""Names and objects of the program as the tests see them: whatever is done with them is done over there.

A handle never takes part in a comparison of a function's result: a program's object would otherwise be handed
the expected value and asked whether it is equal.
"""

from __future__ import annotations

import collections
import functools
from collections.abc import Callable
from typing import Any, TypeVar

from .wire import ABILITIES

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


class Opaque(Exception):
    """A result that is not plain data was used as if it were."""


class Name:
    """A global name of the program: calling it calls over; any other use fetches what it stands for."""

    def __init__(self, session: Any, name: str) -> None:
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
    _ilf_session: Any
    _ilf_number: int
    _ilf_name: str

    def __init__(self, session: Any, number: int, name: str) -> None:
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

    def __instancecheck__(self, instance: Any) -> bool:
        return (
            isinstance(instance, Handle)
            and self._ilf_session.operate("isinstance", instance._ilf_number, self) is True
        )

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


class Able(Handle):
    """What objects of some classes can do; a handle of another class has none of it (`wire.ABILITIES`)."""

    __slots__ = ()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call it over there."""
        return self._ilf_session.invoke([self._ilf_number], f"{self._ilf_name}", args, kwargs)

    def __iter__(self) -> Any:
        return self._ilf_session.operate("iter", self._ilf_number)

    def __contains__(self, item: Any) -> bool:
        session = self._ilf_session
        if session.class_under_test:
            if "__contains__" in session.trusted.methods:
                return _exactly(bool, session.operate("contains", self._ilf_number, item))
            if session.trusted.methods.isdisjoint({"__iter__", "__getitem__"}):
                held = session.operate("plain", self._ilf_number)
                return type(held) is tuple and len(held) == 1 and item in held[0]
        items = session.operate("iter", self._ilf_number)
        return any(found is item or found == item for found in items)

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

    async def __aenter__(self) -> Any:
        return self._ilf_session.operate("aenter", self._ilf_number)

    async def __aexit__(self, *rest: Any) -> Any:
        return self._ilf_session.operate("aexit", self._ilf_number)

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

    def __init__(self, session: Any, number: int, name: str) -> None:
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


class HandleAwaitable(Handle):
    """A coroutine, task or future of the program: it runs to its end over there when the test awaits it."""

    __slots__ = ()

    def __await__(self) -> Any:
        yield from ()
        return self._ilf_session.operate("await", self._ilf_number)

    def send(self, value: Any) -> Any:
        """As of a coroutine: `asyncio.run` takes nothing else."""
        raise StopIteration(self._ilf_session.operate("await", self._ilf_number))

    def throw(self, error: BaseException, *rest: Any) -> Any:
        """The test's own loop gave up."""
        raise error

    def close(self) -> None:
        """Nothing runs here."""


class HandleAsyncIterator(Handle):
    """An asynchronous iterator or generator of the program."""

    __slots__ = ()

    def __aiter__(self) -> HandleAsyncIterator:
        return self

    async def __anext__(self) -> Any:
        return self._ilf_session.operate("anext", self._ilf_number)


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


FORWARDED = (
    "lt le gt ge add sub mul truediv floordiv mod pow matmul and_ or_ xor lshift rshift neg pos abs invert "
    "radd rsub rmul rtruediv rfloordiv rmod rpow rand_ ror_ rxor round complex"
)
for _name in FORWARDED.split():
    _dunder = f"__{_name.rstrip('_')}__"
    setattr(Handle, _dunder, _forward(_name))
for _name in ("lt", "le", "gt", "ge"):
    setattr(Handle, f"__{_name}__", lambda self, other, name=_name: _exactly(bool, _own(self, name, other)))
Able.__reversed__ = _forward("reversed")  # type: ignore[attr-defined]
KINDS = {"i": HandleIterator, "a": HandleAwaitable, "g": HandleAsyncIterator}
"""The letter of `program.Program.handle` → what stands for such an object."""


@functools.lru_cache(maxsize=256)
def handle_class(what: str, able: int) -> type[Handle]:
    """What stands for objects that are `what` and have the abilities `able`.

    Args:
        what: a letter of `program.Program.handle`.
        able: the bits of `wire.abilities`. The program says them: it could as well define these methods.
    """
    base = KINDS.get(what, Handle)
    methods = {
        name: vars(Able)[name]
        for number, name in enumerate(ABILITIES)
        if able >> number & 1 and name not in vars(base)
    }
    return type(base.__name__, (base,), {"__slots__": (), **methods})
