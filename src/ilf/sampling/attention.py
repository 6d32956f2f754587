"""Attention of one layer over a packed row of tokens, registered with transformers' attention interface.

New prompts attend to themselves. A sample attends in two parts, to its prompt (kept once for all samples of
the prompt) and to its own tokens; the parts are joined by their log-sum-exp. Sliding windows, soft caps of
the products and attention sinks are computed; whatever else a model asks its attention for is refused.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

_NAME = "ilf_shared_cache"
ALIGN = 16
# What a call of attention costs beyond its products, in queries times tokens.
_CALL = 2000
# Added to what is not attended to. Finite: where that is all of a prompt, it gets no weight, and no NaN.
_HIDDEN = np.float32(-1e30)
# torch's fused attention for the CPU, which gives its log-sum-exp as well; elsewhere plain products.
_FUSED = hasattr(torch.ops.aten, "_scaled_dot_product_flash_attention_for_cpu")
# What models hand to any attention, and which changes nothing here.
_NEUTRAL = {
    "dropout",
    "position_ids",
    "cache_position",
    "use_cache",
    "output_attentions",
    "output_router_logits",
    "position_embeddings",
}


class Unsupported(Exception):
    """A model asks its attention for something that is not computed here; the message names it."""


class Keys(Protocol):
    """The keys and values of samples of like length (`shared_cache.Pool`), by layer."""

    keys: Any
    values: Any


class Cache(Protocol):
    """What is kept of prompts and samples (`shared_cache.SharedCache`)."""

    prompt: Any
    own: Any
    heads: int
    """Of keys and values."""
    size: int
    """Of one head."""


@dataclass
class Prompts:
    """Prompts in neighbouring slots, whose samples are attended for in one call."""

    first: int
    last: int
    longest: int
    lengths: Any
    """Tokens of each prompt."""
    positions: Any
    """Of the samples by prompt, filled up to the most that one has: (prompts, widest)."""
    gather: Any
    """The samples themselves in that order: (prompts * widest,)."""


@dataclass
class Pass:
    """What attention needs to know about one forward pass."""

    cache: Cache
    prompts: list[tuple[int, int, int]]
    """(start, end, slot) of each new prompt among the tokens."""
    start: int
    """Where the samples' tokens begin, one each, pool by pool."""
    count: int
    put: Any
    """Where each sample's new key and value go in the flat store: (count * kv heads,)."""
    parts: Sequence[tuple[Keys, int, int, int, Any]]
    """(pool, first, last, tokens, lengths before this token) of the samples in each pool."""
    attended: list[Prompts]
    """The prompts of the samples."""
    scatter: Any
    """Where each sample stands among what the prompts' parts give, one after the other: (count,)."""
    windows: dict[int, int | None] = field(default_factory=dict)
    """Tokens that each layer attends to, the last included, by its index; None: all. Filled by the layers."""
    _masks: dict[tuple[int | None, int], tuple[list[Any], list[Any]]] = field(default_factory=dict)

    def masks(self, window: int | None, shared: int) -> tuple[list[Any], list[Any]]:
        """What is added to the products of `parts` and of `attended`; layers of one kind share it.

        Args:
            window: tokens attended to, None for all.
            shared: query heads that share one of keys and values.

        Returns:
            For each part (samples, 1, 1, tokens); for each call (prompts, 1, 1 or widest * shared, longest).
        """
        if (window, shared) not in self._masks:
            device = self.put.device
            own = [
                _mask(lengths[:, None, None], lengths + 1, tokens, window, device)
                for _, _, _, tokens, lengths in self.parts
            ]
            prompt = []
            for part in self.attended:
                # All samples of a prompt see the same of it, unless a window has moved on.
                cut = window is not None and part.positions.max() >= window
                queries = (
                    part.positions.repeat(shared, axis=1)[:, None] if cut else part.lengths[:, None, None]
                )
                prompt.append(_mask(queries, part.lengths, part.longest, window if cut else None, device))
            self._masks[window, shared] = own, prompt
        return self._masks[window, shared]


@dataclass(frozen=True)
class _Layer:
    """How one layer attends."""

    scaling: float
    window: int | None
    softcap: float | None
    sinks: Any
    """A logit of each head for attending to nothing: (heads,); None where there are none."""


def _mask(positions: Any, lengths: Any, tokens: int, window: int | None, device: Any) -> Any:
    """Masks (rows, 1, queries, tokens) of `positions` (rows, 1, queries), before which a window ends."""
    place = np.arange(tokens)
    hidden = np.broadcast_to(place >= lengths[:, None, None, None], (*positions.shape, tokens))
    if window is not None:
        hidden = hidden | (place <= positions[..., None] - window)
    return torch.from_numpy(np.where(hidden, _HIDDEN, np.float32(0))).to(device)


