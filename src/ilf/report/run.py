"""The report of one run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain

from ilf.feedback import kinds
from ilf.metrics import MEAN_R, Comparison, Evaluation, common, compare, with_holm
from ilf.records import Program, Refinement, Task, Verdict
from ilf.report import figures, items, parts
from ilf.report.content import Cell, Column, Document, Figure, Item, Section, Table
from ilf.report.load import ARM_NAMES, RoundData, RunData, stages
from ilf.rounds import best_round, curve
from ilf.runfolder import RunFolder, digest
from ilf.steps.sampling import sample_counts
from ilf.terminal import percent


def document(run: RunData) -> Document:
    """Everything a run folder says, in a reader's order."""
    evaluations = stages([data.evaluation.arms for data in run.rounds])
    comparisons = compare_stages(evaluations)
    report = Document(
        title=f"Run {run.name}",
        claim=claim(run, evaluations, comparisons),
        about=[
            parts.ABOUT,
            parts.READING_R if any(e.reward for e in evaluations.values()) else parts.READING,
            *run.notes,
        ],
        settings=run.config_text,
    )
    if evaluations:
        report.sections.append(_result(evaluations, comparisons))
    report.sections += _by_round(run)
    for data in run.rounds:
        if data.programs or data.feedback:
            report.sections.append(_round_section(data, run.tasks, many=len(run.rounds) > 1))
    report.items = explorer_items(run)
    report.provenance = provenance(run)
    return report


def compare_stages(evaluations: dict[str, Evaluation]) -> list[Comparison]:
    """Each later stage against the first, for every k that both have."""
    labels = list(evaluations)
    found: list[Comparison] = []
    for label in labels[1:]:
        a, b = evaluations[labels[0]], evaluations[label]
        shared = common([a, b])
        found += [compare([a], [b], names=(labels[0], label), k=k) for k in shared]
    return with_holm(found)


def claim(run: RunData, evaluations: dict[str, Evaluation], comparisons: Sequence[Comparison]) -> str:
    """The result in one sentence with its interval."""
    first = [c for c in comparisons if c.metric in ("pass@1", MEAN_R)] or list(comparisons)
    if not first:
        reached = [label for label, rows in _progress(run) if rows]
        done = f"so far there are {', '.join(reached)}" if reached else "nothing is there yet"
        return f"This run is not finished: {done}."
    last = first[-1]
    a, b = evaluations[last.a], evaluations[last.b]
    count = sum(len(data.feedback) for data in run.rounds)
    d = last.difference
    wins = "" if last.wins is None else f", with a win rate of {percent(last.wins)} over what it wrote before"
    return (
        f"After learning from {count} pieces of feedback the model's {last.metric} on {last.tasks} tasks it "
        f"had not seen went from {100 * a.rates[last.metric].value:.1f}% to "
        f"{100 * b.rates[last.metric].value:.1f}%: "
        f"{100 * d.value:+.1f} points, 95% interval [{100 * d.low:+.1f}, {100 * d.high:+.1f}], "
        f"{parts.verdict_words(last)}{wins}."
    )


def _progress(run: RunData) -> list[tuple[str, int]]:
    return [
        ("programs", sum(len(r.programs) for r in run.rounds)),
        ("verdicts", sum(len(r.verdicts) for r in run.rounds)),
        ("feedback", sum(len(r.feedback) for r in run.rounds)),
        ("refinements", sum(len(r.refinements) for r in run.rounds)),
    ]


