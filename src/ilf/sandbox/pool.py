"""The parent's side: workers (a judge and its fork servers each), fed and watched by one loop.

The parent runs no test and no program; it reads JSON from judges. It keeps every worker two or three programs
ahead, restarts what is hurt, retries what the sandbox lost, runs again alone what ran out of time on a busy
core, and gives results back in order, holding at most `WINDOW` of them.
"""

from __future__ import annotations

import collections
import contextlib
import itertools
import os
import selectors
import signal
import socket
import subprocess
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from ilf.errors import SandboxFailure
from ilf.sandbox.folders import Folder
from ilf.sandbox.inside import codec
from ilf.sandbox.isolation import Isolation, end, start
from ilf.sandbox.limits import Limits

AHEAD = 3
"""Programs given to a worker before its first verdict is back."""
LIGHT = 30_000
"""Characters of a program with its task that a busy worker is given: its socket holds two such, so that the
loop never waits for one worker."""
WINDOW = 1024
"""Programs between the oldest without a verdict and the newest begun."""
ATTEMPTS = 3
"""Runs of a program that the sandbox loses before it is called `sandbox_error`."""
RECENT = 512
"""Programs that are remembered, to run the same one once; the samples of a task stand together."""
LONGEST_MESSAGE = 64 << 20
_uids = itertools.count(os.getpid() * 64)


@dataclass
class Job:
    """One program for a worker."""

    message: dict[str, Any]
    """What the judge gets."""
    task: dict[str, Any] | None = None
    """The task, sent to each judge once."""
    weight: int = 0
    """Characters of both, about."""
    numpy: bool = False
    hash_seed: int = 0
    result: dict[str, Any] | None = None
    attempts: int = 0
    alone: bool = False
    tag: Any = None
    """The caller's."""
    twin: Job | None = None
    """An earlier one that is the same: it is run, and what comes of it holds for both."""
    number: int = field(default=0)


def twinned(jobs: Iterable[Job]) -> Iterator[Job]:
    """The jobs, each told of a recent one that is the same: what a program does is decided by its text.

    Its random numbers and hashes are too (`seed`). Of a model's samples for a task many are the same.
    """
    recent: dict[tuple[object, ...], Job] = {}
    for job in jobs:
        key = tuple(job.message.get(part) for part in ("key", "code", "seed", "shared"))
        job.twin = recent.get(key)
        if job.twin is None:
            recent[key] = job
            if len(recent) > RECENT:
                del recent[next(iter(recent))]
        yield job


