"""Recorded feedback: the paper's file as published, our own, the filters and what each removed."""

import json
from collections import Counter
from pathlib import Path

import pytest

from ilf.errors import DataError
from ilf.feedback import recorded
from ilf.records import Feedback, Task, Verdict, write_jsonl
from ilf.tasks import PAPER_SPLITS, load_tasks, split_tasks

TASKS = {
    i: Task(task_id=i, description="", entry_point="f", prefix="def f(x):\n", tests=("assert f(1) == 2",))
    for i in "123"
}
RIGHT = "def f(x):\n    return x + 1\n"
WRONG = "def f(x):\n    return x\n"
PAPER_ROW = {
    "task_id": 1,
    "prompt": '"""\r\nAdd one.\r\n"""\r\n\r\ndef f(x):\r\n',
    "Feedback": "Add one.\r\nThat is all.",
    "original_model_completion": '"""\r\nAdd one.\r\n"""\r\n\r\ndef f(x):\r\n    """Doc."""\r\n    return x\r\n\r\n\r\n',
    "unedited_annotator_completion": '"""\r\nAdd one.\r\n"""\r\n\r\ndef f(x):\r\n    """Doc."""\r\n    return x + 1',
    "completion": None,
    "passed": True,
    "result": None,
    "refinement_edit_distance": 0.1,
    "worker_id": "W1",
}


def item(task_id: str, refinement: str | None = RIGHT, text: str = "Add one.") -> Feedback:
    return Feedback(task_id=task_id, code=WRONG, text=text, source="human", refinement=refinement)


def write(folder: Path, *rows: object) -> Path:
    path = folder / "feedback.jsonl"
    path.write_text("".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in rows))
    return path


@pytest.fixture
def by_comparison(monkeypatch):
    """A verifier that passes exactly RIGHT, and keeps what it was asked."""
    asked = []

    def verify(tasks, programs, settings, bar=None):
        for program in programs:
            asked.append(program)
            status = "passed" if program.code == RIGHT else "failed"
            yield Verdict(task_id=program.task_id, program_id=program.program_id, status=status)

    monkeypatch.setattr("ilf.kinds.verify", verify)
    return asked


def test_a_row_of_the_papers_becomes_feedback(tmp_path):
    (row,) = recorded.read(write(tmp_path, PAPER_ROW), TASKS)
    assert row == Feedback(
        task_id="1",
        code='def f(x):\n    """Doc."""\n    return x\n',
        text="Add one.\nThat is all.",
        source="recorded",
        author="W1",
        refinement='def f(x):\n    """Doc."""\n    return x + 1\n',
    )


def test_our_own_rows_round_trip(tmp_path):
    items = [item("1"), item("2", refinement=None)]
    write_jsonl(tmp_path / "f.jsonl", items)
    assert recorded.read(tmp_path / "f.jsonl", TASKS) == items


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ("{", "line 2: not JSON"),
        (PAPER_ROW | {"task_id": 999}, "line 2: task_id: '999' is none of the source's 3 tasks"),
        ({k: v for k, v in PAPER_ROW.items() if k != "Feedback"}, "line 2: Feedback: Field required"),
        (
            PAPER_ROW | {"unedited_annotator_completion": None},
            "line 2: unedited_annotator_completion: Input should be",
        ),
        (PAPER_ROW | {"Feedback": " \r\n"}, "line 2: text: the feedback is empty"),
        ({"task_id": "1", "prompt": "x"}, "line 2: code: Field required (the row has neither our fields"),
    ],
)
def test_a_bad_row_is_named_by_file_line_and_field(tmp_path, bad, message):
    path = write(tmp_path, PAPER_ROW, bad)
    with pytest.raises(DataError) as error:
        recorded.read(path, TASKS)
    assert str(error.value).startswith(f"{path}, {message}") and "\n" not in str(error.value)


def test_without_tasks_every_row_is_taken(tmp_path):
    assert [i.task_id for i in recorded.read(write(tmp_path, PAPER_ROW | {"task_id": 999}))] == ["999"]


