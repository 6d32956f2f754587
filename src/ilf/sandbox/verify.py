"""`verify(tasks, programs) → verdicts`: EVAL(x, t) of Algorithm 1, for programs nobody trusts."""

from __future__ import annotations

import threading
import warnings
from collections import Counter
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ilf.errors import DataError, SandboxFailure, SandboxUnavailable
from ilf.records import Program, Task, Verdict, content_id
from ilf.sandbox import stdin
from ilf.sandbox.collect import collected, counting
from ilf.sandbox.isolation import Isolation, numpy_available, probe
from ilf.sandbox.limits import Limits, default_workers
from ilf.sandbox.pool import Job, Pool
from ilf.sandbox.report import detail_of

SANDBOX_ERROR_SHARE = 0.02
"""Above this share of `sandbox_error`, once `SANDBOX_ERROR_MIN` of them came, verifying stops."""
SANDBOX_ERROR_MIN = 5
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


class Verifier:
    """Warm workers that verify programs; a context manager.

    Args:
        tasks: task_id → task, of every program that will come.
        limits: of each program.
        workers: how many at once; None is one per core.
        unsafe: run programs without isolation where there is none.

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
    ) -> None:
        self.tasks: Mapping[str, Task] = tasks or {}
        self.limits = limits or Limits()
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

    def _job(self, task: Task, program: Program, run: int = 0) -> Job:
        code = program.code
        known = self.known.get(task.task_id)
        if known is None or known.task is not task:
            known = self.known[task.task_id] = _Known(task)
        message: dict[str, Any] = {"key": known.key, "code": code, "seed": run}
        if task.isolation == "shared" and task.kind != stdin.KIND:
            setup, tests = known.counting
            message |= {"shared": True, "setup": setup, "tests": tests, "shown": list(task.tests)}
        if task.kind == stdin.KIND:
            message["code"] = stdin.wrapped(code, self.limits.cpu_seconds)
        numpy = self.numpy and (known.numpy or "numpy" in code)
        weight = len(code) + known.weight
        job = Job(message, known.fields, weight, numpy, run, tag=(task, program))
        if not code.strip():
            job.result = {"status": "no_code", "error": "the completion held no code"}
        return job

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

        def jobs() -> Iterator[Job]:
            for program in programs:
                task = self.tasks.get(program.task_id)
                if task is None:
                    raise DataError(
                        f"task {program.task_id!r} is not among the {len(self.tasks)} tasks given"
                    )
                for run in range(repeat):
                    yield self._job(task, program, run)

        done = failed = 0
        runs: list[Verdict] = []
        with self.pool(self.workers) as pool:
            for job in pool.run(jobs()):
                runs.append(self._verdict(job))
                if len(runs) < repeat:
                    continue
                verdict = runs[0] if repeat == 1 else merged(runs)
                runs = []
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
        program = Program(task_id=task.task_id, code=code)
        with self.pool(1) as pool:
            [job] = pool.run([self._job(task, program)])
        return self._verdict(job)

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
        task, program = job.tag
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
                "shared": task.isolation == "shared",
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
) -> Iterator[Verdict]:
    """Verdicts on `programs`, in their order, as they come; memory does not grow with their number.

    Args:
        tasks: task_id → task.
        programs: an iterable, read as fast as it is verified.
        limits: of each program; None is the defaults.
        workers: programs at once; None is one per core.
        repeat: runs of each program; more than one finds those that pass only sometimes (`flaky`).
        unsafe: run programs without isolation where there is none.

    Raises:
        SandboxUnavailable: no isolation here, and `unsafe` is not set.
        SandboxFailure: too many programs could not be verified for the sandbox's own reasons.
        DataError: a program's task is not among the tasks, or a task's tests are not Python.
    """
    with Verifier(tasks, limits=limits, workers=workers, unsafe=unsafe) as verifier:
        yield from verifier.verify(programs, repeat=repeat)


async def verify_async(
    tasks: Mapping[str, Task],
    programs: Iterable[Program] | AsyncIterable[Program],
    *,
    limits: Limits | None = None,
    workers: int | None = None,
    repeat: int = 1,
    unsafe: bool = False,
) -> AsyncIterator[Verdict]:
    """`verify` for an event loop: programs may come from an async iterator, verdicts go to one.

    Arguments, order and errors are those of `verify`.
    """
    import asyncio

    loop = asyncio.get_running_loop()
    stopped = threading.Event()
    iterator = aiter(programs) if isinstance(programs, AsyncIterable) else None
    plain = None if isinstance(programs, AsyncIterable) else iter(programs)

    def source() -> Iterator[Program]:
        while not stopped.is_set():
            if iterator is not None:
                try:
                    yield asyncio.run_coroutine_threadsafe(_next(iterator), loop).result()
                except StopAsyncIteration:
                    return
            else:
                assert plain is not None
                yield from plain
                return

    verdicts = verify(tasks, source(), limits=limits, workers=workers, repeat=repeat, unsafe=unsafe)
    end = object()
    try:
        while True:
            verdict = await asyncio.to_thread(next, verdicts, end)
            if verdict is end:
                return
            assert isinstance(verdict, Verdict)
            yield verdict
    finally:
        stopped.set()
        await asyncio.to_thread(_close, verdicts)


async def _next(iterator: AsyncIterator[Program]) -> Program:
    return await anext(iterator)


def _close(verdicts: Iterator[Verdict]) -> None:
    close = getattr(verdicts, "close", None)
    if close is not None:
        close()


def tally(verdicts: Iterable[Verdict]) -> Counter[str]:
    """How many verdicts of each status."""
    return Counter(verdict.status for verdict in verdicts)
