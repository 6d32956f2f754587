"""The fork server: one warm interpreter in a jail that forks a process per program and cleans up behind it.

It is process 1 of the jail's own pid namespace: signals from programs do not reach it, orphans become its
children, and one `kill(-1)` ends everything a program left. It reads no program output and decides nothing;
it measures, limits, cleans, and passes bytes on.

Frames to the server: length (4 bytes), mode letter, request. Frames from it: length, then `D` and a report,
or `M` and a live answer.
"""

from __future__ import annotations

import contextlib
import gc
import io
import json
import math
import os
import resource
import select
import signal
import struct
import sys
import time
from typing import Any

from . import codec, program

REPORT = struct.Struct(
    "<iBddBI"
)  # wait status, reason, CPU and wall seconds, contended, length of the answers
FINISHED, CPU, WALL, MEMORY, PROCESSES = range(5)
PAGE = resource.getpagesize()
# Not `random`, `threading` and what needs them (`dataclasses`, `queue`, `statistics` …): their after-fork
# handlers would run for every program, at 0.15 to 0.5 ms each.
PREIMPORT = (
    "abc array bisect cmath collections collections.abc copy datetime decimal enum fractions functools heapq "
    "itertools json math operator re string sys time typing warnings _random"
)


class Bounded(io.RawIOBase):
    """Standard output that never fails for being full: the oldest text gives way to the newest."""

    def writable(self) -> bool:
        """Always."""
        return True

    def fileno(self) -> int:
        """The descriptor of standard output."""
        return 1

    def write(self, data: Any) -> int:
        """Write, or make room first."""
        try:
            return os.write(1, data)
        except OSError:
            os.ftruncate(1, 0)
            os.lseek(1, 0, os.SEEK_SET)
            view = memoryview(data)[-4096:]
            os.write(1, view)
            return len(data)


