"""Trying the page without a team: `--demo`, and a run that opens the page itself."""

from __future__ import annotations

import http.client
import io
import os
import signal
import subprocess
import sys
import time
from urllib.parse import urlsplit

import pytest
from annotate_samples import make_failures, make_tasks

from ilf import browser
from ilf.annotate import accounts, page, queue
from ilf.annotate.answers import Draft
from ilf.annotate.collect import collect
from ilf.annotate.command import annotate
from ilf.annotate.store import Store
from ilf.errors import UserError, Waiting
from ilf.runfolder import RunFolder

TEXT = "It adds a constant; add the number to itself instead."


@pytest.fixture(autouse=True)
def screen(monkeypatch):
    monkeypatch.setenv("BROWSER", "true")
    yield
    browser.never(False)


def test_a_demo_opens_its_page_and_is_gone_at_the_end(tmp_path):
    opened = tmp_path / "opened"
    script = tmp_path / "browser.sh"
    script.write_text(f'#!/bin/sh\necho "$1" > {opened}.part\nmv {opened}.part {opened}\n')
    script.chmod(0o700)
    command = [sys.executable, "-m", "ilf.cli", "annotate", "--demo", "--port", "0"]
    environment = {**os.environ, "BROWSER": f"{script} %s", "TMPDIR": str(tmp_path)}
    demo = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + 60
        while not opened.is_file() and time.monotonic() < deadline and demo.poll() is None:
            time.sleep(0.05)
        url = urlsplit(opened.read_text().strip())
        assert url.path == "/work"
        connection = http.client.HTTPConnection(url.netloc, timeout=30)
        connection.request("GET", "/dashboard")
        text = connection.getresponse().read().decode()
        assert "Ada (made up)" in text and "Demo (made up)" in text
    finally:
        demo.send_signal(signal.SIGINT)
        said = demo.communicate(timeout=30)[1]
    assert "a made-up queue" in said and not list(tmp_path.glob("ilf-demo-*"))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"run": "runs/x"}, "leave out"),
        ({"host": "0.0.0.0"}, "127.0.0.1 only"),
        ({"demo": False}, "which run"),
    ],
)
def test_what_a_demo_is_not(options, said):
    with pytest.raises(UserError, match=said):
        annotate(**{"run": None, "demo": True, **options})


class Terminal(io.StringIO):
    """A terminal at which somebody types."""

    def isatty(self):
        return True


@pytest.fixture
def ask(tmp_path, monkeypatch):
    """Run `collect` with somebody at the terminal; what was asked, and the commands that were started."""
    started = []

    class Server:
        def __init__(self, command):
            started.append(command)

        def poll(self):
            return None

        def terminate(self):
            started.append("stopped")

        def wait(self, timeout=None):
            return 0

    monkeypatch.setattr(page.subprocess, "Popen", Server)
    tasks = make_tasks(1)
    programs, verdicts = make_failures(tasks)

    def do(typed: str):
        terminal = Terminal()
        monkeypatch.setattr(sys, "stdin", Terminal(typed))
        monkeypatch.setattr(sys, "stderr", terminal)

        def somebody_writes(_seconds):
            store = Store(tmp_path / "annotations.db")
            ann = accounts.named(store, "Ann")
            queue.submit(store, ann, queue.claim(store, ann), Draft(text=TEXT))
            store.close()

        known = {task.task_id: task for task in tasks}
        found = collect(
            RunFolder(tmp_path), known, programs, verdicts, filters=False, sleep=somebody_writes
        )  # fmt: skip
        return terminal.getvalue(), started, found

    do.started = started
    return do


def test_a_run_opens_the_page_and_goes_on(ask, tmp_path):
    said, started, found = ask("\n")
    assert "Open the page here" in said and [f.text for f in found] == [TEXT]
    assert started[0][2:5] == ["ilf.cli", "annotate", str(tmp_path)] and started[0][-1] == "--browser"
    assert started[1:] == ["stopped"]


def test_who_says_no_is_told_how_to_go_on(ask):
    with pytest.raises(Waiting, match="ilf annotate"):
        ask("n\n")
    assert ask.started == []


def test_a_yes_is_asked_for_once(ask, tmp_path):
    store = Store(tmp_path / "annotations.db")
    store.set_state("opens the page", {"yes": True})
    store.close()
    said, started, _ = ask("")
    assert "Open the page" not in said and len(started) == 2


@pytest.mark.parametrize("why", ["told not to", "no screen"])
def test_nothing_is_opened_or_asked(ask, monkeypatch, why):
    if why == "told not to":
        browser.never()
    else:
        for name in ("BROWSER", "DISPLAY", "WAYLAND_DISPLAY"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setattr(sys, "platform", "linux")
    with pytest.raises(Waiting):
        ask("\n")
    assert ask.started == []
