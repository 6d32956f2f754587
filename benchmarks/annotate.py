"""50 simulated annotators against one `ilf annotate` server: page times, errors, lost or doubled items.

    python benchmarks/annotate.py [--people 50] [--seconds 60] [--items 600] [--item-seconds 10]

Each person opens the next task, saves four drafts while "typing", runs the tests of a
refinement once in the real sandbox, and submits; an item takes about `--item-seconds` (the paper's annotators
took 27 minutes). Server and simulated people share the machine's cores.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from pathlib import Path

import httpx

from ilf.annotate import accounts, worth
from ilf.annotate.store import Store
from ilf.records import Program, Task, Verdict

SAVES = 4
"""Drafts saved while an item is written."""


def fill(store: Store, count: int) -> None:
    """Queue `count` tasks with three wrong programs each."""
    tasks, programs, verdicts = [], [], []
    for n in range(count):
        prefix = f"def f{n}(values: list[int]) -> int:\n"
        task = Task(
            task_id=f"bench/{n}", description="Add up the even numbers of a list; an empty list gives 0.",
            entry_point=f"f{n}", prefix=prefix,
            tests=(f"assert f{n}([1, 2, 4]) == 6", f"assert f{n}([]) == 0", f"assert f{n}([7, 2]) == 2"),
        )  # fmt: skip
        tasks.append(task)
        for body in ("sum(v for v in values if v % 2)", "sum(values[::2])", "len(values)"):
            program = Program(task_id=task.task_id, code=f"{prefix}    total = {body}\n    return total\n")
            programs.append(program)
            verdicts.append(
                Verdict(task_id=task.task_id, program_id=program.program_id, status="failed",
                        tests=(False, True, False), test=0, call=f"f{n}([1, 2, 4])", expected="6", actual="1")
            )  # fmt: skip
    store.fill(tasks, programs, verdicts)


class Annotator:
    """One simulated person in a browser without scripts, who sends what the scripts would send."""

    def __init__(
        self,
        client: httpx.AsyncClient,
        number: int,
        times: dict[str, list[float]],
        errors: Counter[str],
        item_seconds: float,
    ):
        self.client, self.number, self.times, self.errors = client, number, times, errors
        self.item_seconds = item_seconds
        self.submitted: dict[int, str] = {}

    async def ask(self, what: str, method: str, path: str, **more: object) -> httpx.Response | None:
        """Send one request and count its time; None where it failed."""
        began = time.perf_counter()
        try:
            reply = await self.client.request(method, path, **more)  # type: ignore[arg-type]
        except httpx.HTTPError as error:
            self.errors[f"{what}: {type(error).__name__}"] += 1
            return None
        self.times[what].append(time.perf_counter() - began)
        if reply.status_code >= 400:
            self.errors[f"{what}: {reply.status_code} {reply.text[:80]}"] += 1
            return None
        return reply

    async def work(self, until: float) -> None:
        """Do item after item."""
        await asyncio.sleep(random.uniform(0, self.item_seconds))
        while time.monotonic() < until:
            page = await self.ask("page", "GET", "/work")
            if page is None or "Nothing is left" in page.text:
                return
            await self.item(page.text)

    async def item(self, html: str) -> None:
        """Write, run and submit one item."""
        number = int(re.search(r'data-item="(\d+)"', html).group(1))  # type: ignore[union-attr]
        hidden = dict(re.findall(r'name="(csrf|version|key)" value="([^"]*)"', html))
        candidate = re.search(r'name="candidate" id="c(\d+)"', html).group(1)  # type: ignore[union-attr]
        wrong = re.search(r"def f\d+\(", html.split('id="refinement"')[1]).group(0)  # type: ignore[union-attr]
        text = f"Person {self.number} on item {number}: the condition keeps odd numbers. "
        code = f"{wrong}values: list[int]) -> int:\n    return sum(v for v in values if v % 2 == 0)\n"
        form = {**hidden, "candidate": candidate, "refinement": code, "tags": "logic", "bugs": "1"}
        scripts = {"accept": "application/json"}
        for save in range(SAVES):
            await asyncio.sleep(random.uniform(0.4, 1.2) * self.item_seconds / SAVES)
            form["text"] = text + "Compare the remainder with zero instead, please. " * (save + 1)
            reply = await self.ask("save", "POST", f"/items/{number}/draft", data=form, headers=scripts)
            if reply is not None:
                form["version"] = str(reply.json()["version"])
        run = {**form, "do": "tests", "target": "refinement"}
        await self.ask("run tests", "POST", f"/items/{number}/run", data=run, headers={"hx-request": "true"})
        reply = await self.ask("submit", "POST", f"/items/{number}/submit", data=form, headers=scripts)
        if reply is not None and "next" in reply.json():
            self.submitted[number] = form["text"].strip()
        elif reply is not None:
            self.errors[f"submit: {reply.text[:100]}"] += 1


async def simulate(
    url: str, links: list[str], seconds: float, item_seconds: float
) -> tuple[list[Annotator], dict[str, list[float]], Counter[str]]:
    """Let everyone join, then work for `seconds`."""
    times: dict[str, list[float]] = defaultdict(list)
    errors: Counter[str] = Counter()
    people = []
    for number, link in enumerate(links):
        client = httpx.AsyncClient(base_url=url, follow_redirects=True, timeout=30)
        assert (await client.post(link, data={"name": f"Person {number}"})).status_code == 200
        people.append(Annotator(client, number, times, errors, item_seconds))
    until = time.monotonic() + seconds
    await asyncio.gather(*(person.work(until) for person in people))
    for person in people:
        await person.client.aclose()
    return people, times, errors


def percentile(values: list[float], share: float) -> float:
    """The value below which `share` of them lie."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def main() -> None:
    """Run it and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--people", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--items", type=int, default=600)
    parser.add_argument(
        "--item-seconds", type=float, default=10, help="about how long a person takes for one"
    )
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        run = Path(temporary, "run")
        run.mkdir()
        store = Store(run / "annotations.db")
        fill(store, args.items)
        worth.look_at(store)
        links = [f"/join/{accounts.invite(store, 'annotator')}" for _ in range(args.people)]
        command = [sys.executable, "-m", "ilf.cli", "annotate", str(run), "--port", "0"]
        server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert server.stderr is not None
        url = ""
        for line in server.stderr:
            if "owner: " in line:
                url = line.split("owner: ")[1].split("/join/")[0]
            if "Ctrl-C" in line:
                break
        try:
            people, times, errors = asyncio.run(simulate(url, links, args.seconds, args.item_seconds))
        finally:
            server.terminate()
            server.wait()
        kept = Counter(feedback.text for feedback in store.accepted())
        said = Counter(text for person in people for text in person.submitted.values())
        items = Counter(item for person in people for item in person.submitted)
        store.close()
    print(
        f"{args.items:,} items, {args.people} people, {args.seconds:g} s, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    )
    print(f"{'':12}{'requests':>10}{'median ms':>11}{'95% ms':>9}{'max ms':>9}")
    for what in ("page", "save", "run tests", "submit"):
        found = times[what]
        print(
            f"{what:12}{len(found):>10,}{1000 * statistics.median(found):>11.0f}"
            f"{1000 * percentile(found, 0.95):>9.0f}{1000 * max(found):>9.0f}"
        )
    print(f"errors {sum(errors.values())}, items {len(said)}, lost {sum((said - kept).values())}, "
          f"doubled {sum(n > 1 for n in items.values()) + sum((kept - said).values())}")  # fmt: skip
    for error, count in errors.most_common(5):
        print(f"  {count} x {error}")


if __name__ == "__main__":
    main()
