"""Values as plain data: the only form in which anything passes between a program and its judge.

Both jails use this file. The program's side may be lied to and may lie (its interpreter belongs to the
program); what counts is that `Decoder` is safe on any input: it is fed from JSON, builds nothing but the
types listed in docs/sandbox.md, and never imports, evaluates or unpickles.

A value is JSON: null, booleans, strings, numbers and arrays stand for None, bool, str, int/float and list;
everything else is an object with one key, the tag.
"""

from __future__ import annotations

import builtins
import collections
import importlib
import io
import json
import sys
from types import MappingProxyType, SimpleNamespace
from typing import Any

from . import arrays, late
from .common import KINDS, Common
from .late import LATE
from .plain import CannotCross
from .plain import text as _text
from .plain import two as _two

SCALARS = frozenset({type(None), bool, int, float, str})
SAFE_INT = 10**4000  # longer ints go as hexadecimal: int() of long decimal text is quadratic and refused
FACTORIES = {t.__name__: t for t in (list, int, set, dict, str, float, tuple, bool, collections.Counter)}
TYPES = {
    name: value
    for name, value in vars(builtins).items()
    if isinstance(value, type) and not name.startswith("_")
}
for _extra in (
    collections.Counter, collections.OrderedDict, collections.defaultdict, collections.deque, type(None),
):  # fmt: skip
    TYPES[_extra.__name__] = _extra
TYPE_NAMES = {value: name for name, value in TYPES.items()}

# The encoder's and the decoder's C parts alone: `encode` and `decode` make new objects for every call.
_json: Any = json.JSONEncoder(separators=(",", ":"), check_circular=False)
_made: Any = json.encoder
_write: Any = _made.c_make_encoder and _made.c_make_encoder(
    None, _json.default, _made.encode_basestring_ascii, None, ":", ",", False, False, True
)
_scan: Any = vars(json.JSONDecoder())["scan_once"]


def dumps(value: Any) -> bytes:
    """JSON-able `value` as UTF-8 (lone surrogates are escaped, so every str survives)."""
    return ("".join(_write(value, 0)) if _write else _json.encode(value)).encode("ascii")


def loads(data: bytes) -> Any:
    """The opposite of `dumps`; ValueError or RecursionError on anything else."""
    text = data.decode("utf-8")
    try:
        value, end = _scan(text, 0)
    except StopIteration:
        raise ValueError("no JSON") from None
    if end != len(text):
        raise ValueError("more than one value")
    return value


def _hex(value: int) -> dict[str, Any]:
    return {"i": format(value, "x")}