def _result(evaluations: dict[str, Evaluation], comparisons: Sequence[Comparison]) -> Section:
    first = next(iter(evaluations.values()))
    metric = next(iter(first.rates), "pass@1")
    section = Section("result", "Result on held-out tasks")
    where = (
        f"split {first.split}, {len(first.tasks)} tasks, {first.n} samples each at temperature "
        f"{first.temperature:g}"
    )
    section.text.append(f"Measured on {where}. None of these tasks was seen in feedback or training.")
    section.parts.append(parts.evaluation_table("result", "Pass rates.", evaluations))
    section.parts += parts.bars_figure(
        "result-bars",
        f"{metric} before and after.",
        where.capitalize() + ".",
        [(label, e.rates[metric]) for label, e in evaluations.items() if metric in e.rates],
        metric,
    )
    if comparisons:
        section.parts.append(parts.comparison_table("comparison", "Paired differences.", comparisons))
        # Of the last model, which is what the run is about.
        section.text.append(
            [c for c in comparisons if c.metric in ("pass@1", comparisons[0].metric)][-1].power
        )
    own, final = evaluations.get(ARM_NAMES["own"]), [*evaluations.values()][-1]
    if own is not None and metric in ("pass@1", MEAN_R) and metric in own.rates.keys() & final.rates.keys():
        d = compare([own], [final], k=MEAN_R if metric == MEAN_R else 1).difference
        section.text.append(
            f"Beside fine-tuning on the model's own correct samples, which need no feedback, it makes "
            f"{100 * d.value:+.1f} points of {metric} [{100 * d.low:+.1f}, {100 * d.high:+.1f}]."
        )
    if metric != MEAN_R:
        section.parts.append(parts.gates_table("gates", "Shown and hidden tests apart.", evaluations))
    return section


def _by_round(run: RunData) -> list[Section]:
    """What each further round brought, and what it cost of what was known before; empty for one round."""
    done = [data for data in run.rounds if {"before", "after"} <= data.evaluation.arms.keys()]
    if len(done) < 2:
        return []
    section = Section("by-round", "Round by round")
    held_out = [(data.evaluation.arms["before"], data.evaluation.arms["after"]) for data in done]
    metric = next(iter(held_out[0][0].rates), "pass@1")
    columns = [
        Column("model"),
        Column("feedback", "number"),
        Column(metric, "percent", bar=True),
        Column("lost"),
    ]
    asked = [0, *(len(data.feedback) for data in done)]
    rows: list[list[Cell]] = [
        [label, items, e.rates.get(metric), lost]
        for (label, e, lost), items in zip(curve(held_out), asked, strict=True)
    ]
    note = "Lost: held-out tasks that the model before solved at least once and this one never."
    section.parts.append(Table("rounds", "By round.", columns, rows, note))
    validated = [pair for data in done if (pair := data.evaluation.validated) is not None]
    series = {"held-out tasks": held_out} | ({"validation tasks": validated} if validated else {})
    lines = {
        name: [(float(x), e.rates[metric]) for x, (_, e, _) in enumerate(curve(pairs)) if metric in e.rates]
        for name, pairs in series.items()
    }
    if figures.available() and all(lines.values()):
        told = "; ".join(
            f"{name}: " + ", ".join(f"{100 * e.value:.1f}%" for _, e in points)
            for name, points in lines.items()
        )
        drawing = figures.curves({metric: lines}, "round (0: the model that it started from)")
        caption = "Bands: 95% intervals over tasks."
        section.parts.append(Figure("rounds-curve", f"{metric} by round.", caption, drawing, told))
    if run.manifest is not None and run.manifest.stopped:
        section.text.append(f"It stopped early: {run.manifest.stopped}.")
    best = best_round(RunFolder(run.path))
    if best is not None:
        section.text.append(
            f"Best on the validation tasks: round {best}."
            if best
            else "On the validation tasks no round is better than the model that it started from."
        )
    return [section]


