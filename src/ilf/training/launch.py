"""Workers on this machine that share a fine-tuning, started and looked after by the process that wants it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ilf.errors import Interrupted, TrainingError, UserError
from ilf.training.group import Group
from ilf.training.processes import (
    GRACE,
    JOB,
    enough,
    join,
    nothing,
    read,
    replace_file,
    store_of,
    write,
)
from ilf.training.workfolder import LOG, Log

if TYPE_CHECKING:
    from ilf.training.fit import Job

TRAINED = "trained.json"


def launch(job: Job, note: Callable[[Log], None], say: Callable[[str], None]) -> dict[str, Any]:
    """Do a job with `processes` workers on this machine.

    Raises:
        TrainingError: what a worker found wrong, or that one was killed.
        Interrupted, KeyboardInterrupt: after the step in progress was kept.
    """
    import torch

    size = job.config.processes
    enough(size)
    # The first GPU is a worker's, whatever the teacher left in this process.
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.empty_cache()
    write(job)
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
        codes = [worker.poll() for worker in workers]
        for worker in workers:
            worker.kill()
        for worker in workers:
            worker.wait()
            if worker.stdin is not None:
                worker.stdin.close()
    if any(codes) or not (job.work / TRAINED).is_file():
        raise _failure(job.work, codes, seen.step)
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
            if killed or time.monotonic() - ended > GRACE:
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


def _failure(work: Path, codes: Sequence[int | None], step: int) -> Exception:
    """What is to be said of workers that ended with these codes (negative: by a signal)."""
    said = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(work.glob("failure-*.json"))]
    for one in said:
        if one["user"]:
            return TrainingError(one["message"])
    signalled = [rank for rank, code in enumerate(codes) if code is not None and code < 0]
    if signalled or not said:  # the others could only say that they lost it
        rank = next((rank for rank, code in enumerate(codes) if code), 0)
        return TrainingError(_killed(work, codes, signalled[0] if signalled else rank, step))
    return RuntimeError(f"a process of the fine-tuning failed:\n{said[0]['message']}")


def _killed(work: Path, codes: Sequence[int | None], rank: int, step: int) -> str:
    from ilf.training.trainer import last_checkpoint, step_of

    kept = last_checkpoint(work / "checkpoints")
    code = codes[rank] or 0
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
    join(Group(rank, size, rank, size), store_of("FileStore")(str(work / "meeting"), size))
    with quiet():
        found = fit(read(work / JOB), nothing, print)
    if rank == 0:
        replace_file(work / TRAINED, json.dumps(found).encode())
    dist.destroy_process_group()


def note_failure(work: Path, rank: int, error: BaseException, trace: str) -> None:
    """Keep for `launch` what went wrong here."""
    user = isinstance(error, UserError)
    text = json.dumps({"user": user, "message": str(error) if user else trace})
    replace_file(work / f"failure-{rank}.json", text.encode())
