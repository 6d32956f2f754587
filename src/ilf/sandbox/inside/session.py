"""A conversation with the program: calls go out as data, answers come back as data or as handles."""

from __future__ import annotations

import builtins
from collections.abc import Callable
from typing import Any

from . import codec
from .boxes import refill
from .codec import Decoder, Encoder, containers
from .common import Common
from .files import Files
from .handles import Handle, Name, Opaque, handle_class
from .plain import CannotCross
from .plan import Trusted
from .streams import Lent


class ProgramGone(BaseException):
    """The program's process has ended, or broke a limit; no test can go on."""


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
        self.lent = Lent()
        self.files: Files | None = None
        shared = trusted.class_under_test or trusted.kept
        self.common: Common | None = Common(0) if shared else None
        self.handles: dict[int, Handle] = {}

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
            common = None if self.common is None else self.common.changes(encoder)
            words = {key: encoder.encode(value) for key, value in kwargs.items()}
            message = {**head, "args": encoder.items(args), "kw": words}
            if changed is not None:
                message["streams"] = changed
            if common is not None:
                message["common"] = common
            if files is not None:
                message["files"] = files
            return codec.dumps(message)

        changed = self.lent.changed(encoder.encode)
        files = None if self.files is None else self.files.changes()

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
            if "printed" in reply:
                self.lent.take(reply["printed"])
            if "files" in reply and self.files is not None:
                try:
                    self.files.take(reply["files"])
                except (CannotCross, OSError, ValueError) as error:
                    raise Opaque(f"the program's files cannot cross: {error}") from None
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
            boxes = containers([arguments, list(kwargs.values())], self.common is not None)
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
            if self.common is not None:
                self.common.take(reply.get("common", []), decoder)
            if "m" in reply and boxes is not None:
                for number, content in reply["m"]:
                    mine = dict(enumerate(boxes))
                    refill(mine[number], decoder.decode(content))
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


class _Encoder(Encoder):
    """Arguments to the program."""

    def __init__(self, session: Session) -> None:
        super().__init__(common=session.common)
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
        if hasattr(kind, "__next__") and not callable(value):
            self.session.callbacks.append(value.__next__)
            return {"it": len(self.session.callbacks) - 1}
        if callable(value):
            self.session.callbacks.append(value)
            return {"cb": len(self.session.callbacks) - 1}
        raise CannotCross(f"an argument of type {kind.__name__} is not plain data")


class _Decoder(Decoder):
    def __init__(self, session: Session, objects: list[Any] | None = None) -> None:
        super().__init__(objects, session.common)
        self.session = session

    def other(self, tag: str, body: Any) -> Any:
        if tag == "h" and self.session.exchange is not None:
            number, name, what, bases, able = body
            if type(number) is not int or type(name) is not str or type(able) is not int:
                raise CannotCross("a handle was expected")
            if what == "t" and type(bases) is list and "BaseException" in bases:
                return self.exception_class(name, bases)
            known = self.session.handles
            if number not in known:
                kind = handle_class(what if type(what) is str else "o", able)
                known[number] = kind(self.session, number, name[:100])
            return known[number]
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
