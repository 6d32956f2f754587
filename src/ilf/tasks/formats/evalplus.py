"""EvalPlus (HumanEval+, MBPP+; Liu et al. 2023) and EvoEval (Xia et al. 2024).

Their release files have inputs and no outputs: what is right is what the published solution gives. It becomes
part of a task's `setup` under another name, so that each input is one test statement, and every one of the
thousands of inputs counts. Floats are compared as EvalPlus does, and the tasks whose answers it judges in a
way of their own are judged in that way here. (One is stricter: MBPP+ 164, where it accepts anything.)
"""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Iterable
from typing import Any

from pydantic import BaseModel

from ilf.records import Task, TaskId
from ilf.syntax import (
    definition,
    normalise,
    parse,
    problem,
    signature_only,
    split_at_signature,
    used_names,
)
from ilf.tasks import mbpp
from ilf.tasks.humaneval import docstring
from ilf.tasks.rows import BadRow, Row, fit
from ilf.tasks.splits import number

EXPECTED = "_expected_"
"""What the published solution is called in a task's setup."""

_COMPARE = """
def _floats(x):
    return isinstance(x, float) or (
        isinstance(x, (list, tuple)) and bool(x) and all(isinstance(i, float) for i in x))

def _close(out, expected, atol):
    if isinstance(expected, (list, tuple)):
        return (type(out) is type(expected) and len(out) == len(expected)
                and all(_close(a, b, atol) for a, b in zip(out, expected)))
    if isinstance(expected, (int, float)) and isinstance(out, (int, float)):
        if out == expected or out != out and expected != expected:
            return True
        return abs(out - expected) <= atol + 1e-7 * abs(expected)
    return out == expected

def _same(out, expected, atol=0):
    if out == expected:
        return True
    if not atol and _floats(expected):
        atol = 1e-6
    return bool(atol) and _close(out, expected, atol)
"""

# Entry point → what `_judged(out, expected, atol, *inputs)` returns.
_SETS = (
    "similar_elements", "find_char_long", "common_in_nested_lists", "extract_singly", "larg_nnum",
    "intersection_array", "find_dissimilar", "Diff",
)  # fmt: skip
_ORACLES: dict[str, str] = {
    **dict.fromkeys(_SETS, "set(out) == set(expected)"),
    **dict.fromkeys(
        ("check_str", "text_match_three", "text_starta_endb"),
        "out == (expected is not None) if isinstance(out, bool) else "
        "(expected is not None) == (out is not None)",
    ),
    "are_equivalent": "isinstance(out, bool)",
    "sum_div": "out == expected or out == 0",
    "surface_Area": "_same(out, expected, atol) or out == round("
    "inputs[0] ** 2 + 2 * inputs[0] * ((inputs[0] / 2) ** 2 + inputs[1] ** 2) ** 0.5)",
    "digit_distance_nums": "out == expected or out == sum(abs(int(a) - int(b)) for a, b in zip("
    "*(str(n).zfill(max(len(str(m)) for m in inputs)) for n in inputs)))",
}
_ROOT = "abs(sum(c * out ** i for i, c in enumerate(inputs[0]))) <= (atol or 1e-4)"


class _Plus(BaseModel):
    task_id: TaskId
    prompt: str
    entry_point: str
    canonical_solution: str
    base_input: list[Any]
    plus_input: list[Any] | dict[str, Any] = []
    atol: float = 0


def plus(row: Row, prefix: str = "all") -> Task:
    """A row of HumanEvalPlus.jsonl or MbppPlus.jsonl (or EvoEval's verbose and concise); raises `BadRow`."""
    published = fit(_Plus, row)
    inputs = [*published.base_input, *(published.plus_input or [])]
    is_mbpp = published.task_id.startswith("Mbpp/")
    if is_mbpp:
        restore = _RESTORE.get(number(published.task_id) or 0, lambda given: given)
        try:
            inputs = [restore(given) for given in inputs]
        except (TypeError, ValueError, IndexError, AttributeError):
            raise BadRow("plus_input: not the inputs that this task has") from None
    if not all(isinstance(given, list | tuple) for given in inputs):
        raise BadRow("base_input: each input must be a list of arguments")
    texts = [", ".join(map(literal, given)) for given in inputs]
    return _task(published, texts, is_mbpp, prefix)


