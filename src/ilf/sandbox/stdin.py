"""Programs with standard input and output, as tasks about a function that the sandbox knows already.

The function runs the program once in a process of its own, with the input as its descriptor 0, and returns
what it printed. So inputs and outputs cross as any argument and result do: the program never sees what it
should print, the judge compares, and every guarantee of docs/sandbox.md holds. A checker in Python is code of
the tests' side and runs in the judge.
"""

from __future__ import annotations

import re
import signal
from functools import lru_cache
from math import ceil
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ilf.records import Task, describe
from ilf.syntax import definition, parse, problem

KIND = "stdin"
JUDGED = ("function", KIND)
"""Kinds of task that the sandbox judges; `ilf.kinds` knows the others."""
_RUN = "__ilf_run__"
_SHOWN = 500
"""Characters of an input in a verdict."""
_TOO_LONG = f"the program was killed by signal {signal.SIGXCPU.value}"
_ERROR = re.compile(r"RuntimeError: line (\d*): (.*)", re.DOTALL)


class Case(BaseModel):
    """One test: what the program reads, and what it must print."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    input: str = ""
    output: str | list[str] = ""
    """One right output or several. Spaces at the ends of lines and empty lines at the end do not count."""
    tolerance: float = Field(default=0.0, ge=0)
    """Numbers may differ by so much, absolutely or relatively; 0 compares texts."""

    @property
    def outputs(self) -> list[str]:
        """The right outputs."""
        return [self.output] if isinstance(self.output, str) else self.output


@lru_cache(maxsize=4096)
def case(test: str) -> Case:
    """A test of such a task, which is JSON.

    Raises:
        ValueError: it is not; the message says how.
    """
    try:
        return Case.model_validate_json(test)
    except ValidationError as error:
        raise ValueError(describe(error)) from None


def complaint(task: Task) -> str | None:
    """What is wrong with a task of this kind, starting with the field; None where nothing is."""
    try:
        checker = definition(parse(task.setup), "check")
    except SyntaxError as error:
        return f"setup: the checker does not parse: {problem(error)}"
    for number, test in enumerate(task.tests):
        try:
            found = case(test)
        except ValueError as error:
            return f"tests.{number}: an object with input and output was expected: {error}"
        if checker is None and not any(output.strip() for output in found.outputs):
            return f"tests.{number}: no output, and no function check(input, output, expected) in setup"
    if task.reference is not None:
        try:
            parse(task.reference)
        except SyntaxError as error:
            return f"reference: the reference program does not parse: {problem(error)}"
    return None


def as_function(task: Task) -> Task:
    """The task as the judge gets it: `_RUN` is under test.

    Raises:
        ValueError: a test is not one of this kind.
    """
    cases = [case(test) for test in task.tests]
    checked = definition(parse(task.setup), "check") is not None
    tests = [
        f"assert {_RUN}({c.input!r}) == __ilf_expected__({c.input!r}, {c.outputs!r}, {c.tolerance!r})"
        for c in cases
    ]
    setup = f"{task.setup.rstrip()}\n{_EXPECTED}" + (_CHECKED if checked else "")
    return Task(task_id=task.task_id, description="", entry_point=_RUN, tests=tuple(tests), setup=setup)


def shown(task: Task) -> Task:
    """The task with its tests as a verdict tells of them."""
    inputs = [case(test).input for test in task.tests]
    return task.model_copy(
        update={"tests": tuple("the program with the input\n" + _cut(given) for given in inputs)}
    )


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}… ({len(text)} characters)"


def told(fields: dict[str, Any], task: Task) -> dict[str, Any]:
    """A verdict's fields in the words of the program: its own line and exception, no call of ours."""
    found = dict(fields)
    number = found.get("test")
    if found.pop("call", None) is not None and number is not None:
        found["call"] = shown(task).tests[number]
    match = _ERROR.fullmatch(found.get("error") or "")
    found.pop("line", None)  # of what calls the program
    if match:
        found["error"] = match[2]
        found |= {"line": int(match[1])} if match[1] else {}
        if match[2].startswith("MemoryError"):
            found["status"] = "memory"
        elif match[2] == _TOO_LONG:
            found |= {"status": "timeout", "error": "the program took too much processor time"}
    return found


