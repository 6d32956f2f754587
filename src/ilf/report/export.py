"""Tables as CSV, LaTeX and Markdown; figures as SVG and PNG."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from ilf.metrics import Estimate
from ilf.report.content import Cell, Column, Document, Table, interval, number, text
from ilf.runfolder import write_text

_LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "–": "--",
    "−": "$-$",
    "±": r"$\pm$",
    "θ": r"$\theta$",
    "π": r"$\pi$",
    "≥": r"$\ge$",
    "≤": r"$\le$",
    "→": r"$\to$",
    "<": r"$<$",
    ">": r"$>$",
}


def to_csv(table: Table) -> str:
    """The table as CSV with unrounded numbers; an estimate takes three columns (value, low, high)."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    wide = [
        any(isinstance(row[index], Estimate) for row in table.rows) for index in range(len(table.columns))
    ]
    header: list[str] = []
    for column, three in zip(table.columns, wide, strict=True):
        header += [column.name, f"{column.name} low", f"{column.name} high"] if three else [column.name]
    writer.writerow(header)
    for row in table.rows:
        cells: list[Cell] = []
        for cell, three in zip(row, wide, strict=True):
            if isinstance(cell, Estimate):
                cells += [cell.value, cell.low, cell.high]
            else:
                cells += [cell, None, None] if three else [cell]
        writer.writerow(["" if cell is None else cell for cell in cells])
    return stream.getvalue()


def to_markdown(table: Table) -> str:
    """The table as GitHub Markdown, with its title and note."""

    def line(cells: list[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"

    rows = [
        line([text(cell, column) for cell, column in zip(row, table.columns, strict=True)])
        for row in table.rows
    ]
    rule = "|" + "|".join("---" if column.kind == "text" else "---:" for column in table.columns) + "|"
    head = [f"**{table.title}**", "", line([column.name for column in table.columns]), rule]
    return "\n".join([*head, *rows, *(["", table.note] if table.note else [])]) + "\n"


def to_latex(table: Table) -> str:
    """The table as a LaTeX `table` (needs the package booktabs)."""
    layout = "".join("l" if column.kind == "text" else "r" for column in table.columns)
    rows = [
        " & ".join(_latex_cell(cell, column) for cell, column in zip(row, table.columns, strict=True))
        for row in table.rows
    ]
    head = " & ".join(escape_latex(column.name) for column in table.columns)
    lines = [
        r"\begin{table}[t]",
        r"\centering",
        rf"\caption{{{escape_latex(table.title)}{': ' + escape_latex(table.note) if table.note else ''}}}",
        rf"\label{{tab:{table.name}}}",
        rf"\begin{{tabular}}{{{layout}}}",
        r"\toprule",
        rf"{head} \\",
        r"\midrule",
        *(rf"{row} \\" for row in rows),
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def escape_latex(value: str) -> str:
    """Text that LaTeX prints as it stands."""
    return "".join(_LATEX.get(char, char) for char in value)


def _latex_cell(cell: Cell, column: Column) -> str:
    if isinstance(cell, Estimate):
        value = escape_latex(number(cell.value, column.kind, column.digits))
        # LaTeX would read a bracket at a row's start as an option of the line break before it: braces.
        return f"{value} {{\\scriptsize {interval(cell, column.kind, column.digits)}}}"
    return escape_latex(text(cell, column))


def write_files(document: Document, folder: Path) -> list[Path]:
    """Write every table and figure of a document under `folder`/tables and `folder`/figures."""
    written: list[Path] = []
    if document.tables:
        (folder / "tables").mkdir(parents=True, exist_ok=True)
    for table in document.tables:
        for ending, form in ((".csv", to_csv), (".md", to_markdown), (".tex", to_latex)):
            path = folder / "tables" / f"{table.name}{ending}"
            write_text(path, form(table))
            written.append(path)
    if document.figures:
        from ilf.report.figures import save

        (folder / "figures").mkdir(parents=True, exist_ok=True)
        for figure in document.figures:
            written += save(figure, folder / "figures")
    return written
