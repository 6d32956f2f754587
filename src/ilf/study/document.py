"""The report of a study: the claim, the paper's tables and figures, the statistics, the explorer."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

from ilf.metrics import Comparison, Estimate, Evaluation
from ilf.report import figures, parts
from ilf.report.content import Document, Figure, Section
from ilf.study import explorer, own_tables, statistics, tables
from ilf.study.provenance import provenance
from ilf.study.results import ItemResult, Results


def document(folder: Path, results: Results, settings: str) -> Document:
    """Everything a study folder says."""
    report = Document(
        title=f"Study {results.name}",
        claim=claim(results),
        about=[parts.ABOUT, parts.READING, *_problems(results)],
        settings=settings,
    )
    builders = [
        _final, _learners, _temperature, _refinement, _feedback, _worth, _distance, _choices, _transfer,
        _sweep,
    ]  # fmt: skip
    for build in builders:
        section = build(results)
        if section is not None:
            report.sections.append(section)
    report.items = [
        item for shared in results.seeds for item in explorer.items_of(folder, results, shared.seed)
    ]
    report.provenance = provenance(folder, results)
    return report


def claim(results: Results) -> str:
    """The result in one sentence with its interval."""
    ilf, zero = results.arm("ilf"), results.arm("zero-shot")
    if ilf is None or zero is None:
        reasons = [r.skipped for r in results.arms if r.arm.name == "ilf" and r.skipped]
        reasons += [shared.problem for shared in results.seeds if shared.problem]
        return f"ILF was not measured: {reasons[0]}" if reasons else "This study is not finished."
    k = results.ks[0]
    found = statistics.contrast(zero, ilf, k)
    before, after = statistics.rate(zero, k), statistics.rate(ilf, k)
    if found is None or before is None or after is None:
        return f"ILF and zero-shot have no pass@{k} in common."
    count = statistics.per_seed(results, lambda s: len(s.teaching) + len(s.items))
    d = found.difference
    kind = sharpening(results).get("ilf", "no difference")
    said = {
        "learning": "a gain",
        "sharpening": "a gain that vanishes when both use their best temperature: sharpening, not learning",
        "learning at its best temperature only": "a gain only when both use their best temperatures",
        "worse": "a loss",
        "no difference": "a difference that cannot be told from noise",
    }[kind]
    seeds = f" (mean over {found.seeds} seeds)" if found.seeds > 1 else ""
    return (
        f"Learning from {count:.0f} pieces of feedback takes {found.metric} on {found.tasks} unseen tasks"
        f"{seeds} from {100 * before.value:.1f}% to {100 * after.value:.1f}%: {100 * d.value:+.1f} points, "
        f"95% interval [{100 * d.low:+.1f}, {100 * d.high:+.1f}], {said}."
    )


def sharpening(results: Results) -> dict[str, str]:
    """Arm name → what its difference from zero-shot is."""
    zero, k = results.arm("zero-shot"), results.ks[0]
    if zero is None:
        return {}
    return {
        r.arm.name: statistics.call(found, statistics.contrast(zero, r, k, "best"))
        for r in results.arms
        if r.arm.name != "zero-shot" and (found := statistics.contrast(zero, r, k)) is not None
    }


def _problems(results: Results) -> list[str]:
    return [f"Seed {s.seed}: the run did not reach its end: {s.problem}" for s in results.seeds if s.problem]


def _final(results: Results) -> Section:
    section = Section("final", "Does feedback beat the alternatives?")
    section.parts.append(tables.table_4(results))
    k = results.ks[0]
    rows = [
        (r.arm.label, e)
        for r in results.arms
        if r.arm.group == "final" and (e := statistics.rate(r, k)) is not None
    ]
    if rows and figures.available():
        paper = {r.arm.label: r.arm.paper[k] for r in results.arms if k in r.arm.paper}
        told = "; ".join(f"{label} {100 * e.value:.1f}%" for label, e in rows)
        drawing = figures.bars(f"pass@{k}", rows, paper)
        section.parts.append(Figure("final", f"pass@{k} of every method.", "", drawing, told))
    compared = statistics.against(results, "zero-shot", k)
    if compared:
        # ILF's own statement, unless it did the same as zero-shot on every task: that says nothing of power.
        compared_first = sorted(
            compared, key=lambda pair: (pair[1].detectable is None, pair[0].arm.name != "ilf")
        )
        section.text.append(compared_first[0][1].power)
        section.parts.append(
            own_tables.contrast_table(
                "against-zero-shot", "Every method against the untuned model.", compared
            )
        )
    alternatives = [(r, c) for r, c in statistics.against(results, "ilf", k) if r.arm.name != "zero-shot"]
    if alternatives:
        section.parts.append(
            own_tables.contrast_table("against-ilf", "Every alternative against ILF.", alternatives)
        )
    at = _of_group(results, "final")
    if at:
        section.parts.append(parts.gates_table("gates", "Shown and hidden tests apart.", at, first="method"))
    section.parts.append(tables.table_1(results))
    return section


def _learners(results: Results) -> Section | None:
    k = results.ks[0]
    compared = statistics.against(results, "zero-shot", k, "learner")
    if not compared:
        return None
    section = Section("learners", "Other ways to learn")
    title = "Other learners against the untuned model."
    section.parts.append(own_tables.contrast_table("learners", title, compared))
    own = [(r, c) for r, c in statistics.against(results, "ilf", k, "learner")]
    if own:
        section.parts.append(own_tables.contrast_table("learners-ilf", "And against ILF.", own))
    section.parts.append(own_tables.cost_table(results, k))
    return section


def _of_group(results: Results, group: str) -> dict[str, Evaluation]:
    """Label → evaluation over the seeds, of a group's arms."""
    return {
        r.arm.label: statistics.averaged(list(statistics.evaluations(r).values()))
        for r in results.arms
        if r.arm.group == group and r.seeds
    }


