"""What the service takes from its clients, and how much of it."""

from __future__ import annotations

from dataclasses import dataclass, field

from ilf.sandbox.limits import Limits, default_workers
from ilf.sandbox.verify import Where


@dataclass(frozen=True)
class Settings:
    """Of one server."""

    workers: int = field(default_factory=default_workers)
    """Programs at once."""
    limits: Limits = field(default_factory=Limits)
    """Of a program whose request says nothing."""
    most_seconds: float = 30.0
    """Processor seconds, and seconds by the clock, that a request may ask for a program."""
    most_memory_mb: int = 2048
    """Memory that a request may ask for a program."""
    body_mb: float = 16.0
    """Of one request; a larger one is refused while it arrives."""
    all_bodies_mb: float = 512.0
    """Of all requests that are not answered yet."""
    code_kb: int = 1024
    """Of one program, and of one task's tests and other code."""
    programs: int = 1000
    """Of one request."""
    repeat: int = 10
    """Runs of a program that a request may ask for."""
    queue: int = 10_000
    """Programs of all clients that have no verdict yet, or whose verdict nobody took yet."""
    client_queue: int = 5_000
    """Of these, one client's."""
    read_seconds: float = 60.0
    """For a request to arrive."""
    unsafe: bool = False
    isolation: Where = "auto"
