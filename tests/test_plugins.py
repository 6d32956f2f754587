"""Everything plugged in at once, from a package of its own, through `ilf run`."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from ilf.records import Example, Feedback, Program, Task, read_jsonl, write_jsonl
from ilf.runfolder import RunFolder

PLUGIN = Path(__file__).parent / "plugin"
EXTENDING = Path(__file__).parents[1] / "docs" / "extending.md"
WORDS = ["apple", "brook", "cloud", "drum", "echo", "fern", "gate", "hill", "iron"]
CONFIG = """
name = "shouting"
model = "nobody"
rounds = 2
tasks = { source = "tasks.jsonl", validation = 0 }
place = { name = "ilf_plugin.place:Counting" }
engine = { name = "ilf_plugin.engine:open", options = { loud = false } }
sampling = { n = 2 }
feedback = { source = "ilf_plugin.source:gather", only_unsolved = false, options = { items = 4 } }
refiner = { method = "few-shot", shots = 0, sampling = { n = 2 } }
learner = { name = "ilf_plugin.learner:learn" }
evaluation = { k = [1, 2], sampling = { n = 2 } }
"""


@pytest.fixture
def project(tmp_path):
    tasks = [
        Task(
            task_id=word,
            description=f'Shout the word "{word}".',
            entry_point="answer",
            tests=(word.upper(),),
            split=("refine", "train", "test")[n % 3],
            kind="ilf_plugin.kind:Shout",
        )
        for n, word in enumerate(WORDS)
    ]
    write_jsonl(tmp_path / "tasks.jsonl", tasks)
    (tmp_path / "run.toml").write_text(CONFIG)
    return tmp_path


def ilf(folder, *arguments):
    path = os.pathsep.join([str(PLUGIN), *sys.path])
    return subprocess.run(
        [sys.executable, "-m", "ilf.cli", *arguments],
        cwd=folder, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, timeout=120,
    )  # fmt: skip


def test_two_rounds_with_nothing_of_our_own(project):
    done = ilf(project, "run", "run.toml")
    assert done.returncode == 0, done.stderr
    folder = RunFolder(project / "runs/shouting")
    one, two = folder.round(1), folder.round(2)
    items = read_jsonl(one.feedback, Feedback)
    assert len(items) == 4 and {item.author for item in items} == {"a rule"}
    assert items[0].text == "'apple' is whispered. Use capital letters."
    assert [e.completion for e in read_jsonl(one.examples, Example)] == [" BROOK\n", " ECHO\n"]
    assert [e.completion for e in read_jsonl(two.examples, Example)] == [" HILL\n"]
    # What was learnt in the first round is sampled in the second.
    said = {(p.task_id, p.index): p.code for p in read_jsonl(two.programs, Program)}
    assert (said["brook", 0], said["brook", 1]) == ("BROOK", "brook")
    models = json.loads(two.evaluation.read_text())["models"]
    assert models["before"]["hash"] == json.loads(one.evaluation.read_text())["models"]["after"]["hash"]
    assert folder.read_manifest().steps["round-1/7-model"].counts == {"examples": 2, "feedback": 2}
    assert folder.read_manifest().steps["round-2/7-model"].counts == {"examples": 3, "feedback": 1}
    again = ilf(project, "run", "run.toml")
    assert again.returncode == 0 and again.stderr.count(": unchanged") == 16


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("learner.name=sftt", "learner.name: 'sftt' is unknown; did you mean sft?"),
        ("learner.name=nowhere:learn", "learner.name: 'nowhere:learn': there is no module nowhere"),
        ("learner.name=ilf_plugin.learner:lern", "module ilf_plugin.learner has no 'lern'"),
        ("place.name=moon", "place.name: 'moon' is unknown; known: local, ray"),
        ("engine.options.quiet=true", "'ilf_plugin.engine:open': got an unexpected keyword argument 'quiet'"),
    ],
)
def test_a_wrong_name_is_one_line_before_any_work(project, setting, said):
    done = ilf(project, "run", "run.toml", "--set", setting)
    assert done.returncode == 2 and said in done.stderr
    assert len([line for line in done.stderr.splitlines() if line.startswith("ilf:")]) == 1
    assert not (project / "runs/shouting/round-1/1-programs.jsonl").exists()


def test_the_guide_shows_these_files_as_they_are():
    text = EXTENDING.read_text(encoding="utf-8")
    shown = re.findall(r"`ilf_plugin/(\w+\.py)`\n\n```python\n(.*?)```", text, flags=re.DOTALL)
    assert len(shown) == 5
    for name, code in shown:
        assert code == (PLUGIN / "ilf_plugin" / name).read_text(encoding="utf-8")
        assert len(code.splitlines()) <= 40
