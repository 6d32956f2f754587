"""Feedback that someone wrote before, in our form or another's: reading it, and the paper's filters.

`read` makes `Feedback` of a file; `load` adds the paper's filters (section 3.1), each with a count of what it
removed.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from ilf.errors import DataError
from ilf.formats import files
from ilf.formats.feedback import FORMS, BadItem, Form, recognise
from ilf.formats.own import Own
from ilf.metrics import relative_edit_distance
from ilf.progress import progress, say
from ilf.records import Feedback, Program, Task, describe

if TYPE_CHECKING:
    from ilf.config import VerifyConfig

MAX_EDIT = 0.5
"""The paper keeps refinements whose edit distance is under this share of the longer program."""


def read(path: Path | str, tasks: Mapping[str, Task] | None = None, *, strict: bool = True) -> list[Feedback]:
    """Every item of a file of feedback, in our form or one of `ilf.formats.feedback`, in the file's order.

    Args:
        path: the file.
        tasks: of the whole source, by id; an item on another task is an error. None takes every item.
        strict: False takes items on other tasks, too.

    Raises:
        DataError: one line naming file, line and field: no such file, not JSON, a missing or wrong field,
            an empty text, or a task that is not among the tasks.
    """
    items: list[Feedback] = []
    own = Own(Feedback)
    forms: Counter[str] = Counter()
    skipped = 0
    for where, row in files.read(Path(path)):
        place = f"{path}, {where}"
        form = recognise(row)
        found = _items(place, row, form, own, tasks or {})
        for item in found:
            if not item.text.strip():
                raise DataError(f"{place}: text: the feedback is empty")
            if strict and tasks is not None and item.task_id not in tasks:
                raise DataError(
                    f"{place}: task_id: {item.task_id!r} is none of the source's {len(tasks)} tasks"
                )
        skipped += not found
        if form is not None:
            forms[form.says] += len(found)
        items += found
    for says, count in forms.items():
        say(f"{path}: read as {says}: {count} items{f', {skipped} rows without feedback' if skipped else ''}")
    if (note := own.passed_over()) is not None:
        say(f"{path}: {note}")
    return items


def _items(
    place: str, row: dict[str, Any], form: Form | None, own: Own, tasks: Mapping[str, Task]
) -> list[Feedback]:
    try:
        if form is not None:
            return list(form.read(row, tasks))
        mine = own(row)
        if mine.get("source") is None:
            mine["source"] = "recorded"
        return [Feedback.model_validate(mine)]
    except BadItem as error:
        raise DataError(f"{place}: {error}") from None
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{place}: not as in {form.says if form else 'our form'}: {error}") from None
    except ValidationError as error:
        hint = ""
        if form is None and not row.keys() & {"code", "text"}:
            known = ", ".join(dict.fromkeys(form.says for form in FORMS))
            hint = f" (the row has neither our fields, task_id, code, text and source, nor those of {known})"
        raise DataError(f"{place}: {describe(error)}{hint}") from None


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
