"""Everything about the starter suite that a machine can verify."""

import ast
import builtins
import importlib.util
import json
import re
from collections import Counter
from pathlib import Path
from types import ModuleType

import pytest

from ilf.metrics import edit_distance, pass_at_k
from ilf.records import Feedback, Program, Task, read_jsonl
from ilf.sandbox import verify
from ilf.tasks import STARTER, load_tasks

REPOSITORY = Path(__file__).resolve().parents[2]
SPLITS = {"refine": 60, "train": 100, "test": 80}
LEVELS = {"easy", "medium", "hard"}
CATEGORIES = {
    "classes", "dates", "dictionaries", "lists", "mixed", "numbers", "parsing", "recursion", "sets_tuples",
    "strings",
}  # fmt: skip
# Table 5 of the paper, without the kinds that mean "no bug named".
KINDS = {
    "logic", "formatting", "missing step", "algebra", "recursion", "regex", "function semantics",
    "dynamic programming", "extra step",
}  # fmt: skip


@pytest.fixture(scope="module")
def tasks() -> list[Task]:
    return load_tasks("starter")


@pytest.fixture(scope="module")
def feedback() -> list[Feedback]:
    return read_jsonl(STARTER / "feedback.jsonl", Feedback)


@pytest.fixture(scope="module")
def calibration() -> dict:
    return json.loads((STARTER / "calibration.json").read_text())


def tool(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, REPOSITORY / "tools" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def passed(tasks: list[Task], programs: list[tuple[str, str]]) -> list[bool]:
    verdicts = list(
        verify(
            {task.task_id: task for task in tasks},
            [Program(task_id=task_id, code=code) for task_id, code in programs],
        )
    )
    assert not [v for v in verdicts if v.status in ("sandbox_error", "flaky")]
    return [v.passed for v in verdicts]


# --- tasks ------------------------------------------------------------------------------------------------


def test_splits_are_large_enough_and_ids_are_unique(tasks: list[Task]) -> None:
    count = Counter(task.split for task in tasks)
    assert set(count) == set(SPLITS)
    assert all(count[split] >= wanted for split, wanted in SPLITS.items()), count
    assert len({task.task_id for task in tasks}) == len(tasks)
    assert all(re.fullmatch(r"starter/[a-z0-9]+(-[a-z0-9]+)*", task.task_id) for task in tasks)


def test_every_task_has_its_fields(tasks: list[Task]) -> None:
    for task in tasks:
        assert task.description and task.reference and task.prefix.endswith(":\n"), task.task_id
        assert 1 <= len(re.findall(r"[.!?](?=\s|$)", task.description)) <= 3, task.task_id
        category, level = task.tags
        assert category in CATEGORIES and level in LEVELS, task.task_id


def test_signatures_are_typed(tasks: list[Task]) -> None:
    for task in tasks:
        tree = ast.parse(task.reference)
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef) and node.name == task.entry_point:
                assert node.returns is not None, task.task_id
                assert all(argument.annotation for argument in node.args.args), task.task_id
                break
        else:
            pytest.fail(f"{task.task_id} does not define {task.entry_point}")
        assert task.reference.startswith(task.prefix), task.task_id


def test_every_task_has_one_shown_and_six_hidden_tests(tasks: list[Task]) -> None:
    for task in tasks:
        assert task.example is None and len(set(task.tests)) == len(task.tests) >= 7, task.task_id
        assert all(task.entry_point in test for test in task.tests), task.task_id


def test_tests_are_plain_data(tasks: list[Task]) -> None:
    for task in tasks:
        for test in task.tests:
            (statement,) = ast.parse(test).body
            assert isinstance(statement, ast.Assert) and isinstance(statement.test, ast.Compare), test
            ast.literal_eval(statement.test.comparators[0])
            assert task.isolation != "shared", task.task_id


def test_categories_and_levels_are_balanced_over_splits(tasks: list[Task]) -> None:
    for tag in CATEGORIES | LEVELS:
        share = {
            split: sum(tag in t.tags for t in tasks if t.split == split)
            / sum(t.split == split for t in tasks)
            for split in SPLITS
        }
        assert max(share.values()) - min(share.values()) <= 0.05, (tag, share)
        assert min(share.values()) > 0.0, (tag, share)


def shape(program: str) -> str:
    """A program's syntax tree with its names and annotations left out."""
    names: dict[str, str] = {}

    def plain(name: str) -> str:
        return name if hasattr(builtins, name) else names.setdefault(name, f"v{len(names)}")

    tree = ast.parse(program)
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            node.id = plain(node.id)
        elif isinstance(node, ast.arg):
            node.arg, node.annotation = plain(node.arg), None
        elif isinstance(node, ast.FunctionDef):
            node.name, node.returns = plain(node.name), None
    return ast.dump(tree)


def test_no_test_task_has_the_program_of_a_training_task(tasks: list[Task]) -> None:
    training = {shape(task.reference): task.task_id for task in tasks if task.split != "test"}
    same = [
        (task.task_id, training[shape(task.reference)])
        for task in tasks
        if task.split == "test" and shape(task.reference) in training
    ]
    assert same == []


def test_references_pass(tasks: list[Task]) -> None:
    outcome = passed(tasks, [(task.task_id, task.reference) for task in tasks])
    assert [task.task_id for task, ok in zip(tasks, outcome, strict=True) if not ok] == []


