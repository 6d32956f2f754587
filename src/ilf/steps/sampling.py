"""What the steps that sample share: batches, seeds, and looking ahead before the first sample."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple, TypeVar

from ilf import costs
from ilf.config import SamplingConfig
from ilf.errors import ModelError, PromptTooLong, SandboxFailure
from ilf.pace import Batched, Pace, Plan
from ilf.policy import Writer
from ilf.progress import Progress
from ilf.prompts import Prompt
from ilf.records import Program, Refinement, Task, Verdict
from ilf.runfolder import require_disk
from ilf.sampling import Completion, ManySampler, SamplingParams

T = TypeVar("T")


def seed_of(*parts: object) -> int:
    """A seed that depends on all of `parts` (the run's seed, round, step, batch)."""
    text = "/".join(map(str, parts))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") // 2


def batched(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Consecutive lists of at most `size` items."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


def sample_counts(rows: Iterable[Program | Refinement]) -> dict[str, float]:
    """What a sampling made, for the manifest."""
    counts: dict[str, float] = {"samples": 0, "tokens": 0}
    for row in rows:
        counts["samples"] += 1
        counts["tokens"] += row.tokens or 0
    return counts


def pace_of(writer: Writer, sizes: Sequence[int], settings: SamplingConfig) -> Pace | None:
    """How long sampling will take, where the engine computes the samples of a batch side by side.

    Args:
        writer: what samples.
        sizes: samples of each batch that is left.
        settings: how to sample.
    """
    if not sizes or not getattr(writer.sampler, "in_step", False):
        return None
    return Batched(Plan(tuple(sizes), settings.n, settings.max_tokens))


def params_of(writer: Writer, settings: SamplingConfig, seed: int, tasks: Sequence[Task]) -> SamplingParams:
    """The settings as an engine takes them, for prompts about `tasks`."""
    return SamplingParams(
        n=settings.n,
        temperature=settings.temperature,
        top_p=settings.top_p,
        max_tokens=settings.max_tokens,
        stop=writer.prompter.stops(tasks),
        seed=seed,
    )


def require_room(
    writer: Writer,
    prompts: Sequence[Prompt],
    settings: SamplingConfig,
    tasks: Sequence[Task],
    out: Path,
) -> None:
    """Before the first sample: does every prompt fit into the context, and what they give onto the disk?

    Args:
        writer: what will sample.
        prompts: that are left to do.
        settings: how to sample.
        tasks: of the prompts.
        out: the file to be written.

    Raises:
        ModelError: a prompt does not fit; it names the task.
        DataError: too little disk.
    """
    try:
        writer.sampler.check(prompts, params_of(writer, settings, 0, tasks))
    except PromptTooLong as error:
        raise ModelError(f"task {tasks[error.prompt].task_id}: {error}") from None
    require_disk(out.parent, costs.sampling(len(prompts), settings).disk, f"sampling {out.name}")


class Batch(NamedTuple):
    """What is sampled in one call, with a seed of its own."""

    prompts: Sequence[Prompt]
    seed: int
    tasks: Sequence[Task]
    """Of the prompts."""


def sampled(
    writer: Writer, batches: Sequence[Batch], settings: SamplingConfig, bar: Progress
) -> Iterator[list[Completion]]:
    """The samples of each batch in turn, as of `samples_of`; several at a time where the engine can."""
    if not isinstance(writer.sampler, ManySampler):
        for batch in batches:
            yield samples_of(writer, batch.prompts, settings, batch.seed, batch.tasks, bar)
        return
    asked = [(batch.prompts, params_of(writer, settings, batch.seed, batch.tasks)) for batch in batches]
    for batch, found in zip(batches, writer.sampler.sample_many(asked), strict=True):
        bar.advance(len(found), tokens=sum(sample.tokens or 0 for sample in found))
        yield _complete(found, len(batch.prompts) * settings.n)


def samples_of(
    writer: Writer,
    prompts: Sequence[Prompt],
    settings: SamplingConfig,
    seed: int,
    tasks: Sequence[Task],
    bar: Progress,
) -> list[Completion]:
    """The n samples of each prompt, by prompt and index.

    Raises:
        ModelError: a prompt does not fit, or the engine gave another number of samples.
    """
    found: list[Completion] = []
    try:
        params = params_of(writer, settings, seed, tasks)
        for sample in writer.sampler.sample(prompts, params, lambda tokens: bar.advance(tokens=tokens)):
            found.append(sample)
            bar.advance(1)
    except PromptTooLong as error:
        raise ModelError(f"task {tasks[error.prompt].task_id}: {error}") from None
    return _complete(found, len(prompts) * settings.n)


def _complete(found: Sequence[Completion], asked: int) -> list[Completion]:
    """The samples by prompt and index, where each is there once."""
    places = {(sample.prompt, sample.index): sample for sample in found}
    if len(found) != asked or len(places) != asked:
        raise ModelError(f"the engine gave {len(places)} different samples where {asked} were asked for")
    return [places[place] for place in sorted(places)]


def refuse_failures(verdicts: Iterable[Verdict], share: float) -> None:
    """Stop where the sandbox failed too often for the rest to be believed.

    Raises:
        SandboxFailure: more than `share` of the programs got no verdict; what was verified is kept.
    """
    count = failures = 0
    first = ""
    for verdict in verdicts:
        count += 1
        if verdict.status == "sandbox_error":
            failures += 1
            first = first or verdict.detail or verdict.error or ""
    if failures > share * count:
        raise SandboxFailure(
            f"{failures} of {count} programs got no verdict (more than {share:.0%}); "
            f"the first: {first}. See `ilf doctor`"
        )
