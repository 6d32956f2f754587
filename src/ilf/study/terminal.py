"""What a study says on the terminal when it is done."""

from __future__ import annotations

from ilf.report.content import text
from ilf.study.document import claim
from ilf.study.results import Results
from ilf.study.tables import table_4
from ilf.terminal import console, print_table


def print_study(results: Results) -> None:
    """The final comparison and the claim."""
    table = table_4(results)
    keep = [i for i, c in enumerate(table.columns) if c.name not in ("feedback", "fine-tuned on")]
    print_table(
        table.title,
        [table.columns[i].name for i in keep],
        [[text(row[i], table.columns[i]) for i in keep] for row in table.rows],
    )
    out = console()
    for result in results.arms:
        if result.skipped:
            out.print(f"{result.arm.label}: left out, {result.skipped}")
    out.print(claim(results))
