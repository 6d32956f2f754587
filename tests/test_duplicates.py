"""Nothing over ten lines stands twice, renamed or not."""

import ast
import collections
import io
import keyword
import tokenize
from pathlib import Path

ROOT = Path(__file__).parents[1] / "src/ilf"
LINES = 10
CHARACTERS = 220
"""Less in ten lines is nothing but brackets and short names."""
FROZEN = (
    "annotate/migrations/versions",
)  # a migration is history: it is not to change when the next one does
SKIPPED = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
}


def normal(source):
    """(line number, its tokens without names, texts and numbers) of the lines that do something."""
    skipped = set()
    for node in ast.walk(ast.parse(source)):
        first = (
            node.body[0]
            if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Module) and node.body
            else None
        )
        if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
            skipped |= {*range(first.lineno, first.end_lineno + 1)}  # a docstring
        if isinstance(node, ast.Import | ast.ImportFrom):
            skipped |= {*range(node.lineno, node.end_lineno + 1)}
    lines = collections.defaultdict(list)
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in SKIPPED and token.start[0] not in skipped:
            name = token.type == tokenize.NAME and not keyword.iskeyword(token.string)
            stand_in = {tokenize.STRING: "S", tokenize.NUMBER: "0"}.get(token.type, token.string)
            lines[token.start[0]].append("N" if name else stand_in)
    return [(number, " ".join(lines[number])) for number in sorted(lines)]


def repeated(sources):
    """(where, where else) of what stands twice; `sources` are texts by name."""
    found, places = [], collections.defaultdict(list)
    for name, source in sources.items():
        rows = normal(source)
        for start in range(len(rows) - LINES + 1):
            text = "\n".join(row for _, row in rows[start : start + LINES])
            if len(text) >= CHARACTERS:
                found += [(place, f"{name}:{rows[start][0]}") for place in places[text]]
                places[text].append(f"{name}:{rows[start][0]}")
    return found


def test_nothing_stands_twice():
    files = {str(path.relative_to(ROOT)): path for path in ROOT.rglob("*.py")}
    sources = {name: path.read_text("utf-8") for name, path in files.items() if not name.startswith(FROZEN)}
    assert len(sources) > 200
    assert repeated(sources) == []


def test_a_renamed_copy_is_found():
    body = "".join(f"    value_{n} = compute(first[{n}], second, key='{n}')\n" for n in range(12))
    copy = f'def g(a, b):\n    """Says otherwise."""\n{body}'.replace("value", "other").replace(
        "compute", "make"
    )
    found = repeated({"a.py": f"def f(first, second):\n{body}", "b.py": copy})
    assert ("a.py:2", "b.py:3") in found
