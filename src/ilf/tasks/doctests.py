"""Doctests as tests: a test that starts with `>>>` becomes the statements that check what it shows."""

from __future__ import annotations

import ast
import doctest
import textwrap

from ilf.syntax import try_parse
from ilf.tasks.rows import BadRow

_FLAGS = {
    doctest.ELLIPSIS: "ELLIPSIS",
    doctest.NORMALIZE_WHITESPACE: "NORMALIZE_WHITESPACE",
    doctest.IGNORE_EXCEPTION_DETAIL: "",
}


def is_doctest(test: str) -> bool:
    """Whether a test is written as a session at Python's prompt."""
    return test.lstrip().startswith(">>>")


def statements(test: str) -> str:
    """The statements of a doctest, each shown value an assertion; raises `BadRow`.

    A value that is a literal is compared as a value (`1` is `1.0`, sets have no order), any other by its
    `repr` together with what was printed, as doctest does. Of an exception its type counts.
    """
    try:
        examples = doctest.DocTestParser().get_examples(textwrap.dedent(test))
    except ValueError as error:
        raise BadRow(f"tests: the doctest cannot be read: {error}") from None
    return "\n".join(_statement(example) for example in examples)


def _statement(example: doctest.Example) -> str:
    flag = next((name for bit, name in _FLAGS.items() if name and example.options.get(bit)), None)
    if flag is not None:
        raise BadRow(f"tests: the doctest asks for {flag}, which is not supported: write an assert instead")
    source, want = example.source.rstrip("\n"), example.want
    if example.exc_msg is not None:
        kind = example.exc_msg.partition(":")[0].strip().rpartition(".")[2]
        body = textwrap.indent(source, "    ")
        missing = f"raise AssertionError({f'{kind} was expected'!r})"
        return f"try:\n{body}\nexcept {kind}:\n    pass\nelse:\n    {missing}"
    tree = try_parse(source)
    if not want or tree is None:
        return source
    value = tree.body[0].value if len(tree.body) == 1 and isinstance(tree.body[0], ast.Expr) else None
    if value is not None:
        try:
            ast.literal_eval(want.strip())
            shown = ast.unparse(value)
            plain = isinstance(value, ast.Call | ast.Name | ast.Attribute | ast.Subscript)
            return f"assert {shown if plain else f'({shown})'} == {want.strip()}"
        except (ValueError, SyntaxError):
            pass
        if _prints_one(value):
            assert isinstance(value, ast.Call)
            return f"assert str({ast.unparse(value.args[0])}) == {want.removesuffix(chr(10))!r}"
    run = source if value is None else f"__value__ = {ast.unparse(value)}"
    told = "" if value is None else " + ('' if __value__ is None else repr(__value__) + '\\n')"
    return (
        "import contextlib, io\n__printed__ = io.StringIO()\n"
        f"with contextlib.redirect_stdout(__printed__):\n{textwrap.indent(run, '    ')}\n"
        f"assert __printed__.getvalue(){told} == {want.replace('<BLANKLINE>', '')!r}"
    )


def _prints_one(value: ast.expr) -> bool:
    return (
        isinstance(value, ast.Call)
        and isinstance(value.func, ast.Name)
        and value.func.id == "print"
        and len(value.args) == 1
        and not value.keywords
        and not isinstance(value.args[0], ast.Starred)
    )
