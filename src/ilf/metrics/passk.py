"""pass@k: counts per task, the unbiased estimate, and the evaluation of a model."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from statistics import fmean
from typing import Literal

from ilf.errors import DataError, UserError
from ilf.metrics.intervals import bootstrap
from ilf.metrics.types import MEAN_R, Estimate, Evaluation, TaskCounts
from ilf.records import Task, Verdict

Metric = int | Literal["mean R"] | None
"""What models are compared by: pass@k, mean R, or None for "1+ correct"."""


def pass_at_k(n: int, c: int, k: int) -> float:
    """Chance that at least one of k samples passes, unbiased from n samples of which c pass.

    1 − C(n−c, k) / C(n, k) (Chen et al. 2021, section 2.1; the paper's section 3), as a product so that no
    binomial coefficient overflows.

    Raises:
        UserError: k > n (the estimator would say 1.0 whatever happened), or c is not between 0 and n.
    """
    if k < 1:
        raise UserError(f"pass@{k}: k must be at least 1")
    if k > n:
        raise UserError(
            f"pass@{k} needs at least {k} samples a task, but there are {n}: sample more or lower k"
        )
    if not 0 <= c <= n:
        raise UserError(f"pass@{k}: {c} correct samples of {n} is impossible")
    if n - c < k:
        return 1.0
    return 1.0 - math.prod(1.0 - k / i for i in range(n - c + 1, n + 1))


def count(tasks: Sequence[Task], verdicts: Iterable[Verdict]) -> list[TaskCounts]:
    """Counts per task, in the order of `tasks`; a task without a verdict counts with n = 0.

    Raises:
        DataError: a verdict names a task that is not among `tasks`.
    """
    tallies = {task.task_id: _Tally(task) for task in tasks}
    for verdict in verdicts:
        if verdict.task_id not in tallies:
            raise DataError(
                f"a verdict names task {verdict.task_id!r}, which is not one of the {len(tallies)} tasks"
            )
        tallies[verdict.task_id].add(verdict)
    return [tallies[task.task_id].counts() for task in tasks]


class _Tally:
    """The counts of one task while its verdicts come."""

    def __init__(self, task: Task) -> None:
        self.task_id = task.task_id
        self.shown = {i for i, test in enumerate(task.tests) if test == task.shown}
        self.hidden = set(range(len(task.tests))) - self.shown
        self.n = self.passed = self.shown_passed = self.hidden_passed = self.unscored = 0
        self.rewards: list[float] = []

    def add(self, verdict: Verdict) -> None:
        if verdict.status in ("sandbox_error", "flaky"):
            self.unscored += 1
            return
        self.n += 1
        self.passed += verdict.passed
        self.shown_passed += _passes(verdict, self.shown)
        self.hidden_passed += _passes(verdict, self.hidden)
        if verdict.reward is not None:
            self.rewards.append(verdict.reward)

    def counts(self) -> TaskCounts:
        return TaskCounts(
            task_id=self.task_id,
            n=self.n,
            passed=self.passed,
            shown_passed=self.shown_passed if self.shown else None,
            hidden_passed=self.hidden_passed if self.hidden else None,
            unscored=self.unscored,
            rewards=tuple(self.rewards),
        )


def _passes(verdict: Verdict, which: set[int]) -> bool:
    """Whether a program passes all of these tests."""
    tests = verdict.tests
    return verdict.passed or (bool(tests) and all(i < len(tests) and tests[i] is True for i in which))


def evaluate(
    tasks: Sequence[TaskCounts],
    *,
    split: str,
    temperature: float,
    n: int,
    ks: Sequence[int] = (1, 10),
    seed: int = 0,
) -> Evaluation:
    """pass@k for every k of `ks`, "1+ correct", mean R, and intervals by bootstrap over tasks.

    Every task is in the denominator. Unscored samples are in no rate; where they leave a task with fewer than
    k samples, that k is refused with the reason instead of being averaged over the tasks that happen to have
    enough.

    Raises:
        UserError: no tasks, or k > `n`.
    """
    if not tasks:
        raise UserError(f"no tasks to evaluate in split {split!r}")
    pass_at: dict[int, Estimate] = {}
    refused: dict[int, str] = {}
    for k in sorted(set(ks)):
        if k > n:
            pass_at_k(n, 0, k)
        short = next((task for task in tasks if task.n < k), None)
        if short is not None:
            refused[k] = (
                f"task {short.task_id} has {short.n} scored samples ({short.unscored} unscored), "
                f"fewer than {k}"
            )
        else:
            pass_at[k] = bootstrap([pass_at_k(t.n, t.passed, k) for t in tasks], seed=seed, unit=True)
    shown = [t.shown_passed / t.n for t in tasks if t.shown_passed is not None and t.n]
    hidden = [t.hidden_passed / t.n for t in tasks if t.hidden_passed is not None and t.n]
    return Evaluation(
        split=split,
        temperature=temperature,
        n=n,
        tasks=tuple(tasks),
        pass_at=pass_at,
        solved=bootstrap([float(t.passed > 0) for t in tasks], seed=seed, unit=True),
        shown_pass_at_1=bootstrap(shown, seed=seed, unit=True) if shown else None,
        hidden_pass_at_1=bootstrap(hidden, seed=seed, unit=True) if hidden else None,
        only_shown=sum(t.shown_passed - t.passed for t in tasks if t.shown_passed is not None),
        unscored=sum(t.unscored for t in tasks),
        refused=refused,
        reward=bootstrap([fmean(t.rewards) for t in tasks], seed=seed, unit=True)
        if all(t.rewards for t in tasks)
        else None,
    )


def per_task(evaluation: Evaluation, k: Metric) -> dict[str, float]:
    """pass@k of each task by its id; `k` None gives 1.0 where any sample passes ("1+ correct"), or mean R."""
    if k == MEAN_R:
        if evaluation.reward is None:
            raise UserError(f"{MEAN_R} is not to be had: tests decide on some of the tasks")
        return {task.task_id: fmean(task.rewards) for task in evaluation.tasks}
    if k is None:
        return {task.task_id: float(task.passed > 0) for task in evaluation.tasks}
    if k in evaluation.refused:
        raise UserError(f"pass@{k} is not to be had: {evaluation.refused[k]}")
    return {task.task_id: pass_at_k(task.n, task.passed, k) for task in evaluation.tasks}
