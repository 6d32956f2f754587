"""Whether a training changed anything of what is written: steps that 16 bits cannot hold are no training."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch


class Written:
    """The weights of a model as they would be written, to be compared with what they are after training.

    Args:
        model: before it is trained, without adapters.
        dtype: that they are written in.
    """

    def __init__(self, model: Any, dtype: torch.dtype) -> None:
        self._dtype = dtype
        self._zeros: dict[str, Any] = {}
        self._hash = self._hashed(model, first=True)

    def same(self, model: Any) -> bool:
        """Whether a model, adapters merged, would be written with the same weights.

        A weight that was exactly 0 (an unused token's, say) holds any step, and so does not count.
        """
        return self._hashed(model) == self._hash

    def _hashed(self, model: Any, first: bool = False) -> str:
        digest = hashlib.sha256()
        for name, weight in self._rounded(model):
            if first and not weight.all():
                self._zeros[name] = np.packbits(weight == 0)
            if name in self._zeros:
                zeros = np.unpackbits(self._zeros[name], count=weight.size).view(bool)
                weight = np.where(zeros, 0, weight)
            digest.update(name.encode())
            digest.update(weight.view(np.uint8))
        return digest.hexdigest()

    def _rounded(self, model: Any) -> Iterator[tuple[str, Any]]:
        for name, weight in model.named_parameters():
            rounded = (weight.detach().to(self._dtype) + 0.0).cpu().reshape(-1)
            # numpy has no bfloat16; as whole numbers zeros are 0, too (adding 0 makes −0 one of them).
            whole = torch.int32 if self._dtype == torch.float32 else torch.int16
            yield name, rounded.view(whole).numpy()
