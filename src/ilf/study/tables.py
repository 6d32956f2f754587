"""Tables 1 to 6 in the paper's layout, with the paper's numbers in columns beside ours, and the study's own.

The paper's numbers are CodeGen-Mono 6.1B's on MBPP with 30 samples a task at temperature 0.8: they are there
to show the shape of its result, not to be matched by another model.
"""

from __future__ import annotations

import statistics as st
from collections.abc import Sequence
from dataclasses import replace

from ilf.metrics import Comparison, Evaluation
from ilf.report.content import Cell, Column, Table
from ilf.study import statistics
from ilf.study.bugs import PAPER_CATEGORIES, categories, count_bugs
from ilf.study.results import ArmResult, ItemResult, Results

PAPER = "Paper: CodeGen-Mono 6.1B on MBPP, 30 samples at temperature 0.8."
_PAPER_REFINEMENT = {
    "few-shot, its own feedback": (0.020, 0.138, None),
    "few-shot, unrelated feedback": (0.004, 0.040, None),
    "fine-tuned, its own feedback": (0.19, 0.47, 0.61),
}
_PAPER_ZERO = (0.31, 0.63, 0.67)


def _rates(results: Results, found: Sequence[Evaluation]) -> list[Cell]:
    return [*(statistics.pooled(found, k) for k in results.ks), statistics.pooled(found, None)]


def _rate_columns(results: Results, *, bar: bool = False) -> list[Column]:
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
        rows.append([name, statistics.task_count(found), *_rates(results, found), *paper])
    columns = [Column("tasks of"), Column("tasks", "number"), *_rate_columns(results), *_paper_columns()]
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
        rows.append([label, statistics.task_count(found), *_rates(results, found), *paper])
    columns = [Column("refinements"), Column("tasks", "number"), *_rate_columns(results), *_paper_columns()]
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
    row: list[Cell] = ["zero-shot, the same tasks", statistics.task_count(alike), *_rates(results, alike)]
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
                *_rates(results, list(statistics.evaluations(result).values())),
                result.arm.paper.get(1),
                result.arm.paper.get(10),
            ]
        )
    columns = [
        Column("method"),
        Column("feedback"),
        Column("fine-tuned on"),
        Column("examples", "number"),
        *_rate_columns(results, bar=True),
        Column("paper pass@1", "percent", 0),
        Column("paper pass@10", "percent", 0),
    ]
    seeds = f", {len(results.seeds)} seeds" if len(results.seeds) > 1 else ""
    measured = [e for r in results.arms for e in statistics.evaluations(r).values()]
    size = f"{len(measured[0].tasks)} tasks, {measured[0].n} samples each" if measured else "Not measured yet"
    note = f"{size}, temperature {results.temperature:g}{seeds}. {PAPER} {left_out(results, 'final')}".strip()
    return Table("table-4", "Table 4. The final comparison, on held-out tasks.", columns, rows, note)


def _by_rule(items: Sequence[ItemResult]) -> str:
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
    note = f"Share of items; one may have several. {_by_rule(items)}{_of_model(written)}{_of_seeds(seeds)}"
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
    note = _by_rule(items) + _of_model(written) + _of_seeds(seeds)
    return Table("table-6", "Table 6. How much one item says.", columns, rows, note)


# --- the study's own --------------------------------------------------------------------------------------


