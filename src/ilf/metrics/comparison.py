"""Paired tests between two models, corrected for being many, and what they could have found."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from statistics import NormalDist
from typing import TYPE_CHECKING

from ilf.errors import UserError
from ilf.metrics.intervals import RESAMPLES, bootstrap
from ilf.metrics.passk import Metric, per_task
from ilf.metrics.types import MEAN_R, Comparison, Estimate, Evaluation

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


def permutation_p(differences: ArrayLike, *, seed: int = 0, resamples: int = RESAMPLES) -> float:
    """Two-sided p of a mean difference under random signs (Fisher's paired randomisation test).

    Exact where at most 13 differences are not zero; else from `resamples` random sign flips, the observed one
    counted among them, so that p is never 0.

    Args:
        differences: b − a per task, shape (tasks,).
        seed: of the flips.
        resamples: how many random flips.
    """
    import numpy as np

    moved = np.asarray(differences, dtype=float).ravel()
    moved = moved[moved != 0]
    if moved.size == 0:
        return 1.0
    observed = abs(moved.sum()) - 1e-9
    if moved.size <= 13:
        signs = 1 - 2 * ((np.arange(2**moved.size)[:, None] >> np.arange(moved.size)) & 1)
        return float(np.mean(np.abs(signs @ moved) >= observed))
    rng = np.random.default_rng(seed)
    hits = 0
    chunk = max(1, 4_000_000 // moved.size)
    for start in range(0, resamples, chunk):
        size = min(chunk, resamples - start)
        flips = rng.choice(np.array([-1.0, 1.0]), (size, moved.size))
        hits += int(np.sum(np.abs(flips @ moved) >= observed))
    return (hits + 1) / (resamples + 1)


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values corrected for being looked at together, in the order given (Holm 1979)."""
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    corrected = [0.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = largest
    return corrected


def detectable(deviation: float, tasks: int, *, power: float = 0.8, level: float = 0.05) -> float:
    """Smallest true mean difference that a two-sided paired test finds with `power` (normal approximation).

    Args:
        deviation: standard deviation of the per-task differences.
        tasks: how many tasks.
        power: chance of finding it.
        level: of the test.
    """
    normal = NormalDist()
    return (normal.inv_cdf(1 - level / 2) + normal.inv_cdf(power)) * deviation / math.sqrt(tasks)


def common(evaluations: Iterable[Evaluation], ks: Sequence[int] | None = None) -> Sequence[Metric]:
    """What evaluations can be compared by: mean R where a reward decides, else pass@k.

    Args:
        evaluations: at least one.
        ks: of pass@k; by default those that all have.
    """
    known = list(evaluations)
    if all(evaluation.reward is not None for evaluation in known):
        return [MEAN_R]
    return sorted(set[int].intersection(*(set(e.pass_at) for e in known))) if ks is None else ks


def compare(
    a: Sequence[Evaluation],
    b: Sequence[Evaluation],
    *,
    names: tuple[str, str] = ("before", "after"),
    k: Metric = 1,
    seed: int = 0,
) -> Comparison:
    """Model b against model a on the same tasks, one `Evaluation` a seed (as many for b as for a).

    The interval is a bootstrap over tasks and, with several seeds, over seeds; the test flips the signs of
    the tasks' differences averaged over seeds. `k` None compares "1+ correct"; mean R comes with a win rate.

    Raises:
        UserError: the tasks differ, or the numbers of seeds do.
    """
    import numpy as np

    if not a or len(a) != len(b):
        raise UserError(f"a paired comparison needs as many seeds on both sides, got {len(a)} and {len(b)}")
    ids = [task.task_id for task in a[0].tasks]
    table = []
    for left, right in zip(a, b, strict=True):
        x, y = per_task(left, k), per_task(right, k)
        if x.keys() != set(ids) or y.keys() != set(ids):
            odd = sorted((x.keys() ^ y.keys()) | (x.keys() ^ set(ids)))
            raise UserError(f"a paired comparison needs the same tasks on both sides; only on one: {odd[0]}")
        table.append([y[i] - x[i] for i in ids])
    differences = np.asarray(table)
    by_task = differences.mean(axis=0)
    deviation = float(by_task.std(ddof=1)) if len(ids) > 1 else 0.0
    mean = float(by_task.mean())
    return Comparison(
        a=names[0],
        b=names[1],
        metric="1+ correct" if k is None else k if k == MEAN_R else f"pass@{k}",
        tasks=len(ids),
        samples=min(evaluation.n for evaluation in (*a, *b)),
        seeds=len(a),
        difference=bootstrap(differences, seed=seed, bound=1.0),
        p=permutation_p(by_task, seed=seed),
        effect=mean / deviation if deviation > 0 else 0.0,
        better=int(np.sum(by_task > 0)),
        worse=int(np.sum(by_task < 0)),
        same=int(np.sum(by_task == 0)),
        detectable=detectable(deviation, len(ids)) if deviation > 0 else None,
        wins=_wins(a, b, seed) if k == MEAN_R else None,
    )


def _wins(a: Sequence[Evaluation], b: Sequence[Evaluation], seed: int) -> Estimate:
    """How often a sample of b has a higher R than one of a on the same task, ties half."""
    import numpy as np

    table = []
    for left, right in zip(a, b, strict=True):
        of = {task.task_id: np.asarray(task.rewards) for task in right.tasks}
        apart = [np.sign(of[task.task_id][:, None] - np.asarray(task.rewards)) for task in left.tasks]
        table.append([float((1 + signs.mean()) / 2) for signs in apart])
    return bootstrap(np.asarray(table), seed=seed, unit=True)


def with_holm(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """The comparisons with `p_holm` and `family` filled in, corrected for being made together."""
    corrected, family = holm([comparison.p for comparison in comparisons]), len(comparisons)
    return [
        c.model_copy(update={"p_holm": p, "family": family})
        for c, p in zip(comparisons, corrected, strict=True)
    ]