class Encoder:
    """Value → JSON-able. `refs` maps id() of containers that the other side also has to their numbers."""

    def __init__(self, refs: dict[int, int] | None = None, common: Common | None = None) -> None:
        self.refs = refs
        self.common = common
        self.plain = SCALARS if common is None else SCALARS - {int}

    def dumps(self, value: Any) -> bytes:
        """`value` as bytes."""
        try:
            return dumps(self.encode(value))
        except ValueError:  # an int of more digits than Python writes: look at every item
            self.plain = SCALARS - {int}
            return dumps(self.encode(value))

    def other(self, value: Any) -> Any:
        """Called for what is not plain data: a handle, or CannotCross."""
        raise CannotCross(f"a value of type {type(value).__name__} is not plain data")

    def encode(self, value: Any) -> Any:
        """`value` as JSON-able data."""
        kind = type(value)
        if kind is int:
            return value if -SAFE_INT < value < SAFE_INT else _hex(value)
        if kind in SCALARS:
            return value
        refs = self.refs
        if refs and id(value) in refs:
            return {"@": refs[id(value)]}
        if self.common is not None and kind in KINDS:
            return self.common.encode(self, value)
        if kind is list:
            return self.items(value)
        if kind is tuple:
            return {"t": self.items(value)}
        function = ENCODERS.get(kind)
        if function is None:
            return self.unusual(value, kind)
        return function(self, value)

    def content(self, box: Any) -> Any:
        """What a container holds, encoded."""
        return self.items(box) if type(box) is list else ENCODERS[type(box)](self, box)

    def items(self, values: Any) -> list[Any]:
        """Each of `values`, encoded."""
        found = list(values)
        if self.plain.issuperset(map(type, found)):
            return found
        encode = self.encode
        return [encode(value) for value in found]

    def pairs(self, value: Any) -> list[Any]:
        """A mapping's items as a flat list key, value, key, value …"""
        encode = self.encode
        flat = []
        for key, item in dict.items(value):
            flat.append(encode(key))
            flat.append(encode(item))
        return flat

    def namespace(self, value: Any) -> Any:
        """A `SimpleNamespace` of plain values."""
        try:
            return {"ns": Encoder().pairs(vars(value))}
        except CannotCross:
            return self.other(value)

    def unusual(self, value: Any, kind: type) -> Any:
        """Subclasses cross as the plain value they hold, numpy by dtype, the rest as `other` says."""
        if kind.__module__ in LATE and kind.__name__ in LATE[kind.__module__]:
            learn(kind.__module__)
            function = ENCODERS.get(kind)
            if function is not None:
                return function(self, value)
        numpy = sys.modules.get("numpy")
        if numpy is not None and (kind is numpy.ndarray or issubclass(kind, numpy.generic)):
            return arrays.encode(self, value, numpy)
        if issubclass(kind, type) or kind is type:
            if value.__module__ in LATE:
                learn(value.__module__)
            name = TYPE_NAMES.get(value)
            return {"type": name} if name else self.other(value)
        if issubclass(kind, tuple):
            fields = getattr(kind, "_fields", None)
            if type(fields) is tuple and len(fields) == tuple.__len__(value):
                return {"nt": [kind.__name__, list(fields), self.items(tuple.__iter__(value))]}
            return {"t": self.items(tuple.__iter__(value))}
        if issubclass(kind, str):
            return str.__str__(value)
        if issubclass(kind, int):
            return self.encode(int.__add__(value, 0))
        if issubclass(kind, float):
            return float.__add__(value, 0.0)
        if issubclass(kind, list):
            return self.items(list.__iter__(value))
        for base in (collections.Counter, collections.OrderedDict, dict, set, frozenset, bytes):
            if issubclass(kind, base):
                return ENCODERS[base](self, value)
        return self.other(value)


def _default(encoder: Encoder, value: Any) -> Any:
    factory = value.default_factory
    name = None if factory is None else TYPE_NAMES.get(factory)
    if factory is not None and name not in FACTORIES:
        name = None  # the factory is code of its own; the data crosses without it
    return {"dd": [name, encoder.pairs(value)]}


ENCODERS: dict[type, Any] = {
    dict: lambda e, v: {"d": e.pairs(v)},
    set: lambda e, v: {"s": e.items(set.__iter__(v))},
    frozenset: lambda e, v: {"f": e.items(frozenset.__iter__(v))},
    bytes: lambda e, v: {"b": bytes.hex(v)},
    bytearray: lambda e, v: {"ba": bytearray.hex(v)},
    io.StringIO: lambda e, v: {"sio": [v.getvalue(), v.tell()]},
    io.BytesIO: lambda e, v: {"sio": [{"b": v.getvalue().hex()}, v.tell()]},
    memoryview: lambda e, v: {"b": v.hex()},
    complex: lambda e, v: {"c": [v.real, v.imag]},
    range: lambda e, v: {"r": [e.encode(v.start), e.encode(v.stop), e.encode(v.step)]},
    slice: lambda e, v: {"sl": [e.encode(v.start), e.encode(v.stop), e.encode(v.step)]},
    type(...): lambda e, v: {"e": 0},
    type(NotImplemented): lambda e, v: {"e": 1},
    collections.Counter: lambda e, v: {"C": e.pairs(v)},
    collections.OrderedDict: lambda e, v: {"od": e.pairs(v)},
    collections.defaultdict: _default,
    collections.deque: lambda e, v: {"q": [v.maxlen, e.items(v)]},
    MappingProxyType: lambda e, v: {"mp": e.pairs(dict(v))},
    type({}.keys()): lambda e, v: {"dk": e.items(v)},
    type({}.values()): lambda e, v: {"dv": e.items(v)},
    type({}.items()): lambda e, v: {"di": e.items(v)},
}


