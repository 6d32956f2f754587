"""Where third parties plug in: a table of names a seam, and import paths for everything else.

Every seam (feedback source, learner, task kind, reward of a text, engine, place) has one table, name →
`package.module:Name`. A config names an entry of the table, or an import path of its own;
`docs/extending.md` shows one of each.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.metadata
from collections.abc import Mapping
from typing import Any

from ilf.errors import ConfigError

ENGINES = {
    "torch": "ilf.sampling.torch_engine:open",
    "transformers": "ilf.sampling.transformers_engine:open",
    "openai": "ilf.sampling.openai_engine:open",
    "vllm": "ilf.sampling.vllm_engine:open",
    "scripted": "ilf.sampling.scripted:open",
}
"""Functions that open a model as a `sampling.Sampler` (`engine.name`)."""

SOURCES = {
    "recorded": "ilf.feedback.sources:from_file",
    "human": "ilf.annotate.collect:from_people",
    "execution": "ilf.feedback.sources:from_execution",
    "model": "ilf.feedback.sources:from_model",
    "review": "ilf.review.source:gather",
    "mixed": "ilf.feedback.mixed:gather",
}
"""Functions that say what is wrong, `feedback.sources.Source` (`feedback.source`)."""

LEARNERS = {
    "sft": "ilf.learners.sft:learn",
    "distil": "ilf.learners.distil:learn",
    "sdpo": "ilf.learners.sdpo:learn",
    "grpo": "ilf.learners.grpo:learn",
}
"""Functions that make a model of a model, `learners.Learner` (`learner.name`)."""

KINDS = {
    "function": "ilf.kinds.function:Function",
    "stdin": "ilf.kinds.stdin:Stdin",
    "answer": "ilf.kinds.answer:Answer",
    "text": "ilf.kinds.text:Text",
}
"""Classes of `kinds.TaskKind` (a task's `kind`)."""

REWARDS = {
    "function": "ilf.rewards.function:score",
    "judge": "ilf.rewards.judge:score",
    "similarity": "ilf.rewards.similarity:score",
}
"""Functions that say what texts are worth, `kinds.text.Reward` (`verify.reward.terms.by`)."""

PLACES = {"local": "ilf.places:Local", "ray": "ilf.ray.place:RayPlace"}
"""Classes of `places.Place` (`place.name`)."""


def load(table: Mapping[str, str], name: str, key: str) -> Any:
    """What a name of a seam stands for; imported when it is asked for.

    Args:
        table: of the seam, name → `package.module:Name`.
        name: one of the table's, or an import path.
        key: the setting that names it, for the message.

    Raises:
        ConfigError: no such name, module, or name in it.
    """
    try:
        check(table, name)
    except ConfigError as error:
        raise ConfigError(f"{key}: {error}") from None
    module, _, attribute = table.get(name, name).partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except ModuleNotFoundError as error:
        # A library that a module of ours wants is another matter: it names its own extra.
        if name in table or not (error.name and f"{module}.".startswith(f"{error.name}.")):
            raise
        raise ConfigError(f"{key}: {name!r}: there is no module {error.name}") from None
    except AttributeError:
        raise ConfigError(f"{key}: {name!r}: module {module} has no {attribute!r}") from None


def check(table: Mapping[str, str], name: str) -> str:
    """`name`, where it is in the table or has the form of an import path; nothing is imported.

    Raises:
        ConfigError: it is neither.
    """
    if name in table:
        return name
    module, colon, attribute = name.partition(":")
    if colon and attribute.isidentifier() and all(part.isidentifier() for part in module.split(".")):
        return name
    near = difflib.get_close_matches(name, table, n=1)
    hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(table)}"
    raise ConfigError(f"{name!r} is unknown; {hint} (or an import path, package.module:Name)")


def default_engine() -> str:
    """What engine `auto` stands for: `vllm` where there is a GPU and vLLM's build for it, else `torch`."""
    try:
        importlib.metadata.version("vllm")  # its build for CPUs has another name
        torch = importlib.import_module("torch")
    except ImportError:
        return "torch"
    # Counting opens no context on the GPU, which would be in the way of processes started later.
    return "vllm" if torch.cuda.device_count() > 0 else "torch"
