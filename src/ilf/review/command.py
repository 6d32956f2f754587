"""`ilf feedback import`: exports and a repository in; tasks, feedback and what was dropped out."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from ilf.config import VerifyConfig
from ilf.errors import DataError
from ilf.kinds.function import check_sandbox
from ilf.places import Local, Place
from ilf.progress import say
from ilf.records import Task, write_jsonl
from ilf.review.comments import Comment
from ilf.review.exports import read
from ilf.review.join import Imported, join
from ilf.review.repository import Repository
from ilf.runfolder import write_text
from ilf.tasks import load_tasks


def verified(
    exports: Sequence[Path],
    repository: Path,
    head: str,
    place: Place,
    verify: VerifyConfig,
    known: Mapping[str, Task],
) -> Imported:
    """What of the comments can be verified; what was dropped is among it, with what could not be read.

    Args:
        exports: files of GitHub, GitLab, SARIF, or commented patches.
        repository: a clone that has the commits.
        head: the version that the review led to.
        place: where programs are verified.
        verify: the sandbox's settings.
        known: tasks by the name of their function, whose tests count in the place of the repository's.

    Raises:
        DataError: a file cannot be read, or the repository is none.
    """
    comments: list[Comment] = []
    dropped: list[tuple[str, str]] = []
    for path in exports:
        reading = read(path)
        comments += reading.comments
        dropped += reading.dropped
    clone = Repository(repository, head)
    say(f"{len(comments) + len(dropped)} comments read")
    found = join(comments, clone, place, verify, known)
    found.dropped[:0] = dropped
    return found


def write_dropped(path: Path, found: Imported) -> None:
    """Write where each comment that was left out stands and why, and say how many for which reason."""
    rows = (json.dumps({"where": where, "why": why}, ensure_ascii=False) for where, why in found.dropped)
    write_text(path, "".join(f"{row}\n" for row in rows))
    for why, count in Counter(why for _, why in found.dropped).most_common():
        say(f"    left out, {why}: {count}")


def import_reviews(
    exports: Sequence[Path],
    repository: Path,
    out: Path,
    *,
    head: str = "HEAD",
    tasks: str | None = None,
    verify: VerifyConfig | None = None,
) -> Imported:
    """Read comments, join and verify them, and write `tasks.jsonl`, `feedback.jsonl` and `dropped.jsonl`.

    Args:
        exports: files of GitHub, GitLab, SARIF, or commented patches.
        repository: a clone that has the commits.
        out: the folder to write; made where it does not exist.
        head: the version that the review led to.
        tasks: a task source whose tests count where a task has the function's name.
        verify: the sandbox's settings.

    Raises:
        DataError: a file cannot be read; nothing of all could be verified (`dropped.jsonl` says why).
        SandboxUnavailable: there is no isolation to run programs in.
    """
    verify = verify or VerifyConfig()
    known = {task.entry_point: task for task in load_tasks(tasks)} if tasks is not None else {}
    check_sandbox(verify)
    found = verified(exports, repository, head, Local(), verify, known)
    out.mkdir(parents=True, exist_ok=True)
    write_dropped(out / "dropped.jsonl", found)
    if not found.feedback:
        raise DataError(f"no comment could be verified; {out / 'dropped.jsonl'} says why for each")
    write_jsonl(out / "tasks.jsonl", found.tasks.values())
    write_jsonl(out / "feedback.jsonl", found.feedback)
    say(f"    kept: {len(found.feedback)}, on {len(found.tasks)} tasks: {out}")
    return found
