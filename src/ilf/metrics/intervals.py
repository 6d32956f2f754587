"""Bootstrap intervals over tasks and seeds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from ilf.errors import UserError
from ilf.metrics.types import Estimate

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

RESAMPLES = 10_000
"""Bootstrap resamples and random sign flips: an interval's ends move by about 0.1 points between seeds."""
CONFIDENCE = 0.95


def bootstrap(
    values: ArrayLike,
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
    unit: bool = False,
    bound: float | None = None,
) -> Estimate:
    """Mean of `values` with its 95% percentile bootstrap interval over tasks (and seeds).

    Args:
        values: per task, shape (tasks,), or per seed and task, shape (seeds, tasks). With more than one seed,
            tasks and seeds are resampled independently (Owen 2007, the "pigeonhole" bootstrap).
        seed: of the resampling.
        resamples: how many.
        unit: the values are shares between 0 and 1.
        bound: largest absolute value possible; 1 where `unit`. Used where all values are equal: the bootstrap
            would then claim certainty, and the exact bound for "none of T tasks" takes its place
            (1 − 0.025^(1/T), Clopper and Pearson 1934).

    Raises:
        UserError: no values.
    """
    import numpy as np

    table = np.atleast_2d(np.asarray(values, dtype=float))
    tasks = table.shape[1]
    if table.size == 0:
        raise UserError("an interval needs at least one value")
    mean = float(table.mean())
    bound = 1.0 if unit else bound
    if np.ptp(table) == 0:
        slack = 0.0 if bound is None else bound * (1.0 - ((1 - CONFIDENCE) / 2) ** (1.0 / tasks))
        low, high = mean - slack, mean + slack
    else:
        rng = np.random.default_rng(seed)
        means = np.concatenate(list(_resampled(table, rng, resamples)))
        low, high = (float(end) for end in np.quantile(means, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2]))
    if unit:
        low, high = max(low, 0.0), min(high, 1.0)
    return Estimate(value=mean, low=low, high=high)


def _resampled(
    table: NDArray[np.float64], rng: np.random.Generator, resamples: int
) -> Iterable[NDArray[np.float64]]:
    """Means of bootstrap resamples, in chunks that keep memory under about 64 MB."""
    import numpy as np

    seeds, tasks = table.shape
    chunk = max(1, 4_000_000 // (tasks * seeds))
    for start in range(0, resamples, chunk):
        size = min(chunk, resamples - start)
        picked = table[:, rng.integers(0, tasks, (size, tasks))].mean(axis=2)  # (seeds, size)
        if seeds == 1:
            yield picked[0]
        else:
            yield picked[rng.integers(0, seeds, (size, seeds)), np.arange(size)[:, None]].mean(axis=1)


def mean_by_group(values: ArrayLike, groups: Sequence[str], *, seed: int = 0) -> Estimate:
    """Mean over groups (tasks) of their samples' means, with its bootstrap interval over groups.

    Args:
        values: one a sample, shape (samples,).
        groups: task of each sample.
        seed: of the bootstrap.
    """
    import numpy as np

    sums: dict[str, list[float]] = {}
    for group, value in zip(groups, np.asarray(values, dtype=float), strict=True):
        sums.setdefault(group, []).append(float(value))
    return bootstrap([sum(found) / len(found) for found in sums.values()], seed=seed)
