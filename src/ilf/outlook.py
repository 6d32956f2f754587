"""What to expect of a run: before it, whether there is enough to tell a gain; after it, what would help.

Rules of thumb from counts, no more: each line names the number that it rests on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from math import sqrt

from ilf.records import Feedback, Refinement

WIDE = 0.15
"""Half of a 95% interval above which a line says so."""
FEW = 10
"""Items below which hardly anything is learnt."""


def expectations(
    held_out: int, refine: Sequence[Feedback], train: Sequence[Feedback], *, finetuned_refiner: bool
) -> list[str]:
    """What too little data means for a result, and what would help; nothing where there is enough.

    Args:
        held_out: number of tasks that models are compared on.
        refine: recorded feedback on the refine split.
        train: recorded feedback on the train split.
        finetuned_refiner: whether πRefine is fine-tuned on the refine split's refinements.
    """
    found = list(held_out_too_small(held_out))
    taught = sum(item.refinement is not None for item in refine)
    if finetuned_refiner and taught < FEW:
        found.append(
            f"πRefine learns from {taught} written refinements (the paper's from 44): with fewer than {FEW}, "
            'refiner.method = "few-shot" needs none'
        )
    if len(train) < FEW:
        found.append(
            f"{len(train)} feedback items on split train (the paper has 128) give at most as many examples: "
            f"with fewer than {FEW} expect no measurable change; more items, on other tasks, help most"
        )
    return found


def held_out_too_small(held_out: int) -> Iterable[str]:
    """A line where the held-out tasks cannot tell a gain from noise."""
    half = 1.96 * sqrt(0.25 / max(held_out, 1))
    if half > WIDE:
        needed = round(0.25 * (1.96 / 0.1) ** 2)
        yield (
            f"{held_out} held-out tasks: the 95% interval of a pass rate may be ±{100 * half:.0f} points, "
            f"and a smaller gain cannot be seen; {needed} tasks bring it to ±10"
        )


def after_nothing_passed(refinements: Iterable[Refinement]) -> list[str]:
    """Where no refinement passed: how near they came, and the best next steps, the likeliest first.

    Args:
        refinements: all of them, with their verdicts.
    """
    total, statuses = 0, Counter[str]()
    cut = unchanged = samples = 0
    nearest: dict[str, tuple[int, int, int]] = {}
    for row in refinements:
        total += 1
        samples = max(samples, row.index + 1)
        cut += row.finish == "length"
        unchanged += row.edit_distance == 0
        if row.verdict is None:
            continue
        statuses[row.verdict.status] += 1
        passed, count = sum(result is True for result in row.verdict.tests), len(row.verdict.tests)
        known = nearest.get(row.task_id)
        if passed and (known is None or passed * known[1] > known[0] * count):
            nearest[row.task_id] = (passed, count, row.index)
    lines = []
    best = sorted(nearest.items(), key=lambda one: -one[1][0] / one[1][1])[:3]
    if best:
        told = ", ".join(f"{passed} of {count} tests of task {name} (sample {index})"
                         for name, (passed, count, index) in best)  # fmt: skip
        lines.append(f"the nearest refinements pass {told}")
    else:
        told = ", ".join(f"{count} {status}" for status, count in statuses.most_common())
        lines.append(f"no refinement passes a single test ({told or 'none has a verdict'})")
    steps = []
    if total and cut >= total / 4:
        steps.append(f"raise refiner.sampling.max_tokens: {cut} of {total} were cut at the limit")
    if total and statuses["no_code"] >= total / 4:
        steps.append(f"another prompts.style: {statuses['no_code']} of {total} completions held no code")
    if total and unchanged >= total / 4:
        steps.append(
            f'show how it is done, refiner.method = "few-shot" with shots, or use a larger refiner_model: '
            f"{unchanged} of {total} only repeat the wrong program"
        )
    if best:
        steps.append(f"more samples, refiner.sampling.n = {4 * max(samples, 1)} (now {samples})")
    steps.append("feedback that names one bug and how to fix it, on programs that pass some tests already")
    steps.append("a larger refiner_model")
    return [*lines, *(f"next: {step}" for step in steps[:3])]
