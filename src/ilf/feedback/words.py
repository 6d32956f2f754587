"""What running a program showed, in sentences that a refiner can use."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import Any

from ilf.feedback.case import MISSING, Case, arguments_of, call_in, value_of
from ilf.feedback.mistakes import mistakes
from ilf.kinds import is_code
from ilf.records import Program, Task, Verdict
from ilf.syntax import try_parse

MOST_SHOWN = 120
"""Characters of a call or a value that a sentence holds."""
MOST_MISTAKES = 2
"""How many kinds of mistake are named."""
_SAID = ("no code", "syntax", "function missing")
"""Kinds whose sentence says all there is to say."""


def say(task: Task, program: Program, verdict: Verdict, *, hide_tests: bool = True) -> str:
    """Sentences on why a program fails: what happened, where, what it suggests, what failing tests share.

    Args:
        task: with the tests.
        program: that fails one of them.
        verdict: on it.
        hide_tests: speak of the shown test only; of the others no text, value, exception or line is told.
    """
    if not is_code(task):
        return verdict.detail  # what its kind says of the answer is all there is
    case = Case(task, program, verdict, hide_tests)
    suggested = mistakes(case)
    if suggested and suggested[0].kind in _SAID:
        return suggested[0].text
    sentences = [_happened(case), _where(case), *(found.text for found in suggested[:MOST_MISTAKES])]
    if not hide_tests:
        sentences.append(_shared(task, verdict))
    return " ".join(filter(None, sentences))


def happened(task: Task, program: Program, verdict: Verdict) -> str:
    """One sentence on what happened first, whichever test it was; nothing where there is no such sentence."""
    case = Case(task, program, verdict, hide_tests=False)
    said = next((found.text for found in mistakes(case)[:1] if found.kind in _SAID), None)
    return said or _happened(case)


def short(text: str, most: int = MOST_SHOWN) -> str:
    """A text on one line, its middle left out where it is long."""
    text = " ".join(text.split())
    if len(text) <= most:
        return text
    tail = most // 3
    return f"{text[: most - tail - 3]} … {text[-tail:]}"


def _happened(case: Case) -> str:
    verdict, name = case.verdict, case.task.entry_point
    if not case.open:
        return _hidden(case)
    raised = ": ".join(filter(None, case.exception))
    if case.before_tests:
        ended = {"error": f"raises {short(raised)}", "timeout": "does not come to an end"}
        return f"Before any test runs, the program {ended.get(verdict.status, 'ends')}."
    call = call_in(case.test or "", name)
    subject = short(ast.unparse(call)) if call is not None else "The test"
    if verdict.status == "error" and raised:
        return f"{subject} raises {short(raised)}."
    if verdict.status == "timeout":
        return f"{subject} does not finish within the time limit."
    if verdict.status == "memory":
        return f"{subject} needs more memory than is allowed."
    if verdict.status == "killed":
        return f"{subject} ends the whole process."
    if verdict.status == "flaky":
        return f"{subject} does not give the same on each run."
    return _wrong_value(case, call, subject)


def _wrong_value(case: Case, call: ast.Call | None, subject: str) -> str:
    expected, actual = case.verdict.expected, case.verdict.actual
    statement = case.verdict.call or case.test or ""
    if expected is not None and actual is not None and call is not None and _compared(statement, call):
        return f"{subject} should return {short(expected)}, but it returns {short(actual)}."
    values = [f"expected {short(expected)}"] if expected is not None else []
    values += [f"got {short(actual)}"] if actual is not None else []
    tail = f": {', '.join(values)}" if values else ""
    return f"The test `{short(statement)}` fails{tail}."


def _compared(statement: str, call: ast.Call) -> bool:
    """Whether an assertion compares the call itself with a value."""
    tree = try_parse(statement)
    node = tree.body[-1] if tree and tree.body else None
    if not isinstance(node, ast.Assert) or not isinstance(node.test, ast.Compare):
        return False
    sides = [ast.unparse(node.test.left), *map(ast.unparse, node.test.comparators)]
    return isinstance(node.test.ops[0], ast.Eq | ast.Is) and ast.unparse(call) in sides


def _hidden(case: Case) -> str:
    """A sentence where the test that failed first may not be spoken of."""
    results = case.verdict.tests
    shown = results[case.shown] if case.shown is not None and case.shown < len(results) else None
    if shown is None:
        return "The program fails a test that is not shown."
    test = short(case.task.shown.strip())
    if shown:
        return f"The shown test `{test}` passes, but the program fails on other input."
    return f"The shown test `{test}` fails."


def _where(case: Case) -> str:
    if case.line is None or not case.exception[0]:
        return ""
    return f"This happens at line {case.verdict.line}, `{short(case.line)}`."


# --- what failing tests share ----------------------------------------------------------------------------


def _shared(task: Task, verdict: Verdict) -> str:
    """A sentence on several failing tests: how many, and what all of them and no passing test have."""
    wrong = [t for t, result in zip(task.tests, verdict.tests, strict=False) if result is not True]
    right = [t for t, result in zip(task.tests, verdict.tests, strict=False) if result is True]
    if len(verdict.tests) < 2 or not any(result is not None for result in verdict.tests):
        return ""
    if not right:
        return f"All {len(wrong)} tests fail."
    several = len(wrong) > 1
    said = f"{len(wrong)} of {len(task.tests)} tests {'fail' if several else 'fails'}"
    common = set.intersection(*(traits(test, task.entry_point) for test in wrong))
    common -= set[str]().union(*(traits(test, task.entry_point) for test in right))
    return (
        f"{said}; {'they have' if several else 'it has'} {', '.join(sorted(common))}."
        if common
        else f"{said}."
    )


def traits(test: str, name: str) -> set[str]:
    """What a test's input and expected value are like, in words that follow "the tests have"."""
    call = call_in(test, name)
    found: set[str] = set()
    for value in arguments_of(call):
        found |= {f"{trait} as input" for trait, has in _TRAITS.items() if has(value)}
    tree = try_parse(test)
    node = tree.body[-1] if tree and tree.body else None
    if isinstance(node, ast.Assert) and isinstance(node.test, ast.Compare):
        expected = value_of(ast.unparse(node.test.comparators[-1]))
        found |= {f"{trait} as expected value" for trait, has in _TRAITS.items() if has(expected)}
    return found


def _holds(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple | set) else []


def _repeats(value: Any) -> bool:
    texts = [repr(part) for part in _holds(value)]
    return len(set(texts)) < len(texts)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


_TRAITS: Mapping[str, Any] = {
    "an empty collection or text": lambda v: isinstance(v, list | tuple | set | dict | str) and not v,
    "a single element": lambda v: len(_holds(v)) == 1,
    "a negative number": lambda v: any(_is_number(p) and p < 0 for p in [v, *_holds(v)]),
    "zero": lambda v: any(_is_number(p) and p == 0 for p in [v, *_holds(v)]),
    "a fraction": lambda v: any(isinstance(p, float) and not p.is_integer() for p in [v, *_holds(v)]),
    "repeated elements": _repeats,
    "nested lists": lambda v: any(isinstance(part, list | tuple) for part in _holds(v)),
    "upper-case letters": lambda v: isinstance(v, str) and v != v.lower(),
    "white space": lambda v: isinstance(v, str) and any(c.isspace() for c in v),
    "None": lambda v: v is not MISSING and (v is None or None in _holds(v)),
    "False": lambda v: v is False,
    "True": lambda v: v is True,
}
"""Words → whether a value is such."""
