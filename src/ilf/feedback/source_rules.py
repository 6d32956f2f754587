"""Mistakes that the source alone tells: rules of `ilf.feedback.mistakes`."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from ilf.feedback.case import MISSING, Case, value_of
from ilf.syntax import bound_names, try_parse


def no_code(case: Case) -> str | None:
    """Nothing was written."""
    return None if case.code.strip() else f"There is no program: write {case.task.entry_point}."


def syntax(case: Case) -> str | None:
    """It does not parse."""
    if case.tree is not None:
        return None
    try:
        compile(case.code, "program", "exec")
    except SyntaxError as error:
        lines = case.code.split("\n")
        number = error.lineno or 0
        at = f" at line {number}, `{lines[number - 1].strip()}`" if 0 < number <= len(lines) else ""
        return f"It is not valid Python: {error.msg}{at}."
    except (ValueError, RecursionError, MemoryError):
        pass
    return "It is not valid Python."


def no_function(case: Case) -> str | None:
    """The entry point is not defined."""
    name = case.task.entry_point
    if case.tree is None or case.function is not None or not case.code.strip():
        return None
    if any(name in bound_names(node) for node in case.tree.body):
        return None
    defined = [node.name for node in case.tree.body if isinstance(node, ast.FunctionDef)]
    instead = f"; it defines {', '.join(defined)}" if defined else ""
    return f"The program does not define {name}{instead}."


def _own(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes of a function's own body, not those of functions inside it."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef):
            yield child
            yield from _own(child)


def _ends(body: list[ast.stmt]) -> bool:
    """Whether control never falls off the end of `body`."""
    for node in body:
        if isinstance(node, ast.Return | ast.Raise):
            return True
        if isinstance(node, ast.If) and _ends(node.body) and _ends(node.orelse):
            return True
        if isinstance(node, ast.With | ast.AsyncWith) and _ends(node.body):
            return True
        if isinstance(node, ast.Match) and any(
            isinstance(c.pattern, ast.MatchAs) and c.pattern.pattern is None and c.guard is None
            for c in node.cases
        ):
            return all(_ends(c.body) for c in node.cases)
        if isinstance(node, ast.Try):
            parts = [[*node.body, *node.orelse], *(handler.body for handler in node.handlers)]
            if _ends(node.finalbody) or all(_ends(part) for part in parts):
                return True
        if isinstance(node, ast.While) and _always(node) and not _leaves(node):
            return True
    return False


def _always(loop: ast.While) -> bool:
    return isinstance(loop.test, ast.Constant) and bool(loop.test.value)


def _leaves(loop: ast.While) -> bool:
    """Whether a `break` of this loop's own stands in it."""

    def breaks(body: list[ast.stmt]) -> bool:
        for node in body:
            if isinstance(node, ast.Break):
                return True
            if isinstance(node, ast.For | ast.While | ast.AsyncFor):
                if breaks(node.orelse):
                    return True
                continue
            parts = [getattr(node, name, []) for name in ("body", "orelse", "finalbody")]
            parts += [part.body for part in [*getattr(node, "handlers", []), *getattr(node, "cases", [])]]
            if any(breaks(part) for part in parts):
                return True
        return False

    return breaks(loop.body)


_IN_PLACE = {"sort", "reverse", "append", "extend", "insert", "remove", "clear", "update", "add", "discard"}


def in_place(case: Case) -> str | None:
    """The None of a method that works in place is used."""
    for node in _own(case.function) if case.function else ():
        value = node.value if isinstance(node, ast.Return | ast.Assign) else None
        method = value.func if isinstance(value, ast.Call) and isinstance(value.func, ast.Attribute) else None
        if method is not None and method.attr in _IN_PLACE and isinstance(method.value, ast.Name):
            if method.attr in ("add", "update", "remove", "insert", "discard") and case.actual is not None:
                continue  # names of many classes; without a None they are no sign
            return (
                f"`{ast.unparse(node)}` uses the value of .{method.attr}(), which changes "
                f"{method.value.id} in place and gives None."
            )
    return None


def no_return(case: Case) -> str | None:
    """A path, or every path, gives nothing."""
    function = case.function
    if not isinstance(function, ast.FunctionDef) or case.expected is None:
        return None
    own = list(_own(function))
    if any(isinstance(node, ast.Yield | ast.YieldFrom) for node in own) or _ends(function.body):
        return None
    gives = [node for node in own if isinstance(node, ast.Return) and _gives(node)]
    prints = any(isinstance(n, ast.Name) and n.id == "print" for n in own)
    if not gives and prints:
        return f"{function.name} prints its answer and returns nothing: return it."
    if not gives:
        return f"{function.name} has no return statement with a value."
    if case.status == "error" or case.actual not in (None, MISSING):
        return None  # this path is not the one that failed
    return f"{function.name} can reach its end without a return statement, and gives None there."


