"""Known-good and known-bad programs: the sandbox proves itself before anyone relies on it."""

from __future__ import annotations

import time

from ilf.errors import SandboxFailure
from ilf.records import Program, Task
from ilf.sandbox.limits import Limits
from ilf.sandbox.verify import Verifier

TASK = Task(
    task_id="self-check",
    description="Add two numbers.",
    entry_point="add",
    tests=("assert add(1, 2) == 3", "assert add([1], [2]) == [1, 2]", "assert add(2.5, 2) == 4.5"),
)
PROGRAMS: tuple[tuple[str, str, str], ...] = (
    ("a right program", "def add(a, b):\n    return a + b\n", "passed"),
    ("a wrong program", "def add(a, b):\n    return a - b if a == 1 else a + b\n", "failed"),
    ("an exception", "def add(a, b):\n    raise ValueError('no')\n", "error"),
    ("leaving early with status 0", "import os\nos._exit(0)\n", "error"),
    ("an object equal to everything",
     "class A:\n    __eq__ = lambda s, o: True\ndef add(a, b):\n    return A()\n", "failed"),
    ("an endless loop", "def add(a, b):\n    while True: pass\n", "timeout"),
    ("no memory limit", "def add(a, b):\n    return len(bytearray(10**12))\n", "memory"),
)  # fmt: skip
ESCAPES: tuple[tuple[str, str, str], ...] = (
    (
        "the network",
        "import socket\ndef add(a, b):\n    socket.socket(socket.AF_INET)\n    return a + b\n",
        "error",
    ),
    ("the user's files", "import os\ndef add(a, b):\n    os.listdir('/home')\n    return a + b\n", "error"),
    ("other processes", "import os\ndef add(a, b):\n    os.listdir('/proc/1')\n    return a + b\n", "error"),
)

RECENT = 600.0
"""Seconds for which the steps of one process believe what an earlier one's check showed."""
_passed: dict[bool, float] = {}
"""Whether isolation was switched off → when all verdicts were last right, on the monotonic clock."""


def self_check(*, unsafe: bool = False, within: float = 0.0) -> int:
    """Run programs whose verdicts are known; the number that was right, which is all of them.

    Args:
        unsafe: without isolation.
        within: a check that this process made at most so many seconds ago will do; 0 makes one now. (It
            takes seconds on a busy machine, and the steps of a run or the arms of a study follow each other.)

    Raises:
        SandboxFailure: a verdict is wrong; the message names the program.
        SandboxUnavailable: no isolation here, and `unsafe` is not set.
    """
    cases = PROGRAMS if unsafe else PROGRAMS + ESCAPES
    if unsafe in _passed and time.monotonic() - _passed[unsafe] < within:
        return len(cases)
    _passed.pop(unsafe, None)
    with Verifier({TASK.task_id: TASK}, limits=Limits(cpu_seconds=0.25), unsafe=unsafe) as verifier:
        programs = [Program(task_id=TASK.task_id, code=code) for _, code, _ in cases]
        for (name, _, wanted), verdict in zip(cases, verifier.verify(programs), strict=True):
            if verdict.status != wanted:
                raise SandboxFailure(
                    f"the sandbox is not to be trusted here: {name} was judged {verdict.status}, "
                    f"not {wanted} ({verdict.detail!r})"
                )
    _passed[unsafe] = time.monotonic()
    return len(cases)
