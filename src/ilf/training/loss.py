"""The loss of a pack: attention inside segments, and the output projection only where there is a label."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributed.fsdp import FSDPModule
from transformers import AttentionInterface

from ilf.errors import TrainingError
from ilf.training.packing import Pack, Row

ATTENTION = "ilf_segments"
# Positions whose logits are held at once: 128 of a vocabulary of 50,000 are 25 MB in float32. On a GPU
# more, where starting a product costs more than its memory.
CHUNK, GPU_CHUNK = 128, 1024


@dataclass(frozen=True)
class Way:
    """How losses are computed: from packs or padded rows, with our output projection or the model's own."""

    packed: bool
    chunked: bool

    @property
    def name(self) -> str:
        """In words."""
        rows = "packed rows" if self.packed else "padded rows"
        return f"{rows}, {'chunked' if self.chunked else 'whole'} output projection"


# From the fastest to the one that every causal language model can do.
WAYS = (Way(True, True), Way(False, True), Way(False, False))


Cost = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Logits (labels, vocabulary), labels and their numbers (`Row.offset`) → loss of each label, in nats."""


def pack_loss(model: Any, pack: Pack, way: Way, device: torch.device, cost: Cost | None = None) -> Tensor:
    """Sum over labels of weight times loss (nats) of one pack, with its gradient.

    Args:
        model: what is trained.
        pack: the rows.
        way: how to compute it.
        device: the model's.
        cost: of a label; None means its negative log-likelihood.
    """
    labels, numbers = (torch.tensor(v, device=device) for v in (pack.labels, pack.label_number))
    weights = torch.tensor(pack.label_weight, device=device, dtype=torch.float32)
    found = label_states(model, pack, way, device)
    if not way.chunked:
        logits = found.float()
        each = (
            F.cross_entropy(logits, labels, reduction="none")
            if cost is None
            else cost(logits, labels, numbers)
        )
        return (each * weights).sum()
    head = whole(model).get_output_embeddings()
    loss = _Projected.apply(found, head.weight, head.bias, labels, numbers, weights, cost)  # type: ignore[no-untyped-call]
    if isinstance(head, FSDPModule):  # which takes its pass as done only when each of its layers was called
        loss = loss + 0 * cast(Any, head)(found[:1]).sum()
    return cast(Tensor, loss)


def label_states(model: Any, pack: Pack, way: Way, device: torch.device) -> Tensor:
    """What the output projection makes logits of, where a label is; the logits themselves unless `way` is
    chunked."""
    ids, positions, at = (
        torch.tensor(values, device=device) for values in (pack.input_ids, pack.positions, pack.label_at)
    )
    given: dict[str, Any] = {"input_ids": ids.view(-1, pack.width), "use_cache": False}
    if way.packed:
        given["position_ids"] = positions.view(1, -1)
        given["segments"] = Segments.of(pack, positions)
    else:
        real = torch.tensor(pack.real, device=device)
        given["attention_mask"] = (torch.arange(pack.width, device=device) < real[:, None]).long()
    causal = whole(model)
    if not way.chunked:
        return cast(Tensor, causal.forward(**given).logits.flatten(0, 1)[at])
    return cast(Tensor, causal.base_model(**given)[0].flatten(0, 1)[at])


def choose_way(model: Any, rows: Sequence[Row], precision: str, device: torch.device) -> Way:
    """The fastest way that gives what the model's own forward pass gives, tried on its two shortest examples.

    Models differ in ways no flag tells (scaled or capped logits, attention that is not ours to replace), so
    each way is measured before it is believed. The model's attention is set accordingly.

    Raises:
        TrainingError: not even the model's own forward pass gives a finite loss.
    """
    few = sorted(rows, key=lambda row: row.length)[:2]
    own = model.config._attn_implementation
    plain = [Pack.padded([row], pad=0) for row in few]
    shared = Pack()
    for row in few:
        shared.add_segment([row, row])  # as two examples of one prompt, so that sharing is tried too
    model.eval()

    def total(packs: Sequence[Pack], way: Way) -> float:
        with torch.no_grad(), torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16"):
            return sum(pack_loss(model, pack, way, device).item() for pack in packs)

    expected = total(plain, WAYS[-1])
    if not math.isfinite(expected):
        raise TrainingError(f"the model's own loss on an example is {expected}: its weights are broken")
    tolerance = 1e-4 if precision == "float32" else 2e-2
    for way in WAYS[:-1]:
        if way.packed and not getattr(whole(model), "_supports_attention_backend", False):
            continue
        if way.chunked and type(whole(model).get_output_embeddings()) is not torch.nn.Linear:
            continue
        with suppress(NotImplementedError, TypeError, ValueError, RuntimeError):
            model.set_attn_implementation(ATTENTION if way.packed else own)
            got = total([shared], way) / 2 if way.packed else total(plain, way)
            if abs(got - expected) <= tolerance * abs(expected):
                return way
    model.set_attn_implementation(own)
    return WAYS[-1]


def whole(model: Any) -> Any:
    """The causal language model inside a PEFT wrapper, or the model itself."""
    return model.get_base_model() if hasattr(model, "peft_config") else model


def _tree_mask(prompt: int, parts: Sequence[int], device: torch.device) -> Tensor | None:
    """Who may attend to whom in a segment; None means plain causal attention."""
    if len(parts) == 1:
        return None
    owner = torch.repeat_interleave(
        torch.arange(len(parts) + 1, device=device), torch.tensor([prompt, *parts], device=device)
    )
    allowed = (owner[None, :] == 0) | (owner[None, :] == owner[:, None])
    return allowed.tril()


@dataclass(frozen=True)
class Segments:
    """Where a pack's segments are, for `segment_attention`."""

    sizes: list[int]
    masks: list[Tensor | None]
    """Of each segment, (size, size), true where attended; None where it is plainly causal."""
    positions: Tensor
    """(tokens,), counted from 0 in every example."""
    rows: tuple[Tensor, Tensor, Tensor | None] | None = None
    """On a GPU, where one call for all is faster than one each: token of each place of the padded rows
    (segments x longest), place of each token, mask (segments, 1, longest, longest) unless all are causal."""

    @classmethod
    def of(cls, pack: Pack, positions: Tensor, together: bool | None = None) -> Segments:
        """Those of a pack; `together` pads them to rows of one call (None: on a GPU)."""
        device = positions.device
        sizes = [prompt + sum(parts) for prompt, parts in pack.segments]
        masks = [_tree_mask(prompt, parts, device) for prompt, parts in pack.segments]
        longest = max(sizes)
        if together is None:  # unless padding would be most of it
            together = device.type != "cpu" and len(sizes) * longest <= 2 * sum(sizes)
        if not together:
            return cls(sizes, masks, positions)
        size = torch.tensor(sizes, device=device)[:, None]
        place = torch.arange(longest, device=device)
        real = place < size
        tokens = size.cumsum(0) - size + place.minimum(size - 1)
        mask = None
        if any(one is not None for one in masks):
            mask = torch.ones(longest, longest, dtype=torch.bool, device=device).tril()
            mask = mask.repeat(len(sizes), 1, 1, 1)
            for row, one in zip(mask, masks, strict=True):
                if one is not None:
                    row[0, : len(one), : len(one)] = one
        return cls(sizes, masks, positions, (tokens.flatten(), real.flatten().nonzero()[:, 0], mask))


