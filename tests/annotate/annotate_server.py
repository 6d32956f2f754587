"""A real `ilf annotate` process, and a real browser."""

from __future__ import annotations

import os
import queue
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--no-first-run",
]  # fmt: skip


class Server:
    """`ilf annotate RUN …`, started, killed and started again on the same port."""

    def __init__(self, run: Path, *options: str) -> None:
        self.run, self.options, self.port = run, options, 0
        self.process: subprocess.Popen[str] | None = None
        self.lines: list[str] = []
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", "ilf.cli", "annotate", str(self.run), "--port", str(self.port)]
        self.process = subprocess.Popen([*command, *self.options], stderr=subprocess.PIPE, text=True)
        said: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._read, args=(self.process.stderr, said), daemon=True).start()
        deadline = time.monotonic() + 60
        self.lines = []
        while not any("Ctrl-C" in line for line in self.lines):
            try:
                self.lines.append(said.get(timeout=max(0.1, deadline - time.monotonic())))
            except queue.Empty:
                self.kill()
                pytest.fail("the server did not start:\n" + "\n".join(self.lines))
            if not self.lines[-1] and self.process.poll() is not None:
                pytest.fail("the server left:\n" + "\n".join(self.lines))
        self.owner_link = next(line.split("owner: ")[1].strip() for line in self.lines if "owner: " in line)
        self.url = self.owner_link.split("/join/")[0]
        self.port = int(re.search(r":(\d+)$", self.url).group(1))
        self.options = ()  # the queue is filled

    @staticmethod
    def _read(stream, said: queue.Queue[str]) -> None:
        for line in stream:
            said.put(line.rstrip())
        said.put("")

    def kill(self) -> None:
        """As hard as it gets: the process has no say."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()

    def stop(self) -> int:
        """Ctrl-C."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        try:
            return self.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def invite(self, role: str) -> str:
        """A link for a new person, made directly in the store."""
        from ilf.annotate import accounts
        from ilf.annotate.store import Store

        store = Store(self.run / "annotations.db")
        token = accounts.invite(store, role)
        store.close()
        return f"{self.url}/join/{token}"

    def accepted(self):
        """What the store holds."""
        from ilf.annotate.store import Store

        store = Store(self.run / "annotations.db")
        found = store.accepted()
        store.close()
        return found


def screenshots() -> Path | None:
    """Where screenshots go: ILF_SCREENSHOTS, or nowhere."""
    folder = os.environ.get("ILF_SCREENSHOTS")
    return Path(folder) if folder else None
