"""`ilf serve verifier`: prove the sandbox, listen, serve until a signal, finish what is under way."""

from __future__ import annotations

from pathlib import Path
from types import FrameType

import uvicorn

from ilf.errors import UserError
from ilf.listening import LOCAL, listen
from ilf.output import answer
from ilf.progress import say
from ilf.records import Task
from ilf.sandbox.selfcheck import self_check
from ilf.serve.app import Service, create_app
from ilf.serve.keys import Keys, read_keys
from ilf.serve.settings import Settings
from ilf.tasks import load_tasks


class _Server(uvicorn.Server):
    """Says no to new requests once it was told to stop."""

    service: Service

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self.service.draining = True
        super().handle_exit(sig, frame)


def verifier(
    *,
    host: str,
    port: int,
    keys_file: Path | None,
    tasks: list[str],
    settings: Settings,
    drain_seconds: int,
) -> None:
    """Serve until SIGINT or SIGTERM; then answer what was accepted, at most `drain_seconds` long.

    Args:
        host: address to listen on.
        port: 0 takes a free one.
        keys_file: see `read_keys`; None lets anyone in, on this machine's own address only.
        tasks: sources (as of `load_tasks`) of tasks that requests may name without sending them.
        settings: what is taken, and how much of it.
        drain_seconds: after which requests under way are cut off.

    Raises:
        UserError: an option is wrong.
        SandboxUnavailable, SandboxFailure: programs cannot be judged here.
    """
    if keys_file is None and host not in LOCAL:
        raise UserError(f"--keys-file: needed on {host}, where others can reach the server")
    keys = Keys(None) if keys_file is None else read_keys(keys_file)
    known: dict[str, Task] = {}
    for source in tasks:
        for task in load_tasks(source):
            if task.task_id in known:
                raise UserError(f"--tasks: {source} has the task {task.task_id!r} of an earlier source again")
            known[task.task_id] = task
    self_check(unsafe=settings.unsafe)
    listening = listen(host, port)
    service = Service(settings, keys, known)
    server = _Server(
        uvicorn.Config(
            create_app(service), log_level="warning", access_log=False, server_header=False, lifespan="off",
            timeout_graceful_shutdown=drain_seconds, backlog=2048,
        )
    )  # fmt: skip
    server.service = service
    shown = f"[{host}]" if ":" in host else host
    try:
        with service.engine:
            url = f"http://{shown}:{listening.getsockname()[1]}"
            say(
                f"verifier on {url}: {settings.workers} workers, "
                f"{len(known)} tasks known, {'keys needed' if keys.needed else 'no keys'}; Ctrl-C stops it"
            )
            answer({"url": url, "workers": settings.workers, "tasks": len(known), "keys": keys.needed})
            server.run(sockets=[listening])
    except KeyboardInterrupt:
        # uvicorn raises the signal again when all is answered.
        pass
    finally:
        listening.close()
    say("stopped; what was accepted is answered")
