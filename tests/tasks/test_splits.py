"""Splits by ranges, lists and fields; every mistake is named."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ilf.errors import ConfigError
from ilf.records import Task
from ilf.tasks import PAPER_SPLITS, load_tasks, split_tasks
from ilf.tasks.splits import FEWEST, split_by_seed


def tasks(*ids: str, **fields) -> list[Task]:
    return [Task(task_id=i, description="", entry_point="f", tests=("assert f()",), **fields) for i in ids]


def ids(members: list[Task]) -> list[str]:
    return [task.task_id for task in members]


@pytest.mark.data
def test_the_papers_splits_have_its_sizes(data_dir):
    splits = split_tasks(load_tasks(f"mbpp:{data_dir / 'mbpp.jsonl'}"), PAPER_SPLITS)
    assert {name: len(members) for name, members in splits.items()} == {
        "prompt": 10,
        "test": 100,
        "refine": 200,
        "train": 664,
    }


def test_ranges_lists_and_whole_ids():
    source = tasks("HumanEval/0", "HumanEval/1", "HumanEval/2", "HumanEval/10")
    splits = split_tasks(source, {"a": "1-9", "b": "HumanEval/10, 0"})
    assert ids(splits["a"]) == ["HumanEval/1", "HumanEval/2"]
    assert ids(splits["b"]) == ["HumanEval/0", "HumanEval/10"], "in the source's order"


def test_by_field_and_by_tag():
    source = [*tasks("x", split="train"), *tasks("y", split="test", tags=("lists",))]
    splits = split_tasks(source, {"a": "split=train", "b": "tags=lists"})
    assert (ids(splits["a"]), ids(splits["b"])) == (["x"], ["y"])


@pytest.mark.parametrize(
    ("splits", "message"),
    [
        ({"a": "1-5", "b": "5-9"}, r"splits.b \('5-9'\) and splits.a \('1-5'\) overlap: 1 task in both, the first is 5"),
        ({"a": "20-30"}, r"splits.a: '20-30' names no task of the source \(its ids run from 1 to 9\)"),
        ({"a": "1-3,44"}, "splits.a: '44' names no task"),
        ({"a": "5-1"}, "splits.a: '5-1' runs backwards; write 1-5"),
        ({"a": "one"}, "splits.a: 'one' is neither a task id"),
        ({"a": ""}, "splits.a: '' is neither"),
        ({"a": "split=dev"}, "splits.a: no task has 'split=dev'; the tasks have train"),
    ],
)  # fmt: skip
def test_mistakes_are_named(splits, message):
    source = tasks(*"123456789", split="train")
    with pytest.raises(ConfigError, match=message) as error:
        split_tasks(source, splits)
    assert "\n" not in str(error.value)


@given(st.lists(st.integers(1, 50), min_size=1, unique=True), st.integers(1, 50), st.integers(1, 50))
def test_a_range_holds_exactly_the_ids_within(numbers, low, high):
    source = tasks(*map(str, numbers))
    inside = [str(n) for n in numbers if low <= n <= high]
    if inside:
        assert ids(split_tasks(source, {"a": f"{low}-{high}"})["a"]) == inside
    else:
        with pytest.raises(ConfigError):
            split_tasks(source, {"a": f"{low}-{high}"})


@given(st.integers(FEWEST, 200), st.integers(0, 5))
def test_tasks_without_splits_are_split_by_seed(count, seed):
    members = tasks(*map(str, range(count)))
    found = split_by_seed(members, seed)
    assert list(found) == ["refine", "train", "test"]
    assert sorted(ids([t for of_split in found.values() for t in of_split]), key=int) == ids(members)
    for share, of_split in zip((0.25, 0.45, 0.3), found.values(), strict=True):
        assert abs(len(of_split) - share * count) <= 1
        assert ids(of_split) == sorted(ids(of_split), key=int)
    assert found == split_by_seed(members, seed) and found != split_by_seed(members, seed + 1)


@given(st.integers(FEWEST, 60), st.randoms(use_true_random=False), st.integers(0, 5))
def test_splits_by_seed_do_not_depend_on_the_order_of_the_file(count, random, seed):
    members = tasks(*(f"t{n}" for n in range(count)))
    mixed = random.sample(members, count)
    found, again = split_by_seed(members, seed), split_by_seed(mixed, seed)
    assert {name: sorted(ids(of)) for name, of in again.items()} == {
        name: sorted(ids(of)) for name, of in found.items()
    }
    assert [t for t in mixed if t in again["train"]] == again["train"], "in the file's own order"


def test_no_suite_that_ships_is_split_by_seed():
    assert all(task.split for task in load_tasks("starter"))  # MBPP has the paper's, by id


def test_too_few_tasks_are_not_split(tmp_path, capsys):
    from ilf.config import build_config
    from ilf.preparation import load_splits
    from ilf.records import write_jsonl

    with pytest.raises(ConfigError, match=r"19 tasks without a field split.*write .split."):
        split_by_seed(tasks(*map(str, range(FEWEST - 1))), 0)
    path = tmp_path / "tasks.jsonl"
    write_jsonl(path, tasks(*map(str, range(40))))
    raw = {"name": "x", "model": "m", "tasks": {"source": str(path)}, "feedback": {"source": "execution"}}
    assert {name: len(found) for name, found in load_splits(build_config(raw, "x")).items()} == {
        "refine": 10, "train": 18, "test": 12,
    }  # fmt: skip
    assert "split by seed 0 into 10 refine, 18 train, 12 test" in capsys.readouterr().err