def learn(name: str) -> Any:
    """Import one of the `LATE` modules, and know its types from now on."""
    module = importlib.import_module(name)
    for kind in LATE[name]:
        value = getattr(module, kind)
        TYPES[kind] = value
        TYPE_NAMES[value] = kind
        ENCODERS[value] = late.LATE_ENCODERS[kind]
    return module


MUTABLE = (list, dict, set, bytearray, collections.deque, io.StringIO, io.BytesIO)


class Decoder:
    """JSON-able → value. `objects` are the containers that `{"@": n}` refers to."""

    def __init__(self, objects: list[Any] | None = None, common: Common | None = None) -> None:
        self.objects = objects
        self.common = common

    def other(self, tag: str, body: Any) -> Any:
        """Called for tags that stand for no plain value (handles, callbacks)."""
        raise CannotCross(f"unknown tag {tag!r}")

    def decode(self, data: Any) -> Any:
        """The value that `data` stands for; CannotCross, ValueError, TypeError … if there is none."""
        kind = type(data)
        if kind is list:
            if SCALARS.issuperset(map(type, data)):
                return data
            decode = self.decode
            return [decode(item) for item in data]
        if kind is not dict:
            return data
        if len(data) != 1:
            raise CannotCross("a value must have one tag")
        [(tag, body)] = data.items()
        if tag == "t":
            return tuple(self.items(body))
        function = DECODERS.get(tag)
        if function is None:
            return self.other(tag, body)
        return function(self, body)

    def items(self, body: Any) -> list[Any]:
        """A list's items, decoded."""
        if not isinstance(body, list):
            raise CannotCross("a list was expected")
        if SCALARS.issuperset(map(type, body)):
            return body
        decode = self.decode
        return [decode(item) for item in body]

    def pairs(self, body: Any) -> Any:
        """(key, value) pairs of a flat list."""
        flat = self.items(body)
        if len(flat) % 2:
            raise CannotCross("a key without a value")
        iterator = iter(flat)
        return zip(iterator, iterator, strict=True)

    def ints(self, body: Any, count: int) -> list[int]:
        """Exactly `count` ints."""
        values = self.items(body)
        if len(values) != count or any(type(value) is not int for value in values):
            raise CannotCross(f"{count} ints were expected")
        return values


def _container(decoder: Decoder, body: Any) -> Any:
    number, content = _two(body)
    if decoder.common is None:
        raise CannotCross("an unknown container")
    return decoder.common.decode(number, decoder.decode(content))


def _ref(decoder: Decoder, body: Any) -> Any:
    if decoder.common is not None and type(body) is int:
        return decoder.common.boxes[body]
    objects = decoder.objects
    if objects is None or type(body) is not int or not 0 <= body < len(objects):
        raise CannotCross("an unknown reference")
    return objects[body]


def _reals(body: Any) -> list[float]:
    pair = _two(body)
    if type(pair[0]) is not float or type(pair[1]) is not float:
        raise CannotCross("two floats were expected")
    return pair


def _defaultdict(decoder: Decoder, body: Any) -> Any:
    name, pairs = _two(body)
    factory = None if name is None else FACTORIES[_text(name)]
    return collections.defaultdict(factory, decoder.pairs(pairs))


def _deque(decoder: Decoder, body: Any) -> Any:
    maxlen, values = _two(body)
    if maxlen is not None and type(maxlen) is not int:
        raise CannotCross("a length was expected")
    return collections.deque(decoder.items(values), maxlen)


