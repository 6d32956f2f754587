"""`ilf run` with feedback from people: it fills the queue, waits, and goes on by itself to a trained model."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
from annotate_server import CHROMIUM, FLAGS, Server  # noqa: E402
from bytemodel import write_model  # noqa: E402
from playwright.sync_api import expect  # noqa: E402

from ilf.annotate.web import STATIC  # noqa: E402
from ilf.prompts import Prompter  # noqa: E402
from ilf.records import Task, read_jsonl, write_jsonl  # noqa: E402

pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: make browser, or apt-get install chromium"),
    pytest.mark.skipif(
        not (STATIC / "bundle" / "app.js").is_file(), reason="the editor is not bundled: make bundle"
    ),
]

# Short prompts: a model of 2 layers has to learn from three answers that "return 0" becomes "return 1".
CONFIG = """
name = "waits"
model = "{model}"
[tasks]
source = "{tasks}"
[engine]
name = "torch"
[sampling]
n = 2
max_tokens = 16
[feedback]
source = "human"
wait = true
[refiner.finetune]
learning_rate = 0.02
epochs = 40
batch_size = 3
[refiner.sampling]
n = 4
temperature = 0.2
max_tokens = 24
[finetune]
learning_rate = 0.001
[evaluation]
k = [1]
[evaluation.sampling]
n = 2
max_tokens = 16
"""


PREFIX = "def f(x):\n    # Whatever x may be, the answer is always one.\n"


def teach(folder, task, body):
    """Make a random model write `body` for `task`: wrong programs that people can say something about."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    prompt = tokenizer(Prompter("completion").program(task).text, add_special_tokens=False)["input_ids"]
    target = [*tokenizer(body, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
    tokens = torch.tensor([prompt + target])
    labels = torch.tensor([[-100] * len(prompt) + target])
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    for _ in range(60):
        loss = model(input_ids=tokens, labels=labels).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    assert loss.item() < 0.1
    model.save_pretrained(folder)


def write_world(folder):
    tasks = [
        Task(
            task_id=f"{split}/{n}", description="Give 1.", entry_point="f", prefix=PREFIX, split=split,
            tests=("assert f(0) == 1", f"assert f({n}) == 1"), reference=PREFIX + "    return 1\n",
        )
        for split, count in (("refine", 3), ("train", 2), ("test", 2))
        for n in range(count)
    ]  # fmt: skip
    write_jsonl(folder / "tasks.jsonl", tasks)
    model = write_model(folder / "model", context=1024)
    teach(model, tasks[0], "    return 0\n")
    config = folder / "run.toml"
    config.write_text(CONFIG.format(model=model, tasks=folder / "tasks.jsonl"))
    return config


def test_the_run_goes_on_by_itself_to_a_trained_model(tmp_path):
    run = tmp_path / "run"
    command = [sys.executable, "-m", "ilf.cli", "run", str(write_world(tmp_path)), "--out", str(run)]
    with (tmp_path / "log").open("w") as log:
        running = subprocess.Popen(command, stderr=log, stdout=log)
    server = None
    try:
        deadline = time.monotonic() + 240
        while "waiting: 0 of 5" not in (tmp_path / "log").read_text():
            assert running.poll() is None and time.monotonic() < deadline, (tmp_path / "log").read_text()
            time.sleep(0.2)
        server = Server(run)
        with playwright.sync_playwright() as starter:
            browser = starter.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
            page = browser.new_page()
            page.goto(server.owner_link)
            page.click("button.primary")
            expect(page.locator("main")).to_contain_text("A run is waiting for 5 accepted items: 0 so far")
            page.goto(server.url + "/work")
            for n in range(5):
                expect(page.locator(".cm-content")).to_be_visible()
                item = page.get_attribute("#work", "data-item")
                page.fill(
                    "#text", f"Return 1, number {n}."
                )  # too short: a warning first, then it goes through
                page.locator(".cm-content").click()
                page.keyboard.press("Control+a")
                page.keyboard.insert_text(PREFIX + "    return 1\n")
                page.keyboard.press("Control+Shift+Enter")
                expect(page.get_by_role("button", name="Submit anyway")).to_be_visible()
                page.keyboard.press("Control+Shift+Enter")
                page.wait_for_url(re.compile(f"done={item}$"))
            page.goto(server.url + "/dashboard")
            expect(page.locator("main")).to_contain_text("The run went on with 5 items", timeout=60_000)
            browser.close()
        assert running.wait(timeout=280) == 0, (tmp_path / "log").read_text()
    finally:
        running.kill()
        if server is not None:
            server.kill()
    from transformers import AutoModelForCausalLM

    AutoModelForCausalLM.from_pretrained(run / "round-1" / "7-model")
    from ilf.records import Feedback

    feedback = read_jsonl(run / "round-1" / "3-feedback.jsonl", Feedback)
    assert len(feedback) == 5 and all(item.source == "human" and item.author == "owner" for item in feedback)
    assert json.loads((run / "round-1" / "8-evaluation.json").read_text())
