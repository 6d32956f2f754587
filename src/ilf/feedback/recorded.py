"""Feedback that someone wrote before: the paper's published annotations, or our own JSONL.

The paper's file (`surge_annotations.jsonl`) has programs with their prompt's docstring on top, Windows line
ends in some rows, and its own column names; `read` makes `Feedback` of it. `load` adds the paper's filters
(section 3.1), each with a count of what it removed.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, Field, ValidationError

from ilf.errors import DataError
from ilf.metrics import relative_edit_distance
from ilf.progress import progress, say
from ilf.records import Feedback, Own, Program, Task, TaskId, describe, read_rows
from ilf.syntax import normalise

if TYPE_CHECKING:
    from ilf.config import VerifyConfig

MAX_EDIT = 0.5
"""The paper keeps refinements whose edit distance is under this share of the longer program."""


class _PaperRow(BaseModel):
    task_id: TaskId
    text: str = Field(alias="Feedback")
    original: str = Field(alias="original_model_completion")
    refinement: str = Field(alias="unedited_annotator_completion")
    worker_id: str | None = None


def read(path: Path | str, tasks: Collection[str] | None = None) -> list[Feedback]:
    """Every row of a file of feedback, in the paper's columns or in ours, in the file's order.

    Args:
        path: the file.
        tasks: ids (or tasks by id) of the whole source; a row on another task is an error. None takes
            every row.

    Raises:
        DataError: one line naming file, line and field: no such file, not JSON, a missing or wrong field,
            an empty text, or a task that is not among the tasks.
    """
    items = []
    own = Own(Feedback)
    for where, row in read_rows(Path(path)):
        place = f"{path}, {where}"
        item = _item(place, row, own)
        if tasks is not None and item.task_id not in tasks:
            raise DataError(f"{place}: task_id: {item.task_id!r} is none of the source's {len(tasks)} tasks")
        items.append(item)
    if (note := own.passed_over()) is not None:
        say(f"{path}: {note}")
    return items


def _item(place: str, row: dict[str, Any], own: Own) -> Feedback:
    try:
        if "original_model_completion" in row:
            paper = _PaperRow.model_validate(row)
            item = Feedback(
                task_id=paper.task_id,
                code=_program(paper.original),
                text=normalise(paper.text).strip(),
                source="recorded",
                author=paper.worker_id,
                refinement=_program(paper.refinement),
            )
        else:
            mine = own(row)
            if mine.get("source") is None:
                mine["source"] = "recorded"
            item = Feedback.model_validate(mine)
    except ValidationError as error:
        hint = ""
        if not row.keys() & {"code", "text"}:
            hint = (
                " (the row has neither our fields, task_id, code, text and source, nor the paper's, task_id, "
                "Feedback, original_model_completion and unedited_annotator_completion)"
            )
        raise DataError(f"{place}: {describe(error)}{hint}") from None
    if not item.text.strip():
        raise DataError(f"{place}: text: the feedback is empty")
    return item


def _program(text: str) -> str:
    """A published program without the docstring of its prompt, in our form."""
    text = normalise(text).lstrip()
    if text.startswith('"""') and text.count('"""') > 1:
        text = text.split('"""', 2)[2]
    return text.strip("\n").rstrip() + "\n"


def load(
    path: Path | str,
    tasks: Mapping[str, Task],
    *,
    keep: Collection[str] | None = None,
    filters: bool = True,
    seed: int = 0,
    verify: VerifyConfig | None = None,
) -> tuple[list[Feedback], dict[str, int]]:
    """Recorded feedback, filtered as in the paper, one item a task.

    Args:
        path: the file, in the paper's columns or in ours.
        tasks: all tasks of the source, by id.
        keep: ids of the tasks that feedback is wanted on; None for all of `tasks`.
        filters: keep an item only if its refinement passes all tests, by our own verdict, and its edit
            distance to the wrong program is under half of the longer one's length. Items without a written
            refinement pass both.
        seed: of the choice of one item a task.
        verify: the sandbox's settings.

    Returns:
        The items in the file's order, and what each filter removed, in the order of filtering: its name in
        words → a count.

    Raises:
        DataError: see `read`.
        SandboxUnavailable: there is no isolation to verify refinements in.
    """
    return choose(read(path, tasks), tasks, keep=keep, filters=filters, seed=seed, verify=verify)


def choose(
    items: list[Feedback],
    tasks: Mapping[str, Task],
    *,
    keep: Collection[str] | None = None,
    filters: bool = True,
    seed: int = 0,
    verify: VerifyConfig | None = None,
) -> tuple[list[Feedback], dict[str, int]]:
    """People's feedback, filtered as in the paper, one item a task; arguments and result as of `load`."""
    counts = {"feedback read": len(items)}

    def keep_only(kept: list[Feedback], why: str) -> list[Feedback]:
        counts[why] = len(items) - len(kept)
        return kept

    if keep is not None:
        items = keep_only([i for i in items if i.task_id in keep], "left out, not on a task in question")
    if filters:
        passed = _passed(items, tasks, verify)
        items = keep_only(
            [i for i, ok in zip(items, passed, strict=True) if ok], "left out, refinement fails"
        )
        items = keep_only([i for i in items if is_near(i)], "left out, refinement is half rewritten or more")
    chosen = _one_a_task(items, seed)
    items = keep_only([i for i in items if chosen[i.task_id] is i], "left out, another one was drawn")
    counts["kept"] = len(items)
    return items, counts


def _passed(
    items: Sequence[Feedback], tasks: Mapping[str, Task], settings: VerifyConfig | None
) -> list[bool]:
    from ilf.config import VerifyConfig
    from ilf.kinds import verify

    written = [
        (n, item.task_id, item.refinement) for n, item in enumerate(items) if item.refinement is not None
    ]
    programs = [Program(task_id=task_id, code=code) for _, task_id, code in written]
    passed = [True] * len(items)
    if programs:
        with progress("verifying written refinements", len(programs)) as bar:
            verdicts = verify(tasks, programs, settings or VerifyConfig(), bar)
            for (n, _, _), verdict in zip(written, verdicts, strict=True):
                passed[n] = verdict.passed
    return passed


def is_near(item: Feedback) -> bool:
    """Whether the written refinement, if there is one, keeps the paper's rule on edit distance."""
    return item.refinement is None or relative_edit_distance(item.refinement, item.code) < MAX_EDIT


def _one_a_task(items: Sequence[Feedback], seed: int) -> dict[str, Feedback]:
    """One item of each task; what is drawn for one task does not depend on the others."""
    by_task: dict[str, list[Feedback]] = {}
    for item in items:
        by_task.setdefault(item.task_id, []).append(item)
    return {
        task_id: random.Random(f"{seed}/{task_id}").choice(sorted(of_task, key=lambda i: i.feedback_id))
        for task_id, of_task in by_task.items()
    }
