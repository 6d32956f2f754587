"""Put the starter suite together: candidates, calibration and feedback become src/ilf/tasks/starter/.

    python tools/assemble.py FOLDER --calibration FOLDER/calibration.json

The folder holds candidate tasks (`a*_*.jsonl`, `b*_*.jsonl`, our Task form) and written feedback
(`feedback_*.jsonl`, our Feedback form). Splits are dealt so that refine, train and test have the same mix of
categories, levels and solve rates; a task keeps the split it already has in the shipped file, so ids stay put
once feedback was written. The shipped suite was made with it; the folder of its candidates is not in the
repository, so use it for a suite of your own.
"""

from __future__ import annotations

import argparse
import ast
import json
from collections import Counter
from collections.abc import Iterable
from itertools import combinations
from pathlib import Path
from typing import Any

from ilf.records import Feedback, Task, read_jsonl, write_jsonl

HERE = Path(__file__).resolve().parent.parent / "src/ilf/tasks/starter"
SHARES = {"refine": 0.25, "train": 0.47, "test": 0.28}
BANDS = (0.0, 0.05, 0.2, 0.5, 0.9)
"""Solve rates that count as alike lie between two of these."""


def with_levels(tasks: list[Task]) -> list[Task]:
    """Tag each task easy, medium or hard: the thirds of the suite by the size of the reference's syntax tree.

    The prefix counts as nothing: it is given to who solves the task.
    """

    def size(task: Task) -> int:
        whole = sum(1 for _ in ast.walk(ast.parse(task.reference or "")))
        indent = " " * (
            len(task.prefix.rstrip().split("\n")[-1]) - len(task.prefix.rstrip().split("\n")[-1].lstrip())
        )
        return whole - sum(1 for _ in ast.walk(ast.parse(f"{task.prefix}{indent}    pass\n")))

    order = sorted(tasks, key=lambda task: (size(task), task.task_id))
    level = {
        task.task_id: ("easy", "medium", "hard")[3 * place // len(order)] for place, task in enumerate(order)
    }
    return [task.model_copy(update={"tags": (task.tags[0], level[task.task_id])}) for task in tasks]


def deal(
    tasks: list[Task], rates: dict[str, float], fixed: dict[str, str], written: set[str]
) -> dict[str, str]:
    """Assign a split to each task so that all splits have the same mix of categories, levels and solve rates.

    Starts from any assignment with the wanted sizes and exchanges two tasks as long as that lowers the sum,
    over splits and kinds of task, of (count - expected)² / expected (the chi-squared statistic).

    Args:
        tasks: all of them.
        rates: solve rate by task id.
        fixed: splits that stay as they are.
        written: ids with feedback; they never go to test.
    """

    def kinds(task: Task) -> list[str]:
        rate = rates.get(task.task_id, 0.0)
        return [*task.tags, f"band {sum(rate > edge for edge in BANDS)}"]

    names = list(SHARES)
    order = sorted(tasks, key=lambda task: (task.task_id not in written, task.task_id))
    wanted = {name: round(share * len(tasks)) for name, share in SHARES.items()}
    wanted["train"] += len(tasks) - sum(wanted.values())
    splits = {task.task_id: fixed[task.task_id] for task in order if task.task_id in fixed}
    for name in names:
        free = [task for task in order if task.task_id not in splits]
        for task in free[: max(0, wanted[name] - sum(split == name for split in splits.values()))]:
            splits[task.task_id] = name
    total = Counter(kind for task in tasks for kind in kinds(task))
    have = Counter((splits[task.task_id], kind) for task in tasks for kind in kinds(task))

    def cost(keys: Iterable[tuple[str, str]]) -> float:
        expected = {key: SHARES[key[0]] * total[key[1]] for key in keys}
        return sum((have[key] - value) ** 2 / value for key, value in expected.items())

    def exchange(one: Task, other: Task) -> None:
        for task, split in ((one, splits[other.task_id]), (other, splits[one.task_id])):
            have.subtract((splits[task.task_id], kind) for kind in kinds(task))
            have.update((split, kind) for kind in kinds(task))
        splits[one.task_id], splits[other.task_id] = splits[other.task_id], splits[one.task_id]

    movable = [task for task in order if task.task_id not in fixed]
    better = True
    while better:
        better = False
        for one, other in combinations(movable, 2):
            pair = {splits[one.task_id], splits[other.task_id]}
            if len(pair) == 1 or ("test" in pair and (one.task_id in written or other.task_id in written)):
                # A task with feedback only moves between refine and train.
                continue
            keys = {(split, kind) for split in pair for kind in (*kinds(one), *kinds(other))}
            before = cost(keys)
            exchange(one, other)
            if cost(keys) < before - 1e-9:
                better = True
            else:
                exchange(one, other)
    return splits


def main() -> None:
    """Write tasks.jsonl and feedback.jsonl."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="folder of candidates and feedback")
    parser.add_argument("--calibration", type=Path, help="solve rates, as tools/calibrate.py writes them")
    parser.add_argument("--only", type=Path, help="file with one task id a line: the tasks that are taken")
    parser.add_argument("--redeal", action="store_true", help="forget the splits of the shipped file")
    options = parser.parse_args()

    tasks = [task for path in sorted(options.folder.glob("[ab]*_*.jsonl")) for task in read_jsonl(path, Task)]
    twice = {task.task_id for task in tasks if sum(other.task_id == task.task_id for other in tasks) > 1}
    if twice:
        parser.error(f"ids used twice: {', '.join(sorted(twice))}")
    if options.only:
        wanted = set(options.only.read_text().split())
        tasks = [task for task in tasks if task.task_id in wanted]
    tasks = with_levels(tasks)

    rates: dict[str, float] = {}
    if options.calibration:
        table: dict[str, Any] = json.loads(options.calibration.read_text())
        rates = {task_id: row["passed"] / row["samples"] for task_id, row in table["tasks"].items()}
    shipped = HERE / "tasks.jsonl"
    fixed = {}
    if shipped.exists() and not options.redeal:
        fixed = {task.task_id: task.split for task in read_jsonl(shipped, Task) if task.split}
    ids = {task.task_id for task in tasks}
    feedback = [
        row
        for path in sorted(options.folder.glob("feedback_*.jsonl"))
        for row in read_jsonl(path, Feedback)
        if row.task_id in ids
    ]
    splits = deal(tasks, rates, fixed, {row.task_id for row in feedback})
    rows = [task.model_copy(update={"split": splits[task.task_id]}) for task in tasks]
    order = list(SHARES)
    rows.sort(key=lambda task: (order.index(task.split or ""), task.tags, task.task_id))
    HERE.mkdir(parents=True, exist_ok=True)
    write_jsonl(shipped, rows)
    place = {task.task_id: number for number, task in enumerate(rows)}
    write_jsonl(HERE / "feedback.jsonl", sorted(feedback, key=lambda row: place[row.task_id]))
    for split in order:
        chosen = [task for task in rows if task.split == split]
        ids = {task.task_id for task in chosen}
        print(split, len(chosen), "tasks,", sum(row.task_id in ids for row in feedback), "with feedback")


if __name__ == "__main__":
    main()
