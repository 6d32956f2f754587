"""The part of pytest that tests of single functions use: marks, fixtures, `raises`, `approx`.

Neither jail has pytest, unless the user's own environment does, and verdicts must not depend on that. So
`import pytest` in a test gives this module, in the judge and beside a program alike.
"""

from __future__ import annotations

import importlib
import math
import re
import sys
import warnings
from collections.abc import Callable, Mapping
from typing import Any


class Skipped(BaseException):
    """A test that is not to be carried out."""


def skip(reason: str = "", *, allow_module_level: bool = False) -> None:
    """Do not carry out the test that calls this."""
    raise Skipped(reason)


def fail(reason: str = "", pytrace: bool = True) -> None:
    """The test that calls this fails."""
    raise AssertionError(reason)


xfail = skip


def importorskip(name: str, *rest: Any, **options: Any) -> Any:
    """A module, or the test is not carried out."""
    try:
        return importlib.import_module(name)
    except ImportError:
        raise Skipped(name) from None


class Mark:
    """`@pytest.mark.NAME(…)`; without arguments it decorates as it is."""

    def __init__(self, name: str, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None) -> None:
        self.name = name
        self.args = args
        self.kwargs = kwargs or {}

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The mark with arguments, or the function or class that it decorates."""
        if len(args) != 1 or not callable(args[0]) or kwargs:
            return Mark(self.name, args, kwargs)
        args[0].pytestmark = [*vars(args[0]).get("pytestmark", []), self]
        return args[0]


class _Marks:
    def __getattr__(self, name: str) -> Mark:
        return Mark(name)


mark = _Marks()


class ParameterSet:
    """`pytest.param(…)`: one row of `parametrize`."""

    def __init__(self, values: tuple[Any, ...], marks: Any) -> None:
        self.values = values
        self.marks = list(marks) if isinstance(marks, (list, tuple)) else [marks]


def param(*values: Any, marks: Any = (), id: str | None = None) -> ParameterSet:
    """A row of `parametrize` with marks of its own."""
    return ParameterSet(values, marks)


class Fixture:
    """A function that makes what tests ask for by the name of a parameter."""

    def __init__(self, function: Callable[..., Any], options: dict[str, Any]) -> None:
        self.function = function
        self.name: str = options.get("name") or function.__name__
        self.shared: bool = options.get("scope", "function") != "function"
        self.autouse: bool = options.get("autouse", False)
        self.params: list[Any] | None = None if options.get("params") is None else list(options["params"])

    def __get__(self, owner: Any, kind: Any = None) -> Any:
        return self


def fixture(function: Callable[..., Any] | None = None, **options: Any) -> Any:
    """`@pytest.fixture`, with or without options."""
    if function is not None:
        return Fixture(function, options)
    return lambda function: Fixture(function, options)


class ExceptionInfo:
    """What `with pytest.raises(…) as info` gives."""

    value: Any = None

    @property
    def type(self) -> Any:
        """The exception's class."""
        return type(self.value)

    def match(self, pattern: str) -> bool:
        """Whether the exception's text has `pattern` in it; AssertionError where it has not."""
        if re.search(pattern, str(self.value)) is None:
            raise AssertionError(f"{pattern!r} is not in {str(self.value)!r}")
        return True


class _Raises:
    def __init__(self, expected: Any, match: str | None) -> None:
        self.expected = expected
        self.match = match
        self.info = ExceptionInfo()

    def __enter__(self) -> ExceptionInfo:
        return self.info

    def __exit__(self, kind: Any, value: Any, trace: Any) -> bool:
        if kind is None:
            raise AssertionError(f"DID NOT RAISE {self.expected!r}")
        if not issubclass(kind, self.expected):
            return False
        self.info.value = value
        if self.match is not None:
            self.info.match(self.match)
        return True


def raises(expected: Any, *call: Any, match: str | None = None, **keywords: Any) -> Any:
    """A context in which, or a call by which, `expected` must be raised."""
    context = _Raises(expected, match)
    if not call:
        return context
    with context as info:
        call[0](*call[1:], **keywords)
    return info


class warns(warnings.catch_warnings):
    """A context in which a warning of that kind must be given."""

    def __init__(self, kind: Any = Warning, *, match: str | None = None) -> None:
        super().__init__(record=True)
        self.kind = kind
        self.pattern = match or ""

    def __enter__(self) -> Any:
        self.found: Any = super().__enter__()
        warnings.simplefilter("always")
        return self.found

    def __exit__(self, *exception: Any) -> None:
        super().__exit__(*exception)
        fitting = [w for w in self.found if issubclass(w.category, self.kind)]
        if exception[0] is None and not any(re.search(self.pattern, str(w.message)) for w in fitting):
            raise AssertionError(f"DID NOT WARN {self.kind!r}")


class approx:
    """Equal to numbers within a tolerance: the larger of `rel` (1e-6) of the number, and `abs` (1e-12)."""

    __array_ufunc__ = None
    __array_priority__ = 100
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, expected: Any, rel: Any = None, abs: Any = None, nan_ok: bool = False) -> None:
        self.expected = expected
        self.rel = rel
        self.abs = abs
        self.nan_ok = nan_ok

    def __repr__(self) -> str:
        return f"approx({self.expected!r})"

    def __eq__(self, actual: Any) -> bool:
        return self._near(actual, self.expected)

    def _near(self, actual: Any, expected: Any) -> bool:
        if hasattr(expected, "dtype") and hasattr(expected, "tolist"):
            same = getattr(actual, "shape", expected.shape) == expected.shape
            return same and self._near(
                actual.tolist() if hasattr(actual, "tolist") else actual, expected.tolist()
            )
        if isinstance(expected, Mapping):
            return (
                isinstance(actual, Mapping)
                and actual.keys() == expected.keys()
                and all(self._near(actual[key], value) for key, value in expected.items())
            )
        if isinstance(expected, (list, tuple)):
            return (
                hasattr(actual, "__len__")
                and not isinstance(actual, (str, bytes, Mapping, set, frozenset))
                and len(actual) == len(expected)
                and all(map(self._near, actual, expected))
            )
        if actual == expected:
            return True
        if isinstance(expected, (str, bytes, bool, type(None))) or not hasattr(expected, "__abs__"):
            return False
        if not hasattr(actual, "__abs__") or isinstance(actual, bool):
            return False
        if actual != actual or expected != expected:
            return self.nan_ok and actual != actual and expected != expected
        if math.isinf(abs(expected)) or math.isinf(abs(actual)):
            return False
        kind = type(expected) if type(expected).__name__ == "Decimal" else float
        absolute = kind("1e-12" if self.abs is None else str(self.abs))
        relative = kind("1e-6" if self.rel is None else str(self.rel)) * kind(abs(expected))
        if self.rel is None and self.abs is not None:
            relative = absolute
        return bool(abs(actual - expected) <= max(absolute, relative))


def install() -> None:
    """From now on `import pytest` gives this module, in this process."""
    sys.modules["pytest"] = sys.modules["pytest_asyncio"] = sys.modules[__name__]
