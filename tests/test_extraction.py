"""From a completion to a program: each way that models answer, and properties over any text."""

import ast
import textwrap

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ilf.extraction import extract

PREFIX = "import re\n\ndef helper(x):\n    return x\n\ndef f(x, y=1):\n"
BODY = "    z = helper(x)\n    return z + y\n"
PROGRAM = PREFIX + BODY
REWRITTEN = "def f(a, b):\n    return a + b\n"


def got(text: str, prefix: str = PREFIX, **options) -> str:
    return extract(text, prefix, "f", **options)


def run(code: str) -> int:
    names: dict = {}
    exec(code, names)
    return names["f"](2, 3)


@pytest.mark.parametrize(
    "text",
    [
        BODY,
        "\n" + BODY,
        BODY.rstrip(),
        BODY.replace("\n", "\r\n"),
        BODY + "<|endoftext|>import os\n",
        BODY + "<|im_end|>\n",
        BODY + "```\n",
        BODY + "```\n\nThis function adds `y`, which doesn't matter.\n",
        BODY + "~~~\nprose",
        BODY + "\n\nThis adds y to x. It's simple:\n",
        BODY + "\nprint(f(1))\n",
        BODY + "\nassert f(1, 2) == 4\nassert f(1) == 2\n",
        BODY + '\nif __name__ == "__main__":\n    print(f(int(input())))\n',
        BODY + "\nresult = f(1)\nprint(result)\n",
        BODY + "\n# Test\nprint(f(1",
        BODY + "\n# Example usage:\n",
        BODY + "\nfor i in range(3):\n    print(f(i",
        BODY + "    return (z +",
        BODY + "    for i in",
        "z = helper(x)\n    return z + y\n",
        "   z = helper(x)\n    return z + y\n",
        "     z = helper(x)\n    return z + y\n",
        " z = helper(x)\n    return z + y\n",
        "z = helper(x)\nreturn z + y\n",
        "Sure! Here it is:\n\n    z = helper(x)\n    return z + y\n",
        "```python\n    z = helper(x)\n    return z + y\n```",
        PROGRAM,
        f"\n\n{PROGRAM}",
        PREFIX + PROGRAM,
        f'"""\nWrite a function.\n\n>>> Example: f(1) = 2\n"""\n\n{PROGRAM}',
        f"```\n{PROGRAM}```\n",
        f"```PYTHON\r\n{PROGRAM}```\r\nDone.",
        f"~~~py\n{PROGRAM}~~~",
        f"Here is the function:\n\n```python\n{PROGRAM}```\n\nIt isn't hard.",
        f"Don't worry:\n{PROGRAM}\nThat's it.",
        "def f(x, y=1):\n" + BODY,
        "    def f(x, y=1):\n        z = helper(x)\n        return z + y\n",
        "```\ndef f(x, y=1):\n" + BODY,
    ],
)
def test_the_same_program_comes_out_of_every_way_to_say_it(text):
    program = got(text)
    assert ast.dump(ast.parse(program)) == ast.dump(ast.parse(PROGRAM))
    assert program.endswith("y\n") and got(program) == program


@pytest.mark.parametrize(
    "text",
    [
        REWRITTEN,
        f"I'd write:\n```python\n{REWRITTEN}```",
        "import re, os\n" + REWRITTEN,
        f"from the start\n{REWRITTEN}\nas you see",
        textwrap.indent(REWRITTEN, "  "),
        f"1. Write it:\n   ```python\n{REWRITTEN}   ```",
        f"A helper first.\n```python\nhelper2 = None\n```\nThen\n```python\n{REWRITTEN}```",
    ],
)
def test_a_rewritten_function_keeps_its_own_signature_and_gets_the_helpers_it_lacks(text):
    program = got(text)
    assert run(program) == 5
    tree = ast.parse(program)
    assert [n.name for n in tree.body if isinstance(n, ast.FunctionDef)] == ["helper", "f"]
    assert "import re" in program
    assert got(program) == program


def test_code_below_the_function_that_belongs_to_the_program_is_kept():
    text = BODY + "\ndef later(x):\n    return x\n\nLIMIT = 3\nimport os\nprint(f(1))\n"
    program = got(text)
    assert program == PROGRAM + "\n\ndef later(x):\n    return x\n\n\nLIMIT = 3\n\n\nimport os\n"
    assert got(program) == program
    assert "later" not in got(text, definitions_after=False)


def test_nothing_is_changed_in_code_that_needs_no_change():
    body = "    # why\n\n    return x\n\n\nclass After:\n    pass\n\n\n# between\nTABLE = {}\n"
    assert got(body) == PREFIX + body


def test_a_cut_inside_the_function_is_left_as_it_is_unless_what_is_lost_was_dead():
    assert got("    z = 1\n    for i in range(x:\n        z += 1") == (
        PREFIX + "    z = 1\n    for i in range(x:\n        z += 1\n"
    )
    assert got("    if x:\n        return 1\n    else:\n        retur n") == (
        PREFIX + "    if x:\n        return 1\n    else:\n        retur n\n"
    )
    assert got("    return 1\n    x = (") == PREFIX + "    return 1\n"


