"""What the trusted prefix of a task defines for its tests."""

from __future__ import annotations

import ast
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any

IMMUTABLE = (
    type(None),
    bool,
    int,
    float,
    complex,
    str,
    bytes,
    range,
    frozenset,
    type,
    ModuleType,
    BuiltinFunctionType,
)


class Helpers:
    """What the trusted prefix defines for the tests to use: imports, helper functions and constants.

    Classes stay the program's: the tests build objects that the program's functions will take.
    """

    def __init__(self, prefix: ast.Module, entry: str) -> None:
        self.codes: list[Any] = []
        self.stateful = False
        namespace: dict[str, Any] = {"__name__": "prefix"}
        for node in prefix.body:
            if isinstance(node, ast.ClassDef) or getattr(node, "name", None) == entry:
                continue
            try:
                code = compile(ast.Module([node], []), "prefix", "exec", dont_inherit=True)
                exec(code, namespace)
            except Exception:
                continue
            self.codes.append(code)
        self.stateful = not all(map(_stateless, self._public(namespace).values()))
        self.first = self._public(namespace)

    def names(self) -> dict[str, Any]:
        """The names; made anew each time where the tests of one program could leave something behind."""
        if not self.stateful:
            return self.first
        namespace: dict[str, Any] = {"__name__": "prefix"}
        for code in self.codes:
            exec(code, namespace)
        return self._public(namespace)

    @staticmethod
    def _public(namespace: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in namespace.items() if not name.startswith("__")}


def _stateless(value: Any) -> bool:
    if isinstance(value, FunctionType):
        return not value.__dict__ and not value.__closure__ and all(
            map(_stateless, (*(value.__defaults__ or ()), *(value.__kwdefaults__ or {}).values()))
        )  # fmt: skip
    return isinstance(value, IMMUTABLE) or (type(value) is tuple and all(map(_stateless, value)))
