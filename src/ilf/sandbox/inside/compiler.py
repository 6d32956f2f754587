"""Compiles programs before they run, in a process beside the judge that knows no test.

In a fresh fork every page touched first is a fault, so a program compiles several times quicker in a process
that has done it before. The fork server must not do it: what it has in memory, every later program can read.
The judge must not: nothing of a program's is parsed where expected values are. A program that takes the
compiler too long, or crashes it, costs this process, which is replaced; that program is then compiled where
it runs, under its own limits.
"""

from __future__ import annotations

import gc
import marshal
import os
import resource
import signal
import socket

from .channel import exactly
from .exceptions import FILE

SECONDS = 0.5
"""Processor time for one program."""
MEMORY = 1 << 30
LONGEST_SOURCE = 100_000
LONGEST_CODE = 1 << 20
NOTHING = bytes(4)


class Compiler:
    """The judge's end.

    Started before the judge learns anything, so that no memory it shares with the judge holds a test.
    """

    def __init__(self) -> None:
        self.socket, theirs = socket.socketpair()
        if os.fork() == 0:
            try:
                self.socket.close()
                _keep_serving(theirs)
            finally:
                os._exit(1)
        theirs.close()

    def compile(self, source: str) -> bytes | None:
        """`source` as marshalled code; None where its own process has to compile it."""
        if len(source) > LONGEST_SOURCE:
            return None
        try:
            data = source.encode()
            self.socket.sendall(len(data).to_bytes(4, "little") + data)
            return exactly(self.socket, int.from_bytes(exactly(self.socket, 4), "little")) or None
        except UnicodeEncodeError:
            return None


def _keep_serving(theirs: socket.socket) -> None:
    """Serve in a child; where one died over a program, say so and start another."""
    while True:
        child = os.fork()
        if child == 0:
            _serve(theirs)
        _, status = os.waitpid(child, 0)
        if os.WIFEXITED(status) and os.WEXITSTATUS(status) == 0:
            os._exit(0)
        theirs.sendall(NOTHING)


def _serve(theirs: socket.socket) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    gc.freeze()
    while True:
        try:
            data = exactly(theirs, int.from_bytes(exactly(theirs, 4), "little"))
        except OSError:
            os._exit(0)  # the judge is gone
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        try:
            code = marshal.dumps(compile(data.decode(), FILE, "exec", dont_inherit=True))
        except Exception:
            code = b""  # what is wrong with it, its own process says
        signal.setitimer(signal.ITIMER_PROF, 0)
        if len(code) > LONGEST_CODE:
            code = b""
        theirs.sendall(len(code).to_bytes(4, "little") + code)
