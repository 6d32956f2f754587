"""Programming contests: APPS (Hendrycks et al. 2021), CodeContests (Li et al. 2022), LiveCodeBench.

A row asks for a function, or for a program that reads its input and prints its output.
"""

from __future__ import annotations

import base64
import binascii
import io
import json
import pickle
import zlib
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

from pydantic import BaseModel, Field

from ilf.records import Task, TaskId
from ilf.syntax import find_hole, normalise, split_at_signature, try_parse
from ilf.tasks.formats.evalplus import literal
from ilf.tasks.rows import BadRow, LeftOut, Row, fit

PYTHON3 = 3
"""CodeContests' number for the language."""

_COMPARE = """
def _plain(value):
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value

def _same(out, expected):
    out = _plain(out)
    return out == expected or isinstance(expected, list) and len(expected) == 1 and out == expected[0]
"""


class _Apps(BaseModel):
    problem_id: TaskId | None = None
    id: TaskId | None = None
    question: str
    input_output: str | dict[str, Any]
    solutions: str | list[str] = ""
    starter_code: str = ""
    difficulty: str | None = None


def apps(row: Row) -> Task:
    """A row of APPS; raises `BadRow`, and `LeftOut` where it has no tests."""
    published = fit(_Apps, row)
    name = published.problem_id or published.id
    if name is None:
        raise BadRow("problem_id: Field required")
    pairs = _json("input_output", published.input_output) or {}
    if not isinstance(pairs, dict):
        raise BadRow("input_output: an object with inputs and outputs was expected")
    inputs, outputs = pairs.get("inputs") or [], pairs.get("outputs") or []
    if len(inputs) != len(outputs):
        raise BadRow(f"input_output: {len(inputs)} inputs and {len(outputs)} outputs")
    solutions = _json("solutions", published.solutions) or []
    fields: dict[str, Any] = {
        "task_id": name,
        "description": published.question.strip(),
        "tags": (published.difficulty,) if published.difficulty else (),
    }
    if not inputs:
        raise LeftOut("have no tests")
    if pairs.get("fn_name"):
        return _function(fields, pairs["fn_name"], inputs, outputs, published.starter_code, solutions)
    tests = [(_text(given), _text(out)) for given, out in zip(inputs, outputs, strict=True)]
    return program(fields, tests, solutions)


class _Cases(BaseModel):
    input: list[str] = []
    output: list[str] = []


class _Solutions(BaseModel):
    language: list[int | str] = []
    solution: list[str] = []


class _Contest(BaseModel):
    name: str
    description: str
    public_tests: _Cases
    private_tests: _Cases = _Cases()
    generated_tests: _Cases = _Cases()
    solutions: _Solutions = _Solutions()
    cf_tags: list[str] = []
    input_file: str = ""


def codecontests(row: Row) -> Task:
    """A row of CodeContests; raises `BadRow`, and `LeftOut` where it has no tests."""
    published = fit(_Contest, row)
    if published.input_file:
        raise LeftOut("read a file of a fixed name")
    tests = [
        (given, out)
        for cases in (published.public_tests, published.private_tests, published.generated_tests)
        for given, out in zip(cases.input, cases.output, strict=False)
    ]
    if not tests:
        raise LeftOut("have no tests")
    found = published.solutions
    in_python = [
        code
        for language, code in zip(found.language, found.solution, strict=False)
        if language in (PYTHON3, "PYTHON3")
    ]
    fields = {
        "task_id": published.name,
        "description": published.description.strip(),
        "tags": tuple(tag for tag in published.cf_tags if tag),
    }
    return program(fields, tests, in_python)


class _Case(BaseModel):
    input: str
    output: str
    testtype: str = "stdin"


class _Live(BaseModel):
    question_id: TaskId
    question_title: str = ""
    question_content: str
    starter_code: str = ""
    public_test_cases: str | list[dict[str, Any]]
    private_test_cases: str | list[dict[str, Any]] = ""
    metadata: str | dict[str, Any] = Field(default="{}")
    difficulty: str | None = None


