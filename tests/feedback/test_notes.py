"""Words about lines: text and data say the same."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ilf.feedback import notes
from ilf.records import Feedback, LineNote
from ilf.steps.feedback import _without_lines

TEXT = """Line 4: the range ends one too early:
use len(xs).
lines 6 – 7 : return the list after the loop.

The rest is right. Line 9: is not at the start.
Line 0: no program has it. Lines 5-2: nor these.
LINE 12:and this one
"""


def test_a_text_with_notes():
    found, rest = notes.split(TEXT)
    assert [(note.first, note.last, note.text) for note in found] == [
        (4, 4, "the range ends one too early:\nuse len(xs)."),
        (6, 7, "return the list after the loop."),
        (12, 12, "and this one"),
    ]
    assert rest == (
        "The rest is right. Line 9: is not at the start.\nLine 0: no program has it. Lines 5-2: nor these."
    )


@pytest.mark.parametrize(
    "text", ["", "No lines.", "Line 4:", "line four: no", "Line 4 is wrong: x", "Line 1234567: x"]
)
def test_no_notes(text):
    assert notes.split(text)[0] == ()


WORDS = st.text(
    st.characters(blacklist_categories=("Cc", "Cs", "Zl", "Zp", "Zs"), max_codepoint=0x2FF), min_size=1
)


def paragraph(words):
    return " ".join(words)


SAID = (
    st.lists(WORDS, min_size=1, max_size=4)
    .map(paragraph)
    .filter(lambda said: not notes.split(said + " x")[0])
)
NOTE = st.builds(
    lambda first, more, said: LineNote(first=first, last=first + more, text="\n".join(said)),
    st.integers(1, 999), st.integers(0, 20), st.lists(SAID, min_size=1, max_size=3),
)  # fmt: skip


@given(st.lists(NOTE, max_size=5), st.lists(SAID, max_size=3).map("\n\n".join))
def test_data_and_text_say_the_same(found, rest):
    assert notes.split(notes.join(found, rest)) == (tuple(found), rest)


@given(st.text(st.sampled_from("lineLINES 0123-:–\n x"), max_size=60))
def test_every_text_is_read(text):
    found, rest = notes.split(text)
    again = notes.join(found, rest)
    assert notes.split(again)[0] == found
    assert all(1 <= note.first <= note.last and note.text.strip() for note in found)


def test_without_line_numbers_the_words_stay():
    assert notes.without_lines("Line 4: stop later.\nAll else is fine.") == "stop later.\nAll else is fine."


def test_notes_are_in_the_record():
    row = Feedback(
        task_id="t", code="c", text="Line 2: no.", source="human", notes=notes.split("Line 2: no.")[0]
    )
    assert Feedback.model_validate_json(row.to_json()) == row
    assert '"notes":[{"first":2,"last":2,"text":"no."}]' in row.to_json()
    assert Feedback(task_id="t", code="c", text="x", source="human").to_json().count("notes") == 0


def test_models_can_be_told_without_the_numbers():
    row = Feedback(task_id="t", code="c", text="Line 2: no.\n\nElse fine.", source="human")
    told = _without_lines(row)
    assert told.text == "no.\n\nElse fine." and [note.first for note in told.notes] == [2]
