"""Where tasks come from: published data sets, the shipped suites, your own files; and their splits.

Example:
    tasks = load_tasks("mbpp:mbpp.jsonl")
    splits = split_tasks(tasks, PAPER_SPLITS)
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

from ilf.records import Task
from ilf.tasks.formats import Options
from ilf.tasks.load import STARTER, SUITES, read_source
from ilf.tasks.mbpp import Prefix
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


def load_tasks(
    source: str,
    *,
    prefix: Prefix = "all",
    challenge_tests: bool = False,
    columns: Mapping[str, str] | None = None,
    ids: str | None = None,
    limit: int | None = None,
) -> list[Task]:
    """The tasks of a source, checked.

    Args:
        source: `starter`, `house`, `mbpp` and `humaneval` (the hub's), `hub:OWNER/NAME[/CONFIG][@SPLIT]`, a
            file or a folder in our form or in one of `ilf.tasks.formats`, found out by looking at the first
            row; or `FORMAT:PATH`.
        prefix: what precedes the body: `all` is all trusted code above it (the paper's: helpers included),
            `signature` only the imports, the signature, and what the tests themselves need.
        challenge_tests: MBPP only: append the challenge tests to the tests.
        columns: field of a task → column, for rows in nobody's form.
        ids: only these, in the form of a split (`"11-110"`, `"3,5"`, `"split=train"`).
        limit: at most this many, the first ones.

    Raises:
        DataError: an unknown source, a missing file, or a bad row: one line that names file, line and field.
        MissingDependency: a source of the hub without `datasets` installed, Parquet without `pyarrow`.
        ConfigError: `ids` names no task, `columns` no field, or `challenge_tests` for a source without them.
    """
    tasks = read_source(source, Options(prefix, challenge_tests), columns or {})
    if ids is not None:
        tasks = select(tasks, ids)
    return tasks if limit is None else tasks[:limit]


def load_named(entry: str) -> list[Task]:
    """The tasks of `SOURCE`, or of `SOURCE@IDS` with ids in the form of a split (`starter@split=test`)."""
    source, at, ids = entry.rpartition("@")
    if not at or source.startswith("hub:"):
        return load_tasks(entry)
    return load_tasks(source, ids=ids)


def source_hash(tasks: Sequence[Task]) -> str:
    """sha256 (hex) of the tasks' content, in their order: equal hashes mean equal tasks."""
    digest = hashlib.sha256()
    for task in tasks:
        digest.update(task.to_json().encode("utf-8", "surrogatepass") + b"\n")
    return digest.hexdigest()
