"""`ilf serve verifier` under load, beside plain verifying, in one run: throughput, nothing lost, fairness.

    python benchmarks/serve.py ../shared/data                 # MBPP's references and the paper's wrong programs
    python benchmarks/serve.py starter                        # the tasks that ship

Server, clients and jails share this machine's cores; the plain figure has no client beside it. `singles` are
1,000 connections at once, with one program each; `batches` four clients with a request of 500 programs each;
`run_code` 1,000 connections with a script each, as verl asks; `uneven` one client with 2,000 programs ahead of three with 100, timed until each has all its verdicts.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from ilf.records import Program, Task
from ilf.sandbox import verify
from ilf.tasks import load_tasks

CLIENTS = ("a", "b", "c", "d")
IN_FLIGHT = 1000


def programs_of(where: str) -> tuple[str, dict[str, Task], list[Program]]:
    """Source, tasks, and right and wrong programs."""
    folder = Path(where)
    source = f"mbpp:{folder / 'mbpp.jsonl'}" if (folder / "mbpp.jsonl").is_file() else where
    tasks = {task.task_id: task for task in load_tasks(source)}
    tasks.pop("123", None)  # slow by nature: any tool has to wait for it
    programs = [Program(task_id=task.task_id, code=task.reference or "") for task in tasks.values()]
    wrong = folder / "surge_annotations.jsonl"
    if wrong.is_file():
        rows = map(json.loads, wrong.read_text(encoding="utf-8").splitlines())
        pairs = [(str(row["task_id"]), row["original_model_completion"]) for row in rows]
        programs += [Program(task_id=name, code=code) for name, code in pairs if name in tasks]
    return source, tasks, programs


class Server:
    """A server process with four clients' keys."""

    def __init__(self, source: str) -> None:
        self.keys = {name: f"{name}-key-of-the-benchmark" for name in CLIENTS}
        with tempfile.NamedTemporaryFile("w", suffix=".txt", delete=False) as file:
            file.write("".join(f"{name} {key}\n" for name, key in self.keys.items()))
        self.process = subprocess.Popen(
            [sys.executable, "-m", "ilf.cli", "serve", "verifier", "--port", "0", "--tasks", source,
             "--keys-file", file.name, "--max-programs", "2000"],
            stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self.process.stderr is not None
        line = self.process.stderr.readline()
        Path(file.name).unlink()
        found = re.search(r"http://([\d.]+):(\d+)", line)
        if found is None:
            raise SystemExit(line + self.process.stderr.read())
        self.host, self.port = found[1], int(found[2])

    async def ask(self, client: str, programs: list[Program], seen: list[float]) -> list[dict[str, object]]:
        """One request; its rows by index. `seen` gets the time of each."""
        body = json.dumps({"programs": [{"task_id": p.task_id, "code": p.code} for p in programs]}).encode()
        reader, writer = await asyncio.open_connection(self.host, self.port, limit=1 << 24)
        writer.write(
            f"POST /v1/verify HTTP/1.0\r\nHost: x\r\nX-API-Key: {self.keys[client]}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n".encode()
            + body
        )
        rows: list[dict[str, object]] = []
        status = await reader.readline()
        if b" 200 " not in status:
            raise SystemExit(f"{status!r} {(await reader.read())!r}")
        while (await reader.readline()).strip():
            pass
        while line := await reader.readline():
            rows.append(json.loads(line))
            seen.append(time.perf_counter())
        writer.close()
        end = rows.pop()
        if end != {"done": len(programs), "errors": 0}:
            raise SystemExit(f"lost: {end} of {len(programs)}")
        seen.pop()
        return sorted(rows, key=lambda row: int(str(row["index"])))

    async def run(self, client: str, number: int) -> bool:
        """One request as verl's client makes it; whether the output is right."""
        body = json.dumps({
            "compile_timeout": 10, "run_timeout": 10, "code": "print(int(input()) * 2)", "stdin": str(number),
            "memory_limit_MB": 1024, "language": "python", "files": {}, "fetch_files": [],
        }).encode()  # fmt: skip
        reader, writer = await asyncio.open_connection(self.host, self.port)
        writer.write(
            f"POST /run_code HTTP/1.0\r\nHost: x\r\nX-API-Key: {self.keys[client]}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n".encode()
            + body
        )
        answer = (await reader.read()).partition(b"\r\n\r\n")[2]
        writer.close()
        return bool(json.loads(answer)["run_result"]["stdout"] == f"{2 * number}\n")


def right(rows: list[dict[str, object]], expected: list[str]) -> int:
    """How many verdicts have the status that plain verifying gave."""
    return sum(row["status"] == status for row, status in zip(rows, expected, strict=True))


async def load(server: Server, programs: list[Program], expected: list[str]) -> None:
    """The three loads."""

    def some(count: int, start: int = 0) -> list[int]:
        return [number % len(programs) for number in range(start, start + count)]

    def taken(numbers: list[int]) -> tuple[list[Program], list[str]]:
        return [programs[n] for n in numbers], [expected[n] for n in numbers]

    await server.ask("a", taken(some(200))[0], [])  # every jail is warm

    started, seen = time.perf_counter(), []
    singles = some(IN_FLIGHT)
    answers = await asyncio.gather(
        *(server.ask(CLIENTS[i % 4], [programs[n]], seen) for i, n in enumerate(singles))
    )
    took = time.perf_counter() - started
    same = right([row for rows in answers for row in rows], [expected[n] for n in singles])
    waits = sorted(moment - started for moment in seen)
    print(f"singles   {IN_FLIGHT} connections: {IN_FLIGHT / took:6.0f} programs/s, {same} of {IN_FLIGHT} as plain, "
          f"median wait {waits[len(waits) // 2]:.2f} s, last {waits[-1]:.2f} s")  # fmt: skip

    times: dict[str, list[float]] = {name: [] for name in CLIENTS}
    parts = {name: taken(some(500, 500 * i)) for i, name in enumerate(CLIENTS)}
    started = time.perf_counter()
    found = await asyncio.gather(*(server.ask(name, parts[name][0], times[name]) for name in CLIENTS))
    took = time.perf_counter() - started
    same = sum(right(rows, parts[name][1]) for name, rows in zip(CLIENTS, found, strict=True))
    middle = min(moments[-1] for moments in times.values())
    shares = [sum(moment <= middle for moment in moments) for moments in times.values()]
    jain = sum(shares) ** 2 / (4 * sum(share**2 for share in shares))
    print(f"batches   4 clients of 500: {2000 / took:6.0f} programs/s, {same} of 2000 as plain, verdicts when the "
          f"first client is done {shares} (Jain's index {jain:.3f})")  # fmt: skip

    started = time.perf_counter()
    found_sums = await asyncio.gather(*(server.run(CLIENTS[i % 4], i) for i in range(IN_FLIGHT)))
    took = time.perf_counter() - started
    print(
        f"run_code  {IN_FLIGHT} connections: {IN_FLIGHT / took:6.0f} programs/s, {sum(found_sums)} of {IN_FLIGHT} right"
    )

    times = {name: [] for name in CLIENTS}
    started = time.perf_counter()
    parts = {name: taken(some(2000 if name == "a" else 100)) for name in CLIENTS}

    async def later(name: str) -> None:
        await asyncio.sleep(0.0 if name == "a" else 0.5)
        await server.ask(name, parts[name][0], times[name])

    await asyncio.gather(*map(later, CLIENTS))
    ends = ", ".join(f"{name} {len(t)} by {t[-1] - started:.2f} s" for name, t in times.items())
    print(f"uneven    {ends} (b, c, d came at 0.50 s)")


def main() -> None:
    """Plain, served, plain."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "where", help="a folder with mbpp.jsonl and surge_annotations.jsonl, or a task source"
    )
    source, tasks, programs = programs_of(parser.parse_args().where)
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; {len(programs)} programs"
    )
    expected: list[str] = []

    def plain() -> None:
        started = time.perf_counter()
        statuses = [verdict.status for verdict in verify(tasks, programs)]
        took = time.perf_counter() - started
        expected[:] = statuses
        print(f"plain     verify(): {len(programs) / took:6.0f} programs/s, start of the workers included")

    plain()
    server = Server(source)
    try:
        asyncio.run(load(server, programs, expected))
    finally:
        server.process.send_signal(signal.SIGTERM)
        status = server.process.wait(60)
    print(f"server    ended with status {status}")
    plain()


if __name__ == "__main__":
    main()
