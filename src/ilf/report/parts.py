"""Tables, figures and sentences that the reports of runs, comparisons and studies share."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from ilf import metrics
from ilf.feedback import kinds
from ilf.metrics import Comparison, Estimate, Evaluation
from ilf.records import Feedback, Refinement, Task, Verdict
from ilf.report import figures
from ilf.report.content import Cell, Column, Figure, Table
from ilf.runfolder import Manifest
from ilf.steps.verdicts import SHARED

ABOUT = (
    "How it works: a code model writes programs; tests find the wrong ones; someone says in words what is "
    "wrong and how to fix it; a second model, πRefine, follows that feedback; its programs that pass the "
    "tests are what the first model is fine-tuned on. The question is whether it then writes better programs "
    "for tasks that nobody gave feedback on (Chen et al. 2023, arXiv 2303.16749)."
)
READING = (
    "pass@k is the chance that at least one of k programs passes all tests of a task, averaged over all "
    "tasks; numbers in brackets are 95% intervals by bootstrap over tasks."
)

READING_R = (
    "R is what an answer is worth, from 0% to 100%, by the reward that the settings below name; mean R is "
    "its average over a task's samples and then over all tasks; numbers in brackets are 95% intervals by "
    "bootstrap over tasks."
)

CHEATABLE = f"{SHARED}: their tests ran inside the program's process, where a hostile one is able to cheat"


def evaluation_table(
    name: str, title: str, evaluations: Mapping[str, Evaluation], note: str = "", first: str = "model"
) -> Table:
    """pass@k and "1+ correct" (or mean R) of several models, a row each."""
    names = metrics.columns(evaluations.values())
    columns = [
        Column(first),
        *(Column(name, "percent", bar=True) for name in names),
        Column("tasks", "number"),
        Column("samples", "number"),
    ]
    rows: list[list[Cell]] = [
        [label, *(e.columns.get(name) for name in names), len(e.tasks), e.n]
        for label, e in evaluations.items()
    ]
    reasons = [f"{label}: {reason}." for label, e in evaluations.items() for reason in e.refused.values()]
    unscored = {label: e.unscored for label, e in evaluations.items() if e.unscored}
    reasons += [
        f"{label}: {count} samples got no verdict and are in no rate." for label, count in unscored.items()
    ]
    return Table(name, title, columns, rows, " ".join([note, *reasons]).strip())


def gates_table(name: str, title: str, evaluations: Mapping[str, Evaluation], first: str = "model") -> Table:
    """Pass rates on the shown and the hidden tests apart."""
    columns = [
        Column(first),
        Column("shown test", "percent"),
        Column("hidden tests", "percent"),
        Column("all tests", "percent"),
        Column("only the shown one (samples)", "number"),
    ]
    rows: list[list[Cell]] = [
        [label, e.shown_pass_at_1, e.hidden_pass_at_1, e.pass_at.get(1), e.only_shown]
        for label, e in evaluations.items()
    ]
    note = (
        "pass@1 on the test that stands in the prompt, on the others, and on all. Teaching to the test would "
        "raise the first column and the last more than the others."
    )
    return Table(name, title, columns, rows, note)


def comparison_table(name: str, title: str, comparisons: Sequence[Comparison], note: str = "") -> Table:
    """Paired differences with their tests."""
    won = any(c.wins is not None for c in comparisons)
    columns = [
        Column("model"),
        Column("against"),
        Column("metric"),
        Column("tasks", "number"),
        Column("difference (points)", "points"),
        Column("p", "p"),
        Column("p (Holm)", "p"),
        Column("effect d", "number", 2),
        Column("better/worse/same"),
        Column("detectable (points)", "number"),
        *([Column("win rate", "percent")] if won else []),
    ]
    rows: list[list[Cell]] = [
        [
            c.b,
            c.a,
            c.metric,
            c.tasks,
            c.difference,
            c.p,
            c.p_holm,
            c.effect,
            f"{c.better}/{c.worse}/{c.same}",
            None if c.detectable is None else 100 * c.detectable,
            *([c.wins] if won else []),
        ]
        for c in comparisons
    ]
    explained = (
        "Paired over tasks: interval by bootstrap, p by permutation, Holm-corrected over the rows; d is the "
        "mean difference over its standard deviation between tasks; the last column is the smallest true "
        "difference that so many tasks would show with 80% power."
    )
    if won:
        explained += (
            " The win rate is how often a sample of the model has a higher R than one of the other on the "
            "same task, ties counting half."
        )
    return Table(name, title, columns, rows, f"{explained} {note}".strip())


def verdict_table(
    name: str, title: str, series: Mapping[str, Iterable[Verdict]], first: str = "programs"
) -> Table:
    """Share of each status, a row a series; how many have isolation shared stands below."""
    counts: dict[str, Counter[str]] = {}
    shared: Counter[str] = Counter()
    for label, verdicts in series.items():
        counts[label] = Counter()
        for verdict in verdicts:
            counts[label][verdict.status] += 1
            shared[verdict.task_id] += verdict.shared
    statuses = [s for s, _ in sum(counts.values(), Counter()).most_common()]
    rows: list[list[Cell]] = [
        [label, sum(found.values()), *(found[s] / max(1, sum(found.values())) for s in statuses)]
        for label, found in counts.items()
    ]
    columns = [Column(first), Column("programs", "number"), *(Column(s, "percent") for s in statuses)]
    tasks = [task_id for task_id, count in shared.items() if count]
    explained = (
        f"{shared.total():,} verdicts {CHEATABLE} ({len(tasks)} tasks, first {tasks[0]})." if tasks else ""
    )
    return Table(name, title, columns, rows, explained)


def bars_figure(
    name: str, title: str, caption: str, rows: Sequence[tuple[str, Estimate]], metric: str = "pass@1"
) -> list[Figure]:
    """Bars with intervals, or nothing where matplotlib is not installed."""
    if not rows or not figures.available():
        return []
    told = "; ".join(f"{label} {100 * e.value:.1f}%" for label, e in rows)
    return [Figure(name, title, caption, figures.bars(metric, rows), told)]


def feedback_table(name: str, title: str, feedback: Sequence[Feedback]) -> Table:
    """How much feedback there is, by where it comes from."""
    rows: list[list[Cell]] = []
    for source in dict.fromkeys(map(_written_by, feedback)):
        items = [item for item in feedback if _written_by(item) == source]
        words = [len(item.text.split()) for item in items]
        timed = [item.seconds for item in items if item.seconds is not None]
        rows.append(
            [
                source,
                len(items),
                len({item.task_id for item in items}),
                len({item.author for item in items if item.author}),
                sum(words) / len(words),
                sum(timed) / 60 if timed else None,
                sum(item.refinement is not None for item in items),
            ]
        )
    columns = [
        Column("source"),
        Column("items", "number"),
        Column("tasks", "number"),
        Column("authors", "number"),
        Column("words each", "number"),
        Column("minutes in all", "number"),
        Column("with a refinement", "number"),
    ]
    return Table(name, title, columns, rows)


def kinds_table(name: str, items: Sequence[Feedback], tasks: Mapping[str, Task]) -> Table:
    """What a model's feedback addresses, beside the paper's Table 5."""
    columns = [
        Column("kind"),
        Column("this model", "percent", 0),
        Column("people (paper)", "percent", 0),
        Column("InstructGPT (paper)", "percent", 0),
    ]
    note = (
        f"Shares of {len(items)} texts by a model, tagged by rules; the paper's are of 50 each, tagged by "
        "its authors. A text may be of several kinds, but for those that are no feedback."
    )
    return Table(name, "Kinds of bug in feedback by a model.", columns, kinds.table5(items, tasks), note)


def _written_by(item: Feedback) -> str:
    """Its source; with what was suggested to its author, where some of those words are in it."""
    return f"{item.source}, with suggestions ({', '.join(item.assisted)})" if item.assisted else item.source


def edit_figure(name: str, refinements: Iterable[Refinement], feedback: Sequence[Feedback]) -> list[Figure]:
    """How much of the wrong program a refinement changes, passing and failing ones apart."""
    lengths = {item.feedback_id: len(item.code) for item in feedback}
    series = {"passes": array("d"), "fails": array("d")}
    for refinement in refinements:
        if refinement.edit_distance is not None and refinement.verdict is not None:
            longest = max(len(refinement.code), lengths.get(refinement.feedback_id, 0), 1)
            key = "passes" if refinement.verdict.passed else "fails"
            series[key].append(refinement.edit_distance / longest)
    if not any(series.values()) or not figures.available():
        return []
    drawing = figures.histogram(series, "edit distance to the wrong program / longer length", span=(0.0, 1.0))
    means = {k: sum(v) / len(v) for k, v in series.items() if v}
    told = "; ".join(f"{k}: mean {v:.2f}" for k, v in means.items())
    return [
        Figure(
            name,
            "How much refinements change.",
            "Levenshtein distance over the longer length; the paper keeps human refinements under 0.5.",
            drawing,
            f"Histogram of relative edit distances, {told}",
        )
    ]


def verdict_words(comparison: Comparison) -> str:
    """What a paired comparison found: a gain, a loss, or nothing to be told from noise."""
    if comparison.difference.low > 0:
        return "a gain"
    if comparison.difference.high < 0:
        return "a loss"
    return "a difference that cannot be told from noise"


def cost_rows(
    manifest: Manifest | None, feedback: Sequence[Feedback], programs: int, tokens: int
) -> list[tuple[str, str]]:
    """Seconds, tokens, programs, feedback items and annotator minutes."""
    rows = []
    if manifest is not None:
        seconds = sum(step.seconds for step in manifest.steps.values())
        seconds += sum(manifest.partial_seconds.values())
        rows.append(("Wall-clock time", f"{seconds:,.0f} s ({seconds / 3600:.2f} h)"))
        trained = [s.counts for s in manifest.steps.values() if "samples" not in s.counts]
        rows.append(("Tokens fine-tuned on", f"{sum(counts.get('tokens', 0) for counts in trained):,.0f}"))
        rows += shared_rows([manifest])
    rows.append(("Sampled tokens", f"{tokens:,}"))
    rows.append(("Programs verified", f"{programs:,}"))
    minutes = [item.seconds / 60 for item in feedback if item.seconds is not None]
    spent = (
        f", {sum(minutes):,.0f} annotator minutes ({len(minutes)} of them timed)"
        if minutes
        else ", not timed"
    )
    rows.append(("Feedback", f"{len(feedback)} items{spent}"))
    return rows


def shared_rows(manifests: Iterable[Manifest | None]) -> list[tuple[str, str]]:
    """How many verdicts have isolation shared; nothing where none has."""
    steps = [step for manifest in manifests if manifest for step in manifest.steps.values()]
    shared = sum(step.counts.get(SHARED, 0) for step in steps)
    return [(f"Verdicts {SHARED}", f"{shared:,.0f}")] if shared else []


def manifest_rows(manifest: Manifest | None) -> list[tuple[str, str]]:
    """Versions and hashes."""
    if manifest is None:
        return [("Manifest", "missing")]
    rows = [("ilf", manifest.version), ("Started", manifest.created)]
    rows += [(key, value) for key, value in manifest.environment.items()]
    if manifest.tasks_hash:
        rows.append(("Tasks (sha256)", manifest.tasks_hash))
    return rows
