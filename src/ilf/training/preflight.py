"""What a fine-tuning will need in memory and on disk, before it starts, and the plan that makes it fit."""

from __future__ import annotations

import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ilf.errors import TrainingError
from ilf.records import Example
from ilf.training.config import FinetuneConfig
from ilf.training.group import counted

GB = 1e9
# Python, torch and transformers themselves; measured.
_PROGRAM = 0.45 * GB
# What activations may take on a CPU: enough for packs of about 300 tokens of a small model, beyond which
# larger packs gain nothing (docs/decisions.md).
_CPU_ACTIVATIONS = 0.5 * GB
_SMALLEST_ACTIVATIONS = 0.1 * GB
_PACKS = (256, 16384)
# A weight in NF4, with an 8-bit constant for each 64 of them, and a float32 one for each 256 of those.
_FOUR_BITS = (4 + 8 / 64 + 32 / (64 * 256)) / 8
_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}


@dataclass(frozen=True)
class Plan:
    """How a fine-tuning is computed on this machine. Kept with its checkpoints: a resumed one must not
    change."""

    device: str
    precision: str
    pack_tokens: int
    layers: int
    kept_bytes: int
    """Activations that a layer keeps for the backward pass, per token."""
    state_bytes: int
    """What a recomputed layer keeps: its input, per token."""
    activation_bytes: int
    """What all layers' activations together may take."""
    checkpointing: bool | str
    sharding: str = "none"
    """As in `FinetuneConfig`; a resumed one cannot change it."""

    def recomputed_layers(self, tokens: int) -> int:
        """How many layers must recompute their activations for a pack of `tokens` to stay within bounds."""
        if isinstance(self.checkpointing, bool):
            return self.layers if self.checkpointing else 0
        over = tokens * self.layers * self.kept_bytes - self.activation_bytes
        return min(self.layers, max(0, math.ceil(over / (tokens * (self.kept_bytes - self.state_bytes)))))

    def activations(self, tokens: int) -> int:
        """Bytes of activations of a pack of `tokens`."""
        recomputed = self.recomputed_layers(tokens)
        one = self.kept_bytes if recomputed else 0  # the layer that is being recomputed
        return tokens * (recomputed * self.state_bytes + (self.layers - recomputed) * self.kept_bytes + one)


@dataclass(frozen=True)
class Estimate:
    """Needs of a fine-tuning in bytes, and what there is."""

    plan: Plan
    parameters: int
    trainable: int
    memory: dict[str, int]
    """Peak need by what for."""
    memory_free: int
    disk: dict[str, int]
    disk_free: int
    processes: int = 1
    """On this machine. `memory` is what each needs, `memory_free` what each may take."""
    host: int = 0
    """Beside a GPU's memory: what the whole weights take in the machine's, while they are cut into shards or
    while QLoRA's factors are added to them. `host_free` is what there is."""
    host_free: int = 0

    def summary(self) -> str:
        """One line."""
        return (
            f"{self.trainable / 1e6:,.1f} of {self.parameters / 1e6:,.1f} million parameters trained; about "
            f"{sum(self.memory.values()) / GB:.1f} GB of memory ({self.memory_free / GB:.1f} free) and "
            f"{sum(self.disk.values()) / GB:.1f} GB of disk ({self.disk_free / GB:.1f} free)"
            + (f", memory for each of {self.processes} processes" if self.processes > 1 else "")
        )

    def check(self) -> Estimate:
        """Return self where both needs fit.

        Raises:
            TrainingError: memory or disk will not do; the message names the settings that lower the need.
        """
        need, free = sum(self.memory.values()), self.memory_free
        if need > free:
            parts = ", ".join(f"{what} {size / GB:.1f}" for what, size in self.memory.items())
            raise TrainingError(
                f"fine-tuning needs about {need / GB:.1f} GB of memory ({parts}), and {free / GB:.1f} GB "
                f"are free{f' for each of {self.processes} processes' if self.processes > 1 else ''}: "
                'set method = "lora" or "qlora", a lower max_length, or gradient_checkpointing = true'
            )
        if self.host > self.host_free:
            raise TrainingError(
                f"fine-tuning needs about {self.host / GB:.1f} GB of the machine's memory beside the GPU's "
                f"(the whole weights in float32), and {self.host_free / GB:.1f} GB are free: use a smaller "
                "model, or fewer processes on this machine"
            )
        need, free = sum(self.disk.values()), self.disk_free
        if need > free:
            parts = ", ".join(f"{what} {size / GB:.1f}" for what, size in self.disk.items())
            raise TrainingError(
                f"fine-tuning needs about {need / GB:.1f} GB of disk ({parts}), and {free / GB:.1f} GB "
                "are free: "
                'make space, or set method = "lora" or save_dtype = "bfloat16"'
            )
        return self


def estimate(model: str | Path, examples: Sequence[Example], config: FinetuneConfig, out: Path) -> Estimate:
    """Estimate what fine-tuning `model` on `examples` needs on this machine; nothing is loaded or raised.

    Args:
        model: a MODEL string or folder.
        examples: what it is to learn.
        config: how.
        out: where the model will be written; its disk is looked at.
    """
    from ilf.models import context_length, load_tokenizer, resolve
    from ilf.training.examples import inspect_examples

    folder = resolve(str(model)).path
    limit = min(config.max_length, context_length(folder))
    longest = inspect_examples(load_tokenizer(folder), examples, limit).longest
    return estimate_rows(folder, longest, config, out)


