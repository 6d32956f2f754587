"""Execution feedback in words: one test a rule, what is hidden, and what failing tests share."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ilf.config import VerifyConfig
from ilf.feedback import candidates, execution, words
from ilf.feedback.case import Case
from ilf.feedback.mistakes import RULES, STATIC, mistakes
from ilf.places import Local
from ilf.records import Program, Task, Verdict


def case(code, shown="assert f([3, 1]) == 0", hide=True, **fields):
    """A program that fails its one test so."""
    task = Task(task_id="t", description="d", entry_point="f", tests=(shown,))
    fields = {"status": "error" if "error" in fields else "failed", "test": 0, "tests": (False,), **fields}
    program = Program(task_id="t", code=code)
    return Case(task, program, Verdict(task_id="t", program_id=program.program_id, **fields), hide)


def value(expected, actual, code="def f(x):\n    return x and 0\n", **fields):
    return case(code, expected=repr(expected), actual=repr(actual), **fields)


def raised(error, code="def f(x):\n    return g(x)\n", **fields):
    return case(code, error=error, **{"line": 2, **fields})


BEFORE = {"test": None, "tests": (None,)}
NEVER = {"status": "timeout"}
# kind → a case that has it, words of its sentence, and a case near to it that does not.
EXAMPLES = {
    "no code": (case("", status="no_code", **BEFORE), "write f", case("f = abs\n")),
    "syntax": (
        case("def f(x)\n    return x\n", error="SyntaxError: expected ':'", line=1, **BEFORE),
        "expected ':' at line 1, `def f(x)`",
        case("def f(x):\n    return x\n"),
    ),
    "function missing": (
        raised("NameError: name 'f' is not defined", "def g(x):\n    return f(x)\n"),
        "does not define f; it defines g",
        case("from math import sqrt as f\n"),
    ),
    "infinite loop": (
        case("def f(x):\n    n = 0\n    while n < len(x):\n        print(n)\n    return n\n", **NEVER),
        "`while n < len(x)` never ends",
        case("def f(x):\n    while len(x) > 0:\n        x.pop()\n    return x\n", **NEVER),
    ),
    "too slow": (case("def f(x):\n    return fib(x)\n", **NEVER), "too long", case("def f(x):\n    return 1\n")),
    "memory": (case("def f(x):\n    return [x] * 10**12\n", status="memory"), "too much memory", case("f = 1\n")),
    "endless recursion": (
        raised("RecursionError: maximum recursion depth exceeded"),
        "base case",
        raised("ValueError: no"),
    ),
    "name not defined": (
        raised("NameError: name 'reslt' is not defined", "def f(x):\n    result = x\n    return reslt\n"),
        "did you mean result?",
        raised("NameError: name 'f' is not defined"),
    ),
    "used before assignment": (
        raised("UnboundLocalError: cannot access local variable 'n' where it is not associated with a value"),
        "variable n is used before",
        raised("NameError: name 'n' is not defined"),
    ),
    "module missing": (
        raised("ModuleNotFoundError: No module named 'sklearn'", **BEFORE),
        "standard library",
        raised("NameError: name 'sklearn' is not defined"),
    ),
    "value of an in-place method": (
        value([1, 3], None, "def f(x):\n    return x.sort()\n"),
        "changes x in place",
        value([1, 3], [3, 1], "def f(x):\n    x.sort()\n    return x\n"),
    ),
    "missing return": (
        value(1, None, "def f(x):\n    if x:\n        return None\n"),
        "no return statement with a value",
        value(1, 2, "def f(x):\n    if x:\n        return 2\n    else:\n        raise ValueError\n"),
    ),
    "empty input": (
        raised("ValueError: max() arg is an empty sequence", shown="assert f([]) == 0"),
        "Empty input is not handled",
        raised("ValueError: max() arg is an empty sequence", shown="assert f([1]) == 0"),
    ),
    "index out of range": (
        raised("IndexError: list index out of range"),
        "out of range",
        raised("IndexError: list index out of range", shown="assert f([]) == 0"),
    ),
    "missing key": (raised("KeyError: 'a'"), ".get()", raised("ValueError: 'a'")),
    "division by zero": (raised("ZeroDivisionError: division by zero"), "by zero", raised("KeyError: 0")),
    "wrong arguments": (
        raised("TypeError: f() takes 1 positional argument but 2 were given"),
        "compare the signature",
        raised("TypeError: unsupported operand type(s) for +: 'int' and 'str'"),
    ),
    "wrong operand type": (
        raised("TypeError: unsupported operand type(s) for +: 'int' and 'str'"),
        "convert it",
        raised("TypeError: f() missing 1 required positional argument: 'y'"),
    ),
    "no such method": (
        raised("AttributeError: 'list' object has no attribute 'push'"),
        "did you mean .append?",
        raised("KeyError: 'push'"),
    ),
    "bad conversion": (
        raised("ValueError: invalid literal for int() with base 10: 'a'"),
        "no number",
        raised("ValueError: max() arg is an empty sequence", shown="assert f([]) == 0"),
    ),
    "bad pattern": (raised("re.error: missing ), unterminated subpattern"), "not valid", raised("OSError: no")),
    "return in the first round": (
        value(4, 3, "def f(x):\n    for n in x:\n        if n > 1:\n            return n\n        else:\n"
              "            return 0\n"),
        "returns in its first round",
        value(4, 3, "def f(x):\n    for n in x:\n        if n > 1:\n            return n\n    return 0\n"),
    ),
    "hard-coded answer": (
        case("def f(x):\n    if x:\n        return 7\n    return x\n", shown="assert f([3, 4]) == 7"),
        "`return 7` is the answer of the shown test",
        case("def f(x):\n    if not x:\n        return 0\n    return x\n", shown="assert f([]) == 0"),
    ),
    "off by one": (value(4, 5), "one more than expected", value(4, 6)),
    "opposite answer": (value(True, False), "opposite", value(True, 1)),
    "sign": (value(3, -3), "sign", value(0, 0.0)),
    "rounding": (value(3.33, 3.0), "rounding", value(3.33, 9.5)),
    "wrong type": (value([1, 2], (1, 2)), "a tuple, where a list is expected", value(2.0, 7)),
    "order or duplicates": (value([1, 3, 2], [3, 2, 1]), "their order is not", value([1, 2], [2, 3])),
    "case or white space": (value("A b", "a b"), "upper and lower case", value("ab", "ac")),
    "unchanged": (value([1, 3], [3, 1]), "unchanged", value([1, 3], [1])),
    "unused argument": (case("def f(x, y):\n    return x\n"), "argument y", case("def f(x):\n    pass\n")),
}  # fmt: skip


def kinds(of):
    return {mistake.kind: mistake.text for mistake in mistakes(of)}


def test_every_rule_has_its_example():
    assert EXAMPLES.keys() == RULES.keys()


@pytest.mark.parametrize("kind", EXAMPLES)
def test_a_rule(kind):
    has, said, has_not = EXAMPLES[kind]
    assert said in kinds(has)[kind]
    assert kind not in kinds(has_not)


@pytest.mark.parametrize(
    ("of", "kind", "said"),
    [
        (value([2, 3], [1, 2, 3]), "off by one", "one element too many, the first"),
        (value("abc", "ab"), "off by one", "last element is missing"),
        (value([1, 2], [1, 2, 2]), "order or duplicates", "duplicates"),
        (value("a b", "ab"), "case or white space", "white space"),
        (value(1, None, "def f(x):\n    print(x)\n"), "missing return", "prints its answer"),
        (value(1, None, "def f(x):\n    if x:\n        return 1\n"), "missing return", "reach its end"),
        (raised("NameError: name 're' is not defined"), "name not defined", "`import re`"),
        (raised("AttributeError: 'NoneType' object has no attribute 'group'"), "no such method", "is None"),
        (raised("TypeError: 'NoneType' object is not iterable"), "wrong operand type", "is None"),
        (
            raised("ValueError: too many values to unpack (expected 2)"),
            "bad conversion",
            "names and of values",
        ),
        (case("def f(x):\n    while True:\n        x = 1\n", **NEVER), "infinite loop", "while True"),
        (value(0, 5, shown="assert f('') == 0"), "empty input", "Empty input"),
    ],
)
def test_what_a_rule_says(of, kind, said):
    assert said in kinds(of)[kind]


@pytest.mark.parametrize(
    "code",
    [
        "def f(x):\n    while True:\n        if x:\n            break\n",
        "def f(x):\n    while True:\n        return 1\n",
        "def f(x):\n    while ready():\n        pass\n",
        "def f(x):\n    while x.left():\n        pass\n",
        "def f(x):\n    while x[0]:\n        x[0] -= 1\n",
        "def f(x):\n    while True:\n        for y in x:\n            pass\n        else:\n            break\n",
    ],
)
def test_a_loop_that_may_end_is_not_called_endless(code):
    assert "infinite loop" not in kinds(case(code, **NEVER))


@pytest.mark.parametrize(
    "code",
    [
        "def f(x):\n    try:\n        return 1\n    except ValueError:\n        return 2\n",
        "def f(x):\n    with x:\n        return 1\n",
        "def f(x):\n    while True:\n        if x:\n            return 1\n",
        "def f(x):\n    yield 1\n",
        "def f(x):\n    match x:\n        case 1:\n            return 1\n        case _:\n            return 2\n",
    ],
)
def test_a_function_that_always_gives_something_misses_no_return(code):
    assert "missing return" not in kinds(case(code))


TASK = Task(
    task_id="t",
    description="d",
    entry_point="f",
    tests=("assert f([4]) == 4", "assert f([]) == 77", "assert f([2, 2]) == 88"),
)


def verdict(tests, **fields):
    return Verdict(task_id="t", program_id="p", status="error", tests=tests, **fields)


HIDDEN = verdict(
    (True, False, False), test=1, call="f([])", expected="77", actual="99", line=2, stdout="77 99",
    error="ValueError: 77 is not 99",
)  # fmt: skip
PROGRAM = Program(task_id="t", code="def f(x):\n    return max(x)\n")


def test_a_hidden_test_is_not_spoken_of():
    text = words.say(TASK, PROGRAM, HIDDEN)
    assert text == "The shown test `assert f([4]) == 4` passes, but the program fails on other input."


def test_the_same_with_the_tests_in_the_open():
    text = words.say(TASK, PROGRAM, HIDDEN, hide_tests=False)
    assert text.startswith("f([]) raises ValueError: 77 is not 99. This happens at line 2, `return max(x)`.")
    assert "2 of 3 tests fail" in text


def test_what_failing_tests_share():
    def say(*results):
        fields = {"test": results.index(False), "error": "KeyError: 1"}
        return words.say(TASK, PROGRAM, verdict(results, **fields), hide_tests=False)

    assert "1 of 3 tests fails; it has an empty collection or text as input" in say(True, False, True)
    assert "1 of 3 tests fails; it has repeated elements as input" in say(True, True, False)
    assert say(False, False, False).endswith("All 3 tests fail.")
    assert say(True, False, False).endswith("2 of 3 tests fail.")


@given(
    st.text(alphabet="abc", min_size=8), st.integers(1, 2), st.text(max_size=30),
    st.sampled_from(["failed", "error", "timeout", "memory", "killed", "flaky"]),
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_nothing_of_a_hidden_test_leaks(secret, which, code, status):
    secret = f"secret{secret}"
    results = [True, True, True]
    results[which] = False
    task = TASK.model_copy(
        update={"tests": (TASK.tests[0], f"assert f({secret!r})", f"assert f({secret!r})")}
    )
    fields = dict.fromkeys(("call", "expected", "actual", "stdout", "detail"), secret)
    of = Verdict(
        task_id="t", program_id="p", status=status, tests=tuple(results), test=which, line=1,
        error=f"NameError: name '{secret}' is not defined", **fields,
    )  # fmt: skip
    assert secret not in words.say(task, Program(task_id="t", code=code), of)
    assert (
        secret in words.say(task, Program(task_id="t", code="f = 1"), of, hide_tests=False)
        or status != "error"
    )


def test_the_shown_test_need_not_be_the_first():
    task = TASK.model_copy(update={"example": TASK.tests[2]})
    shown = verdict((True, True, False), test=2, call="f([2, 2])", error="KeyError: 1")
    assert words.say(task, PROGRAM, shown).startswith("f([2, 2]) raises KeyError: 1.")
    both = verdict((True, False, False), test=1, error="KeyError: 'secret'")
    assert words.say(task, PROGRAM, both) == "The shown test `assert f([2, 2]) == 88` fails."
    elsewhere = TASK.model_copy(update={"example": "assert f([0]) == 0"})
    assert words.say(elsewhere, PROGRAM, HIDDEN) == "The program fails a test that is not shown."


def test_static_rules_speak_where_the_test_is_hidden():
    assert STATIC <= RULES.keys()
    program = Program(task_id="t", code="def f(x):\n    if x:\n        return 4\n")
    assert "reach its end" in words.say(TASK, program, HIDDEN)


def test_long_values_are_cut():
    text = words.short("x" * 1000)
    assert len(text) <= words.MOST_SHOWN and "…" in text
    assert words.short("a\n  b") == "a b"


def test_words_on_real_verdicts():
    programs = [
        Program(task_id="t", code="def f(x):\n    return x[0] + 1\n"),
        Program(task_id="t", code="def f(x)\n    return x\n"),
        Program(task_id="t", code="def f(x):\n    return max(x)\n"),
    ]
    found = list(Local().verify({"t": TASK}, programs, VerifyConfig()))
    said = [words.say(TASK, *pair) for pair in zip(programs, found, strict=True)]
    assert said[0].startswith(
        "f([4]) should return 4, but it returns 5. The result is one more than expected"
    )
    assert said[1].startswith("It is not valid Python: expected ':' at line 1, `def f(x)`")
    assert said[2].startswith("The shown test")
    items = execution.write({"t": TASK}, candidates(programs, found), hide_tests=False)
    assert [(item.source, item.code) for item in items] == [("execution", programs[2].code)]
    assert "Empty input is not handled" in items[0].text
