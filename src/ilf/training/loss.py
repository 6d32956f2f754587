"""The loss of a pack: attention inside segments, and the output projection only where there is a label."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import AttentionInterface

from ilf.errors import TrainingError
from ilf.training.packing import Pack, Row

ATTENTION = "ilf_segments"
# Logits held at once: 128 positions of a vocabulary of 50,000 are 25 MB in float32.
CHUNK = 128


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


def pack_loss(model: Any, pack: Pack, way: Way, device: torch.device) -> Tensor:
    """Sum over labels of weight times negative log-likelihood (nats) of one pack, with its gradient."""
    ids, positions, at, labels = (
        torch.tensor(values, device=device)
        for values in (pack.input_ids, pack.positions, pack.label_at, pack.labels)
    )
    weights = torch.tensor(pack.label_weight, device=device, dtype=torch.float32)
    given: dict[str, Any] = {"input_ids": ids.view(-1, pack.width), "use_cache": False}
    if way.packed:
        given["position_ids"] = positions.view(1, -1)
        given["segments"] = [
            (prompt + sum(parts), _tree_mask(prompt, parts, device)) for prompt, parts in pack.segments
        ]
        given["segment_positions"] = positions
    else:
        real = torch.tensor(pack.real, device=device)
        given["attention_mask"] = (torch.arange(pack.width, device=device) < real[:, None]).long()
    causal = whole(model)
    if not way.chunked:
        logits = causal(**given).logits.flatten(0, 1)[at]
        return (F.cross_entropy(logits.float(), labels, reduction="none") * weights).sum()
    hidden = causal.base_model(**given)[0].flatten(0, 1)[at]
    head = causal.get_output_embeddings()
    loss = _LinearCrossEntropy.apply(hidden, head.weight, head.bias, labels, weights)  # type: ignore[no-untyped-call]
    return cast(Tensor, loss)


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


def segment_attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    segments: Sequence[tuple[int, Tensor | None]],
    segment_positions: Tensor,
    scaling: float | None = None,
    dropout: float = 0.0,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Attention for `AttentionInterface`: each segment for itself, by PyTorch's fused kernels.

    Args:
        query: [1, heads, tokens, head size]; key and value may have fewer heads.
        segments: length of each segment in tokens, and its mask where it is not plainly causal.
        segment_positions: [tokens], counted from 0 in every example.
    """
    if kwargs.get("softcap") is not None or kwargs.get("s_aux") is not None:
        raise NotImplementedError("attention with soft-capped scores or sinks")
    window = kwargs.get("sliding_window")
    groups = query.shape[1] // key.shape[1]
    if groups > 1:  # explicitly: the fused kernels of the CPU do not take grouped heads
        key, value = key.repeat_interleave(groups, dim=1), value.repeat_interleave(groups, dim=1)
    sizes = [size for size, _ in segments]
    split = (torch.split(tensor, sizes, dim=2) for tensor in (query, key, value))
    outputs = []
    for q, k, v, at, (size, mask) in zip(
        *split, torch.split(segment_positions, sizes), segments, strict=True
    ):
        if window is not None and size > window:
            near = at[:, None] - at[None, :] < window
            mask = near.tril() if mask is None else near & mask
        out = F.scaled_dot_product_attention(
            q, k, v, attn_mask=mask, is_causal=mask is None, scale=scaling, dropout_p=dropout
        )
        outputs.append(out.transpose(1, 2))
    return torch.cat(outputs, dim=1), None


AttentionInterface.register(ATTENTION, segment_attention)


class _LinearCrossEntropy(torch.autograd.Function):
    """Weighted sum of cross-entropies of `hidden @ weight.T + bias`, a chunk of positions at a time.

    The gradient is made in the forward pass, while a chunk's logits are at hand: they are computed once and
    never all held.
    """

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor | None, labels: Tensor, scale: Tensor
    ) -> Tensor:
        kind = hidden.device.type
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else weight.dtype
        with torch.autocast(kind, enabled=False):
            projection = weight.to(dtype)
            total = torch.zeros((), device=hidden.device)
            grad_hidden = torch.empty_like(hidden) if ctx.needs_input_grad[0] else None
            grad_weight = torch.zeros_like(weight) if ctx.needs_input_grad[1] else None
            grad_bias = torch.zeros_like(bias) if bias is not None and ctx.needs_input_grad[2] else None
            for start in range(0, len(hidden), CHUNK):
                part = slice(start, start + CHUNK)
                states, label = hidden[part].to(dtype), labels[part, None]
                logits = F.linear(states, projection).float()
                if bias is not None:
                    logits += bias.float()
                normaliser = logits.logsumexp(1, keepdim=True)
                total += ((normaliser - logits.gather(1, label)).squeeze(1) * scale[part]).sum()
                # From here on `logits` is the gradient: (softmax - one-hot) times the label's weight.
                logits.sub_(normaliser).exp_()
                logits.scatter_add_(1, label, torch.full_like(normaliser, -1.0))
                logits.mul_(scale[part, None])
                if grad_bias is not None:
                    grad_bias += logits.sum(0).to(grad_bias.dtype)
                gradient = logits.to(dtype)
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
        return (*scaled, None, None)
