"""Metrics against independent computations: enumeration, simulation, closed forms, scipy."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ilf import metrics
from ilf.errors import DataError, UserError
from ilf.metrics import TaskCounts
from ilf.records import Task, Verdict


def counts(passed, n=10):
    return [TaskCounts(task_id=str(i), n=n, passed=c) for i, c in enumerate(passed)]


def evaluated(passed, n=10, ks=(1,)):
    return metrics.evaluate(counts(passed, n), split="test", temperature=0.8, n=n, ks=ks)


# --- pass@k


@given(st.integers(1, 9).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n), st.integers(1, n))))
def test_pass_at_k_is_the_share_of_subsets_with_a_correct_sample(case):
    n, c, k = case
    subsets = list(itertools.combinations(range(n), k))
    expected = sum(any(i < c for i in subset) for subset in subsets) / len(subsets)
    assert metrics.pass_at_k(n, c, k) == pytest.approx(expected, abs=1e-12)


@given(st.integers(1, 3000).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n), st.integers(1, n))))
def test_pass_at_k_is_stable_for_many_samples(case):
    n, c, k = case
    exact = 1 - math.comb(n - c, k) / math.comb(n, k)
    assert metrics.pass_at_k(n, c, k) == pytest.approx(exact, abs=1e-9)


def test_pass_at_k_refuses_more_than_there_are():
    with pytest.raises(UserError, match=r"pass@10 needs at least 10 samples a task, but there are 9"):
        metrics.pass_at_k(9, 0, 10)
    with pytest.raises(UserError, match="pass@10"):
        evaluated([0, 1], n=9, ks=(1, 10))
    with pytest.raises(UserError, match="impossible"):
        metrics.pass_at_k(3, 4, 1)


# --- counting verdicts


def verdict(task_id, status, tests=()):
    return Verdict(task_id=task_id, program_id="p", status=status, tests=tests)


TASK = Task(task_id="1", description="", entry_point="f", tests=("assert f(1) == 1", "assert f(2) == 2"))


def test_sandbox_failures_are_no_wrong_programs_and_every_task_counts():
    other = TASK.model_copy(update={"task_id": "2"})
    rows = [
        verdict("1", "passed", (True, True)),
        verdict("1", "failed", (True, False)),
        verdict("1", "failed", (False, True)),
        verdict("1", "timeout", (None, None)),
        verdict("1", "sandbox_error"),
    ]
    first, second = metrics.count([TASK, other], rows)
    assert (first.n, first.passed, first.unscored) == (4, 1, 1)
    assert (first.shown_passed, first.hidden_passed) == (2, 2)
    assert (second.n, second.passed) == (0, 0)
    result = metrics.evaluate([first, second], split="s", temperature=0.8, n=5, ks=(1, 4))
    assert result.pass_at == {} and "task 2 has 0 scored samples" in result.refused[1]
    assert result.solved.value == 0.5
    assert result.unscored == 1 and result.only_shown == 1


def test_a_verdict_for_an_unknown_task_is_named():
    with pytest.raises(DataError, match="'9'"):
        metrics.count([TASK], [verdict("9", "passed")])


def test_an_evaluation_survives_json():
    result = evaluated([0, 3, 10], ks=(1, 5))
    assert metrics.Evaluation.model_validate_json(result.model_dump_json()) == result


# --- intervals


def test_evaluate_averages_over_all_tasks():
    result = evaluated([0, 5, 10], ks=(1, 10))
    assert result.pass_at[1].value == pytest.approx(0.5)
    assert result.pass_at[10].value == pytest.approx(2 / 3)
    assert result.solved.value == pytest.approx(2 / 3)
    assert result.pass_at[1].low <= 0.5 <= result.pass_at[1].high


def test_bootstrap_agrees_with_scipy():
    from scipy import stats

    values = np.random.default_rng(0).beta(0.4, 2, 60)
    other = stats.bootstrap((values,), np.mean, method="percentile", n_resamples=20_000, rng=1)
    ours = metrics.bootstrap(values)
    assert ours.low == pytest.approx(other.confidence_interval.low, abs=0.004)
    assert ours.high == pytest.approx(other.confidence_interval.high, abs=0.004)


def test_intervals_cover_the_truth_about_95_times_in_100():
    rng = np.random.default_rng(7)
    rates = rng.beta(0.5, 1.5, 100_000)
    truth = rates.mean()
    hits = 0
    for trial in range(400):
        tasks = rng.choice(rates, 80)
        values = rng.binomial(10, tasks) / 10
        interval = metrics.bootstrap(values, seed=trial, resamples=1000, unit=True)
        hits += interval.low <= truth <= interval.high
    # 95% nominal; 400 trials have a standard error of 1.1 points.
    assert 0.915 <= hits / 400 <= 0.985


def test_seed_noise_widens_the_interval():
    rng = np.random.default_rng(3)
    tasks = rng.normal(0, 0.1, 50)
    seeds = np.array([-0.2, 0.0, 0.2])[:, None]
    both = metrics.bootstrap(seeds + tasks)
    alone = metrics.bootstrap(np.tile(tasks, (3, 1)))
    assert both.high - both.low > 2 * (alone.high - alone.low)


def test_two_way_intervals_cover():
    rng = np.random.default_rng(11)
    hits = 0
    for trial in range(300):
        table = rng.normal(0, 0.1, (8, 1)) + rng.normal(0, 0.3, (1, 40)) + rng.normal(0, 0.2, (8, 40))
        interval = metrics.bootstrap(table, seed=trial, resamples=600)
        hits += interval.low <= 0 <= interval.high
    assert hits / 300 >= 0.90


def test_no_passes_is_not_certainty():
    nothing = metrics.bootstrap([0.0] * 50, unit=True)
    assert nothing.value == 0 and nothing.low == 0
    from scipy import stats

    exact = stats.binomtest(0, 50).proportion_ci(0.95, "exact").high
    assert nothing.high == pytest.approx(exact)
    everything = metrics.bootstrap([1.0] * 50, unit=True)
    assert everything.high == 1 and everything.low == pytest.approx(1 - exact)


def test_large_tables_are_resampled_in_chunks():
    values = np.random.default_rng(0).random(10_000)
    estimate = metrics.bootstrap(values, resamples=900)
    assert estimate.high - estimate.low == pytest.approx(2 * 1.96 * values.std() / 100, rel=0.15)


# --- paired tests


@given(st.lists(st.sampled_from([-0.4, -0.1, 0.0, 0.1, 0.3]), min_size=1, max_size=9))
def test_permutation_p_by_enumeration(differences):
    observed = abs(sum(differences))
    flips = list(itertools.product([-1, 1], repeat=len(differences)))
    expected = sum(
        abs(sum(s * d for s, d in zip(f, differences, strict=True))) >= observed - 1e-9 for f in flips
    )
    assert metrics.permutation_p(differences) == pytest.approx(expected / len(flips))


def test_permutation_p_agrees_with_scipy():
    from scipy import stats

    differences = np.random.default_rng(5).normal(0.06, 0.2, 60)
    other = stats.permutation_test(
        (differences, np.zeros(60)), lambda x, y: np.mean(x - y), permutation_type="samples", rng=0
    )
    assert metrics.permutation_p(differences) == pytest.approx(other.pvalue, abs=0.012)


def test_permutation_test_keeps_its_level():
    rng = np.random.default_rng(2)
    p_values = [metrics.permutation_p(rng.normal(0, 1, 30), seed=i, resamples=400) for i in range(400)]
    assert 0.02 <= np.mean(np.array(p_values) <= 0.05) <= 0.085


def test_compare_pairs_tasks_by_id():
    a, b = evaluated([0, 2, 4, 6]), evaluated([1, 3, 5, 6])
    shuffled = b.model_copy(update={"tasks": b.tasks[::-1]})
    result = metrics.compare([a], [shuffled])
    assert result.difference.value == pytest.approx(0.075)
    assert (result.better, result.worse, result.same) == (3, 0, 1)
    assert result.effect == pytest.approx(0.075 / np.std([0.1, 0.1, 0.1, 0], ddof=1))
    assert result.p == pytest.approx(0.25)  # 2 of 8 sign patterns
    with pytest.raises(UserError, match="same tasks"):
        metrics.compare([a], [evaluated([1, 2, 3])])
    with pytest.raises(UserError, match="seeds"):
        metrics.compare([a], [b, b])


def test_identical_models_are_told_apart_by_nothing():
    a = evaluated([0, 2, 4])
    same = metrics.compare([a], [a])
    assert same.p == 1 and same.effect == 0 and same.detectable is None and "same on every one" in same.power
    assert same.difference.low < 0 < same.difference.high


def test_power_statement_matches_simulation():
    rng = np.random.default_rng(1)
    smallest = metrics.detectable(0.2, 80)
    found = sum(
        metrics.permutation_p(rng.normal(smallest, 0.2, 80), seed=i, resamples=300) <= 0.05
        for i in range(300)
    )
    assert 0.72 <= found / 300 <= 0.88


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_rejects_what_the_step_down_rule_rejects(p_values):
    corrected = metrics.holm(p_values)
    for level in (0.01, 0.05, 0.3):
        rejected = set()
        for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
            if (len(p_values) - rank) * p_values[index] > level:
                break
            rejected.add(index)
        assert {i for i, p in enumerate(corrected) if p <= level} == rejected


# --- programs and models


@settings(max_examples=60)
@given(st.text("abc\n", max_size=12), st.text("abc\n", max_size=12))
def test_edit_distance_by_the_textbook_recursion(a, b):
    table = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        previous, table[0] = table[0], i
        for j, y in enumerate(b, 1):
            previous, table[j] = table[j], min(table[j] + 1, table[j - 1] + 1, previous + (x != y))
    assert metrics.edit_distance(a, b) == table[-1]
    assert 0 <= metrics.relative_edit_distance(a, b) <= 1


def test_perplexity_of_a_uniform_model_is_its_vocabulary():
    assert metrics.perplexity(7 * math.log(1 / 50), 7) == pytest.approx(50)
    with pytest.raises(UserError):
        metrics.perplexity(0.0, 0)


def test_kl_from_samples_meets_the_closed_form():
    rng = np.random.default_rng(0)
    p, q = rng.dirichlet(np.ones(6)), rng.dirichlet(np.ones(6))
    exact = metrics.kl_categorical(p, q)
    assert exact == pytest.approx(sum(a * math.log(a / b) for a, b in zip(p, q, strict=True)))
    drawn = rng.choice(6, 20_000, p=p)
    estimate = metrics.kl_samples(np.log(p[drawn]), np.log(q[drawn]))
    assert estimate.low < exact < estimate.high
    assert estimate.value == pytest.approx(exact, abs=0.05)
    assert metrics.kl_categorical([1, 0], [0, 1]) == math.inf
    assert metrics.kl_categorical([1, 0], [0.5, 0.5]) == pytest.approx(math.log(2))


def test_kl_averages_within_tasks_first():
    estimate = metrics.kl_samples([1.0, 1.0, 1.0, 0.0], [0.0, 0.0, 0.0, 0.0], groups=["a", "a", "a", "b"])
    assert estimate.value == pytest.approx(0.5)


def test_importance_weights_recover_the_target():
    # Samples of q, weighted, must average like samples of pi* ∝ exp(beta R).
    rng = np.random.default_rng(4)
    q = np.array([0.5, 0.3, 0.15, 0.05])
    reward = np.array([0.0, 1.0, 0.0, 1.0])
    target = np.exp(2.0 * reward)
    target /= target.sum()
    drawn = rng.choice(4, 40_000, p=q)
    weights = np.array(metrics.importance_weights(reward[drawn], np.log(q[drawn]), beta=2.0))
    assert weights.mean() == pytest.approx(1)
    for outcome in range(4):
        assert weights[drawn == outcome].sum() / weights.sum() == pytest.approx(target[outcome], abs=0.01)


def test_importance_weights_by_group_and_clipped():
    free = metrics.importance_weights([1, 1, 1, 1], [-1.0, -9.0, -500.0, -2.0], groups=["a", "a", "b", "c"])
    assert free[2:] == [1.0, 1.0] and free[0] + free[1] == pytest.approx(2) and free[1] > 1.99
    clipped = metrics.importance_weights([1] * 10, [-800.0] + [-2.0] * 9, clip=3)
    assert max(clipped) / sorted(clipped)[-2] == pytest.approx(3) and sum(clipped) == pytest.approx(10)
    assert metrics.effective_sample_size(clipped) > 7
    with pytest.raises(UserError):
        metrics.importance_weights([1], [1.0, 2.0])
    with pytest.raises(UserError):
        metrics.importance_weights([1], [1.0], clip=0.5)


@given(st.lists(st.floats(0.01, 100), min_size=1, max_size=20))
def test_effective_sample_size_is_between_one_and_n(weights):
    size = metrics.effective_sample_size(weights)
    assert 1 - 1e-9 <= size <= len(weights) + 1e-9
    assert metrics.effective_sample_size([2.0] * 7) == pytest.approx(7)
