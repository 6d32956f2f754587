"""Splits of a task source: by ranges of ids, by lists of ids, or by a field of the tasks."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence

from ilf.errors import ConfigError
from ilf.records import Task

SplitSpec = str
"""`"111-310"` (inclusive, by the number in the id), `"3,5,20-29"`, `"HumanEval/3,HumanEval/5"`, or
`"split=train"` (the tasks whose field `split` says so; `tags=NAME` likewise)."""

PAPER_SPLITS: dict[str, SplitSpec] = {
    "prompt": "1-10",
    "test": "11-110",
    "refine": "111-310",
    "train": "311-974",
}
"""The paper's splits of MBPP (section 3.1). There `refine` and `train` keep only tasks never solved."""

SHARES = {"refine": 0.25, "train": 0.45}
"""Of tasks without splits of their own; what is left is held out."""
FEWEST = 20
"""Tasks to split: with fewer the held-out part could not tell a gain from noise at all."""

_RANGE = re.compile(r"\s*(\d+)\s*-\s*(\d+)\s*")
_FIELD = re.compile(r"\s*(split|tags?)\s*=\s*(.+?)\s*")


def number(task_id: str) -> int | None:
    """The number in a task id (`11` → 11, `HumanEval/12` → 12): its last run of digits, None without one."""
    digits = re.findall(r"\d+", task_id)
    return int(digits[-1]) if digits else None


def select(tasks: Sequence[Task], spec: SplitSpec, key: str = "ids") -> list[Task]:
    """The tasks that `spec` names, in their own order.

    Args:
        tasks: what to choose from.
        spec: see `SplitSpec`.
        key: how an error calls the setting.

    Raises:
        ConfigError: the spec cannot be read, or a part of it names no task.
    """
    field = _FIELD.fullmatch(spec)
    if field:
        name, value = field.groups()
        chosen = [t for t in tasks if (t.split == value if name == "split" else value in t.tags)]
        if not chosen:
            values = (
                {t.split for t in tasks if t.split} if name == "split" else {g for t in tasks for g in t.tags}
            )
            have = ", ".join(sorted(values)) or "no such field"
            raise ConfigError(f"{key}: no task has {spec!r}; the tasks have {have}")
        return chosen
    wanted: set[str] = set()
    by_number: dict[int, list[str]] = {}
    for task in tasks:
        n = number(task.task_id)
        if n is not None:
            by_number.setdefault(n, []).append(task.task_id)
    ids = {task.task_id for task in tasks}
    for part in spec.split(","):
        item = part.strip()
        if item in ids:
            wanted.add(item)
            continue
        span = _RANGE.fullmatch(item)
        if not span and not item.isdecimal():
            raise ConfigError(
                f"{key}: {item!r} is neither a task id of the source nor a range such as 111-310 "
                "(other forms: 3,5,9 and split=NAME)"
            )
        low, high = (int(span[1]), int(span[2])) if span else (int(item), int(item))
        if low > high:
            raise ConfigError(f"{key}: {item!r} runs backwards; write {high}-{low}")
        found = [task_id for n, task_ids in by_number.items() if low <= n <= high for task_id in task_ids]
        if not found:
            raise ConfigError(f"{key}: {item!r} names no task of the source ({_extent(by_number)})")
        wanted.update(found)
    return [task for task in tasks if task.task_id in wanted]


def _extent(by_number: Mapping[int, list[str]]) -> str:
    if not by_number:
        return "its ids have no numbers"
    return f"its ids run from {min(by_number)} to {max(by_number)}"


def split_tasks(tasks: Sequence[Task], splits: Mapping[str, SplitSpec]) -> dict[str, list[Task]]:
    """The tasks of each split, in the source's order; a task in no split is left out.

    Raises:
        ConfigError: a split cannot be read, is empty, or shares a task with another (both are named).
    """
    result = {name: select(tasks, spec, key=f"splits.{name}") for name, spec in splits.items()}
    owner: dict[str, str] = {}
    for name, members in result.items():
        shared = [task.task_id for task in members if task.task_id in owner]
        if shared:
            other = owner[shared[0]]
            both = [task_id for task_id in shared if owner[task_id] == other]
            raise ConfigError(
                f"splits.{name} ({splits[name]!r}) and splits.{other} ({splits[other]!r}) overlap: "
                f"{len(both)} task{'s' * (len(both) != 1)} in both, the first is {both[0]}"
            )
        owner.update({task.task_id: name for task in members})
    return result


def split_by_seed(tasks: Sequence[Task], seed: int, held_out: str = "test") -> dict[str, list[Task]]:
    """Splits for tasks that name none: 25% refine, 45% train, 30% held out, in the source's order.

    Which task goes where depends on the seed and the tasks' ids alone, not on their order in the file.

    Raises:
        ConfigError: fewer than `FEWEST` tasks.
    """
    if len(tasks) < FEWEST:
        raise ConfigError(
            f"tasks.splits: {len(tasks)} tasks without a field split, and fewer than {FEWEST} are not split "
            'by themselves: write "split": "refine", "train" or "test" into each row, or set tasks.splits'
        )
    ranked = sorted((hashlib.sha256(f"{seed}/{t.task_id}".encode()).digest(), t.task_id) for t in tasks)
    order = [task_id for _, task_id in ranked]
    found, start = {}, 0
    for name, share in SHARES.items():
        end = start + round(share * len(tasks))
        found[name] = set(order[start:end])
        start = end
    found[held_out] = set(order[start:])
    return {name: [task for task in tasks if task.task_id in ids] for name, ids in found.items()}