class Server:
    """Runs programs one after the other, each in a process of its own."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self.settings = settings
        self.judge: int = settings["judge"]
        self.proc: int = settings["proc"]
        self.isolated: bool = settings["isolated"]
        self.uid: int | None = settings["uid"]
        self.cpu: float = settings["cpu_seconds"]
        self.wall: float = settings["wall_seconds"]
        self.memory: int = settings["memory_bytes"]
        self.tmp: str = settings["tmp"]
        self.processes: int = settings["processes"]
        self.files: int = settings["open_files"]
        self.cpu_limit = math.ceil(self.cpu) + 1
        self.poll = select.poll()
        self.children_cpu = 0.0
        self.own_pages = 0
        self.baseline: tuple[Any, ...] = ()
        self.contended = False
        self.pace = min(_yardstick() for _ in range(5))

    def serve(self) -> None:
        """Answer requests until the judge is gone."""
        self.own_pages = self._pages(os.getpid())
        self.baseline = self._traces()
        while True:
            header = self._read(4)
            request = self._read(int.from_bytes(header, "little"))
            self.one(chr(request[0]), request[1:])

    def _read(self, size: int) -> bytes:
        data = os.read(self.judge, size)
        if len(data) == size:
            return data
        parts = [data]
        size -= len(data)
        while size:
            data = os.read(self.judge, min(size, 1 << 20))
            if not data:
                os._exit(0)
            parts.append(data)
            size -= len(data)
        return b"".join(parts)

    def _write(self, kind: bytes, *parts: bytes) -> None:
        size = sum(map(len, parts)) + 1
        view = memoryview(b"".join((size.to_bytes(4, "little"), kind, *parts)))
        while view:
            view = view[os.write(self.judge, view) :]

    def _store(self, name: str) -> int:
        if self.isolated:
            return os.open(".", os.O_TMPFILE | os.O_RDWR, 0o600, dir_fd=self.settings[name])
        return os.memfd_create(name)

    def one(self, mode: str, request: bytes) -> None:
        """Run one program, report, and leave no trace of it."""
        self.contended = False
        answers, output = self._store("answers"), self._store("output")
        ours = theirs = -1
        if mode == "l":
            import socket

            pair = socket.socketpair()
            ours, theirs = pair[0].detach(), pair[1].detach()
        # Parsed and compiled here, where the parser is warm: a fresh fork pays for every page it touches.
        message = codec.loads(request)
        code = None
        if message.get("ahead"):
            with contextlib.suppress(Exception):
                code = compile(message["code"], program.FILE, "exec", dont_inherit=True)
        started = time.monotonic()
        gc.freeze()
        pid = os.fork()
        if pid == 0:
            self.become_program(answers, output, ours, theirs, mode, message, code)
        if theirs >= 0:
            os.close(theirs)
        watch = os.pidfd_open(pid)
        try:
            reason = self.wait(pid, watch, ours)
            status, used = self.clean(pid)
        finally:
            os.close(watch)
            if ours >= 0:
                os.close(ours)
        wall = time.monotonic() - started
        if reason == FINISHED and (
            used > self.cpu or (os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGXCPU)
        ):
            reason = CPU
        data = _contents(answers)
        text = _contents(output)
        os.close(answers)
        os.close(output)
        self._write(b"D", REPORT.pack(status, reason, used, wall, self.contended, len(data)), data, text)
        if not self.spotless():
            os._exit(3)  # the pool starts a fresh jail

    def become_program(
        self, answers: int, output: int, ours: int, theirs: int, mode: str, message: Any, code: Any
    ) -> None:
        """In the child: give up what the program must not have, then run it. Never returns."""
        try:
            if theirs >= 0:
                theirs = os.dup2(theirs, 60)
                answers = os.dup2(answers, 61)
                output = os.dup2(output, 62)
                os.dup2(theirs, program.LIVE)
            os.dup2(output, 1)
            os.dup2(output, 2)
            os.dup2(answers, program.ANSWERS)
            os.closerange(program.LIVE + (theirs >= 0), 64)
            resource.setrlimit(resource.RLIMIT_CPU, (self.cpu_limit, self.cpu_limit + 1))
            resource.setrlimit(resource.RLIMIT_NOFILE, (self.files, self.files))
            if self.uid is not None:
                os.setgroups([])
                os.setresgid(self.uid, self.uid, self.uid)
                os.setresuid(self.uid, self.uid, self.uid)
            if not self.isolated:
                os.setsid()
        except BaseException:
            os._exit(99)
        program.run(mode, message, code)

    def wait(self, pid: int, watch: int, live: int) -> int:
        """Until the program's process ends, or breaks a limit; meanwhile pass live messages on."""
        poll = self.poll
        poll.register(watch, select.POLLIN)
        idle = 0.0  # wall time spent waiting for the judge, which is not the program's
        started = time.monotonic()
        tick = min(0.1, self.cpu, self.wall)
        if live >= 0:
            poll.register(live, select.POLLIN)
        listening = live >= 0
        try:
            while True:
                events = poll.poll(tick * 1000 + 1)
                if not events:
                    reason = self.exceeded(pid, time.monotonic() - started - idle)
                    if reason != FINISHED:
                        self.contended = self._shared_core(pid, time.monotonic() - started)
                        return reason
                    tick = 0.05
                for descriptor, _ in events:
                    if descriptor == watch:
                        return FINISHED
                    if descriptor == live:
                        message = _frame(live)
                        if message is None:
                            poll.unregister(live)
                            listening = False
                            continue
                        reason = self.exceeded(pid, time.monotonic() - started - idle)
                        if reason != FINISHED:
                            self.contended = self._shared_core(pid, time.monotonic() - started)
                            return reason
                        self._write(b"M", message)
                        before = time.monotonic()
                        answer = self._read(int.from_bytes(self._read(4), "little"))
                        idle += time.monotonic() - before
                        if answer[:1] != b"C":
                            return FINISHED
                        if not _send(live, answer[1:]):
                            return FINISHED
        finally:
            poll.unregister(watch)
            if listening:
                poll.unregister(live)

    def exceeded(self, pid: int, wall: float) -> int:
        """Which limit the running program has broken."""
        try:
            used = time.clock_gettime(((~pid) << 3) | 2)
        except OSError:
            return FINISHED
        if used > self.cpu:
            return CPU
        pids = self._descendants(pid)
        if len(pids) > self.processes:
            return PROCESSES
        if pids and sum(max(0, self._pages(p) - self.own_pages) for p in pids) * PAGE > self.memory:
            return MEMORY
        if wall > self.wall and wall - self._queued(pid) > self.wall:
            return WALL
        return WALL if wall > 10 * self.wall else FINISHED

    def _descendants(self, pid: int) -> list[int]:
        if self.proc < 0:
            return []
        if self.isolated:
            return [int(name) for name in os.listdir(self.proc) if name.isdigit() and name != "1"]
        found = [pid]
        for parent in found:
            found += self._children(parent)
        return found

    def _children(self, pid: int) -> list[int]:
        found: list[int] = []
        try:
            for thread in os.listdir(f"/proc/{pid}/task"):
                with open(f"/proc/{pid}/task/{thread}/children") as file:
                    found += map(int, file.read().split())
        except OSError:
            pass
        return found

    def _proc(self, pid: int, name: str) -> list[bytes]:
        if self.proc < 0:
            return []
        try:
            descriptor = os.open(f"{pid}/{name}", os.O_RDONLY, dir_fd=self.proc)
        except OSError:
            return []
        try:
            return os.read(descriptor, 200).split()
        except OSError:
            return []
        finally:
            os.close(descriptor)

    def _pages(self, pid: int) -> int:
        fields = self._proc(pid, "statm")
        return int(fields[1]) if fields else 0

    def _queued(self, pid: int) -> float:
        """Seconds for which the process could have run but no core was free."""
        fields = self._proc(pid, "schedstat")
        return int(fields[1]) / 1e9 if len(fields) > 1 else 0.0

    def _shared_core(self, pid: int, wall: float) -> bool:
        """Whether a program that ran out of time had to share its core: then it is no verdict yet."""
        pace = _yardstick()
        slow = pace > 1.25 * self.pace
        self.pace = min(self.pace, pace)
        return slow or self._queued(pid) > 0.02 * wall

    def clean(self, pid: int) -> tuple[int, float]:
        """End every process of the program; its wait status and the CPU seconds of all of them."""
        used = 0.0
        status = 0
        found = False
        while True:
            self.kill_all(pid)
            try:
                while True:
                    # The first round may have to wait for the kill to take effect, so it blocks.
                    ended, code, usage = os.wait4(-1, 0)
                    used += usage.ru_utime + usage.ru_stime
                    if ended == pid:
                        status, found = code, True
            except ChildProcessError:
                break
        return (status if found else 0), used

    def kill_all(self, pid: int) -> None:
        """SIGKILL to everything but the server."""
        if self.isolated:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(-1, signal.SIGKILL)
            return
        left = [pid, *self._children(os.getpid())]
        for parent in left:
            left += self._children(parent)
        for number in left:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(number, signal.SIGKILL)

    def _traces(self) -> tuple[Any, ...]:
        folder = os.stat(self.tmp)
        if not self.isolated:
            return (folder.st_mtime_ns, folder.st_mode)
        space = os.statvfs(self.tmp)
        return (
            folder.st_mtime_ns,
            folder.st_ctime_ns,
            folder.st_mode,
            folder.st_uid,
            space.f_ffree,
            space.f_bfree,
        )

    def spotless(self) -> bool:
        """Empty the private /tmp if the program wrote there; False if that failed."""
        if self._traces() == self.baseline:
            return True
        try:
            os.chmod(self.tmp, 0o700)
            empty(self.tmp)
            if self.isolated:
                self.tidy_owner()
        except OSError:
            return False
        after = self._traces()
        clean = not self.isolated or after[4:] == self.baseline[4:]
        self.baseline = after
        return clean

    def tidy_owner(self) -> None:
        """The folder belongs to the program's user again."""
        if self.uid is not None and os.stat(self.tmp).st_uid != self.uid:
            raise OSError("the folder changed hands")