def test_each_filter_counts_what_it_removed(tmp_path, by_comparison):
    far = Feedback(task_id="2", code="x = 1\n", text="Start again.", source="human", refinement=RIGHT)
    items = [
        item("1", text="a"),
        item("1", text="b"),
        item("1", refinement=WRONG),
        far,
        item("2", refinement=None),
        item("3"),
    ]
    write_jsonl(tmp_path / "f.jsonl", items)
    kept, counts = recorded.load(tmp_path / "f.jsonl", TASKS, keep={"1", "2"}, seed=1)
    assert counts == {
        "feedback read": 6,
        "left out, not on a task in question": 1,
        "left out, refinement fails": 1,
        "left out, refinement is half rewritten or more": 1,
        "left out, another one was drawn": 1,
        "kept": 2,
    }
    assert [i.task_id for i in kept] == ["1", "2"] and kept[1].refinement is None
    assert len(by_comparison) == 4, "an item without refinement is not verified"


def test_without_filters_only_one_a_task_is_drawn(tmp_path):
    write_jsonl(tmp_path / "f.jsonl", [item("1", refinement=WRONG), item("2", refinement="x")])
    kept, counts = recorded.load(tmp_path / "f.jsonl", TASKS, filters=False)
    assert len(kept) == 2 and counts == {"feedback read": 2, "left out, another one was drawn": 0, "kept": 2}


def test_the_draw_depends_on_the_seed_and_not_on_the_other_tasks_or_the_order(tmp_path):
    items = [item("1", text=f"text {n}") for n in range(8)]
    path = tmp_path / "f.jsonl"

    def drawn(seed: int, rows: list[Feedback]) -> str:
        write_jsonl(path, rows)
        return next(
            i.text for i in recorded.load(path, TASKS, filters=False, seed=seed)[0] if i.task_id == "1"
        )

    assert len({drawn(seed, items) for seed in range(20)}) > 3
    for seed in range(5):
        assert drawn(seed, items) == drawn(seed, [item("2"), *reversed(items)])


@pytest.fixture(scope="module")
def mbpp(data_dir):
    return {task.task_id: task for task in load_tasks(f"mbpp:{data_dir / 'mbpp.jsonl'}")}


@pytest.mark.data
def test_the_published_annotations_have_the_papers_counts(mbpp, data_dir):
    items = recorded.read(data_dir / "surge_annotations.jsonl", mbpp)
    assert len(items) == 195
    split_of = {
        t.task_id: name for name, tasks in split_tasks([*mbpp.values()], PAPER_SPLITS).items() for t in tasks
    }
    assert Counter(split_of[i.task_id] for i in items) == {
        "refine": 44,
        "train": 128,
        "test": 21,
        "prompt": 2,
    }
    words = [len(i.text.split()) for i in items]
    assert round(sum(words) / len(words), 1) == 68.7
    for i in items:
        assert i.code.startswith(mbpp[i.task_id].prefix), "the program continues its task's prompt"
        assert "\r" not in i.code + i.text + i.refinement
    assert sum(i.refinement.startswith(mbpp[i.task_id].prefix) for i in items) == 191
    assert len({i.task_id for i in items}) == 195 and sum(i.author is None for i in items) == 54


@pytest.mark.data
def test_of_the_published_annotations_the_refinements_pass_and_the_originals_do_not(mbpp, data_dir):
    from ilf.config import VerifyConfig
    from ilf.kinds import verify
    from ilf.records import Program

    path = data_dir / "surge_annotations.jsonl"
    originals = [Program(task_id=i.task_id, code=i.code) for i in recorded.read(path, mbpp)]
    assert [v.task_id for v in verify(mbpp, originals, VerifyConfig()) if v.passed] == []
    kept, counts = recorded.load(path, mbpp)
    assert counts == {
        "feedback read": 195,
        "left out, refinement fails": 1,
        "left out, refinement is half rewritten or more": 15,
        "left out, another one was drawn": 0,
        "kept": 179,
    }
    assert "163" not in {i.task_id for i in kept}


def test_a_row_of_a_persons_own_needs_no_source_and_may_have_more(tmp_path, capsys):
    path = write(tmp_path, {"task_id": "1", "code": WRONG, "text": "x", "authr": "me", "refinement": None})
    [item] = recorded.read(path)
    assert item.source == "recorded" and item.refinement is None
    assert capsys.readouterr().err == f"{path}: fields passed over: authr (1, did you mean author?)\n"


def test_a_source_of_null_is_the_default(tmp_path):
    path = tmp_path / "f.jsonl"
    path.write_text('{"task_id": "a", "code": "x = 1", "text": "wrong", "source": null}\n')
    assert recorded.read(path)[0].source == "recorded"
