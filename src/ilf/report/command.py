"""`ilf report`: from run folders or files to an HTML file, and tables and figures beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ilf.errors import DataError, UserError
from ilf.progress import say
from ilf.report.content import Document
from ilf.runfolder import RunFolder, write_text


def report(
    paths: Sequence[Path], out: Path | None = None, tasks: str | None = None, to: Sequence[str] = ()
) -> Path:
    """Write the report of a run, two runs, or a file of programs (of a study: `ilf.study.report`).

    Args:
        paths: one run folder or JSONL file of programs; or two run folders.
        out: the HTML file; by default `report.html` in the folder, or beside the file.
        tasks: task source, for the descriptions where a file of programs stands alone.
        to: trackers that get its numbers, too (`report.trackers`).

    Returns:
        The HTML file.

    Raises:
        UserError: nothing to report on there.
    """
    for path in paths:
        if not path.exists():
            raise DataError(f"{path}: no such file or folder")
    if len(paths) == 2:
        from ilf.report import compare
        from ilf.report.load import load_run

        default = Path(f"{paths[0].name}-against-{paths[1].name}.html")
        return write(compare.document(load_run(paths[0]), load_run(paths[1])), out or default, to)
    if len(paths) != 1:
        raise UserError(f"report takes one folder or file, or two run folders to compare; got {len(paths)}")
    path = paths[0]
    if path.is_dir():
        return write_report(path, out, to)
    from ilf.report import rows

    by_id = {}
    if tasks is not None:
        from ilf.tasks import load_tasks

        by_id = {task.task_id: task for task in load_tasks(tasks)}
    return write(rows.document(path, by_id), out or path.with_suffix(".html"), to)


def write_report(folder: Path, out: Path | None = None, to: Sequence[str] = ()) -> Path:
    """Write the report of a run folder, at whatever stage the run is.

    Args:
        folder: the run folder.
        out: the HTML file; `report.html` in the folder by default.
        to: trackers that get its numbers, too.
    """
    from ilf.report import run
    from ilf.report.load import load_run, training_rows

    series: dict[str, list[float]] = {}
    for number, files in enumerate(RunFolder(folder).rounds(), start=1):
        for model, log in training_rows(files).items():
            for key in log[0].keys() - {"step"}:
                series[f"round {number} {model} {key}"] = [row[key] for row in log if key in row]
    return write(run.document(load_run(folder)), out or RunFolder(folder).report, to, series)


def is_current(folder: Path) -> bool:
    """Whether a run's report is younger than everything that the run's steps wrote."""
    run = RunFolder(folder)
    if not run.report.is_file():
        return False
    written = [file.stat().st_mtime for of_round in run.rounds() for file in of_round.path.iterdir()]
    return run.report.stat().st_mtime > max(written, default=0.0)


def write(
    document: Document,
    out: Path,
    to: Sequence[str] = (),
    series: Mapping[str, Sequence[float]] | None = None,
) -> Path:
    """Render a document to `out`, and its tables and figures into the folder `NAME-files` beside it.

    Args:
        document: what to say.
        out: the HTML file.
        to: trackers that get its numbers, too.
        series: name → values at each step, for them.
    """
    from ilf.report import export, figures, page

    out.parent.mkdir(parents=True, exist_ok=True)
    if not figures.available():
        say("figures are left out: pip install 'ilf[report]'")
    write_text(out, page.render(document))
    files = out.with_name(f"{out.stem}-files")
    export.write_files(document, files)
    if to:
        from ilf.report.trackers import send

        name = (out.parent.resolve() if out.stem == "report" else out.with_suffix("")).name
        for line in send(to, document, series or {}, name=name, beside=files):
            say(line)
    return out
