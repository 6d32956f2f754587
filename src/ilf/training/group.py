"""The processes that share a fine-tuning: how many, and which one this is. Light: torch is not imported."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from dataclasses import dataclass

from ilf.errors import TrainingError
from ilf.training.config import FinetuneConfig


@dataclass(frozen=True)
class Group:
    """This process among those that share a fine-tuning."""

    rank: int
    size: int
    local_rank: int
    local_size: int
    """Of them on this machine."""

    def checked(self, config: FinetuneConfig) -> FinetuneConfig:
        """The settings with the number of processes that there are.

        Raises:
            TrainingError: they ask for another number.
        """
        if config.processes not in (1, self.size):
            raise TrainingError(
                f"processes = {config.processes}, but {self.size} were started: leave it out, or start "
                "ilf without a launcher"
            )
        return config.model_copy(update={"processes": self.size})


def given() -> Group | None:
    """The processes that torchrun (or accelerate launch) or srun started; None without them, or with one."""
    env = os.environ
    with suppress(KeyError, ValueError):
        size = int(env["WORLD_SIZE"])
        local = int(env.get("LOCAL_WORLD_SIZE", size))
        return Group(int(env["RANK"]), size, int(env["LOCAL_RANK"]), local) if size > 1 else None
    with suppress(KeyError, ValueError):  # of a step: a batch script without srun is one process
        size = int(env["SLURM_STEP_NUM_TASKS"])
        here = int(re.split(r"\D", env["SLURM_STEP_TASKS_PER_NODE"])[0])
        found = Group(int(env["SLURM_PROCID"]), size, int(env["SLURM_LOCALID"]), here)
        env.setdefault("MASTER_ADDR", _first_host(env["SLURM_STEP_NODELIST"]))
        env.setdefault("MASTER_PORT", str(20_000 + int(env["SLURM_JOB_ID"]) % 20_000))
        return found if size > 1 else None
    return None


def counted(config: FinetuneConfig) -> tuple[int, int]:
    """Processes in all, and on this machine."""
    group = given()
    return (config.processes, config.processes) if group is None else (group.size, group.local_size)


def _first_host(hosts: str) -> str:
    """The first of Slurm's `gpu[03-07,9],cpu1`."""
    return re.sub(r"\[([^],-]*)[^]]*\]", r"\1", re.sub(r",(?![^[]*\]).*", "", hosts))
