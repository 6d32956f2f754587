"""What the numbers mean: intervals over tasks and seeds, paired tests, sharpening, worth of feedback."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from ilf.metrics import (
    Comparison,
    Estimate,
    Evaluation,
    TaskCounts,
    bootstrap,
    compare,
    per_task,
    with_holm,
)
from ilf.study.results import ArmResult, ItemResult, Results, SeedResult, Shared

Which = Literal["test", "best"] | Callable[[SeedResult], Evaluation | None]
"""Which of an arm's evaluations: at the study's temperature, at its best one, or what a function takes."""
Call = Literal["learning", "sharpening", "learning at its best temperature only", "worse", "no difference"]


def evaluations(result: ArmResult, which: Which = "test") -> dict[int, Evaluation]:
    """Seed → evaluation, by default on the test tasks at the run's temperature."""

    def chosen(row: SeedResult) -> Evaluation | None:
        return which(row) if callable(which) else row.test if which == "test" else row.best

    found = {row.seed: chosen(row) for row in result.seeds}
    return {seed: evaluation for seed, evaluation in found.items() if evaluation is not None}


def pooled(found: Sequence[Evaluation], k: int | None) -> Estimate | None:
    """Mean over tasks and seeds with its interval over both; None where it cannot be had.

    Where seeds have unlike tasks (those that πθ never solved, validation tasks), a task counts by its mean
    over the seeds that have it, and the interval is over tasks.
    """
    if not found or any(k is not None and k not in evaluation.pass_at for evaluation in found):
        return None
    rows = [per_task(evaluation, k) for evaluation in found]
    if all(row.keys() == rows[0].keys() for row in rows):
        return bootstrap([[row[task_id] for task_id in rows[0]] for row in rows], unit=True)
    return _over_tasks([pair for row in rows for pair in row.items()])


def restricted(evaluation: Evaluation, to: Evaluation) -> Evaluation:
    """The counts of an evaluation on the tasks of another, for `pooled`: its own rates are not made again."""
    ids = {task.task_id for task in to.tasks}
    return evaluation.model_copy(update={"tasks": tuple(t for t in evaluation.tasks if t.task_id in ids)})


def task_count(found: Sequence[Evaluation]) -> int:
    """How many tasks any of the evaluations is on."""
    return len({task.task_id for evaluation in found for task in evaluation.tasks})


def rate(result: ArmResult | None, k: int | None, which: Which = "test") -> Estimate | None:
    """pass@k of an arm over its seeds."""
    return None if result is None else pooled(list(evaluations(result, which).values()), k)


def averaged(found: Sequence[Evaluation]) -> Evaluation:
    """An arm's evaluations over its seeds as one: rates pooled as by `pooled`, counts of samples added up."""
    first = found[0]
    if len(found) == 1:
        return first
    return first.model_copy(
        update={
            "pass_at": {k: e for k in first.pass_at if (e := pooled(found, k)) is not None},
            "solved": pooled(found, None),
            "shown_pass_at_1": _gate(found, lambda task: task.shown_passed),
            "hidden_pass_at_1": _gate(found, lambda task: task.hidden_passed),
            "only_shown": sum(evaluation.only_shown for evaluation in found),
            "unscored": sum(evaluation.unscored for evaluation in found),
            "refused": {k: reason for evaluation in found for k, reason in evaluation.refused.items()},
        }
    )


def _gate(found: Sequence[Evaluation], passed: Callable[[TaskCounts], int | None]) -> Estimate | None:
    rates = [{t.task_id: c / t.n for t in e.tasks if (c := passed(t)) is not None and t.n} for e in found]
    ids = [task_id for task_id in rates[0] if all(task_id in row for row in rates)]
    return bootstrap([[row[task_id] for task_id in ids] for row in rates], unit=True) if ids else None


def contrast(a: ArmResult, b: ArmResult, k: int | None, which: Which = "test") -> Comparison | None:
    """Arm b against arm a on the seeds that both have; None where they share none."""
    left, right = evaluations(a, which), evaluations(b, which)
    seeds = sorted(left.keys() & right.keys())
    if k is not None:
        seeds = [s for s in seeds if k in left[s].pass_at and k in right[s].pass_at]
    if not seeds:
        return None
    names = (a.arm.label, b.arm.label)
    return compare([left[s] for s in seeds], [right[s] for s in seeds], names=names, k=k)


def against(
    results: Results, base: str, k: int, group: str | None = "final", which: Which = "test"
) -> list[tuple[ArmResult, Comparison]]:
    """Every arm of a group (None: of all) against arm `base`, Holm-corrected together."""
    first = results.arm(base)
    if first is None:
        return []
    pairs = []
    for result in results.arms:
        if group in (None, result.arm.group) and result.arm.name != base and result.seeds:
            found = contrast(first, result, k, which)
            if found is not None:
                pairs.append((result, found))
    corrected = with_holm([comparison for _, comparison in pairs])
    return [(result, comparison) for (result, _), comparison in zip(pairs, corrected, strict=True)]


def call(at_run: Comparison, at_best: Comparison | None) -> Call:
    """What a difference from zero-shot is: a gain that vanishes at the best temperatures is sharpening."""
    gained = at_run.difference.low > 0
    if at_best is None:
        return "learning" if gained else "worse" if at_run.difference.high < 0 else "no difference"
    if gained:
        return "learning" if at_best.difference.low > 0 else "sharpening"
    if at_best.difference.low > 0:
        return "learning at its best temperature only"
    if at_run.difference.high < 0 and at_best.difference.high < 0:
        return "worse"
    return "no difference"


# --- size of the feedback set -----------------------------------------------------------------------------


