"""From what happened in a program's process, and in its tests, to a verdict."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from functools import partial
from typing import Any

from . import codec
from .channel import Exhausted, Late, ServerLost, Timer
from .checks import CHECK, NO_CHECK
from .handles import Name, Opaque
from .plan import COMPARE, FAIL, TRUTH, Plan
from .processes import CPU, FINISHED, MEMORY, PROCESSES, WALL
from .server import REPORT
from .session import ProgramGone, Session

SHOWN = 600


class Failed(AssertionError):
    """An assertion of a test that did not hold."""


class Runner:
    """What happened in one test, as the rewritten assertions tell it."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.checks = 0
        """Assertions and comparisons carried out after the program had answered."""
        self.text: str | None = None
        self.expected: str | None = None
        self.actual: str | None = None
        self.outcome = ""

    def compare(self, operator: str, left: Any, right: Any, which: int, text: str) -> Any:
        """An assertion that compares: hold on to both sides if it fails."""
        result = COMPARISONS[operator](left, right)
        if not result:
            actual, expected = (right, left) if which else (left, right)
            self.text = text
            self.actual = shown(actual)
            self.expected = shown(expected) if operator in ("==", "is") else f"{operator} {shown(expected)}"
        return result

    def truth(self, value: Any, text: str) -> Any:
        """Any other assertion."""
        if not value:
            self.text = text
        return value

    def check(self, value: Any = None) -> Any:
        """Something was asserted or compared; it counts where the program has said anything."""
        self.checks += bool(self.session.answers)
        return value

    def fail(self, *message: Any) -> None:
        """An assertion did not hold."""
        raise Failed(*message)


COMPARISONS: dict[str, Any] = {
    "==": lambda a, b: a == b, "!=": lambda a, b: a != b, "<": lambda a, b: a < b, "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b, ">=": lambda a, b: a >= b, "is": lambda a, b: a is b,
    "is not": lambda a, b: a is not b, "in": lambda a, b: a in b, "not in": lambda a, b: a not in b,
}  # fmt: skip


def shorten(text: str, limit: int = SHOWN) -> str:
    """`text`, its middle left out where it is longer than `limit`."""
    if len(text) <= limit:
        return text
    half = (limit - 30) // 2
    return f"{text[:half]} … {len(text) - 2 * half} characters … {text[-half:]}"


def shown(value: Any) -> str:
    """A value as text, at most `SHOWN` characters."""
    try:
        if isinstance(value, (list, tuple, str, bytes)) and len(value) > 5000:
            return shorten(f"{repr(value[:200])[:-1]}, … {len(value)} items …, {repr(value[-200:])[1:]}")
        return shorten(repr(value))
    except Exception as error:
        return f"<{type(value).__name__} that cannot be shown: {type(error).__name__}>"


class Report:
    """How the program's process ended, and what it left."""

    def __init__(self, data: bytes) -> None:
        if data[:1] != b"D":
            raise ServerLost
        _, self.status, self.reason, self.cpu, self.wall, contended, size = REPORT.unpack_from(data, 0)
        self.contended = bool(contended)
        start = REPORT.size
        self.answers = data[start : start + size]
        self.output = data[start + size :].decode("utf-8", "replace")

    def end(self) -> tuple[str, str]:
        """(status, reason) of a process that did not do all it was asked."""
        if self.reason == CPU:
            return "timeout", "the program used up its processor time"
        if self.reason == WALL:
            return "timeout", "the program took too long by the clock"
        if self.reason == MEMORY:
            return "memory", "the program used too much memory"
        if self.reason == PROCESSES:
            return "killed", "the program started too many processes"
        if os.WIFSIGNALED(self.status):
            number = os.WTERMSIG(self.status)
            try:
                name = signal.Signals(number).name
            except ValueError:
                name = f"signal {number}"
            return "killed", f"the program's process was ended by {name}"
        return (
            "error",
            f"the program's process ended (exit status {os.WEXITSTATUS(self.status)}) before it answered",
        )


