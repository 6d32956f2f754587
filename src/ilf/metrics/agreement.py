"""How far two who sort the same items agree beyond chance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ilf.errors import UserError
from ilf.metrics.intervals import CONFIDENCE, RESAMPLES
from ilf.metrics.types import Estimate

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def kappa(
    a: Sequence[bool], b: Sequence[bool], *, seed: int = 0, resamples: int = RESAMPLES
) -> Estimate | None:
    """Cohen's kappa (1960) of two yes/no judgements, with its 95% percentile bootstrap interval over items.

    0 is what chance gives, 1 is always the same, below 0 is less than chance. Resamples in which it is not
    defined are left out.

    Args:
        a: one judge, an item each.
        b: the other, on the same items.
        seed: of the bootstrap.
        resamples: how many.

    Returns:
        None where a judge gives one and the same answer throughout: kappa is 0 or 0/0 there, whatever the
        other one says.

    Raises:
        UserError: no items, or not as many on both sides.
    """
    import numpy as np

    if not a or len(a) != len(b):
        raise UserError(f"kappa needs the same items on both sides, got {len(a)} and {len(b)}")
    if len(set(a)) == 1 or len(set(b)) == 1:
        return None
    pairs = np.array([a, b], dtype=float)
    value = float(_kappa(pairs[:, None, :])[0])
    rng = np.random.default_rng(seed)
    found = _kappa(pairs[:, rng.integers(0, len(a), (resamples, len(a)))])
    low, high = np.nanquantile(found, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Estimate(value=value, low=float(low), high=float(high))


def _kappa(pairs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Kappa of each row, shape (2, rows, items) → (rows,); NaN where it is 0/0."""
    import numpy as np

    one, two = pairs[0].mean(axis=1), pairs[1].mean(axis=1)
    observed = (pairs[0] == pairs[1]).mean(axis=1)
    chance = one * two + (1 - one) * (1 - two)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(np.isclose(chance, 1), np.nan, (observed - chance) / (1 - chance))
