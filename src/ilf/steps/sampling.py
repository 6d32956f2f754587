"""What the steps that sample share: batches, seeds, and looking ahead before the first sample."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TypeVar

from ilf import costs
from ilf.config import SamplingConfig
from ilf.errors import ModelError, PromptTooLong, SandboxFailure
from ilf.policy import Writer
from ilf.progress import Progress
from ilf.prompts import Prompt
from ilf.records import Program, Refinement, Task, Verdict
from ilf.runfolder import require_disk
from ilf.sampling import Completion, SamplingParams

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
    found: dict[tuple[int, int], Completion] = {}
    seen = 0
    try:
        params = params_of(writer, settings, seed, tasks)
        for sample in writer.sampler.sample(prompts, params, lambda tokens: bar.advance(tokens=tokens)):
            seen += 1
            found[sample.prompt, sample.index] = sample
            bar.advance(1)
    except PromptTooLong as error:
        raise ModelError(f"task {tasks[error.prompt].task_id}: {error}") from None
    asked = len(prompts) * settings.n
    if seen != asked or len(found) != asked:
        raise ModelError(f"the engine gave {len(found)} different samples where {asked} were asked for")
    return [found[place] for place in sorted(found)]


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
