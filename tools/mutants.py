"""Do the starter suite's tests bite? Mutate every reference program and count the mutants that die.

    python tools/mutants.py                       # all tasks, the survivors listed at the end
    python tools/mutants.py starter/shout-word    # some tasks

Each mutant differs from the reference in one place: an operator, a comparison, a constant, a branch, an
argument order, a call or a returned value. A mutant that cannot be told from the reference by any call the
description allows is equivalent; those are recorded, with the reason, in tools/equivalent_mutants.json, and
do not count. Exit status 1 when fewer than 95% of the others die.
"""

from __future__ import annotations

import argparse
import ast
import copy
import json
import sys
from collections.abc import Iterator
from pathlib import Path

from ilf.records import Program, Task, read_jsonl
from ilf.sandbox import verify

ROOT = Path(__file__).resolve().parent.parent
TASKS = ROOT / "src/ilf/tasks/starter/tasks.jsonl"
EQUIVALENT = Path(__file__).with_name("equivalent_mutants.json")
ENOUGH = 0.95

COMPARISONS: dict[type[ast.cmpop], list[type[ast.cmpop]]] = {
    ast.Lt: [ast.LtE, ast.GtE],
    ast.LtE: [ast.Lt, ast.Gt],
    ast.Gt: [ast.GtE, ast.LtE],
    ast.GtE: [ast.Gt, ast.Lt],
    ast.Eq: [ast.NotEq],
    ast.NotEq: [ast.Eq],
    ast.In: [ast.NotIn],
    ast.NotIn: [ast.In],
    ast.Is: [ast.IsNot],
    ast.IsNot: [ast.Is],
}
OPERATORS: dict[type[ast.operator], list[type[ast.operator]]] = {
    ast.Add: [ast.Sub],
    ast.Sub: [ast.Add],
    ast.Mult: [ast.Add],
    ast.Div: [ast.FloorDiv],
    ast.FloorDiv: [ast.Mod],
    ast.Mod: [ast.FloorDiv],
    ast.Pow: [ast.Mult],
    ast.BitAnd: [ast.BitOr],
    ast.BitOr: [ast.BitAnd],
    ast.BitXor: [ast.BitOr],
}
ORDERED = (ast.Sub, ast.Div, ast.FloorDiv, ast.Mod, ast.Pow)
TWINS = {
    "upper": "lower", "lower": "upper", "min": "max", "max": "min", "any": "all", "all": "any",
    "startswith": "endswith", "endswith": "startswith", "find": "rfind", "lstrip": "rstrip",
    "rstrip": "lstrip", "isalpha": "isalnum", "isalnum": "isalpha", "isdigit": "isalnum",
    "isupper": "islower", "islower": "isupper", "capitalize": "title", "title": "capitalize",
    "append": "remove", "values": "keys", "union": "intersection", "intersection": "union",
}  # fmt: skip
TRANSPARENT = {"sorted", "set", "abs", "reversed", "list", "strip", "lower", "upper", "rstrip", "lstrip"}


def variants(node: ast.AST, parent: ast.AST) -> Iterator[ast.AST | None]:
    """Yield what may stand in the place of `node`; None means that the statement is dropped."""
    if isinstance(node, ast.Compare):
        for place, operator in enumerate(node.ops):
            for other in COMPARISONS[type(operator)]:
                mutant = copy.deepcopy(node)
                mutant.ops[place] = other()
                yield mutant
    if isinstance(node, ast.BinOp | ast.AugAssign):
        for operator in OPERATORS.get(type(node.op), []):
            mutant = copy.deepcopy(node)
            mutant.op = operator()
            yield mutant
    # abs(b - a) is abs(a - b)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ORDERED) and _name(parent) != "abs":
        yield ast.BinOp(node.right, node.op, node.left)
    if isinstance(node, ast.BoolOp):
        yield ast.BoolOp(ast.Or() if isinstance(node.op, ast.And) else ast.And(), node.values)
        for place in range(len(node.values)):
            rest = node.values[:place] + node.values[place + 1 :]
            yield rest[0] if len(rest) == 1 else ast.BoolOp(node.op, rest)
    if isinstance(node, ast.UnaryOp):
        yield node.operand
    if isinstance(node, ast.IfExp):
        yield node.body
        yield node.orelse
    if isinstance(node, ast.If):
        for value in (True, False):
            mutant = copy.deepcopy(node)
            mutant.test = ast.Constant(value)
            yield mutant
    if isinstance(node, ast.comprehension):
        for place in range(len(node.ifs)):
            mutant = copy.deepcopy(node)
            del mutant.ifs[place]
            yield mutant
    if isinstance(node, ast.Constant):
        if isinstance(node.value, bool):
            yield ast.Constant(not node.value)
        elif isinstance(node.value, int | float):
            yield ast.Constant(node.value + 1)
            yield ast.Constant(node.value - 1)
        elif isinstance(node.value, str):
            yield ast.Constant(node.value + "x")
            if node.value:
                yield ast.Constant("")
        elif node.value is None:
            yield ast.Constant(0)
    if isinstance(node, ast.Call):
        name = _name(node)
        if name in TWINS:
            mutant = copy.deepcopy(node)
            if isinstance(mutant.func, ast.Name):
                mutant.func.id = TWINS[name]
            elif isinstance(mutant.func, ast.Attribute):
                mutant.func.attr = TWINS[name]
            yield mutant
        if name in TRANSPARENT:
            if isinstance(node.func, ast.Attribute) and not node.args:
                yield node.func.value
            elif isinstance(node.func, ast.Name) and len(node.args) == 1:
                yield node.args[0]
        if (
            len(node.args) == 2
            and name not in ("min", "max")
            and not any(isinstance(argument, ast.Starred) for argument in node.args)
        ):
            yield ast.Call(node.func, node.args[::-1], node.keywords)
        for place in range(len(node.keywords)):
            yield ast.Call(node.func, node.args, node.keywords[:place] + node.keywords[place + 1 :])
    if isinstance(node, ast.Slice):
        if node.lower is not None:
            yield ast.Slice(None, node.upper, node.step)
        if node.upper is not None:
            yield ast.Slice(node.lower, None, node.step)
        if node.step is not None:
            yield ast.Slice(node.lower, node.upper, None)
    if isinstance(node, ast.Break | ast.Continue | ast.AugAssign) or (
        isinstance(node, ast.Expr) and not isinstance(node.value, ast.Constant)
    ):
        yield None
    if isinstance(node, ast.Break):
        yield ast.Continue()


