"""Reading Python source: line ends, parsing that fails in one way only, where a function's body begins."""

from __future__ import annotations

import ast
import io
import re
import tokenize
import warnings
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def normalise(text: str) -> str:
    r"""`text` with every line end written `\n` (published files mix `\r\n`, `\r` and `\n`)."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def parse(code: str) -> ast.Module:
    """The syntax tree of `code`.

    Raises:
        SyntaxError: for everything that cannot be parsed, also what Python reports otherwise
            (null bytes, lone surrogates, nesting too deep for the parser).
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # invalid escapes in sampled code are not our user's concern
        try:
            return ast.parse(code)
        except (ValueError, RecursionError, MemoryError, OverflowError) as error:
            raise SyntaxError(str(error) or type(error).__name__) from None


def try_parse(code: str) -> ast.Module | None:
    """The syntax tree of `code`, or None where it does not parse."""
    try:
        return parse(code)
    except SyntaxError:
        return None


def problem(error: SyntaxError) -> str:
    """One line for a person: what is wrong and where."""
    where = f" (line {error.lineno})" if error.lineno else ""
    return f"{error.msg}{where}"


def definition(tree: ast.Module, name: str) -> Definition | None:
    """The last top-level function or class called `name`."""
    found = None
    for node in tree.body:
        if isinstance(node, Definition) and node.name == name:
            found = node
    return found


def bound_names(node: ast.stmt) -> set[str]:
    """Names that a top-level statement binds (imports, definitions, assignments)."""
    if isinstance(node, Definition):
        return {node.name}
    if isinstance(node, ast.Import):
        return {(alias.asname or alias.name).split(".")[0] for alias in node.names}
    if isinstance(node, ast.ImportFrom):
        return {alias.asname or alias.name for alias in node.names}
    return {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}


def used_names(*nodes: ast.AST) -> set[str]:
    """Names that appear in `nodes`, whatever they are bound to."""
    return {n.id for node in nodes for n in ast.walk(node) if isinstance(n, ast.Name)}


def first_line(node: ast.stmt) -> int:
    """Line (from 1) on which a statement starts, its decorators included."""
    if isinstance(node, Definition) and node.decorator_list:
        return min(decorator.lineno for decorator in node.decorator_list)
    return node.lineno


def needed_statements(tree: ast.Module, names: Collection[str], apart: ast.stmt) -> set[int]:
    """Places of the top-level statements that bind `names`, or what such statements use, without `apart`."""
    wanted, kept = set(names), set[int]()
    grew = True
    while grew:
        grew = False
        for place, node in enumerate(tree.body):
            if node is not apart and place not in kept and bound_names(node) & wanted:
                kept.add(place)
                wanted |= used_names(node)
                grew = True
    return kept


def segment(lines: list[str], node: ast.stmt) -> str:
    """The source lines of a top-level statement, its decorators included."""
    return "\n".join(lines[first_line(node) - 1 : node.end_lineno]) + "\n"


def _tokens(text: str) -> Iterator[tokenize.TokenInfo]:
    try:
        yield from tokenize.generate_tokens(io.StringIO(text).readline)
    except (tokenize.TokenError, SyntaxError):
        return


def signature_end(code: str, node: Definition) -> tuple[int, int]:
    """Line (from 1) and column just behind the colon that ends the signature of `node` in `code`."""
    lines = code.split("\n")[node.lineno - 1 :]
    # The tokenizer sees the definition alone, unindented, so an odd earlier line cannot disturb it.
    depth = 0
    for token in _tokens("\n".join(lines)[node.col_offset :]):
        if token.type != tokenize.OP:
            continue
        if token.string in "([{":
            depth += 1
        elif token.string in ")]}":
            depth -= 1
        elif token.string == ":" and depth == 0:
            return node.lineno + token.end[0] - 1, token.end[1]
    return node.lineno, len(lines[0])


def split_at_signature(code: str, name: str) -> tuple[str, str] | None:
    """`code` as (everything up to and including the signature line of `name`, the rest), or None.

    The signature line loses its trailing white space and ends in one line break, as in the paper's prompts.
    A body on the signature's own line goes to the rest.
    """
    code = normalise(code)
    tree = try_parse(code)
    node = definition(tree, name) if tree else None
    if node is None:
        return None
    line, column = signature_end(code, node)
    lines = code.split("\n")
    last, rest = lines[line - 1], lines[line:]
    if last[column:].strip() and not last[column:].lstrip().startswith("#"):
        rest = ["    " + last[column:].strip(), *rest]
        last = last[:column]
    return "\n".join([*lines[: line - 1], last.rstrip()]) + "\n", "\n".join(rest)


def _signature_names(node: Definition) -> set[str]:
    body = set(map(id, node.body))
    return used_names(*(child for child in ast.iter_child_nodes(node) if id(child) not in body))


@dataclass(frozen=True)
class Hole:
    """Where a prefix stops: the definition whose body is still to be written."""

    code: str
    """The prefix with `pass` for the body; it parses."""
    tree: ast.Module
    node: Definition
    """The definition itself; a method, where the prefix stops inside a class."""
    top: Definition
    """The top-level definition that it is or stands in."""
    indent: str
    """Indentation of the definition's own line."""


_DEFINITION = re.compile(r"([ \t]*)(?:async[ \t]+def|def|class)\b")


@lru_cache(maxsize=4096)
def find_hole(prefix: str) -> Hole | None:
    """Where `prefix` (up to a signature, or a docstring below it) stops, or None if that is not Python."""
    text = normalise(prefix).rstrip() + "\n"
    lines = text.split("\n")
    last = max((i for i, line in enumerate(lines, start=1) if line.strip()), default=0)
    for number in range(last, 0, -1):
        match = _DEFINITION.match(lines[number - 1])
        for body in (match[1] + "    pass\n", match[1] + "\tpass\n", "") if match else ():
            tree = try_parse(text + body)
            # A docstring's line may look like a definition; and what stands below one may be no body of it.
            found = defined_at(tree, number) if tree else None
            if match and tree and found and (found[1].end_lineno or 0) >= last:
                return Hole(text + body, tree, found[1], found[0], match[1])
    return None


def defined_at(tree: ast.Module, line: int) -> tuple[Definition, Definition] | None:
    """The definition on a line, behind the top-level one that it is or stands in."""
    for top in tree.body:
        if isinstance(top, Definition) and top.lineno <= line <= (top.end_lineno or 0):
            for node in ast.walk(top):
                if isinstance(node, Definition) and node.lineno == line:
                    return top, node
    return None


def signature_only(prefix: str, entry_point: str, needed: Iterable[str] = ()) -> str:
    """`prefix` cut down to its imports, the signature, and what defines the names `needed` outside.

    Helper functions and constants go, but for those that `needed` or the signature itself (its decorators,
    defaults and annotations) refer to, directly or through one another.
    """
    hole = find_hole(prefix)
    if hole is None or hole.node.name != entry_point or hole.node is not hole.top:
        return prefix
    tree, node = hole.tree, hole.node
    kept = needed_statements(tree, set(needed) | _signature_names(node), node)
    lines = prefix.rstrip("\n").split("\n")
    parts = []
    for index, statement in enumerate(tree.body):
        if statement is node:
            break
        if index in kept or isinstance(statement, ast.Import | ast.ImportFrom):
            parts.append(segment(lines, statement))
    return "".join(parts) + "\n".join(lines[first_line(node) - 1 :]) + "\n"
