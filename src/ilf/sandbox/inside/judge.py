"""The judge: runs the tests' own code, in a jail of its own, and turns what happens into a verdict.

It talks to the pool on one socket and to the fork servers on others. Programs reach it only as data. Test
code that hangs or eats memory over a program's result is stopped by a timer, and by the pool if that fails.
"""

from __future__ import annotations

import collections
import contextlib
import gc
import json
import marshal
import os
import select
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from . import codec
from .checks import CHECK, NO_CHECK
from .compiler import Compiler
from .handles import Name, Opaque
from .plan import COMPARE, FAIL, TRUTH, Plan
from .server import CPU, FINISHED, MEMORY, PROCESSES, REPORT, WALL
from .session import ProgramGone, Session

REQUEST_AHEAD = 60_000  # longer requests wait: both sides writing at once could block each other
GRACE = 0.5  # seconds between the timer that raises an exception and the one that ends the judge
SHOWN = 600
PLANS = 4096
NOTHING = marshal.dumps(None, 2)


class Late(BaseException):
    """The tests' own code took too long over what the program returned."""


class Failed(AssertionError):
    """An assertion of a test that did not hold."""


class ServerLost(BaseException):
    """The fork server is gone."""


class Exhausted(BaseException):
    """No memory for a frame: the tests' own code has taken it all."""


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
        return _exactly(self.socket, int.from_bytes(_exactly(self.socket, 4), "little"))

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

    @staticmethod
    def start(seconds: float) -> None:
        """Begin."""
        Timer.held = Timer.late = False
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
    def ring(number: int, frame: Any) -> None:
        """The signal handler."""
        if Timer.held:
            Timer.late = True
        else:
            raise Late


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


class Job:
    """One program to judge."""

    def __init__(self, message: dict[str, Any], plan: Plan | None, server: Server) -> None:
        self.id: int = message["id"]
        self.message = message
        self.plan = plan
        self.server = server
        self.reply: bytes | None = None
        self.live = plan is not None and plan.live

    def request(self, compiler: Compiler) -> bytes:
        """The bytes for the fork server, as `program.run` takes them."""
        message = self.message
        source: str = message["code"]
        seed = message["seed"] if "random" in source else None
        kind, rest = None, NOTHING
        if "expression" in message:
            mode, rest, seed = b"e", marshal.dumps(message["expression"], 2), message["seed"]
        elif message.get("shared"):
            mode, rest, seed = b"s", marshal.dumps([message["setup"], *message["tests"]], 2), message["seed"]
        else:
            assert self.plan is not None
            mode = b"l" if self.live else b"b"
            rest = NOTHING if self.live else self.plan.request
            kind = self.plan.entry if self.plan.class_under_test else None
        compiled = None if message.get("attempts") else compiler.compile(source)
        # A tuple of four, put together of items that are marshalled already; version 2 has no references,
        # which would count from the first item on.
        head = b"(\x04\x00\x00\x00" + (compiled or marshal.dumps(source, 2))
        return head + marshal.dumps(seed, 2) + marshal.dumps(kind, 2) + rest + mode


