"""Temporary folders of the sandbox: none stays for longer than until the next start, whatever ended a process."""

import os
import signal
import subprocess
import sys
import time

import pytest

from ilf.errors import SandboxUnavailable
from ilf.sandbox import Verifier
from ilf.sandbox.folders import PREFIX, Folder, remove_left

VERIFY = """
import sys, time
from ilf.sandbox import Verifier
from ilf.sandbox.selfcheck import TASK
with Verifier({TASK.task_id: TASK}, workers=1, unsafe="unsafe" in sys.argv) as verifier:
    assert verifier.verify_one(TASK, "def add(a, b):\\n    return a + b\\n").passed
    print("verified", flush=True)
    if "stay" in sys.argv:
        time.sleep(600)
"""


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    # Not under /tmp: what programs see there is a folder of their own.
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


def left(folder):
    return [path.name for path in folder.iterdir() if path.name.startswith(PREFIX)]


def started(folder, *words):
    """A process that verifies, where the package's own folder takes no compiled files."""
    environment = {**os.environ, "TMPDIR": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", VERIFY, *words],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


@pytest.mark.parametrize("mode", ["isolated", "unsafe"])
def test_after_a_kill_the_next_start_removes_what_was_left(tmp_path, mode):
    if mode == "isolated":
        try:
            Verifier(workers=1).close()
        except SandboxUnavailable as error:
            pytest.skip(str(error))
    killed, living = started(tmp_path, mode, "stay"), started(tmp_path, mode, "stay")
    try:
        for process in (killed, living):
            assert process.stdout.readline() == "verified\n", process.stderr.read()
        both = set(left(tmp_path))
        killed.send_signal(signal.SIGKILL)
        killed.wait()
        assert set(left(tmp_path)) == both, "a killed process removes nothing itself"
        deadline = time.monotonic() + 20
        while True:  # its jails end with it, if not in the same instant
            process = started(tmp_path, mode)
            _, complaint = process.communicate(timeout=60)
            assert process.returncode == 0, complaint
            if len(left(tmp_path)) == len(both) / 2 or time.monotonic() > deadline:
                break
        assert len(left(tmp_path)) == len(both) / 2, "those of the living one"
        assert set(left(tmp_path)) < both
    finally:
        for process in (killed, living):
            process.kill()
            process.communicate()


def test_a_folder_is_left_alone_while_it_is_held(temporary):
    mine, left_one = Folder("a"), temporary / f"{PREFIX}old"
    left_one.mkdir()
    (left_one / "file").write_text("x")
    other = temporary / "ilf-other"
    other.mkdir()
    link = temporary / f"{PREFIX}link"
    link.symlink_to(other)
    remove_left()
    assert mine.path.is_dir() and not left_one.exists() and other.is_dir() and link.is_symlink()
    mine.close()
    assert not mine.path.exists()


def test_a_fork_does_not_remove_its_parents_folder(temporary):
    folder = Folder("a")
    if (child := os.fork()) == 0:
        folder.close()
        os._exit(0)
    os.waitpid(child, 0)
    assert folder.path.is_dir()
    folder.close()


def test_a_new_folder_that_a_start_took_for_a_left_one_is_made_again(temporary, monkeypatch):
    import tempfile

    make = tempfile.mkdtemp
    made = []

    def removed_at_once(**options):
        made.append(make(**options))
        if len(made) == 1:
            remove_left()
        return made[-1]

    monkeypatch.setattr(tempfile, "mkdtemp", removed_at_once)
    folder = Folder("a")
    assert len(made) == 2 and str(folder.path) == made[1] and folder.path.is_dir()
    folder.close()
