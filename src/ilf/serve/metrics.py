"""What the service counts, in Prometheus' form."""

from __future__ import annotations

import time
from collections.abc import Iterable

from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from ilf.counting import SECONDS, Counts
from ilf.serve.engine import Broken, Result
from ilf.serve.queue import FairQueue, Item

RECENT = 200
"""Programs by which the sandbox is called healthy or not."""


class Metrics(Counts):
    """Of one server; `queue` is whose depths are shown."""

    def __init__(self, queue: FairQueue, workers: int) -> None:
        super().__init__("ilf_verifier", ("path", "client", "status"))
        self.programs = Counter(
            "ilf_verifier_programs", "Programs run, by client and status of the verdict.",
            ("client", "status"), registry=self.registry,
        )  # fmt: skip
        self.refused = Counter(
            "ilf_verifier_refused_programs", "Programs refused because a queue was full.",
            ("client",), registry=self.registry,
        )  # fmt: skip
        self.took = Histogram(
            "ilf_verifier_program_seconds", "Seconds of a jail that a program took.",
            buckets=SECONDS, registry=self.registry,
        )  # fmt: skip
        self.waited = Histogram(
            "ilf_verifier_wait_seconds", "Seconds from a request's arrival to a program's result.",
            ("client",), buckets=SECONDS, registry=self.registry,
        )  # fmt: skip
        self.workers = Gauge("ilf_verifier_workers", "Programs run at once.", registry=self.registry)
        self.workers.set(workers)
        self.registry.register(_Depths(queue))
        self.failures: list[bool] = []

    def program(self, item: Item, result: Result, seconds: float) -> None:
        """Count a program that has its result."""
        status = "broken" if isinstance(result, Broken) else result.status
        self.programs.labels(item.client, status).inc()
        self.took.observe(seconds)
        self.waited.labels(item.client).observe(time.monotonic() - item.since)
        self.failures = [*self.failures[1 - RECENT :], status == "sandbox_error"]

    @property
    def healthy(self) -> bool:
        """Whether, of the last programs, the sandbox failed on few."""
        recent = self.failures
        return sum(recent) < 5 or sum(recent) <= 0.02 * len(recent)


class _Depths(Collector):
    def __init__(self, queue: FairQueue) -> None:
        self.queue = queue

    def collect(self) -> Iterable[Metric]:
        depths = GaugeMetricFamily(
            "ilf_verifier_queued_programs", "Programs that wait to be run.", labels=["client"]
        )
        for client, depth in self.queue.depths().items():
            depths.add_metric([client], depth)
        yield depths
        yield GaugeMetricFamily(
            "ilf_verifier_pending_programs", "Programs accepted and not yet answered.", self.queue.pending
        )
