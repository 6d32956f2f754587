"""Linear layers that add a pack's weight gradient to the sum while they compute it.

autograd makes each pack's gradient as a tensor of its own and then adds it to the sum: for every pack as much
new memory as the model has weights, written, read and given back. A matrix product can add to its result
instead.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn


class _AccumulatingLinear(torch.autograd.Function):
    """`F.linear` whose backward pass adds to `weight.grad` itself."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(inputs, weight)
        return nn.functional.linear(inputs, weight, bias)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        inputs, weight = ctx.saved_tensors
        gradient = grads[0]
        rows = gradient.flatten(0, -2)
        if weight.grad is None:
            weight.grad = rows.T @ inputs.flatten(0, -2)
        else:
            weight.grad.addmm_(rows.T, inputs.flatten(0, -2))
        given = gradient @ weight if ctx.needs_input_grad[0] else None
        return given, None, rows.sum(0) if ctx.needs_input_grad[2] else None


def _forward(layer: nn.Linear, inputs: Tensor) -> Tensor:
    if not torch.is_grad_enabled():
        return nn.functional.linear(inputs, layer.weight, layer.bias)
    output: Tensor = _AccumulatingLinear.apply(inputs, layer.weight, layer.bias)  # type: ignore[no-untyped-call]
    return output


def accumulate_in_place(model: nn.Module) -> None:
    """Let the trained linear layers of a float32 model on the CPU accumulate their gradients so.

    The sums are those of autograd up to rounding. Frozen layers, and weights of another type, stay as they
    are.
    """
    for layer in model.modules():
        if type(layer) is nn.Linear and layer.weight.requires_grad and layer.weight.dtype == torch.float32:
            layer.forward = partial(_forward, layer)  # type: ignore[method-assign]
