"""Fine-tuning in several processes: those that torchrun or srun started, or those that we start.

The process that is asked to fine-tune does all that comes before and after. For the training itself it gives every
process the same job (`fit.Job`). Started by torchrun or srun, `ilf` runs its command in the first process, and
the others wait for jobs (`serve`); otherwise `launch` starts `processes` workers on this machine.
"""

from __future__ import annotations

import json
import os
import pickle
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ilf.errors import Interrupted, TrainingError, UserError
from ilf.training.config import FinetuneConfig
from ilf.training.workfolder import LOG, Log

if TYPE_CHECKING:
    from ilf.training.fit import Job
    from ilf.training.run import FinetuneResult

JOB, TRAINED = "job.pickle", "trained.json"
# A process that fails takes the others' connections with it: who failed first says so within this time.
_GRACE = 10.0
_FOREVER = timedelta(days=365)


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


def join(group: Group, store: Any) -> None:
    """Connect this process with the others, on a GPU of its own where there are some.

    Raises:
        TrainingError: this machine has fewer GPUs than processes.
    """
    import torch
    import torch.distributed as dist

    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
    for name, number in zip(
        names, (group.rank, group.size, group.local_rank, group.local_size), strict=True
    ):
        os.environ[name] = str(number)  # accelerate reads them
    backend = "gloo"
    if torch.cuda.is_available():
        _enough(group.local_size)
        torch.cuda.set_device(group.local_rank)
        backend = "cpu:gloo,cuda:nccl"
    elif "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // group.local_size))
    dist.init_process_group(
        backend, store=store, rank=group.rank, world_size=group.size, timeout=_FOREVER
    )  # a process that dies is noticed by whoever started it


def _enough(here: int) -> None:
    import torch

    if torch.cuda.is_available() and here > torch.cuda.device_count():
        raise TrainingError(
            f"processes = {here} on this machine, which has {torch.cuda.device_count()} GPUs: "
            "one process a GPU"
        )


# --- started by torchrun or srun -------------------------------------------------------------------


class _Link:
    """What the first process tells the others: a numbered message each, kept by the launcher's store."""

    def __init__(self, group: Group) -> None:
        import torch.distributed as dist

        self.group = group
        self.store = dist.PrefixStore("ilf", next(dist.rendezvous("env://", group.rank, group.size))[0])  # type: ignore[no-untyped-call]
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
            join(self.group, dist.PrefixStore("training", self.store))


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
    _write(job)
    link.tell("job", str((job.work / JOB).absolute()))
    link.join()
    return fit(job, note, say)


def follow() -> FinetuneResult:
    """The part of another process than the first in `finetune`: its jobs until there is a result.

    Raises:
        TrainingError: the first process failed; it says why.
    """
    from ilf.training.run import FinetuneResult

    link = _link()
    while (heard := link.hear()) is not None:
        kind, text = heard
        if kind == "result":
            return FinetuneResult.model_validate_json(text)
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
    from ilf.training.fit import fit

    if not path.is_file():
        raise TrainingError(f"{path.parent}: not seen by process {link.group.rank}: use a shared folder")
    link.join()
    try:
        fit(_read(path), _nothing, _nothing)
    except Exception:
        # Most often the first process failed of the same, and says so; if not, this is where it is said.
        heard = link.hear(_GRACE)
        if heard is None:
            raise
        link.count -= 1


def tell(result: FinetuneResult) -> None:
    """Let the other processes know how it ended."""
    _link().tell("result", result.model_dump_json())


def failed() -> None:
    """Let the other processes know that there will be no result."""
    _link().tell("failed")


def dismiss() -> None:
    """Let the other processes end."""
    _link().tell("end")


# --- started by us ---------------------------------------------------------------------------------


def launch(job: Job, note: Callable[[Log], None], say: Callable[[str], None]) -> dict[str, Any]:
    """Do a job with `processes` workers on this machine.

    Raises:
        TrainingError: what a worker found wrong, or that one was killed.
        Interrupted, KeyboardInterrupt: after the step in progress was kept.
    """
    size = job.config.processes
    _enough(size)
    _write(job)
    meeting = job.work / "meeting"
    for stale in (meeting, job.work / TRAINED, *job.work.glob("failure-*.json")):
        stale.unlink(missing_ok=True)
    say(f"in {size} processes" + (", weights shared out" if job.plan.sharding == "full" else ""))
    seen = _Tail(job.work / LOG, note)
    workers = [_start(job.work, rank, size) for rank in range(size)]
    stopped: BaseException | None = None
    try:
        while stopped is None:
            try:
                _watch(workers, seen)
                break
            except (KeyboardInterrupt, Interrupted) as interrupt:
                stopped = interrupt
        if stopped is not None:
            say("keeping the step in progress, then stopping; Ctrl-C again stops at once")
            with suppress(ProcessLookupError):
                workers[0].send_signal(signal.SIGTERM)
            _watch(workers, seen)
            raise stopped
    finally:
        for worker in workers:
            worker.kill()
        for worker in workers:
            worker.wait()
            if worker.stdin is not None:
                worker.stdin.close()
    if any(worker.returncode for worker in workers) or not (job.work / TRAINED).is_file():
        raise _failure(job.work, [worker.returncode for worker in workers], seen.step)
    found: dict[str, Any] = json.loads((job.work / TRAINED).read_text(encoding="utf-8"))
    return found