def _type(name: str) -> Any:
    for module, kinds in LATE.items():
        if name in kinds:
            learn(module)
    return TYPES[name]


def _namespace(decoder: Decoder, body: Any) -> Any:
    # Of plain values only: a handle among them would answer for a method of text or sets (`startswith`).
    values = dict(Decoder().pairs(body))
    if not all(type(name) is str and name.isidentifier() and not name.startswith("__") for name in values):
        raise CannotCross("a namespace with odd names")
    return SimpleNamespace(**values)


def _file(decoder: Decoder, body: Any) -> Any:
    content, position = decoder.items(body)
    if type(content) not in (str, bytes) or type(position) is not int or position < 0:
        raise CannotCross("a file in memory was expected")
    file: Any = io.StringIO(content, newline="") if type(content) is str else io.BytesIO(content)
    file.seek(min(position, len(content)))  # never further: writing there would fill what lies between
    return file


DECODERS: dict[str, Any] = {
    "@": _ref,
    "=": _container,
    "i": lambda d, b: int(_text(b), 16),
    "d": lambda d, b: dict(d.pairs(b)),
    "s": lambda d, b: set(d.items(b)),
    "f": lambda d, b: frozenset(d.items(b)),
    "b": lambda d, b: bytes.fromhex(_text(b)),
    "ba": lambda d, b: bytearray.fromhex(_text(b)),
    "c": lambda d, b: complex(*_reals(b)),
    "r": lambda d, b: range(*d.ints(b, 3)),
    "sl": lambda d, b: slice(*d.items(b)),
    "e": lambda d, b: NotImplemented if b == 1 else ...,
    "C": lambda d, b: collections.Counter(dict(d.pairs(b))),
    "od": lambda d, b: collections.OrderedDict(d.pairs(b)),
    "dd": _defaultdict,
    "q": _deque,
    "D": lambda d, b: learn("decimal").Decimal(_text(b)),
    "F": lambda d, b: learn("fractions").Fraction(*d.ints(b, 2)),
    "date": lambda d, b: learn("datetime").date.fromisoformat(_text(b)),
    "dt": lambda d, b: late.fromiso_datetime(b),
    "time": lambda d, b: learn("datetime").time.fromisoformat(_text(b)),
    "td": lambda d, b: learn("datetime").timedelta(*d.ints(b, 3)),
    "nt": late.namedtuple,
    "dk": lambda d, b: dict.fromkeys(d.items(b)).keys(),
    "dv": lambda d, b: dict(enumerate(d.items(b))).values(),
    "di": lambda d, b: dict(d.items(b)).items(),
    "np": lambda d, b: arrays.array(b),
    "npo": arrays.object_array,
    "nps": lambda d, b: arrays.scalar(b),
    "uuid": lambda d, b: learn("uuid").UUID(hex=_text(b)),
    "late": lambda d, b: late.by_name(b),
    "arr": late.array,
    "cm": late.chain,
    "mp": lambda d, b: MappingProxyType(dict(d.pairs(b))),
    "ns": _namespace,
    "sio": _file,
    "type": lambda d, b: _type(_text(b)),
}


def containers(values: Any, arrays_only: bool = False) -> list[Any]:
    """Every mutable container in `values`, each place once, in an order that both sides compute alike."""
    kinds = () if arrays_only else MUTABLE
    found = []
    stack = [values]
    while stack:
        value = stack.pop()
        kind = type(value)
        if kind in SCALARS:
            continue
        if isinstance(value, kinds) or (kind.__name__ == "ndarray" and kind.__module__ == "numpy"):
            found.append(value)
        if isinstance(value, dict):
            stack.extend(dict.values(value))
        elif isinstance(value, (list, tuple, collections.deque)) and not SCALARS.issuperset(map(type, value)):
            stack.extend(value)
    return found
