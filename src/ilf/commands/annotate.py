"""`ilf annotate`: its options."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ilf.commands.options import AsJson, Unsafe


def annotate(
    run: Annotated[
        Path | None, typer.Argument(help="The run folder; with --tasks and --programs it may be new.")
    ] = None,
    demo: Annotated[
        bool, typer.Option("--demo", help="A made-up queue of starter tasks, gone at the end; needs no run.")
    ] = False,
    browser: Annotated[
        bool | None,
        typer.Option("--browser/--no-browser", help="Open the page in a browser here (--demo: unless told)."),
    ] = None,
    host: str = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8765,
    url: Annotated[
        str | None, typer.Option(help="What people type, where it is not http://HOST:PORT (behind a proxy).")
    ] = None,
    trusted_proxy: Annotated[
        list[str], typer.Option(help="Address of a proxy whose word on who asks is taken; again for more.")
    ] = [],  # noqa: B006
    sign_on_header: Annotated[
        str | None, typer.Option(help="Header in which a trusted proxy says who asks (single sign-on).")
    ] = None,
    owner: Annotated[str | None, typer.Option(help="Make this person an owner (for single sign-on).")] = None,
    database: Annotated[
        str | None,
        typer.Option(help="A PostgreSQL URL instead of the file annotations.db in the run folder."),
    ] = None,
    no_accounts: Annotated[
        bool,
        typer.Option("--no-accounts", help="Whoever reaches the server is its owner; this machine only."),
    ] = False,
    overlap: Annotated[int | None, typer.Option(help="Annotators an item.")] = None,
    review: Annotated[
        bool | None, typer.Option("--review/--no-review", help="Only what a reviewer accepted is used.")
    ] = None,
    idle_minutes: Annotated[float | None, typer.Option(help="A held item comes back after so long.")] = None,
    tasks: Annotated[str | None, typer.Option(help="Task source, where there is no run yet.")] = None,
    programs: Annotated[Path | None, typer.Option(help="Programs for the queue (JSONL).")] = None,
    verdicts: Annotated[Path | None, typer.Option(help="Their verdicts; verified here if absent.")] = None,
    round: int = 1,
    import_: Annotated[
        Path | None, typer.Option("--import", help="Take in the paper's file or our JSONL, and stop.")
    ] = None,
    export: Annotated[Path | None, typer.Option(help="Write accepted feedback there, and stop.")] = None,
    format: Annotated[str, typer.Option(help="Of --export: ilf, csv, labelstudio or argilla.")] = "ilf",
    backup: Annotated[
        Path | None, typer.Option(help="Copy the store there, also while a server runs, and stop.")
    ] = None,
    audit: Annotated[Path | None, typer.Option(help="Write every change there (JSONL), and stop.")] = None,
    forget: Annotated[str | None, typer.Option(help="Delete this person's data, and stop.")] = None,
    with_answers: Annotated[
        bool,
        typer.Option("--with-answers", help="With --forget: their unused answers, too."),
    ] = False,
    keep_days: Annotated[
        float | None, typer.Option(help="Forget the content of older changes at each start; 0: never.")
    ] = None,
    unsafe: Unsafe = False,
    as_json: AsJson = False,
) -> None:
    """Serve the page where people write feedback; prints the owner's link.

    Example: ilf annotate runs/starter
    """
    from ilf.annotate.command import annotate as command

    command(
        run, demo=demo, browser=browser, sign_on_header=sign_on_header, owner=owner, backup_file=backup,
        audit_file=audit, forget=forget, with_answers=with_answers, keep_days=keep_days,
        host=host, port=port, url=url, trusted_proxies=trusted_proxy, database=database,
        no_accounts=no_accounts, overlap=overlap, review=review, idle_minutes=idle_minutes, tasks=tasks,
        programs=programs, verdicts=verdicts, round=round, import_file=import_, export_file=export,
        format=format, unsafe=unsafe,
    )  # fmt: skip