def temperature_table(results: Results, calls: dict[str, str]) -> Table:
    """Every arm at the study's temperature and at its own best.

    Args:
        results: the study's.
        calls: arm name → what its difference from zero-shot is.
    """
    rows: list[list[Cell]] = []
    k, zero = results.ks[0], results.arm("zero-shot")
    for result in results.arms:
        if not any(row.best is not None for row in result.seeds):
            continue
        name = result.arm.name
        base = zero if name != "zero-shot" else None
        at_run = statistics.contrast(base, result, k) if base else None
        at_best = statistics.contrast(base, result, k, "best") if base else None
        chosen = ", ".join(
            dict.fromkeys(
                f"{row.best_temperature:g}" for row in result.seeds if row.best_temperature is not None
            )
        )
        rows.append(
            [
                result.arm.label,
                statistics.rate(result, k),
                at_run.difference if at_run else None,
                chosen or "–",
                statistics.rate(result, k, "best"),
                at_best.difference if at_best else None,
                calls.get(name, "–"),
            ]
        )
    columns = [
        Column("method"),
        Column(f"pass@{k} at {results.temperature:g}", "percent"),
        Column("over zero-shot", "points"),
        Column("best temperature"),
        Column(f"pass@{k} there", "percent"),
        Column("over zero-shot at its best", "points"),
        Column("so it is"),
    ]
    count = results.seeds[0].validation_tasks if results.seeds else 0
    note = (
        f"The best temperature is chosen on {count} validation tasks, for zero-shot too. A gain that is "
        f"there at {results.temperature:g} and not between the best temperatures is sharpening: the model "
        "repeats more surely what it knew. The last column goes by each row's own 95% intervals, which are "
        "not corrected for the number of rows."
    )
    return Table("temperature", "Sharpening or learning?", columns, rows, note)


def validation_table(results: Results) -> Table:
    """Every arm at every temperature that was tried, on the validation tasks."""
    tried = sorted({t for r in results.arms for row in r.seeds for t in row.validation}, key=float)
    rows: list[list[Cell]] = [
        [
            result.arm.label,
            *(
                statistics.pooled([row.validation[t] for row in result.seeds if t in row.validation], 1)
                for t in tried
            ),
        ]
        for result in results.arms
        if any(row.validation for row in result.seeds)
    ]
    columns = [Column("method"), *(Column(f"pass@1 at {t}", "percent") for t in tried)]
    return Table("validation", "pass@1 on the validation tasks, by temperature.", columns, rows)


def kl_table(results: Results) -> Table:
    """How far each fine-tuned model moved, and the importance weights' effective sample size."""
    rows: list[list[Cell]] = []
    for result in results.arms:
        for row in result.seeds:
            weighed = row.effective_samples is not None and result.arm.group == "final"
            if row.kl is not None or weighed:
                label = result.arm.label + (f", seed {row.seed}" if len(results.seeds) > 1 else "")
                rows.append(
                    [
                        label,
                        row.kl.own if row.kl else None,
                        row.kl.start if row.kl else None,
                        row.effective_samples,
                        row.examples,
                    ]
                )
    columns = [
        Column("method"),
        Column("KL(tuned, untuned)", "number", 2),
        Column("KL(untuned, tuned)", "number", 2),
        Column("effective examples", "number"),
        Column("examples", "number"),
    ]
    prompts = next((f"{row.kl.prompts}" for r in results.arms for row in r.seeds if row.kl), "the")
    note = (
        f"KL in nats a program, along samples of the first-named model at temperature 1 on {prompts} "
        "held-out prompts (texts up to their stop sequence). Effective examples: "
        "(Σw)²/Σw² of the unclipped importance weights of the paper's equation 6 over the arm's examples, if "
        "they were used; near 1 means that one example would carry all the weight."
    )
    return Table("kl", "How far each model moved.", columns, rows, note)


def contrast_table(
    name: str, title: str, rows: Sequence[tuple[ArmResult, Comparison]], note: str = ""
) -> Table:
    """Paired comparisons of arms (`report.parts.comparison_table`)."""
    from ilf.report.parts import comparison_table

    return comparison_table(name, title, [comparison for _, comparison in rows], note)