@dataclass(frozen=True)
class SizeCurve:
    """pass@k against the number of feedback items."""

    points: list[tuple[float, Estimate]]
    """(items, rate), by items; 0 items is the untuned model. Where seeds have unlike numbers of items, an
    arm's is their mean."""
    slope: Estimate | None
    """Points of pass@k (0 to 1) an item, by a straight line through the points, interval over tasks."""

    @property
    def more_items(self) -> str:
        """How many more items one more point takes, in words."""
        if self.slope is None:
            return "The size curve has too few points for a slope."
        if self.slope.low <= 0:
            span = f"[{100 * self.slope.low:+.3f}, {100 * self.slope.high:+.3f}]"
            return (
                f"A straight line through the size curve rises by {100 * self.slope.value:+.3f} points an "
                f"item, 95% interval {span}: it includes 0, so how many items one more point takes cannot be "
                "told."
            )
        value, low, high = (0.01 / s for s in (self.slope.value, self.slope.high, self.slope.low))
        return f"One more point takes about {value:,.0f} more items, 95% interval [{low:,.0f}, {high:,.0f}]."


def size_feedback(results: Results) -> list[str]:
    """Whose feedback there are size curves of."""
    found = [r.arm.feedback for r in results.arms if r.arm.group == "size" and r.seeds]
    return list(dict.fromkeys(found))


def size_curve(results: Results, k: int, feedback: str = "people") -> SizeCurve:
    """The size arms on one kind of feedback, and zero-shot; seeds averaged."""
    by_items: dict[float, list[Evaluation]] = {}
    zero = results.arm("zero-shot")
    if zero is not None:
        by_items[0.0] = list(evaluations(zero).values())
    for result in results.arms:
        if result.arm.group == "size" and result.arm.feedback == feedback:
            items = mean_of(result.seeds, lambda row: None if row.items is None else float(row.items))
            if items is not None:
                by_items.setdefault(items, []).extend(evaluations(result).values())
    points = [(items, e) for items in sorted(by_items) if (e := pooled(by_items[items], k)) is not None]
    return SizeCurve(points, _slope({items: by_items[items] for items, _ in points}, k))


def _slope(by_items: dict[float, list[Evaluation]], k: int) -> Estimate | None:
    if len(by_items) < 3:
        return None
    sizes = sorted(by_items)
    center = sum(sizes) / len(sizes)
    spread = sum((x - center) ** 2 for x in sizes)
    ids = [task.task_id for task in by_items[sizes[0]][0].tasks]
    # A regression's slope is linear in the rates: each task has one, and their mean is the curve's.
    slopes = dict.fromkeys(ids, 0.0)
    for items in sizes:
        weight = (items - center) / spread / len(by_items[items])
        for evaluation in by_items[items]:
            for task_id, value in per_task(evaluation, k).items():
                slopes[task_id] += weight * value
    return bootstrap(list(slopes.values()))


# --- what feedback is worth -------------------------------------------------------------------------------


def distinct(items: Sequence[ItemResult]) -> list[ItemResult]:
    """Each feedback item once, whatever number of seeds it was used in."""
    found: dict[object, ItemResult] = {}
    for item in items:
        known = (item.task_id, item.author, item.source, item.seconds, item.words, item.tags, item.bugs)
        found.setdefault(item.feedback_id or known, item)
    return list(found.values())


def refined_items(results: Results) -> list[ItemResult]:
    """The train split's items of all seeds, as often as seeds have them: what πRefine made of each."""
    return [item for shared in results.seeds for item in shared.items]


def all_items(results: Results) -> list[ItemResult]:
    """The feedback of all seeds, of the refine and of the train split, each item once."""
    return distinct([item for shared in results.seeds for item in (*shared.teaching, *shared.items)])


def per_seed(results: Results, value: Callable[[Shared], float]) -> float:
    """Mean over the seeds."""
    return sum(value(shared) for shared in results.seeds) / max(1, len(results.seeds))


def by_bugs(items: Sequence[ItemResult], most: int = 5) -> dict[int, list[ItemResult]]:
    """Items by the number of bugs they address; `most` stands for that many or more."""
    found: dict[int, list[ItemResult]] = {}
    for item in items:
        if item.n:
            found.setdefault(min(item.bugs, most), []).append(item)
    return dict(sorted(found.items()))


def pass_rate(items: Sequence[ItemResult]) -> Estimate | None:
    """Share of the refinements that pass, a mean over tasks with its interval over tasks."""
    return _over_tasks([(item.task_id, item.passed / item.n) for item in items if item.n])


def solved_share(items: Sequence[ItemResult]) -> Estimate | None:
    """Share of the items with at least one refinement that passes, a mean over tasks."""
    return _over_tasks([(item.task_id, float(item.passed > 0)) for item in items if item.n])


def _over_tasks(found: Sequence[tuple[str, float]]) -> Estimate | None:
    """Mean over tasks: items of several seeds on one task are not independent of each other."""
    by_task: dict[str, list[float]] = {}
    for task_id, value in found:
        by_task.setdefault(task_id, []).append(value)
    return bootstrap([sum(v) / len(v) for v in by_task.values()], unit=True) if found else None


def grouped(
    items: Sequence[ItemResult], key: Callable[[ItemResult], Sequence[str]]
) -> dict[str, list[ItemResult]]:
    """Items by the names that `key` gives each (an item may have several), the largest group first."""
    found: dict[str, list[ItemResult]] = {}
    for item in items:
        for name in key(item):
            found.setdefault(name, []).append(item)
    return dict(sorted(found.items(), key=lambda pair: (-len(pair[1]), pair[0])))


def mean_of(rows: Sequence[SeedResult], value: Callable[[SeedResult], float | None]) -> float | None:
    """Mean over the seeds that have the value."""
    found = [v for row in rows if (v := value(row)) is not None]
    return sum(found) / len(found) if found else None
