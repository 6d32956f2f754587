import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ilf.errors import DataError
from ilf.records import Example, Feedback, Program, Refinement, Rows, Task, Verdict, read_jsonl, write_jsonl

# JSON cannot carry lone surrogates as UTF-8; model output never has them (decoders replace them).
TEXT = st.text(st.characters(exclude_categories=["Cs"]))


@given(st.lists(st.builds(Program, task_id=TEXT.filter(bool), code=TEXT, logprob=st.floats(allow_nan=False))))
def test_rows_survive_a_file(tmp_path_factory, programs):
    path = tmp_path_factory.mktemp("rows") / "p.jsonl"
    write_jsonl(path, programs)
    assert read_jsonl(path, Program) == programs
    assert len(path.read_text(encoding="utf-8").split("\n")) == len(programs) + 1


def test_rows_are_read_anew_each_time_and_only_as_far_as_asked(tmp_path):
    path = tmp_path / "p.jsonl"
    programs = [Program(task_id="a", code=str(number)) for number in range(3)]
    write_jsonl(path, programs)
    rows = Rows(path, Program)
    assert list(rows) == list(rows) == programs
    assert len(rows) == 3 and programs[1] in rows and rows
    path.write_text(programs[0].to_json() + "\n[]\n")
    assert next(iter(rows)) == programs[0]  # line 2 was not looked at
    with pytest.raises(DataError, match="p.jsonl, line 2: a JSON object"):
        list(rows)
    path.write_text("")
    assert not rows


def test_task_ids_may_be_numbers_and_are_text_inside():
    assert (
        Task.model_validate(
            {"task_id": 11, "description": "d", "entry_point": "f", "tests": ["assert f()"]}
        ).task_id
        == "11"
    )


def test_shown_test_is_the_first_unless_said_otherwise():
    task = Task(task_id="1", description="d", entry_point="f", tests=("a", "b"))
    assert task.shown == "a"
    assert task.model_copy(update={"example": "b"}).shown == "b"


def test_ids_follow_the_content():
    one = Program(task_id="1", code="x", index=0)
    assert one.program_id == Program(task_id="1", code="x", index=7).program_id
    assert one.program_id != Program(task_id="2", code="x").program_id
    feedback = Feedback(task_id="1", code="x", text="wrong", source="human")
    assert feedback.feedback_id != feedback.model_copy(update={"text": "right"}).feedback_id


def test_nested_verdicts_and_defaults_come_back(tmp_path):
    verdict = Verdict(task_id="1", program_id="p", status="failed", tests=(True, False, None), test=1)
    row = Refinement(feedback_id="f", task_id="1", code="c", verdict=verdict, edit_distance=3)
    write_jsonl(tmp_path / "r.jsonl", [row])
    assert read_jsonl(tmp_path / "r.jsonl", Refinement) == [row]
    assert "stdout" not in json.loads((tmp_path / "r.jsonl").read_text())["verdict"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"prompt": "a", "completion": "b"}\n{"prompt": \n', "line 2: not JSON"),
        (b'{"prompt": "a"}\n', "line 1: completion: Field required"),
        (b'\n\n{"prompt": "a", "completion": "b", "colour": 1}\n', "line 3: colour: Extra inputs"),
        (b"[1]\n", "row 1 of the list: a JSON object was expected"),
        (b'[\n{"prompt": "a", "completion": "b"},\n\n{"prompt": "a"}]', "row 2: completion: Field required"),
        (b"1\n", "line 1: a JSON object was expected"),
        (b'{"prompt": "\xff"}\n', "line 1: not UTF-8"),
        (b'{"prompt": "a", "completion": "b", "weight": -1}\n', "line 1: weight: "),
    ],
)
def test_errors_name_file_line_and_field(tmp_path, content, message):
    path = tmp_path / "e.jsonl"
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_jsonl(path, Example)
    assert str(caught.value).startswith(f"{path}, ")
    assert message in str(caught.value)


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    for path in (Path(tmp_path / "none.jsonl"), tmp_path):
        with pytest.raises(DataError, match=str(path)):
            read_jsonl(path, Example)


def test_a_byte_order_mark_is_no_error(tmp_path):
    path = tmp_path / "e.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"prompt": "a", "completion": "b"}\r\n')
    assert read_jsonl(path, Example) == [Example(prompt="a", completion="b")]


def test_an_interrupted_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "e.jsonl"
    write_jsonl(path, [Example(prompt="a", completion="b")])

    def broken():
        yield Example(prompt="c", completion="d")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError):
        write_jsonl(path, broken())
    assert read_jsonl(path, Example) == [Example(prompt="a", completion="b")]


def test_a_lone_surrogate_comes_back(tmp_path):
    row = Example(prompt="\ud800 é", completion="b", weight=2.0)
    write_jsonl(tmp_path / "e.jsonl", [row])
    assert read_jsonl(tmp_path / "e.jsonl", Example) == [row]


@pytest.mark.parametrize("content", [b"[" * 200_000, b'{"task_id": ' + b"9" * 5000 + b"}"])
def test_json_that_python_will_not_read_is_named_in_one_line(tmp_path, content):
    path = tmp_path / "p.jsonl"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"p\.jsonl.*: not JSON that can be read"):
        read_jsonl(path, Program)


@pytest.mark.parametrize("content", [b'{"task_id": 1, "code": ""}', b'[{"task_id": 1, "code": ""}]'])
def test_a_byte_order_mark_on_an_empty_line_is_no_row(tmp_path, content):
    path = tmp_path / "p.jsonl"
    path.write_bytes(b"\xef\xbb\xbf\n" + content)
    assert read_jsonl(path, Program) == [Program(task_id="1", code="")]