class Worker:
    """A judge, its fork servers, and the programs they have in hand."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.processes: list[subprocess.Popen[bytes]] = []
        self.folders: list[Folder] = []
        self.servers: set[str] = set()
        self.tasks: set[str] = set()
        self.jobs: collections.deque[Job] = collections.deque()
        self.progress = time.monotonic()
        self.socket, theirs = socket.socketpair()
        self.socket.settimeout(60)
        with theirs:
            self._start("judge", theirs)

    def _start(self, role: Any, descriptor: socket.socket, **options: Any) -> None:
        pool = self.pool
        folder = "/tmp"
        if pool.how is None:
            self.folders.append(Folder("unsafe"))
            folder = str(self.folders[-1].path)
        process = start(role, pool.how, descriptor, pool.limits, folder=folder, **options)
        self.processes.append(process)

    def give(self, job: Job) -> None:
        """Hand over a program, with its task and server where the judge has not seen them yet."""
        server = f"{job.hash_seed}{'-numpy' if job.numpy else ''}"
        if server not in self.servers:
            uid = None
            if self.pool.how == "root":
                uid = 0x60000000 + next(_uids) % 0x10000000
            ours, theirs = socket.socketpair()
            with ours, theirs:
                self._start("server", theirs, uid=uid, hash_seed=job.hash_seed, numpy=job.numpy)
                self._send({"op": "server", "server": server})
                socket.send_fds(self.socket, [b"F"], [ours.fileno()])
            self.servers.add(server)
        message = {**job.message, "op": "run", "id": job.number, "server": server, "attempts": job.attempts}
        if job.task is not None and message["key"] not in self.tasks:
            message["task"] = job.task
            self.tasks.add(message["key"])
        if not self.jobs:
            self.progress = time.monotonic()
        self.jobs.append(job)
        self._send(message)

    def _send(self, message: dict[str, Any]) -> None:
        data = codec.dumps(message)
        self.socket.sendall(len(data).to_bytes(4, "little") + data)

    def receive(self) -> dict[str, Any]:
        """The judge's next message; OSError or ValueError if there is none."""
        size = int.from_bytes(self._exactly(4), "little")
        if size > LONGEST_MESSAGE:
            raise ValueError("a message of impossible length")
        message = codec.loads(self._exactly(size))
        if type(message) is not dict:
            raise ValueError("not a message")
        self.progress = time.monotonic()
        return message

    def _exactly(self, size: int) -> bytes:
        parts = []
        while size:
            part = self.socket.recv(size)
            if not part:
                raise ConnectionError("the judge is gone")
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def complaint(self) -> str:
        """What the worker's processes said before they died."""
        said = []
        for process in self.processes:
            with contextlib.suppress(OSError, ValueError):
                assert process.stderr is not None
                os.set_blocking(process.stderr.fileno(), False)
                said.append((process.stderr.read() or b"").decode("utf-8", "replace").strip())
        return " ".join(text for text in said if text)[-500:]

    def judged_too_long(self) -> bool:
        """Whether the judge was ended by its own timer: its head program's results are what took so long."""
        try:
            return self.processes[0].wait(0.5) in (128 + signal.SIGVTALRM, -signal.SIGVTALRM)
        except subprocess.TimeoutExpired:
            return False

    def close(self) -> None:
        """End everything this worker has."""
        self.socket.close()
        for process in self.processes:
            end(process)
        for process in self.processes:
            process.wait()
            if process.stderr is not None:
                process.stderr.close()
        for folder in self.folders:
            folder.close()


