"""Linear layers with weights packed for oneDNN, for inference in float32 on the CPU.

torch's own float32 products go through MKL, which on AMD processors runs at less than half of oneDNN's rate
(see docs/benchmarks.md); on others the two are alike.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

_ROWS = 128  # the batch that weights are laid out for; other sizes work as well


class PackedLinear(nn.Module):
    """`nn.Linear` for inference: the same product, from packed weights."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        # Not parameters: a packed tensor can be multiplied with, and nothing else.
        self._weight = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach(), _ROWS)
        self._bias = None if linear.bias is None else linear.bias.detach()

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """(…, in) to (…, out)."""
        output: torch.Tensor = torch.ops.mkldnn._linear_pointwise(
            inputs, self._weight, self._bias, "none", [], ""
        )
        return output


def pack(net: Any) -> bool:
    """Replace the linear layers of a float32 model on the CPU, in place; False where there are none."""
    has_onednn: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    if net.device.type != "cpu" or net.dtype != torch.float32 or not has_onednn:
        return False
    with torch.inference_mode():
        for parent in list(net.modules()):
            for name, child in list(parent.named_children()):
                if type(child) is nn.Linear:
                    setattr(parent, name, PackedLinear(child))
    return True
