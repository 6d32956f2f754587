"""The judge: runs the tests' own code, in a jail of its own, and turns what happens into a verdict.

It talks to the pool on one socket and to the fork servers on others. Programs reach it only as data. Test
code that hangs or eats memory over a program's result is stopped by a timer, and by the pool if that fails.
"""

from __future__ import annotations

import collections
import gc
import json
import os
import re
import signal
import socket
import sys
from typing import Any

from . import codec
from .plan import COMPARE, FAIL, TRUTH, Plan
from .remote import Name, Opaque, ProgramGone, Session
from .server import CPU, FINISHED, MEMORY, PROCESSES, REPORT, WALL

REQUEST_AHEAD = 60_000  # longer requests wait: both sides writing at once could block each other
GRACE = 0.5  # seconds between the timer that raises an exception and the one that ends the judge
SHOWN = 600
PLANS = 4096


class Late(BaseException):
    """The tests' own code took too long over what the program returned."""


class Failed(AssertionError):
    """An assertion of a test that did not hold."""


class ServerLost(Exception):
    """The fork server is gone."""


class Runner:
    """What happened in one test, as the rewritten assertions tell it."""

    def __init__(self) -> None:
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


class Server:
    """The judge's end of one fork server."""

    def __init__(self, descriptor: int) -> None:
        self.socket = socket.socket(fileno=descriptor)
        self.queue: collections.deque[Job] = collections.deque()

    def send(self, data: bytes) -> None:
        """One frame to the server."""
        try:
            self.socket.sendall(len(data).to_bytes(4, "little") + data)
        except OSError:
            raise ServerLost from None

    def receive(self) -> bytes:
        """One frame from the server."""
        return _exactly(self.socket, int.from_bytes(_exactly(self.socket, 4), "little"))


def _exactly(source: socket.socket, size: int) -> bytes:
    try:
        data = source.recv(size)
        if len(data) == size:
            return data
        parts = [data]
        size -= len(data)
        while size:
            data = source.recv(min(size, 1 << 20))
            if not data:
                raise ServerLost
            parts.append(data)
            size -= len(data)
    except OSError:
        raise ServerLost from None
    return b"".join(parts)


BRACKETS = re.compile(r"[()\[\]{}]")


def is_simple(code: str) -> bool:
    """Whether the fork server may compile it: short and flat, so that it cannot take the compiler long."""
    if len(code) > 16_000:
        return False
    depth = 0
    for bracket in BRACKETS.findall(code):
        depth += 1 if bracket in "([{" else -1
        if depth > 12:
            return False
    return True


class Job:
    """One program to judge."""

    def __init__(self, message: dict[str, Any], plan: Plan | None, server: Server) -> None:
        self.id: int = message["id"]
        self.message = message
        self.plan = plan
        self.server = server
        self.reply: bytes | None = None
        self.live = plan is not None and plan.live

    def request(self) -> bytes:
        """The bytes for the fork server."""
        message = self.message
        if "expression" in message:
            return b"e" + codec.dumps({k: message[k] for k in ("code", "expression", "seed")})
        if message.get("shared"):
            return b"s" + codec.dumps({k: message[k] for k in ("code", "setup", "tests", "seed")})
        ahead = not message.get("attempts") and is_simple(message["code"])
        head = codec.dumps({"code": message["code"], "seed": message["seed"], "ahead": ahead})
        if self.live:
            return b"l" + head
        assert self.plan is not None
        return b"b" + head[:-1] + b',"calls":' + self.plan.request + b"}"


