"""How many keys, and how long, the same ten answers take on the page where people write.

    python benchmarks/annotate_typing.py old=/path/to/another/checkout new=.

For each checkout (its own bundle built: `make bundle`) a server with the same ten starter tasks is started, and one
person in a headless Chromium writes the same ten answers with the keyboard alone: the verdict in one sentence, what
to change about the line that is wrong, and the refinement of that line; runs the tests and submits. Keys are counted,
not slept through: at 40 words a minute (200 characters) a key takes 0.3 s. To that the time is added that the page
made the person wait: from a key until what it asks for is there. Reading and thinking are left out, as they are the
same. Where a page has suggestions it is measured with and without them. The texts that arrive are compared: all pages
must have taken the same ten answers.
"""

from __future__ import annotations

import itertools
import json
import os
import queue
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from ilf.feedback import recorded, words
from ilf.records import Feedback, Program, Task, Verdict, write_jsonl
from ilf.sandbox import Verifier
from ilf.tasks import load_tasks
from ilf.tasks.load import STARTER

SECONDS_A_KEY = 60 / (40 * 5)
"""40 words of five characters a minute."""
ITEMS = 10
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@dataclass(frozen=True)
class Answer:
    """What the person writes about a task."""

    task: Task
    wrong: str
    verdict: Verdict
    line: int
    """The line that is wrong, from 1."""
    sentence: str
    """What happens."""
    advice: str
    """What to change about that line."""
    right: str
    """The line as it should be."""

    @property
    def text(self) -> str:
        """The whole feedback."""
        return f"{self.sentence}\nLine {self.line}: {self.advice}"


def answers() -> list[Answer]:
    """The first ten recorded items whose refinement replaces one line."""
    tasks = {task.task_id: task for task in load_tasks("starter")}
    found: list[Answer] = []
    verifier = Verifier(tasks, workers=1)
    for row in recorded.read(STARTER / "feedback.jsonl", tasks):
        old, new = row.code.rstrip("\n").split("\n"), (row.refinement or "").rstrip("\n").split("\n")
        changed = [n for n, (a, b) in enumerate(zip(old, new, strict=False)) if a != b]
        if len(old) != len(new) or len(changed) != 1 or len(found) == ITEMS:
            continue
        task = tasks[row.task_id]
        verdict = verifier.verify_one(task, row.code)
        sentence = words.happened(task, Program(task_id=row.task_id, code=row.code), verdict)
        advice = re.split(r"(?<=[.!?])\s+(?=[A-Z])", " ".join(row.text.split()))[-1]
        right = new[changed[0]]
        found.append(Answer(task, row.code, verdict, changed[0] + 1, sentence, advice, right))
    verifier.close()
    return found


def _common(one: str, two: str) -> int:
    """How many characters two texts begin with alike."""
    return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(one, two, strict=False)))


class Person:
    """Types; counts keys and the time that the page makes them wait."""

    def __init__(self, page: Page) -> None:
        self.page, self.keys, self.waited = page, 0, 0.0

    def press(self, *keys: str) -> None:
        """Single keys; with a modifier held it is one more."""
        for key in keys:
            self.page.keyboard.press(key)
            self.keys += 1 + key.count("+")

    def type(self, text: str) -> None:
        """Text, a key a character."""
        self.page.keyboard.type(text)
        self.keys += len(text)

    def wait(self, selector: str, text: str = "") -> None:
        """Until something is there."""
        began = time.monotonic()
        self.page.locator(selector).filter(has_text=text).first.wait_for()
        self.waited += time.monotonic() - began

    def write(self, answer: Answer, *, lines: bool, suggestions: bool) -> None:
        """One answer, from the page that is open to the next one."""
        if suggestions:
            self.press("v")
        else:
            self.press("f")
            self.type(answer.sentence)
        if lines:
            raised = answer.verdict.line == answer.line  # the choice begins there
            self.press("Escape", "l", *([] if raised else list(str(answer.line))), "Enter")
        else:
            self.press("Enter")
            self.type(f"Line {answer.line}: ")
        self.type(answer.advice)
        self.press("Escape", "e", "Control+Home", *["ArrowDown"] * (answer.line - 1))
        old = answer.wrong.split("\n")[answer.line - 1]
        same = _common(old, answer.right)
        end = _common(old[same:][::-1], answer.right[same:][::-1])
        # To what changes by the nearer end of the line, then over it.
        if same <= end:
            self.press("Home", "Home", *["ArrowRight"] * same)
            self.press(*["Delete"] * (len(old) - same - end))
        else:
            self.press("End", *["ArrowLeft"] * end)
            self.press(*["Backspace"] * (len(old) - same - end))
        self.page.keyboard.insert_text(new := answer.right[same : len(answer.right) - end])
        self.keys += len(new)
        self.press("Control+Enter")
        self.wait("#result", "All ")
        item = self.page.locator("#work").get_attribute("data-item")
        left = f"main:not(:has(#work[data-item='{item}']))"
        self.press("Control+Shift+Enter")
        self.wait(f"{left}, #hints li")
        if self.page.locator(left).count() == 0:  # a warning: once more goes through
            self.press("Control+Shift+Enter")
            self.wait(left)


