"""What the judge may ask of an object that stayed with the program."""

from __future__ import annotations

import operator
from typing import Any


class Items:
    """An iterator of the test's: items are fetched as the program asks for them."""

    def __init__(self, fetch: Any) -> None:
        self.fetch = fetch

    def __iter__(self) -> Items:
        return self

    def __next__(self) -> Any:
        return self.fetch()


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
