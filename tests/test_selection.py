import pytest
from hypothesis import given
from hypothesis import strategies as st

from ilf.errors import ConfigError, DataError
from ilf.records import Refinement, Task, Verdict
from ilf.selection import STRATEGIES, accepted, distinct, normal_form, select

TASKS = {
    name: Task(task_id=name, description="d", entry_point="f", tests=("assert f(1) == 1", "assert f(2) == 2"))
    for name in "abc"
}


def refinement(task, code, status="passed", tests=(True, True), distance=1):
    verdict = Verdict(task_id=task, program_id="p", status=status, tests=tests)
    return Refinement(
        feedback_id="f" + task, task_id=task, code=code, verdict=verdict, edit_distance=distance
    )


POOL = [
    refinement("a", "def f(x):\n    return x\n", distance=9),
    refinement("a", "def f(x):\n    # same\n    return  x\n", distance=3),
    refinement("a", "def f(x):\n    return 0 + x\n", distance=5),
    refinement("a", "def f(x):\n    return 1\n", "failed", (True, False)),
    refinement("b", "def f(y):\n    return y * 1\n"),
    refinement("c", "def f(x):\n    return x\n", "sandbox_error", ()),
]


def test_only_what_passes_is_kept_and_the_paper_keeps_one_a_task():
    kept = select(POOL, TASKS, "random", seed=3)
    assert [r.task_id for r in kept] == ["a", "b"]
    assert all(r.verdict.passed for r in kept)


def test_random_depends_on_the_seed_and_not_on_other_tasks():
    alone = [r for r in POOL if r.task_id == "a"]
    chosen = {select(alone, TASKS, seed=s)[0].code for s in range(20)}
    assert len(chosen) == 2  # two programs that differ in more than comments
    for s in range(5):
        assert (
            select(POOL, TASKS, seed=s)[0]
            == select(alone, TASKS, seed=s)[0]
            == select(POOL, TASKS, seed=s)[0]
        )


def test_all_keeps_each_program_once():
    assert [r.code for r in select(POOL, TASKS, "all")] == [POOL[0].code, POOL[2].code, POOL[4].code]


def test_nearest_takes_the_smallest_edit_among_distinct_programs():
    assert select(POOL, TASKS, "nearest")[0] is POOL[2]


def test_likeliest_needs_scores_and_uses_them():
    with pytest.raises(ConfigError, match="log-probabilities"):
        select(POOL, TASKS, "likeliest")
    scores = {r.refinement_id: score for r, score in zip(POOL, [-0.1, -9, -0.2, 0, -1, 0])}
    assert select(POOL, TASKS, "likeliest", scores=scores)[0] is POOL[0]


def test_diverse_takes_what_is_least_like_the_rest():
    same = refinement("b", "def f(x):\n    return x\n")
    other = refinement("b", "def f(number):\n    for value in [number]:\n        return value\n")
    first = refinement("a", "def f(x):\n    return x\n")
    assert select([first, same, other], TASKS, "diverse") == [first, other]


def test_gate_shown_keeps_what_passes_the_shown_test_only():
    kept = select([POOL[3]], TASKS, gate="shown")
    assert kept == [POOL[3]]
    assert not accepted(POOL[3], TASKS["a"], "all")
    assert not accepted(POOL[5], TASKS["c"], "shown")  # no verdict is not a pass
    second = TASKS["a"].model_copy(update={"example": "assert f(2) == 2"})
    assert not accepted(POOL[3], second, "shown")


def test_a_task_whose_refinements_stand_apart_is_refused():
    with pytest.raises(DataError, match="task 'a' do not stand together"):
        select([POOL[0], POOL[4], POOL[2]], TASKS)


def test_an_unknown_strategy_lists_the_known():
    with pytest.raises(ConfigError, match=", ".join(STRATEGIES)):
        select(POOL, TASKS, "luckiest")


def test_normal_form_ignores_comments_docstrings_and_layout_only():
    one = 'def f(x):\n    """Doc."""\n    return (x)  # c\n'
    assert normal_form(one) == normal_form("def f( x ):\n        return x\n")
    assert normal_form(one) != normal_form("def f(y):\n    return y\n")
    assert normal_form('def f():\n    "only a docstring"\n') == normal_form("def f():\n    pass\n")


@given(st.text())
def test_normal_form_never_raises_and_settles(text):
    once = normal_form(text)
    assert normal_form(once) == normal_form(normal_form(once))


def test_distinct_is_per_task():
    assert (
        len(distinct([refinement("a", "x = 1"), refinement("b", "x = 1"), refinement("a", "x  =  1")])) == 2
    )
