"""The model card and the record behind it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ilf.errors import TrainingError

RECORD = "training.json"
"""In the model folder: everything the card says, for programs."""
_SETTINGS = (
    "method", "learning_rate", "schedule", "warmup_ratio", "batch_size", "epochs", "max_length",
    "weight_decay", "max_grad_norm", "seed",
)  # fmt: skip
_LORA = ("lora_rank", "lora_alpha", "lora_dropout", "lora_targets")


def write_card(folder: Path, evaluation: Mapping[str, Any] | None = None) -> None:
    """Write `README.md` from the record in the folder; scores stay once they were given.

    Args:
        folder: a folder that `finetune` wrote.
        evaluation: by arm (`before`, `after`, …), an `ilf.metrics.Evaluation`.

    Raises:
        TrainingError: the folder holds no record of a fine-tuning.
    """
    path = folder / RECORD
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise TrainingError(f"{path}: not the record of a fine-tuning; `ilf finetune` writes one") from None
    if evaluation is not None:
        record["evaluation"] = {
            arm: result if isinstance(result, Mapping) else result.model_dump(mode="json", exclude={"tasks"})
            for arm, result in evaluation.items()
        }
        _replace(path, json.dumps(record, indent=2, ensure_ascii=False) + "\n")
    _replace(folder / "README.md", card(record))


def card(record: Mapping[str, Any]) -> str:
    """The text of the model card."""
    result, config, source = record["result"], record["config"], record["source"]
    hub = "/" in source and not source.startswith((".", "/", "~")) and ":" not in source
    base = f"base_model: {source}\n" if hub else ""
    lines = [
        f"---\nlibrary_name: transformers\npipeline_tag: text-generation\ntags:\n- ilf\n- code\n{base}---\n",
        "# A model fine-tuned on refinements\n",
        "Made with `ilf`: imitation learning from language feedback (Chen et al. 2023, arXiv 2303.16749).\n",
        "## What it was trained on\n",
        f"- Start: `{source}`, weights `{result['parent']}`",
        f"- Examples: {result['examples']:,} ({_listed(record['origins'])}), "
        f"{result['label_tokens']:,} label tokens of {result['tokens']:,} over all epochs",
    ]
    if result["left_out"]:
        left = record["left_out"]
        lines.append(f"- Left out: {len(left['too long'])} too long, {left['weight 0']} of weight 0")
    for heading, value in record["card"].items():
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        lines.append(f"- {heading}: {text}")
    names = _SETTINGS + (_LORA if config["method"] == "lora" else ())
    lines += ["\n## How\n", "| setting | value |", "|---|---|"]
    lines += [f"| {name} | {config[name]} |" for name in names]
    lines += [
        f"| optimiser | AdamW, {result['steps']:,} steps |",
        f"| precision | {record['plan']['precision']}, master weights float32 |",
        f"\nLoss (nats per label token) of the first step {result['first_loss']:.4f}, of the last "
        f"{result['final_loss']:.4f}. {result['seconds']:,.0f} s on {result['device']}, "
        f"{result['peak_memory'] / 1e9:.1f} GB of memory at most. Every step is in `training_log.jsonl`.\n",
        f"Weights: `{result['model']}`\n",
        "## How it scored\n",
        *_scores(record.get("evaluation")),
        "\nPrograms that a model writes are untrusted code: run them in a sandbox only.\n",
    ]
    return "\n".join(lines)


def _scores(evaluation: Mapping[str, Any] | None) -> list[str]:
    if not evaluation:
        return ["Not evaluated."]
    first = next(iter(evaluation.values()))
    if all(result.get("reward") for result in evaluation.values()):
        return [
            f"Mean R on the split `{first['split']}`, {first['n']} samples a task at temperature "
            f"{first['temperature']:g}; 95% intervals over tasks in brackets.\n",
            "| model | mean R |",
            "|---|---|",
            *(f"| {arm} | {_interval(result['reward'])} |" for arm, result in evaluation.items()),
        ]
    ks = sorted({int(k) for result in evaluation.values() for k in result["pass_at"]})
    rows = [
        f"On the split `{first['split']}`, {first['n']} samples a task at temperature "
        f"{first['temperature']:g}; 95% intervals over tasks in brackets. Paper, sections 3 and 4.\n",
        "| model | " + " | ".join(f"pass@{k}" for k in ks) + " | 1+ correct |",
        "|---|" + "---|" * (len(ks) + 1),
    ]
    for arm, result in evaluation.items():
        by_k = {int(k): value for k, value in result["pass_at"].items()}
        cells = [_interval(by_k.get(k)) for k in ks] + [_interval(result["solved"])]
        rows.append(f"| {arm} | " + " | ".join(cells) + " |")
    return rows


def _interval(value: Mapping[str, float] | None) -> str:
    if value is None:
        return "–"
    return f"{value['value']:.1%} [{value['low']:.1%}, {value['high']:.1%}]"


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {origin}" for origin, count in counts.items())


def _replace(path: Path, text: str) -> None:
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)
