"""What the results mean: pass@k, intervals, paired tests, edit distance, perplexity, KL, weights.

Every function here is small, takes plain numbers, and says where it comes from. Rates are shares between 0
and 1 (reports multiply by 100), log-probabilities are in nats, intervals hold 95% unless said otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from statistics import NormalDist
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field

from ilf.errors import DataError, UserError
from ilf.records import Task, Verdict

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

RESAMPLES = 10_000
"""Bootstrap resamples and random sign flips: an interval's ends move by about 0.1 points between seeds."""
CONFIDENCE = 0.95


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")


class Estimate(_Frozen):
    """A number with its 95% interval."""

    value: float
    low: float
    high: float


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
    effect: float
    """Cohen's d_z: the mean difference over its standard deviation between tasks; 0 where nothing differs."""
    better: int
    worse: int
    same: int
    detectable: float | None
    """Smallest true difference found with 80% power at this noise; None where nothing differs."""

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


# --- pass@k -----------------------------------------------------------------------------------------------


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

    def add(self, verdict: Verdict) -> None:
        if verdict.status in ("sandbox_error", "flaky"):
            self.unscored += 1
            return
        self.n += 1
        self.passed += verdict.passed
        self.shown_passed += _passes(verdict, self.shown)
        self.hidden_passed += _passes(verdict, self.hidden)

    def counts(self) -> TaskCounts:
        return TaskCounts(
            task_id=self.task_id,
            n=self.n,
            passed=self.passed,
            shown_passed=self.shown_passed if self.shown else None,
            hidden_passed=self.hidden_passed if self.hidden else None,
            unscored=self.unscored,
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
    """pass@k for every k of `ks`, "1+ correct", and intervals by bootstrap over tasks.

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
    )


def per_task(evaluation: Evaluation, k: int | None) -> dict[str, float]:
    """pass@k of each task by its id; `k` None gives 1.0 where any sample passes ("1+ correct")."""
    if k is None:
        return {task.task_id: float(task.passed > 0) for task in evaluation.tasks}
    if k in evaluation.refused:
        raise UserError(f"pass@{k} is not to be had: {evaluation.refused[k]}")
    return {task.task_id: pass_at_k(task.n, task.passed, k) for task in evaluation.tasks}


# --- intervals and tests ----------------------------------------------------------------------------------


def bootstrap(
    values: ArrayLike,
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
    unit: bool = False,
    bound: float | None = None,
) -> Estimate:
    """Mean of `values` with its 95% percentile bootstrap interval over tasks (and seeds).

    Args:
        values: per task, shape (tasks,), or per seed and task, shape (seeds, tasks). With more than one seed,
            tasks and seeds are resampled independently (Owen 2007, the "pigeonhole" bootstrap).
        seed: of the resampling.
        resamples: how many.
        unit: the values are shares between 0 and 1.
        bound: largest absolute value possible; 1 where `unit`. Used where all values are equal: the bootstrap
            would then claim certainty, and the exact bound for "none of T tasks" takes its place
            (1 − 0.025^(1/T), Clopper and Pearson 1934).

    Raises:
        UserError: no values.
    """
    import numpy as np

    table = np.atleast_2d(np.asarray(values, dtype=float))
    tasks = table.shape[1]
    if table.size == 0:
        raise UserError("an interval needs at least one value")
    mean = float(table.mean())
    bound = 1.0 if unit else bound
    if np.ptp(table) == 0:
        slack = 0.0 if bound is None else bound * (1.0 - ((1 - CONFIDENCE) / 2) ** (1.0 / tasks))
        low, high = mean - slack, mean + slack
    else:
        rng = np.random.default_rng(seed)
        means = np.concatenate(list(_resampled(table, rng, resamples)))
        low, high = (float(end) for end in np.quantile(means, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2]))
    if unit:
        low, high = max(low, 0.0), min(high, 1.0)
    return Estimate(value=mean, low=low, high=high)


def _resampled(
    table: NDArray[np.float64], rng: np.random.Generator, resamples: int
) -> Iterable[NDArray[np.float64]]:
    """Means of bootstrap resamples, in chunks that keep memory under about 64 MB."""
    import numpy as np

    seeds, tasks = table.shape
    chunk = max(1, 4_000_000 // (tasks * seeds))
    for start in range(0, resamples, chunk):
        size = min(chunk, resamples - start)
        picked = table[:, rng.integers(0, tasks, (size, tasks))].mean(axis=2)  # (seeds, size)
        if seeds == 1:
            yield picked[0]
        else:
            yield picked[rng.integers(0, seeds, (size, seeds)), np.arange(size)[:, None]].mean(axis=1)


def permutation_p(differences: ArrayLike, *, seed: int = 0, resamples: int = RESAMPLES) -> float:
    """Two-sided p of a mean difference under random signs (Fisher's paired randomisation test).

    Exact where at most 13 differences are not zero; else from `resamples` random sign flips, the observed one
    counted among them, so that p is never 0.

    Args:
        differences: b − a per task, shape (tasks,).
        seed: of the flips.
        resamples: how many random flips.
    """
    import numpy as np

    moved = np.asarray(differences, dtype=float).ravel()
    moved = moved[moved != 0]
    if moved.size == 0:
        return 1.0
    observed = abs(moved.sum()) - 1e-9
    if moved.size <= 13:
        signs = 1 - 2 * ((np.arange(2**moved.size)[:, None] >> np.arange(moved.size)) & 1)
        return float(np.mean(np.abs(signs @ moved) >= observed))
    rng = np.random.default_rng(seed)
    hits = 0
    chunk = max(1, 4_000_000 // moved.size)
    for start in range(0, resamples, chunk):
        size = min(chunk, resamples - start)
        flips = rng.choice(np.array([-1.0, 1.0]), (size, moved.size))
        hits += int(np.sum(np.abs(flips @ moved) >= observed))
    return (hits + 1) / (resamples + 1)


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values corrected for being looked at together, in the order given (Holm 1979)."""
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    corrected = [0.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = largest
    return corrected


def detectable(deviation: float, tasks: int, *, power: float = 0.8, level: float = 0.05) -> float:
    """Smallest true mean difference that a two-sided paired test finds with `power` (normal approximation).

    Args:
        deviation: standard deviation of the per-task differences.
        tasks: how many tasks.
        power: chance of finding it.
        level: of the test.
    """
    normal = NormalDist()
    return (normal.inv_cdf(1 - level / 2) + normal.inv_cdf(power)) * deviation / math.sqrt(tasks)


def compare(
    a: Sequence[Evaluation],
    b: Sequence[Evaluation],
    *,
    names: tuple[str, str] = ("before", "after"),
    k: int | None = 1,
    seed: int = 0,
) -> Comparison:
    """Model b against model a on the same tasks, one `Evaluation` a seed (as many for b as for a).

    The interval is a bootstrap over tasks and, with several seeds, over seeds; the test flips the signs of
    the tasks' differences averaged over seeds. `k` None compares "1+ correct".

    Raises:
        UserError: the tasks differ, or the numbers of seeds do.
    """
    import numpy as np

    if not a or len(a) != len(b):
        raise UserError(f"a paired comparison needs as many seeds on both sides, got {len(a)} and {len(b)}")
    ids = [task.task_id for task in a[0].tasks]
    table = []
    for left, right in zip(a, b, strict=True):
        x, y = per_task(left, k), per_task(right, k)
        if x.keys() != set(ids) or y.keys() != set(ids):
            odd = sorted((x.keys() ^ y.keys()) | (x.keys() ^ set(ids)))
            raise UserError(f"a paired comparison needs the same tasks on both sides; only on one: {odd[0]}")
        table.append([y[i] - x[i] for i in ids])
    differences = np.asarray(table)
    by_task = differences.mean(axis=0)
    deviation = float(by_task.std(ddof=1)) if len(ids) > 1 else 0.0
    mean = float(by_task.mean())
    return Comparison(
        a=names[0],
        b=names[1],
        metric="1+ correct" if k is None else f"pass@{k}",
        tasks=len(ids),
        samples=min(evaluation.n for evaluation in (*a, *b)),
        seeds=len(a),
        difference=bootstrap(differences, seed=seed, bound=1.0),
        p=permutation_p(by_task, seed=seed),
        effect=mean / deviation if deviation > 0 else 0.0,
        better=int(np.sum(by_task > 0)),
        worse=int(np.sum(by_task < 0)),
        same=int(np.sum(by_task == 0)),
        detectable=detectable(deviation, len(ids)) if deviation > 0 else None,
    )


def with_holm(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """The comparisons with `p_holm` filled in, corrected for being made together."""
    corrected = holm([comparison.p for comparison in comparisons])
    return [c.model_copy(update={"p_holm": p}) for c, p in zip(comparisons, corrected, strict=True)]


# --- programs and models ----------------------------------------------------------------------------------


def edit_distance(a: str, b: str) -> int:
    """Levenshtein distance in characters."""
    from rapidfuzz.distance import Levenshtein

    return Levenshtein.distance(a, b)


def relative_edit_distance(a: str, b: str) -> float:
    """Levenshtein distance over the longer length (0 to 1); the paper keeps refinements under 0.5."""
    return edit_distance(a, b) / max(len(a), len(b), 1)


def perplexity(logprob: float, tokens: int) -> float:
    """exp(−log p / tokens) of a text of `tokens` tokens whose log-probabilities sum to `logprob` nats."""
    if tokens < 1:
        raise UserError("the perplexity of a text without tokens is not defined")
    # Past this a float overflows; such a text is "impossible" all the same.
    return math.exp(min(-logprob / tokens, 700.0))


def kl_categorical(p: ArrayLike, q: ArrayLike) -> float:
    """KL(p, q) = Σ p log(p/q) of two distributions over the same outcomes, shape (outcomes,), in nats."""
    import numpy as np

    p, q = np.asarray(p, dtype=float), np.asarray(q, dtype=float)
    support = p > 0
    if np.any(q[support] == 0):
        return math.inf
    return float(np.sum(p[support] * np.log(p[support] / q[support])))


def mean_by_group(values: ArrayLike, groups: Sequence[str], *, seed: int = 0) -> Estimate:
    """Mean over groups (tasks) of their samples' means, with its bootstrap interval over groups.

    Args:
        values: one a sample, shape (samples,).
        groups: task of each sample.
        seed: of the bootstrap.
    """
    import numpy as np

    sums: dict[str, list[float]] = {}
    for group, value in zip(groups, np.asarray(values, dtype=float), strict=True):
        sums.setdefault(group, []).append(float(value))
    return bootstrap([sum(found) / len(found) for found in sums.values()], seed=seed)


def kl_samples(
    logprob_p: ArrayLike, logprob_q: ArrayLike, *, groups: Sequence[str] = (), seed: int = 0
) -> Estimate:
    """KL(p, q) estimated from samples of p: the mean of log p(x) − log q(x), in nats a sample.

    Unbiased; a small negative value means "near 0". The interval is a bootstrap over groups (tasks), whose
    samples are averaged first, or over samples where there are no groups.

    Args:
        logprob_p: log p of each sample under the model that wrote it, shape (samples,).
        logprob_q: log q of the same texts under the other model, shape (samples,).
        groups: task of each sample.
        seed: of the bootstrap.
    """
    import numpy as np

    ratio = np.asarray(logprob_p, dtype=float) - np.asarray(logprob_q, dtype=float)
    return mean_by_group(ratio, groups, seed=seed) if groups else bootstrap(ratio, seed=seed)


def importance_weights(
    rewards: Sequence[float],
    logprob_q: Sequence[float],
    *,
    beta: float = 1.0,
    clip: float | None = None,
    groups: Sequence[str] = (),
) -> list[float]:
    """Weights π*(x1) / q(x1) of samples from the proposal q, self-normalised to mean 1 (paper, equation 6).

    π*(x) ∝ exp(β·R(x, t)), so log w = β·R − log q + constant; the constant drops out. q is the refiner's
    probability of the sampled text given its prompt, which stands for the marginal over wrong programs and
    feedback. Sequence probabilities differ by many orders of magnitude: without clipping one sample often
    carries a whole task, which `effective_sample_size` shows.

    Args:
        rewards: R of each sample, shape (samples,).
        logprob_q: log q of each sample in nats, shape (samples,).
        beta: β, how strongly reward counts.
        clip: keeps a weight within [median / clip, median · clip] of its group before normalising (the
            median, because one huge weight is the mean); None leaves them.
        groups: task of each sample; normalised within each, as q is a distribution per task. Empty: one.

    Returns:
        One weight a sample; they average 1 within each group.
    """
    import numpy as np

    if not len(rewards) == len(logprob_q) == (len(groups) or len(rewards)):
        raise UserError("importance weights: rewards, log-probabilities and groups differ in length")
    if clip is not None and clip < 1:
        raise UserError(f"importance weights: clip must be at least 1, got {clip}")
    logs = beta * np.asarray(rewards, dtype=float) - np.asarray(logprob_q, dtype=float)
    members: dict[str, list[int]] = {}
    for index in range(len(rewards)):
        members.setdefault(groups[index] if groups else "", []).append(index)
    weights = np.zeros(len(rewards))
    for indices in members.values():
        group = logs[indices]
        if clip is not None:
            group = np.clip(group, np.median(group) - math.log(clip), np.median(group) + math.log(clip))
        group = np.exp(group - group.max())
        weights[indices] = group * (len(indices) / group.sum())
    return [float(weight) for weight in weights]


def effective_sample_size(weights: Sequence[float]) -> float:
    """(Σw)² / Σw²: how many equally weighted samples would be as good (Kish 1965)."""
    squares = math.fsum(w * w for w in weights)
    return math.fsum(weights) ** 2 / squares if squares > 0 else 0.0