def run_tests(plan: Plan, session: Session, loaded: bytes, finish: Any) -> dict[str, Any]:
    """Every test of the task against one program."""
    out: dict[str, Any] = {}
    results: list[bool | None] = [None] * len(plan.tests)
    namespace: dict[str, Any] = {"__name__": "tests", **plan.names()}
    for name in plan.remote:
        namespace[name] = Name(session, name)
    runner = Runner(session)
    namespace |= {COMPARE: runner.compare, TRUTH: runner.truth, FAIL: runner.fail, CHECK: runner.check}
    problem = _loading_problem(loaded)
    late = False
    if problem is None and not session.gone:
        try:
            try:
                Timer.start(
                    plan.seconds, plan.wall
                )  # the tests' own code has as much processor time as the program
                out = _run(plan, session, namespace, runner, results)
            finally:
                Timer.stop()
                session.lent.restore()
        except Late:
            Timer.stop()
            late = True
        except Exhausted:
            error = "MemoryError: comparing the result took too much memory"
            return {"status": "memory", "error": error, "tests": results, "worn": True}
    if session.needs_live:
        return {}
    gone = session.gone
    report: Report = finish()
    out["seconds"] = round(report.cpu, 6)
    out["stdout"] = report.output[-2000:] or None
    if problem is not None:
        out |= problem
        if not loaded:
            status, why = report.end()
            out |= {"status": status, "error": why}
        results = [None] * len(results)
    elif late:
        out |= {"status": "timeout", "error": "testing what the program returned took too long"}
    elif "status" not in out and (gone or None in results):
        status, why = report.end()
        out |= {"status": status, "error": why, "test": results.index(None) if None in results else 0}
        if session.call is not None:
            out["call"] = _call_text(session)
        elif out["test"] < len(plan.tests):
            out["call"] = plan.tests[out["test"]].source
    elif report.reason != FINISHED:
        status, why = report.end()
        out |= {"status": status, "error": why}
        results = [None if result else result for result in results]
    elif "status" not in out and not runner.checks:
        out |= {"status": "failed", "error": NO_CHECK, "test": 0}
        results = [None] * len(results)
    elif "status" not in out:
        out["status"] = "passed"
    out["tests"] = results
    if report.contended:
        out["contended"] = True
    return out


def _run(
    plan: Plan, session: Session, namespace: dict[str, Any], runner: Runner, results: list[bool | None]
) -> dict[str, Any]:
    """The tests one after the other, as long as the program's process lives; what the first failure was."""
    out: dict[str, Any] = {}
    if session.exchange is not None:
        try:
            _fetch(plan, session, namespace)
        except ProgramGone:
            return out
    if plan.setup_source:
        failure = _attempt(lambda: exec(plan.setup, namespace), session, runner, plan.setup_source)
        if failure is not None:
            results[0] = False
            return failure | {"test": 0}
    for number, test in enumerate(plan.tests):
        failure = _attempt(partial(test.run, namespace, runner), session, runner, test.source)
        if session.ended():
            break
        results[number] = failure is None
        if failure is not None and "test" not in out:
            out = failure | {"test": number}
            if session.call is not None:
                out.setdefault("call", _call_text(session))
    return out


def _loading_problem(loaded: bytes) -> dict[str, Any] | None:
    """What went wrong while the program's own module was run, if anything."""
    if not loaded:
        return {"status": "error", "error": "no answer"}
    try:
        reply = codec.loads(loaded)
        if type(reply) is dict and "x" in reply:
            body = reply["x"]
            return _error_fields(body if type(body) is dict else {})
        if type(reply) is dict and "c" in reply:
            return {"status": "error", "error": str(reply["c"])[:1000]}
    except (ValueError, RecursionError):
        return {"status": "error", "error": "the program wrote to the channel of its answers"}
    return None


