"""`verify(tasks, programs) → verdicts`: EVAL(x, t) of Algorithm 1, for programs nobody trusts."""

from __future__ import annotations

import threading
import warnings
from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, NamedTuple

from ilf.errors import DataError, SandboxFailure, SandboxUnavailable
from ilf.records import Program, Task, Verdict, content_id
from ilf.sandbox import stdin
from ilf.sandbox.collect import collected, counting
from ilf.sandbox.isolation import Isolation, numpy_available, probe
from ilf.sandbox.limits import Limits, default_workers
from ilf.sandbox.pool import Job, Pool, twinned
from ilf.sandbox.report import detail_of

SANDBOX_ERROR_SHARE = 0.02
"""Above this share of `sandbox_error`, once `SANDBOX_ERROR_MIN` of them came, verifying stops."""
SANDBOX_ERROR_MIN = 5
Where = Literal["auto", "separate", "shared"]
"""In which process tests run, for tasks that do not say it: outside the program's, inside it, or as found."""
FIELDS = ("status", "test", "call", "expected", "actual", "error", "line", "stdout", "seconds")


@dataclass(frozen=True)
class Evaluation:
    """What came of a user's expression, evaluated in the program's jail."""

    status: str
    """`passed` where it was evaluated, otherwise as in `Verdict`."""
    value: str | None
    """`repr` of its value; None for a statement, or for the value None."""
    error: str | None
    line: int | None
    stdout: str | None


_needs_shared: dict[tuple[str, str], bool] = {}
"""(Task's content, limits) → whether its reference passes in shared isolation only; found once a process."""
_MOST_FOUND = 100_000
"""Of these; a server sees tasks without end."""


class _Ticket(NamedTuple):
    """What a job is about."""

    task: Task
    program: Program
    run: int = 0
    settles: bool = False
    """It is the task's reference in separate isolation: what comes of it says where programs are tested."""
    asked: bool = True
    """Somebody waits for the verdict."""


