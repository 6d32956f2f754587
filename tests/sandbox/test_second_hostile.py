"""Second hostile pass: each program gets its exact verdict, and an honest program right after it passes.

One warm verifier judges them all.
"""

import hostile2_attacks as attacks
import hostile2_programs as programs
import pytest

from ilf.sandbox import Limits, Verifier

pytestmark = pytest.mark.alone

LIMITS = Limits(
    cpu_seconds=0.3, wall_seconds=0.5, memory_mb=96, processes=16, open_files=64, file_mb=4, output_kb=16
)
GROUPS = {
    "lies": programs.LIES, "values": programs.VALUES, "numpy": programs.NUMPY, **attacks.GROUPS,
}  # fmt: skip


def parameters():
    for group, cases in GROUPS.items():
        for case in cases:
            yield pytest.param(case, id=f"{group}: {case.name}")


@pytest.fixture(scope="module")
def verifier():
    with Verifier(limits=LIMITS, workers=1) as verifier:
        yield verifier


def test_at_least_forty_programs():
    names = [case.name for cases in GROUPS.values() for case in cases]
    assert len(names) >= 40 and len(set(names)) == len(names)


@pytest.mark.parametrize("case", list(parameters()))
def test_second_hostile(case, verifier):
    task, honest = programs.TASKS[case.task]
    if "numpy" in task.setup + case.code:
        pytest.importorskip("numpy")
    bad = verifier.verify_one(task, case.code)
    right = verifier.verify_one(task, honest)
    assert right.passed, f"after it, a right program was {right.status}: {right.detail!r}"
    assert bad.status == case.status, bad.detail
