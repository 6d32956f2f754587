"""Reading Python source: line ends, where a signature ends, where a prefix stops."""

import ast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ilf.syntax import bound_names, find_hole, normalise, parse, signature_only, split_at_signature


@given(
    st.lists(st.sampled_from(["a = 1", "# c", "", "b = 'x'"]), max_size=8),
    st.sampled_from(["\r\n", "\r", "\n"]),
)
def test_line_ends_make_no_difference(lines, end):
    assert normalise(end.join(lines)) == "\n".join(lines)
    assert normalise(normalise(end.join(lines))) == normalise(end.join(lines))


@given(st.one_of(st.text(), st.sampled_from(["\0", "\ud800", "(" * 9000, "x = " + "-" * 100_000 + "1"])))
def test_parsing_fails_in_one_way_only(code):
    try:
        parse(code)
    except SyntaxError as error:
        assert str(error)


@pytest.mark.parametrize(
    ("code", "prefix", "body"),
    [
        ("def f(x):\n    return x", "def f(x):\n", "    return x"),
        ("def f(x): return x\n", "def f(x):\n", "    return x\n"),
        ("def f(x):  # why\n    pass", "def f(x):  # why\n", "    pass"),
        ("def f(x: dict[str, int] = {'a': 1}, *, y=lambda: 1) -> int :\n  pass", None, "  pass"),
        ("def f(\n    x,  # one: two\n):\n    pass", None, "    pass"),
        ("class C(Base, metaclass=M):\n    x = 1", "class C(Base, metaclass=M):\n", "    x = 1"),
    ],
)
def test_a_program_splits_at_its_signature(code, prefix, body):
    name = "C" if code.startswith("class") else "f"
    got = split_at_signature(code, name)
    assert got is not None and got[1] == body
    if prefix is not None:
        assert got[0] == prefix
    assert ast.dump(parse("".join(got))) == ast.dump(parse(code))


def test_the_last_definition_of_a_name_counts_and_an_assigned_one_has_no_signature():
    assert split_at_signature("def f(a):\n  pass\ndef f(b):\n  return 1", "f") == (
        "def f(a):\n  pass\ndef f(b):\n",
        "  return 1",
    )
    assert split_at_signature("f = len", "f") is None
    assert split_at_signature("def f(:", "f") is None


@pytest.mark.parametrize(
    ("prefix", "inner", "top", "indent"),
    [
        ("def f(x):", "f", "f", ""),
        ("import re\n\ndef g():\n    pass\n\nasync def f(\n    x,\n):\n", "f", "f", ""),
        ("class C:\n\tdef go(self):\n", "go", "C", "\t"),
        (
            "class C:\n    def go(self):\n        '''Go.\n\n        class of its own\n        '''\n",
            "go",
            "C",
            "    ",
        ),
        ("class C:\n    class D:\n        def go(self):\n", "go", "C", "        "),
        ('def f(x):\n  """Two spaces."""\n', "f", "f", ""),
    ],
)
def test_a_prefix_stops_in_its_last_definition(prefix, inner, top, indent):
    hole = find_hole(prefix)
    assert hole is not None
    assert (hole.node.name, hole.top.name, hole.indent) == (inner, top, indent)
    parse(hole.code)


@pytest.mark.parametrize("prefix", ["", "x = 1\n", "def f(x)\n", "def f(:\n", "def f("])
def test_what_is_no_signature_has_no_hole(prefix):
    assert find_hole(prefix) is None


def test_the_signature_alone_keeps_what_it_and_the_tests_lean_on():
    prefix = (
        "import re\nA = 1\nB = A\nC = 2\ndef g():\n    return B\nclass P:\n    q = C\n@g\ndef f(x: P = A):\n"
    )
    assert signature_only(prefix, "f") == (
        "import re\nA = 1\nB = A\nC = 2\ndef g():\n    return B\nclass P:\n    q = C\n@g\ndef f(x: P = A):\n"
    )
    assert (
        signature_only("import re\nA = 1\nB = 2\ndef f(x):\n", "f", {"B"}) == "import re\nB = 2\ndef f(x):\n"
    )
    assert signature_only("def f(x)", "f") == "def f(x)", "what is not understood stays"


def test_names_that_a_statement_binds():
    tree = parse("import a.b, c as d\nfrom e import g as h\nx, (y, *z) = 1\nw: int = 2\ndef f(): q = 1")
    assert [bound_names(s) for s in tree.body] == [{"a", "d"}, {"h"}, {"x", "y", "z"}, {"w"}, {"f"}]
