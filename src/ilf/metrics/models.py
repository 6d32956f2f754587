"""How surely a model writes a text, how far two models are apart, and importance weights."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ilf.errors import UserError
from ilf.metrics.intervals import bootstrap, mean_by_group
from ilf.metrics.types import Estimate

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


def perplexity(logprob: float, tokens: int) -> float:
    """exp(−log p / tokens) of a text of `tokens` tokens whose log-probabilities sum to `logprob` nats."""
    if tokens < 1:
        raise UserError("the perplexity of a text without tokens is not defined")
    # Past this a float overflows; such a text is "impossible" all the same.
    return math.exp(min(-logprob / tokens, 700.0))


def kl_categorical(p: ArrayLike, q: ArrayLike) -> float:
    """KL(p, q) = Σ p log(p/q) of two distributions over the same outcomes, shape (outcomes,), in nats."""
    import numpy as np

    p, q = np.asarray(p, dtype=float), np.asarray(q, dtype=float)
    support = p > 0
    if np.any(q[support] == 0):
        return math.inf
    return float(np.sum(p[support] * np.log(p[support] / q[support])))


def kl_samples(
    logprob_p: ArrayLike, logprob_q: ArrayLike, *, groups: Sequence[str] = (), seed: int = 0
) -> Estimate:
    """KL(p, q) estimated from samples of p: the mean of log p(x) − log q(x), in nats a sample.

    Unbiased; a small negative value means "near 0". The interval is a bootstrap over groups (tasks), whose
    samples are averaged first, or over samples where there are no groups.

    Args:
        logprob_p: log p of each sample under the model that wrote it, shape (samples,).
        logprob_q: log q of the same texts under the other model, shape (samples,).
        groups: task of each sample.
        seed: of the bootstrap.
    """
    import numpy as np

    ratio = np.asarray(logprob_p, dtype=float) - np.asarray(logprob_q, dtype=float)
    return mean_by_group(ratio, groups, seed=seed) if groups else bootstrap(ratio, seed=seed)


def importance_weights(
    rewards: Sequence[float],
    logprob_q: Sequence[float],
    *,
    beta: float = 1.0,
    clip: float | None = None,
    groups: Sequence[str] = (),
) -> list[float]:
    """Weights π*(x1) / q(x1) of samples from the proposal q, self-normalised to mean 1 (paper, equation 6).

    π*(x) ∝ exp(β·R(x, t)), so log w = β·R − log q + constant; the constant drops out. q is the refiner's
    probability of the sampled text given its prompt, which stands for the marginal over wrong programs and
    feedback. Sequence probabilities differ by many orders of magnitude: without clipping one sample often
    carries a whole task, which `effective_sample_size` shows.

    Args:
        rewards: R of each sample, shape (samples,).
        logprob_q: log q of each sample in nats, shape (samples,).
        beta: β, how strongly reward counts.
        clip: keeps a weight within [median / clip, median · clip] of its group before normalising (the
            median, because one huge weight is the mean); None leaves them.
        groups: task of each sample; normalised within each, as q is a distribution per task. Empty: one.

    Returns:
        One weight a sample; they average 1 within each group.
    """
    import numpy as np

    if not len(rewards) == len(logprob_q) == (len(groups) or len(rewards)):
        raise UserError("importance weights: rewards, log-probabilities and groups differ in length")
    if clip is not None and clip < 1:
        raise UserError(f"importance weights: clip must be at least 1, got {clip}")
    logs = beta * np.asarray(rewards, dtype=float) - np.asarray(logprob_q, dtype=float)
    members: dict[str, list[int]] = {}
    for index in range(len(rewards)):
        members.setdefault(groups[index] if groups else "", []).append(index)
    weights = np.zeros(len(rewards))
    for indices in members.values():
        group = logs[indices]
        if clip is not None:
            group = np.clip(group, np.median(group) - math.log(clip), np.median(group) + math.log(clip))
        group = np.exp(group - group.max())
        weights[indices] = group * (len(indices) / group.sum())
    return [float(weight) for weight in weights]


def effective_sample_size(weights: Sequence[float]) -> float:
    """(Σw)² / Σw²: how many equally weighted samples would be as good (Kish 1965)."""
    squares = math.fsum(w * w for w in weights)
    return math.fsum(weights) ** 2 / squares if squares > 0 else 0.0
