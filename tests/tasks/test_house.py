"""What the house suite promises (docs/house.md), checked by machine."""

import importlib.util
import json
import re
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType

import pytest

from ilf.feedback import recorded
from ilf.records import Feedback, Program, Task, read_jsonl
from ilf.sandbox import verify
from ilf.tasks import SUITES, load_tasks

FOLDER = SUITES["house"]
TEST_RULES = {"empty", "clean", "negative", "money", "units", "clip"}
REFINE_RULES = {"missing", "blank", "floor", "kind", "code", "period", "link"}


@pytest.fixture(scope="module")
def house() -> ModuleType:
    path = Path(__file__).resolve().parents[2] / "tools" / "house.py"
    spec = importlib.util.spec_from_file_location("house", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["house"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def tasks() -> list[Task]:
    return load_tasks("house")


@pytest.fixture(scope="module")
def feedback() -> list[Feedback]:
    return read_jsonl(FOLDER / "feedback.jsonl", Feedback)


def rules(task: Task) -> set[str]:
    return set(task.tags[0].split("+")) - {"none"}


def verdicts(tasks: list[Task], programs: list[tuple[str, str]]):
    rows = [Program(task_id=task_id, code=code) for task_id, code in programs]
    found = list(verify({task.task_id: task for task in tasks}, rows))
    assert not [v for v in found if v.status in ("sandbox_error", "flaky")]
    return found


def test_the_shipped_tasks_are_what_the_table_gives(house, tasks):
    assert [task.to_json() for task in house.build(house.read_table())] == [task.to_json() for task in tasks]


def test_every_rule_has_enough_tasks_and_the_splits_share_none(tasks):
    count = {split: Counter() for split in ("refine", "train", "test")}
    for task in tasks:
        count[task.split].update(rules(task) or {"none"})
    assert all(count["test"][rule] >= 14 for rule in TEST_RULES), count["test"]
    assert all(count["train"][rule] >= 12 for rule in TEST_RULES), count["train"]
    assert all(count["refine"][rule] >= 8 for rule in REFINE_RULES), count["refine"]
    assert set(count["refine"]) - {"none"} == REFINE_RULES and not REFINE_RULES & TEST_RULES
    assert set(count["train"]) | set(count["test"]) == TEST_RULES | {"none"}
    for split in ("refine", "train", "test"):
        of_split = [task for task in tasks if task.split == split]
        assert count[split]["none"] >= len(of_split) / 11, split
    assert sum(len(rules(task)) == 2 for task in tasks if task.split == "test") >= 8


def test_ids_functions_and_descriptions_are_all_different(tasks):
    assert all(re.fullmatch(r"house/[a-z0-9]+(-[a-z0-9]+)*", task.task_id) for task in tasks)
    assert len({task.task_id for task in tasks}) == len({task.description for task in tasks}) == len(tasks)


def test_no_reference_program_of_test_is_one_of_train_or_refine(tasks):
    def body(task: Task) -> str:
        return task.reference.removeprefix(task.prefix)

    trained = {(body(t), t.prefix.split("(", 1)[1]) for t in tasks if t.split != "test"}
    assert not [
        t.task_id for t in tasks if t.split == "test" and (body(t), t.prefix.split("(", 1)[1]) in trained
    ]


def test_references_pass_and_the_function_without_its_rule_fails_just_the_rule_tests(house, tasks):
    lines = {f"house/{line.name}": line for line in house.read_table()}
    assert all(v.passed for v in verdicts(tasks, [(t.task_id, t.reference) for t in tasks]))
    ruled = [task for task in tasks if rules(task)]
    plain = verdicts(ruled, [(t.task_id, lines[t.task_id].program(())) for t in ruled])
    for task, verdict in zip(ruled, plain, strict=True):
        about_rules = ["# house:" in test for test in task.tests]
        assert not about_rules[0], task.task_id  # the shown test
        assert not verdict.passed, task.task_id
        # Function tests hold up to the first rule test, where the verdict says "right function, wrong rule".
        first = about_rules.index(True)
        assert all(verdict.tests[:first]) and verdict.tests[first] is not True, task.task_id


def test_half_of_a_two_rule_task_is_not_enough(house, tasks):
    lines = {f"house/{line.name}": line for line in house.read_table()}
    both = [task for task in tasks if len(rules(task)) == 2]
    halves = [(t.task_id, lines[t.task_id].program((rule,))) for t in both for rule in sorted(rules(t))]
    assert not [v.task_id for v in verdicts(both, halves) if v.passed]


def test_descriptions_and_shown_tests_do_not_name_a_rule(tasks):
    giveaway = re.compile(
        r"strip|lower|raise|error|round\(|decimals|metres|clip|None|empty|negative|isinstance", re.I
    )
    for task in tasks:
        if rules(task):
            assert not giveaway.search(task.description), task.task_id
            assert "Error" not in task.tests[0], task.task_id


def test_the_model_follows_no_rule_by_itself(tasks):
    by_id = {task.task_id: task for task in tasks}
    for name in ("calibration.json", "calibration-0.8.json"):
        table = json.loads((FOLDER / name).read_text())["tasks"]
        assert set(table) == set(by_id)
        ruled = [row for task_id, row in table.items() if rules(by_id[task_id])]
        assert all(row["samples"] >= 30 for row in ruled)
        assert sum(row["passed"] / row["samples"] for row in ruled) / len(ruled) < 0.03
        assert sum(row["passed"] > 0 for row in ruled) / len(ruled) < 0.10
        assert sum(row["function"] / row["samples"] for row in ruled) / len(ruled) > 0.30


def test_feedback_is_sound(tasks, feedback):
    by_id = {task.task_id: task for task in tasks}
    assert 100 <= len(feedback) <= 122
    assert {item.task_id for item in feedback} == {t.task_id for t in tasks if "asked" in t.tags}
    assert all(item.source == "recorded" and item.author == "ilf maintainers" for item in feedback)
    assert len({item.text for item in feedback}) == len(feedback)
    weights = {json.loads((FOLDER / "calibration.json").read_text())["weights"]}
    assert {item.model for item in feedback} == weights
    assert not [v.task_id for v in verdicts(tasks, [(i.task_id, i.code) for i in feedback]) if v.passed]
    refined = [item for item in feedback if item.refinement]
    assert {by_id[item.task_id].split for item in refined} == {"refine"}
    assert all(v.passed for v in verdicts(tasks, [(i.task_id, i.refinement) for i in refined]))
    assert all(recorded.is_near(item) for item in feedback)
