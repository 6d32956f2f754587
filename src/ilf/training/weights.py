"""The weights of a fine-tuning: adapters on them, and how they are written."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path
from typing import Any

from ilf.errors import MissingDependency, TrainingError, missing
from ilf.training.config import FinetuneConfig
from ilf.training.preflight import Plan


def with_lora(model: Any, config: FinetuneConfig) -> Any:
    """The model with adapters, frozen but for them.

    Raises:
        MissingDependency: peft is not installed.
        TrainingError: `lora_targets` names no layer.
    """
    try:
        import peft
    except ImportError:
        raise MissingDependency("peft is not installed: pip install 'ilf[models]'") from None
    targets = config.lora_targets if isinstance(config.lora_targets, str) else list(config.lora_targets)
    settings = peft.LoraConfig(
        r=config.lora_rank,
        lora_alpha=config.lora_alpha,
        lora_dropout=config.lora_dropout,
        target_modules=targets,
        task_type="CAUSAL_LM",
    )
    try:
        return peft.get_peft_model(model, settings)
    except ValueError as error:
        raise TrainingError(f"lora_targets = {targets!r}: {str(error).splitlines()[0]}") from None


def in_four_bits(folder: Path, plan: Plan) -> Any:
    """The model with its linear layers, but for the output projection, in 4 bits: NF4, its constants
    quantised too (QLoRA, section 3). All else stays float32.

    Raises:
        MissingDependency: bitsandbytes is not installed.
        TrainingError: the start is a PEFT adapter.
    """
    import torch
    from transformers import BitsAndBytesConfig

    from ilf.models import adapter_base
    from ilf.pretrained import load

    if importlib.util.find_spec("bitsandbytes") is None:
        raise missing("bitsandbytes", "qlora")
    if adapter_base(folder) is not None:
        raise TrainingError(f'{folder}: method = "qlora" starts from a whole model, not from an adapter')
    settings = BitsAndBytesConfig(  # type: ignore[no-untyped-call]
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=getattr(torch, plan.precision),
    )
    where = torch.cuda.current_device() if plan.device == "cuda" else "cpu"
    model = load(
        "AutoModelForCausalLM",
        folder,
        quantization_config=settings,
        dtype=torch.float32,
        device_map={"": where},
    )
    for layer in model.modules():
        if hasattr(layer, "support_avx512bf16_for_cpu"):
            # A forward pass without gradients would rearrange the weights for good, and what follows would
            # be computed from garbage, or in bfloat16.
            layer.support_avx512bf16_for_cpu = False
    return model


def merged(model: Any, folder: Path, config: FinetuneConfig) -> Any:
    """The model as it is written into the empty `folder`: LoRA's factors kept there, if asked, and merged."""
    shutil.rmtree(folder, ignore_errors=True)
    if not config.adapters:
        return model
    if config.keep_adapter:
        model.save_pretrained(folder / "adapter")
    return model.merge_and_unload()


def save(model: Any, tokenizer: Any, folder: Path, config: FinetuneConfig) -> None:
    """Write weights, config, generation config and tokenizer."""
    import torch

    model.to(getattr(torch, config.save_dtype)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    for file in folder.rglob("*.safetensors"):
        file.chmod(0o644)  # written for the owner alone
