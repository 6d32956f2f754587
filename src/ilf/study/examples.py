"""What an arm's model is fine-tuned on."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping

from ilf.records import Example, Refinement
from ilf.selection import own_correct
from ilf.steps.examples import program_examples, score_refinements, select_examples
from ilf.study.arms import Arm
from ilf.study.lab import Lab, Skip

Row = tuple[str, str, Mapping[str, object]]
"""Task id, program, further fields of `Example`."""


def examples(lab: Lab, arm: Arm) -> list[Example]:
    """The arm's examples.

    Raises:
        Skip: there are none, and why.
    """
    if arm.refining is not None:
        refined = _of_refinements(lab, arm)
        return refined if arm.data is None else [*refined, *_programs(lab, _own_correct(lab, len(refined)))]
    ids = {str(e.task_id) for e in lab.ilf_examples} or {item.task_id for item in lab.apply}
    if arm.data == "gold":
        rows = _gold(lab, ids)
    elif arm.data == "human":
        rows = _human(lab, ids)
    else:
        rows = _own_correct(lab, arm.times * (len(lab.ilf_examples) or len(ids)))
    return _programs(lab, rows)


def _programs(lab: Lab, rows: list[Row]) -> list[Example]:
    found, left_out = program_examples(lab.prompter, lab.tasks, rows)
    if not found:
        raise Skip(f"the prompt style can express none of {len(left_out)} programs")
    return found


def items_used(lab: Lab, arm: Arm) -> int:
    """How many feedback items of the train split stand behind a refining arm.

    Raises:
        Skip: the run has fewer than the arm asks for.
    """
    total = len(lab.apply)
    count = arm.items or (max(1, round(arm.share * total)) if arm.share else total)
    if count > total:
        raise Skip(f"{count} feedback items asked for, the run has {total} on the train split")
    return count


def subset(lab: Lab, count: int) -> set[str]:
    """Task ids of `count` items; nested: a smaller set is the beginning of a larger one's order."""
    order = sorted({item.task_id for item in lab.apply})
    random.Random(f"{lab.seed} sizes").shuffle(order)
    return set(order[:count])


def _of_refinements(lab: Lab, arm: Arm) -> list[Example]:
    assert arm.refining is not None
    used = subset(lab, items_used(lab, arm))
    everything = lab.refinements(arm.refining)

    def rows() -> Iterator[Refinement]:
        return (row for row in everything if row.task_id in used)

    settings = type(lab.config.selection).model_validate(lab.config.selection.model_dump() | arm.selection)
    scores = None
    if settings.strategy == "likeliest":
        if not lab.has_weights:
            raise Skip("needs log-probabilities under the model, which this engine does not give")
        passing = [r for r in rows() if r.verdict is not None and r.verdict.passed]
        scores = lab.cached(
            f"scores-{arm.refining.name}",
            lambda: score_refinements(lab.policy.ref, lab.prompter, lab.tasks, passing),
            model=lab.policy.hash,
            refinements=[r.refinement_id for r in passing],
        )
    found, _ = select_examples(lab.prompter, lab.tasks, rows(), settings, seed=lab.seed, scores=scores)
    if not found:
        raise Skip(
            f"none of {sum(1 for _ in rows())} refinements passed, so there is nothing to fine-tune on"
        )
    return _same_budget(lab, found) if arm.group == "final" else found


def _same_budget(lab: Lab, found: list[Example]) -> list[Example]:
    """No more tasks than ILF has, its own task ids first (the paper's arms all use ILF's ids)."""
    ours = {example.task_id for example in lab.ilf_examples}
    tasks = list(dict.fromkeys(example.task_id for example in found))
    if not ours or len(tasks) <= len(ours):
        return found
    keep = set(sorted(tasks, key=lambda t: (t not in ours, str(t)))[: len(ours)])
    return [example for example in found if example.task_id in keep]


def _gold(lab: Lab, ids: set[str]) -> list[Row]:
    rows: list[Row] = [
        (task_id, code, {"origin": "gold"})
        for task_id in sorted(ids)
        if (code := lab.tasks[task_id].reference)
    ]
    if not rows:
        raise Skip("the tasks have no reference programs")
    return rows


def _human(lab: Lab, ids: set[str]) -> list[Row]:
    rows: list[Row] = [
        (item.task_id, item.refinement, {"origin": "human", "feedback_id": item.feedback_id})
        for item in lab.apply
        if item.task_id in ids and item.refinement
    ]
    if not rows:
        raise Skip("no feedback on these tasks carries a human refinement")
    return rows


def _own_correct(lab: Lab, count: int) -> list[Row]:
    """`count` passing samples of other tasks (`selection.own_correct`)."""
    held = {item.task_id for item in lab.apply} | {task.task_id for task in lab.validation}
    found = own_correct(lab.programs, lab.verdicts, count, seed=lab.seed, exclude=held)
    if not found:
        raise Skip(
            "the model solved none of the other training tasks, so it has no correct samples of its own"
        )
    return [(task_id, code, {"origin": "self"}) for task_id, code in found]
