"""Tables 1 to 6 in the paper's layout, with the paper's numbers in columns beside ours.

The paper's numbers are CodeGen-Mono 6.1B's on MBPP with 30 samples a task at temperature 0.8: they are there
to show the shape of its result, not to be matched by another model.
"""

from __future__ import annotations

import statistics as st
from collections.abc import Sequence
from dataclasses import replace

from ilf.metrics import Evaluation
from ilf.report.content import Cell, Column, Table
from ilf.study import statistics
from ilf.study.bugs import PAPER_CATEGORIES, categories, count_bugs
from ilf.study.results import ItemResult, Results

PAPER = "Paper: CodeGen-Mono 6.1B on MBPP, 30 samples at temperature 0.8."
_PAPER_REFINEMENT = {
    "few-shot, its own feedback": (0.020, 0.138, None),
    "few-shot, unrelated feedback": (0.004, 0.040, None),
    "fine-tuned, its own feedback": (0.19, 0.47, 0.61),
}
_PAPER_ZERO = (0.31, 0.63, 0.67)


def rates(results: Results, found: Sequence[Evaluation]) -> list[Cell]:
    """pass@k for every k of the study and "1+ correct", pooled over seeds: the cells under `rate_columns`."""
    return [*(statistics.pooled(found, k) for k in results.ks), statistics.pooled(found, None)]


def rate_columns(results: Results, *, bar: bool = False) -> list[Column]:
    """The columns of `rates`; `bar` draws pass@k as bars, too."""
    columns = [Column(f"pass@{k}", "percent", bar=bar) for k in results.ks]
    return [*columns, Column("1+ correct", "percent")]


def _paper_columns() -> list[Column]:
    return [Column(f"paper {what}", "percent") for what in ("pass@1", "pass@10", "1+")]


def table_1(results: Results) -> Table:
    """Zero-shot on each split and on all tasks."""
    names = dict.fromkeys(name for shared in results.seeds for name in shared.zero_shot)
    rows: list[list[Cell]] = []
    for name in names:
        found = [shared.zero_shot[name] for shared in results.seeds if name in shared.zero_shot]
        paper: tuple[Cell, ...] = _PAPER_ZERO if name == "all tasks" else (None, None, None)
        rows.append([name, statistics.task_count(found), *rates(results, found), *paper])
    columns = [Column("tasks of"), Column("tasks", "number"), *rate_columns(results), *_paper_columns()]
    return Table("table-1", "Table 1. The untuned model, zero-shot.", columns, rows, PAPER)


def _refinement_table(results: Results, name: str, title: str, start: str) -> Table:
    labels = dict.fromkeys(
        label
        for shared in results.seeds
        for label in (*shared.refinement, *shared.reasons)
        if label.startswith(start)
    )
    rows: list[list[Cell]] = []
    missing = []
    for label in labels:
        found = [shared.refinement[label] for shared in results.seeds if label in shared.refinement]
        if not found:
            missing.append(f"{label}: {next(s.reasons[label] for s in results.seeds if label in s.reasons)}.")
            continue
        paper: tuple[Cell, ...] = _PAPER_REFINEMENT.get(label, (None, None, None))
        rows.append([label, statistics.task_count(found), *rates(results, found), *paper])
    columns = [Column("refinements"), Column("tasks", "number"), *rate_columns(results), *_paper_columns()]
    note = "Tasks that the model never solved zero-shot, where the run asks for that. "
    return Table(name, title, columns, rows, note + " ".join([PAPER, *missing]))


def table_2(results: Results) -> Table:
    """Few-shot refinement with related, unrelated and no feedback."""
    title = "Table 2. Refinement by the few-shot prompted model, before any fine-tuning."
    return _refinement_table(results, "table-2", title, "few-shot")


def table_3(results: Results) -> Table:
    """πRefine, and the untuned model on the same tasks (in the paper 0 by construction)."""
    title = "Table 3. Refinement by πRefine, fine-tuned on the refine split."
    table = _refinement_table(results, "table-3", title, "fine-tuned")
    own = "fine-tuned, its own feedback"
    alike = [
        statistics.restricted(shared.zero_shot["train"], shared.refinement[own])
        for shared in results.seeds
        if own in shared.refinement and "train" in shared.zero_shot
    ]
    if not alike:
        return table
    row: list[Cell] = ["zero-shot, the same tasks", statistics.task_count(alike), *rates(results, alike)]
    return replace(table, rows=[[*row, 0.0, 0.0, 0.0], *table.rows])


def left_out(results: Results, group: str) -> str:
    """Which arms of a group have no results, by reason; empty where all have."""
    reasons: dict[str, list[str]] = {}
    for result in results.arms:
        if result.arm.group == group and not result.seeds:
            reasons.setdefault(result.skipped or "not measured yet", []).append(result.arm.label)
    told = [f"{'; '.join(labels)}: {reason}." for reason, labels in reasons.items()]
    partly = [
        f"{r.arm.label} has {len(r.seeds)} of {len(results.seeds)} seeds: {r.skipped}."
        for r in results.arms
        if r.arm.group == group and r.seeds and r.skipped
    ]
    return " ".join([*(["Left out:", *told] if told else []), *partly])


