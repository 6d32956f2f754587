import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ilf.annotate.checks import check, close_enough, edits, hard_codes, text_hash
from ilf.records import Task

TASK = Task(
    task_id="t",
    description="Sum the even numbers of a list.",
    entry_point="even_sum",
    prefix="def even_sum(numbers):\n",
    tests=("assert even_sum([12, 15, 30]) == 42", "assert even_sum([]) == 0"),
    reference="def even_sum(numbers):\n    chosen = [n for n in numbers if n % 2 == 0]\n    return sum(chosen)\n",
)
WRONG = "def even_sum(numbers):\n    chosen = [n for n in numbers if n % 2 == 1]\n    return sum(chosen)\n"
GOOD = "The condition keeps odd numbers, because the remainder is compared with 1. Compare it with 0 instead."


def codes(text: str, refinement: str | None = None, **more) -> list[str]:
    return [hint.code for hint in check(TASK, WRONG, text, refinement, **more)]


def test_good_feedback_earns_no_warning():
    assert codes(GOOD) == []
    assert codes(GOOD, TASK.reference, passes=True) == []


@pytest.mark.parametrize(
    "text, expected",
    [
        ("", "empty"),
        ("   \n", "empty"),
        ("wrong condition", "too short"),
        ("The code is correct and gives what the task asks for.", "says correct"),
        ("I looked at everything and there are no errors in this one", "says correct"),
        ("There is nothing wrong with this program as far as I can see.", "says correct"),
        ("def even_sum(numbers):\n    return sum(n for n in numbers)\n", "pasted code"),
        ("Use this:\nchosen = [n for n in numbers if n % 2 == 0]\nreturn sum(chosen)", "whole solution"),
    ],
)
def test_each_warning(text, expected):
    assert expected in codes(text)


@pytest.mark.parametrize(
    "text",
    [
        "The program is correct except that it keeps the odd numbers instead of the even ones.",
        "The code is not correct because the remainder should be compared with 0 rather than 1.",
        "The loop is fine but the condition keeps odd numbers; compare the remainder with 0.",
    ],
)
def test_qualified_praise_is_no_warning(text):
    assert "says correct" not in codes(text)


def test_warnings_about_the_refinement():
    assert "hard-coded tests" in codes(GOOD, "def even_sum(n):\n    return 42 if n == [12, 15, 30] else 0\n")
    assert "refinement fails" in codes(GOOD, TASK.reference, passes=False)
    assert "refinement unchanged" in codes(GOOD, WRONG)
    assert "refinement unchanged" not in codes(
        GOOD, "    " + WRONG
    )  # an edit distance of 4, so no warning beside it
    assert "refinement too far" in codes(GOOD, "x" * 500)
    assert "same text" in codes(GOOD, seen_elsewhere=True)


def test_constants_of_task_and_program_are_not_hard_coding():
    task = TASK.model_copy(update={"description": "Give 42 for a list.", "tests": ("assert f([12]) == 42",)})
    assert not hard_codes("def f(x): return 42", WRONG, task)
    assert not hard_codes("def f(x): return x % 1000", "def f(x): return x // 1000", task)
    assert not hard_codes("def f(x:", WRONG, task)


def test_the_papers_edit_distance_rule():
    assert close_enough("a" * 10, "a" * 6 + "b" * 4)
    assert not close_enough("a" * 10, "a" * 5 + "b" * 5)  # exactly half is too far


def test_text_hash_ignores_case_spacing_and_punctuation():
    assert text_hash("Compare with  0.\n") == text_hash("compare WITH 0")
    assert text_hash("compare with 0") != text_hash("compare with 1")


@given(st.text(max_size=300), st.one_of(st.none(), st.text(max_size=300)))
def test_checks_never_fail(text, refinement):
    check(TASK, WRONG, text, refinement)


def test_what_is_too_long_to_submit_is_not_compared():
    long = "x = 1\n" * 200_000
    began = time.process_time()
    assert close_enough(long, long[:-1] + " ") is False
    assert edits(WRONG, long) is None and edits(WRONG, WRONG + "#") == 1
    assert codes(GOOD, "[" + "1, " * 400_000 + "]") == []
    assert time.process_time() - began < 2  # comparing two texts of 1 MB takes the better part of a minute
