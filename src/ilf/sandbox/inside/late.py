"""Values of the standard library's modules as plain data.

A module is imported, and its types are known, when a value of one is met: few programs need them, and a fork
copies what there is.
"""

from __future__ import annotations

import collections
import importlib
from typing import TYPE_CHECKING, Any

from .plain import CannotCross, text, two

if TYPE_CHECKING:
    import datetime

ADDRESSES = ("IPv4Address", "IPv6Address", "IPv4Network", "IPv6Network", "IPv4Interface", "IPv6Interface")
PATHS = ("PurePosixPath", "PureWindowsPath", "PosixPath")
LATE = {
    "decimal": ("Decimal",),
    "fractions": ("Fraction",),
    "datetime": ("date", "datetime", "time", "timedelta"),
    "uuid": ("UUID",),
    "array": ("array",),
    "ipaddress": ADDRESSES,
    "pathlib": PATHS,
    "types": ("SimpleNamespace",),
    "collections": ("ChainMap",),
}
"""Module → its types."""


def _datetime(value: datetime.datetime) -> list[Any]:
    offset = value.utcoffset()
    return [value.replace(tzinfo=None).isoformat(), None if offset is None else offset.total_seconds()]


LATE_ENCODERS: dict[str, Any] = {
    "Decimal": lambda e, v: {"D": str(v)},
    "Fraction": lambda e, v: {"F": [e.encode(v.numerator), e.encode(v.denominator)]},
    "date": lambda e, v: {"date": v.isoformat()},
    "datetime": lambda e, v: {"dt": _datetime(v)},
    "time": lambda e, v: {"time": v.replace(tzinfo=None).isoformat()},
    "timedelta": lambda e, v: {"td": [v.days, v.seconds, v.microseconds]},
    "UUID": lambda e, v: {"uuid": v.hex},
    "array": lambda e, v: {"arr": [v.typecode, e.items(v.tolist())]},
    "SimpleNamespace": lambda e, v: e.namespace(v),
    "ChainMap": lambda e, v: e.other(v) if {dict} != set(map(type, v.maps)) else {"cm": e.items(v.maps)},
} | {name: lambda e, v: {"late": [type(v).__name__, str(v)]} for name in (*ADDRESSES, *PATHS)}


def fromiso_datetime(body: Any) -> datetime.datetime:
    """A moment, with its offset in seconds."""
    import datetime

    moment, offset = two(body)
    value = datetime.datetime.fromisoformat(text(moment))
    if offset is None:
        return value
    if type(offset) is not float:
        raise CannotCross("an offset in seconds was expected")
    return value.replace(tzinfo=datetime.timezone(datetime.timedelta(seconds=offset)))


def by_name(body: Any) -> Any:
    """An address or a path, from the name of its type and its text."""
    name, value = two(body)
    for module in ("ipaddress", "pathlib"):
        if name in LATE[module]:
            return getattr(importlib.import_module(module), name)(text(value))
    raise CannotCross("an unknown type")


def array(decoder: Any, body: Any) -> Any:
    """An `array.array`."""
    code, values = two(body)
    found = decoder.items(values)
    if type(code) is not str or len(code) != 1 or not {int, float, str}.issuperset(map(type, found)):
        raise CannotCross("an array was expected")
    return importlib.import_module("array").array(code, found)


def chain(decoder: Any, body: Any) -> Any:
    """A `collections.ChainMap` of dicts."""
    maps = decoder.items(body)
    if not all(type(item) is dict for item in maps):
        raise CannotCross("dicts were expected")
    return importlib.import_module("collections").ChainMap(*maps)


METHODS = frozenset(name for kind in (str, bytes, int, float, list, tuple, dict, set) for name in vars(kind))


_named: dict[tuple[str, ...], Any] = {}


def namedtuple(decoder: Any, body: Any) -> Any:
    """A named tuple, of a class made for its names."""
    if type(body) is not list or len(body) != 3 or type(body[1]) is not list or len(body[1]) > 255:
        raise CannotCross("a named tuple was expected")
    key = (text(body[0]), *map(text, body[1]))
    values = decoder.items(body[2])
    if any(callable(value) and name in METHODS for name, value in zip(body[1], values, strict=False)):
        raise CannotCross("a named tuple with a function in the place of a method")
    kind = _named.get(key)
    if kind is None:
        import keyword

        if not all(name.isidentifier() and not keyword.iskeyword(name) for name in key):
            raise CannotCross("a named tuple with odd names")
        if len(_named) > 500:
            _named.clear()
        kind = _named[key] = collections.namedtuple(key[0], key[1:])
    return kind(*values)
