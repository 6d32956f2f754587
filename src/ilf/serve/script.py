"""A whole program run as a script in a jail: standard input in; output, errors and exit status out.

Nothing is judged here: what comes back is what the program says of itself, as any program's output is. What
a program is worth is for `/v1/verify`, where the program does not see what it should print.
"""

from __future__ import annotations

import base64
import zlib
from dataclasses import dataclass

from ilf.records import Task
from ilf.sandbox.verify import Verifier

MOST_OUTPUT = 1 << 20
"""Bytes of standard output that are kept, the first ones; of standard error a sixteenth."""
MOST_CROSSING = 90_000
"""Characters that cross from the jail, compressed: output that does not compress is cut shorter."""
_TASK = Task(task_id="script", description="", tests=("pass",), kind="stdin")


@dataclass(frozen=True)
class Ended:
    """How a script ended."""

    status: str
    """`passed` where it ran to an end, whatever its exit status; else as of `Verdict`."""
    code: int | None = None
    """Exit status, or minus the signal that ended it."""
    stdout: str = ""
    stderr: str = ""
    seconds: float = 0.0
    """By the clock, inside the jail."""


def run_script(verifier: Verifier, code: str, given: str) -> Ended:
    """Run a script.

    Args:
        verifier: whose jails and limits count.
        code: of a Python program.
        given: its standard input.
    """
    source = _SCRIPT.replace("__MOST__", str(MOST_OUTPUT)).replace("__CROSSING__", str(MOST_CROSSING))
    source = source.replace("__SOURCE__", repr(code), 1)  # last: the program may have such words itself
    found = verifier.run(_TASK, source, f"__ilf_script__({given!r})")
    if found.status != "passed" or found.value is None:
        return Ended("killed" if found.status == "passed" else found.status, stderr=found.error or "")
    try:
        form, said = found.value[1], found.value[2:-1]
        if form == "h":
            text = bytes.fromhex(said)
        else:
            packed = base64.b64decode(said, validate=True)
            text = zlib.decompressobj().decompress(packed, 2 * MOST_OUTPUT)
        head, _, rest = text.partition(b"\n")
        ended, seconds, size = head.split()
        out, error = rest[: int(size)], rest[int(size) :]
        return Ended(
            "passed", int(ended), out.decode("utf-8", "replace"), error.decode("utf-8", "replace"),
            min(max(0.0, float(seconds)), 36000.0),
        )  # fmt: skip
    except (ValueError, IndexError, zlib.error):
        return Ended("killed", stderr="the program ended in a way that left no output")


_SCRIPT = r"""
def __ilf_script__(given, __source=__SOURCE__):
    import os, time

    files = [os.open(f".ilf-{name}", os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600) for name in "ioe"]
    for name in "ioe":
        os.unlink(f".ilf-{name}")
    rest = memoryview(given.encode("utf-8", "surrogatepass"))
    while rest:
        rest = rest[os.write(files[0], rest):]
    os.lseek(files[0], 0, 0)
    started = time.monotonic()
    process = os.fork()
    if not process:
        ended = 1
        try:
            import io, sys, types
            streams = []
            for number, file in enumerate(files):
                os.dup2(file, number)
                raw = io.FileIO(number, "w" if number else "r", closefd=False)
                kind = io.BufferedWriter if number else io.BufferedReader
                streams.append(io.TextIOWrapper(kind(raw), "utf-8", "surrogateescape"))
            sys.stdin, sys.stdout, sys.stderr = streams
            sys.argv = ["program.py"]
            main = sys.modules["__main__"] = types.ModuleType("__main__")
            main.__dict__["__builtins__"] = __builtins__
            exec(compile(__source, "program.py", "exec", dont_inherit=True), main.__dict__)
            ended = 0
        except SystemExit as end:
            plain = type(end.code) is int
            ended = end.code & 255 if plain else int(end.code is not None)
            if ended and not plain:
                print(end.code, file=sys.stderr)
        except BaseException as error:
            import traceback
            step = error.__traceback__
            traceback.print_exception(type(error), error, step and step.tb_next)
        finally:
            try:
                sys.stdout.flush()
                sys.stderr.flush()
            finally:
                os._exit(ended)
    ended = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    seconds = time.monotonic() - started
    most = __MOST__
    while True:
        out, error = os.pread(files[1], most, 0), os.pread(files[2], most >> 4, 0)
        said = b"%d %f %d\n%s%s" % (ended, seconds, len(out), out, error)
        if 2 * len(said) <= __CROSSING__:
            return "h" + said.hex()  # without an import, which costs as much as a small program
        import binascii, zlib
        packed = binascii.b2a_base64(zlib.compress(said, 1), newline=False).decode()
        if len(packed) <= __CROSSING__:
            return "z" + packed
        most >>= 1
"""
