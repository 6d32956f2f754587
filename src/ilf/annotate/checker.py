"""Running programs for people: always in the sandbox, a few at once, the same program only once."""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ilf.annotate.store import Refused
from ilf.errors import IlfError
from ilf.records import Program, Task, Verdict, content_id

if TYPE_CHECKING:
    from ilf.config import VerifyConfig
    from ilf.sandbox.verify import Evaluation, Verifier

_KEPT = 2000
"""Verdicts remembered: a person runs a refinement and then submits it."""

_EACH, _ALL = 2, 16
"""Programs that one person, and all together, may have running or waiting: each holds one of the server's
threads, and pages need some, too."""


@dataclass(frozen=True)
class Tried:
    """What came of an expression run with a program."""

    expression: str
    value: str | None
    """`repr` of its value."""
    error: str | None
    """`Type: message`, or why it was stopped."""
    line: int | None
    stdout: str | None


class Checker:
    """The sandbox as the annotation server uses it.

    Args:
        verifier: how programs run; None where no isolation is to be had: then nothing runs.
        problem: why it is None, for people.
        at_once: programs at the same time.
        settings: how the run verifies answers that are no programs: what a text is worth.
    """

    def __init__(
        self,
        verifier: Verifier | None,
        problem: str = "",
        at_once: int = 2,
        settings: VerifyConfig | None = None,
    ) -> None:
        self._verifier, self._settings = verifier, settings
        self.problem = problem
        self._slots = threading.BoundedSemaphore(at_once)
        self._lock = threading.Lock()
        self._inside: Counter[int] = Counter()
        self._known: OrderedDict[str, Verdict] = OrderedDict()

    @property
    def available(self) -> bool:
        """Whether programs can run at all."""
        return self._verifier is not None

    def close(self) -> None:
        """End the sandbox's workers."""
        if self._verifier is not None:
            self._verifier.close()

    @contextmanager
    def _slot(self, who: int) -> Iterator[None]:
        with self._lock:
            if self._inside[who] >= _EACH:
                raise Refused("your last programs are still running: wait for them, then go on", status=429)
            if self._inside.total() >= _ALL:
                raise Refused("many programs are running just now: try again in a moment", status=429)
            self._inside[who] += 1
        try:
            with self._slots:
                yield
        finally:
            with self._lock:
                self._inside[who] -= 1
                self._inside += Counter()  # forgets who has none

    def tests(self, task: Task, code: str, who: int = 0) -> Verdict | None:
        """The verdict on a program; None where nothing can run or the sandbox failed.

        Args:
            task: whose tests.
            code: the program.
            who: a person's id.

        Raises:
            Refused: this person, or everyone together, has too many programs running (429).
        """
        if self._verifier is None:
            return None
        key = content_id(task.model_dump(mode="json"), code)
        with self._lock:
            if key in self._known:
                self._known.move_to_end(key)
                return self._known[key]
        with self._slot(who):
            try:
                verdict = self._judged(task, code)
            except IlfError as error:
                self.problem = str(error)
                return None
        if verdict.status == "sandbox_error":
            self.problem = verdict.detail or "the sandbox failed"
            return None
        self.problem = ""
        with self._lock:
            self._known[key] = verdict
            while len(self._known) > _KEPT:
                self._known.popitem(last=False)
        return verdict

    def _judged(self, task: Task, code: str) -> Verdict:
        from ilf import kinds
        from ilf.config import VerifyConfig
        from ilf.sandbox.stdin import JUDGED

        if task.kind in JUDGED:
            assert self._verifier is not None
            return self._verifier.verify_one(task, code)
        program = Program(task_id=task.task_id, code=code)
        return next(kinds.verify({task.task_id: task}, [program], self._settings or VerifyConfig()))

    def expression(self, task: Task, code: str, expression: str, who: int = 0) -> Tried | None:
        """What an expression gives with a program; None where nothing can run. Raises as `tests` does."""
        if self._verifier is None:
            return None
        with self._slot(who):
            try:
                found = tried(expression, self._verifier.run(task, code, expression))
            except IlfError as error:
                self.problem = str(error)
                return None
        self.problem = ""
        return found


_STOPPED = {
    "timeout": "it ran too long and was stopped",
    "memory": "it used too much memory and was stopped",
    "killed": "it was stopped",
}


def tried(expression: str, result: Evaluation) -> Tried:
    """The sandbox's answer for people."""
    error = result.error
    if result.status != "passed" and not error:
        error = _STOPPED.get(result.status, result.status)
    return Tried(expression, result.value, error, result.line, result.stdout)