def worth_table(results: Results, gain: float | None) -> Table:
    """Minutes and items → refinements that pass → points, by annotator, category and number of bugs.

    Args:
        results: the study's; its seeds are pooled.
        gain: ILF's pass@k over zero-shot's (0 to 1), which is shared out by examples.
    """
    rows: list[list[Cell]] = []
    seeds = len(results.seeds)
    everything = statistics.refined_items(results)
    used = sum(item.chosen for item in everything)

    def minutes_of(items: Sequence[ItemResult]) -> float | None:
        timed = [item.seconds / 60 for item in items if item.seconds is not None]
        return sum(timed) if timed else None

    def add(label: str, items: Sequence[ItemResult]) -> None:
        passing, chosen = sum(item.passed > 0 for item in items), sum(item.chosen for item in items)
        once, minutes = statistics.distinct(items), minutes_of(items)
        rows.append(
            [
                label,
                len(once),
                minutes_of(once),
                passing if seeds == 1 else passing / seeds,
                chosen if seeds == 1 else chosen / seeds,
                statistics.pass_rate(items),
                statistics.solved_share(items),
                minutes / passing if minutes and passing else None,
                gain * chosen / used if gain is not None and used else None,
            ]
        )

    items = [item for item in everything if item.n]
    add("all", items)
    for label, found in statistics.grouped(items, lambda i: [f"by {i.author or 'unnamed'}"]).items():
        add(label, found)
    for label, found in statistics.grouped(items, lambda i: [f"about {tag}" for tag in i.tags]).items():
        add(label, found)
    for count, found in statistics.by_bugs(items).items():
        add(f"{count}{'+' if count == 5 else ''} bug{'s' * (count > 1)}", found)
    columns = [
        Column("feedback"),
        Column("items", "number"),
        Column("minutes", "number"),
        Column("items refined", "number"),
        Column("used to train", "number"),
        Column("refinements that pass", "percent"),
        Column("1+ passes", "percent"),
        Column("minutes a refined item", "number"),
        Column("points", "points"),
    ]
    note = (
        "On the train split, refined by πRefine. Points are ILF's difference from zero-shot, shared out by "
        "the examples that each group gave: bookkeeping, not an experiment. "
        f"{_by_rule(statistics.distinct(items))}"
    )
    if seeds > 1:
        note += (
            f" Items and minutes are those of {seeds} seeds, each item once; the rest are means over seeds."
        )
    return Table("worth", "What feedback is worth.", columns, rows, note)


def sweep_table(results: Results) -> Table:
    """All trials of the sweeps."""
    names = list(
        dict.fromkeys(key for r in results.arms for s in r.seeds for t in s.trials for key in t.settings)
    )
    rows: list[list[Cell]] = [
        [
            result.arm.label,
            row.seed,
            *(str(trial.settings.get(name, "–")) for name in names),
            trial.evaluation.pass_at.get(1),
            "chosen" if trial.chosen else "",
        ]
        for result in results.arms
        for row in result.seeds
        for trial in row.trials
    ]
    columns = [
        Column("method"),
        Column("seed", "number"),
        *(Column(name) for name in names),
        Column("pass@1, validation", "percent"),
        Column(""),
    ]
    return Table("sweep", "Fine-tuning settings tried on the validation tasks.", columns, rows)


def transfer_tables(results: Results, source: str) -> list[Table]:
    """Every arm on another task source, and its paired difference from zero-shot there."""
    title = f"Transfer to {source}."
    name = "transfer-" + "".join(char if char.isalnum() else "-" for char in source.rpartition("/")[2])
    compared = statistics.against(results, "zero-shot", results.ks[0], None, lambda row: row.also.get(source))
    paired = f"Every method against the untuned model, on {source}."
    return [
        _transfer_rates(results, source, name, title),
        *([contrast_table(f"{name}-paired", paired, compared)] if compared else []),
    ]


def _transfer_rates(results: Results, source: str, name: str, title: str) -> Table:
    rows: list[list[Cell]] = []
    for result in results.arms:
        found = [row.also[source] for row in result.seeds if source in row.also]
        if found:
            rows.append([result.arm.label, statistics.task_count(found), found[0].n, *_rates(results, found)])
    columns = [
        Column("method"),
        Column("tasks", "number"),
        Column("samples", "number"),
        *_rate_columns(results, bar=True),
    ]
    return Table(name, title, columns, rows)
