"""The processes of the program that runs: what they use, which limit they break, and their end."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import time
from typing import Any

from .upkeep import yardstick

FINISHED, CPU, WALL, MEMORY, PROCESSES = range(5)
WALL_CHILDREN = 0x40000000  # __WALL of wait(2): children of every kind, however they were made
PAGE = resource.getpagesize()


class Processes:
    """What a fork server sees of the program's processes."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self.proc: int = settings["proc"]
        self.isolated: bool = settings["isolated"]
        self.cpu: float = settings["cpu_seconds"]
        self.wall: float = settings["wall_seconds"]
        self.memory: int = settings["memory_bytes"]
        self.processes: int = settings["processes"]
        self.own_pages = 0
        self.pace = min(yardstick() for _ in range(5))

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
        pace = yardstick()
        slow = pace > 1.25 * self.pace
        self.pace = min(self.pace, pace)
        return slow or self._queued(pid) > 0.02 * wall

    def clean(self, pid: int) -> tuple[int, float]:
        """End every process of the program; its wait status and the CPU seconds of all of them.

        A process whose parent has ended becomes the server's child. So where the server has no child left,
        nobody is left: `kill(-1)`, which looks at every process of the machine, is for the others.
        """
        used = 0.0
        status = 0
        options = os.WNOHANG | WALL_CHILDREN
        try:
            while True:
                ended, code, usage = os.wait4(-1, options)
                if not ended:
                    self.kill_all(pid)
                    options = WALL_CHILDREN  # the kill may take a moment
                    continue
                used += usage.ru_utime + usage.ru_stime
                if ended == pid:
                    status = code
        except ChildProcessError:
            return status, used

    def kill_all(self, pid: int) -> None:
        """SIGKILL to everything but the server."""
        left = [-1]
        if not self.isolated:
            left = [pid, *self._children(os.getpid())]
            for parent in left:
                left += self._children(parent)
        for number in left:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(number, signal.SIGKILL)
