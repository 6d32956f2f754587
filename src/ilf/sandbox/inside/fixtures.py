"""The fixtures of pytest's own that tests of single functions use: `capsys`, `monkeypatch`, `tmp_path`."""

from __future__ import annotations

import contextlib
import inspect
import io
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any


class Captured(tuple):  # type: ignore[type-arg]
    """(out, err), as pytest's `readouterr` gives them."""

    out = property(lambda self: self[0])
    err = property(lambda self: self[1])


class Capture:
    """`capsys`: what is printed goes here. (So does what a program in another jail prints.)"""

    def __init__(self) -> None:
        self.out, self.err = io.StringIO(), io.StringIO()

    def readouterr(self) -> Captured:
        """What was printed since the last time."""
        found = Captured(stream.getvalue() for stream in (self.out, self.err))
        for stream in (self.out, self.err):
            stream.seek(0)
            stream.truncate()
        return found

    @contextlib.contextmanager
    def disabled(self) -> Iterator[None]:
        """Nothing is captured in this context."""
        with contextlib.redirect_stdout(sys.__stdout__), contextlib.redirect_stderr(sys.__stderr__):
            yield


@contextlib.contextmanager
def capsys() -> Iterator[Capture]:
    """What is printed while the test runs."""
    capture = Capture()
    with contextlib.redirect_stdout(capture.out), contextlib.redirect_stderr(capture.err):
        yield capture


@contextlib.contextmanager
def tmp_path() -> Iterator[Any]:
    """A folder of the test's own."""
    import pathlib
    import tempfile

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        yield pathlib.Path(folder)


class MonkeyPatch:
    """`monkeypatch`: changes that are undone when the test ends."""

    def __init__(self) -> None:
        self.undoing: list[Callable[[], object]] = []

    def setattr(self, target: Any, name: Any, *value: Any, raising: bool = True) -> None:
        """`setattr(object, "name", value)` or `setattr("module.name", value)`."""
        if isinstance(target, str):
            path, _, attribute = target.rpartition(".")
            target, value, name = _resolve(path), (name,), attribute
        old = (
            inspect.getattr_static(target, name) if isinstance(target, type) else getattr(target, name, self)
        )
        if old is self and raising:
            raise AttributeError(name)
        self.undoing.append(lambda: delattr(target, name) if old is self else setattr(target, name, old))
        setattr(target, name, *value)

    def delattr(self, target: Any, name: str = "", raising: bool = True) -> None:
        """The opposite."""
        if isinstance(target, str):
            path, _, name = target.rpartition(".")
            target = _resolve(path)
        if hasattr(target, name) or raising:
            old = getattr(target, name)
            self.undoing.append(lambda: setattr(target, name, old))
            delattr(target, name)

    def setitem(self, mapping: Any, key: Any, value: Any) -> None:
        """One item of a mapping."""
        old = mapping.get(key, self)
        self.undoing.append(lambda: mapping.pop(key, None) if old is self else mapping.update({key: old}))
        mapping[key] = value

    def delitem(self, mapping: Any, key: Any, raising: bool = True) -> None:
        """The opposite."""
        if key in mapping or raising:
            old = mapping.pop(key)
            self.undoing.append(lambda: mapping.update({key: old}))

    def setenv(self, name: str, value: Any, prepend: str | None = None) -> None:
        """A variable of the environment."""
        before = os.environ.get(name) if prepend else None
        self.setitem(os.environ, name, str(value) if before is None else f"{value}{prepend}{before}")

    def delenv(self, name: str, raising: bool = True) -> None:
        """The opposite."""
        self.delitem(os.environ, name, raising)

    def chdir(self, folder: Any) -> None:
        """Another working folder."""
        before = os.getcwd()
        self.undoing.append(lambda: os.chdir(before))
        os.chdir(folder)

    def undo(self) -> None:
        """Everything as it was."""
        while self.undoing:
            self.undoing.pop()()

    @contextlib.contextmanager
    def context(self) -> Iterator[MonkeyPatch]:
        """Changes for a part of a test."""
        inner = MonkeyPatch()
        try:
            yield inner
        finally:
            inner.undo()


def _resolve(path: str) -> Any:
    """What a dotted path names."""
    import pkgutil

    return pkgutil.resolve_name(path)


BUILT_IN: dict[str, Callable[[], contextlib.AbstractContextManager[Any]]] = {
    "tmp_path": tmp_path, "tmpdir": tmp_path, "capsys": capsys, "capfd": capsys,
    "monkeypatch": MonkeyPatch().context,
}  # fmt: skip
"""Name → a context that gives what the test gets."""