_EXPECTED = r"""
def __ilf_number__(text):
    try:
        return float(text)
    except ValueError:
        return None

def __ilf_lines__(text):
    return [line.rstrip() for line in text.replace("\r\n", "\n").rstrip().split("\n")]

def __ilf_near__(one, other, tolerance):
    if one == other:
        return True
    a, b = __ilf_number__(one), __ilf_number__(other)
    return a is not None and b is not None and abs(a - b) <= tolerance * max(1.0, abs(b))

def __ilf_same__(out, right, tolerance):
    if __ilf_lines__(out) == __ilf_lines__(right):
        return True
    given, wanted = out.split(), right.split()
    return bool(tolerance) and len(given) == len(wanted) and all(
        __ilf_near__(a, b, tolerance) for a, b in zip(given, wanted))

class __ilf_expected__:
    def __init__(self, given, outputs, tolerance):
        self.given, self.outputs, self.tolerance = given, outputs, tolerance

    def __eq__(self, out):
        return type(out) is str and self.accepts(out)

    def accepts(self, out):
        return any(__ilf_same__(out, right, self.tolerance) for right in self.outputs)

    def __repr__(self):
        return " or ".join(map(repr, self.outputs))
"""

_CHECKED = r"""
def __ilf_accepts__(self, out):
    try:
        return bool(check(self.given, out, self.outputs))
    except Exception:
        return False  # what the program printed is not even in the checker's form

__ilf_expected__.accepts = __ilf_accepts__
"""

# In the program's own process: trusted for nothing, as all that runs there.
_WRAPPER = r"""
def __ilf_run__(given, __source=__SOURCE__, spent=[]):
    import os
    if spent:  # one input took all the time that there is: the others would take as long again
        raise RuntimeError(spent[0])
    files = []
    for name, content in (("i", given.encode("utf-8", "surrogatepass")), ("o", b""), ("e", b"")):
        file = os.open(f".ilf-{name}", os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        os.unlink(f".ilf-{name}")
        while content:
            content = content[os.write(file, content):]
        os.lseek(file, 0, 0)
        files.append(file)

    def child():
        import io, resource, sys, types
        status = 1
        try:
            resource.setrlimit(resource.RLIMIT_CPU, (__SECONDS__, __SECONDS__))
            for number, file in enumerate(files):
                if number < 2:
                    os.dup2(file, number)
            read, write = io.FileIO(0, closefd=False), io.FileIO(1, "w", closefd=False)
            sys.stdin = io.TextIOWrapper(io.BufferedReader(read), "utf-8", "surrogateescape")
            sys.stdout = io.TextIOWrapper(io.BufferedWriter(write), "utf-8", "surrogateescape")
            sys.argv = ["program.py"]
            main = types.ModuleType("__main__")
            sys.modules["__main__"] = main
            exec(compile(__source, "<program>", "exec", dont_inherit=True), main.__dict__)
            sys.stdout.flush()
            status = 0
        except SystemExit as end:
            sys.stdout.flush()
            status = 0 if end.code in (None, 0) else end.code & 255 if type(end.code) is int else 1
        except BaseException as error:
            broken = isinstance(error, SyntaxError)
            line, step = error.lineno if broken else None, error.__traceback__
            while step is not None:
                if step.tb_frame.f_code.co_filename == "<program>":
                    line = step.tb_lineno
                step = step.tb_next
            said = f"{line or ''}\n{type(error).__name__}: {error.msg if broken else error}"
            os.write(files[2], said[:4000].encode("utf-8", "replace"))
        finally:
            os._exit(status)

    process = os.fork()
    if not process:
        child()
    ended = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    texts = []
    for file in files[1:]:
        parts, part = [], os.lseek(file, 0, 0) or b"-"
        while part:
            part = os.read(file, 1 << 16)
            parts.append(part)
        texts.append(b"".join(parts).decode("utf-8", "replace"))
    for file in files:
        os.close(file)
    out, error = texts
    if ended:
        line, _, what = error.partition("\n")
        why = f"was killed by signal {-ended}" if ended < 0 else f"ended with exit status {ended}"
        said = f"line {line}: {what or 'the program ' + why}"
        if ended == -__SIGXCPU__:
            spent.append(said)
        raise RuntimeError(said)
    return out
"""


def wrapped(code: str, cpu_seconds: float) -> str:
    """The program as the sandbox runs it, with a limit for each input; nothing where there is nothing."""
    if not code.strip():
        return code
    limited = _WRAPPER.replace("__SECONDS__", str(ceil(cpu_seconds)))
    limited = limited.replace("__SIGXCPU__", str(signal.SIGXCPU.value))
    return limited.replace("__SOURCE__", repr(code), 1)