class Pool:
    """Workers, and the loop that feeds them.

    Args:
        isolation: how to make jails; one that is not available runs programs without (`--unsafe`).
        limits: of each program.
        workers: how many judge-and-server pairs.
    """

    def __init__(self, isolation: Isolation, limits: Limits, workers: int) -> None:
        self.how = isolation.how
        self.limits = limits
        self.size = workers
        self.workers: list[Worker] = []
        self.numbers = itertools.count()
        self.restarts = 0
        # Beyond every limit that the server and the judge keep by themselves.
        self.patience = 10 * limits.wall_seconds + 30

    def close(self) -> None:
        """End every worker."""
        for worker in self.workers:
            worker.close()
        self.workers.clear()

    def run(self, jobs: Iterable[Job]) -> Iterator[Job]:
        """Run jobs; yield each, in order, with its `result`."""
        source = iter(jobs)
        order: collections.deque[Job] = collections.deque()
        ready: collections.deque[Job] = collections.deque()
        again: collections.deque[Job] = collections.deque()
        exhausted = False
        selector = selectors.DefaultSelector()
        try:
            while len(self.workers) < self.size:
                self.workers.append(Worker(self))
            for worker in self.workers:
                selector.register(worker.socket, selectors.EVENT_READ, worker)
            while True:
                while order and self._settled(order[0], ready):
                    yield order.popleft()
                busy = any(worker.jobs for worker in self.workers)
                if not busy and again:
                    job = again.popleft()
                    job.alone = True
                    self._give(selector, self.workers[0], job, ready, again)
                elif not any(job.alone for worker in self.workers for job in worker.jobs):
                    for depth in range(AHEAD):
                        for worker in self.workers:
                            if len(worker.jobs) != depth:
                                continue
                            if not ready and not exhausted and len(order) < WINDOW:
                                for job in itertools.islice(source, 1):
                                    job.number = next(self.numbers)
                                    order.append(job)
                                    if job.result is None and job.twin is None:
                                        ready.append(job)
                                    break
                                else:
                                    exhausted = True
                            if ready and (not depth or ready[0].weight < LIGHT):
                                self._give(selector, worker, ready.popleft(), ready, again)
                if not order and exhausted:
                    return
                if not any(worker.jobs for worker in self.workers):
                    continue
                for key, _ in selector.select(1.0):
                    self._take(selector, key.data, ready, again)
                now = time.monotonic()
                for worker in list(self.workers):
                    if worker.jobs and now - worker.progress > self.patience:
                        self._replace(selector, worker, ready, again, hung=True)
        finally:
            selector.close()
            if any(worker.jobs for worker in self.workers):
                self.close()  # the caller stopped early: what is under way ends with it

    @staticmethod
    def _settled(head: Job, ready: collections.deque[Job]) -> bool:
        """Whether the oldest job has its result; its twin was given back before it, so has one."""
        if head.twin is not None:
            found, head.twin = head.twin.result, None
            if found is None or found.get("status") == "sandbox_error":  # no word about the program
                ready.append(head)
            else:
                head.result = found
        return head.result is not None

    def _give(
        self,
        selector: selectors.BaseSelector,
        worker: Worker,
        job: Job,
        ready: collections.deque[Job],
        again: collections.deque[Job],
    ) -> None:
        try:
            worker.give(job)
        except OSError:
            if job not in worker.jobs:
                worker.jobs.append(job)
            self._replace(selector, worker, ready, again)

    def _take(
        self,
        selector: selectors.BaseSelector,
        worker: Worker,
        ready: collections.deque[Job],
        again: collections.deque[Job],
    ) -> None:
        try:
            message = worker.receive()
            job = worker.jobs[0]
            if message.get("id") != job.number:
                raise ValueError("an answer to another question")
        except (OSError, ValueError, IndexError):
            self._replace(selector, worker, ready, again)
            return
        if message.get("unknown"):
            worker.tasks.discard(job.message["key"])
            worker.jobs.popleft()
            ready.appendleft(job)
        elif message.get("lost"):
            self._replace(selector, worker, ready, again)
        else:
            worker.jobs.popleft()
            if message.get("status") == "timeout" and message.get("contended") and not job.alone:
                again.append(job)
            else:
                job.result = message
            if message.get("worn"):
                self._replace(selector, worker, ready, again, worn=True)

    def _replace(
        self,
        selector: selectors.BaseSelector,
        worker: Worker,
        ready: collections.deque[Job],
        again: collections.deque[Job],
        hung: bool = False,
        worn: bool = False,
    ) -> None:
        """A worker is hurt: start another, and give its programs out again.

        Args:
            hung: it has not answered for very long.
            worn: it has answered, but cannot go on; no program that it still has is the cause.
        """
        slow = worker.judged_too_long()
        complaint = worker.complaint()
        selector.unregister(worker.socket)
        worker.close()
        self.restarts += 1
        left = list(worker.jobs)
        if left and not worn:
            first = left[0]
            first.attempts += 1
            if slow and not first.alone:
                again.append(left.pop(0))
            elif slow or (hung and first.attempts > 1):
                first.result = {
                    "status": "timeout",
                    "error": "testing what the program returned took too long",
                }
                left.pop(0)
            elif first.attempts >= ATTEMPTS:
                first.result = {
                    "status": "sandbox_error",
                    "error": complaint or "the sandbox's processes ended",
                }
                left.pop(0)
        for job in reversed(left):
            job.alone = False
            ready.appendleft(job)
        new = Worker(self)
        self.workers[self.workers.index(worker)] = new
        selector.register(new.socket, selectors.EVENT_READ, new)


__all__ = ["AHEAD", "Job", "Pool", "SandboxFailure", "twinned"]