def _start(work: Path, rank: int, size: int) -> subprocess.Popen[bytes]:
    # In a session of its own: Ctrl-C is for us to handle. A worker ends when its standard input does,
    # that is, however this process ends.
    with (work / f"process-{rank}.log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "ilf.training.worker", str(work), str(rank), str(size)],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        )


def _watch(workers: list[subprocess.Popen[bytes]], seen: _Tail) -> None:
    """Until all workers have ended, or one has failed and the others had time to say why."""
    ended = None
    while any(worker.poll() is None for worker in workers):
        codes = [worker.returncode for worker in workers]
        if any(codes):
            ended = ended or time.monotonic()
            killed = any(code is not None and code < 0 for code in codes)
            if killed or time.monotonic() - ended > _GRACE:
                break
        seen.look()
        time.sleep(0.05)
    seen.look()


class _Tail:
    """Hands on the rows that a growing log gets."""

    def __init__(self, path: Path, note: Callable[[Log], None]) -> None:
        self._path, self._note = path, note
        self._at = path.stat().st_size if path.is_file() else 0
        self.step = 0

    def look(self) -> None:
        if not self._path.is_file():
            return
        with self._path.open("rb") as file:
            file.seek(self._at)
            for line in file:
                if not line.endswith(b"\n"):  # still being written
                    break
                self._at += len(line)
                row = json.loads(line)
                self.step = int(row["step"])
                self._note(row)


def _failure(work: Path, codes: list[int], step: int) -> Exception:
    """What is to be said of workers that ended with these codes (negative: by a signal, maybe ours)."""
    said = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(work.glob("failure-*.json"))]
    for one in said:
        if one["user"]:
            return TrainingError(one["message"])
    if not said:
        rank = next((rank for rank, code in enumerate(codes) if code), 0)
        return TrainingError(_killed(work, codes, rank, step))
    return RuntimeError(f"a process of the fine-tuning failed:\n{said[0]['message']}")


def _killed(work: Path, codes: list[int], rank: int, step: int) -> str:
    from ilf.training.trainer import last_checkpoint, step_of

    kept = last_checkpoint(work / "checkpoints")
    code = codes[rank]
    how = f"ended with status {code}"
    if code < 0:
        how = f"was killed by signal {-code}"
        if code == -signal.SIGKILL:
            how += ", as the system does where memory runs out"
    return (
        f"process {rank + 1} of {len(codes)} {how}, after step {step}: run again to go on after step "
        f"{step_of(kept) if kept else 0}"
    )


def work_here(work: Path, rank: int, size: int) -> None:
    """A worker's part of `launch`: what `python -m ilf.training.worker` does."""
    import torch.distributed as dist

    from ilf.pretrained import quiet
    from ilf.training.fit import fit

    if sys.platform == "linux":  # one machine: whatever its name resolves to
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    join(Group(rank, size, rank, size), dist.FileStore(str(work / "meeting"), size))
    with quiet():
        found = fit(_read(work / JOB), _nothing, print)
    if rank == 0:
        _replace(work / TRAINED, json.dumps(found).encode())
    dist.destroy_process_group()


def note_failure(work: Path, rank: int, error: BaseException, trace: str) -> None:
    """Keep for `launch` what went wrong here."""
    user = isinstance(error, UserError)
    text = json.dumps({"user": user, "message": str(error) if user else trace})
    _replace(work / f"failure-{rank}.json", text.encode())


def _write(job: Job) -> None:
    _replace(job.work / JOB, pickle.dumps(job))


def _read(path: Path) -> Job:
    from ilf.pretrained import trust

    job: Job = pickle.loads(path.read_bytes())  # written by the process that started this one
    for folder in job.trusted:
        trust(folder)
    return job


def _replace(path: Path, content: bytes) -> None:
    temporary = path.with_suffix(".tmp")
    temporary.write_bytes(content)
    temporary.replace(path)


def _nothing(said: Any) -> None:
    """Only the first process tells."""
