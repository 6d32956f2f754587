"""Notes about lines: text to notes and back, in records and in prompts."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from ilf.errors import DataError
from ilf.notes import LineNote, complete, compose, for_prompt, parse
from ilf.prompts import Prompter
from ilf.records import Feedback, Task, read_jsonl, write_jsonl

NUMBERS = st.integers(1, 400)
SAID = st.text(min_size=1, max_size=40).filter(lambda text: text.split())
NOTES = st.builds(
    lambda a, b, text: LineNote(first=min(a, b), last=max(a, b), text=text), NUMBERS, NUMBERS, SAID
)
CODE = "def mean(xs):\n    total = sum(xs)\n    return total // len(xs)\n"
TASK = Task(task_id="mean", description="The mean.", entry_point="mean", prefix="def mean(xs):\n",
            tests=("assert mean([1, 2]) == 1.5",))  # fmt: skip


@given(st.lists(NOTES, max_size=5), st.text(max_size=60))
def test_notes_and_a_general_text_come_back_from_their_text(notes, general):
    found, rest = parse(compose(notes, general))
    own, plain = parse(general)  # a general text may hold notes of its own
    assert found == (*notes, *own)
    assert rest == plain


@given(st.text(alphabet=st.sampled_from("Lines 14-:\n\r\tab–"), max_size=60))
def test_writing_what_was_read_changes_nothing_more(text):
    notes, general = parse(text)
    assert parse(compose(notes, general)) == (notes, general)


@pytest.mark.parametrize(
    ("line", "note"),
    [
        ("Line 4: too short", (4, 4, "too short")),
        ("lines 4–6 : too  short ", (4, 6, "too short")),
        ("  Lines 3 - 3: x", (3, 3, "x")),
        ("Lines 6-4: backwards", None),
        ("Line 0: there is none", None),
        ("Line 4:", None),
        ("In line 4: x", None),
        ("Line 4 is wrong: x", None),
    ],
)
def test_what_is_a_note(line, note):
    found, rest = parse(line)
    assert [(n.first, n.last, n.text) for n in found] == ([] if note is None else [note])
    assert rest == (line.strip() if note is None else "")


def test_feedback_travels_with_its_notes_both_ways(tmp_path):
    text = "Line 3: `//` cuts the fraction off.\n\nDivide with `/`."
    note = LineNote(first=3, last=3, text="`//` cuts the fraction off.")
    row = Feedback(task_id="mean", code=CODE, text=text, source="human", notes=(note,))
    write_jsonl(tmp_path / "f.jsonl", [row])
    assert json.loads((tmp_path / "f.jsonl").read_text())["notes"] == [note.model_dump()]
    assert read_jsonl(tmp_path / "f.jsonl", Feedback) == [row]
    # A file from before, or from elsewhere: without notes, or with notes that its text does not hold.
    old = {"task_id": "mean", "code": CODE, "text": text, "source": "human"}
    assert Feedback.model_validate(old).notes == ()
    assert "notes" not in Feedback.model_validate(old).to_json()
    apart = Feedback.model_validate({**old, "text": "Divide with `/`.", "notes": [note.model_dump()]})
    assert (apart.text, apart.notes, apart.feedback_id) == (text, (note,), row.feedback_id)
    assert complete(text, [note]) == text


def test_a_note_that_is_none_is_named(tmp_path):
    (tmp_path / "f.jsonl").write_text(
        '{"task_id": "t", "code": "x", "text": "y", "source": "human", '
        '"notes": [{"first": 3, "last": 2, "text": "z"}]}\n'
    )
    with pytest.raises(DataError, match=r"f\.jsonl, line 1: notes.*the last line comes before the first"):
        read_jsonl(tmp_path / "f.jsonl", Feedback)
    with pytest.raises(ValidationError):
        LineNote(first=1, last=1, text=" \n")


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("number", "Lines 2-3: this cuts.\nUse a fraction.\nLine 9: beyond."),
        ("quote", "`total = sum(xs)` to `return total // len(xs)`: this cuts.\nUse a fraction.\nbeyond."),
        ("none", "this cuts.\nUse a fraction.\nbeyond."),
    ],
)
@pytest.mark.parametrize("style", ["chat", "completion"])
def test_a_prompt_names_lines_as_it_is_told(style, lines, said):
    text = "Lines 2-3: this cuts.\nUse a fraction.\nLine 9: beyond."
    assert for_prompt(text, CODE, lines) == said
    prompter = Prompter(style, lines=lines)
    prompt = prompter.refinement(TASK, CODE, text, shots=[(TASK, CODE, "Line 3: of the example.", CODE)]).text
    assert f"{said}\n\n" in prompt
    assert ("Line 3: of" in prompt, "`return total // len(xs)`: of" in prompt) == (
        lines == "number",
        lines == "quote",
    )
    assert prompter.refinement(TASK, CODE, None).text == Prompter(style).refinement(TASK, CODE, None).text
