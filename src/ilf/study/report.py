"""The report of a study folder: what `ilf study` writes at its end, and `ilf report` again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ilf.runfolder import RunFolder

CONFIG = "study.toml"
RESULTS = "results.json"


def is_study(folder: Path) -> bool:
    """Whether there is a study in a folder."""
    return (folder / CONFIG).is_file()


def rebuild(folder: Path, out: Path | None = None, to: Sequence[str] = ()) -> Path:
    """Write the report of a study folder from its results, without measuring anything.

    Args:
        folder: the study's folder.
        out: the HTML file; `report.html` in the folder by default.
        to: trackers that get its numbers, too.
    """
    from ilf.report.command import write
    from ilf.study.document import document
    from ilf.study.results import read_results

    settings_text = (folder / CONFIG).read_text(encoding="utf-8")
    results = read_results(folder / RESULTS)
    return write(document(folder, results, settings_text), out or RunFolder(folder).report, to)
