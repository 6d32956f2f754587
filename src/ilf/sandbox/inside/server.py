"""The fork server: one warm interpreter in a jail that forks a process per program and cleans up behind it.

It is process 1 of the jail's own pid namespace: signals from programs do not reach it, orphans become its
children, and one `kill(-1)` ends everything a program left. It reads no program output and decides nothing;
it measures, limits, cleans, and passes bytes on.

Frames to the server: length (4 bytes), request (`program.run` reads it), mode letter; in a conversation `C`
and a message, or `E` for its end. Frames from it: length, then `D` and a report, or `M` and a live answer.

In a fork, and in the server after one, the first write to each page is a fault that copies it; every object
that is used is written to. So what is done here for every program is done with few objects.
"""

from __future__ import annotations

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

from . import program
from .exceptions import FILE
from .processes import CPU, FINISHED, Processes
from .upkeep import DESCRIPTORS as DESCRIPTORS
from .upkeep import Bounded, compact, confine, empty, pread, wipe
from .wire import ANSWERS, LIVE

# `D`, wait status, reason, CPU and wall seconds, contended, length of the answers; answers and output follow.
REPORT = struct.Struct("<ciBddBI")
FRAMED_REPORT = struct.Struct("<IciBddBI")
LIVE_MODE = ord("l")
SCRATCH = 256 << 10
REHEARSALS = 20
STREAMS = (1, 2, ANSWERS)
# Not `random`, `threading` and what needs them (`dataclasses`, `queue`, `statistics` …): their after-fork
# handlers would run for every program, at 0.15 to 0.5 ms each. Nor what few programs need: a fork copies the
# page tables of all memory and the mappings of every library.
PREIMPORT = (
    "abc bisect collections collections.abc copy enum functools heapq itertools json math operator re string "
    "sys time typing warnings"
)


class Broken(Exception):
    """The program broke a limit, or ended, in the middle of a message."""