def test_lazy_programs_fail(tasks: list[Task]) -> None:
    """Neither nothing, nor the shown example's value, nor the first argument handed back is a solution."""
    programs = []
    for task in tasks:
        if task.prefix.rstrip().splitlines()[-1].startswith("def "):
            (shown,) = ast.parse(task.shown).body
            tree = ast.parse(task.prefix + "    pass\n")
            function = next(n for n in tree.body if getattr(n, "name", "") == task.entry_point)
            argument = function.args.args[0].arg
            for value in ("None", ast.unparse(shown.test.comparators[0]), argument):
                programs.append((task.task_id, f"{task.prefix}    return {value}\n"))
    assert len(programs) > 800
    outcome = passed(tasks, programs)
    assert [program for program, ok in zip(programs, outcome, strict=True) if ok] == []


def test_mutants_of_references_die(tasks: list[Task]) -> None:
    """On every twentieth task; `tools/mutants.py` does them all."""
    mutants = tool("mutants")
    equivalent = json.loads(mutants.EQUIVALENT.read_text())
    some = tasks[::20]
    programs = [
        (task.task_id, code)
        for task in some
        for code in mutants.mutants(task.reference)
        if code not in equivalent.get(task.task_id, {})
    ]
    outcome = passed(some, programs)
    assert len(programs) > 100
    assert sum(outcome) <= 0.05 * len(outcome)


def test_equivalent_mutants_are_mutants(tasks: list[Task]) -> None:
    mutants = tool("mutants")
    by_id = {task.task_id: task for task in tasks}
    for task_id, programs in json.loads(mutants.EQUIVALENT.read_text()).items():
        made = set(mutants.mutants(by_id[task_id].reference))
        assert set(programs) <= made, task_id
        assert all(len(reason.split()) >= 3 for reason in programs.values())


@pytest.mark.data
def test_no_task_is_one_of_mbpp_in_the_same_words(tasks: list[Task], data_dir: Path) -> None:
    overlap = tool("overlap")
    rows = [json.loads(line) for line in (data_dir / "mbpp.jsonl").read_text("utf-8").splitlines()]
    published = [(row["task_id"], overlap.words(row["text"])) for row in rows]
    ours = [(task.task_id, overlap.words(task.description)) for task in tasks]
    near = [
        (task_id, name)
        for task_id, mine in ours
        for name, words in published
        if overlap.jaccard(mine, words) >= overlap.SAME_WORDS
    ]
    assert near == []


# --- calibration ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("split", SPLITS)
def test_the_embedded_model_has_something_to_learn(split: str, tasks: list[Task], calibration: dict) -> None:
    rows = [calibration["tasks"][task.task_id] for task in tasks if task.split == split]
    assert all(row["samples"] >= 20 for row in rows)
    at_1 = sum(row["passed"] / row["samples"] for row in rows) / len(rows)
    at_10 = sum(pass_at_k(row["samples"], row["passed"], 10) for row in rows) / len(rows)
    assert 0.10 <= at_1 <= 0.35
    assert 0.40 <= at_10 <= 0.80


def test_calibration_names_its_settings(calibration: dict) -> None:
    assert {"model", "weights", "style", "engine", "temperature", "top_p", "max_tokens", "date"} <= set(
        calibration
    )


# --- feedback ---------------------------------------------------------------------------------------------


def test_enough_tasks_have_feedback(tasks: list[Task], feedback: list[Feedback]) -> None:
    split = {task.task_id: task.split for task in tasks}
    count = Counter(split[row.task_id] for row in feedback)
    assert count["refine"] >= 50 and count["train"] >= 90 and set(count) == {"refine", "train"}
    assert len({row.task_id for row in feedback}) == len(feedback)


def test_feedback_has_its_fields(feedback: list[Feedback]) -> None:
    for row in feedback:
        assert 20 <= len(row.text.split()) <= 120, row.task_id
        assert row.bugs in (1, 2, 3) and row.tags and set(row.tags) <= KINDS, row.task_id
        assert row.source == "recorded" and row.author == "ilf maintainers", row.task_id
        assert row.model is not None and row.refinement is not None, row.task_id


def test_feedback_is_not_made_by_a_template(feedback: list[Feedback]) -> None:
    openings = Counter(" ".join(row.text.split()[:5]) for row in feedback)
    assert len({row.text for row in feedback}) == len(feedback)
    assert openings.most_common(1)[0][1] <= 0.05 * len(feedback)


def test_feedback_is_on_tasks_the_model_fails(feedback: list[Feedback], calibration: dict) -> None:
    for row in feedback:
        rate = calibration["tasks"][row.task_id]
        assert rate["passed"] <= 0.2 * rate["samples"], row.task_id
        assert row.model == calibration["weights"], row.task_id


def test_wrong_programs_fail_and_refinements_pass(tasks: list[Task], feedback: list[Feedback]) -> None:
    wrong = passed(tasks, [(row.task_id, row.code) for row in feedback])
    right = passed(tasks, [(row.task_id, row.refinement) for row in feedback])
    assert [row.task_id for row, ok in zip(feedback, wrong, strict=True) if ok] == []
    assert [row.task_id for row, ok in zip(feedback, right, strict=True) if not ok] == []


def test_refinements_stay_within_the_papers_edit_distance(feedback: list[Feedback]) -> None:
    for row in feedback:
        distance = edit_distance(row.code, row.refinement)
        assert 0 < distance < 0.5 * max(len(row.code), len(row.refinement)), row.task_id
