"""What the steps take at most, known before they start."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path

from ilf.config import SamplingConfig
from ilf.training import FinetuneConfig

VERDICT_BYTES = 1000
"""Of a row of verdicts, about."""


@dataclass(frozen=True)
class Cost:
    """What a step takes at most."""

    samples: int = 0
    """Programs written, or verified."""
    tokens: int = 0
    """Sampled, or trained on."""
    memory: int = 0
    """Bytes of the weights in float32, and in fine-tuning of their gradients and moments; what comes on top
    depends on the texts' lengths. 0 where the model is not at hand."""
    disk: int = 0
    """Bytes."""

    def __add__(self, other: Cost) -> Cost:
        """Both, one after the other."""
        total = {f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(self)}
        return Cost(**{**total, "memory": max(self.memory, other.memory)})

    def words(self) -> str:
        """`474 samples, 45,504 tokens, 0.5 GB of memory, 0.8 MB of disk`; empty where that is nothing."""
        counted = [
            (f"{self.samples:,} samples", self.samples),
            (f"{self.tokens:,} tokens", self.tokens),
            (f"{size(self.memory)} of memory", self.memory > 1e5),
            (f"{size(self.disk)} of disk", self.disk > 1e5),
        ]
        return ", ".join(text for text, count in counted if count)


def size(count: int) -> str:
    """Bytes for people."""
    return f"{count / 1e9:,.1f} GB" if count >= 1e8 else f"{count / 1e6:,.1f} MB"


def sampling(prompts: int, settings: SamplingConfig, model: Path | None = None) -> Cost:
    """n samples of each of so many prompts.

    A token is about four characters; a row has the completion, the program that contains it, and numbers.
    """
    samples = prompts * settings.n
    disk = samples * (8 * settings.max_tokens + 1000)
    return Cost(samples, samples * settings.max_tokens, 4 * parameters(model), disk)


def verifying(programs: int) -> Cost:
    """A verdict for each of so many programs."""
    return Cost(samples=programs, disk=VERDICT_BYTES * programs)


def fine_tuning(examples: int, settings: FinetuneConfig, model: Path | None = None) -> Cost:
    """`max_length` tokens an example and epoch; what training itself estimates is said before it starts.

    Full fine-tuning keeps a gradient and two moments of each weight; LoRA of a few per cent.
    """
    weights = parameters(model)
    full = settings.method == "full"
    written = weights * (4 if settings.save_dtype == "float32" else 2)
    # Checkpoints hold what is trained, twice for a moment.
    return Cost(
        tokens=examples * settings.epochs * settings.max_length,
        memory=(1 if settings.method == "qlora" else 16 if full else 4) * weights,
        disk=written + (24 * weights if full else 0),
    )


def parameters(folder: Path | None) -> int:
    """Weights of a model folder, read from its files' headers; 0 where there are none to read."""
    if folder is None:
        return 0
    return sum(map(_in_file, folder.glob("*.safetensors")))


def _in_file(path: Path) -> int:
    # A header of JSON after its length in 8 bytes; torch would take seconds to import.
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
    shapes: Iterable[list[int]] = (row["shape"] for name, row in header.items() if name != "__metadata__")
    return sum(math.prod(shape) for shape in shapes)
