"""What runs on the nodes: one process that samples a GPU (or share of cores), one that verifies a node.

Both kinds have the same three calls: `open` once, `do` for each batch, `close`. What `do` gives is a result
and what it took, as counts for the manifest.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ilf import kinds, models
from ilf.config import VerifyConfig
from ilf.kinds import function
from ilf.policy import Model, Models, Writer
from ilf.prompts import Prompt
from ilf.records import Program, Task, Verdict
from ilf.sampling import Completion, SamplingParams

Counts = dict[str, float]


@dataclass(frozen=True)
class About:
    """What an actor says of itself once it is open."""

    at_once: int = 0
    """Samples to ask it for in one call."""
    model: str = ""
    """Hash of its weights."""


class Sampling:
    """A model on a node."""

    def __init__(self) -> None:
        self._models = Models()
        self._writer: Writer | None = None

    def open(self, model: Model) -> About:
        """Load the model; errors as of `Models.open`."""
        if model.has_weights:
            models.resolve(model.ref, bool(model.engine.options.get("trust_remote_code")))
        self._writer = self._models.open(model)
        return About(self._writer.at_once, self._writer.model)

    def check(self, prompts: Sequence[Prompt], params: SamplingParams) -> None:
        """See `Sampler.check`."""
        assert self._writer is not None
        self._writer.sampler.check(prompts, params)

    def do(self, prompts: Sequence[Prompt], params: SamplingParams) -> tuple[list[Completion], Counts]:
        """All samples of one batch."""
        assert self._writer is not None
        began = time.monotonic()
        found = list(self._writer.sampler.sample(prompts, params))
        tokens = sum(sample.tokens or 0 for sample in found)
        return found, {"samples": len(found), "tokens": tokens, "seconds": time.monotonic() - began}

    def close(self) -> None:
        """Give the memory back."""
        self._models.close()


class Verifying:
    """A node's warm jails.

    Args:
        workers: programs at once in each batch that is verified at a time, where the settings do not say it.
    """

    def __init__(self, workers: int) -> None:
        self._workers = workers

    def open(self, settings: VerifyConfig) -> About:
        """Can the sandbox of this node tell right from wrong? Errors as of `check_sandbox`."""
        self._settings = settings.model_copy(update={"workers": settings.workers or self._workers})
        function.keep_warm()
        function.check_sandbox(settings)
        return About()

    def do(self, tasks: Mapping[str, Task], programs: Sequence[Program]) -> tuple[list[Verdict], Counts]:
        """The verdicts on one batch."""
        began = time.monotonic()
        found = list(kinds.verify(tasks, programs, self._settings))
        lost = sum(verdict.status == "sandbox_error" for verdict in found)
        return found, {"programs": len(found), "sandbox_error": lost, "seconds": time.monotonic() - began}

    def close(self) -> None:
        """End the jails."""
        function.end_warm()