def livecodebench(row: Row) -> Task:
    """A row of LiveCodeBench's code generation; raises `BadRow`, and `LeftOut` where it has no tests."""
    published = fit(_Live, row)
    cases = [fit(_Case, case) for case in _json("public_test_cases", published.public_test_cases) or []]
    cases += [fit(_Case, case) for case in _packed(published.private_test_cases) or []]
    if not cases:
        raise LeftOut("have no tests")
    fields: dict[str, Any] = {
        "task_id": published.question_id,
        "description": "\n\n".join(
            filter(None, [published.question_title, published.question_content.strip()])
        ),
        "tags": (published.difficulty,) if published.difficulty else (),
    }
    if all(case.testtype == "functional" for case in cases):
        facts = _json("metadata", published.metadata) or {}
        if not facts.get("func_name"):
            raise BadRow("metadata: no func_name, which says what the tests call")
        inputs = [
            [_json("public_test_cases", line) for line in case.input.split("\n") if line.strip()]
            for case in cases
        ]
        outputs = [_json("public_test_cases", case.output) for case in cases]
        return _function(fields, facts["func_name"], inputs, outputs, published.starter_code, [])
    return program(fields, [(case.input, case.output) for case in cases], [])


# ---------------------------------------------------------------- the two kinds of row


def _function(
    fields: dict[str, Any],
    name: str,
    inputs: Sequence[Any],
    outputs: Sequence[Any],
    starter: str,
    solutions: Sequence[str],
) -> Task:
    """A row that asks for a function, or for a method of `Solution` as LeetCode does."""
    starter = normalise(starter).strip("\n")
    reference = _parsing(solutions)
    in_class = "class Solution" in (starter or reference or "")
    call = f"Solution().{name}" if in_class else name
    tests = []
    for given, out in zip(inputs, outputs, strict=True):
        arguments = given if isinstance(given, list) else [given]
        tests.append(f"assert _same({call}({', '.join(map(literal, arguments))}), {literal(out)})")
    hole = find_hole(starter) if starter else None
    prefix = starter + "\n" if hole is not None and hole.node.name == name else ""
    if not prefix and reference is not None and not in_class:
        prefix = (split_at_signature(reference, name) or ("",))[0]
    return Task(
        **fields,
        entry_point="Solution" if in_class else name,
        tests=tuple(dict.fromkeys(tests)),
        setup=_COMPARE,
        prefix=prefix,
        reference=reference,
    )


def program(fields: dict[str, Any], tests: Sequence[tuple[str, str]], solutions: Sequence[str]) -> Task:
    """A row that asks for a program with stdin and stdout: (input, output) each test."""
    said = [{"input": given, "output": out} for given, out in dict.fromkeys(tests) if out.strip()]
    if not said:
        raise LeftOut("have no tests with an output")
    return Task(**fields, tests=said, reference=_parsing(solutions), kind="stdin")


def _parsing(solutions: Iterable[str]) -> str | None:
    """The first that is Python 3: some published ones are Python 2."""
    for code in solutions:
        if isinstance(code, str) and code.strip() and try_parse(normalise(code)) is not None:
            return normalise(code).strip("\n") + "\n"
    return None


def _text(value: Any) -> str:
    """An input or output as one text; some rows have its lines as a list."""
    return "\n".join(map(str, value)) if isinstance(value, list) else str(value)


def _json(field: str, value: Any) -> Any:
    if not isinstance(value, str):
        return value
    if not value.strip():
        return None
    try:
        return json.loads(value)
    except ValueError:
        raise BadRow(f"{field}: not JSON") from None


class _Plain(pickle.Unpickler):
    """Texts, numbers and lists; a pickle that names anything else could run code when it is read."""

    def find_class(self, module: str, name: str) -> NoReturn:
        raise pickle.UnpicklingError(f"it names {module}.{name}")


def _packed(value: Any) -> Any:
    """Test cases as JSON, or as base64 of a compressed pickle of their JSON."""
    if not isinstance(value, str) or not value.strip() or value.lstrip().startswith("["):
        return _json("private_test_cases", value)
    try:
        data = zlib.decompress(base64.b64decode(value))
        return _json("private_test_cases", _Plain(io.BytesIO(data)).load())
    except (binascii.Error, zlib.error, pickle.UnpicklingError, EOFError, ValueError) as error:
        raise BadRow(f"private_test_cases: cannot be unpacked: {error}") from None
