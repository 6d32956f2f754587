"""The judge's ends: frames to and from a fork server, and the timer that never cuts one."""

from __future__ import annotations

import contextlib
import signal
import socket
import time
from collections.abc import Iterator
from typing import Any

GRACE = 0.5  # seconds between the timer that raises an exception and the one that ends the judge


class Late(BaseException):
    """The tests' own code took too long over what the program returned."""


class ServerLost(BaseException):
    """The fork server is gone."""


class Exhausted(BaseException):
    """No memory for a frame: the tests' own code has taken it all."""


class Server:
    """The judge's end of one fork server.

    Frames hold bytes of the program's choice. Were one read in part only (the judge's timer, or a lack of
    memory), its rest would be taken for the next frame, and so for the report on the next program. So the
    timer waits for the end of a frame, and after anything else that interrupts one nothing more is read.
    """

    def __init__(self, descriptor: int) -> None:
        self.socket = socket.socket(fileno=descriptor)
        self.whole = True

    def send(self, data: bytes) -> None:
        """One frame to the server."""
        with self._undivided():
            self._send(data)

    def receive(self) -> bytes:
        """One frame from the server."""
        with self._undivided():
            return self._receive()

    def exchange(self, data: bytes) -> bytes:
        """One frame to the server, one from it."""
        with self._undivided():
            self._send(data)
            return self._receive()

    def _send(self, data: bytes) -> None:
        try:
            self.socket.sendall(len(data).to_bytes(4, "little") + data)
        except OSError:
            raise ServerLost from None

    def _receive(self) -> bytes:
        try:
            return exactly(self.socket, int.from_bytes(exactly(self.socket, 4), "little"))
        except OSError:
            raise ServerLost from None

    @contextlib.contextmanager
    def _undivided(self) -> Iterator[None]:
        if not self.whole:
            raise ServerLost
        self.whole = False
        was, Timer.held = Timer.held, True
        try:
            yield
        except MemoryError:
            raise Exhausted from None
        self.whole = True
        Timer.held = was
        if Timer.late and not was:
            raise Late


class Timer:
    """The processor time of the tests' own code: `Late` when it is over, but never inside a frame."""

    held = False
    late = False
    sleep = time.sleep
    awake = 0.0
    """Seconds that the tests may still sleep, all together."""

    @staticmethod
    def start(seconds: float, wall: float) -> None:
        """Begin: so many seconds of processor time, and of sleeping by the clock."""
        Timer.held = Timer.late = False
        Timer.awake = wall
        signal.setitimer(signal.ITIMER_PROF, seconds)
        signal.setitimer(signal.ITIMER_VIRTUAL, seconds + GRACE)  # ends the judge: nothing handles it

    @staticmethod
    def stop() -> None:
        """End; what is late from now on does not matter."""
        Timer.held = True
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        Timer.late = False

    @staticmethod
    def doze(seconds: float) -> None:
        """Stands in for `time.sleep`: how long a test sleeps may be the program's choice."""
        Timer.awake -= max(0.0, seconds)
        Timer.sleep(seconds if Timer.awake >= 0 else max(0.0, Timer.awake + seconds))
        if Timer.awake < 0:
            raise Late

    @staticmethod
    def ring(number: int, frame: Any) -> None:
        """The signal handler."""
        if Timer.held:
            Timer.late = True
        else:
            raise Late


def exactly(source: socket.socket, size: int) -> bytes:
    """So many bytes from a socket; OSError where it ends before."""
    data = source.recv(size)
    if len(data) == size:
        return data
    parts = [data]
    size -= len(data)
    while size:
        data = source.recv(min(size, 1 << 20))
        if not data:
            raise ConnectionError("the other end is gone")
        parts.append(data)
        size -= len(data)
    return b"".join(parts)