class Judge:
    """Takes jobs from the pool, keeps the fork servers busy, and answers with verdicts."""

    def __init__(self, descriptor: int, seconds: float, compiler: Compiler) -> None:
        self.seconds = seconds
        self.compiler = compiler
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
        if not block and not select.select([self.pool], [], [], 0)[0]:
            return False
        try:
            size = int.from_bytes(_exactly(self.pool, 4), "little")
            message = codec.loads(_exactly(self.pool, size))
        except ServerLost:
            os._exit(0)
        operation = message["op"]
        if operation == "server":
            _, descriptors, _, _ = socket.recv_fds(self.pool, 1, 1)
            self.servers[message["server"]] = Server(descriptors[0])
        else:
            if "task" in message:
                self.add_task(message)
            self.add_job(message)
        return True

    def answer(self, out: dict[str, Any]) -> None:
        """A message to the pool."""
        data = codec.dumps(out)
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
        request = job.request(self.compiler)
        message["request"] = request
        if len(self.waiting) == 1 or (not job.live and len(request) < REQUEST_AHEAD):
            self._send(job)

    def _send(self, job: Job) -> None:
        job.message["sent"] = True
        try:
            job.server.send(job.message["request"])
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
        report = Report(job.reply if job.reply is not None else job.server.receive())
        if job.plan is None:
            return simple_report(job, report)
        # No more lines than were asked for: a program may have written millions.
        lines = report.answers.split(b"\n", len(job.plan.calls) + 1)
        session = Session(None, lines[1:-1], job.plan.trusted)
        self._seed(job)
        out = run_tests(job.plan, session, lines[0] if len(lines) > 1 else b"", lambda: report)
        if session.needs_live:
            # Other requests may be under way on this server: their replies come first.
            for other in self.waiting:
                if other.server is job.server and other.message.get("sent") and other.reply is None:
                    other.reply = job.server.receive()
            job.live = True
            job.message["request"] = job.request(self.compiler)
            self._send(job)
            return self.converse(job)
        return out

    def _seed(self, job: Job) -> None:
        # The same random tests for every program of a task.
        if job.plan is not None and job.plan.random:
            import random

            random.seed(job.message["seed"])
            if "numpy" in sys.modules:
                sys.modules["numpy"].random.seed(job.message["seed"])

    def converse(self, job: Job) -> dict[str, Any]:
        """Run the tests against the live program."""
        assert job.plan is not None
        server = job.server
        report: list[Report] = []

        def heard(data: bytes) -> bytes:
            if data[:1] == b"M":
                return data[1:]
            report.append(Report(data))
            session.gone = True
            raise ProgramGone

        def exchange(message: bytes) -> bytes:
            return heard(server.exchange(b"C" + message))

        session = Session(exchange, [], job.plan.trusted)

        def finish() -> Report:
            if not report:
                session.gone = True
                report.append(Report(server.exchange(b"E")))
            return report[0]

        self._seed(job)
        try:
            loaded = heard(server.receive())
        except ProgramGone:
            loaded = b""
        out = run_tests(job.plan, session, loaded, finish)
        if server.whole:
            finish()
        return out


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
                Timer.start(plan.seconds)  # the tests' own code has as much processor time as the program
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


def simple_report(job: Job, report: Report) -> dict[str, Any]:
    """Verdict of a shared-process task, or the outcome of an expression: the program's own word."""
    lines = report.answers.split(b"\n", len(job.message.get("tests", ())) + 2)[:-1]
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
            out |= fields | ({"test": number, "call": job.message["shown"][number]} if number >= 0 else {})
    if "status" not in out and (len(replies) != wanted or ended):
        status, why = report.end()
        out |= {"status": status, "error": why}
    out.setdefault("status", "passed")
    return out | {"tests": results}


PICKLED = frozenset(
    {("builtins", name) for name in ("set", "frozenset", "complex", "bytearray", "range", "slice", "object")}
    | {("collections", name) for name in ("OrderedDict", "Counter", "defaultdict", "deque")}
    | {("datetime", name) for name in ("date", "datetime", "time", "timedelta", "timezone")}
    | {
        ("decimal", "Decimal"),
        ("fractions", "Fraction"),
        ("_codecs", "encode"),
        ("copyreg", "_reconstructor"),
    }
)
"""What `pickle.loads` in a test may look up: the bytes are the program's."""


def refuse_pickled_code(event: str, arguments: Any) -> None:
    """An audit hook: a pickle of the program's is data here, never a call of its choice."""
    if event == "pickle.find_class" and tuple(arguments) not in PICKLED:
        raise Opaque(f"a pickle that names {arguments[0]}.{arguments[1]} is not loaded by tests")


def main() -> None:
    """Serve the pool."""
    sys.addaudithook(refuse_pickled_code)
    settings = json.loads(sys.argv[1])
    os.set_inheritable(settings["judge"], False)
    sys.path += [path for path in settings["path"] if path not in sys.path]
    compiler = Compiler()
    signal.signal(signal.SIGPROF, Timer.ring)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.collect()
    gc.freeze()
    # A task's plan is made from a thousand tracked objects, none of them in a cycle: looking through them for
    # cycles took as long as making it.
    gc.set_threshold(20_000, 50, 50)
    Judge(settings["judge"], settings["cpu_seconds"], compiler).serve()