def segment_attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    segments: Segments,
    scaling: float | None = None,
    dropout: float = 0.0,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Attention for `AttentionInterface`: each segment for itself, by PyTorch's fused kernels.

    Args:
        query: [1, heads, tokens, head size]; key and value may have fewer heads.
        segments: of the pack.
    """
    if kwargs.get("softcap") is not None or kwargs.get("s_aux") is not None:
        raise NotImplementedError("attention with soft-capped scores or sinks")
    window = kwargs.get("sliding_window")
    groups = query.shape[1] // key.shape[1]
    if groups > 1:  # explicitly: the fused kernels of the CPU do not take grouped heads
        key, value = key.repeat_interleave(groups, dim=1), value.repeat_interleave(groups, dim=1)
    attend = partial(F.scaled_dot_product_attention, scale=scaling, dropout_p=dropout)
    sizes = segments.sizes
    if segments.rows is not None and (window is None or max(sizes) <= window):
        tokens, places, mask = segments.rows
        q, k, v = (
            tensor[0]
            .index_select(1, tokens)
            .view(len(tensor[0]), len(sizes), -1, tensor.shape[3])
            .transpose(0, 1)
            for tensor in (query, key, value)
        )
        out = attend(q, k, v, attn_mask=mask, is_causal=mask is None)
        return out.transpose(1, 2).flatten(0, 1).index_select(0, places)[None], None
    split = (torch.split(tensor, sizes, dim=2) for tensor in (query, key, value))
    outputs = []
    for q, k, v, at, size, mask in zip(
        *split, torch.split(segments.positions, sizes), sizes, segments.masks, strict=True
    ):
        if window is not None and size > window:
            near = at[:, None] - at[None, :] < window
            mask = near.tril() if mask is None else near & mask
        out = attend(q, k, v, attn_mask=mask, is_causal=mask is None)
        outputs.append(out.transpose(1, 2))
    return torch.cat(outputs, dim=1), None


AttentionInterface.register(ATTENTION, segment_attention)


class _Projected(torch.autograd.Function):
    """Weighted sum of the labels' losses at `hidden @ weight.T + bias`, a chunk of positions at a time.

    The gradient is made in the forward pass, while a chunk's logits are at hand: they are computed once and
    never all held.
    """

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        labels: Tensor,
        numbers: Tensor,
        scale: Tensor,
        cost: Cost | None,
    ) -> Tensor:
        kind = hidden.device.type
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else weight.dtype
        with torch.autocast(kind, enabled=False):
            projection = weight.to(dtype)
            total = torch.zeros((), device=hidden.device)
            grad_hidden = torch.empty_like(hidden) if ctx.needs_input_grad[0] else None
            grad_weight = torch.zeros_like(weight) if ctx.needs_input_grad[1] else None
            grad_bias = torch.zeros_like(bias) if bias is not None and ctx.needs_input_grad[2] else None
            for part in chunks(len(hidden), kind):
                states = hidden[part].to(dtype)
                logits = F.linear(states, projection).float()
                if bias is not None:
                    logits += bias.float()
                each, slope = (
                    _cross_entropy(logits, labels[part, None])
                    if cost is None
                    else _differentiated(cost, logits, labels[part], numbers[part])
                )
                total += (each * scale[part]).sum()
                slope.mul_(scale[part, None])
                if grad_bias is not None:
                    grad_bias += slope.sum(0).to(grad_bias.dtype)
                gradient = slope.to(dtype)
                if grad_hidden is not None:
                    grad_hidden[part] = gradient @ projection
                if grad_weight is not None and dtype == grad_weight.dtype:
                    grad_weight.addmm_(gradient.T, states)
                elif grad_weight is not None:
                    grad_weight += gradient.T @ states
        ctx.gradients = (grad_hidden, grad_weight, grad_bias)
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        scaled = [None if gradient is None else gradient.mul_(grads[0]) for gradient in ctx.gradients]
        ctx.gradients = ()
        return (*scaled, None, None, None, None)


def chunks(count: int, device: str) -> Iterator[slice]:
    """The positions whose logits are held at once, of `count`."""
    size = CHUNK if device == "cpu" else GPU_CHUNK
    return (slice(start, start + size) for start in range(0, count, size))


def _cross_entropy(logits: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
    """Negative log-likelihood of each label, and its gradient, which takes the place of the logits."""
    normaliser = logits.logsumexp(1, keepdim=True)
    each = (normaliser - logits.gather(1, label)).squeeze(1)
    logits.sub_(normaliser).exp_()  # softmax minus one-hot
    logits.scatter_add_(1, label, torch.full_like(normaliser, -1.0))
    return each, logits


def _differentiated(cost: Cost, logits: Tensor, labels: Tensor, numbers: Tensor) -> tuple[Tensor, Tensor]:
    """Another loss of each label, and its gradient."""
    with torch.enable_grad():
        logits.requires_grad_()
        each = cost(logits, labels, numbers)
        (slope,) = torch.autograd.grad(each.sum(), logits)
    return each.detach(), slope
