"""Feedback source `mixed`: the budget, whom it asks about, and the replay of that choice."""

import pytest
from toy import world

from ilf import algorithm
from ilf.config import load_config
from ilf.errors import ConfigError, DataError
from ilf.feedback import asking, replay
from ilf.records import Feedback, Program, Refinement, Task, Verdict, read_jsonl
from ilf.runfolder import RunFolder


def failed(name, code="def f(x):\n    return x\n", tests=(False, False), **fields):
    task = Task(
        task_id=name, description="d", entry_point="f", tests=("assert f(1) == 2", "assert f(2) == 3")
    )
    program = Program(task_id=name, code=code)
    fields = {"status": "failed", "test": 0, "tests": tests, **fields}
    verdict = Verdict(task_id=name, program_id=program.program_id, **fields)
    return asking.failure(task, (program, verdict), [verdict])


OFF = {"expected": "2", "actual": "1"}
TYPE = {"expected": "[2]", "actual": "'2'"}


def order(*failures):
    return [ranked.failure.task_id for ranked in asking.rank(failures)]


def test_the_common_kind_comes_first_and_not_again_and_again():
    common = [failed(f"off{n}", **OFF) for n in range(4)]
    rare = failed("rare", "import re\nclass A: pass\ndef f(x):\n    x += 1\n    while x: x -= 1\n", **TYPE)
    ranked = asking.rank([rare, *common])
    assert [r.failure.task_id for r in ranked][:2] == ["off0", "rare"]
    assert [r.like for r in ranked][:2] == [4, 1]


def test_the_nearer_to_passing_of_two_comes_first():
    far, near = failed("far", **OFF), failed("near", tests=(False, True), **OFF)
    assert order(far, near) == ["near", "far"]
    assert near.nearness > far.nearness > failed("broken", "def f(x)\n", status="error").nearness


def test_samples_that_disagree_come_first():
    sure, unsure = failed("sure", **OFF), failed("unsure", **OFF)
    task = Task(task_id="unsure", description="d", entry_point="f", tests=("assert f(1) == 2",))
    pair = Program(task_id="unsure", code="x"), Verdict(task_id="unsure", program_id="p", status="failed")

    def disagreement(*actual):
        verdicts = [pair[1].model_copy(update={"actual": text}) for text in actual]
        return asking.failure(task, pair, verdicts).disagreement

    assert disagreement("1", "1") == disagreement("1") == 0.0
    assert disagreement("1", "2") == pytest.approx(1.0)
    assert 0 < disagreement("1", "1", "2") < 1
    assert order(sure, asking.Failure(**{**vars(unsure), "disagreement": 1.0})) == ["unsure", "sure"]


def test_likeness_is_of_kind_shape_and_code():
    one, same, other = failed("a", **OFF), failed("b", **OFF), failed("c", "while 1: pass", **TYPE)
    assert asking.likeness(one, same) == pytest.approx(1.0)
    assert 0 <= asking.likeness(one, other) < 0.7


def test_every_task_is_ranked_once():
    failures = [failed(str(n)) for n in range(5)]
    assert sorted(order(*failures)) == list("01234")
    assert asking.rank([]) == []
    assert asking.at_random(failures, 1) == asking.at_random(failures, 1) != asking.at_random(failures, 2)


def refinement(name, passed):
    verdict = Verdict(task_id=name, program_id="p", status="passed" if passed else "failed")
    return Refinement(feedback_id="f", task_id=name, code="", verdict=verdict)


def test_a_replay_says_what_the_order_gained():
    names = list("abcdef")
    people = [refinement(name, name in "ab") for name in names]
    rest = [refinement(name, False) for name in names] + [refinement("z", True)]
    gain = replay.gains(people, rest)
    assert gain == {"a": 1, "b": 1, "c": 0, "d": 0, "e": 0, "f": 0}
    best, worst = replay.replay(names, gain, 2), replay.replay(names[::-1], gain, 2)
    assert (best.chosen.value, worst.chosen.value) == (1.0, 0.0)
    assert best.random.value == pytest.approx(1 / 3)
    assert best.difference.value == pytest.approx(2 / 3) and best.difference.low > 0
    assert worst.difference.value == pytest.approx(-1 / 3)
    with pytest.raises(DataError, match="6 tasks to choose from"):
        replay.replay(names, gain, 7)
    with pytest.raises(DataError, match="at least 2"):
        replay.gains(people, rest[:1])


def mixed(folder, **changes):
    changes = {"people": "recorded", "items": 5, **changes}
    return world(
        folder, feedback={"source": "mixed", "path": str(folder / "feedback.jsonl"), "mixed": changes},
        refiner={"method": "few-shot", "shots": 0, "sampling": {"n": 2}},
    )  # fmt: skip


def ask(folder, monkeypatch, **changes):
    config = mixed(folder, **changes)

    class Enough(Exception):
        pass

    def stop(*_):
        raise Enough

    monkeypatch.setattr(algorithm, "refuse_leaks", stop)
    out = folder / f"run-{len(list(folder.iterdir()))}"
    with pytest.raises(Enough):
        algorithm.run(config, out)
    return read_jsonl(RunFolder(out).round(1).feedback, Feedback), RunFolder(out)


def test_people_have_the_budget_and_the_rest_speaks_on_the_others(tmp_path, monkeypatch):
    items, folder = ask(tmp_path, monkeypatch)
    sources = [item.source for item in items]
    assert sources == ["recorded"] * 5 + ["execution"] * 3
    assert len({item.task_id for item in items}) == 8
    counts = folder.read_manifest().steps["round-1/3-feedback"].counts
    assert counts["by recorded"] == 5 and counts["by execution"] == 3
    at_random, _ = ask(tmp_path, monkeypatch, ask="random")
    assert {i.task_id for i in at_random[:5]} != {i.task_id for i in items[:5]}
    nobody, _ = ask(tmp_path, monkeypatch, items=0)
    assert {item.source for item in nobody} == {"execution"}


def test_a_budget_in_hours(tmp_path):
    assert mixed(tmp_path, items=None, hours=1, minutes_each=15).feedback.mixed.budget == 4
    assert mixed(tmp_path, items=3, hours=1).feedback.mixed.budget == 3


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("feedback.mixed.items=", "mixed.items or mixed.hours: needed"),
        ("feedback.mixed.rest=mixed", "made of other sources"),
        ("feedback.mixed.people=persons", "'persons' is unknown"),
    ],
)
def test_settings_that_cannot_be(line, said):
    budget = [] if line.endswith("=") else ["feedback.mixed.items=2", line]
    with pytest.raises(ConfigError, match=said):
        load_config(None, ["feedback.source=mixed", *budget])
