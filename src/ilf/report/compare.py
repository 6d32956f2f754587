"""The report of two runs side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ilf.errors import UserError
from ilf.metrics import Comparison, Evaluation, common, compare, with_holm
from ilf.report import items, parts
from ilf.report.content import Cell, Column, Document, Item, Section, Table
from ilf.report.load import ARM_NAMES, RunData, differing, stages
from ilf.report.run import provenance


def document(a: RunData, b: RunData) -> Document:
    """What run B did differently from run A, and whether it came out better.

    Raises:
        UserError: one of them has no evaluation yet.
    """
    names = (a.name, b.name) if a.name != b.name else (f"{a.name} (A)", f"{b.name} (B)")
    finals: list[Evaluation] = []
    evaluations: dict[str, Evaluation] = {}
    for name, run in zip(names, (a, b), strict=True):
        found = stages([data.evaluation.arms for data in run.rounds])
        if not found:
            raise UserError(f"{run.path}: this run has no evaluation yet, so there is nothing to compare")
        evaluations |= {f"{name}: {label}": evaluation for label, evaluation in found.items()}
        finals.append(list(found.values())[-1])
    comparisons, reason = _paired(names, finals)
    report = Document(
        title=f"{names[0]} against {names[1]}",
        claim=_claim(names, comparisons, reason),
        about=[parts.ABOUT, parts.READING, *a.notes, *b.notes],
        settings=f"# {names[0]}\n{a.config_text}\n# {names[1]}\n{b.config_text}",
    )
    result = Section("result", "Results on held-out tasks", text=[reason] if reason else [])
    result.parts.append(parts.evaluation_table("result", "Pass rates.", evaluations))
    result.parts += parts.bars_figure(
        "result-bars",
        "pass@1.",
        "Each run before and after.",
        [(label, e.pass_at[1]) for label, e in evaluations.items() if 1 in e.pass_at],
    )
    if comparisons:
        result.parts.append(
            parts.comparison_table(
                "comparison", f"{names[1]} against {names[0]}, both after training.", comparisons
            )
        )
        result.text.append(comparisons[0].power)
    result.parts.append(parts.gates_table("gates", "Shown and hidden tests apart.", evaluations))
    report.sections = [result, _settings(names, a.config, b.config)]
    report.items = _items(names, a, b)
    for name, run in zip(names, (a, b), strict=True):
        report.provenance += [(f"{name}: {key}", value) for key, value in provenance(run)]
    return report


def _paired(names: tuple[str, str], finals: Sequence[Evaluation]) -> tuple[list[Comparison], str]:
    a, b = finals
    if {t.task_id for t in a.tasks} != {t.task_id for t in b.tasks}:
        return [], "The two runs were evaluated on different tasks, so there is no paired test."
    shared = common([a, b])
    return with_holm([compare([a], [b], names=names, k=k) for k in shared]), ""


def _claim(names: tuple[str, str], comparisons: Sequence[Comparison], reason: str) -> str:
    if not comparisons:
        return reason
    c = comparisons[0]
    d = c.difference
    return (
        f"On the same {c.tasks} held-out tasks {names[1]} differs from {names[0]} in {c.metric} by "
        f"{100 * d.value:+.1f} points, 95% interval [{100 * d.low:+.1f}, {100 * d.high:+.1f}]: "
        f"{parts.verdict_words(c)}."
    )


def _settings(names: tuple[str, str], a: Mapping[str, Any], b: Mapping[str, Any]) -> Section:
    rows: list[list[Cell]] = [[key, *values] for key, values in differing(a, b).items()]
    columns = [Column("setting"), Column(names[0]), Column(names[1])]
    return Section(
        "settings",
        "What was set differently",
        parts=[Table("settings", "Settings that differ.", columns, rows)],
    )


def _items(names: tuple[str, str], a: RunData, b: RunData) -> list[Item]:
    written = {}
    for name, run in zip(names, (a, b), strict=True):
        if run.rounds:
            for arm, rows in run.rounds[-1].written.items():
                written[f"{name}: {ARM_NAMES.get(arm, arm)}"] = (rows.programs, rows.verdicts)
    after = ARM_NAMES["after"]
    feedback = [row for data in b.rounds[-1:] for row in data.feedback]
    refinements = [row for data in b.rounds[-1:] for row in data.refinements]
    return items.build(
        a.tasks | b.tasks,
        feedback=feedback,
        refinements=refinements,
        written=written,
        change=(f"{names[0]}: {after}", f"{names[1]}: {after}"),
    )
