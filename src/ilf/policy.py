"""Models that are sampled: which weights, computed by which engine, asked in which prompt style."""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ilf import models
from ilf.config import EngineConfig
from ilf.errors import ModelError
from ilf.notes import Lines
from ilf.prompts import Prompter, Style
from ilf.runfolder import available_memory
from ilf.sampling import Sampler, open_sampler
from ilf.seams import ENGINES

SEQUENCES = 512
"""Samples a batch, where an engine does not name more (`at_once`): the unit that a kill can cost, and large
enough to keep an engine's batch full."""
NO_WEIGHTS = frozenset({"openai", "scripted"})
"""Engines that hold no weights in this process."""


@dataclass(frozen=True)
class Model:
    """A model by its weights; opened when a step needs it (`Models.open`)."""

    ref: str
    """MODEL string or folder."""
    hash: str
    """Of its weights."""
    engine: EngineConfig
    """What computes its samples."""
    style: Style
    """Prompt style."""
    lines: Lines = "number"
    """How its prompts name the lines that a note is about."""
    remake: Callable[[], None] | None = field(default=None, compare=False)
    """Writes weights that were deleted to save disk; called before they are opened."""

    def identity(self) -> Mapping[str, Any]:
        """What of it decides a sample: part of the key of every step that samples it."""
        lines = {} if self.lines == "number" else {"lines": self.lines}
        return {"hash": self.hash, "engine": self.engine.model_dump(), "style": self.style, **lines}

    @property
    def has_weights(self) -> bool:
        """Whether its weights are a folder that this process reads: texts can be scored under it."""
        return self.engine.name in ENGINES and self.engine.name not in NO_WEIGHTS

    @property
    def folder(self) -> Path | None:
        """Of its weights; None where they are elsewhere."""
        return models.at_hand(self.ref) if self.has_weights else None

    @property
    def prompter(self) -> Prompter:
        """The prompts it understands."""
        return make_prompter(self.ref, self.engine.name, self.style, self.lines)


@dataclass(frozen=True)
class Writer:
    """A model ready to be sampled, with the prompts it understands."""

    sampler: Sampler
    prompter: Prompter

    @property
    def model(self) -> str:
        """Hash of its weights."""
        return self.sampler.model

    @property
    def at_once(self) -> int:
        """Samples to ask it for in one call."""
        return max(SEQUENCES, getattr(self.sampler, "at_once", 0))


class Models:
    """Opens models, one at a time: the old one's memory goes before the new one's comes."""

    def __init__(self) -> None:
        self._opened: tuple[Model, Writer] | None = None

    def open(self, model: Model) -> Writer:
        """The model, ready to be sampled.

        Raises:
            ModelError: it cannot be opened, has other weights than expected, or memory is short.
        """
        if self._opened is None or self._opened[0] != model:
            sampler = self._reloaded(model)
            if sampler is None:
                self.close()
                if model.remake is not None:
                    model.remake()
                _require_memory(model)
                sampler = open_sampler(model.engine.name, model.ref, **model.engine.options)
            if sampler.model != model.hash:
                raise ModelError(
                    f"{model.ref}: expected weights {model.hash[:12]}, found {sampler.model[:12]}: it was "
                    "changed while it was in use"
                )
            self._opened = (model, Writer(sampler, model.prompter))
        return self._opened[1]

    def _reloaded(self, model: Model) -> Sampler | None:
        """The open engine with the weights of `model`, where it can take them without a restart (`load`)."""
        if self._opened is None or self._opened[0].engine != model.engine or model.remake is not None:
            return None
        sampler = self._opened[1].sampler
        load = getattr(sampler, "load", None)
        if load is None or not load(models.resolve(model.ref)):
            return None
        return sampler

    def close(self) -> None:
        """Give the open model's memory back."""
        if self._opened is None:
            return
        engine, sampler = self._opened[0].engine.name, self._opened[1].sampler
        self._opened = None
        if (end := getattr(sampler, "close", None)) is not None:  # it holds processes
            end()
        del sampler
        # Models hold cycles; but a walk over the whole heap takes half a second beside torch.
        if engine not in NO_WEIGHTS:
            gc.collect()


def get(ref: str | Path, engine: EngineConfig, style: Style, lines: Lines = "number") -> Model:
    """A model by MODEL string or folder, without opening it where the engine allows that.

    Raises:
        ConfigError: there is no such engine.
        ModelError: there is no such model.
    """
    name = str(ref)
    if engine.name in NO_WEIGHTS or engine.name not in ENGINES:
        found = open_sampler(engine.name, name, **engine.options).model
    else:
        # Trust lasts for the process: prompts, samples and fine-tuning open the same folder afterwards.
        found = models.resolve(name, bool(engine.options.get("trust_remote_code"))).hash
    return Model(name, found, engine, style, lines)


def _require_memory(model: Model) -> None:
    """Refuse to open a model whose weights alone are larger than the memory that is free."""
    free = available_memory()
    if not model.has_weights or free is None:
        return
    weights = sum(file.stat().st_size for file in models.resolve(model.ref).path.glob("*.safetensors"))
    if weights > free:
        raise ModelError(
            f"{model.ref}: its weights take {weights / 1e9:.1f} GB of memory, {free / 1e9:.1f} GB are free: "
            "close other programs or take a smaller model"
        )


def make_prompter(model: str, engine: str, style: Style, lines: Lines = "number") -> Prompter:
    """The prompts that a model understands (its chat template comes with its tokenizer)."""
    unread = engine == "openai" and not Path(model).exists()
    foreign = engine not in ENGINES and not (Path(model) / "tokenizer_config.json").is_file()
    if engine == "scripted" or unread or foreign:
        # No tokenizer at hand: a chat server renders `user` and `prefill` itself, a script reads any text.
        return Prompter(style, template=lambda user: user + "\n\n" if style == "chat" else user, lines=lines)
    folder = models.resolve(model).path
    if style == "chat":
        return Prompter(style, template=models.chat_template(folder), lines=lines)
    return Prompter(style, bos=models.bos_text(folder), lines=lines)
