"""Where feedback comes from: recorded, people, execution, a model.

Whatever the source, feedback is about one wrong program a task: the one that looks easiest to fix.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from itertools import groupby

from ilf.errors import DataError
from ilf.feedback.ranking import rank
from ilf.records import Feedback, Program, Verdict


def solved(programs: Iterable[Program], verdicts: Iterable[Verdict]) -> set[str]:
    """Ids of the tasks with at least one passing program.

    Args:
        programs: all samples.
        verdicts: one a program, in the same order.
    """
    return {p.task_id for p, v in zip(programs, verdicts, strict=True) if v.passed}


def candidates(
    programs: Iterable[Program],
    verdicts: Iterable[Verdict],
    *,
    only_unsolved: bool = True,
    most: int = 1,
) -> dict[str, list[tuple[Program, Verdict]]]:
    """The wrong programs of each task, the easiest to fix first (paper, section 3: the annotator's choice).

    Ranked by `ranking.rank`. Programs without a verdict (`sandbox_error`) and repeated ones are left out.

    Args:
        programs: all samples.
        verdicts: one a program, in the same order.
        only_unsolved: leave out tasks with a passing program.
        most: how many to keep of a task.
    """
    kept: dict[str, list[tuple[Program, Verdict]]] = {}
    done: set[str] = set()
    # One task's samples at a time: a file of samples has them together.
    for task_id, pairs in groupby(zip(programs, verdicts, strict=True), key=lambda pair: pair[0].task_id):
        of_task = [*kept.get(task_id, []), *pairs]
        if only_unsolved and any(verdict.passed for _, verdict in of_task):
            done.add(task_id)
        kept[task_id] = [] if task_id in done else rank(of_task, most)
    return {task_id: ranked for task_id, ranked in kept.items() if ranked}


def shuffled(feedback: Sequence[Feedback], seed: int) -> list[Feedback]:
    """Each item with the text of another (the paper's control for unrelated feedback, Table 2).

    Raises:
        DataError: fewer than two items.
    """
    if len(feedback) < 2:
        raise DataError(f"shuffling feedback needs at least 2 items, there are {len(feedback)}")
    order = list(range(len(feedback)))
    random.Random(seed).shuffle(order)
    # A cyclic shift of a random order: everyone gets somebody else's.
    donor = {order[i]: order[i - 1] for i in range(len(order))}
    return [item.model_copy(update={"text": feedback[donor[i]].text}) for i, item in enumerate(feedback)]
