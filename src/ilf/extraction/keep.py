"""What of a text that parses is the program, and what is dropped from below it."""

from __future__ import annotations

import ast
import re

from ilf.extraction.opening import Opening, indent_of
from ilf.syntax import (
    Definition,
    bound_names,
    defined_at,
    definition,
    first_line,
    parse,
    segment,
)


def _salvage(code: str) -> tuple[ast.Module, int] | None:
    """The longest beginning of `code` that parses: its tree and its number of lines."""
    lines = code.split("\n")
    kept, tries = len(lines), 0
    while kept > 0:
        try:
            return parse("\n".join(lines[:kept])), kept
        except SyntaxError as error:
            tries += 1
            # Past a few dozen tries the text is not code; take ever longer steps.
            step = 1 if tries < 30 else 2 ** min(tries - 29, 20)
            kept = min((error.lineno or kept) - 1, kept - step)
    return None


def target_of(tree: ast.Module, opening: Opening, written: int) -> tuple[Definition, Definition] | None:
    """The top-level definition that was to be completed, and the one in it whose body was to be written."""
    if written and opening.hole:
        return defined_at(tree, opening.hole.node.lineno)
    found = definition(tree, opening.top)
    if found is None or opening.inner == opening.top:
        return (found, found) if found else None
    inner = [n for n in ast.walk(found) if isinstance(n, Definition) and n.name == opening.inner]
    return (found, inner[-1]) if inner else None


def finish(code: str, opening: Opening, written: int) -> str | None:
    """`code` without what follows the function and is not part of the program; None where it is no program.

    `written` is the number of its lines that the prompt had already.
    """
    found = _salvage(code)
    if found is None:
        return None
    tree, kept = found
    target = target_of(tree, opening, written)
    if target is None or not _has_body(target[1], written):
        return None
    lines = code.split("\n")
    if kept < len(lines) and not _harmless(target[1], lines, kept):
        return None
    return _trimmed(tree, target[0], lines[:kept], opening)


def _has_body(node: Definition, written: int) -> bool:
    body = [s for s in node.body if first_line(s) > written]
    if body and _is_text(body[0]):
        body = body[1:]
    # A body that is nothing but the same function again is that function, indented too far.
    inner = [s for s in body if not isinstance(s, ast.Import | ast.ImportFrom)]
    again = len(inner) == 1 and isinstance(inner[0], Definition) and inner[0].name == node.name
    return bool(body) and not again


def _is_text(statement: ast.stmt) -> bool:
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )


def _harmless(node: Definition, lines: list[str], kept: int) -> bool:
    """Whether dropping the lines from `kept` on leaves what the function does as it was written."""
    dropped = next((line for line in lines[kept:] if line.strip()), "")
    outside = len(indent_of(dropped)) <= node.col_offset
    if outside:
        return not re.match(r"\s*(?:else|elif|except|finally)\b", dropped)
    end = node.end_lineno or 0
    elsewhere = any(line.strip() and len(indent_of(line)) <= node.col_offset for line in lines[end:kept])
    return elsewhere or isinstance(node.body[-1], ast.Return | ast.Raise)


def _trimmed(tree: ast.Module, top: Definition, lines: list[str], opening: Opening) -> str:
    after = tree.body[tree.body.index(top) + 1 :]
    there = {name for s in tree.body[: tree.body.index(top) + 1] for name in bound_names(s)}
    keep = [s for s in after if _belongs(s, opening, there)]
    text = lines[: tree.body[-1].end_lineno]  # without comments at the end
    if len(keep) < len(after):
        end = top.end_lineno or 0
        text = lines[:end]
        for statement in keep:
            if first_line(statement) > end:
                text += ["", "", *segment(lines, statement).rstrip("\n").split("\n")]
                end = statement.end_lineno or end
    if (
        tree.body[0] is not top
        and _is_text(tree.body[0])
        and not opening.prefix.lstrip().startswith(('"', "'"))
    ):
        text = text[tree.body[0].end_lineno or 0 :]  # the prompt's docstring, written once more
    return "\n".join(text).lstrip("\n")


def _belongs(statement: ast.stmt, opening: Opening, there: set[str]) -> bool:
    """Whether a statement below the function is a part of the program, not a trial of it or a second one."""
    if isinstance(statement, Definition):
        if statement.name in (opening.entry_point, opening.top):
            return statement.name not in there
        return opening.definitions_after
    if isinstance(statement, ast.Import | ast.ImportFrom):
        return True
    if not isinstance(statement, ast.Assign | ast.AnnAssign | ast.AugAssign):
        return False
    called = {
        n.func.id for n in ast.walk(statement) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)
    }
    return not called & {opening.entry_point, "input", "print"}