class Verifier:
    """Warm workers that verify programs; a context manager.

    Args:
        tasks: task_id → task, of every program that will come.
        limits: of each program.
        workers: how many at once; None is one per core.
        unsafe: run programs without isolation where there is none.
        isolation: where tests run, for tasks that leave it open (`Task.isolation` is `auto`). `auto` is
            `shared` where the reference passes only so, else `separate`; it costs one run of the reference a
            task and process.

    Raises:
        SandboxUnavailable: no isolation here, and `unsafe` is not set.
    """

    def __init__(
        self,
        tasks: Mapping[str, Task] | None = None,
        *,
        limits: Limits | None = None,
        workers: int | None = None,
        unsafe: bool = False,
        isolation: Where = "auto",
    ) -> None:
        self.tasks: Mapping[str, Task] = tasks or {}
        self.limits = limits or Limits()
        self.where: Where = isolation
        self.isolation = probe()
        if unsafe:
            self.isolation = Isolation(False, "none", None, "switched off by --unsafe")
            warnings.warn(
                "programs run WITHOUT isolation: they can read, change and send whatever you can",
                stacklevel=2,
            )
        elif not self.isolation.available:
            raise SandboxUnavailable(
                f"programs cannot be isolated here: {self.isolation.reason}. {self.isolation.advice}"
            )
        self.workers = workers or default_workers()
        self.numpy = numpy_available()
        self.known: dict[str, _Known] = {}
        self.idle: dict[int, list[Pool]] = {}
        self.busy: set[Pool] = set()
        self.lock = threading.Lock()

    def __enter__(self) -> Verifier:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """End the workers."""
        with self.lock:
            pools = [pool for pools in self.idle.values() for pool in pools]
            self.idle.clear()
        for pool in pools:
            pool.close()

    @contextmanager
    def pool(self, size: int) -> Iterator[Pool]:
        """A pool of that many workers for one caller: threads never share one."""
        with self.lock:
            found = self.idle.get(size) or [Pool(self.isolation, self.limits, size)]
            pool = found.pop()
            self.busy.add(pool)
        try:
            yield pool
        finally:
            with self.lock:
                self.busy.discard(pool)
                self.idle.setdefault(size, []).append(pool)

    def _known(self, task: Task) -> _Known:
        known = self.known.get(task.task_id)
        if known is None or known.task is not task:
            known = self.known[task.task_id] = _Known(task)
        return known

    def _job(self, ticket: _Ticket) -> Job:
        task, known, code = ticket.task, self._known(ticket.task), ticket.program.code
        message: dict[str, Any] = {"key": known.key, "code": code, "seed": ticket.run}
        if task.kind == stdin.KIND:
            message["code"] = stdin.wrapped(code, self.limits.cpu_seconds)
        elif self._shared(task):
            setup, tests = known.counting
            message |= {"shared": True, "setup": setup, "tests": tests, "shown": list(task.tests)}
        numpy = self.numpy and (known.numpy or "numpy" in code)
        job = Job(message, known.fields, len(code) + known.weight, numpy, ticket.run, tag=ticket)
        if not code.strip():
            job.result = {"status": "no_code", "error": "the completion held no code"}
        return job

    def _where(self, task: Task) -> Where:
        return self.where if task.isolation == "auto" else task.isolation

    def _found(self, task: Task) -> tuple[str, str]:
        """Where `_needs_shared` keeps what was found about a task."""
        return self._known(task).key, content_id(self.limits.model_dump(), self.isolation.available)

    def _shared(self, task: Task) -> bool:
        """Whether a task's tests run inside the program's process, as far as that is known yet."""
        where = self._where(task)
        return _needs_shared.get(self._found(task), False) if where == "auto" else where == "shared"

    def _settle(self, task: Task, verdict: Verdict) -> None:
        """Note where a task's tests run, from the verdict on its reference in separate isolation."""
        key = self._found(task)
        if verdict.status == "sandbox_error":
            return
        if len(_needs_shared) >= _MOST_FOUND:
            _needs_shared.pop(next(iter(_needs_shared)), None)
        # Limits that were broken have nothing to do with isolation.
        _needs_shared[key] = verdict.status in ("failed", "error")
        if _needs_shared[key]:
            reference = Program(task_id=task.task_id, code=task.reference or "")
            _needs_shared[key] = self._alone(_Ticket(task, reference)).passed

    def _alone(self, ticket: _Ticket) -> Verdict:
        with self.pool(1) as pool:
            [job] = pool.run([self._job(ticket)])
        return self._verdict(job)

    def _tickets(self, programs: Iterable[tuple[Task, Program]], repeat: int) -> Iterator[_Ticket]:
        """The programs; before the first one of a task of which nothing is known yet, its reference."""
        asked: set[tuple[str, str]] = set()
        for task, program in programs:
            settles = False
            if self._where(task) == "auto" and task.reference is not None:
                key = self._found(task)
                settles = key not in _needs_shared and key not in asked
                asked.add(key)
            if settles and program.code != task.reference:
                yield _Ticket(task, Program(task_id=task.task_id, code=task.reference or ""), 0, True, False)
                settles = False
            for run in range(repeat):
                yield _Ticket(task, program, run, settles and run == 0)

    def _verdicts(
        self, programs: Iterable[tuple[Task, Program]], repeat: int, workers: int
    ) -> Generator[Verdict]:
        """A verdict a program and run, in order."""
        with self.pool(workers) as pool:
            for job in pool.run(twinned(map(self._job, self._tickets(programs, repeat)))):
                ticket, verdict = job.tag, self._verdict(job)
                if ticket.settles:
                    self._settle(ticket.task, verdict)
                if not ticket.asked:
                    continue
                if not verdict.shared and self._shared(ticket.task):  # begun before that was found
                    verdict = self._alone(ticket)
                yield verdict

    def judge(
        self, programs: Iterable[tuple[Task, Program]], *, repeat: int = 1, workers: int | None = None
    ) -> Generator[Verdict]:
        """Verdicts on programs that come with their tasks, in their order, as they come.

        Args:
            programs: read as fast as workers take them; two tasks may have the same id.
            repeat: as of `verify`.
            workers: how many at once; None is all. Threads that ask at the same time share none.

        Raises:
            DataError: a task's tests are not Python.
        """
        runs: list[Verdict] = []
        with closing(self._verdicts(programs, repeat, workers or self.workers)) as verdicts:
            for one in verdicts:
                runs.append(one)
                if len(runs) == repeat:
                    yield runs[0] if repeat == 1 else merged(runs)
                    runs = []

    def verify(self, programs: Iterable[Program], *, repeat: int = 1) -> Iterator[Verdict]:
        """Verdicts on `programs`, in their order, as they come.

        Args:
            programs: read as fast as workers take them, never all at once.
            repeat: run each so many times, with other random and hash seeds; a program that passes some of
                them only is `flaky`.

        Raises:
            DataError: a program's task is not among the tasks, or a task's tests are not Python.
            SandboxFailure: too many programs could not be verified for the sandbox's own reasons.
        """

        def pairs() -> Iterator[tuple[Task, Program]]:
            for program in programs:
                task = self.tasks.get(program.task_id)
                if task is None:
                    raise DataError(
                        f"task {program.task_id!r} is not among the {len(self.tasks)} tasks given"
                    )
                yield task, program

        done = failed = 0
        with closing(self.judge(pairs(), repeat=repeat)) as verdicts:
            for verdict in verdicts:
                done += 1
                if verdict.status == "sandbox_error":
                    failed += 1
                    if failed >= SANDBOX_ERROR_MIN and failed > SANDBOX_ERROR_SHARE * done:
                        raise SandboxFailure(
                            f"the sandbox failed on {failed} of {done} programs, last with: {verdict.error}; "
                            "see `ilf doctor`"
                        )
                yield verdict

    def verify_one(self, task: Task, code: str) -> Verdict:
        """The verdict on one program, from a warm worker."""
        [verdict] = self._verdicts([(task, Program(task_id=task.task_id, code=code))], 1, 1)
        return verdict

    def run(self, task: Task, code: str, expression: str) -> Evaluation:
        """Evaluate an expression (or run statements) after the program, in its jail.

        Args:
            task: the program's task.
            code: the program.
            expression: Python; its value comes back as text.
        """
        numpy = self.numpy and ("numpy" in code or "numpy" in expression)
        job = Job({"code": code, "expression": expression, "seed": 0}, numpy=numpy)
        with self.pool(1) as pool:
            [job] = pool.run([job])
        result = job.result or {}
        return Evaluation(
            str(result.get("status", "sandbox_error")),
            result.get("value"), result.get("error"), result.get("line"), result.get("stdout"),
        )  # fmt: skip

    def _verdict(self, job: Job) -> Verdict:
        task, program = job.tag.task, job.tag.program
        result = job.result or {}
        if "bad_task" in result:
            raise DataError(f"task {program.task_id!r}: its tests cannot be run: {result['bad_task']}")
        fields = {name: result[name] for name in FIELDS if result.get(name) is not None}
        tests = result.get("tests") or [None] * len(task.tests)
        fields["tests"] = tuple(tests)
        told = task
        if task.kind == stdin.KIND:
            fields, told = stdin.told(fields, task), stdin.shown(task)
        return Verdict.model_validate(
            {
                **fields,
                "task_id": program.task_id,
                "program_id": program.program_id,
                "isolation": "bubblewrap" if self.isolation.available else "unsafe",
                "shared": bool(job.message.get("shared")),
                "detail": detail_of(fields, told),
            }
        )


