"""The paper's kind of task: a Python function or class, decided by test statements in the sandbox."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ilf.records import Program, Task, Verdict
from ilf.sandbox import RECENT, Verifier, self_check

if TYPE_CHECKING:
    from ilf.config import VerifyConfig


class Function:
    """A function or class under test (`kinds.TaskKind`)."""

    def verify(
        self, tasks: Mapping[str, Task], programs: Iterable[Program], settings: VerifyConfig
    ) -> Iterator[Verdict]:
        """Verdicts of the sandbox, once it has shown that it can tell right from wrong."""
        check_sandbox(settings)
        with _opened(settings, tasks) as verifier:
            yield from verifier.verify(programs)

    def reward(self, task: Task, verdict: Verdict) -> float:
        """1 where all tests passed, else 0 (the paper's R = EVAL)."""
        return float(verdict.passed)


_warm: dict[str, Verifier] | None = None
"""By settings: verifiers whose workers outlive a call, once `keep_warm` was called."""
_lock = threading.Lock()


def keep_warm() -> None:
    """From now on, workers of this process's sandbox stay between calls of `verify`, until `end_warm`."""
    global _warm
    _warm = {} if _warm is None else _warm


def end_warm() -> None:
    """End the workers that `keep_warm` kept."""
    global _warm
    kept, _warm = _warm or {}, None
    for verifier in kept.values():
        verifier.close()


@contextmanager
def _opened(settings: VerifyConfig, tasks: Mapping[str, Task]) -> Iterator[Verifier]:
    if _warm is None:
        with verifier_of(settings, tasks) as verifier:
            yield verifier
        return
    with _lock:
        key = settings.model_dump_json()
        verifier = _warm.get(key) or _warm.setdefault(key, verifier_of(settings))
        # A task that is known already stays the same object: its tests have been read.
        new = {name: task for name, task in tasks.items() if verifier.tasks.get(name) != task}
        if new:
            verifier.tasks = {**verifier.tasks, **new}
    yield verifier


def verifier_of(settings: VerifyConfig, tasks: Mapping[str, Task] | None = None) -> Verifier:
    """The sandbox as the settings want it; arguments and errors as of `Verifier`."""
    return Verifier(
        tasks,
        limits=settings.limits,
        workers=settings.workers,
        unsafe=settings.unsafe,
        isolation=settings.isolation,
    )


def check_sandbox(settings: VerifyConfig) -> None:
    """Before hours of work: can the sandbox tell right from wrong? What it showed just now counts.

    Raises:
        SandboxUnavailable: there is no isolation.
        SandboxFailure: it cannot.
    """
    self_check(unsafe=settings.unsafe, within=RECENT)
