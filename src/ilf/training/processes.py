"""Fine-tuning in several processes: those that torchrun or srun started, or those that we start.

The process that is asked to fine-tune does all that comes before and after. For the training itself it gives
every process the same job (`fit.Job`). Started by torchrun or srun, `ilf` runs its command in the first
process, and the others wait for jobs (`serve`); otherwise `launch.launch` starts workers on this machine.
"""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ilf.errors import TrainingError
from ilf.training.group import Group, given
from ilf.training.workfolder import Log

if TYPE_CHECKING:
    from ilf.training.fit import Job

JOB = "job.pickle"
# A process that fails takes the others' connections with it: who failed first says so within this time.
GRACE = 10.0
_FOREVER = timedelta(days=365)


def join(group: Group, store: Any) -> None:
    """Connect this process with the others, on a GPU of its own where there are some.

    Raises:
        TrainingError: this machine has fewer GPUs than processes.
    """
    import torch
    import torch.distributed as dist

    backend, which = "gloo", group.local_rank
    if torch.cuda.is_available():
        if "SLURM_STEP_NUM_TASKS" in os.environ and torch.cuda.device_count() == 1:
            which = 0  # srun shows each of its tasks its own GPU alone (--gpus-per-task)
        else:
            enough(group.local_size)
        torch.cuda.set_device(which)
        backend = "cpu:gloo,cuda:nccl"
    elif "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // group.local_size))
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
    for name, number in zip(names, (group.rank, group.size, which, group.local_size), strict=True):
        os.environ[name] = str(number)  # accelerate reads them
    dist.init_process_group(
        backend, store=store, rank=group.rank, world_size=group.size, timeout=_FOREVER
    )  # a process that dies is noticed by whoever started it


def store_of(kind: str) -> Any:
    """A class of torch's key-value stores."""
    import torch.distributed as dist

    return getattr(dist, kind)  # public, but not exported for type checkers


def enough(here: int) -> None:
    """Refuse more processes than GPUs.

    Raises:
        TrainingError: this machine has fewer.
    """
    import torch

    if torch.cuda.is_available() and here > torch.cuda.device_count():
        raise TrainingError(
            f"processes = {here} on this machine, which has {torch.cuda.device_count()} GPUs: "
            "one process a GPU"
        )


class _Link:
    """What the first process tells the others: a numbered message each, kept by the launcher's store."""

    def __init__(self, group: Group) -> None:
        from torch.distributed.rendezvous import rendezvous

        self.group = group
        self.store = store_of("PrefixStore")("ilf", next(rendezvous("env://", group.rank, group.size))[0])
        self.count = 0

    def tell(self, kind: str, text: str = "") -> None:
        self.store.set(f"message-{self.count}", json.dumps([kind, text]))
        self.count += 1

    def hear(self, seconds: float | None = None) -> tuple[str, str] | None:
        """The next message; None where none came in time."""
        limit = _FOREVER if seconds is None else timedelta(seconds=seconds)
        key = f"message-{self.count}"
        try:
            self.store.wait([key], limit)
        except RuntimeError:  # the limit is over, or the first process gone
            return None
        self.count += 1
        kind, text = json.loads(self.store.get(key))
        return kind, text

    def join(self) -> None:
        import torch.distributed as dist

        if not dist.is_initialized():
            join(self.group, store_of("PrefixStore")("training", self.store))


_links: list[_Link] = []


def _link() -> _Link:
    if not _links:
        group = given()
        assert group is not None
        _links.append(_Link(group))
    return _links[0]


def lead(job: Job, note: Callable[[Log], None], say: Callable[[str], None]) -> dict[str, Any]:
    """Do a job with the processes that a launcher started; they are in `serve` or `follow`."""
    from ilf.training.fit import fit

    link = _link()
    write(job)
    link.tell("job", str((job.work / JOB).absolute()))
    link.join()
    return fit(job, note, say)


def follow() -> str:
    """The part of another process than the first in `finetune`: its jobs until there is a result, as `tell`
    was given it.

    Raises:
        TrainingError: the first process failed; it says why.
    """

    link = _link()
    while (heard := link.hear()) is not None:
        kind, text = heard
        if kind == "result":
            return text
        if kind != "job":
            break
        _do(link, Path(text))
    raise TrainingError("the first process stopped before there was a result")


def serve() -> None:
    """The part of another process than the first in a command: its jobs until the command ends."""
    link = _link()
    while (heard := link.hear()) is not None and heard[0] != "end":
        if heard[0] == "job":
            _do(link, Path(heard[1]))


def _do(link: _Link, path: Path) -> None:
    from ilf.pretrained import quiet
    from ilf.training.fit import fit

    if not path.is_file():
        raise TrainingError(f"{path.parent}: not seen by process {link.group.rank}: use a shared folder")
    link.join()
    try:
        with quiet():
            fit(read(path), nothing, nothing)
    except Exception:
        # Most often the first process failed of the same, and says so; if not, this is where it is said.
        heard = link.hear(GRACE)
        if heard is None:
            raise
        link.count -= 1


def tell(result: str) -> None:
    """Let the other processes know how it ended: what they get from `follow`."""
    _link().tell("result", result)


def failed() -> None:
    """Let the other processes know that there will be no result."""
    _link().tell("failed")


def dismiss() -> None:
    """Let the other processes end."""
    _link().tell("end")


def write(job: Job) -> None:
    """Put the job where the other processes read it."""
    replace_file(job.work / JOB, pickle.dumps(job))


def read(path: Path) -> Job:
    """The job that the first process wrote."""
    from ilf.pretrained import trust

    job: Job = pickle.loads(path.read_bytes())  # written by the process that started this one
    for folder in job.trusted:
        trust(folder)
    return job


def replace_file(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    temporary = path.with_suffix(".tmp")
    temporary.write_bytes(content)
    temporary.replace(path)


def nothing(said: Any) -> None:
    """Only the first process tells."""
