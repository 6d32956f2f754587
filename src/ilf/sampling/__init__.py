"""Sampling programs from a model: one small protocol, one engine a file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, cast, runtime_checkable

from ilf.errors import ConfigError
from ilf.prompts import Prompt
from ilf.seams import ENGINES, load


@dataclass(frozen=True)
class SamplingParams:
    """How to sample. Defaults are the paper's where it has one (section 3: 30 samples, temperature 0.8)."""

    n: int = 30
    temperature: float = 0.8
    """0 is greedy."""
    top_p: float = 1.0
    max_tokens: int = 512
    stop: tuple[str, ...] = ()
    """A sample ends before the first of these strings (the string itself is not part of the text)."""
    seed: int = 0

    def __post_init__(self) -> None:
        for name, right, rule in (
            ("n", self.n >= 1, "at least 1"),
            ("temperature", self.temperature >= 0, "0 (greedy) or more"),
            ("top_p", 0 < self.top_p <= 1, "above 0 and at most 1"),
            ("max_tokens", self.max_tokens >= 1, "at least 1"),
            ("stop", all(self.stop), "strings that are not empty"),
        ):
            if not right:
                raise ConfigError(f"sampling: {name} = {getattr(self, name)!r}; it must be {rule}")


@dataclass(frozen=True)
class Completion:
    """One sample of one prompt."""

    prompt: int
    """Index into the prompts given."""
    index: int
    """Which of the n samples, from 0."""
    text: str
    logprob: float | None
    """Sum over sampled tokens of log p at temperature 1, untruncated (nats); None where not known."""
    tokens: int | None
    finish: Literal["stop", "length"]


class Sampler(Protocol):
    """A model that can be sampled from.

    One that needs more than `policy.SEQUENCES` samples under way to be kept busy says so in an attribute
    `at_once`; one that reports each pass over the samples under way, so that its tokens are so many samples,
    has `in_step = True`. One that can go on with other weights has `load(folder) -> bool`, one that holds
    processes `close()`.
    """

    model: str
    """Hash of the weights."""

    def sample(
        self,
        prompts: Sequence[Prompt],
        params: SamplingParams,
        progress: Callable[[int], None] | None = None,
    ) -> Iterator[Completion]:
        """Yield `len(prompts) * params.n` completions, each as soon as it is finished, in any order.

        The same prompts and params on the same machine and engine give the same completions.

        Args:
            prompts: what to continue.
            params: how to sample.
            progress: called with the number of tokens computed since its last call.

        Raises:
            ModelError: a prompt does not fit into the model's context with `max_tokens` after it.
        """
        ...

    def check(self, prompts: Sequence[Prompt], params: SamplingParams) -> None:
        """Whether all of `prompts` can be sampled, before the first of them is; nothing is computed.

        Engines that do not hold the tokenizer cannot tell and let everything pass.

        Raises:
            PromptTooLong: as in `sample`.
        """
        ...


@runtime_checkable
class ManySampler(Protocol):
    """What a sampler may have besides: several calls under way at once (the place `ray`)."""

    def sample_many(
        self, asked: Iterable[tuple[Sequence[Prompt], SamplingParams]]
    ) -> Iterator[Sequence[Completion]]:
        """The completions of each pair of prompts and params, in the pairs' order; errors as of `sample`."""
        ...


def open_sampler(engine: str, model: str, **options: Any) -> Sampler:
    """Open a model with an engine.

    Args:
        engine: a name in `ENGINES`, or the import path of a function like their `open`.
        model: what the engine takes for one: a MODEL string, a server's model name, a table's path.
        options: the engine's own settings, see its `open`.

    Raises:
        ConfigError: no such engine, or it has no such option.
        MissingDependency: the engine's library is not installed.
        ModelError: the model cannot be opened.
    """
    factory = load(ENGINES, engine, "engine.name")
    try:
        return cast(Sampler, factory(model, **options))
    except TypeError as error:
        if "unexpected keyword argument" not in str(error):
            raise
        raise ConfigError(f"sampling engine {engine!r}: {str(error).split(') ')[-1]}") from None
