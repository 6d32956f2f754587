"""The page of a run that waits for people, opened by the run itself on one's own machine."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from ilf import browser

if TYPE_CHECKING:
    from ilf.annotate.store import Store
    from ilf.runfolder import RunFolder

_STATE = "opens the page"


class OwnPage:
    """A server for the run's store in a process of its own, if somebody here wanted one."""

    def __init__(self, store: Store, folder: RunFolder) -> None:
        self._store, self._folder = store, folder
        self._asked = False
        self._server: subprocess.Popen[bytes] | None = None

    def offer(self) -> bool:
        """Ask whether to open the page (once: a yes is kept with the run), and do so; whether it is open."""
        if self._server is not None:
            return self._server.poll() is None
        if self._asked:
            return False
        self._asked = True
        if not (browser.here() and browser.someone_there()):
            return False
        if self._store.state(_STATE) is None:
            sys.stderr.write("    Open the page here, and go on when enough is written? [Y/n] ")
            sys.stderr.flush()
            if sys.stdin.readline().strip().lower() not in ("", "y", "yes"):
                return False
            self._store.set_state(_STATE, {"yes": True})
        command = [sys.executable, "-m", "ilf.cli", "annotate", str(self._folder.path)]
        self._server = subprocess.Popen([*command, "--port", "0", "--browser"])
        return True

    def close(self) -> None:
        """Stop the server; nothing is lost."""
        if self._server is not None and self._server.poll() is None:
            self._server.terminate()
            try:
                self._server.wait(timeout=10)
            except subprocess.TimeoutExpired:
                self._server.kill()
                self._server.wait()