def serve(tree: Path, run: Path, files: list[str]) -> tuple[subprocess.Popen[str], str]:
    """A server of that checkout; its process and the owner's link."""
    command = [sys.executable, "-m", "ilf.cli", "annotate", str(run), "--port", "0", *files]
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(tree / "src")}
    )
    said: queue.Queue[str] = queue.Queue()
    threading.Thread(target=lambda: [said.put(line) for line in process.stderr or ()], daemon=True).start()
    link = ""
    while True:
        line = said.get(timeout=120)
        link = line.split("owner: ")[1].strip() if "owner: " in line else link
        if "Ctrl-C" in line:
            return process, link


def measure(name: str, tree: Path, todo: list[Answer], suggestions: bool) -> list[tuple[int, float]]:
    """Keys and seconds of each item; the texts that arrived are checked."""
    with tempfile.TemporaryDirectory() as place, sync_playwright() as starter:
        folder = Path(place)
        write_jsonl(folder / "tasks.jsonl", [a.task for a in todo])
        write_jsonl(folder / "programs.jsonl", [Program(task_id=a.task.task_id, code=a.wrong) for a in todo])
        files = ["--tasks", str(folder / "tasks.jsonl"), "--programs", str(folder / "programs.jsonl")]
        process, link = serve(tree, folder / "run", files)
        browser = starter.chromium.launch(executable_path=CHROMIUM, args=["--headless", "--no-sandbox"])
        try:
            page = browser.new_page(viewport={"width": 1280, "height": 800})
            page.goto(link)
            page.click("button.primary")
            address = link.split("/join/")[0]
            if suggestions:
                page.goto(address + "/team")
                page.check("[name=suggest]")
                page.get_by_role("button", name="Save").click()
            page.goto(address + "/work")
            page.locator(".cm-content").wait_for()
            lines = page.locator("[data-action=lines]").count() > 0
            found = []
            for answer in todo:
                page.locator(".cm-content").wait_for()
                person = Person(page)
                person.write(answer, lines=lines, suggestions=suggestions)
                found.append((person.keys, person.keys * SECONDS_A_KEY + person.waited))
            out = page.request.get(address + "/export/ilf").text()
            rows = [Feedback.model_validate(json.loads(line)) for line in out.splitlines()]
            arrived = [(row.text, (row.refinement or "").rstrip("\n")) for row in rows]
            expected = [(a.text, _refined(a)) for a in todo]
            wrong = next((pair for pair in zip(arrived, expected, strict=True) if pair[0] != pair[1]), None)
            if wrong is not None:
                sys.exit(f"{name}: another answer arrived: {wrong}")
            return found
        finally:
            browser.close()
            process.terminate()
            process.wait()


def _refined(answer: Answer) -> str:
    rows = answer.wrong.rstrip("\n").split("\n")
    rows[answer.line - 1] = answer.right
    return "\n".join(rows)


def main(pages: dict[str, Path]) -> None:
    """Measure every page and print the table."""
    todo = answers()
    print("| page | keys an item | seconds an item | of which waiting |\n|---|---|---|---|", flush=True)
    for name, tree in pages.items():
        modes = [False]
        if (tree / "src/ilf/annotate/suggestions.py").is_file():
            modes.append(True)
        for suggestions in modes:
            found = measure(name, tree, todo, suggestions)
            keys, seconds = (statistics.fmean(column) for column in zip(*found, strict=True))
            label = f"{name}, suggestions on" if suggestions else name
            waiting = seconds - keys * SECONDS_A_KEY
            print(f"| {label} | {keys:.0f} | {seconds:.1f} | {waiting:.1f} |", flush=True)


if __name__ == "__main__":
    if len(sys.argv) < 2 or any("=" not in argument for argument in sys.argv[1:]):
        sys.exit("usage: python benchmarks/annotate_typing.py NAME=CHECKOUT …")
    main({name: Path(tree).resolve() for name, tree in (a.split("=", 1) for a in sys.argv[1:])})