class Server(Processes):
    """Runs programs one after the other, each in a process of its own.

    Programs are forks of this process and can read all of its memory. So what belongs to one program (its
    code, its calls, its answers) is kept in buffers only, as bytes, and wiped before the next.
    """

    def __init__(self, settings: dict[str, Any]) -> None:
        super().__init__(settings)
        self.settings = settings
        self.judge: int = settings["judge"]
        self.uid: int | None = settings["uid"]
        self.tmp: str = settings["tmp"]
        self.files = (settings["open_files"], settings["open_files"])
        self.answer_bytes: int = settings["answer_bytes"]
        self.output_bytes: int = settings["output_bytes"]
        seconds = math.ceil(self.cpu) + 1
        self.cpu_limit = (seconds, seconds + 1)
        self.poll = select.poll()
        self.baseline: tuple[Any, ...] = ()
        self.contended = False
        self.scratch = memoryview(bytearray(SCRATCH))
        self.header = bytearray(4)
        self.filling: list[Any] = []
        self.idle = 0.0  # wall time that a program waited for the judge, which is not its own

    def serve(self) -> None:
        """Answer requests until the judge is gone."""
        self.own_pages = self._pages(os.getpid())
        os.utime(self.tmp, (0, 0))
        self.baseline = self._traces()
        while True:
            self.one(self._read())

    def _read(self) -> memoryview:
        """A message of the judge's, in the scratch buffer if it fits."""
        self._fill(self.header)
        message = self._buffer(int.from_bytes(self.header, "little"))
        self._fill(message)
        return message

    def _fill(self, buffer: bytearray | memoryview) -> None:
        size = len(buffer)
        count = os.readv(self.judge, [buffer])
        while count < size:
            more = os.readv(self.judge, [memoryview(buffer)[count:]])
            if not more:
                os._exit(0)
            count += more

    def _buffer(self, size: int) -> memoryview:
        return self.scratch[:size] if size <= SCRATCH else memoryview(bytearray(size))

    def _write(self, view: memoryview) -> None:
        count = os.write(self.judge, view)
        while count < len(view):
            count += os.write(self.judge, view[count:])

    def _store(self, name: str) -> int:
        if self.isolated:
            return os.open(".", os.O_TMPFILE | os.O_RDWR, 0o600, dir_fd=self.settings[name])
        return os.memfd_create(name)

    def one(self, request: memoryview) -> None:
        """Run one program, report, and leave no trace of it."""
        self.contended = False
        answers, output = self._store("answers"), self._store("output")
        ours = theirs = -1
        mode = request[-1]
        if mode == LIVE_MODE:
            import _socket  # not `socket`, whose modules every later fork would copy

            pair = _socket.socketpair()
            ours, theirs = pair[0].detach(), pair[1].detach()
            os.set_blocking(ours, False)
        started = time.monotonic()
        pid = os.fork()
        if pid == 0:
            self.become_program(answers, output, theirs, mode, request)
        if theirs >= 0:
            os.close(theirs)
        watch = os.pidfd_open(pid)
        try:
            self.idle = 0.0
            if ours >= 0:
                reason = self.converse(pid, watch, ours, started)
                self.kill_all(pid)
            else:
                reason = self.wait(pid, watch, started)
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
        wipe(request)
        self._report(answers, output, status, reason, used, wall)
        os.close(answers)
        os.close(output)
        if not self.spotless():
            os._exit(3)  # the pool starts a fresh jail

    def _report(self, answers: int, output: int, status: int, reason: int, used: float, wall: float) -> None:
        """Send the judge how the program ended and what it left, without keeping any of it."""
        said = min(os.lseek(answers, 0, os.SEEK_END), self.answer_bytes)
        printed = min(os.lseek(output, 0, os.SEEK_END), self.output_bytes)
        start = FRAMED_REPORT.size
        size = start + said + printed
        view = self._buffer(size)
        FRAMED_REPORT.pack_into(view, 0, size - 4, b"D", status, reason, used, wall, self.contended, said)
        if said:
            pread(answers, view[start : start + said])
        if printed:
            pread(output, view[start + said :])
        self._write(view)
        wipe(view)

    def become_program(self, answers: int, output: int, theirs: int, mode: int, request: memoryview) -> None:
        """In the child: give up what the program must not have, then run it. Never returns."""
        try:
            keep = LIVE
            if theirs >= 0:
                theirs = os.dup2(theirs, 60)
                answers = os.dup2(answers, 61)
                output = os.dup2(output, 62)
                os.dup2(theirs, LIVE)
                keep += 1
            confine(answers, output, STREAMS, keep, self.cpu_limit, self.files, self.uid)
            if not self.isolated:
                os.setsid()
        except BaseException:
            os._exit(99)
        program.run(mode, request)

    def wait(self, pid: int, watch: int, started: float) -> int:
        """Wait for the program's own process to end; the limit that it broke, if any: then all are killed."""
        tick = min(0.1, self.cpu, self.wall) + 0.001
        try:
            while not select.select([watch], [], [], tick)[0]:
                self._check(pid, started)
                tick = 0.05
        except Broken as broken:
            self.kill_all(pid)
            return int(broken.args[0])
        return FINISHED

    def converse(self, pid: int, watch: int, live: int, started: float) -> int:
        """Pass live messages on until the program ends, or need not go on; the limit that it broke, if any.

        What it said before it ended is passed on too: else the verdict would depend on who is quicker.
        """
        poll = self.poll
        poll.register(watch, select.POLLIN)
        poll.register(live, select.POLLIN)
        tick = min(0.1, self.cpu, self.wall)
        listening = True
        ended = False
        try:
            while True:
                events = poll.poll(tick * 1000 + 1)
                if not events:
                    self._check(pid, started)
                    tick = 0.05
                for descriptor, _ in events:
                    if descriptor == watch:
                        if not listening:
                            return FINISHED
                        self.kill_all(pid)  # nobody else may go on talking
                        poll.unregister(watch)
                        ended = True
                        continue
                    message = self._heard(pid, watch, live, started)
                    if message is None:
                        if ended:
                            return FINISHED
                        poll.unregister(live)
                        listening = False
                        continue
                    self._check(pid, started)
                    self._write(memoryview(message))
                    wipe(message)
                    before = time.monotonic()
                    answer = self._read()
                    self.idle += time.monotonic() - before
                    if answer[0] != ord("C"):
                        return FINISHED
                    self._tell(pid, watch, live, started, answer[1:])
                    wipe(answer)
        except Broken as broken:
            return int(broken.args[0])
        finally:
            if not ended:
                poll.unregister(watch)
            if listening:
                poll.unregister(live)

    def _check(self, pid: int, started: float) -> None:
        """Broken where a limit is."""
        wall = time.monotonic() - started
        reason = self.exceeded(pid, wall - self.idle)
        if reason != FINISHED:
            self.contended = self._shared_core(pid, wall)
            raise Broken(reason)

    def _heard(self, pid: int, watch: int, live: int, started: float) -> bytearray | None:
        """One message of the program's, as the frame for the judge; None where there is none.

        A program that stops in the middle, or sends a byte now and then, is held to its limits meanwhile.
        """
        header = bytearray(4)
        if not self._receive(pid, watch, live, started, memoryview(header)):
            return None
        size = int.from_bytes(header, "little")
        if size > program.MAX_ANSWER + 1000:
            return None
        message = bytearray(size + 5)
        message[:5] = (size + 1).to_bytes(4, "little") + b"M"
        return message if self._receive(pid, watch, live, started, memoryview(message)[5:]) else None

    def _receive(self, pid: int, watch: int, live: int, started: float, view: memoryview) -> bool:
        checked = time.monotonic()
        while view:
            ready, _, _ = select.select([live, watch], [], [], 0.05)
            if time.monotonic() - checked > 0.05:
                self._check(pid, started)
                checked = time.monotonic()
            if live in ready:
                try:
                    count = os.readv(live, [view])
                except OSError:
                    return False
                if not count:
                    return False
                view = view[count:]
            elif ready:
                return False
        return True

    def _tell(self, pid: int, watch: int, live: int, started: float, body: memoryview) -> None:
        """A message to the program, which may not be reading."""
        parts = [memoryview(len(body).to_bytes(4, "little")), body]
        while parts:
            _, ready, _ = select.select([watch], [live], [], 0.05)
            if not ready:
                self._check(pid, started)
                if select.select([watch], [], [], 0)[0]:
                    return
                continue
            try:
                count = os.writev(live, parts)
            except BlockingIOError:
                continue
            except OSError:
                return  # it has ended; what it said before is still to be read
            while parts and count >= len(parts[0]):
                count -= len(parts.pop(0))
            if parts:
                parts[0] = parts[0][count:]

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
            os.utime(self.tmp, (0, 0))
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


def rehearse() -> None:
    """Do in the server, to no effect, what every program's process does first: then its code is specialised.

    The interpreter writes into its code and caches as it warms up; in a fork each page it writes is a fault.
    """
    nowhere = os.open("/dev/null", os.O_WRONLY)
    cpu, files = map(resource.getrlimit, (resource.RLIMIT_CPU, resource.RLIMIT_NOFILE))
    for _ in range(REHEARSALS):
        confine(nowhere, nowhere, (nowhere,) * 3, DESCRIPTORS, cpu, files, -1)
        program.rehearse(nowhere)
    os.close(nowhere)
    program.settle()


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
    sys.argv = [FILE]
    sys.path[:] = settings["path"]
    server = Server(settings)
    rehearse()
    gc.collect()
    server.filling = compact()
    gc.disable()
    gc.freeze()
    gc.set_threshold(5000, 10, 10)  # of the programs, which switch it on again
    server.serve()
