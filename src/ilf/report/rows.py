"""A small report of a file of programs alone: what `ilf sample`, `ilf verify` or `ilf refine` wrote."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

from ilf.errors import DataError
from ilf.formats.programs import Programs
from ilf.metrics import TaskCounts, evaluate
from ilf.records import Status, Task
from ilf.report import figures, parts
from ilf.report.content import Cell, Column, Document, Figure, Item, Sample, Section, Table
from ilf.runfolder import digest

SHOWN = 8
"""Different programs of a task that the explorer shows."""


class _OfTask:
    """What is kept of one task's rows: counts, and the first few different programs."""

    def __init__(self) -> None:
        self.statuses = Counter[str | None]()
        self.different: set[int] = set()
        self.samples: list[Sample] = []

    def add(self, code: str, status: str | None, detail: str) -> None:
        self.statuses[status] += 1
        if hash(code) not in self.different and len(self.samples) < SHOWN:
            label = f"Program {len(self.samples) + 1}"
            self.samples.append(Sample(label, code, status, "" if status == "passed" else detail))
        self.different.add(hash(code))

    @property
    def passed(self) -> int:
        return self.statuses["passed"]

    @property
    def unscored(self) -> int:
        return self.statuses["sandbox_error"] + self.statuses["flaky"]


class _File:
    """What is kept of all rows."""

    def __init__(self, path: Path, known: Mapping[str, Task]) -> None:
        self.tasks: dict[str, _OfTask] = {}
        self.models: set[str] = set()
        self.facts = Counter[str]()
        for row in _rows(path, known):
            status = row.get("status")
            code = str(row["code"])
            self.tasks.setdefault(str(row["task_id"]), _OfTask()).add(
                code, status, str(row.get("detail") or "")
            )
            if row.get("model"):
                self.models.add(str(row["model"]))
            self.facts["programs"] += 1
            self.facts["verified"] += status is not None
            self.facts["without code"] += not code.strip()
            self.facts["cut at the token limit"] += row.get("finish") == "length"
            self.facts["counted"] += row.get("tokens") is not None
            self.facts["tokens"] += int(row.get("tokens") or 0)


def document(path: Path, tasks: Mapping[str, Task]) -> Document:
    """What the file says: pass rates where its rows have verdicts, else counts of what was sampled.

    Args:
        path: JSONL with `task_id` and `code` in each row, and `status` (or a `verdict`) where verified.
        tasks: by id, for descriptions; may be empty.

    Raises:
        DataError: a row lacks a field; named by line.
    """
    found = _File(path, tasks)
    count, verified = found.facts["programs"], found.facts["verified"]
    if not count:
        raise DataError(f"{path}: no rows")
    if verified and verified < count:
        raise DataError(f"{path}: {verified} of {count} rows have a status; verify all of them first")
    report = Document(title=path.name, claim="", about=[parts.READING] if verified else [])
    report.claim, section = _verified(found.tasks) if verified else _sampled(found)
    report.sections.append(section)
    report.items = [_item(task_id, of_task, tasks.get(task_id)) for task_id, of_task in found.tasks.items()]
    report.provenance = [
        ("File", path.name),
        ("sha256", digest(path)),
        ("Model weights (sha256)", ", ".join(sorted(found.models)) or "not recorded"),
        *parts.cost_rows(None, [], verified, found.facts["tokens"])[:2],
    ]
    return report


def _rows(path: Path, tasks: Mapping[str, Task]) -> Iterator[Mapping[str, Any]]:
    """The file's rows; the verdict inside a row of `ilf refine` is spread out, as `ilf verify` has it."""
    for place, row in Programs(path, tasks):
        if isinstance(row.get("verdict"), dict):
            row = {**row, **{key: row["verdict"].get(key) for key in ("status", "detail")}}
        _check(path, place, row)
        yield row


def _check(path: Path, place: str, row: Mapping[str, Any]) -> None:
    for name in ("task_id", "code"):
        if name not in row:
            raise DataError(
                f"{path}, {place}: {name}: missing; rows of `ilf sample` or `ilf verify` expected"
            )
    if "status" in row and row["status"] not in get_args(Status):
        raise DataError(
            f"{path}, {place}: status: {row['status']!r} is none of {', '.join(get_args(Status))}"
        )


def _verified(tasks: Mapping[str, _OfTask]) -> tuple[str, Section]:
    counts = [
        TaskCounts(
            task_id=task_id, n=of_task.statuses.total() - of_task.unscored, passed=of_task.passed,
            unscored=of_task.unscored,
        )
        for task_id, of_task in tasks.items()
    ]  # fmt: skip
    fewest = min(of_task.statuses.total() for of_task in tasks.values())
    ks = [k for k in (1, 10, 100) if k <= fewest]
    result = evaluate(counts, split="all tasks of the file", temperature=0, n=fewest, ks=ks)
    total = sum((of_task.statuses for of_task in tasks.values()), Counter())
    share: list[list[Cell]] = [[s, c, c / total.total()] for s, c in total.most_common()]
    section = Section("result", "Result")
    section.parts = [
        parts.evaluation_table("result", "Pass rates.", {"these programs": result}, first="programs"),
        Table(
            "verdicts",
            "What the tests said.",
            [Column("status"), Column("programs", "number"), Column("share", "percent")],
            share,
        ),
    ]
    if figures.available():
        rates = [t.passed / t.n for t in counts if t.n]
        drawing = figures.histogram({"tasks": rates}, "share of a task's programs that pass", span=(0.0, 1.0))
        told = f"Histogram over {len(rates)} tasks of the share of programs that pass"
        section.parts.append(Figure("rates", "Tasks by difficulty.", "", drawing, told))
    solved = sum(task.passed > 0 for task in counts)
    k = result.pass_at.get(1)
    rate = (
        f"pass@1 is {100 * k.value:.1f}%, 95% interval [{100 * k.low:.1f}, {100 * k.high:.1f}]; " if k else ""
    )
    return f"{rate}{solved} of {len(counts)} tasks have at least one program that passes.", section


def _sampled(found: _File) -> tuple[str, Section]:
    facts: list[list[Cell]] = [
        ["programs", found.facts["programs"]],
        ["tasks", len(found.tasks)],
        ["different programs", sum(len(of_task.different) for of_task in found.tasks.values())],
        ["without code", found.facts["without code"]],
        ["cut at the token limit", found.facts["cut at the token limit"]],
    ]
    if found.facts["counted"]:
        facts.append(["tokens each, on average", found.facts["tokens"] / found.facts["counted"]])
    section = Section(
        "result", "What was sampled", ["These programs were not verified: run `ilf verify` for pass rates."]
    )
    section.parts.append(Table("counts", "Counts.", [Column("what"), Column("number", "number")], facts))
    claim = f"{found.facts['programs']:,} programs for {len(found.tasks):,} tasks, not verified yet."
    return claim, section


def _item(task_id: str, of_task: _OfTask, task: Task | None) -> Item:
    item = Item(task_id=task_id, description=task.description if task else "", samples=of_task.samples)
    if None not in of_task.statuses:
        everything = of_task.passed == of_task.statuses.total()
        item.state = "solved" if everything else "solved sometimes" if of_task.passed else "never solved"
    return item
