"""The page in a headless Chromium: the explorer, its links, its size, and that nothing goes wrong on the way."""

import re
import shutil
import subprocess

import pytest

from ilf.records import Feedback
from ilf.report import page
from ilf.report.command import report
from ilf.report.content import Document, Item, Sample
from ilf.report.items import build

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [pytest.mark.browser, pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")]


def opened(path, profile, fragment=""):
    """The page's DOM after its scripts ran; fails where they complain."""
    done = subprocess.run(
        [
            CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
            "--disable-background-networking", f"--user-data-dir={profile}", "--enable-logging=stderr", "--v=0",
            "--virtual-time-budget=15000", "--dump-dom", f"file://{path}{fragment}",
        ],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    complaints = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    assert not complaints, complaints
    return done.stdout


def test_the_explorer_opens_an_item_by_its_link(run_folder, tmp_path):
    dom = opened(report([run_folder]), tmp_path / "profile", "#task-train%2F1")
    assert dom.count('<details class="item"') == 25 and "36 of 36" in dom and "page 1 of 2" in dom
    ((opened_item),) = re.findall(r'<details class="item" id="task-train%2F1" open="">.*?</details>', dom)
    assert 'class="row del"' in opened_item and 'class="row add"' in opened_item and "<mark>" in opened_item
    assert 'class="k">return</span>' in opened_item
    assert "Refinement by πRefine · 1 of 4 samples pass" in opened_item
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in dom and "<script>alert(1)" not in dom


def test_a_link_to_another_page_turns_to_it(run_folder, tmp_path):
    dom = opened(report([run_folder]), tmp_path / "profile", "#task-refine%2F11")
    assert "page 2 of 2" in dom and 'id="task-refine%2F11" open=""' in dom
    assert re.search(r"<option value=\"(fixed|unchanged|broken)\">", dom)


def test_words_about_lines_stand_below_them(tmp_path):
    code = "def f(x):\n    y = x\n    return y\n"
    text = "Line 3: <b>return</b> it.\nLines 1-2: too long.\nLine 9: not there."
    row = Feedback(task_id="t", code=code, text=text, source="human")
    path = tmp_path / "notes.html"
    items = build({}, feedback=[row])
    path.write_text(page.render(Document(title="Notes", claim="", items=items)), encoding="utf-8")
    dom = opened(path, tmp_path / "profile", "#task-t")
    shown = re.sub(r"<span class=\"[kscu]\">(.*?)</span>", r"\1", dom)
    assert re.search(
        r'row noted">def f\(x\):</span><span class="row noted">    y = x</span><span class="said">Lines 1-2: too long.</span>'
        r'<span class="row noted">    return y</span><span class="said">Line 3: &lt;b&gt;return&lt;/b&gt; it.</span></pre>',
        shown,
    )


def test_the_first_seed_is_shown_first(tmp_path):
    items = [
        Item(f"task/{i}", "Do it.", "fixed" if i else "", seed=seed) for seed in ("3", "5") for i in range(4)
    ]
    path = tmp_path / "seeds.html"
    path.write_text(page.render(Document(title="Seeds", claim="", items=items)), encoding="utf-8")
    dom = opened(path, tmp_path / "profile")
    assert "4 of 4" in dom and "<option>3</option><option>5</option>" in dom and "fixed (3)" in dom
    script = """addEventListener("load", () => setTimeout(() => {
        const choose = (id, value) => {
          const field = document.getElementById(id);
          field.value = value;
          field.dispatchEvent(new Event(id === "find" ? "input" : "change"));
        };
        choose("seed", "5"); choose("state", "fixed"); choose("find", "task/2");
    }, 500));"""
    path.write_text(path.read_text().replace("</body>", f"<script>{script}</script></body>"))
    assert "1 of 4" in opened(path, tmp_path / "profile")


def test_ten_thousand_tasks(tmp_path):
    items = [
        Item(
            f"task/{i}", f"Do {i} things with a list of {i % 97} numbers.", ("fixed", "broken", "unchanged")[i % 3],
            wrong=Sample("Wrong program", f"def f{i}(x):\n    return x - {i}\n", "failed", f"expected {i}"),
            feedback=f"It must add {i}, not subtract it.",
            refinement=Sample("Refinement", f"def f{i}(x):\n    return x + {i}\n", "passed"),
            samples=[Sample(label, f"def f{i}(x):\n    return {i} {label}\n" * 12, "passed") for label in "abcdef"],
        )
        for i in range(10_000)
    ]  # fmt: skip
    path = tmp_path / "big.html"
    path.write_text(page.render(Document(title="Big", claim="", items=items)), encoding="utf-8")
    assert path.stat().st_size < 20_000_000
    dom = opened(path, tmp_path / "profile", "#task-task%2F9999")
    assert (
        "10,000 of 10,000" in dom
        and re.search(r"page \d+ of 400", dom)
        and 'id="task-task%2F9999" open=""' in dom
    )
