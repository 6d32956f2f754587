"""`ilf report`: from run folders or files to an HTML file, and tables and figures beside it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ilf.errors import DataError, UserError
from ilf.progress import say
from ilf.report.content import Document
from ilf.runfolder import RunFolder, write_text


def report(paths: Sequence[Path], out: Path | None = None, tasks: str | None = None) -> Path:
    """Write the report of a run, two runs, or a file of programs (of a study: `ilf.study.report`).

    Args:
        paths: one run folder or JSONL file of programs; or two run folders.
        out: the HTML file; by default `report.html` in the folder, or beside the file.
        tasks: task source, for the descriptions where a file of programs stands alone.

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
        return write(compare.document(load_run(paths[0]), load_run(paths[1])), out or default)
    if len(paths) != 1:
        raise UserError(f"report takes one folder or file, or two run folders to compare; got {len(paths)}")
    path = paths[0]
    if path.is_dir():
        return write_report(path, out)
    from ilf.report import rows

    by_id = {}
    if tasks is not None:
        from ilf.tasks import load_tasks

        by_id = {task.task_id: task for task in load_tasks(tasks)}
    return write(rows.document(path, by_id), out or path.with_suffix(".html"))


def write_report(folder: Path, out: Path | None = None) -> Path:
    """Write the report of a run folder, at whatever stage the run is.

    Args:
        folder: the run folder.
        out: the HTML file; `report.html` in the folder by default.
    """
    from ilf.report import run
    from ilf.report.load import load_run

    return write(run.document(load_run(folder)), out or RunFolder(folder).report)


def is_current(folder: Path) -> bool:
    """Whether a run's report is younger than everything that the run's steps wrote."""
    run = RunFolder(folder)
    if not run.report.is_file():
        return False
    written = [file.stat().st_mtime for of_round in run.rounds() for file in of_round.path.iterdir()]
    return run.report.stat().st_mtime > max(written, default=0.0)


def write(document: Document, out: Path) -> Path:
    """Render a document to `out`, and its tables and figures into the folder `NAME-files` beside it."""
    from ilf.report import export, figures, page

    out.parent.mkdir(parents=True, exist_ok=True)
    if not figures.available():
        say("figures are left out: pip install 'ilf[report]'")
    write_text(out, page.render(document))
    export.write_files(document, out.with_name(f"{out.stem}-files"))
    return out
