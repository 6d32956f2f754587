"""From a model's raw text to a program: one function, `extract`, that never raises.

The prompt ended inside a function (its signature is written), so a completion is one of:

- the function's body, maybe with its first line's indentation off, maybe followed by more code, prose, a
  closing fence, or a last statement that was cut off;
- the whole function (or program) once more, maybe inside a fence, maybe with prose around it;
- no code at all.

Each reading is tried in turn; the first that parses and gives the function a body wins. Where none does, the
likeliest one is returned as it is, so that the verdict tells of the syntax error that the model made. Only
what cannot change what the function does is dropped from code that the model wrote.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from ilf.extraction.keep import finish, target_of
from ilf.extraction.opening import Opening, indent_of
from ilf.syntax import (
    Definition,
    bound_names,
    definition,
    find_hole,
    first_line,
    normalise,
    segment,
    try_parse,
)

# What models write at the end of their turn, where an engine leaves it in.
_END = re.compile(r"<\|(?:endoftext|im_end|im_start|eot_id|end_of_text|end)\|>")
# Up to three spaces, as in CommonMark: deeper ones belong to docstrings.
_FENCE = re.compile(r"^ {0,3}(?:```+|~~~+)[^\n`]*$", re.MULTILINE)
_CODE_START = re.compile(r"(?:from|import|def|class|async|@|[A-Za-z_]\w*\s*=)")
_STATEMENT = re.compile(
    r"\s*(?:(?:return|if|for|while|try|with|def|import|from|raise|yield|pass)\b"
    r"|[A-Za-z_][\w.\[\], ]*(?:[-+*/%|&^]|//|\*\*)?=[^=]|[A-Za-z_][\w.]*\()"
)
_MAX_STARTS = 20


def extract(text: str, prefix: str, entry_point: str, *, definitions_after: bool = True) -> str:
    r"""The program that a completion stands for; never raises.

    Args:
        text: the raw completion of a prompt that ended with `prefix`.
        prefix: the code the prompt ended with: imports, helpers and the signature line, and its line break;
            or, where the signature is not known, its beginning (`def f(`).
        entry_point: the name of the function or class that the program must define.
        definitions_after: keep functions and classes that stand below the one that was to be written.

    Returns:
        The whole program, ending in one line break; `""` where the text holds no code. It is idempotent:
        `extract(extract(text, …), …) == extract(text, …)`.
    """
    text = normalise(text)
    end = _END.search(text)
    if end:
        text = text[: end.start()]
    opening = Opening(prefix, entry_point, definitions_after, find_hole(prefix))
    program = _extract(text, opening)
    for _ in range(10):
        # What came out of broken code may read as better code: go on until it stays as it is.
        again = _extract(program, opening)
        if again == program:
            break
        program = again
    return program


def _extract(text: str, opening: Opening) -> str:
    prefix = opening.prefix
    while prefix.strip() and text.lstrip("\n").startswith(prefix):
        text = text.lstrip("\n")[len(prefix) :]
    pieces = _FENCE.split(text)
    for program in _readings(pieces, opening):
        if program is not None:
            return program.rstrip() + "\n"
    return _as_written(pieces, opening)


def _readings(pieces: list[str], opening: Opening) -> Iterator[str | None]:
    """Each way to read the text, as a program, or None where that reading does not hold."""
    first, rest = pieces[0], pieces[1:]
    for body in _bodies(first, opening):
        yield finish(opening.prefix + body, opening, opening.lines)
    yield _rewritten(first, opening)
    for piece in rest:
        yield _rewritten(piece, opening)
    for piece in rest:
        for body in _bodies(piece.lstrip("\n"), opening):
            yield finish(opening.prefix + body, opening, opening.lines)


# ---------------------------------------------------------------- the text continues the function


def _flat(line: str, opening: Opening) -> bool:
    """Whether a line is not indented as the body must be."""
    return len(indent_of(line)) <= len(opening.indent)


def _bodies(text: str, opening: Opening) -> Iterator[str]:
    """`text` as the function's body: as it stands, then with its indentation repaired."""
    if not text.strip():
        return
    if not opening.prefix.endswith("\n"):
        yield text
        return
    lines = text.split("\n")
    first = next(i for i, line in enumerate(lines) if line.strip())
    flat = _flat(lines[first], opening)
    if flat and any(_names(line, opening.top) for line in lines):
        return  # the function once more: see `_rewritten`
    if flat and _names(lines[first], opening.inner):
        yield _method(lines[first:], opening)
        return
    yield text
    if "\t" in text:  # tabs and spaces mixed
        for width in (4, 8):
            yield "\n".join(indent_of(line).expandtabs(width) + line.lstrip(" \t") for line in lines)
    following = [line for line in lines[first + 1 :] if line.strip()]
    code = not flat or bool(_STATEMENT.match(lines[first]))
    if flat and code and (not following or _flat(following[0], opening)):
        # The whole body lost its indentation.
        shift = opening.indent[len(indent_of(lines[first])) :] + "    "
        indented = "\n".join(shift + line if line.strip() else line for line in lines)
        if _returns(opening.prefix + indented, opening):
            yield indented
    deep = [line for line in following if not _flat(line, opening)]
    if code:
        # The first line lost its indentation, or has a space too few or too many.
        wanted = [indent_of(deep[0]), min(map(indent_of, deep), key=len)] if deep else []
        for indent in dict.fromkeys([*wanted, opening.indent + "    ", opening.indent + "\t"]):
            if indent != indent_of(lines[first]):
                yield "\n".join([*lines[:first], indent + lines[first].lstrip(" \t"), *lines[first + 1 :]])
    elif deep:  # prose first
        yield "\n".join(lines[lines.index(deep[0]) :])


