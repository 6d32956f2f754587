"""From the name of a source to checked tasks: which rows, in which form."""

from __future__ import annotations

import ast
import itertools
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ilf.errors import ConfigError, DataError
from ilf.formats import files
from ilf.formats.files import ordinal
from ilf.formats.own import Own
from ilf.progress import say
from ilf.records import Task
from ilf.syntax import signature_only, try_parse, used_names
from ilf.tasks import hub, humaneval
from ilf.tasks.doctests import is_doctest, statements
from ilf.tasks.formats import NAMES, OURS, RELATED, Format, Options, is_ours, recognise, said
from ilf.tasks.formats.mapped import check_map, renamed
from ilf.tasks.rows import BadRow, collect, fit, say_left_out

STARTER = Path(__file__).parent / "starter"
"""The folder of the starter suite: `tasks.jsonl` and `feedback.jsonl`."""
SUITES = {"starter": STARTER, "house": STARTER.with_name("house")}
"""The suites that ship with the package, by source; each folder holds the same files."""

SOURCES = (
    "starter, house, mbpp, humaneval, hub:DATASET, a file (.jsonl, .json, .csv, .parquet), a folder of them, "
    "or FORMAT:PATH"
)
_HUB = {"mbpp": ("google-research-datasets/mbpp", "full"), "humaneval": ("openai/openai_humaneval", None)}
Rows = Iterable[tuple[str, dict[str, Any]]]
"""With their places, `line 3` or `row 3`."""


def read_source(source: str, options: Options, columns: Mapping[str, str]) -> list[Task]:
    """All tasks of a source; see `ilf.tasks.load_tasks`."""
    check_map(columns)
    place, rows, forced = _open(source)
    if columns:
        if forced is not None:
            raise ConfigError(f"map: {source!r} names its form, {forced.name}, which needs no map")
        return _ours(place, ((at, _mapped(place, row, columns, at)) for at, row in rows), options)
    first = list(itertools.islice(rows, 1))
    if not first:
        raise DataError(f"{place}: no tasks in it")
    rows = itertools.chain(first, rows)
    row = first[0][1]
    found = recognise(row)
    if forced is not None and (found is None or found.name not in RELATED.get(forced.name, (forced.name,))):
        found = forced
    if options.challenge_tests and (found is None or found.name != "mbpp"):
        raise ConfigError(f"challenge_tests: only mbpp has challenge tests, not {source!r}")
    if found is None:
        if not is_ours(row):
            raise DataError(f"{place}: {said(row)}")
        return _ours(place, rows, options)
    return _published(place, rows, found, options, quiet=found is forced)


def _open(source: str) -> tuple[str, Iterator[tuple[str, dict[str, Any]]], Format | None]:
    """What errors call the source, its rows, and the form that its name says."""
    if source in SUITES:
        path = SUITES[source] / "tasks.jsonl"
        return str(path), iter(files.read(path)), None
    kind, colon, rest = source.partition(":")
    if source in _HUB:
        packaged = humaneval.packaged_file() if source == "humaneval" else None
        if packaged is not None:
            return str(packaged), iter(files.read(packaged)), NAMES[source]
        dataset, config = _HUB[source]
        return dataset, hub.rows(dataset, config, by="task_id"), NAMES[source]
    if kind == "hub" and rest:
        name, _, split = rest.partition("@")
        parts = name.split("/")
        if len(parts) not in (2, 3) or not all(parts):
            raise DataError(f"{source!r}: hub:OWNER/NAME, hub:OWNER/NAME/CONFIG or …@SPLIT was expected")
        config = parts[2] if len(parts) == 3 else None
        return source, hub.rows("/".join(parts[:2]), config, split=split or None), None
    forced = NAMES.get(kind) if colon else None
    path = Path(rest if forced is not None or (colon and kind == OURS) else source).expanduser()
    if forced is None and not (files.is_data(path) or path.is_dir()):
        raise DataError(f"{source!r} is not a task source: {SOURCES}")
    return str(path), iter(files.read(path)), forced


def _mapped(place: str, row: dict[str, Any], columns: Mapping[str, str], at: str) -> dict[str, Any]:
    try:
        return renamed(row, columns, ordinal(at))
    except BadRow as error:
        raise DataError(f"{place}, {at}: {error}") from None


def _ours(place: str, rows: Rows, options: Options) -> list[Task]:
    own = Own(Task)

    def convert(row: dict[str, Any], number: int) -> Task:
        try:
            task = fit(Task, own(row))
            if task.kind == "function" and not task.entry_point:
                raise BadRow("entry_point: Field required")
            if task.kind == "function" and any(map(is_doctest, task.tests)):
                tests = [statements(test) if is_doctest(test) else test for test in task.tests]
                task = task.model_copy(update={"tests": tuple(tests)})
            return task
        except BadRow as error:
            raise BadRow(f"{error}{own.near(str(error).partition(':')[0])}") from None

    tasks = collect(place, rows, convert)
    if (note := own.passed_over()) is not None:
        say(f"{place}: {note}")
    return tasks if options.prefix == "all" else [_signature_only(task) for task in tasks]


def _published(place: str, rows: Rows, form: Format, options: Options, quiet: bool) -> list[Task]:
    unknown: Counter[str] = Counter()
    left_out: Counter[str] = Counter()

    def convert(row: dict[str, Any], number: int) -> Task:
        unknown.update(form.unknown(row))
        return form.read(row, number, options)

    tasks = collect(place, rows, convert, left_out)
    notes = [f"read as {form.says}: {len(tasks)} tasks"] if not quiet else []
    notes += [say_left_out(left_out)] if left_out else []
    if unknown:
        notes.append(f"fields passed over: {', '.join(f'{name} ({n})' for name, n in unknown.items())}")
    if lacking := _lacking(tasks):
        libraries = ", ".join(f"{name} ({count})" for name, count in lacking.most_common())
        notes.append(f"tasks that use libraries which programs do not have in the sandbox: {libraries}")
    for note in notes:
        say(f"{place}: {note}")
    return tasks


def _lacking(tasks: Iterable[Task]) -> Counter[str]:
    """Libraries that references and prompts import and the sandbox does not have → number of tasks."""
    found: Counter[str] = Counter()
    for task in tasks:
        texts = [task.reference or task.prefix + "    pass\n", *task.tests]
        if task.kind == "function" and any("import " in text for text in texts):
            names = {
                name.partition(".")[0]
                for tree in filter(None, map(try_parse, texts))
                for node in ast.walk(tree)
                if isinstance(node, ast.Import | ast.ImportFrom)
                for name in (
                    [node.module or ""]
                    if isinstance(node, ast.ImportFrom)
                    else [alias.name for alias in node.names]
                )
            }
            found.update(names - sys.stdlib_module_names - {"numpy", ""})
    return found


def _signature_only(task: Task) -> Task:
    trees = [tree for tree in map(try_parse, [*task.tests, task.setup]) if tree is not None]
    needed = used_names(*trees) - {task.entry_point}
    return task.model_copy(update={"prefix": signature_only(task.prefix, task.entry_point, needed)})