def _round_section(data: RoundData, known: Mapping[str, Task], *, many: bool) -> Section:
    number = data.number
    suffix = f"-{number}" if many else ""
    section = Section(f"round{suffix}", f"Round {number}, step by step" if many else "The run, step by step")
    solved = {p.task_id for p, v in zip(data.programs, data.verdicts, strict=False) if v.passed}
    tasks = {p.task_id for p in data.programs}
    if data.verdicts:
        section.text.append(
            f"1. The model wrote {len(data.programs):,} programs for {len(tasks):,} tasks and solved "
            f"{len(solved):,} of them at least once."
        )
        series: dict[str, Iterable[Verdict]] = {"programs of πθ": data.verdicts}
        if data.refinements:
            series["refinements of πRefine"] = (r.verdict for r in data.refinements if r.verdict is not None)
        section.parts.append(parts.verdict_table(f"verdicts{suffix}", "What the tests said.", series))
    if data.feedback:
        section.text.append(f"2. Feedback was given on {len(data.feedback):,} wrong programs.")
        section.parts.append(parts.feedback_table(f"feedback{suffix}", "Feedback.", data.feedback))
        if written := kinds.by_model(data.feedback):
            section.parts.append(parts.kinds_table(f"kinds{suffix}", written, known))
    if data.refinements:
        passing = {r.task_id for r in data.refinements if r.verdict is not None and r.verdict.passed}
        refined = {r.task_id for r in data.refinements}
        section.text.append(
            f"3. πRefine wrote {len(data.refinements):,} refinements for {len(refined):,} tasks; for "
            f"{len(passing):,} of them at least one passes all tests."
        )
        if data.evaluation.refinement is not None:
            section.parts.append(
                parts.evaluation_table(
                    f"refinement{suffix}",
                    "πRefine on the tasks it refined.",
                    {"πRefine": data.evaluation.refinement},
                )
            )
        section.parts += parts.edit_figure(f"edits{suffix}", data.refinements, data.feedback)
    if data.examples:
        section.text.append(f"4. The model was fine-tuned on {len(data.examples):,} of them.")
        section.parts.append(_examples_table(data, suffix))
    return section


def _examples_table(data: RoundData, suffix: str) -> Table:
    weights = [example.weight for example in data.examples]
    rows: list[list[Cell]] = [
        [
            origin,
            sum(e.origin == origin for e in data.examples),
            len({e.task_id for e in data.examples if e.origin == origin}),
        ]
        for origin in dict.fromkeys(e.origin for e in data.examples)
    ]
    columns = [Column("origin"), Column("examples", "number"), Column("tasks", "number")]
    spread = f"Weights from {min(weights):.2f} to {max(weights):.2f}." if len(set(weights)) > 1 else ""
    return Table(f"examples{suffix}", "What the model was fine-tuned on.", columns, rows, spread)


def explorer_items(run: RunData) -> list[Item]:
    """Tasks of the last round that has feedback, with what each stage's model writes."""
    if not run.rounds:
        return []
    last = next((data for data in reversed(run.rounds) if data.feedback), run.rounds[-1])
    written = {
        ARM_NAMES.get(arm, arm): (rows.programs, rows.verdicts)
        for data in run.rounds
        for arm, rows in data.written.items()
        if arm != "before" or data.number == 1
    }
    change = (ARM_NAMES["before"], ARM_NAMES["after"])
    if not written and last.verdicts:
        written = {"πθ": (last.programs, last.verdicts)}
    return items.build(
        run.tasks,
        feedback=last.feedback,
        refinements=last.refinements,
        verdicts=last.verdicts,
        written=written,
        change=change,
    )


def provenance(run: RunData) -> list[tuple[str, str]]:
    """Settings, versions, seeds, hashes, cost."""
    feedback = [item for data in run.rounds for item in data.feedback]
    sampled: list[Iterable[Program | Refinement]] = []
    for data in run.rounds:
        sampled += [data.programs, data.refinements, *(arm.programs for arm in data.written.values())]
    counts = sample_counts(chain.from_iterable(sampled))
    facts = [("Model", str(run.config.get("model", "unknown"))), ("Run folder", run.path.name)]
    facts += [("Seed", str(run.manifest.seed))] if run.manifest else []
    facts += parts.manifest_rows(run.manifest)
    folder = RunFolder(run.path)
    for data, files in zip(run.rounds, folder.rounds(), strict=True):
        for path in (files.programs, files.feedback, files.examples):
            if path.is_file():
                facts.append((f"Round {data.number}, {path.name} (sha256)", digest(path)))
    return facts + parts.cost_rows(run.manifest, feedback, int(counts["samples"]), int(counts["tokens"]))
