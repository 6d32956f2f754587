"""Answers of a model that are no feedback on a wrong program."""

import json

import pytest

from ilf import policy
from ilf.config import EngineConfig, FeedbackConfig
from ilf.feedback import kinds, model
from ilf.feedback.useless import useless
from ilf.places import Local
from ilf.records import Feedback, Program, Task, Verdict

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


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("Close the database connection before the file handle.", "unrelated"),
        ("Skip what is odd and take what is even.", None),  # words of the task
        ("Here xs is taken whole.", None),  # a name of the program
        ("Looks fine, but 17 is never reached.", None),  # a number of the program
    ],
)
def test_what_has_nothing_of_task_and_program_is_unrelated(text, why):
    code = "def f(xs):\n    return sum(xs) + 17\n"
    assert useless(text, TASK, code) == why
    assert useless(text, TASK) is None


def test_table_5_of_a_models_texts():
    code = "def f(xs):\n    return sum(xs)\n"
    texts = [
        "The code is correct.",
        "def f(xs):\n    pass",
        "Round xs, and the regex misses a group.",
        "Even xs only.",
    ]
    items = [Feedback(task_id="t", code=code, text=text, source="model") for text in texts]
    people = Feedback(task_id="t", code=code, text="No.", source="human")
    assert kinds.by_model([people, *items]) == items
    table = {name: shares for name, *shares in kinds.table5(items, {"t": TASK})}
    assert table["no feedback needed"] == [0.25, 0.0, 0.14]
    assert table["code instead of words"] == [0.25, None, None]
    assert table["regex"][0] == table["formatting"][0] == table["logic"][0] == 0.25
    assert table["recursion"] == [0.0, 0.04, 0.14] and "empty" not in table


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


def test_a_run_ends_with_the_table(tmp_path, capsys):
    """On the last screen and in the report, where a model wrote the feedback."""
    from toy import world

    from ilf.algorithm import run
    from ilf.report.command import write_report

    asked = world(
        tmp_path, feedback={"source": "model", "shots": 0, "only_unsolved": False},
        refiner={"method": "few-shot", "shots": 0, "sampling": {"n": 1}}, sampling={"n": 1},
        evaluation={"k": [1], "sampling": {"n": 1}, "control": False},
    )  # fmt: skip
    script = tmp_path / "script.jsonl"
    said = {"contains": "Do not write the corrected program.", "completions": ["The code is correct."]}
    script.write_text(json.dumps(said) + "\n" + script.read_text())
    folder = run(asked, tmp_path / "run")
    screen = capsys.readouterr().out
    assert "kinds of bug in 8 texts by a model" in screen and "no feedback needed" in screen
    assert "Kinds of bug in feedback by a model." in write_report(folder.path).read_text()