class Judge:
    """Takes jobs from the pool, keeps the fork servers busy, and answers with verdicts."""

    def __init__(self, descriptor: int, seconds: float) -> None:
        self.seconds = seconds
        self.pool = socket.socket(fileno=descriptor)
        self.servers: dict[str, Server] = {}
        self.plans: collections.OrderedDict[str, Plan] = collections.OrderedDict()
        self.waiting: collections.deque[Job] = collections.deque()

    def serve(self) -> None:
        """Until the pool closes its end."""
        while True:
            while self._room() and self._take(block=not self.waiting):
                pass
            job = self.waiting.popleft()
            try:
                out = self.judge(job)
            except ServerLost:
                out = {"lost": True}
            except MemoryError:
                out = {"status": "memory", "error": "MemoryError: comparing the result took too much memory"}
            out["id"] = job.id
            self.answer(out)

    def _room(self) -> bool:
        # One request ahead, unless a conversation with its program has to come first.
        return len(self.waiting) < 2 and not any(job.live for job in self.waiting)

    def _take(self, block: bool) -> bool:
        if not block:
            import select

            if not select.select([self.pool], [], [], 0)[0]:
                return False
        try:
            size = int.from_bytes(_exactly(self.pool, 4), "little")
            message = json.loads(_exactly(self.pool, size))
        except ServerLost:
            os._exit(0)
        operation = message["op"]
        if operation == "server":
            _, descriptors, _, _ = socket.recv_fds(self.pool, 1, 1)
            self.servers[message["server"]] = Server(descriptors[0])
        elif operation == "task":
            self.add_task(message)
        else:
            self.add_job(message)
        return True

    def answer(self, out: dict[str, Any]) -> None:
        """A message to the pool."""
        data = json.dumps(out).encode("ascii")
        self.pool.sendall(len(data).to_bytes(4, "little") + data)

    def add_task(self, message: dict[str, Any]) -> None:
        """Learn a task."""
        try:
            plan: Any = Plan(message["task"])
            plan.seconds = self.seconds
        except Exception as error:
            plan = f"{type(error).__name__}: {error}"
        self.plans[message["key"]] = plan
        if len(self.plans) > PLANS:
            self.plans.popitem(last=False)

    def add_job(self, message: dict[str, Any]) -> None:
        """Queue a program, and send it to its server at once if that cannot block."""
        plan: Any = None
        if "key" in message and not message.get("shared"):
            plan = self.plans.get(message["key"])
            if plan is None or isinstance(plan, str):
                self.answer({"id": message["id"], "bad_task": plan, "unknown": plan is None})
                return
        job = Job(message, plan, self.servers[message["server"]])
        self.waiting.append(job)
        request = job.request()
        message["request"] = request
        if len(self.waiting) == 1 or (not job.live and len(request) < REQUEST_AHEAD):
            self._send(job)

    def _send(self, job: Job) -> None:
        job.message["sent"] = True
        try:
            job.server.send(job.message["request"])
            job.server.queue.append(job)
        except ServerLost:
            job.reply = b""

    def judge(self, job: Job) -> dict[str, Any]:
        """The verdict on one program."""
        if not job.message.get("sent"):
            self._send(job)
        if job.reply == b"":
            raise ServerLost
        if job.live:
            return self.converse(job)
        report = self._report(job)
        if job.plan is None:
            return simple_report(job, report)
        lines = report.answers.split(b"\n")
        session = Session(None, lines[1:-1], job.plan.class_under_test)
        out = run_tests(job.plan, session, lines[0] if len(lines) > 1 else b"", lambda: report)
        if session.needs_live:
            # Other requests may be under way on this server: their replies come first.
            for other in self.waiting:
                if other.server is job.server and other.message.get("sent") and other.reply is None:
                    other.reply = job.server.receive()
            job.live = True
            job.message["request"] = job.request()
            self._send(job)
            return self.converse(job)
        return out

    def _report(self, job: Job) -> Report:
        data = job.reply if job.reply is not None else job.server.receive()
        job.server.queue.popleft()
        return Report(data)

    def converse(self, job: Job) -> dict[str, Any]:
        """Run the tests against the live program."""
        assert job.plan is not None
        server = job.server
        report: list[Report] = []

        def receive() -> bytes:
            data = server.receive()
            if data[:1] == b"M":
                return data[1:]
            report.append(Report(data))
            server.queue.clear()
            session.gone = True
            raise ProgramGone

        def exchange(message: bytes) -> bytes:
            server.send(b"C" + message)
            return receive()

        session = Session(exchange, [], job.plan.class_under_test)

        def finish() -> Report:
            if not report:
                session.gone = True
                server.send(b"E")
                report.append(Report(server.receive()))
                server.queue.clear()
            return report[0]

        try:
            loaded = receive()
        except ProgramGone:
            loaded = b""
        try:
            return run_tests(job.plan, session, loaded, finish)
        finally:
            finish()


