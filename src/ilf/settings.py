"""`ilf config`: the settings as a JSON schema for editors, and a config with every setting spelt out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Literal

from pydantic import BaseModel

from ilf.config import RunConfig
from ilf.records import Task
from ilf.study.config import StudyConfig

Kind = Literal["run", "study", "task"]

PAPER = {
    "sampling.n": "section 3: 30 samples a task",
    "sampling.temperature": "section 3: 0.8 everywhere",
    "refiner.sampling.n": "section 3.2: 30 refinements an item",
    "refiner.sampling.temperature": "section 3: 0.8 everywhere",
    "refiner.method": "section 3.2: fine-tuned; Table 2 few-shot",
    "refiner.shots": "Table 2: 1-shot",
    "refiner_model": "section 3.2: a copy of πθ",
    "feedback.only_unsolved": "section 3: tasks never solved in 30 samples",
    "feedback.filter": "section 3.1: passing, and under half rewritten",
    "selection.strategy": "section 3.3: one correct refinement a task",
    "selection.weights": "equation 6; the paper counts each 1",
    "selection.beta": "equation 6",
    "learner.name": "section 2, step 4",
    "rounds": "section 2, step 5; the paper does one",
    "examples.own": "section 3.3: refinements only",
    "evaluation.control": "not in the paper",
    "rounds_from": "section 2, step 5: the fine-tuned model",
    "evaluation.k": "section 3: pass@1 and pass@10",
    "evaluation.sampling.n": "section 3: 30 samples a task",
    "evaluation.sampling.temperature": "section 3: 0.8 everywhere",
    **{
        f"{section}.{key}": source
        for section in ("finetune", "refiner.finetune")
        for key, source in {
            "learning_rate": "appendix: 5e-6, of {1e-6, 5e-6, 1e-5}",
            "batch_size": "appendix: 32, of {32, 64, 128}",
            "epochs": "appendix: 2, of {1, 2, 5}",
            "max_length": "appendix: 1,024 tokens",
        }.items()
    },
}
"""Setting → where the paper (arXiv 2303.16749) says it."""

ELSEWHERE = {
    "learner.grpo.n": "arXiv 2402.03300, section 4.1: a group of samples a task",
    "learner.grpo.clip_low": "arXiv 1707.06347, section 3: 0.2",
    "learner.grpo.clip_high": "arXiv 1707.06347, section 3: 0.2",
    "learner.grpo.scale": "arXiv 2402.03300: std; arXiv 2503.20783: none",
    "learner.distil.passes": "arXiv 2306.13649: the student's own samples",
    "learner.distil.divergence": "arXiv 2306.13649, section 3: forward, reverse or JSD",
    "learner.sdpo.teacher": "arXiv 2601.20802: the current model, told the feedback",
    "learner.sdpo.divergence": "arXiv 2306.13649, section 3: forward, reverse or JSD",
}
"""Setting → another paper that says it."""


def schema(kind: Kind) -> str:
    """The JSON schema of a run's or a study's TOML file, or of a task's row."""
    models: dict[Kind, type[BaseModel]] = {"run": RunConfig, "study": StudyConfig, "task": Task}
    found = models[kind].model_json_schema()
    if kind == "study":
        # In the file the run is a base config, a table over it, or both (`ilf.study.config.load_study`).
        found["properties"]["base"] = {"type": "string", "description": "A run's config to start from."}
        found["required"] = [name for name in found.get("required", []) if name not in ("run", "name")]
        run = found["$defs"]["RunConfig"]
        run["required"] = []
    return json.dumps(found, indent=2, ensure_ascii=False) + "\n"


def show(config: RunConfig) -> str:
    """Every setting of a run as TOML, each with its default where it differs, and its source in the paper."""
    lines = []
    section = ""
    for path, value, default in _settings(config, ""):
        parent, _, key = path.rpartition(".")
        if parent != section:
            section = parent
            lines += ["", f"[{section}]"]
        notes = [] if value == default else [f"default {_toml(default)}"]
        notes += [f"paper, {PAPER[path]}"] if path in PAPER else []
        notes += [ELSEWHERE[path]] if path in ELSEWHERE else []
        # TOML has no null: what is absent stands there as a comment.
        text = f"# {key}: not set" if value is None else f"{key} = {_toml(value)}"
        lines.append(text + (f"  # {'; '.join(notes)}" if notes else ""))
    return "\n".join(lines) + "\n"


def _settings(section: BaseModel, prefix: str) -> Iterator[tuple[str, Any, Any]]:
    """(dotted key, value, default) of each setting, those of a section before its sections."""
    inner = []
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        if isinstance(value, BaseModel):
            inner.append((name, value))
        else:
            default = None if field.is_required() else field.get_default(call_default_factory=True)
            yield f"{prefix}{name}", value, value if field.is_required() else default
    for name, value in inner:
        yield from _settings(value, f"{prefix}{name}.")


def _toml(value: Any) -> str:
    if value is None:
        return "not set"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(k)} = {_toml(v)}" for k, v in value.items()) + " }"
    return str(value)
