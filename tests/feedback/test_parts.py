"""Several bugs, one step at a time: how a text is cut, and what of each step is kept."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ilf import policy
from ilf.config import EngineConfig, SamplingConfig, VerifyConfig
from ilf.feedback.parts import parts
from ilf.places import Local
from ilf.records import Feedback, Task
from ilf.runner import alone
from ilf.steps import RefineByParts, Refiner

TWO = "It is close. The loop should start at 0. Then the sum must be returned. Good luck!"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (TWO, ["It is close. The loop should start at 0.", "Then the sum must be returned. Good luck!"]),
        ("- Use len(x).\n- Return a list instead", ["Use len(x).", "Return a list instead"]),
        ("Everything is wrong.", ["Everything is wrong."]),
        ("It should return 1. It is late.", ["It should return 1. It is late."]),
    ],
)
def test_a_part_tells_one_thing_to_change(text, found):
    assert parts(text) == found


@given(st.text(alphabet="aAx .\n-;", max_size=60) | st.just(TWO))
def test_no_word_is_lost(text):
    words = [word for word in " ".join(parts(text)).split() if word.strip("-")]
    assert words == [word for word in text.split() if word.strip("-")]


TASK = Task(
    task_id="t", description="Add two.", entry_point="f", prefix="def f(x):\n",
    tests=("assert f(1) == 3", "assert f(-5) == 0", "assert f(0) == 2"),
)  # fmt: skip
WRONG = "def f(x):\n    return x\n"
HALF = "\n    return x + 2\n"
WHOLE = "\n    return max(x + 2, 0)\n"


def refine(tmp_path, answers, text="It should add two. It must not be negative.", n=2):
    """The end of a chain; `answers`: what stands in a prompt → completions."""
    script = tmp_path / "script.jsonl"
    script.write_text(
        "".join(json.dumps({"contains": part, "completions": found}) + "\n" for part, found in answers)
    )
    model = policy.get(script, EngineConfig(name="scripted"), "chat")
    item = Feedback(task_id="t", code=WRONG, text=text, source="human")
    step = RefineByParts(Refiner(model), (item,), {"t": TASK}, SamplingConfig(n=n), VerifyConfig())
    (row,) = alone(step, tmp_path / "out.jsonl", Local())
    assert row.feedback_id == item.feedback_id
    return row


def test_each_part_starts_from_what_the_one_before_left(tmp_path):
    answers = [("not be negative.", [WHOLE]), ("add two.", ["\n    return 7\n", HALF])]
    row = refine(tmp_path, answers)
    assert row.code == "def f(x):\n    return max(x + 2, 0)\n" and row.verdict.passed
    # Two samples of each of two parts: a token is a word, and one for the end.
    assert row.tokens == (3 + 5) + 2 * 6
    assert row.edit_distance == len("max( + 2, 0)")


def test_a_step_that_passes_fewer_tests_is_not_kept(tmp_path):
    row = refine(tmp_path, [("not be negative.", ["\n    return None\n"]), ("add two.", [HALF])])
    assert row.code == "def f(x):\n    return x + 2\n"
    assert row.verdict.tests == (True, False, True)


def test_a_chain_ends_when_every_test_passes(tmp_path):
    row = refine(tmp_path, [("not be negative.", ["\n    return None\n"]), ("add two.", [WHOLE])])
    assert row.verdict.passed and row.tokens == 2 * 6


def test_where_nothing_is_better_the_program_stays(tmp_path):
    row = refine(tmp_path, [("x", [""])], n=1)
    assert row.verdict is not None and not row.verdict.passed