def test_code_that_does_not_parse_is_kept_for_the_verdict_without_the_prose_after_it():
    assert got("    return x +\n\nThis is prose.") == PREFIX + "    return x +\n"
    assert got("return x +") == PREFIX + "    return x +\n"
    assert (
        got("    return [x\n    }\n\n# Again:\ndef f(a):\n    return (") == PREFIX + "    return [x\n    }\n"
    )
    assert got("def f(a):\n    return a +\n\nprose here") == (
        "import re\n\ndef helper(x):\n    return x\n\ndef f(a):\n    return a +\n"
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        " \n\t\n",
        "I cannot do that.",
        "It's hard: no",
        "```\n```",
        "# only a comment",
        "  # not a function.",
        "```python\n```\nSorry.",
    ],
)
def test_no_code_is_no_program(text):
    assert got(text) == ""


def test_tabs_and_spaces_mixed():
    program = got("    if x:\n\treturn 1\n    return 2\n")
    assert run(program) == 1
    tabs = "def f(x, y):\n"
    assert (
        extract("\tif x:\n\t\treturn x + y\n\treturn 0\n", tabs, "f")
        == tabs + "\tif x:\n\t\treturn x + y\n\treturn 0\n"
    )


def test_without_a_known_signature_the_completion_writes_it():
    assert extract("x):\n    return x\n\nprint(f(1))", "def f(", "f") == "def f(x):\n    return x\n"
    assert (
        extract(":\n    def go(self):\n        return 1\n", "class S", "S")
        == "class S:\n    def go(self):\n        return 1\n"
    )


DOCUMENTED = 'def f(x):\n    """Add one.\n\n    >>> f(1)\n    2\n    """\n'


def test_a_docstring_in_the_prefix_is_no_body():
    assert extract("    return x + 1\n", DOCUMENTED, "f") == DOCUMENTED + "    return x + 1\n"
    assert extract("I don't know.", DOCUMENTED, "f") == ""
    assert extract("def f(x):\n    return x + 1\n", DOCUMENTED, "f") == "def f(x):\n    return x + 1\n"


METHOD = "def f(x):\n    return C(x).go()\n\n\nclass C:\n    def __init__(self, x):\n        self.x = x\n\n    def go(self):\n"


@pytest.mark.parametrize(
    "text",
    [
        "        return self.x + 1\n",
        "return self.x + 1",
        "    return self.x + 1\n",
        "        return self.x + 1\n\n\nprint(f(1))\n",
        "        return self.x + 1\n\n    def __repr__(self):\n        return 'C'\n",
        "        return self.x + 1\n\nThis isn't code.",
        "    def go(self):\n        return self.x + 1\n",
        "def go(self):\n    return self.x + 1\n",
        "class C:\n    def __init__(self, x):\n        self.x = x\n\n    def go(self):\n        return self.x + 1\n",
        METHOD + "        return self.x + 1\n",
    ],
)
def test_a_prefix_that_stops_inside_a_class_is_continued_there(text):
    program = extract(text, METHOD, "f")
    names: dict = {}
    exec(program, names)
    assert names["f"](1) == 2
    assert extract(program, METHOD, "f") == program


# ---------------------------------------------------------------- properties

PIECES = st.sampled_from(
    [
        "    return x\n", "return x\n", "def f(x):\n", "def f(x, y=1):\n", PREFIX, "```python\n", "```\n", "~~~\n",
        "    for i in range(3):\n", "        pass\n", "\t", "   ", "x = (\n", ")\n", '"""\n', "'''", "print(f(1))\n",
        "Here's prose.\n", "import re\n", "class C:\n", "    def f(x):\n", "else:\n", "\r\n", "\n", "#c\n", "@f\n",
        "x = 1; y = 2\n", "\\\n", "\0", "\x0c", "<|endoftext|>", "async ", "lambda: ", "if x:\n", "\u2028", "\ud800",
    ]
)  # fmt: skip
TEXTS = st.one_of(st.text(), st.lists(PIECES, max_size=12).map("".join))
PREFIXES = st.sampled_from([PREFIX, "def f(x):\n", DOCUMENTED, METHOD, "def f(", "class f"])


@settings(max_examples=600, deadline=None)
@given(TEXTS, PREFIXES, st.booleans())
@example("(" * 5000, "def f(x):\n", True)
@example("    if x:\n" * 200, "def f(x):\n", True)
@example("    return " + "-" * 20000 + "x", "def f(x):\n", True)
def test_any_text_gives_a_program_or_nothing_and_again_gives_the_same(text, prefix, after):
    program = extract(text, prefix, "f", definitions_after=after)
    assert program == "" or program.endswith("\n") and program == program.rstrip() + "\n"
    assert "\r" not in program
    assert extract(program, prefix, "f", definitions_after=after) == program


@settings(max_examples=200, deadline=None)
@given(TEXTS, st.sampled_from(["def f(x):\n", PREFIX]))
def test_what_parses_defines_the_function(text, prefix):
    program = extract(text, prefix, "f")
    try:
        tree = ast.parse(program)
    except (SyntaxError, ValueError):
        return
    assert not program or any(getattr(node, "name", None) == "f" for node in tree.body)


LINES = st.lists(
    st.sampled_from(
        ["a = x", "# note", "if a:\n    a = 1", "'''text'''", "", "while x:\n    break", "print(a)"]
    ),
    max_size=6,
)
NOISE = st.sampled_from(
    ["", "\n```", "\n```\nprose isn't code", "\nprint(f(1))", "\nassert f(1) == 2", "<|im_end|>", "\n\n\n"]
)


@settings(max_examples=200, deadline=None)
@given(LINES, NOISE)
def test_any_body_survives_any_noise_after_it(lines, noise):
    body = textwrap.indent("\n".join([*lines, "return x"]), "    ")
    assert extract(body + noise, PREFIX, "f").rstrip() == (PREFIX + body).rstrip()
