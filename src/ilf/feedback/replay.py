"""Was it right to ask about these tasks? Replays recorded feedback under a choice, against random choice."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ilf import metrics
from ilf.errors import DataError
from ilf.metrics.types import Estimate
from ilf.records import Refinement


@dataclass(frozen=True)
class Replay:
    """What a choice of `budget` tasks gains an item."""

    budget: int
    tasks: int
    chosen: Estimate
    """Mean gain of the tasks that the ranking takes, with its interval over them."""
    random: Estimate
    """Mean gain of all tasks: what random choice is expected to gain an item."""
    difference: Estimate
    """The first less the second, with its interval over tasks."""


def pass_rates(refinements: Iterable[Refinement]) -> dict[str, float]:
    """Task id → share of its refinements that pass; those without a verdict are left out."""
    found: dict[str, list[bool]] = {}
    for row in refinements:
        if row.verdict is not None and row.verdict.status != "sandbox_error":
            found.setdefault(row.task_id, []).append(row.verdict.passed)
    return {name: sum(passed) / len(passed) for name, passed in found.items()}


def gains(people: Iterable[Refinement], rest: Iterable[Refinement]) -> dict[str, float]:
    """Task id → how much more often refinements pass that follow people's texts, by task of both.

    Args:
        people: refinements that follow what people wrote.
        rest: refinements that follow the other source, on the same tasks.

    Raises:
        DataError: fewer than two tasks are in both.
    """
    with_people, without = pass_rates(people), pass_rates(rest)
    found = {name: with_people[name] - without[name] for name in with_people if name in without}
    if len(found) < 2:
        raise DataError(f"{len(found)} tasks have refinements of both kinds; a comparison needs at least 2")
    return found


def replay(order: Sequence[str], gain: Mapping[str, float], budget: int, seed: int = 0) -> Replay:
    """Compare the first `budget` tasks of `order` with random ones.

    Args:
        order: task ids, the first to ask about first.
        gain: of asking people about a task, by id; tasks without one are passed over.
        budget: items.
        seed: of the bootstrap.

    Raises:
        DataError: the budget is not between 1 and the number of tasks.
    """
    known = [name for name in order if name in gain]
    if not 1 <= budget <= len(known):
        raise DataError(f"--budget {budget}: there are {len(known)} tasks to choose from")
    values = [gain[name] for name in known]
    mean = sum(values) / len(values)
    # Mean of the chosen less mean of all, as a mean over tasks.
    parts = [
        (value - mean) * ((len(values) / budget if place < budget else 0) - 1)
        for place, value in enumerate(values)
    ]
    difference = metrics.bootstrap(parts, seed=seed, bound=1.0)
    within = {"low": max(difference.low, -1.0), "high": min(difference.high, 1.0)}
    return Replay(
        budget=budget,
        tasks=len(values),
        chosen=metrics.bootstrap(values[:budget], seed=seed, bound=1.0),
        random=metrics.bootstrap(values, seed=seed, bound=1.0),
        difference=difference.model_copy(update=within),
    )