def _temperature(results: Results) -> Section | None:
    if not any(row.best is not None for r in results.arms for row in r.seeds):
        return None
    section = Section("temperature", "Learning or sharpening?")
    section.text.append(
        "Fine-tuning makes a model surer of itself, which alone raises pass@1 at a high temperature. So "
        "every model is also measured at the temperature that is best for it."
    )
    section.parts.append(own_tables.temperature_table(results, sharpening(results)))
    section.parts.append(own_tables.validation_table(results))
    if figures.available():
        series: dict[str, list[tuple[float, Estimate]]] = {}
        chosen = [r for r in results.arms if r.arm.group == "final" and r.seeds and r.seeds[0].validation]
        drawn = chosen[: len(figures.SERIES)]
        for result in drawn:
            points = []
            for t in sorted(result.seeds[0].validation, key=float):
                e = statistics.pooled([row.validation[t] for row in result.seeds if t in row.validation], 1)
                if e is not None:
                    points.append((float(t), e))
            series[result.arm.label] = points
        drawing = figures.curves({"pass@1, validation": series}, "temperature")
        told = "pass@1 on validation tasks against temperature for " + ", ".join(series)
        caption = "On the validation tasks."
        if len(drawn) < len(chosen):
            caption += f" The first {len(drawn)} of {len(chosen)} methods; the table above has all."
        section.parts.append(Figure("temperatures", "pass@1 by temperature.", caption, drawing, told))
    return section


def _refinement(results: Results) -> Section:
    section = Section("refinement", "Can a model follow feedback?")
    section.parts += [tables.table_2(results), tables.table_3(results)]
    found = _bugs_figure(results)
    if found is not None:
        section.parts.append(found)
    return section


def _bugs_figure(results: Results) -> Figure | None:
    """Figure 5."""
    groups = statistics.by_bugs(statistics.refined_items(results))
    points = [
        (float(count), e) for count, found in groups.items() if (e := statistics.pass_rate(found)) is not None
    ]
    if not points or not figures.available():
        return None
    told = "; ".join(f"{x:.0f} bugs: {100 * e.value:.1f}% pass" for x, e in points)
    counts = ", ".join(f"{len(statistics.distinct(found))} with {count}" for count, found in groups.items())
    drawing = figures.curves(
        {"refinements that pass": {"πRefine": points}}, "bugs that one feedback addresses (5: or more)"
    )
    seeds = f", refined with {len(results.seeds)} seeds" if len(results.seeds) > 1 else ""
    caption = f"Items: {counts}{seeds}. The paper's pass rate falls from 1 to 5 bugs."
    return Figure("figure-5", "Figure 5. Refinement by number of bugs.", caption, drawing, told)