def _method(lines: list[str], opening: Opening) -> str:
    """The body of a method whose signature was repeated at some other depth."""
    own = len(indent_of(lines[0]))
    body = []
    for line in lines[1:]:
        if line.strip() and len(indent_of(line)) <= own:
            break
        body.append(opening.indent + line[own:] if line.strip() else line)
    return "\n".join(body)


def _names(line: str, *names: str) -> bool:
    """Whether `line` starts the definition of one of `names`."""
    options = "|".join(map(re.escape, names))
    return bool(re.match(rf"(?:async\s+def|def|class)\s+(?:{options})\b", line.lstrip(" \t")))


def _returns(code: str, opening: Opening) -> bool:
    tree = try_parse(code)
    found = target_of(tree, opening, opening.lines) if tree else None
    return found is not None and any(
        isinstance(child, ast.Return | ast.Yield | ast.Raise) for child in _own(found[1].body)
    )


def _own(body: list[ast.stmt]) -> Iterator[ast.AST]:
    """Nodes of a function's body, but not those of functions and classes inside it."""
    stack: list[ast.AST] = list(body)
    while stack:
        node = stack.pop()
        if not isinstance(node, Definition):
            yield node
            stack.extend(ast.iter_child_nodes(node))


# ---------------------------------------------------------------- the text is a program of its own


def _rewritten(text: str, opening: Opening) -> str | None:
    """`text` read as the whole function or program, or None where it is not one."""
    lines = text.split("\n")
    at = next((i for i, line in enumerate(lines) if _names(line, opening.top)), None)
    if at is None:
        return None
    depth = len(indent_of(lines[at]))
    if depth:
        lines = [line[depth:] if not line[:depth].strip() else line for line in lines]
    starts = [i for i in range(at) if _CODE_START.match(lines[i])][:_MAX_STARTS]
    for start in [*starts, at]:
        program = finish("\n".join(lines[start:]), opening, 0)
        if program is not None:
            return _with_prefix(program, opening)
    return None


def _with_prefix(program: str, opening: Opening) -> str | None:
    """`program` with those imports, helpers and constants of the prefix in front that it lacks."""
    tree = try_parse(program)
    if tree is None:
        return None
    if opening.hole:
        have = {name for node in tree.body for name in bound_names(node)}
        lines = opening.prefix.split("\n")
        lacking = [
            segment(lines, node)
            for node in opening.hole.tree.body
            if opening.top not in bound_names(node) and bound_names(node) - have
        ]
        program = "".join(lacking) + program
        tree = try_parse(program)
    return program if tree and definition(tree, opening.entry_point) else None


# ---------------------------------------------------------------- nothing parses


def _as_written(pieces: list[str], opening: Opening) -> str:
    """The likeliest reading of a text that is not a whole program, `""` where it is no code."""
    finished = opening.prefix.endswith("\n")
    for position, piece in enumerate(pieces):
        lines = piece.strip("\n").split("\n")
        first = next((line for line in lines if line.strip()), "")
        flat = finished and _flat(first, opening)
        at = next((i for i, line in enumerate(lines) if _names(line, opening.top)), None)
        if flat and at is not None and not indent_of(lines[at]):
            own = opening.hole.top if opening.hole else None
            head = opening.prefix.split("\n")[: first_line(own) - 1] if own else []
            again = _code(_until_dedent(lines[at:], "", skip=1))
            if "\n" in again or not again.endswith(":"):
                return "\n".join([*head, again]) + "\n"
            continue
        if position and position % 2 == 0:
            continue  # between two fences: prose
        if flat and not _STATEMENT.match(first):
            continue
        if flat:
            lines = [opening.indent + "    " + line if line.strip() else line for line in lines]
        body = _code(_until_dedent(lines, opening.indent, skip=0 if finished else 1))
        if body:
            return (opening.prefix + body).rstrip() + "\n"
    return ""


def _code(lines: list[str]) -> str:
    """Lines as a text without blank lines and comments at the end; `""` where nothing else is in them."""
    while lines and (not lines[-1].strip() or lines[-1].lstrip().startswith("#")):
        lines = lines[:-1]
    return "\n".join(lines).rstrip()


def _until_dedent(lines: list[str], indent: str, skip: int) -> list[str]:
    """`lines` up to the first that is no deeper than `indent`, not counting the first `skip`."""
    for index, line in enumerate(lines):
        out = line.strip() and len(indent_of(line)) <= len(indent)
        if index >= skip and out and not line.lstrip().startswith(("#", ")", "]", "}")):
            return lines[:index]
    return lines
