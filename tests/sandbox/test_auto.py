"""`isolation = "auto"`: shared where the reference passes only so, else separate; and what shared is worth."""

import json
from collections import Counter

import pytest

from ilf.errors import SandboxUnavailable
from ilf.records import Program, Task
from ilf.sandbox import Limits, Verifier, command
from ilf.sandbox import verify as verify_all
from ilf.sandbox.pool import Pool

# Tests that change the interpreter that the program runs in: no other process will do.
INNER = Task(
    task_id="inner",
    description="What is the built-in mark?",
    entry_point="mark",
    setup="import builtins",
    tests=("builtins.the_mark = 712\nassert mark() == 712", "builtins.the_mark = 5\nassert mark() == 5"),
    reference="import builtins\n\ndef mark():\n    return builtins.the_mark\n",
)
DOUBLE = Task(
    task_id="double",
    description="Double it.",
    entry_point="double",
    tests=("assert double(2) == 4",),
    reference="def double(x):\n    return 2 * x\n",
)
BROKEN = DOUBLE.model_copy(update={"task_id": "broken", "reference": "def double(x):\n    return 3\n"})
BARE = INNER.model_copy(update={"task_id": "bare", "reference": None})
APART = INNER.model_copy(update={"task_id": "apart", "isolation": "separate"})
RIGHT = {"inner": INNER.reference, "bare": INNER.reference, "apart": INNER.reference}
RIGHT |= {"double": DOUBLE.reference, "broken": DOUBLE.reference}
TASKS = {task.task_id: task for task in (INNER, DOUBLE, BROKEN, BARE, APART)}


@pytest.fixture(scope="module")
def sandbox():
    try:
        with Verifier(TASKS, workers=1) as verifier:
            yield verifier
    except SandboxUnavailable as error:
        pytest.skip(str(error))


@pytest.fixture
def runs(monkeypatch):
    """(task, shared) → programs given to the pools."""
    found = Counter()
    run = Pool.run

    def counted(pool, jobs):
        for job in run(pool, jobs):
            found[job.tag.task.task_id, bool(job.message.get("shared"))] += 1
            yield job

    monkeypatch.setattr(Pool, "run", counted)
    return found


@pytest.fixture
def nothing_known(monkeypatch):
    import sys

    monkeypatch.setattr(sys.modules["ilf.sandbox.verify"], "_needs_shared", {})


def programs(code_of, n=1):
    return [Program(task_id=name, code=f"{code}# {k}\n") for name, code in code_of.items() for k in range(n)]


def test_shared_where_only_that_passes_found_once_a_task_and_stamped(sandbox, runs, nothing_known):
    found = list(sandbox.verify(programs(RIGHT, 3)))
    shown = {v.task_id: (v.status, v.shared) for v in found}
    assert shown == {
        "inner": ("passed", True),
        "double": ("passed", False),
        "broken": ("passed", False),  # its reference fails everywhere
        "bare": ("error", False),  # no reference: separate
        "apart": ("error", False),  # its own field
    }
    assert len(found) == 15 and len({(v.task_id, v.status, v.shared) for v in found}) == 5
    assert runs["double", False] == 3 + 1 and runs["double", True] == 0
    assert runs["broken", False] == 3 + 1 and runs["broken", True] == 1
    assert runs["bare", False] == 3 and runs["apart", False] == 3
    assert runs["inner", True] == 3 + 1  # the reference once
    runs.clear()
    assert [v.shared for v in sandbox.verify(programs({"inner": INNER.reference}, 2))] == [True, True]
    assert sandbox.verify_one(INNER, "def mark():\n    return 712\n").status == "failed"
    assert runs == {("inner", True): 3}, "what was found is used again, by other calls too"


def test_a_reference_as_the_program_is_run_once(sandbox, runs, nothing_known):
    whole = [Program(task_id=task.task_id, code=task.reference) for task in (INNER, DOUBLE)]
    assert [(v.status, v.shared) for v in sandbox.verify(whole)] == [("passed", True), ("passed", False)]
    assert runs["double", False] == 1


def test_other_limits_are_another_question(sandbox, nothing_known):
    slow = DOUBLE.model_copy(
        update={"reference": "def double(x):\n    while x < 10**9: x += 1\n    return 4\n"}
    )
    [verdict] = verify_all(
        {"double": slow}, programs({"double": DOUBLE.reference}), limits=Limits(cpu_seconds=0.3), workers=1
    )
    # A reference that is too slow says nothing about isolation.
    assert verdict.passed and not verdict.shared


@pytest.mark.parametrize(("isolation", "shared"), [("separate", False), ("shared", True)])
def test_a_setting_is_for_tasks_that_leave_it_open(sandbox, isolation, shared):
    with Verifier(TASKS, workers=1, isolation=isolation) as verifier:
        found = {v.task_id: (v.passed, v.shared) for v in verifier.verify(programs(RIGHT))}
    assert found["inner"] == (shared, shared) and found["double"] == (True, shared)
    assert found["apart"] == (False, False)


LIAR = """
class Liar:
    def __eq__(self, other):
        return True
def double(x):
    return Liar()
"""
FORGER = """
import sys
def mark():
    return next(value for value in sys._getframe(1).f_code.co_consts if isinstance(value, int) and value)
"""


def test_a_hostile_program_cheats_where_isolation_is_shared_and_is_recorded_as_that(sandbox):
    """Not a hole: it is what shared isolation is, and why it is used only where nothing else judges right."""
    forged = sandbox.verify_one(INNER, FORGER)
    assert forged.passed and forged.shared
    shared = DOUBLE.model_copy(update={"isolation": "shared"})
    lied = sandbox.verify_one(shared, LIAR)
    assert lied.passed and lied.shared
    apart = sandbox.verify_one(DOUBLE, LIAR)
    assert apart.status == "failed" and not apart.shared
    honest = sandbox.verify_one(INNER, INNER.reference + "# again\n")
    assert honest.passed and honest.shared


def test_ilf_verify_counts_and_stamps_them(sandbox, tmp_path, capsys):
    source, rows, out = (tmp_path / name for name in ("tasks.jsonl", "programs.jsonl", "verdicts.jsonl"))
    source.write_text("".join(task.to_json() + "\n" for task in TASKS.values()))
    rows.write_text("".join(program.to_json() + "\n" for program in programs(RIGHT, 2)))
    command.verify(str(source), rows, out, workers=1)
    whole = out.read_bytes()
    found = [json.loads(line) for line in whole.splitlines()]
    assert {row["task_id"] for row in found if row["shared"]} == {"inner"}
    said = "2 of them with isolation shared, where a hostile program is able to cheat: 1 tasks (inner)"
    assert said in capsys.readouterr().err
    # Killed after the first rows: those are counted too.
    out.unlink()
    out.with_name("verdicts.jsonl.part").write_bytes(b"".join(whole.splitlines(keepends=True)[:5]))
    command.verify(str(source), rows, out, workers=1)
    assert out.read_bytes() == whole and said in capsys.readouterr().err
    with pytest.raises(Exception, match="made with another --isolation"):
        command.verify(str(source), rows, out, isolation="separate")
