"""A small report of a file of programs alone: what `ilf sample` or `ilf verify` wrote."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from ilf.errors import DataError
from ilf.metrics import TaskCounts, evaluate
from ilf.records import Status, Task, read_rows
from ilf.report import figures, parts
from ilf.report.content import Cell, Column, Document, Figure, Item, Sample, Section, Table
from ilf.runfolder import digest


def document(path: Path, tasks: Mapping[str, Task]) -> Document:
    """What the file says: pass rates where its rows have verdicts, else counts of what was sampled.

    Args:
        path: JSONL with `task_id` and `code` in each row, and `status` where verified.
        tasks: by id, for descriptions; may be empty.

    Raises:
        DataError: a row lacks a field; named by line.
    """
    rows = [row for number, row in read_rows(path) if _check(path, number, row)]
    if not rows:
        raise DataError(f"{path}: no rows")
    by_task: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        by_task[str(row["task_id"])].append(row)
    verified = [row for row in rows if "status" in row]
    if verified and len(verified) < len(rows):
        raise DataError(
            f"{path}: {len(verified)} of {len(rows)} rows have a status; verify all of them first"
        )
    report = Document(title=path.name, claim="", about=[parts.READING] if verified else [])
    if verified:
        report.claim, section = _verified(by_task)
    else:
        report.claim, section = _sampled(by_task)
    report.sections.append(section)
    report.items = [_item(task_id, found, tasks.get(task_id)) for task_id, found in by_task.items()]
    models = sorted({str(row["model"]) for row in rows if row.get("model")})
    tokens = sum(int(row.get("tokens") or 0) for row in rows)
    report.provenance = [
        ("File", path.name),
        ("sha256", digest(path)),
        ("Model weights (sha256)", ", ".join(models) or "not recorded"),
        *parts.cost_rows(None, [], len(verified), tokens)[:2],
    ]
    return report


def _check(path: Path, number: int, row: Mapping[str, Any]) -> bool:
    for name in ("task_id", "code"):
        if name not in row:
            raise DataError(
                f"{path}, line {number}: {name}: missing; rows of `ilf sample` or `ilf verify` expected"
            )
    if "status" in row and row["status"] not in get_args(Status):
        raise DataError(
            f"{path}, line {number}: status: {row['status']!r} is none of {', '.join(get_args(Status))}"
        )
    return True


def _verified(by_task: Mapping[str, Sequence[Mapping[str, Any]]]) -> tuple[str, Section]:
    counts = []
    for task_id, rows in by_task.items():
        scored = [row for row in rows if row["status"] not in ("sandbox_error", "flaky")]
        passed = sum(row["status"] == "passed" for row in scored)
        counts.append(
            TaskCounts(task_id=task_id, n=len(scored), passed=passed, unscored=len(rows) - len(scored))
        )
    fewest = min(len(rows) for rows in by_task.values())
    ks = [k for k in (1, 10, 100) if k <= fewest]
    result = evaluate(counts, split="all tasks of the file", temperature=0, n=fewest, ks=ks)
    total = Counter(str(row["status"]) for rows in by_task.values() for row in rows)
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


def _sampled(by_task: Mapping[str, Sequence[Mapping[str, Any]]]) -> tuple[str, Section]:
    rows = [row for found in by_task.values() for row in found]
    tokens = [int(row["tokens"]) for row in rows if row.get("tokens") is not None]
    facts: list[list[Cell]] = [
        ["programs", len(rows)],
        ["tasks", len(by_task)],
        ["different programs", len({(row["task_id"], row["code"]) for row in rows})],
        ["without code", sum(not row["code"].strip() for row in rows)],
        ["cut at the token limit", sum(row.get("finish") == "length" for row in rows)],
    ]
    if tokens:
        facts.append(["tokens each, on average", sum(tokens) / len(tokens)])
    section = Section(
        "result", "What was sampled", ["These programs were not verified: run `ilf verify` for pass rates."]
    )
    section.parts.append(Table("counts", "Counts.", [Column("what"), Column("number", "number")], facts))
    return f"{len(rows):,} programs for {len(by_task):,} tasks, not verified yet.", section


def _item(task_id: str, rows: Sequence[Mapping[str, Any]], task: Task | None) -> Item:
    item = Item(task_id=task_id, description=task.description if task else "")
    different = list({row["code"]: row for row in rows}.values())[:8]
    for number, row in enumerate(different, start=1):
        status = row.get("status")
        detail = "" if status == "passed" else str(row.get("detail") or "")
        item.samples.append(Sample(f"Program {number}", str(row["code"]), status, detail))
    if all("status" in row for row in rows):
        passed = sum(row["status"] == "passed" for row in rows)
        item.state = "solved" if passed == len(rows) else "solved sometimes" if passed else "never solved"
    return item