def _feedback(results: Results) -> Section | None:
    found = statistics.all_items(results)
    if not found:
        return None
    written = [text for shared in results.seeds for text in shared.written_feedback.get("model-2", [])]
    written = written or [t for shared in results.seeds for t in shared.written_feedback.get("model-1", [])]
    section = Section("feedback", "What feedback says")
    seeds = len(results.seeds)
    section.parts += [tables.table_5(found, written, seeds), tables.table_6(found, written, seeds)]
    return section


def _worth(results: Results) -> Section | None:
    if not any(item.n for item in statistics.refined_items(results)):
        return None
    section = Section("worth", "What feedback is worth")
    ilf, zero = results.arm("ilf"), results.arm("zero-shot")
    found = statistics.contrast(zero, ilf, results.ks[0]) if ilf and zero else None
    gain = found.difference.value if found else None
    section.parts.append(own_tables.worth_table(results, gain))
    if found is not None:
        section.text.append(_worth_words(results, found))
    curve = statistics.size_curve(results, results.ks[0])
    if len(curve.points) > 2:
        section.text.append(curve.more_items)
    figure = _size_figure(results)
    if figure is not None:
        section.parts.append(figure)
    return section


def _worth_words(results: Results, found: Comparison) -> str:
    def mean(value: Callable[[ItemResult], float | None]) -> float:
        return statistics.per_seed(
            results, lambda seed: sum(value(item) or 0 for item in (*seed.teaching, *seed.items))
        )

    minutes, timed = mean(lambda item: (item.seconds or 0) / 60), mean(lambda item: item.seconds is not None)
    d = found.difference
    time = f"{minutes:,.0f} minutes of {_count(timed)} timed items" if timed else "time that nobody measured"
    items, passing = mean(lambda item: 1), mean(lambda item: item.passed > 0)
    text = (
        f"{_count(items)} items and {time} gave {_count(passing)} tasks "
        f"with a refinement that passes, and {100 * d.value:+.1f} points of {found.metric} "
        f"[{100 * d.low:+.1f}, {100 * d.high:+.1f}]"
    )
    if d.low > 0 and timed:
        text += f": {minutes / (100 * d.value):,.0f} minutes a point"
    return text + (f" (means over {len(results.seeds)} seeds)." if len(results.seeds) > 1 else ".")


def _count(mean: float) -> str:
    return f"{mean:,.0f}" if mean == int(mean) else f"{mean:,.1f}"


def _size_figure(results: Results) -> Figure | None:
    """Figure 4."""
    curves = {
        f"pass@{k}": {
            f"feedback: {kind}": found.points
            for kind in statistics.size_feedback(results)
            if len((found := statistics.size_curve(results, k, kind)).points) > 1
        }
        for k in results.ks[:2]
    }
    curves = {metric: series for metric, series in curves.items() if series}
    if not curves or not figures.available():
        return None
    zero, ilf = results.arm("zero-shot"), results.arm("ilf")
    lines, marks = {}, {}
    for k in results.ks[:2]:
        line, mark = statistics.rate(zero, k), statistics.rate(ilf, k)
        lines[f"pass@{k}"] = {"zero-shot": line.value} if line else {}
        used = statistics.mean_of(ilf.seeds, lambda row: row.items) if ilf else None
        marks[f"pass@{k}"] = {"ILF": (used, mark)} if mark and used else {}
    drawing = figures.curves(curves, "feedback items of the train split", lines=lines, marks=marks)
    told = "; ".join(
        f"{metric}, {name}: " + ", ".join(f"{x:.0f} items {100 * e.value:.1f}%" for x, e in points)
        for metric, series in curves.items()
        for name, points in series.items()
    )
    caption = (
        "Nested subsets, seeds averaged; πRefine is the same throughout. "
        "The paper draws 50 to 200 model-written items, and people's feedback as one mark."
    )
    return Figure("figure-4", "Figure 4. Size of the feedback set.", caption, drawing, told)