def _error_fields(body: dict[str, Any]) -> dict[str, Any]:
    name = str(body.get("type", "Exception"))[:100]
    text = shorten(str(body.get("text", "")))
    line = body.get("line")
    bases = body.get("bases")
    memory = type(bases) is list and "MemoryError" in bases
    return {
        "status": "memory" if memory else "error",
        "error": f"{name}: {text}" if text else name,
        "line": line if type(line) is int else None,
    }


def _fetch(plan: Plan, session: Session, namespace: dict[str, Any]) -> None:
    """Names that a test uses without calling them: exception classes must be classes here."""
    for name in plan.fetched:
        try:
            namespace[name] = session.name(name)
        except (Late, ProgramGone, ServerLost, Exhausted):
            raise
        except BaseException:  # the program chooses which
            continue
    session.error = None


def _call_text(session: Session) -> str:
    assert session.call is not None
    name, args, kwargs = session.call
    parts = [shown(value) for value in args] + [f"{key}={shown(value)}" for key, value in kwargs.items()]
    return shorten(f"{name}({', '.join(parts)})", 1000)


def _attempt(run: Callable[[], None], session: Session, runner: Runner, source: str) -> dict[str, Any] | None:
    """Run a test; None if it passed, otherwise the fields of the verdict that say why not."""
    session.begin_test()
    runner.text = runner.expected = runner.actual = None
    try:
        run()
        return None
    except Failed as error:
        out: dict[str, Any] = {"status": "failed", "call": runner.text or source}
        out["expected"], out["actual"] = runner.expected, runner.actual
        if runner.actual is None and session.has_returned:
            out["actual"] = shown(session.returned)
        if error.args:
            out["error"] = shorten(f"AssertionError: {error.args[0]}")
        return out
    except (Late, ServerLost, Exhausted):
        raise
    except ProgramGone:
        return None
    except Opaque as error:
        return {"status": "failed", "call": source, "error": shorten(str(error))}
    except BaseException as error:
        if error is session.raised and session.error is not None:
            return _error_fields(session.error)
        out = {"status": "failed", "error": shorten(f"{type(error).__name__}: {error}", 1000), "call": source}
        if session.has_returned:
            out["actual"] = shown(session.returned)
        if isinstance(error, MemoryError):
            out["status"] = "memory"
        return out


def simple_report(message: dict[str, Any], report: Report) -> dict[str, Any]:
    """Verdict of a shared-process task, or the outcome of an expression: the program's own word."""
    lines = report.answers.split(b"\n", len(message.get("tests", ())) + 2)[:-1]
    replies = []
    for line in lines:
        try:
            reply = codec.loads(line)
        except (ValueError, RecursionError):
            break
        replies.append(reply if type(reply) is dict else {})
    out: dict[str, Any] = {"seconds": round(report.cpu, 6), "stdout": report.output[-2000:] or None}
    if report.contended:
        out["contended"] = True
    ended = report.reason != FINISHED
    if "expression" in message:
        if not replies or ended or (len(replies) < 2 and "x" not in replies[0]):
            status, why = report.end()
            return out | {"status": status, "error": why}
        if "x" in replies[-1]:
            return out | _error_fields(replies[-1]["x"])
        value = replies[-1].get("v")
        return out | {"status": "passed", "value": value if type(value) is str else None}
    tests = message["tests"]
    wanted = len(tests) + 2
    results: list[bool | None] = [None] * len(tests)
    for position, reply in enumerate(replies[:wanted]):
        number = position - 2
        if number >= 0:
            results[number] = "x" not in reply and "c" not in reply
        if "x" in reply and "status" not in out:
            fields = _error_fields(reply["x"] if type(reply["x"]) is dict else {})
            if number >= 0 and str(fields["error"]).startswith("AssertionError"):
                fields["status"] = "failed"
            out |= fields | ({"test": number, "call": message["shown"][number]} if number >= 0 else {})
    if "status" not in out and (len(replies) != wanted or ended):
        status, why = report.end()
        out |= {"status": status, "error": why}
    out.setdefault("status", "passed")
    return out | {"tests": results}
