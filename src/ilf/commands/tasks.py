"""`ilf tasks` and `ilf config`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from ilf.commands.options import (
    AsJson,
    Columns,
    Ids,
    IsolationOption,
    Overrides,
    RewardFile,
    Style,
    Unsafe,
    reward_of,
)
from ilf.output import answer, tell

tasks_app = typer.Typer(no_args_is_help=True, help="Look at tasks; verify their reference programs.")
config_app = typer.Typer(no_args_is_help=True, help="The settings: every one of a config, and their schema.")


@config_app.command("show")
def config_show(
    config: Annotated[Path | None, typer.Argument(help="A TOML config; none means the starter run.")] = None,
    overrides: Overrides = [],  # noqa: B006
    as_json: AsJson = False,
) -> None:
    """Every setting of a run, with its default where it differs and its source in the paper.

    Example: ilf config show configs/demo.toml
    """
    from ilf.config import load_config
    from ilf.settings import show

    settings = load_config(config, overrides)
    tell(show(settings).rstrip("\n"))
    answer(settings)


@config_app.command("schema")
def config_schema(
    kind: Annotated[
        Literal["run", "study", "task"],
        typer.Argument(help="Of which file: a run's, a study's, a task's row."),
    ] = "run",
    as_json: AsJson = False,
) -> None:
    """The JSON schema that editors complete settings from.

    Example: ilf config schema study > study.schema.json
    """
    from ilf.settings import schema

    # It is JSON for people and machines alike.
    typer.echo(schema(kind), nl=False)


@tasks_app.command("show")
def tasks_show(
    source: Annotated[str, typer.Argument(help="A task source.")],
    task_id: Annotated[str | None, typer.Argument(help="One task, in full.")] = None,
    ids: Ids = None,
    style: Style = "completion",
    columns: Columns = "",
    as_json: AsJson = False,
) -> None:
    """List the tasks of a source, or show one with its prompt.

    Example: ilf tasks show mbpp:mbpp.jsonl 11
    """
    from ilf.tasks.command import show
    from ilf.tasks.formats.mapped import parse_map

    show(source, task_id=task_id, ids=ids, style=style, columns=parse_map(columns))


@tasks_app.command("convert")
def tasks_convert(
    source: Annotated[str, typer.Argument(help="A task source, in any known form.")],
    out: Annotated[Path, typer.Option(help="The JSONL file to write, in our form.")],
    ids: Ids = None,
    columns: Columns = "",
    as_json: AsJson = False,
) -> None:
    """Write tasks of any known form in ours.

    Example: ilf tasks convert HumanEvalPlus.jsonl.gz --out tasks.jsonl
    """
    from ilf.tasks.command import convert
    from ilf.tasks.formats.mapped import parse_map

    convert(source, out, ids=ids, columns=parse_map(columns))


@tasks_app.command("check")
def tasks_check(
    source: Annotated[str, typer.Argument(help="A task source.")],
    ids: Ids = None,
    feedback: Annotated[
        Path | None,
        typer.Option(help="Also check feedback on these tasks (JSONL); a shipped suite has its own."),
    ] = None,
    cpu_seconds: Annotated[float, typer.Option(min=0.1, help="CPU seconds a program.")] = 30.0,
    isolation: IsolationOption = "auto",
    reward: RewardFile = None,
    unsafe: Unsafe = False,
    columns: Columns = "",
    as_json: AsJson = False,
) -> None:
    """Run every reference program against its own tests, and the programs of feedback.

    Example: ilf tasks check mbpp:mbpp.jsonl --feedback surge_annotations.jsonl
    """
    from ilf.tasks.command import check
    from ilf.tasks.formats.mapped import parse_map

    raise typer.Exit(
        check(
            source, ids=ids, feedback=feedback, cpu_seconds=cpu_seconds, isolation=isolation, unsafe=unsafe,
            columns=parse_map(columns), reward=reward_of(reward),
        )
    )  # fmt: skip


@tasks_app.command("audit")
def tasks_audit(
    source: Annotated[str, typer.Argument(help="A task source.")],
    ids: Ids = None,
    unsafe: Unsafe = False,
    columns: Columns = "",
    as_json: AsJson = False,
) -> None:
    """List tasks whose tests a stub passes (None, 0, "", [], True, the shown value).

    Example: ilf tasks audit mbpp:mbpp.jsonl
    """
    from ilf.tasks.command import audit
    from ilf.tasks.formats.mapped import parse_map

    raise typer.Exit(audit(source, ids=ids, unsafe=unsafe, columns=parse_map(columns)))
