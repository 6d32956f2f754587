"""The judge: runs the tests' own code, in a jail of its own, and turns what happens into a verdict.

It talks to the pool on one socket and to the fork servers on others. Programs reach it only as data. Test
code that hangs or eats memory over a program's result is stopped by a timer, and by the pool if that fails.
"""

from __future__ import annotations

import collections
import gc
import json
import marshal
import os
import select
import signal
import socket
import sys
import time
from typing import Any

from . import codec
from .channel import Server, ServerLost, Timer, exactly
from .compiler import Compiler
from .files import Files
from .handles import Opaque
from .plan import Plan
from .session import ProgramGone, Session
from .upkeep import empty
from .verdict import Report, run_tests, simple_report

REQUEST_AHEAD = 60_000  # longer requests wait: both sides writing at once could block each other
PLANS = 4096
NOTHING = marshal.dumps(None, 2)


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

    def __init__(
        self, descriptor: int, seconds: float, wall: float, isolated: bool, compiler: Compiler
    ) -> None:
        self.seconds = seconds
        self.wall = wall
        self.isolated = isolated
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
            size = int.from_bytes(exactly(self.pool, 4), "little")
            message = codec.loads(exactly(self.pool, size))
        except OSError:
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
            plan.seconds, plan.wall = self.seconds, self.wall
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
            return simple_report(job.message, report)
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
        if job.plan.files and self.isolated:
            empty("/tmp")
            session.files = Files()

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
    time.sleep = Timer.doze  # type: ignore[assignment]
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.collect()
    gc.freeze()
    # A task's plan is made from a thousand tracked objects, none of them in a cycle: looking through them for
    # cycles took as long as making it.
    gc.set_threshold(20_000, 50, 50)
    limits = settings["cpu_seconds"], settings["wall_seconds"]
    Judge(settings["judge"], *limits, settings["isolated"], compiler).serve()
