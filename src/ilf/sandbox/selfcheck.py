"""Known-good and known-bad programs: the sandbox proves itself before anyone relies on it."""

from __future__ import annotations

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


def self_check(*, unsafe: bool = False) -> int:
    """Run programs whose verdicts are known; the number that was right, which is all of them.

    Raises:
        SandboxFailure: a verdict is wrong; the message names the program.
        SandboxUnavailable: no isolation here, and `unsafe` is not set.
    """
    cases = PROGRAMS if unsafe else PROGRAMS + ESCAPES
    with Verifier({TASK.task_id: TASK}, limits=Limits(cpu_seconds=0.25), unsafe=unsafe) as verifier:
        programs = [Program(task_id=TASK.task_id, code=code) for _, code, _ in cases]
        for (name, _, wanted), verdict in zip(cases, verifier.verify(programs), strict=True):
            if verdict.status != wanted:
                raise SandboxFailure(
                    f"the sandbox is not to be trusted here: {name} was judged {verdict.status}, "
                    f"not {wanted} ({verdict.detail!r})"
                )
    return len(cases)