def estimate_rows(folder: Path, longest: int, config: FinetuneConfig, out: Path) -> Estimate:
    """`estimate` for a model folder and examples of at most `longest` tokens."""
    import torch
    from transformers import AutoModelForCausalLM

    from ilf.models import adapter_base, load_config
    from ilf.pretrained import trusted
    from ilf.training.loss import CHUNK, GPU_CHUNK

    settings = load_config(folder)
    with torch.device("meta"):
        empty = AutoModelForCausalLM.from_config(  # type: ignore[no-untyped-call]
            settings, trust_remote_code=trusted(adapter_base(folder) or folder)
        )
    text = settings.get_text_config()
    total = sum(parameter.numel() for parameter in empty.parameters())
    trained = total if config.method == "full" else _lora_parameters(empty, config)
    hidden, vocabulary, layers = text.hidden_size, text.vocab_size, text.num_hidden_layers
    inner = getattr(text, "intermediate_size", None) or getattr(text, "n_inner", None) or 4 * hidden

    cuda = torch.cuda.is_available()
    native = cuda and torch.cuda.is_bf16_supported(including_emulation=False)
    chunk = GPU_CHUNK if cuda else CHUNK
    precision = config.precision
    if precision == "auto":
        precision = "bfloat16" if native else "float32"
    everywhere, here = counted(config)
    parts = everywhere if config.sharding == "full" else 1
    frozen = total
    memory = {}
    if config.method == "qlora":
        linear = _linear_parameters(empty)
        frozen -= linear
        memory["4-bit weights"] = math.ceil(_FOUR_BITS * linear)
    if parts > 1:  # what is gathered to be used: two layers, and the embedding with the output projection
        memory["gathered"] = 4 * (2 * (total // layers) + 2 * vocabulary * hidden)
    memory |= {
        "weights": 4 * (frozen + (trained if config.adapters else 0)) // parts,
        "gradients": 4 * trained // parts,
        "optimiser": 8 * trained // parts,
        "output projection": 4 * vocabulary * (2 * chunk + (hidden if config.method == "full" else 0)),
        "program": int(_PROGRAM),
    }
    free = torch.cuda.mem_get_info()[0] if cuda else available_memory() // here
    # Tensors a layer keeps for its backward pass: about 11 of the hidden size (norms in two steps, q, k, v
    # and the attention's output) and 4 of the inner one; measured on Llama-like models in float32.
    kept = 4 * (11 * hidden + 4 * inner)
    left = free - sum(memory.values())
    wanted = left / 2 if cuda else min(_CPU_ACTIVATIONS, left / 2)
    room = int(max(wanted, _SMALLEST_ACTIVATIONS))
    fitting = room // (layers * kept)
    plan = Plan(
        device="cuda" if cuda else "cpu",
        precision=precision,
        pack_tokens=config.pack_tokens or min(max(fitting, _PACKS[0]), _PACKS[1]),
        layers=layers,
        kept_bytes=kept,
        state_bytes=4 * hidden,
        activation_bytes=room,
        checkpointing=config.gradient_checkpointing,
        sharding=config.sharding,
    )
    whole = 4 * total  # in every process, before its shard is cut; in one, when QLoRA's factors are added
    host = 0
    if cuda:
        host = whole * here if parts > 1 else whole if config.method == "qlora" else 0
    memory["activations"] = plan.activations(max(longest, min(plan.pack_tokens, longest * config.batch_size)))
    if not cuda and (parts > 1 or config.method == "qlora"):
        # What is held by then, or not held any more, counts once.
        rest = sum(memory.values()) - memory.get("4-bit weights", 0) - memory["program"]
        memory["whole weights"] = max(0, whole - rest)
    disk = {"model": _BYTES[config.save_dtype] * total}
    # A checkpoint holds the trained weights and two moments of each; the old one goes when the new one is
    # whole.
    disk["checkpoints"] = 2 * (12 * trained)
    return Estimate(
        plan,
        total,
        trained,
        memory,
        free,
        disk,
        shutil.disk_usage(_existing(out)).free,
        here,
        host,
        available_memory() if host else 0,
    )


def available_memory() -> int:
    """Bytes this process may still take: what the machine has free, or the control group's limit leaves."""
    import psutil  # type: ignore[import-untyped]

    free = int(psutil.virtual_memory().available)
    for limit, used in (
        ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
        ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
    ):
        try:
            free = min(free, int(Path(limit).read_text()) - int(Path(used).read_text()))
        except (OSError, ValueError):  # no such control group, or "max"
            continue
    return free


def _linear_parameters(model: Any) -> int:
    """Weights that QLoRA holds in 4 bits."""
    import torch

    head = model.get_output_embeddings()
    return sum(
        module.weight.numel()
        for module in model.modules()
        if isinstance(module, torch.nn.Linear) and module is not head
    )


def _lora_parameters(model: Any, config: FinetuneConfig) -> int:
    import torch

    head = model.get_output_embeddings()
    targets = (config.lora_targets,) if isinstance(config.lora_targets, str) else config.lora_targets
    return config.lora_rank * sum(
        module.in_features + module.out_features
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear)
        and module is not head
        and (targets == ("all-linear",) or name.rpartition(".")[2] in targets)
    )


def _existing(path: Path) -> Path:
    path = path.absolute()
    while not path.exists():
        path = path.parent
    return path
