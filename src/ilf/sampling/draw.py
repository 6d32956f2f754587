"""Drawing tokens: random numbers of each sample's own, and the choice of a token from logits."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

# Rows of logits handled together: small enough that their temporaries stay in the processor's cache.
_CHUNK = 8
# On a GPU, few enough for their temporaries to be small beside the model.
_GPU_CHUNK = 512
# Tokens summed into one block of the cumulative distribution.
_BLOCK = 256
# Tokens looked at first when a nucleus is cut; where they hold less than top_p, all are sorted.
_NUCLEUS = 512


def uniforms(keys: NDArray[np.uint64], steps: NDArray[np.uint64]) -> NDArray[np.float64]:
    """One number in [0, 1) for each (key, step): SplitMix64 (Steele, Lea and Flood, 2014), 53 bits.

    Args:
        keys: uint64, any shape.
        steps: uint64 counters from 0, same shape.
    """
    with np.errstate(over="ignore"):
        state = keys + (steps + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        state ^= state >> np.uint64(31)
    return np.asarray((state >> np.uint64(11)) * 2.0**-53, np.float64)


def choose(
    logits: Any,
    numbers: NDArray[np.float64],
    temperature: float,
    top_p: float,
    owners: NDArray[np.int64] | None = None,
) -> tuple[list[int], list[float]]:
    """Draw tokens by inverting the cumulative distribution.

    Args:
        logits: (rows, vocabulary).
        numbers: (draws,) in [0, 1), which decide the draws.
        temperature: 0 takes the likeliest token.
        top_p: mass of the nucleus that is drawn from, after temperature; 1 is all.
        owners: (draws,) the row that each is drawn from, in ascending order; None draws one a row.

    Returns:
        The tokens, and their log-probabilities at temperature 1 over the whole vocabulary (nats).
    """
    if owners is None:
        owners = np.arange(len(logits))
    draws = torch.from_numpy(numbers).to(logits.device)
    chunk = _CHUNK if logits.device.type == "cpu" else _GPU_CHUNK
    tokens, logprobs = [], []
    for start in range(0, len(logits), chunk):
        low, high = np.searchsorted(owners, (start, start + chunk))
        rows = torch.from_numpy(owners[low:high] - start).to(logits.device)
        part = logits[start : start + chunk].float()
        top = part.amax(-1, keepdim=True)
        shifted = part - top
        if temperature == 0:
            token = part.argmax(-1)[rows]
        else:
            weights = shifted.div(temperature).exp_()
            pick = _invert if top_p >= 1 else _nucleus
            token = pick(weights, draws[low:high], rows, top_p)
        chosen = shifted[rows, token]
        logprobs.append(chosen - shifted.exp_().sum(-1).log()[rows])
        tokens.append(token)
    return torch.cat(tokens).tolist(), torch.cat(logprobs).tolist()


def _invert(weights: Any, draws: Any, rows: Any, top_p: float) -> Any:
    """Two levels, blocks and then tokens of a block, so that few numbers are summed in float64."""
    count, size = weights.shape
    if size % _BLOCK:
        weights = torch.nn.functional.pad(weights, (0, _BLOCK - size % _BLOCK))
    blocks = weights.view(count, -1, _BLOCK)
    sums = blocks.sum(-1).double().cumsum(-1)[rows]
    target = draws[:, None] * sums[:, -1:]
    block = torch.searchsorted(sums, target, right=True).clamp_(max=blocks.shape[1] - 1)
    before = sums.gather(1, (block - 1).clamp_(min=0)).where(block > 0, 0.0)
    inside = blocks[rows, block.squeeze(1)].double().cumsum(-1)
    # The two sums of a block differ in their last digits: never step past its last token with any weight.
    rest = torch.minimum(target - before, inside[:, -1:] * (1 - 1e-12))
    token = torch.searchsorted(inside, rest, right=True).clamp_(max=_BLOCK - 1)
    return (block * _BLOCK + token).squeeze(1)


def _nucleus(weights: Any, draws: Any, rows: Any, top_p: float) -> Any:
    """Draw from the fewest likeliest tokens that hold `top_p` of the mass."""
    total = weights.sum(-1, keepdim=True).double()
    size = min(_NUCLEUS, weights.shape[1])
    best, order = weights.topk(size)
    mass = best.double().cumsum(-1)
    if bool((mass[:, -1:] < top_p * total).any()):
        best, order = weights.sort(dim=-1, descending=True)
        mass = best.double().cumsum(-1)
    last = torch.searchsorted(mass, top_p * total).clamp_(max=mass.shape[1] - 1)
    target = draws[:, None] * mass.gather(1, last)[rows]
    found = torch.searchsorted(mass[rows], target, right=True).minimum(last[rows])
    return order[rows].gather(1, found).squeeze(1)