class _Known:
    """A task as the judges get it."""

    def __init__(self, task: Task) -> None:
        self.task = task
        if task.kind == stdin.KIND:
            task = stdin.as_function(task)
        self.fields = task.model_dump(include=TASK_FIELDS)
        self.fields["tests"] = collected(task.tests)
        self.key = content_id(self.fields)
        self.weight = len(str(self.fields))
        self.numpy = any("numpy" in text or "np." in text for text in (task.setup, *task.tests))

    @cached_property
    def counting(self) -> tuple[str, list[str]]:
        """Setup and tests for the program's own process."""
        return counting(self.task.setup, self.fields["tests"])


TASK_FIELDS = {"entry_point", "tests", "prefix", "setup", "reference"}


def merged(runs: list[Verdict]) -> Verdict:
    """One verdict of several runs: `flaky` where they disagree on passing, else the first."""
    passes = sum(verdict.passed for verdict in runs)
    failed = [verdict for verdict in runs if verdict.status == "sandbox_error"]
    if failed:
        return failed[0]
    if passes in (0, len(runs)):
        return runs[0]
    other = next(verdict for verdict in runs if not verdict.passed)
    detail = f"Flaky: passed {passes} of {len(runs)} runs.\n{other.detail}"
    return other.model_copy(update={"status": "flaky", "detail": detail})


def verify(
    tasks: Mapping[str, Task],
    programs: Iterable[Program],
    *,
    limits: Limits | None = None,
    workers: int | None = None,
    repeat: int = 1,
    unsafe: bool = False,
    isolation: Where = "auto",
) -> Iterator[Verdict]:
    """Verdicts on `programs`, in their order, as they come; memory does not grow with their number.

    Args:
        tasks: task_id → task.
        programs: an iterable, read as fast as it is verified.
        limits: of each program; None is the defaults.
        workers: programs at once; None is one per core.
        repeat: runs of each program; more than one finds those that pass only sometimes (`flaky`).
        unsafe: run programs without isolation where there is none.
        isolation: where tests run, for tasks that leave it open; see `Verifier`.

    Raises:
        SandboxUnavailable: no isolation here, and `unsafe` is not set.
        SandboxFailure: too many programs could not be verified for the sandbox's own reasons.
        DataError: a program's task is not among the tasks, or a task's tests are not Python.
    """
    with Verifier(tasks, limits=limits, workers=workers, unsafe=unsafe, isolation=isolation) as verifier:
        yield from verifier.verify(programs, repeat=repeat)


def tally(verdicts: Iterable[Verdict]) -> Counter[str]:
    """How many verdicts of each status."""
    return Counter(verdict.status for verdict in verdicts)