def _gives(node: ast.Return) -> bool:
    return node.value is not None and not (isinstance(node.value, ast.Constant) and node.value.value is None)


def first_round(case: Case) -> str | None:
    """A loop that returns whatever its first element is."""
    for node in _own(case.function) if case.function else ():
        if isinstance(node, ast.For | ast.While) and _ends(node.body):
            if any(isinstance(part, ast.Continue) for part in ast.walk(node)):
                continue
            return (
                f"The loop `{ast.unparse(node).splitlines()[0]}` returns in its first round, whatever comes "
                "after: the return may belong behind the loop."
            )
    return None


def unused(case: Case) -> str | None:
    """An argument that the function never looks at."""
    function = case.function
    if not isinstance(function, ast.FunctionDef):
        return None
    asked = function.args
    names = [
        a.arg for a in [*asked.posonlyargs, *asked.args, *asked.kwonlyargs] if a.arg not in ("self", "_")
    ]
    used = {node.id for part in function.body for node in ast.walk(part) if isinstance(node, ast.Name)}
    unused = [name for name in names if name not in used]
    if not unused or _is_stub(function):
        return None
    return f"The argument {unused[0]} is never used." if len(unused) == 1 else (
        f"The arguments {', '.join(unused)} are never used."
    )  # fmt: skip


def _is_stub(function: ast.FunctionDef) -> bool:
    return all(isinstance(node, ast.Pass | ast.Expr) for node in function.body)


def hard_coded(case: Case) -> str | None:
    """The answer of the shown test is written into the program."""
    tree = try_parse(case.task.shown)
    compared = [node for node in ast.walk(tree) if isinstance(node, ast.Compare)] if tree else []
    answers = [value_of(ast.unparse(node.comparators[-1])) for node in compared]
    answers = [answer for answer in answers if answer is not MISSING and not _is_plain(answer)]
    for node in _own(case.function) if case.function else ():
        if isinstance(node, ast.Return) and node.value is not None:
            given = value_of(ast.unparse(node.value))
            if any(type(given) is type(answer) and given == answer for answer in answers):
                return f"`{ast.unparse(node)}` is the answer of the shown test, not one that is worked out."
    return None


def _is_plain(value: object) -> bool:
    """A value that a right program may well return as it stands."""
    return value is None or isinstance(value, bool) or not value or value in (1, -1)


def endless(case: Case) -> str | None:
    """A `while` loop with no way out, whose condition nothing in it changes."""
    if case.open and case.status != "timeout":
        return None
    for node in _own(case.function) if case.function else ():
        if not isinstance(node, ast.While):
            continue
        inside = [part for statement in node.body for part in ast.walk(statement)]
        if _leaves(node) or any(isinstance(part, ast.Return | ast.Raise | ast.Yield) for part in inside):
            continue
        asked = list(ast.walk(node.test))
        calls = {
            part.func.id for part in asked if isinstance(part, ast.Call) and isinstance(part.func, ast.Name)
        }
        methods = any(isinstance(p, ast.Call) and not isinstance(p.func, ast.Name) for p in asked)
        if methods or not calls <= _PURE or (isinstance(node.test, ast.Constant) and not node.test.value):
            continue
        held = {part.id for part in asked if isinstance(part, ast.Name)} - calls
        changed = {p.id for p in inside if isinstance(p, ast.Name) and isinstance(p.ctx, ast.Store | ast.Del)}
        if not held & (changed | set(_touched(inside))):
            return (
                f"The loop `while {ast.unparse(node.test)}` never ends: nothing in it changes its condition."
            )
    return None


_PURE = {"len", "abs", "sum", "min", "max", "int", "any", "all", "str", "isinstance", "range", "print"}
"""Functions that change none of their arguments and give the same for the same ones."""


def _touched(nodes: list[ast.AST]) -> Iterator[str]:
    """Names on which a method is called, of which an item or attribute is used, or that are handed over."""
    for part in nodes:
        if isinstance(part, ast.Attribute | ast.Subscript) and isinstance(part.value, ast.Name):
            yield part.value.id
        if isinstance(part, ast.Call) and not (isinstance(part.func, ast.Name) and part.func.id in _PURE):
            yield from (argument.id for argument in part.args if isinstance(argument, ast.Name))