@contextmanager
def own_attention(net: Any) -> Iterator[None]:
    """Switch a model's attention to the one of this module, and back."""
    before = net.config._attn_implementation
    net.set_attn_implementation(_NAME)
    try:
        yield
    finally:
        net.set_attn_implementation(before)


_ACTIVE: list[Pass] = []


@contextmanager
def running(plan: Pass) -> Iterator[None]:
    """Let the attention of the model that computes inside be what `plan` says."""
    _ACTIVE.append(plan)
    try:
        yield
    finally:
        _ACTIVE.pop()


def _attention(
    module: Any,
    query: Any,
    key: Any,
    value: Any,
    attention_mask: Any,
    scaling: float | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    s_aux: Any = None,
    is_causal: bool | None = None,
    **others: Any,
) -> tuple[Any, None]:
    """Attention of one layer over a packed row of tokens, as the running `Pass` says.

    Args:
        module: the layer's attention, for its index.
        query: (1, heads, tokens, size).
        key: (1, kv heads, tokens, size), positions already applied; `value` likewise.
        value: see `key`.
        attention_mask: none is made for this attention, so one that comes is of the model's own kind.
        scaling: factor on the products.
        sliding_window: tokens attended to, the last included; None for all.
        softcap: the products pass through `softcap * tanh(x / softcap)`.
        s_aux: attention sinks, (heads,).
        is_causal: False is not computed.
        others: what other implementations need.

    Returns:
        (1, tokens, heads, size).

    Raises:
        Unsupported: the model asks for something else.
    """
    asked = {name for name, given in others.items() if given is not None} - _NEUTRAL
    if attention_mask is not None:
        asked.add("a mask of its own")
    if is_causal is False or getattr(module, "is_causal", True) is False:
        asked.add("attention to what comes later")
    if asked:
        raise Unsupported(", ".join(sorted(asked)))
    plan = _ACTIVE[-1]
    cache, index = plan.cache, module.layer_idx
    plan.windows[index] = sliding_window
    layer = _Layer(query.shape[3] ** -0.5 if scaling is None else scaling, sliding_window, softcap, s_aux)
    output = query.new_zeros(1, query.shape[2], query.shape[1], query.shape[3])
    for start, end, slot in plan.prompts:
        q, k, v = (tensor[:, :, start:end] for tensor in (query, key, value))
        cache.prompt[0, index, slot, :, : end - start] = k[0]
        cache.prompt[1, index, slot, :, : end - start] = v[0]
        output[:, start:end] = _alone(q, k, v, layer).transpose(1, 2)
    if plan.count:
        samples = slice(plan.start, plan.start + plan.count)
        q, k, v = (tensor[0, :, samples].transpose(0, 1) for tensor in (query, key, value))
        cache.own[0, index].index_copy_(0, plan.put, k.reshape(-1, cache.size))
        cache.own[1, index].index_copy_(0, plan.put, v.reshape(-1, cache.size))
        output[0, samples] = _join(plan, index, q.contiguous(), layer)
    return output, None


def _alone(query: Any, key: Any, value: Any, layer: _Layer) -> Any:
    """Attention of a prompt to itself: (1, heads, tokens, size) to the same."""
    _, heads, tokens, size = query.shape
    cut = layer.window is not None and layer.window < tokens
    plain = layer.softcap is None and layer.sinks is None
    if plain and not cut:
        return scaled_dot_product_attention(
            query, key, value, is_causal=True, scale=layer.scaling, enable_gqa=True
        )
    place = torch.arange(tokens, device=query.device)
    behind = place[:, None] - place
    seen = (behind >= 0) & (behind < (layer.window or tokens))
    if plain:
        return scaled_dot_product_attention(
            query, key, value, attn_mask=seen, scale=layer.scaling, enable_gqa=True
        )
    kv_heads = key.shape[1]
    shared = heads // kv_heads
    mask = torch.where(seen, 0.0, float(_HIDDEN)).repeat(shared, 1)[None, None]
    grouped = query.reshape(1, kv_heads, shared * tokens, size)
    out, lse = _attend(grouped, key, value, mask, layer)
    out, lse = out.view(1, heads, tokens, size), lse.view(1, heads, tokens)
    return _drained(out, lse.transpose(1, 2), layer, heads_at=1)


def _drained(out: Any, lse: Any, layer: _Layer, heads_at: int) -> Any:
    """What attention gives (heads in dimension `heads_at`) less what its sinks take; `lse`: (…, heads)."""
    if layer.sinks is None:
        return out
    kept = torch.sigmoid(lse - layer.sinks.float())
    return (out.float() * kept.movedim(-1, heads_at)[..., None]).to(out.dtype)


