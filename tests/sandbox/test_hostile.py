"""Hostile programs: each gets its exact verdict, the machine is unhurt, and the next program is judged rightly."""

import os
import subprocess
from pathlib import Path

import hostile_programs as hostile
import pytest

from ilf.records import Program
from ilf.sandbox import Limits, Verifier

pytestmark = pytest.mark.alone

LIMITS = Limits(
    cpu_seconds=0.4, wall_seconds=0.8, memory_mb=96, processes=16, open_files=64, file_mb=4, output_kb=16
)


def descendants() -> set[int]:
    """Every process below this one."""
    rows = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    parents = {int(pid): int(parent) for pid, parent in map(str.split, rows.splitlines())}
    found = {os.getpid()}
    while True:
        more = {pid for pid, parent in parents.items() if parent in found} - found
        if not more:
            return found - {os.getpid()}
        found |= more


def machine() -> dict[str, object]:
    """What a program must not be able to change."""
    return {
        "tmp": sorted(
            name for name in os.listdir("/tmp") if "poison" in name or name in ("x", "mine", "lock")
        ),
        "shm": sorted(os.listdir("/dev/shm")),
        "hostname": os.uname().nodename,
        "library": Path(os.__file__).stat().st_size,
        "passwd": Path("/etc/passwd").read_bytes(),
    }


@pytest.fixture(scope="module")
def verifier():
    os.environ["ILF_CANARY_TOKEN"] = "secret"
    tasks = {task.task_id: task for task in (hostile.TASK, hostile.TALK)}
    with Verifier(tasks, limits=LIMITS, workers=2) as verifier:
        yield verifier
    del os.environ["ILF_CANARY_TOKEN"]


def test_at_least_eighty_programs():
    assert sum(map(len, hostile.GROUPS.values())) >= 80
    for group in hostile.GROUPS.values():
        assert len({name for name, _, _ in group}) == len(group)


@pytest.mark.parametrize("group", hostile.GROUPS)
def test_hostile_programs(group, verifier):
    cases = hostile.GROUPS[group]
    before = machine()
    programs = []
    name = "talk" if group == "live" else "square"
    for _, _, code in cases:
        programs.append(Program(task_id=name, code=code))
        programs += [Program(task_id="square", code=c) for c in (hostile.WITNESS, hostile.RIGHT)]
    verdicts = list(verifier.verify(programs))
    wrong = []
    for index, (name, status, _) in enumerate(cases):
        bad, witness, right = verdicts[3 * index : 3 * index + 3]
        if bad.status != status:
            wrong.append(f"{name}: {bad.status}, not {status}: {bad.detail!r}")
        if not witness.passed:
            wrong.append(f"after {name}: {witness.detail!r}")
        if not right.passed:
            wrong.append(f"after {name}: a right program was {right.status}: {right.detail!r}")
    assert not wrong, "\n".join(wrong)
    assert machine() == before
