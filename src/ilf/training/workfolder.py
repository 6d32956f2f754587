"""The hidden folder of an unfinished fine-tuning: whose it is, and what of it a resumed one may use."""

from __future__ import annotations

import fcntl
import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ilf.errors import TrainingError
from ilf.records import Example
from ilf.training.config import FinetuneConfig

LOG = "training_log.jsonl"
Log = dict[str, float]
"""A row of the training log."""

# Settings that change nothing about the weights: a resumed fine-tuning may change them.
_FREE = {"save_every", "report_to"}
# Raised when the same input would train other weights than before.
_VERSION = 1


def fingerprint(
    parent: str, examples: Sequence[Example], config: FinetuneConfig, objective: Mapping[str, Any]
) -> str:
    """What decides the weights: where it starts, what it learns, and how."""
    deciding = {name: value for name, value in config.deciding().items() if name not in _FREE}
    digest = hashlib.sha256(f"{_VERSION} {parent}\n".encode())
    digest.update(json.dumps(deciding, sort_keys=True).encode())
    if objective:
        digest.update(json.dumps(objective, sort_keys=True).encode())
    for example in examples:
        digest.update(b"\n" + example.to_json().encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


@contextmanager
def own(work: Path, key: str) -> Iterator[None]:
    """The folder of an unfinished fine-tuning, for this process alone; another one's remains are cleared."""
    try:
        work.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TrainingError(f"{work.parent}: cannot be written to ({error.strerror})") from None
    with (work / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise TrainingError(f"{work}: another process is fine-tuning into this folder") from None
        mark = work / "fingerprint"
        if not mark.is_file() or mark.read_text(encoding="utf-8") != key:
            for path in work.iterdir():
                if path.is_dir():
                    shutil.rmtree(path)
                elif path.name != "lock":
                    path.unlink()
            mark.write_text(key, encoding="utf-8")
        yield


def keep_log(log: Path, step: int) -> list[Log]:
    """Cut the training log back to `step`, where the checkpoint is, and return its rows."""
    rows = []
    if log.is_file():
        for line in log.read_text(encoding="utf-8").splitlines():
            with suppress(ValueError):  # a line that a kill cut off
                row = json.loads(line)
                if row["step"] <= step:
                    rows.append(row)
    log.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return rows
