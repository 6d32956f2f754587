"""The tables of a study that the paper does not have: sharpening, distance, worth, sweeps, transfer."""

from __future__ import annotations

import statistics as st
from collections.abc import Sequence

from ilf.metrics import Comparison
from ilf.report.content import Cell, Column, Table
from ilf.study import statistics
from ilf.study.results import ArmResult, ItemResult, Results
from ilf.study.tables import by_rule, rate_columns, rates


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


_TOKENS = ("sampled tokens", "heard tokens", "tokens")


def cost_table(results: Results, k: int) -> Table:
    """What each learner took, beside what it gained over the untuned model."""
    gains = {id(r): c.difference for r, c in statistics.against(results, "zero-shot", k, None)}
    rows: list[list[Cell]] = []
    for result in results.arms:
        costs = [row.cost for row in result.seeds if row.cost]
        if not costs:
            continue
        means = [st.fmean(cost.get(name, 0) for cost in costs) for name in (*_TOKENS, "seconds")]
        rows.append([result.arm.label, gains.get(id(result)), *means])
    columns = [
        Column("method"),
        Column(f"gain in pass@{k}", "points"),
        Column("tokens sampled", "number", 0),
        Column("read by a teacher", "number", 0),
        Column("trained on", "number", 0),
        Column("seconds", "number", 0),
    ]
    note = (
        "Of making the model from what it learns, a mean over seeds. Arms that learn refinements have "
        "sampled and taught πRefine before, and `distil` has taught it, which is not counted here."
    )
    return Table("cost", "What learning cost.", columns, rows, note)


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
        f"{by_rule(statistics.distinct(items))}"
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
            rows.append([result.arm.label, statistics.task_count(found), found[0].n, *rates(results, found)])
    columns = [
        Column("method"),
        Column("tasks", "number"),
        Column("samples", "number"),
        *rate_columns(results, bar=True),
    ]
    return Table(name, title, columns, rows)
