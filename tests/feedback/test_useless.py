"""Answers of a model that are no feedback on a wrong program."""

import json

import pytest

from ilf import policy
from ilf.config import EngineConfig, FeedbackConfig
from ilf.feedback import model
from ilf.feedback.useless import useless
from ilf.places import Local
from ilf.records import Program, Task, Verdict

TASK = Task(
    task_id="t", description="Write a function to find the sum of all even numbers in a list.", entry_point="f",
    tests=("assert f([2]) == 2",),
)  # fmt: skip


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("  ...", "empty"),
        ("The code is correct.", "no feedback needed"),
        ("This function looks good. No changes are needed.", "no feedback needed"),
        ("The code is correct for even numbers, but it should skip odd ones.", None),
        ("The code is not correct.", None),
        ("Write a function to find the sum of all the even numbers in a list.", "restates the task"),
        ("The sum of all numbers is returned; test number % 2 == 0 before adding.", None),
        ("```python\ndef f(xs):\n    return sum(xs)\n```", "code instead of words"),
        ("def f(xs):\n    return sum(xs)", "code instead of words"),
        ("Replace the last line by:\n```python\nreturn 0\n```", None),
        ("Use `sum` over a filtered list.", None),
    ],
)
def test_what_is_no_feedback(text, why):
    assert useless(text, TASK) == why


def test_they_are_counted_and_kept(tmp_path, capsys):
    script = tmp_path / "script.jsonl"
    script.write_text(json.dumps({"contains": "", "completions": ["The code is correct."]}) + "\n")
    opened = policy.get(script, EngineConfig(name="scripted"), "chat")
    pair = (
        Program(task_id="t", code="def f(x):\n    return 1\n"),
        Verdict(task_id="t", program_id="p", status="failed"),
    )
    items = model.write(lambda: Local().open(opened), {"t": TASK}, {"t": [pair]})
    assert [item.text for item in items] == ["The code is correct."]
    assert "1 of 1 texts is no feedback: no feedback needed 1" in "".join(capsys.readouterr())
    assert FeedbackConfig(source="model").sources == {"model"}
