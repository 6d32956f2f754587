"""The explorer's items: a task with its wrong program, feedback, refinement, and what each model writes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from ilf import notes
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
    written: Mapping[str, tuple[Iterable[Program], Iterable[Verdict]]] | None = None,
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

    wrong = {Program(task_id=row.task_id, code=row.code).program_id for row in feedback}
    known = {verdict.program_id: verdict for verdict in verdicts if verdict.program_id in wrong}
    refined: dict[str, Sample] = {}
    for refinement in refinements:
        _count_in(refined, refinement.feedback_id, "Refinement by πRefine", refinement, refinement.verdict)
    for row in feedback:
        _add_feedback(item(row.task_id), row, refined.get(row.feedback_id), known)
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


def _add_feedback(item: Item, row: Feedback, refined: Sample | None, known: Mapping[str, Verdict]) -> None:
    wrong = known.get(Program(task_id=row.task_id, code=row.code).program_id)
    item.wrong = Sample(
        "Wrong program", row.code, wrong.status if wrong else None, wrong.detail if wrong else ""
    )
    item.feedback = row.text
    item.notes = [(note.first, note.last, note.text) for note in notes.parse(row.text)[0]]
    item.author = row.author or row.source
    if refined is not None:
        item.refinement = refined
        item.state = "refined" if refined.passed else "not refined"
    elif row.refinement is not None:
        item.refinement = Sample("Refinement by the same person", row.refinement)


def _samples(label: str, programs: Iterable[Program], verdicts: Iterable[Verdict]) -> dict[str, Sample]:
    samples: dict[str, Sample] = {}
    for program, verdict in zip(programs, verdicts, strict=True):
        _count_in(samples, program.task_id, label, program, verdict)
    return samples


def _count_in(
    samples: dict[str, Sample], key: str, label: str, row: Program | Refinement, verdict: Verdict | None
) -> None:
    """Count one more program under `key`; what is shown there is the first that passes, else the first."""
    sample = samples.get(key)
    passed = verdict is not None and verdict.passed
    if sample is None or (passed and not sample.passed):
        sample = Sample(
            label,
            row.code or (row.completion or ""),
            verdict.status if verdict else None,
            "" if passed or verdict is None else verdict.detail,
            sample.passed if sample else 0,
            sample.n if sample else 0,
        )
        samples[key] = sample
    if verdict is not None and verdict.status not in ("sandbox_error", "flaky"):
        sample.passed = (sample.passed or 0) + passed
        sample.n = (sample.n or 0) + 1
