"""`ilf verify`: files in, files out, interrupted and gone on with."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from ilf.errors import DataError, UserError
from ilf.sandbox import Limits, command

TASK = {"task_id": "1", "description": "d", "entry_point": "f", "tests": ["assert f(2) == 4"]}


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def files(tmp_path):
    tasks = write(tmp_path / "tasks.jsonl", [TASK])
    rows = [
        {"task_id": 1, "code": f"def f(x): return x * {2 if n % 3 else 5}\n# {n}\n", "mine": {"n": n}}
        for n in range(40)
    ]
    return str(tasks), write(tmp_path / "p.jsonl", rows), tmp_path / "v.jsonl", rows


def read(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_each_row_comes_back_with_its_verdict(files, capsys):
    tasks, programs, out, rows = files
    counts = command.verify(tasks, programs, out, workers=1)
    found = read(out)
    assert [{key: row[key] for key in ("task_id", "code", "mine")} for row in found] == rows
    assert [row["passed"] for row in found] == [bool(n % 3) for n in range(40)]
    assert {row["status"] for row in found} == {"passed", "failed"} and "Expected: 4" in found[0]["detail"]
    assert counts == {"passed": 26, "failed": 14} and not list(out.parent.glob("*.part"))
    assert "40 programs: 26 passed, 14 failed" in capsys.readouterr().err
    command.verify(tasks, programs, out)
    assert "already" in capsys.readouterr().err and read(out) == found


def test_an_interrupted_file_is_gone_on_with(files, capsys):
    tasks, programs, out, _ = files
    command.verify(tasks, programs, out, workers=1)
    whole = out.read_bytes()
    lines = whole.splitlines(keepends=True)
    part = out.with_name("v.jsonl.part")
    out.unlink()
    part.write_bytes(b"".join(lines[:25]) + lines[25][:17])  # killed in the middle of a row
    command.verify(tasks, programs, out, workers=1)
    assert out.read_bytes() == whole
    assert "behind row 25" in capsys.readouterr().err


def test_killed_at_any_moment_nothing_is_lost(files, tmp_path):
    tasks, _, out, _ = files
    rows = [
        {"task_id": "1", "code": f"import time\ntime.sleep(0.05)\ndef f(x): return 4\n# {n}\n"}
        for n in range(60)
    ]
    programs = write(tmp_path / "slow.jsonl", rows)
    part = out.with_name("v.jsonl.part")
    code = "import sys; from pathlib import Path; from ilf.sandbox.command import verify; "
    code += "verify(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), workers=1)"
    for number in (signal.SIGKILL, signal.SIGINT):
        before = len(part.read_bytes().splitlines()) if part.exists() else 0
        process = subprocess.Popen(
            [sys.executable, "-c", code, tasks, programs, out], stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and (
            not part.exists() or part.read_bytes().count(b"\n") < before + 8
        ):
            time.sleep(0.02)
        process.send_signal(number)
        process.wait()
        assert part.read_bytes().count(b"\n") >= before + 8
    command.verify(tasks, programs, out, workers=1)
    assert [row["code"] for row in read(out)] == [row["code"] for row in rows]
    assert all(row["passed"] for row in read(out))


def test_nothing_of_a_killed_run_lives_on(files, tmp_path):
    tasks, _, out, _ = files
    programs = write(tmp_path / "slow.jsonl", [{"task_id": "1", "code": "import time\ntime.sleep(100)\n"}])
    code = "import sys; from pathlib import Path; from ilf.sandbox.command import verify; "
    code += "verify(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), workers=1)"
    process = subprocess.Popen([sys.executable, "-c", code, tasks, programs, out], stderr=subprocess.DEVNULL)

    def jails():
        rows = subprocess.run(
            ["ps", "-eo", "pgid=,ppid=,args="], capture_output=True, text=True
        ).stdout.splitlines()
        return [row for row in rows if str(process.pid) in row.split()[1:2]]

    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and len(jails()) < 2:
        time.sleep(0.05)
    pids = {int(row.split()[0]) for row in jails()}
    assert len(pids) >= 2  # the jails did exist
    process.kill()
    process.wait()
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and any(_alive(pid) for pid in pids):
        time.sleep(0.05)
    assert not [pid for pid in pids if _alive(pid)]


def _alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_verdicts_on_other_input_are_refused(files, tmp_path):
    tasks, programs, out, rows = files
    command.verify(tasks, programs, out, workers=1)
    other = write(tmp_path / "other.jsonl", rows[1:])
    with pytest.raises(DataError, match="other programs"):
        command.verify(tasks, other, out)
    with pytest.raises(DataError, match="other limits"):
        command.verify(tasks, programs, out, limits=Limits(cpu_seconds=9))
    with pytest.raises(DataError, match="another --repeat"):
        command.verify(tasks, programs, out, repeat=2)
    (tmp_path / ".v.jsonl.key").unlink()
    with pytest.raises(DataError, match="does not say"):
        command.verify(tasks, programs, out)


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ({"task_id": "2", "code": ""}, "line 2: task_id: '2' is not among the 1 tasks"),
        ({"code": "x"}, "line 2: task_id: missing"),
        ({"task_id": "1"}, "line 2: code: missing"),
        ({"task_id": "1", "code": None}, "line 2: code: text was expected, not NoneType"),
        ({"task_id": True, "code": ""}, "line 2: task_id: True is not an id"),
    ],
)
def test_bad_rows_are_named_before_anything_runs(files, tmp_path, row, complaint):
    tasks, _, out, rows = files
    bad = write(tmp_path / "bad.jsonl", [rows[0], row])
    with pytest.raises(DataError) as error:
        command.verify(tasks, bad, out)
    assert complaint in str(error.value) and "bad.jsonl" in str(error.value) and "\n" not in str(error.value)
    assert not out.exists() and not out.with_name("v.jsonl.part").exists()


def test_two_at_once_are_refused(files):
    tasks, programs, out, _ = files
    with (
        command._opened(out.with_name("v.jsonl.part")),
        pytest.raises(DataError, match="another `ilf verify`"),
    ):
        command._write_key(out.with_name(".v.jsonl.key"), {})
        with command._opened(out.with_name("v.jsonl.part")):
            pass


def test_a_full_disk_is_said_so(files):
    if not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full")
    with (
        pytest.raises(UserError, match="disk is full"),
        command._explained(files[2]),
        open("/dev/full", "wb", 0) as file,
    ):
        file.write(b"x")


def test_texts_that_json_finds_hard(files, tmp_path):
    tasks, _, out, _ = files
    rows = [
        {"task_id": "1", "code": "def f(x): return 4 # é\u2028", "x": "\ud800"},
        {"task_id": "1", "code": "\ud800"},
    ]
    programs = tmp_path / "odd.jsonl"
    programs.write_text("".join(json.dumps(row) + "\n" for row in rows))
    command.verify(tasks, programs, out, workers=1)
    found = read(out)
    assert [row["passed"] for row in found] == [True, False] and found[0]["x"] == "\ud800"
