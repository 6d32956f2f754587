"""Where feedback comes from: recorded, people, execution, a model.

Whatever the source, feedback is about one wrong program a task: the one that looks easiest to fix.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from ilf.feedback.ranking import rank
from ilf.records import Program, Verdict


def solved(programs: Sequence[Program], verdicts: Sequence[Verdict]) -> set[str]:
    """Ids of the tasks with at least one passing program.

    Args:
        programs: all samples.
        verdicts: one a program, in the same order.
    """
    return {p.task_id for p, v in zip(programs, verdicts, strict=True) if v.passed}


def candidates(
    programs: Sequence[Program], verdicts: Sequence[Verdict], *, only_unsolved: bool = True
) -> dict[str, list[tuple[Program, Verdict]]]:
    """The wrong programs of each task, the easiest to fix first (paper, section 3: the annotator's choice).

    Ranked by `ranking.rank`. Programs without a verdict (`sandbox_error`) and repeated ones are left out.

    Args:
        programs: all samples.
        verdicts: one a program, in the same order.
        only_unsolved: leave out tasks with a passing program.
    """
    done = solved(programs, verdicts) if only_unsolved else set()
    by_task: dict[str, list[tuple[Program, Verdict]]] = defaultdict(list)
    for program, verdict in zip(programs, verdicts, strict=True):
        if program.task_id not in done and not verdict.passed:
            by_task[program.task_id].append((program, verdict))
    ranked = {task_id: rank(pairs) for task_id, pairs in by_task.items()}
    return {task_id: pairs for task_id, pairs in ranked.items() if pairs}
