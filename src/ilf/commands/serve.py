"""`ilf serve …`: parts of ilf for programs that are not ours."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ilf.commands.options import AsJson, IsolationOption, Unsafe, limits_of

serve_app = typer.Typer(
    help="Parts of ilf over HTTP, for other trainers.", no_args_is_help=True, rich_markup_mode=None
)


@serve_app.callback()
def _root() -> None:
    """Parts of ilf over HTTP, for other trainers."""


@serve_app.command()
def verifier(
    host: str = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8080,
    keys_file: Annotated[
        Path | None,
        typer.Option(help="Lines NAME KEY, one a client; needed on any address but this machine's own."),
    ] = None,
    tasks: Annotated[
        list[str], typer.Option(help="Task sources that requests may name; may be given more than once.")
    ] = [],  # noqa: B006
    workers: Annotated[
        int | None, typer.Option(min=1, help="Programs at once; one a core by default.")
    ] = None,
    limits: Annotated[
        list[str], typer.Option("--limit", metavar="KEY=VALUE", help="cpu_seconds=5, memory_mb=512 …")
    ] = [],  # noqa: B006
    max_seconds: Annotated[float, typer.Option(min=0.1, help="That a request may ask a program.")] = 30.0,
    max_memory_mb: Annotated[int, typer.Option(min=64, help="That a request may ask a program.")] = 2048,
    max_body_mb: Annotated[float, typer.Option(min=0.001, help="Of one request.")] = 16.0,
    max_programs: Annotated[int, typer.Option(min=1, help="Of one request.")] = 1000,
    queue: Annotated[int, typer.Option(min=1, help="Programs waiting, of all clients.")] = 10_000,
    client_queue: Annotated[int, typer.Option(min=1, help="Of these, one client's.")] = 5_000,
    drain_seconds: Annotated[int, typer.Option(min=0, help="For what is under way when stopped.")] = 120,
    isolation: IsolationOption = "auto",
    unsafe: Unsafe = False,
    as_json: AsJson = False,
) -> None:
    """The sandbox over HTTP: /v1/verify, SandboxFusion's /run_code and /submit, /metrics, /health.

    Ctrl-C or SIGTERM: no new requests, those accepted are answered, exit status 0.

    Example: ilf serve verifier --tasks mbpp --keys-file keys.txt --host 0.0.0.0
    """
    from ilf.errors import missing
    from ilf.sandbox.limits import default_workers

    try:
        from ilf.serve.command import verifier as command
        from ilf.serve.settings import Settings
    except ModuleNotFoundError as error:
        raise missing(error.name or "fastapi", "serve") from None
    settings = Settings(
        workers=workers or default_workers(), limits=limits_of(limits), most_seconds=max_seconds,
        most_memory_mb=max_memory_mb, body_mb=max_body_mb, programs=max_programs, queue=queue,
        client_queue=client_queue, isolation=isolation, unsafe=unsafe,
    )  # fmt: skip
    command(
        host=host, port=port, keys_file=keys_file, tasks=tasks, settings=settings, drain_seconds=drain_seconds
    )