class _Evo(BaseModel):
    task_id: TaskId
    prompt: str
    entry_point: str
    canonical_solution: str
    inputs: list[str] | str


def evo(row: Row, prefix: str = "all") -> Task:
    """A row of EvoEval (difficult, creative, subtle, combine, tool_use), whose inputs are texts."""
    published = fit(_Evo, row)
    texts = published.inputs
    if isinstance(texts, str):
        try:
            texts = ast.literal_eval(texts)
        except (ValueError, SyntaxError):
            raise BadRow("inputs: a list of texts was expected") from None
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            raise BadRow("inputs: a list of texts was expected")
    whole = _Plus(**published.model_dump(exclude={"inputs"}), base_input=[])
    return _task(whole, [text.strip() for text in texts], False, prefix)


def _task(row: _Plus, inputs: list[str], is_mbpp: bool, prefix: str) -> Task:
    if not inputs:
        raise BadRow("base_input: no inputs; a task needs at least one test")
    name = row.entry_point
    code = normalise(row.canonical_solution if is_mbpp else row.prompt + "\n" + row.canonical_solution)
    code = code.strip("\n") + "\n"
    try:
        tree = parse(code)
    except SyntaxError as error:
        raise BadRow(f"canonical_solution: does not parse: {problem(error)}") from None
    function = definition(tree, name)
    if function is None:
        raise BadRow(f"canonical_solution: does not define {name}")
    head: str | None
    if is_mbpp:
        split = split_at_signature(code, name)
        head = split[0] if split else None
    else:
        head = normalise(row.prompt).strip("\n") + "\n"
    if head is None:
        raise BadRow(f"canonical_solution: {name} has no signature to show")
    if prefix == "signature":
        head = signature_only(head, name)
    said, example = _said(row.prompt) if is_mbpp else (docstring(function), "")
    return Task(
        task_id=row.task_id,
        description=said or f"Write the function {name}.",
        entry_point=name,
        tests=tuple(_tests(name, inputs, row.atol)),
        prefix=head,
        setup=_renamed(tree, name) + _COMPARE + _judged(name),
        example=example,
        reference=code,
    )


def _tests(name: str, inputs: Iterable[str], atol: float) -> Iterable[str]:
    for text in dict.fromkeys(inputs):
        more = f", {text}" if text else ""
        test = f"assert _judged({name}({text}), {EXPECTED}({text}), {atol!r}{more})"
        try:
            parse(test)
        except SyntaxError:
            raise BadRow(f"inputs: {text[:60]!r} is no list of arguments") from None
        yield test


def _judged(name: str) -> str:
    oracle = _ROOT if name == "find_zero" else _ORACLES.get(name, "_same(out, expected, atol)")
    return f"\ndef _judged(out, expected, atol, *inputs):\n    return {oracle}\n"


def _renamed(tree: ast.Module, name: str) -> str:
    """The published solution with the function under test called `EXPECTED`."""

    class Rename(ast.NodeTransformer):
        def visit_Name(self, node: ast.Name) -> ast.Name:
            return ast.Name(id=EXPECTED, ctx=node.ctx) if node.id == name else node

        def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
            self.generic_visit(node)
            node.name = EXPECTED if node.name == name else node.name
            return node

    return ast.unparse(ast.fix_missing_locations(Rename().visit(parse(ast.unparse(tree))))) + "\n"


def _said(prompt: str) -> tuple[str, str | None]:
    """Description and shown test of an MBPP+ prompt: a docstring with asserts below the text."""
    text = normalise(prompt).strip().strip('"').strip()
    lines = text.split("\n")
    at = next((n for n, line in enumerate(lines) if line.startswith("assert ")), len(lines))
    return "\n".join(lines[:at]).strip(), (lines[at] if at < len(lines) else None)


