import ast
import html
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup

from ilf.annotate.show import MOST_LINES, MOST_SHOWN, code_lines, cut, diff_lines, duration, plain

VISIBLE = st.characters(exclude_categories=["Cs", "Cc", "Cf", "Zl", "Zp"]) | st.sampled_from("\n\t<>&\"'#")


@given(st.text(alphabet=VISIBLE, max_size=200))
def test_highlighting_keeps_the_text_and_escapes_it(code):
    lines = [line.html for line in code_lines(code)]
    assert all(isinstance(line, Markup) for line in lines)
    shown = [html.unescape(re.sub(r"</?span[^>]*>", "", line)) for line in lines]
    assert "\n".join(shown) == code.rstrip("\n")
    assert not re.search(r"<(?!/?span\b)", "".join(lines))


def test_hidden_characters_are_named_not_obeyed():
    shown = plain("a\u202eb\u200bc\x00<")
    assert "U+202E" in shown and "RIGHT-TO-LEFT OVERRIDE" in shown and "U+200B" in shown and "U+0000" in shown
    assert "\u202e" not in shown and shown.endswith("&lt;")


def test_the_line_of_the_exception_is_marked():
    kinds = [line.kind for line in code_lines("a = 1\nb = a[0]\n", error_line=2)]
    assert kinds == ["", "error"]


def test_strings_over_several_lines_stay_lines():
    code = 'x = """one\ntwo\n"""\ny = 1\n'
    assert ast.parse(code)
    assert [line.number for line in code_lines(code)] == [1, 2, 3, 4]


def test_long_texts_are_cut_and_say_so():
    assert "more characters are not shown" in cut("x" * (MOST_SHOWN + 5))
    assert "more lines are not shown" in cut("x\n" * (MOST_LINES + 5))


def test_a_diff_shows_both_sides():
    lines = diff_lines("a = 1\nb = 2\nc = 3\n", "a = 1\nb = 4\nc = 3\n")
    assert [line.kind for line in lines] == ["", "del", "add", ""]
    assert diff_lines("same\n", "same\n") == []


@pytest.mark.parametrize(
    "seconds, text", [(None, "–"), (40, "40 s"), (239, "4 min"), (3900, "1 h 05 min"), (59.6, "60 s")]
)
def test_durations(seconds, text):
    assert duration(seconds) == text
