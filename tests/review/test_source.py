"""Feedback source `review` in a run: comments on functions that the run has tasks about."""

import json
from pathlib import Path

import pytest
from test_import import SAMPLES, repository  # noqa: F401 - a fixture

from ilf.algorithm import run
from ilf.config import build_config
from ilf.dryrun import write_script
from ilf.errors import ConfigError, DataError
from ilf.prompts import Prompter
from ilf.records import Example, Feedback, Task, read_jsonl, write_jsonl


def task(name, split, right, *tests):
    prefix = f"def {name}(values):\n"
    return Task(
        task_id=f"own/{name}", description=f"The {name} of some values.", entry_point=name, prefix=prefix,
        tests=tests, reference=prefix + right, split=split,
    )  # fmt: skip


TASKS = [
    task(
        "mean", "train", "    return sum(values) / len(values) if values else 0.0\n", "assert mean([]) == 0.0"
    ),
    task("last", "test", "    return values[-1]\n", "assert last([1, 2]) == 2"),
    task("first", "refine", "    return values[0]\n", "assert first([1, 2]) == 1"),
]


@pytest.fixture
def config(tmp_path, repository):  # noqa: F811
    folder, commit = repository
    write_jsonl(tmp_path / "tasks.jsonl", TASKS)
    write_script(TASKS, Prompter("chat"), tmp_path / "script.jsonl")
    (tmp_path / "comments.json").write_text((SAMPLES / "github.json").read_text().replace("COMMIT", commit))
    return {
        "name": "reviewed",
        "model": str(tmp_path / "script.jsonl"),
        "engine": {"name": "scripted"},
        "prompts": {"style": "chat"},
        "tasks": {"source": str(tmp_path / "tasks.jsonl")},
        "sampling": {"n": 1},
        "feedback": {
            "source": "review",
            "review": {"exports": [str(tmp_path / "comments.json")], "repository": str(folder)},
        },
        "refiner": {"method": "few-shot", "shots": 0, "sampling": {"n": 1}},
        "evaluation": {"k": [1], "sampling": {"n": 1}, "control": False},
    }


def test_a_run_follows_what_reviewers_wrote(tmp_path, config):
    folder = run(build_config(config, "text"), tmp_path / "run")
    files = folder.round(1)
    [item] = read_jsonl(files.feedback, Feedback)
    assert (item.task_id, item.source, item.author) == ("own/mean", "review", "reviewer")
    assert item.text.startswith("This divides by zero for an empty list") and item.foreign
    assert item.code.endswith("    return sum(values) / len(values)\n")
    why = {
        row["where"]: row["why"] for row in map(json.loads, (files.path / "3-feedback-dropped.jsonl").open())
    }
    # The comment on `last` was verified; it is a task of the test split, and no feedback is about those.
    assert [w for where, w in why.items() if ":last@" in where] == [
        "its function is the one of no task of splits refine and train"
    ]
    assert [example.task_id for example in read_jsonl(files.examples, Example)] == ["own/mean"]
    before = folder.read_manifest().steps["round-1/3-feedback"].key
    run(build_config(config, "text"), tmp_path / "run", summary=False)
    assert folder.read_manifest().steps["round-1/3-feedback"].key == before
    # Another comment in the export: asked again.
    path = Path(config["feedback"]["review"]["exports"][0])
    path.write_text(path.read_text().replace("return 0.0 there", "return 0.0 then"))
    run(build_config(config, "text"), tmp_path / "run", summary=False)
    assert "return 0.0 then" in read_jsonl(files.feedback, Feedback)[0].text


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"exports": ["nowhere.json"]}, "feedback.review.exports: nowhere.json: no such file"),
        ({"repository": "/tmp"}, "feedback.review.repository: /tmp: not a git repository"),
        ({"head": "v9"}, "there is no version 'v9'"),
        ({"repository": None}, "review.exports and review.repository: needed"),
    ],
)
def test_what_is_missing_is_one_line_before_any_work(tmp_path, config, change, said):
    config["feedback"]["review"] |= change
    with pytest.raises((ConfigError, DataError)) as error:
        run(build_config(config, "text"), tmp_path / "run")
    assert said in str(error.value) and not (tmp_path / "run/round-1/1-programs.jsonl").exists()