def _distance(results: Results) -> Section | None:
    section = Section("distance", "How far do the models move?")
    drawn = [shared.perplexity for shared in results.seeds if any(shared.perplexity.values())]
    if drawn and figures.available():
        series = {label: [v for found in drawn for v in found.get(label, [])] for label in drawn[0]}
        shares = {
            label: sum(v > 100 for v in values) / len(values) for label, values in series.items() if values
        }
        told = "; ".join(f"{label}: {share:.0%} above 100" for label, share in shares.items())
        most = max(v for values in series.values() for v in values)
        top = 10.0 ** min(4, max(1, math.ceil(math.log10(most))))  # the paper's axis ends at 10,000
        drawing = figures.histogram(series, "perplexity under the untuned model", log=True, span=(1.0, top))
        section.parts.append(
            Figure(
                "figure-3",
                "Figure 3. Perplexity.",
                f"Share above 100: {told}. In the paper gold programs have the largest share there.",
                drawing,
                told,
            )
        )
    table = own_tables.kl_table(results)
    if table.rows:
        section.parts.append(table)
        section.text.append(_movement(results))
    reasons = [s.reasons["perplexity"] for s in results.seeds if "perplexity" in s.reasons]
    section.text += [f"Perplexity and KL were not measured: {reasons[0]}."] if reasons else []
    return section if section.parts or section.text else None


def _movement(results: Results) -> str:
    """The paper's argument, that refinements need less movement than gold programs, against our numbers."""
    ilf, gold = results.arm("ilf"), results.arm("gold")
    argued = "The paper argues that learning refinements moves a model less than learning gold programs"
    ours, theirs = (
        {row.seed: row.kl.own for row in (arm.seeds if arm else []) if row.kl} for arm in (ilf, gold)
    )
    pairs = [(ours[seed], theirs[seed]) for seed in sorted(ours.keys() & theirs.keys())]
    if not pairs:
        return f"{argued}."
    if all(a.high < b.low for a, b in pairs):
        said = "so it does here"
    elif all(b.high < a.low for a, b in pairs):
        said = "here it is the other way round"
    else:
        said = "here the intervals overlap"
    shown = "; ".join(
        f"{a.value:.2f} [{a.low:.2f}, {a.high:.2f}] against {b.value:.2f} [{b.low:.2f}, {b.high:.2f}]"
        for a, b in pairs
    )
    return f"{argued}: {said} (KL{' of each seed,' if len(pairs) > 1 else ''} {shown})."


def _choices(results: Results) -> Section | None:
    section = Section("choices", "Which refinements to keep")
    k = results.ks[0]
    for group, base, title in (
        ("selection", "select-random", "How one passing refinement a task is chosen."),
        ("gate", "gate-all", "Which tests a refinement must pass."),
    ):
        at = _of_group(results, group)
        if not at:
            continue
        section.parts.append(
            parts.evaluation_table(group, title, at, first="choice", note=tables.left_out(results, group))
        )
        section.parts.append(
            parts.gates_table(f"{group}-gates", "Shown and hidden tests apart.", at, first="choice")
        )
        # ILF itself chooses at random among what passes all tests.
        compared = statistics.against(results, base if results.arm(base) else "ilf", k, group)
        if compared:
            section.parts.append(
                own_tables.contrast_table(f"{group}-paired", "Paired differences.", compared)
            )
    return section if section.parts else None


def _transfer(results: Results) -> Section | None:
    sources = dict.fromkeys(s for r in results.arms for row in r.seeds for s in row.also)
    if not sources:
        return None
    text = "The same models on tasks from elsewhere; none of these tasks was seen in training."
    return Section(
        "transfer",
        "Transfer",
        [text],
        [table for source in sources for table in own_tables.transfer_tables(results, source)],
    )


def _sweep(results: Results) -> Section | None:
    table = own_tables.sweep_table(results)
    return Section("sweep", "Settings tried", [], [table]) if table.rows else None