def _name(node: ast.AST) -> str:
    """What is called, `""` where nothing is."""
    if not isinstance(node, ast.Call):
        return ""
    return node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")


def positions(tree: ast.AST) -> Iterator[tuple[ast.AST, str, int | None]]:
    """Yield (parent, field, index in the field) of every mutable node outside signatures."""
    for parent in ast.walk(tree):
        for field, value in ast.iter_fields(parent):
            if field in ("annotation", "returns", "args", "decorator_list") and not isinstance(
                parent, ast.Call
            ):
                continue
            if isinstance(value, ast.AST):
                yield parent, field, None
            elif isinstance(value, list):
                for index, item in enumerate(value):
                    if isinstance(item, ast.AST):
                        yield parent, field, index


def mutants(source: str) -> list[str]:
    """All different programs that one mutation makes of `source`."""
    tree = ast.parse(source)
    seen = {ast.unparse(tree)}
    programs = []

    def keep() -> None:
        text = ast.unparse(ast.fix_missing_locations(tree))
        if text not in seen:
            seen.add(text)
            programs.append(text + "\n")

    annotated = {id(node) for owner in ast.walk(tree) for node in _annotations(owner)}
    for parent, field, index in list(positions(tree)):
        whole = getattr(parent, field)
        node = whole if index is None else whole[index]
        if id(node) in annotated:
            continue
        for other in variants(node, parent):
            new = other if other is not None else ast.Pass()
            if index is None:
                setattr(parent, field, new)
            else:
                whole[index] = new
            keep()
        if index is None:
            setattr(parent, field, node)
        else:
            whole[index] = node
    # The whole body replaced: the input, or a value that lazy programs return.
    function = next(
        node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name != "__init__"
    )
    body = function.body
    names = [argument.arg for argument in function.args.args]
    for value in [*names, "None", "True", "False", "0", "''", "[]"]:
        function.body = [ast.parse(f"return {value}").body[0]]
        keep()
    function.body = body
    return programs


def _annotations(node: ast.AST) -> Iterator[ast.AST]:
    for field in ("annotation", "returns"):
        value = getattr(node, field, None)
        if isinstance(value, ast.AST):
            yield from ast.walk(value)


def main() -> int:
    """Print the share of mutants that die and the survivors."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("ids", nargs="*", help="task ids (default: all)")
    parser.add_argument("--tasks", type=Path, default=TASKS)
    options = parser.parse_args()
    tasks = [
        task for task in read_jsonl(options.tasks, Task) if not options.ids or task.task_id in options.ids
    ]
    equivalent: dict[str, dict[str, str]] = json.loads(EQUIVALENT.read_text()) if EQUIVALENT.exists() else {}

    programs = []
    excused = 0
    for task in tasks:
        for code in mutants(task.reference or ""):
            if code in equivalent.get(task.task_id, {}):
                excused += 1
            else:
                programs.append(Program(task_id=task.task_id, code=code))
    verdicts = list(verify({task.task_id: task for task in tasks}, programs))
    survivors = [p for p, v in zip(programs, verdicts, strict=True) if v.passed]
    for program in survivors:
        print(f"{program.task_id} survives:\n{program.code}")
    killed = len(programs) - len(survivors)
    share = killed / len(programs)
    print(
        f"{len(tasks)} tasks, {len(programs)} mutants, {killed} killed ({share:.1%}); "
        f"{excused} equivalent ones left out"
    )
    return 0 if share >= ENOUGH else 1


if __name__ == "__main__":
    sys.exit(main())