def _yardstick() -> float:
    """Processor seconds that a fixed piece of work takes now."""
    before = time.thread_time()
    for number in range(20_000):
        number * number
    return time.thread_time() - before


def empty(folder: str) -> None:
    """Delete all in `folder`, however deep: nested folders are moved up first, so no path grows long."""
    number = 0
    while True:
        with os.scandir(folder) as entries:
            found = list(entries)
        if not found:
            return
        for entry in found:
            if not entry.is_dir(follow_symlinks=False):
                os.unlink(entry.path)
                continue
            os.chmod(entry.path, 0o700)
            with os.scandir(entry.path) as inner:
                children = list(inner)
            for child in children:
                if child.is_dir(follow_symlinks=False):
                    os.chmod(child.path, 0o700)
                    number += 1
                    os.rename(child.path, f"{folder}/.{os.getpid()}-{number}-{time.monotonic_ns()}")
                else:
                    os.unlink(child.path)
            os.rmdir(entry.path)


def _contents(descriptor: int) -> bytes:
    size = os.fstat(descriptor).st_size
    return os.pread(descriptor, size, 0) if size else b""


def _frame(descriptor: int) -> bytes | None:
    """One length-prefixed message from the program; None at its end or where it is no message."""
    header = _some(descriptor, 4)
    size = int.from_bytes(header, "little")
    if len(header) < 4 or size > program.MAX_ANSWER + 1000:
        return None
    data = _some(descriptor, size)
    return data if len(data) == size else None


