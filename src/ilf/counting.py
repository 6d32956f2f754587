"""What servers of ours count, as Prometheus reads it: the verifier and the annotation page share this."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, generate_latest

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Upper ends of histograms' buckets."""
MEDIA = "text/plain; version=0.0.4; charset=utf-8"
"""Media type of `Counts.text`."""


class Counts:
    """The counters of one server, apart from those of others in the process."""

    def __init__(self, prefix: str, requests_by: tuple[str, ...]) -> None:
        """Begin to count.

        Args:
            prefix: of all names, such as `ilf_verifier`.
            requests_by: the labels by which requests are counted.
        """
        self.registry = CollectorRegistry()
        self.requests = Counter(
            f"{prefix}_requests", f"Requests, by {', '.join(requests_by)}.", requests_by,
            registry=self.registry,
        )  # fmt: skip

    def text(self) -> bytes:
        """All of it, as Prometheus reads it."""
        return generate_latest(self.registry)