def literal(value: Any) -> str:
    """A value of JSON, or of what `_RESTORE` makes of it, as Python that gives it again."""
    if isinstance(value, float) and not math.isfinite(value):
        return f"float({str(value)!r})"
    if isinstance(value, list):
        return f"[{', '.join(map(literal, value))}]"
    if isinstance(value, tuple):
        return f"({''.join(literal(item) + ', ' for item in value).rstrip()})" if value else "()"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{literal(k)}: {literal(v)}' for k, v in value.items())}}}"
    return repr(value)


class _Script(BaseModel):
    test: str


def mbpp_script(row: Row, prefix: mbpp.Prefix = "all") -> Task:
    """A row of the hub's `evalplus/mbppplus`: MBPP's fields and a script with inputs and results."""
    task = mbpp.task_from_row({key: value for key, value in row.items() if key != "test"}, prefix)
    script = normalise(fit(_Script, row).test)
    try:
        tree = parse(script)
    except SyntaxError as error:
        raise BadRow(f"test: does not parse: {problem(error)}") from None
    tests = [ast.unparse(node) for node in tree.body if task.entry_point in used_names(node)]
    setup = [ast.unparse(node) for node in tree.body if task.entry_point not in used_names(node)]
    if not tests:
        raise BadRow(f"test: never calls {task.entry_point}")
    return task.model_copy(
        update={
            "tests": (*task.tests, *tests),
            "setup": "\n".join([*filter(None, [task.setup]), *setup]),
        }
    )


# ---------------------------------------------------------------- MBPP+ in JSON
# JSON has no tuples, sets and complex numbers: which arguments are some is known by the task's number
# (evalplus/data/mbpp.py of release 0.3).

_Restore = Callable[[Any], Any]


def _tuples(given: Any) -> Any:
    return [tuple(argument) for argument in given]


def _lists_of_tuples(given: Any) -> Any:
    return [[tuple(item) for item in argument] for argument in given]


def _first_list_of_tuples(given: Any) -> Any:
    return [[tuple(item) for item in given[0]], given[1]]


def _first_tuple(given: Any) -> Any:
    return [tuple(given[0]), *given[1:]]


def _second_tuple(given: Any) -> Any:
    return [given[0], tuple(given[1])]


def _tuples_of_tuples(given: Any) -> Any:
    return [tuple(tuple(item) for item in argument) for argument in given]


def _all_tuples(given: Any) -> Any:
    return tuple(map(_all_tuples, given)) if isinstance(given, list) else given


def _sets(given: Any) -> Any:
    return [[set(item) if isinstance(item, list) and item else {} for item in given[0]]]


def _tuple_items(given: Any) -> Any:
    return [tuple(tuple(item) if isinstance(item, list) else item for item in given[0])]


def _tuple_values(given: Any) -> Any:
    return [{key: tuple(value) for key, value in given[0].items()}, *given[1:]]


_RESTORE: dict[int, _Restore] = {
    **dict.fromkeys(
        (2, 116, 132, 143, 222, 261, 273, 394, 399, 421, 424, 429, 470, 560, 579, 596, 616, 630, 726, 740,
         744, 809), _tuples),
    **dict.fromkeys(
        (63, 64, 70, 94, 120, 237, 272, 299, 400, 409, 417, 438, 473, 614, 780), _lists_of_tuples),
    **dict.fromkeys((75, 413, 444, 753), _first_list_of_tuples),
    **dict.fromkeys((106, 750), _second_tuple),
    115: _sets,
    124: lambda given: [float(given[0]), complex(given[1])],
    **dict.fromkeys((250, 405, 446, 617, 720, 763, 808, 307), _first_tuple),
    **dict.fromkeys((259, 401, 445), _tuples_of_tuples),
    278: _tuple_items,
    722: _tuple_values,
    252: lambda given: [complex(given[0])],
    **dict.fromkeys((580, 615, 791), _all_tuples),
}  # fmt: skip
