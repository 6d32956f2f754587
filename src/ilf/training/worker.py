"""One process of a fine-tuning that `ilf` shares out: `python -m ilf.training.worker FOLDER RANK SIZE`."""

from __future__ import annotations

import os
import signal
import sys
import threading
import traceback
from pathlib import Path

from ilf.errors import Interrupted
from ilf.training.launch import note_failure, work_here


def _outlive_nobody() -> None:
    sys.stdin.buffer.read()
    os._exit(1)


def _stop(number: int, frame: object) -> None:
    raise Interrupted(number)


def main() -> None:
    """Do the part of the job in FOLDER; what goes wrong is left there, too."""
    work, rank, size = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    threading.Thread(target=_outlive_nobody, daemon=True).start()
    signal.signal(signal.SIGTERM, _stop)
    try:
        work_here(work, rank, size)
    except Interrupted:
        status = 0
    except BaseException as error:
        note_failure(work, rank, error, traceback.format_exc())
        status = 1
    else:
        status = 0
    os._exit(status)  # whatever threads of the connections to the others still wait for


if __name__ == "__main__":
    main()
