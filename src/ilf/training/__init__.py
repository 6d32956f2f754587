"""Fine-tuning: `finetune(model, examples, out) → a Hugging Face folder`. torch is imported when it is
used."""

from __future__ import annotations

from ilf.training.card import write_card
from ilf.training.config import FinetuneConfig
from ilf.training.examples import LabelReport, check_examples
from ilf.training.preflight import Estimate, estimate
from ilf.training.run import FinetuneResult, finetune

__all__ = [
    "Estimate",
    "FinetuneConfig",
    "FinetuneResult",
    "LabelReport",
    "check_examples",
    "estimate",
    "finetune",
    "write_card",
]
