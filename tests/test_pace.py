"""How long a step will still take: on recorded steps of the embedded model, replayed.

`tests/traces` has what sampling steps of SmolLM2-135M-Instruct reported (engine torch, float32, one thread on a core
of an AMD EPYC, 2026-11-27): milliseconds of processor time, as the machine did other work, samples that ended, and
tokens. Made by `tools/record_step.py`.
"""

import json
import math
from pathlib import Path

import pytest

from ilf import progress
from ilf.pace import Batched, Plan, Steady

TRACES = Path(__file__).parent / "traces"
NAMES = sorted(path.stem for path in TRACES.glob("*.json"))


def trace(name):
    return json.loads((TRACES / f"{name}.json").read_text())


def errors(found, pace, shares):
    """Share of the step's time → what is said to be left over what is, or None where nothing is said."""
    end, events, said = found["milliseconds"] / 1000, iter(found["events"]), {}
    waiting = next(events)
    for share in shares:
        while waiting is not None and waiting[0] / 1000 <= share * end:
            pace.heard(waiting[0] / 1000, waiting[1], waiting[2])
            waiting = next(events, None)
        left = pace.left(share * end)
        said[share] = None if left is None else left / (end - share * end)
    return said


def batched(found):
    return Batched(Plan(tuple(found["batches"]), found["n"], found["most"]))


def steady(found):
    return Steady(sum(found["batches"]))


def test_traces_are_of_whole_steps():
    assert NAMES == ["batches", "cool", "fresh", "many", "one"]
    for name in NAMES:
        found = trace(name)
        assert sum(done for _, done, _ in found["events"]) == sum(found["batches"])


@pytest.mark.parametrize("name", ["batches", "cool", "fresh", "many"])
def test_after_a_tenth_the_error_is_under_30_per_cent(name):
    found = trace(name)
    [said] = errors(found, batched(found), [0.1]).values()
    assert 0.7 < said < 1.3


def test_before_the_first_token_nothing_is_said():
    """Of so short a step the first prompts alone are a sixth."""
    found = trace("one")
    assert list(errors(found, batched(found), [0.05, 0.1, 0.15]).values()) == [None] * 3


@pytest.mark.parametrize("name", NAMES)
def test_it_stays_right_while_there_is_much_to_do(name):
    """Later a sample that goes on to the limit, or does not, is half of what is left."""
    found = trace(name)
    said = errors(found, batched(found), [0.2 + i / 20 for i in range(9)])
    assert all(0.69 < value < 1.31 for value in said.values()), said


def test_by_finished_samples_alone_it_would_not():
    """What it was before, and why this is here: it goes wrong by more than twice on every one of them."""
    for name in NAMES:
        found = trace(name)
        shares = [i / 10 for i in range(1, 10)]
        said = [value for value in errors(found, steady(found), shares).values() if value]
        assert max(max(value, 1 / value) for value in said) > 2, (name, said)


def test_steady_work_counts_from_its_first_unit():
    """Opening a model took ten seconds, each step takes one."""
    pace = Steady(20)
    assert pace.left(5.0) is None
    for step in range(1, 5):
        pace.heard(10.0 + step, 1, 0)
    assert pace.left(14.0) == pytest.approx(16.0)
    pace.heard(30.0, 16, 0)
    assert pace.left(30.0) is None


def test_units_that_end_together_are_one_report():
    """An engine that gives 32 samples every ten seconds, after ten of opening."""
    pace, at = Steady(160), 10.0
    for left in (None, 40.0, 30.0, 20.0, 10.0):
        said = pace.left(at)
        assert said == (None if left is None else pytest.approx(left if at > 20 else 2 * left))
        at += 10.0
        for _ in range(32):
            pace.heard(at, 1, 0)
    assert pace.left(at) is None


def test_places_that_are_filled_as_they_come_free_are_steady():
    """An engine with room for 10 of a batch of 100: five passes a sample, a second each."""
    pace, at = Batched(Plan((100,), 1, 50)), 0.0
    for _ in range(4):
        for _ in range(5):
            at += 1.0
            pace.heard(at, 0, 10)
        pace.heard(at, 10, 0)
    assert pace.left(at) == pytest.approx(30.0, rel=0.35)


def test_odd_reports_break_nothing():
    pace = Batched(Plan((2, 2), 1, 3))
    assert pace.left(0.0) is None
    for at, done, tokens in [(0.0, 0, 2), (0.0, 0, 2), (0.0, 2, 900), (0.0, 2, 0), (0.0, 1, 5)]:
        pace.heard(at, done, tokens)
        left = pace.left(at)
        assert left is None or (left >= 0 and math.isfinite(left))


def test_the_first_seconds_are_said(monkeypatch, capsys):
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    with progress.progress("sampling programs", 100) as bar:
        for second in range(1, 41):
            now[0] = float(second)
            bar.advance(1, tokens=50)
    first, second = capsys.readouterr().err.splitlines()
    assert first == "  sampling programs: 5 of 100, 50 tokens/s, about 1 min 35 s left"
    assert second.startswith("  sampling programs: 35 of 100")
