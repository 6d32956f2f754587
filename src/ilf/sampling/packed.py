"""Linear layers with weights packed for oneDNN, for inference on the CPU.

torch's own float32 products go through MKL, which on AMD processors runs at less than half of oneDNN's rate
(see docs/benchmarks.md); on others the two are alike.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

_ROWS = 128  # the batch that weights are laid out for; other sizes work as well


class PackedLinear(nn.Module):
    """`nn.Linear` for inference: the same product, from packed weights.

    Args:
        linear: the layer, in float32.
        dtype: float32; or bfloat16, in which inputs, weights and products are rounded to it (sums are not).
    """

    def __init__(self, linear: nn.Linear, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        # Not parameters: a packed tensor can be multiplied with, and nothing else.
        self._weight = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach().to(dtype), _ROWS)
        self._bias = None if linear.bias is None else linear.bias.detach().to(dtype)
        self._dtype = dtype

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """(…, in) to (…, out)."""
        output: torch.Tensor = torch.ops.mkldnn._linear_pointwise(
            inputs.to(self._dtype), self._weight, self._bias, "none", [], ""
        )
        return output.to(inputs.dtype)


def can_pack(dtype: torch.dtype) -> bool:
    """Whether this processor's products are packed, and computed in `dtype`."""
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    return dtype == torch.float32 or bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def pack(net: Any, dtype: torch.dtype = torch.float32) -> bool:
    """Replace the linear layers of a float32 model on the CPU, in place; False where there are none.

    The output projection stays in float32: a logit of 20 would be rounded to an eighth.
    """
    if net.device.type != "cpu" or net.dtype != torch.float32 or not can_pack(dtype):
        return False
    head = net.get_output_embeddings()
    with torch.inference_mode():
        for parent in list(net.modules()):
            for name, child in list(parent.named_children()):
                if type(child) is nn.Linear:
                    setattr(parent, name, PackedLinear(child, torch.float32 if child is head else dtype))
    return True