def table_4(results: Results) -> Table:
    """The final comparison."""
    rows: list[list[Cell]] = []
    for result in results.arms:
        if result.arm.group != "final" or not result.seeds:
            continue
        examples = statistics.mean_of(result.seeds, lambda row: float(row.examples))
        rows.append(
            [
                result.arm.label,
                result.arm.feedback,
                result.arm.trained_on,
                examples if examples is None else round(examples),
                *rates(results, list(statistics.evaluations(result).values())),
                result.arm.paper.get(1),
                result.arm.paper.get(10),
            ]
        )
    columns = [
        Column("method"),
        Column("feedback"),
        Column("fine-tuned on"),
        Column("examples", "number"),
        *rate_columns(results, bar=True),
        Column("paper pass@1", "percent", 0),
        Column("paper pass@10", "percent", 0),
    ]
    seeds = f", {len(results.seeds)} seeds" if len(results.seeds) > 1 else ""
    measured = [e for r in results.arms for e in statistics.evaluations(r).values()]
    size = f"{len(measured[0].tasks)} tasks, {measured[0].n} samples each" if measured else "Not measured yet"
    note = f"{size}, temperature {results.temperature:g}{seeds}. {PAPER} {left_out(results, 'final')}".strip()
    return Table("table-4", "Table 4. The final comparison, on held-out tasks.", columns, rows, note)


def by_rule(items: Sequence[ItemResult]) -> str:
    """How many of these items people labelled, and how the others got their labels."""
    tagged, counted = (sum(getattr(item, name) for item in items) for name in ("tagged", "counted"))
    if tagged == counted == len(items):
        return "Categories and numbers of bugs are those that the annotators gave."
    return (
        f"Categories were given by people for {tagged} of {len(items)} items and numbers of bugs for "
        f"{counted}; for the others they come from a rule over the text (docs/study.md), cruder than "
        "the paper's authors' reading."
    )


def _of_model(written: Sequence[str]) -> str:
    return " A model's texts are read by a rule alone (docs/study.md)." if written else ""


def _of_seeds(seeds: int) -> str:
    return f" Different items of {seeds} seeds, and the model's texts of all of them." if seeds > 1 else ""


def table_5(items: Sequence[ItemResult], written: Sequence[str], seeds: int = 1) -> Table:
    """Which kinds of bug feedback addresses.

    Args:
        items: feedback by people, each item once.
        written: texts by a model; may be empty.
        seeds: how many they come from.
    """
    model = [categories(text) for text in written]
    rows: list[list[Cell]] = []
    named = dict.fromkeys([*PAPER_CATEGORIES, *(tag for item in items for tag in item.tags)])
    for name in named:
        people, gpt = PAPER_CATEGORIES.get(name, (None, None))
        rows.append(
            [
                name,
                sum(name in item.tags for item in items) / len(items) if items else None,
                people,
                sum(name in found for found in model) / len(model) if model else None,
                gpt,
            ]
        )
    columns = [
        Column("feedback addresses"),
        Column("ours, people", "percent", 0),
        Column("paper, people", "percent", 0),
        Column("ours, model", "percent", 0),
        Column("paper, InstructGPT", "percent", 0),
    ]
    note = f"Share of items; one may have several. {by_rule(items)}{_of_model(written)}{_of_seeds(seeds)}"
    return Table("table-5", "Table 5. Kinds of bug that feedback addresses.", columns, rows, note)


def _mean(values: Sequence[float]) -> Cell:
    if not values:
        return None
    return f"{st.mean(values):.1f} ± {st.stdev(values) if len(values) > 1 else 0.0:.1f}"


def table_6(items: Sequence[ItemResult], written: Sequence[str], seeds: int = 1) -> Table:
    """Bugs and words of a feedback item, mean ± standard deviation; arguments as `table_5`."""
    rows: list[list[Cell]] = [
        [
            "bugs addressed",
            _mean([float(item.bugs) for item in items]),
            "1.8",
            _mean([float(count_bugs(text)) for text in written]),
            "1.1",
        ],
        [
            "words",
            _mean([float(item.words) for item in items]),
            "68.9 ± 48.2",
            _mean([float(len(text.split())) for text in written]),
            "24.2 ± 28.6",
        ],
        ["items", len(items), "195", len(written) or None, "–"],
    ]
    columns = [
        Column("of one item"),
        Column("ours, people"),
        Column("paper, people"),
        Column("ours, model"),
        Column("paper, InstructGPT"),
    ]
    note = by_rule(items) + _of_model(written) + _of_seeds(seeds)
    return Table("table-6", "Table 6. How much one item says.", columns, rows, note)
