"""How much one program may use."""

from __future__ import annotations

import os

from pydantic import BaseModel, ConfigDict, Field


class Limits(BaseModel):
    """Limits of one program, all its tests together. Breaking one ends the program, not the run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    cpu_seconds: float = Field(default=5.0, gt=0, le=3600)
    """Processor time, its threads and child processes included."""
    wall_seconds: float = Field(default=10.0, gt=0, le=36000)
    """Time by the clock, without the time it waited for a free core; ends what sleeps or waits for ever."""
    memory_mb: int = Field(default=512, ge=32)
    """Address space beyond the interpreter's own, and resident memory of all its processes together (MiB)."""
    processes: int = Field(default=32, ge=1)
    """Processes and threads at one time."""
    open_files: int = Field(default=64, ge=16)
    file_mb: int = Field(default=16, ge=1)
    """Bytes it may keep in its private `/tmp`, all files together (MiB)."""
    output_kb: int = Field(default=64, ge=4)
    """Printed text that is kept (KiB); older text gives way to newer."""


def default_workers() -> int:
    """One worker per core that this process may use."""
    return len(os.sched_getaffinity(0))