def _some(descriptor: int, size: int) -> bytes:
    """Up to `size` bytes; fewer where the program stops in the middle for a second."""
    parts: list[bytes] = []
    while size:
        ready, _, _ = select.select([descriptor], [], [], 1.0)
        if not ready:
            break
        try:
            data = os.read(descriptor, min(size, 1 << 20))
        except OSError:
            break
        if not data:
            break
        parts.append(data)
        size -= len(data)
    return b"".join(parts)


def _send(descriptor: int, data: bytes) -> bool:
    view = memoryview(len(data).to_bytes(4, "little") + data)
    while view:
        _, ready, _ = select.select([], [descriptor], [], 5.0)
        if not ready:
            return False
        try:
            view = view[os.write(descriptor, view[: 1 << 16]) :]
        except OSError:
            return False
    return True


def main() -> None:
    """Warm up and serve."""
    settings = json.loads(sys.argv[1])
    for name in ("judge", "proc", "answers", "output"):
        if settings.get(name, -1) >= 0:
            os.set_inheritable(settings[name], False)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    sys.path[:] = ["/ilf" if settings["isolated"] else sys.path[0], *settings["path"]]
    for name in [*PREIMPORT.split(), *settings["preimport"]]:
        __import__(name)
    sys.stdout = io.TextIOWrapper(io.BufferedWriter(Bounded(), 8192), "utf-8", "backslashreplace")
    sys.stderr = io.TextIOWrapper(
        io.BufferedWriter(Bounded(), 8192), "utf-8", "backslashreplace", line_buffering=True
    )
    vars(sys).update(__stdout__=sys.stdout, __stderr__=sys.stderr)
    sys.argv = [program.FILE]
    sys.path[:] = settings["path"]
    server = Server(settings)
    gc.collect()
    gc.disable()
    gc.set_threshold(5000, 10, 10)  # of the programs, which switch it on again
    server.serve()