def _join(plan: Pass, index: int, query: Any, layer: _Layer) -> Any:
    """Attention of the samples: (count, heads, size) to the same."""
    cache = plan.cache
    count, heads, size = query.shape
    shared = heads // cache.heads
    grouped = query.view(count, cache.heads, shared, size)
    own_masks, prompt_masks = plan.masks(layer.window, shared)
    own = [
        _attend(grouped[first:last], pool.keys[index][: last - first, :, :tokens],
                pool.values[index][: last - first, :, :tokens], mask, layer)
        for (pool, first, last, tokens, _), mask in zip(plan.parts, own_masks, strict=True)
    ]  # fmt: skip
    own_out = torch.cat([out for out, _ in own]).view(count, heads, size)
    own_lse = torch.cat([lse for _, lse in own]).view(count, heads, 1)
    outs, lses = [], []
    for part, mask in zip(plan.attended, prompt_masks, strict=True):
        # All samples of one prompt are one matrix of queries.
        slots, widest = part.positions.shape
        by_prompt = query.index_select(0, part.gather).view(slots, widest, cache.heads, shared, size)
        by_prompt = by_prompt.transpose(1, 2).reshape(slots, cache.heads, widest * shared, size)
        keys, values = cache.prompt[:, index, part.first : part.last, :, : part.longest]
        out, lse = _attend(by_prompt, keys, values, mask, layer)
        outs.append(_by_sample(out, widest, shared).reshape(-1, heads, size))
        lses.append(_by_sample(lse[..., None], widest, shared).reshape(-1, heads, 1))
    out = torch.cat(outs).index_select(0, plan.scatter)
    lse = torch.cat(lses).index_select(0, plan.scatter)
    joined = torch.lerp(own_out.float(), out.float(), torch.sigmoid(lse - own_lse)).to(query.dtype)
    return _drained(joined, torch.logaddexp(lse, own_lse)[..., 0], layer, heads_at=1)


def _by_sample(tensor: Any, widest: int, shared: int) -> Any:
    slots, heads, _, size = tensor.shape
    return tensor.view(slots, heads, widest, shared, size).transpose(1, 2)


def together(counts: Sequence[int], lengths: Sequence[int], apart: bool) -> list[tuple[int, int]]:
    """Which neighbouring slots to attend to in one call; it costs each of them what the largest needs.

    Args:
        counts: rows of each slot; empty ones at a call's ends are left out.
        lengths: tokens of each slot's prompt.
        apart: whether more than one call can pay; on a GPU none does.

    Returns:
        (first, last) of each call, in order, in which all rows are.
    """
    size = len(counts)
    if not apart:
        return [(0, size)] if size else []
    best, before = [0.0] * (size + 1), [0] * (size + 1)
    for end in range(1, size + 1):
        if not counts[end - 1]:
            best[end], before[end] = best[end - 1], -1
            continue
        best[end] = math.inf
        widest = longest = 0
        for start in range(end - 1, -1, -1):
            widest, longest = max(widest, counts[start]), max(longest, lengths[start])
            cost = best[start] + (end - start) * widest * longest + _CALL
            if cost < best[end]:
                best[end], before[end] = cost, start
    calls, end = [], size
    while end:
        start = before[end]
        if start < 0:
            end -= 1
            continue
        calls.append((start, end))
        end = start
    return calls[::-1]


def _attend(query: Any, key: Any, value: Any, mask: Any, layer: _Layer) -> tuple[Any, Any]:
    """Attention and its log-sum-exp.

    Args:
        query: (batch, kv heads, queries, size).
        key: (batch, kv heads, tokens, size); `value` likewise.
        value: see `key`.
        mask: (batch, 1, 1 or queries, tokens), added.
        layer: how it attends; its sinks are left to the caller.

    Returns:
        (batch, kv heads, queries, size) and (batch, kv heads, queries), float32.
    """
    if _FUSED and layer.softcap is None and query.device.type == "cpu" and query.dtype == torch.float32:
        out, lse = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
            query, key, value, 0.0, False, attn_mask=mask, scale=layer.scaling
        )
        return out.contiguous(), lse.contiguous()
    scores = torch.matmul(query, key.transpose(-1, -2)).float() * layer.scaling
    if layer.softcap is not None:
        scores = layer.softcap * torch.tanh(scores / layer.softcap)
    scores = scores + mask
    lse = scores.logsumexp(-1)
    weights = (scores - lse[..., None]).exp().to(value.dtype)
    return torch.matmul(weights, value), lse


def aligned(length: int) -> int:
    """`length` up to a multiple that products run well over."""
    return -(-length // ALIGN) * ALIGN


AttentionInterface.register(_NAME, _attention)