class Report:
    """How the program's process ended, and what it left."""

    def __init__(self, data: bytes) -> None:
        if data[:1] != b"D":
            raise ServerLost
        self.status, self.reason, self.cpu, self.wall, contended, size = REPORT.unpack_from(data, 1)
        self.contended = bool(contended)
        start = 1 + REPORT.size
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


def _alarm(number: int, frame: Any) -> None:
    raise Late


def run_tests(plan: Plan, session: Session, loaded: bytes, finish: Any) -> dict[str, Any]:
    """Every test of the task against one program."""
    out: dict[str, Any] = {}
    results: list[bool | None] = [None] * len(plan.tests)
    namespace: dict[str, Any] = {"__name__": "tests", **plan.local}
    for name in plan.remote:
        namespace[name] = Name(session, name)
    runner = Runner()
    namespace |= {COMPARE: runner.compare, TRUTH: runner.truth, FAIL: runner.fail}
    problem = _loading_problem(loaded)
    late = False
    if problem is None and not session.gone:
        # The tests' own code has as much processor time as the program.
        signal.setitimer(signal.ITIMER_PROF, plan.seconds)
        signal.setitimer(signal.ITIMER_VIRTUAL, plan.seconds + GRACE)
        try:
            if session.exchange is not None:
                _fetch(plan, session, namespace)
            first = (
                _attempt(plan.setup, namespace, session, runner, plan.setup_source)
                if plan.setup_source
                else None
            )
            if first is not None:
                out |= first
                out["test"] = 0
                results[0] = False
            else:
                for number, test in enumerate(plan.tests):
                    failure = _attempt(test.code, namespace, session, runner, test.source)
                    if session.ended():
                        break
                    results[number] = failure is None
                    if failure is not None and "test" not in out:
                        out |= failure
                        out["test"] = number
                        if session.call is not None:
                            out.setdefault("call", _call_text(session))
        except Late:
            late = True
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
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
    elif "status" not in out:
        out["status"] = "passed"
    out["tests"] = results
    if report.contended:
        out["contended"] = True
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
        except Exception:
            continue
    session.error = None


def _call_text(session: Session) -> str:
    assert session.call is not None
    name, args, kwargs = session.call
    parts = [shown(value) for value in args] + [f"{key}={shown(value)}" for key, value in kwargs.items()]
    return shorten(f"{name}({', '.join(parts)})", 1000)


def _attempt(
    code: Any, namespace: dict[str, Any], session: Session, runner: Runner, source: str
) -> dict[str, Any] | None:
    """Run a test; None if it passed, otherwise the fields of the verdict that say why not."""
    session.begin_test()
    runner.text = runner.expected = runner.actual = None
    try:
        exec(code, namespace)
        return None
    except Failed as error:
        out: dict[str, Any] = {"status": "failed", "call": runner.text or source}
        out["expected"], out["actual"] = runner.expected, runner.actual
        if runner.actual is None and session.has_returned:
            out["actual"] = shown(session.returned)
        if error.args:
            out["error"] = shorten(f"AssertionError: {error.args[0]}")
        return out
    except (Late, ProgramGone):
        if not session.gone:
            raise
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


def simple_report(job: Job, report: Report) -> dict[str, Any]:
    """Verdict of a shared-process task, or the outcome of an expression: the program's own word."""
    lines = report.answers.split(b"\n")[:-1]
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
    if "expression" in job.message:
        if not replies or ended or (len(replies) < 2 and "x" not in replies[0]):
            status, why = report.end()
            return out | {"status": status, "error": why}
        if "x" in replies[-1]:
            return out | _error_fields(replies[-1]["x"])
        value = replies[-1].get("v")
        return out | {"status": "passed", "value": value if type(value) is str else None}
    tests = job.message["tests"]
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
            out |= fields | ({"test": number, "call": tests[number]} if number >= 0 else {})
    if "status" not in out and (len(replies) != wanted or ended):
        status, why = report.end()
        out |= {"status": status, "error": why}
    out.setdefault("status", "passed")
    return out | {"tests": results}


def main() -> None:
    """Serve the pool."""
    settings = json.loads(sys.argv[1])
    os.set_inheritable(settings["judge"], False)
    sys.path += [path for path in settings["path"] if path not in sys.path]
    signal.signal(signal.SIGPROF, _alarm)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.collect()
    gc.freeze()
    Judge(settings["judge"], settings["cpu_seconds"]).serve()
