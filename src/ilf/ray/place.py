"""The place `ray`: what steps see of a cluster."""

from __future__ import annotations

import logging
import operator
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ilf.config import VerifyConfig
from ilf.errors import ConfigError, ModelError, SandboxFailure, first_line, missing
from ilf.policy import Model, Models, Writer
from ilf.progress import Progress
from ilf.prompts import Prompt
from ilf.ray.actors import Counts, Sampling, Verifying
from ilf.ray.crew import Crew, Node
from ilf.records import Program, Task, Verdict
from ilf.sampling import Completion, SamplingParams
from ilf.sandbox.verify import SANDBOX_ERROR_MIN, SANDBOX_ERROR_SHARE
from ilf.steps.sampling import batched

MOST_PROGRAMS = 256
"""Programs in a call: half a second of a core or two."""
FEWEST_PROGRAMS = 16
LANES = 2
"""Batches that a node verifies at a time: while the last program of one is slow, the other's run."""
SERVED = "openai"
"""The engine that is a server already: it is asked from here."""


class RayPlace(Models):
    """The nodes of a Ray cluster, this machine among them where it has cores in it.

    Args:
        address: as of `ray.init`: `auto`, `local`, or `HOST:PORT`.
        cores: of one sampling actor on a node without a GPU; all by default.
    """

    def __init__(self, address: str = "auto", cores: int | None = None) -> None:
        super().__init__()
        self._address, self._cores = address, cores
        self._ray: Any = None
        self._sampling: tuple[Model, Crew, Writer] | None = None
        self._verifying: tuple[VerifyConfig, Crew] | None = None
        self._earlier: dict[str, float] = {}

    def open(self, model: Model) -> Writer:
        """The model, ready to be sampled on every node; errors as of `Models.open`."""
        if model.engine.name == SERVED:
            return super().open(model)
        if self._sampling is None or self._sampling[0] != model:
            self.close()
            if model.remake is not None:
                model.remake()
            crew = self._crew(self._hire_samplers, (_portable(model),), 1, _fine, ModelError)
            about = crew.begin().about
            assert about is not None
            self._sampling = model, crew, Writer(RaySampler(crew, about.model, about.at_once), model.prompter)
        return self._sampling[2]

    def close(self) -> None:
        """Give the nodes' memory back; jails stay."""
        super().close()
        if self._sampling is not None:
            self._note(self._sampling[1])
            self._sampling[1].close()
            self._sampling = None

    def verify(
        self,
        tasks: Mapping[str, Task],
        programs: Iterable[Program],
        settings: VerifyConfig,
        bar: Progress | None = None,
    ) -> Iterator[Verdict]:
        """EVAL(x, t) of each program, in order.

        Raises:
            SandboxFailure: no node is left whose sandbox works.
        """
        if self._verifying is None or self._verifying[0] != settings:
            if self._verifying is not None:
                self._note(self._verifying[1])
                self._verifying[1].close()
            crew = self._crew(self._hire_verifiers, (settings,), LANES, _trusted, SandboxFailure)
            self._verifying = settings, crew
        crew = self._verifying[1]
        known = operator.length_hint(programs)
        size = MOST_PROGRAMS
        if known:
            lanes = (LANES + 1) * max(1, len(self._nodes()))
            size = min(MOST_PROGRAMS, max(FEWEST_PROGRAMS, -(-known // lanes)))
        calls = (
            ({program.task_id: tasks[program.task_id] for program in batch}, batch)
            for batch in batched(programs, size)
        )
        for verdicts in crew.run(calls):
            for verdict in verdicts:
                if bar is not None:
                    bar.advance(1, shared=verdict.shared)
                yield verdict

    def counts(self) -> Mapping[str, float]:
        """Samples, tokens, programs, `sandbox_error` and seconds of work by node."""
        for opened in (self._sampling, self._verifying):
            if opened is not None:
                self._note(opened[1])
        found, self._earlier = self._earlier, {}
        return found

    def _note(self, crew: Crew) -> None:
        for name, counts in crew.counts().items():
            for what, count in counts.items():
                if count or what != "sandbox_error":
                    label = f"{what} on {name}"
                    self._earlier[label] = round(self._earlier.get(label, 0) + count, 2)

    def _library(self) -> Any:
        """Ray, connected to the cluster.

        Raises:
            MissingDependency: it is not installed.
            ConfigError: there is no such cluster.
        """
        if self._ray is None:
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
            os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
            try:
                import ray  # type: ignore[import-not-found, unused-ignore]
            except ModuleNotFoundError:
                raise missing("ray", "ray") from None
            if not ray.is_initialized():
                handler = signal.getsignal(signal.SIGTERM)
                try:
                    _reach(self._address)
                    ray.init(address=self._address, logging_level=logging.ERROR, log_to_driver=False)
                except (OSError, ValueError, RuntimeError) as error:
                    raise ConfigError(
                        f"place.address: no Ray cluster at {self._address!r} ({first_line(error)}): start "
                        'one with `ray start --head`, or set place.address = "local"'
                    ) from None
                if threading.current_thread() is threading.main_thread():
                    signal.signal(signal.SIGTERM, handler)  # Ray's own would end a run without its last words
            self._ray = ray
        return self._ray

    def _crew(
        self,
        hire: Callable[[Node], list[Any]],
        opening: tuple[Any, ...],
        lanes: int,
        judge: Callable[[Counts], str | None],
        failure: Any,
    ) -> Crew:
        return Crew(self._library(), self._nodes, hire, opening, lanes, judge, failure)

    def _nodes(self) -> list[Node]:
        found = []
        for node in self._library().nodes():
            resources = node["Resources"]
            cpus, gpus = int(resources.get("CPU", 0)), int(resources.get("GPU", 0))
            if node["Alive"] and (cpus or gpus):
                name = f"{node['NodeManagerAddress']} ({node['NodeID'][:6]})"
                found.append(Node(node["NodeID"], name, cpus, gpus))
        return found

    def _hire_samplers(self, node: Node) -> list[Any]:
        if node.gpus:
            return [self._actor(Sampling, node, num_gpus=1, num_cpus=0).remote() for _ in range(node.gpus)]
        cores = min(self._cores or node.cpus, node.cpus)
        return [
            self._actor(Sampling, node, num_cpus=cores).remote() for _ in range(max(1, node.cpus // cores))
        ]

    def _hire_verifiers(self, node: Node) -> list[Any]:
        # No cores asked for: verifying and sampling take turns on them.
        actor = self._actor(Verifying, node, num_cpus=0, max_concurrency=LANES)
        return [actor.remote(-(-max(1, node.cpus) // LANES))]

    def _actor(self, kind: type, node: Node, **options: Any) -> Any:
        from ray.util import scheduling_strategies  # type: ignore[import-not-found, unused-ignore]

        here = scheduling_strategies.NodeAffinitySchedulingStrategy(node.id, soft=False)
        return self._library().remote(scheduling_strategy=here, max_restarts=0, **options)(kind)


class RaySampler:
    """The model on every node (`sampling.ManySampler`)."""

    def __init__(self, crew: Crew, model: str, at_once: int) -> None:
        self._crew, self.model, self.at_once = crew, model, at_once

    def sample(
        self,
        prompts: Sequence[Prompt],
        params: SamplingParams,
        progress: Callable[[int], None] | None = None,
    ) -> Iterator[Completion]:
        """See `Sampler.sample`: one batch, on one node."""
        for found in self.sample_many([(prompts, params)]):
            if progress is not None:
                progress(sum(sample.tokens or 0 for sample in found))
            yield from found

    def sample_many(
        self, asked: Iterable[tuple[Sequence[Prompt], SamplingParams]]
    ) -> Iterator[Sequence[Completion]]:
        """See `ManySampler.sample_many`."""
        yield from self._crew.run(asked)

    def check(self, prompts: Sequence[Prompt], params: SamplingParams) -> None:
        """See `Sampler.check`."""
        self._crew.ask("check", prompts, params)


def _reach(address: str) -> None:
    """Whether anybody listens at `HOST:PORT`: Ray itself takes minutes to say no."""
    host, _, port = address.rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()


def _portable(model: Model) -> Model:
    """The model as a process with another working folder opens it."""
    ref = str(Path(model.ref).resolve()) if Path(model.ref).exists() else model.ref
    return replace(model, ref=ref, remake=None)


def _fine(counts: Counts) -> None:
    """A node that samples has no bad counts."""


def _trusted(counts: Counts) -> str | None:
    """Local's rule for when a sandbox is not to be believed, for a node."""
    failed, done = counts.get("sandbox_error", 0), counts.get("programs", 0)
    if failed >= SANDBOX_ERROR_MIN and failed > SANDBOX_ERROR_SHARE * done:
        return f"its sandbox failed on {failed:.0f} of {done:.0f} programs"
    return None
