"""The worked example on texts: its rule, its data, and a rehearsal of its run."""

import importlib.util
from pathlib import Path

import pytest

from ilf.algorithm import run
from ilf.config import build_config
from ilf.configfile import read_toml
from ilf.dryrun import dry
from ilf.feedback import recorded
from ilf.records import Task
from ilf.tasks import load_tasks

FOLDER = Path(__file__).parents[1] / "examples" / "summaries"
TASK = Task(
    task_id="t", kind="text", tests=("3 May", "Ida Rohn"), tags="Tarn",
    description="Sum up. Notice: The pier at Tarn opens on 3 May at 10.30, says Ida Rohn.",
)  # fmt: skip


@pytest.fixture(scope="module")
def rules():
    spec = importlib.util.spec_from_file_location("summary_rules", FOLDER / "rules.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def tasks():
    return {task.task_id: task for task in load_tasks(str(FOLDER / "tasks.jsonl"))}


@pytest.mark.parametrize(
    ("text", "worth", "why"),
    [
        ("Tarn: The pier opens on 3 May at 10.30, says Ida Rohn.", 1.0, ""),
        ("The pier opens on 3 May, says Ida Rohn.", 0.875, "It does not start with `Tarn: `."),
        ("Tarn: The pier opens on 3 May.", 0.875, "It leaves out Ida Rohn."),
        (
            "Tarn: The pier opens on 4 May, says Ida Rohn.",
            0.625,
            "It leaves out 3 May. 4: not in the notice.",
        ),
        ("Tarn: On 3 May Ida Rohn and Tom open it.", 0.75, "Tom: not in the notice."),
        (
            "Sounds like a great plan.",
            0.125,
            "It does not start with `Tarn: `. It leaves out 3 May and Ida Rohn.",
        ),
    ],
)
def test_the_rule(rules, text, worth, why):
    assert rules.score(TASK, text) == (pytest.approx(worth), why)


def test_length_falls_off(rules):
    assert [rules.length("a " * words)[0] for words in (25, 30, 50, 60)] == [1.0, 0.8, 0.0, 0.0]
    assert rules.length("a " * 30)[1] == "It has 30 words; at most 25 are asked for."


def test_references_are_worth_all_and_wrong_summaries_less(rules, tasks):
    for task in tasks.values():
        assert rules.score(task, task.reference) == (1.0, ""), task.task_id
    items = recorded.read(FOLDER / "feedback.jsonl", tasks)
    assert len(items) == 22 and {tasks[item.task_id].split for item in items} == {"refine", "train"}
    for item in items:
        assert rules.score(tasks[item.task_id], item.code)[0] < 0.8, item.task_id
        assert item.refinement == tasks[item.task_id].reference


def test_a_rehearsal_of_its_run(tmp_path, monkeypatch):
    monkeypatch.chdir(FOLDER)
    settings, out = dry(build_config(read_toml(Path("run.toml")), "run.toml"), tmp_path / "dry")
    folder = run(settings, out, summary=False)
    assert folder.round(1).examples.read_text().count("\n") == 4
