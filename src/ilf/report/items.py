"""The explorer's items: a task with its wrong program, feedback, refinement, and what each model writes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from ilf.records import Feedback, Program, Refinement, Task, Verdict
from ilf.report.content import Item, Sample

_STATES = ("fixed", "broken", "refined", "not refined", "unchanged", "")
"""In the order of the explorer: where something happened comes first."""


def build(
    tasks: Mapping[str, Task],
    *,
    feedback: Sequence[Feedback] = (),
    refinements: Iterable[Refinement] = (),
    verdicts: Iterable[Verdict] = (),
    written: Mapping[str, tuple[Sequence[Program], Sequence[Verdict]]] | None = None,
    change: tuple[str, str] | None = None,
) -> list[Item]:
    """One item a task that anything is known of; by state, then in the tasks' order.

    Args:
        tasks: by id, for descriptions; tasks missing here still appear.
        feedback: on wrong programs.
        refinements: with verdicts; the first that passes is shown, else the first.
        verdicts: of the wrong programs, found by program id.
        written: label → (programs, their verdicts in the same order), what each model writes.
        change: the labels (before, after) that decide `fixed`, `broken` and `unchanged`.
    """
    items: dict[str, Item] = {}

    def item(task_id: str) -> Item:
        if task_id not in items:
            task = tasks.get(task_id)
            items[task_id] = Item(task_id=task_id, description=task.description if task else "")
        return items[task_id]

    known = {verdict.program_id: verdict for verdict in verdicts}
    by_feedback: dict[str, list[Refinement]] = defaultdict(list)
    for refinement in refinements:
        by_feedback[refinement.feedback_id].append(refinement)
    for row in feedback:
        _add_feedback(item(row.task_id), row, by_feedback[row.feedback_id], known)
    rates: dict[str, dict[str, Sample]] = {}
    for label, (programs, found) in (written or {}).items():
        rates[label] = _samples(label, programs, found)
        for task_id, sample in rates[label].items():
            item(task_id).samples.append(sample)
    if change and all(label in rates for label in change):
        for task_id in rates[change[0]].keys() & rates[change[1]].keys():
            before, after = (bool(rates[label][task_id].passed) for label in change)
            items[task_id].state = "unchanged" if before == after else "fixed" if after else "broken"
    order = {task_id: place for place, task_id in enumerate(tasks)}
    return sorted(
        items.values(), key=lambda i: (_STATES.index(i.state), order.get(i.task_id, len(order)), i.task_id)
    )


def _add_feedback(
    item: Item, row: Feedback, refinements: Sequence[Refinement], known: Mapping[str, Verdict]
) -> None:
    wrong = known.get(Program(task_id=row.task_id, code=row.code).program_id)
    item.wrong = Sample(
        "Wrong program", row.code, wrong.status if wrong else None, wrong.detail if wrong else ""
    )
    item.feedback = row.text
    item.author = row.author or row.source
    if refinements:
        passing = [r for r in refinements if r.verdict is not None and r.verdict.passed]
        best = (passing or refinements)[0]
        item.refinement = Sample(
            "Refinement by πRefine",
            best.code,
            best.verdict.status if best.verdict else None,
            "" if best.verdict is None or best.verdict.passed else best.verdict.detail,
            len(passing),
            len(refinements),
        )
        item.state = "refined" if passing else "not refined"
    elif row.refinement is not None:
        item.refinement = Sample("Refinement by the same person", row.refinement)


def _samples(label: str, programs: Sequence[Program], verdicts: Sequence[Verdict]) -> dict[str, Sample]:
    by_task: dict[str, list[tuple[Program, Verdict]]] = defaultdict(list)
    for program, verdict in zip(programs, verdicts, strict=True):
        by_task[program.task_id].append((program, verdict))
    samples = {}
    for task_id, pairs in by_task.items():
        program, verdict = next((pair for pair in pairs if pair[1].passed), pairs[0])
        scored = [v for _, v in pairs if v.status not in ("sandbox_error", "flaky")]
        samples[task_id] = Sample(
            label,
            program.code or (program.completion or ""),
            verdict.status,
            "" if verdict.passed else verdict.detail,
            sum(v.passed for v in scored),
            len(scored),
        )
    return samples
