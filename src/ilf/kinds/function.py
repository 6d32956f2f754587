"""The paper's kind of task: a Python function or class, decided by test statements in the sandbox."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
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
        with verifier_of(settings, tasks) as verifier:
            yield from verifier.verify(programs)

    def reward(self, task: Task, verdict: Verdict) -> float:
        """1 where all tests passed, else 0 (the paper's R = EVAL)."""
        return float(verdict.passed)


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
