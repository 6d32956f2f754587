"""What the fork server does about its memory, its files and its streams."""

from __future__ import annotations

import io
import os
import resource
import time
from typing import Any

POOL, POOL_HEADER = 16 << 10, 48  # bytes


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


def yardstick() -> float:
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


def pread(descriptor: int, view: memoryview) -> None:
    """Fill `view` from the start of a file."""
    offset = 0
    while view:
        count = os.preadv(descriptor, [view], offset)
        if not count:
            view[:] = bytes(len(view))  # cut short meanwhile, which nobody alive can do
            return
        offset += count
        view = view[count:]


def wipe(buffer: bytearray | memoryview) -> None:
    """Leave nothing in it."""
    buffer[:] = bytes(len(buffer))


def compact() -> list[Any]:
    """Objects that fill the gaps in the interpreter's memory, so that what a program allocates lies together.

    CPython keeps a pool per size, of 512 bytes at most; the first object of a new pool shows that the others
    are full. (`Objects/obmalloc.c`; with pools of another kind, this fills a little memory to no effect.)
    """
    filling: list[Any] = []
    for size in range(16, 513, 16):
        for number in range(POOL // size * 4):
            item = object() if size == 16 else float(number) if size == 32 else bytes(size - 33)
            filling.append(item)
            if id(item) % POOL == POOL_HEADER:
                break
    return filling


DESCRIPTORS = 256  # more than the server ever has open (RLIMIT_NOFILE, see isolation.start)


def confine(
    answers: int, output: int, streams: Any, keep: int, cpu: Any, files: Any, uid: int | None
) -> None:
    """Give this process its streams, no other descriptor from `keep` on, its limits, and its user id."""
    out, error, channel = streams
    os.dup2(output, out)
    os.dup2(output, error)
    os.dup2(answers, channel)
    os.closerange(keep, DESCRIPTORS)
    resource.setrlimit(resource.RLIMIT_CPU, cpu)
    resource.setrlimit(resource.RLIMIT_NOFILE, files)
    if uid is not None:
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
