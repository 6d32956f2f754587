"""What is measured: counts, estimates with intervals, evaluations, comparisons."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

MEAN_R: Literal["mean R"] = "mean R"
"""The metric of answers that a reward scores."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")


class Estimate(_Frozen):
    """A number with its 95% interval."""

    value: float
    low: float
    high: float


def columns(evaluations: Iterable[Evaluation]) -> list[str]:
    """The columns of a table of several evaluations: those that any of them has, pass@k by k."""
    found = {name for evaluation in evaluations for name in evaluation.columns}
    order = {MEAN_R: -2, "over the threshold": -1, "1+ correct": math.inf}
    return sorted(found, key=lambda name: order.get(name) or int(name.removeprefix("pass@")))


def points(difference: Estimate, sign: int = 1) -> str:
    """A difference of rates in words, `+3.1 points [+1.0, +5.2]`; with `sign` −1 the other way round."""
    low, high = sorted((sign * difference.low, sign * difference.high))
    return f"{100 * sign * difference.value:+.1f} points [{100 * low:+.1f}, {100 * high:+.1f}]"


class TaskCounts(_Frozen):
    """What came of one task's samples."""

    task_id: str
    n: int = Field(ge=0)
    """Samples with a verdict on the program (the sandbox's own failures are not among them)."""
    passed: int = Field(ge=0)
    """Samples that pass every test."""
    shown_passed: int | None = None
    """Samples that pass the test shown in the prompt; None where it is not one of the tests."""
    hidden_passed: int | None = None
    """Samples that pass every test that was not shown; None where there is none."""
    unscored: int = Field(default=0, ge=0)
    """Samples without a verdict: `sandbox_error` after its retries, or tests that disagree run to run."""
    rewards: tuple[float, ...] = ()
    """R(x, t) of each sample, where a reward decides instead of tests."""


class Evaluation(_Frozen):
    """A model on the tasks of a split."""

    split: str
    temperature: float
    n: int
    """Samples asked for, a task."""
    tasks: tuple[TaskCounts, ...]
    pass_at: dict[int, Estimate]
    """pass@k by k: the mean over all tasks of the unbiased estimate."""
    solved: Estimate
    """The paper's "1+ correct": share of tasks with at least one sample that passes."""
    shown_pass_at_1: Estimate | None = None
    hidden_pass_at_1: Estimate | None = None
    only_shown: int = 0
    """Samples that pass the shown test and then fail: what teaching to the test would raise."""
    unscored: int = 0
    """Samples without a verdict, over all tasks; they are in no rate."""
    refused: dict[int, str] = {}
    """k of `pass_at` that could not be computed, with the reason."""
    reward: Estimate | None = None
    """Mean R, where a reward decides on every task; then a sample that passes is one over the threshold."""

    @property
    def rates(self) -> dict[str, Estimate]:
        """What models are compared by, the first before all: mean R where a reward decides, else pass@k."""
        if self.reward is not None:
            return {MEAN_R: self.reward}
        return {f"pass@{k}": estimate for k, estimate in sorted(self.pass_at.items())}

    @property
    def columns(self) -> dict[str, Estimate | None]:
        """What a table says of it: the rates, refused ones without a number, and how often it succeeds."""
        if self.reward is not None:
            return {MEAN_R: self.reward, "over the threshold": self.pass_at.get(1)}
        ks = sorted({*self.pass_at, *self.refused})
        return {**{f"pass@{k}": self.pass_at.get(k) for k in ks}, "1+ correct": self.solved}


class Comparison(_Frozen):
    """Model `b` against model `a` on the same tasks."""

    a: str
    b: str
    metric: str
    tasks: int
    samples: int
    seeds: int = 1
    difference: Estimate
    """Mean over tasks of b − a."""
    p: float
    """Two-sided paired permutation test (signs of the tasks' differences flipped)."""
    p_holm: float | None = None
    """`p` corrected for the number of comparisons made together (Holm 1979)."""
    family: int | None = None
    """How many comparisons `p_holm` is corrected for."""
    effect: float
    """Cohen's d_z: the mean difference over its standard deviation between tasks; 0 where nothing differs."""
    better: int
    worse: int
    same: int
    detectable: float | None
    """Smallest true difference found with 80% power at this noise; None where nothing differs."""
    wins: Estimate | None = None
    """Of mean R: how often a sample of `b` has a higher R than one of `a` on the same task, ties half."""

    @property
    def power(self) -> str:
        """The power statement in words."""
        if self.detectable is None:
            return f"The two models did the same on every one of the {self.tasks} tasks."
        seeds = f" with each of {self.seeds} seeds" if self.seeds > 1 else ""
        return (
            f"With {self.tasks} tasks and {self.samples} samples a task{seeds}, a difference in "
            f"{self.metric} under {100 * self.detectable:.1f} points cannot be told from noise (80% power, "
            "5% level)."
        )
