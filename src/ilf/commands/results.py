"""What came of runs: `ilf report`, `ilf push`, `ilf runs`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ilf.commands.options import AsJson
from ilf.output import answer, tell


def report(
    paths: Annotated[
        list[Path], typer.Argument(help="A run or study folder, two run folders, or a file of programs.")
    ],
    out: Annotated[Path | None, typer.Option(help="The HTML file.")] = None,
    tasks: Annotated[
        str | None, typer.Option(help="Task source, for the descriptions where a file stands alone.")
    ] = None,
    to: Annotated[
        list[str], typer.Option(help="Send its numbers to tensorboard, wandb or trackio; again for more.")
    ] = [],  # noqa: B006
    as_json: AsJson = False,
) -> None:
    """One self-contained HTML file on a run, on two, or on a file of programs.

    Example: ilf report runs/starter

    Example: ilf report runs/starter --to tensorboard
    """
    from ilf.report.command import report as command
    from ilf.study import report as study_report

    of_study = len(paths) == 1 and study_report.is_study(paths[0])
    path = study_report.rebuild(paths[0], out, to) if of_study else command(paths, out, tasks, to)
    tell(f"Report: {path}")
    answer({"report": path})


def push(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    to: Annotated[str, typer.Argument(help="A folder to make, or hub:OWNER/NAME.")],
    round: Annotated[int | None, typer.Option(min=1, help="Of which round; the last by default.")] = None,
    public: Annotated[bool, typer.Option("--public", help="On the hub, for everybody to see.")] = False,
    names: Annotated[bool, typer.Option("--names", help="Name the authors of feedback.")] = False,
    gguf: Annotated[
        str | None,
        typer.Option(help="The model as GGUF, too, by llama.cpp's converter: f32, f16, bf16, q8_0 or auto."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """The model, its examples with their lineage, and its predictions, in the hub's layout.

    Example: ilf push runs/starter published --gguf q8_0
    """
    from ilf.publish.command import push as command

    made = command(run, to, number=round, public=public, names=names, gguf=gguf)
    for line in made.said:
        tell(line)
    answer(made)


def runs(
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="FOLDER", help="runs/ and studies/ by default; or: compare A B; watch RUN."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """What is in the run and study folders: state, model, tasks, feedback, result, seconds; or two compared.

    Example: ilf runs

    Example: ilf runs compare runs/a runs/b

    Example: ilf runs watch runs/starter     (as it goes on, with curves of loss and pass rate)
    """
    if words and words[0] == "watch":
        from ilf.errors import UserError
        from ilf.watch import watch

        if len(words) != 2:
            raise UserError(f"ilf runs watch takes one folder, got {len(words) - 1}: ilf runs watch runs/a")
        watch(Path(words[1]))
        return
    from ilf.runs import runs as command

    found, text = command(words or [])
    tell(text)
    answer(found)
