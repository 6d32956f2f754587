"""Which refinements become examples (paper section 3: one that passes, at random, a task)."""

from __future__ import annotations

import ast
import random
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import groupby

from ilf.errors import ConfigError, DataError
from ilf.metrics import edit_distance
from ilf.records import Program, Refinement, Task, Verdict


def accepted(refinement: Refinement, task: Task, gate: str = "all") -> bool:
    """Whether a refinement may be trained on.

    Args:
        refinement: with its verdict.
        task: its task.
        gate: `all`: every test passed; `shown`: the test shown in the prompt passed.
    """
    verdict = refinement.verdict
    if verdict is None or verdict.status == "sandbox_error":
        return False
    if verdict.passed or gate == "all":
        return verdict.passed
    shown = task.tests.index(task.shown) if task.shown in task.tests else 0
    return len(verdict.tests) > shown and verdict.tests[shown] is True


def own_correct(
    programs: Iterable[Program],
    verdicts: Iterable[Verdict],
    count: int,
    *,
    seed: int,
    exclude: Collection[str],
    per_task: int | None = None,
) -> list[tuple[str, str]]:
    """A model's own samples that pass (rejection sampling): one a task, then a second of each, and so on.

    Args:
        programs: its samples.
        verdicts: one each, in the same order.
        count: how many are wanted.
        seed: of the choice.
        exclude: ids of tasks that none is taken of.
        per_task: at most so many of one task.

    Returns:
        (task id, program), sorted; fewer than `count` where there are not so many different ones.
    """
    passing: dict[str, list[str]] = {}
    for program, verdict in zip(programs, verdicts, strict=True):
        if verdict.passed and program.task_id not in exclude:
            codes = passing.setdefault(program.task_id, [])
            if program.code not in codes:
                codes.append(program.code)
    order = sorted(passing)
    random.Random(f"{seed} self").shuffle(order)
    for task_id in order:
        random.Random(f"{seed} {task_id}").shuffle(passing[task_id])
    most = max(map(len, passing.values()), default=0)
    turns = range(most if per_task is None else min(most, per_task))
    return sorted([(t, passing[t][turn]) for turn in turns for t in order if turn < len(passing[t])][:count])


def normal_form(code: str) -> str:
    """A program without comments, docstrings and layout; programs with equal forms are the same program.

    Code that does not parse is its own form.
    """
    try:
        tree = ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return code
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            first = node.body[0] if node.body else None
            if (
                isinstance(first, ast.Expr)
                and isinstance(first.value, ast.Constant)
                and isinstance(first.value.value, str)
            ):
                node.body = node.body[1:] or [ast.Pass()]
    return ast.unparse(tree)


def distinct(refinements: Iterable[Refinement]) -> list[Refinement]:
    """The first of each normal form, a task."""
    seen: set[tuple[str, str]] = set()
    kept = []
    for refinement in refinements:
        key = (refinement.task_id, normal_form(refinement.code))
        if key not in seen:
            seen.add(key)
            kept.append(refinement)
    return kept


Scores = Mapping[str, float]
"""refinement_id → log-probability a token under πθ (nats), for `likeliest`."""

Strategy = Callable[[Sequence[Refinement], random.Random, Scores, Sequence[Refinement]], list[Refinement]]
"""(one task's candidates, generator, scores, refinements kept of earlier tasks) → the kept ones."""


def _random(
    candidates: Sequence[Refinement], rng: random.Random, scores: Scores, kept: Sequence[Refinement]
) -> list[Refinement]:
    return [rng.choice(candidates)]


def _all(
    candidates: Sequence[Refinement], rng: random.Random, scores: Scores, kept: Sequence[Refinement]
) -> list[Refinement]:
    return list(candidates)


def _nearest(
    candidates: Sequence[Refinement], rng: random.Random, scores: Scores, kept: Sequence[Refinement]
) -> list[Refinement]:
    return [min(candidates, key=lambda r: float("inf") if r.edit_distance is None else r.edit_distance)]


def _likeliest(
    candidates: Sequence[Refinement], rng: random.Random, scores: Scores, kept: Sequence[Refinement]
) -> list[Refinement]:
    return [max(candidates, key=lambda r: scores[r.refinement_id])]


def _diverse(
    candidates: Sequence[Refinement], rng: random.Random, scores: Scores, kept: Sequence[Refinement]
) -> list[Refinement]:
    def novelty(refinement: Refinement) -> float:
        return min(
            (
                edit_distance(refinement.code, other.code) / max(len(refinement.code), len(other.code), 1)
                for other in kept
            ),
            default=0.0,
        )

    return [max(candidates, key=novelty)]


def _best(
    candidates: Sequence[Refinement], rng: random.Random, scores: Scores, kept: Sequence[Refinement]
) -> list[Refinement]:
    def reward(refinement: Refinement) -> float:
        verdict = refinement.verdict
        return 0.0 if verdict is None else float(verdict.passed) if verdict.reward is None else verdict.reward

    most = max(map(reward, candidates))
    return [rng.choice([refinement for refinement in candidates if reward(refinement) == most])]


STRATEGIES: dict[str, Strategy] = {
    "random": _random,
    "all": _all,
    "nearest": _nearest,
    "likeliest": _likeliest,
    "diverse": _diverse,
    "best": _best,
}
"""`random` is the paper's; `likeliest` has the lowest perplexity under πθ; `diverse` is the one most unlike
what is kept of other tasks; `best` has the highest R(x, t), one of them at random (all that pass, where tests
decide)."""


def select(
    refinements: Iterable[Refinement],
    tasks: Mapping[str, Task],
    strategy: str = "random",
    *,
    seed: int = 0,
    gate: str = "all",
    scores: Scores | None = None,
) -> list[Refinement]:
    """The refinements that πθ is fine-tuned on.

    Args:
        refinements: samples of πRefine with verdicts, those on one task together (as a step writes them);
            duplicates by normal form are dropped first.
        tasks: by id.
        strategy: a name in `STRATEGIES`.
        seed: of the random choice.
        gate: which tests must pass (`accepted`).
        scores: needed by `likeliest`.

    Raises:
        ConfigError: unknown strategy, or `likeliest` without scores.
        DataError: the refinements on a task stand apart.
    """
    if strategy not in STRATEGIES:
        raise ConfigError(f"selection.strategy: {strategy!r} is unknown; known: {', '.join(STRATEGIES)}")
    if strategy == "likeliest" and scores is None:
        raise ConfigError("selection.strategy: likeliest needs log-probabilities under the model")
    usable = (r for r in refinements if accepted(r, tasks[r.task_id], gate))
    kept: list[Refinement] = []
    seen: set[str] = set()
    for task_id, candidates in groupby(usable, key=lambda r: r.task_id):
        if task_id in seen:
            raise DataError(f"the refinements on task {task_id!r} do not stand together: sort them by task")
        seen.add(task_id)
        # A generator a task: what one task offers does not change the choice for another.
        rng = random.Random(f"{seed} {task_id}")
        kept += STRATEGIES[strategy](distinct(candidates), rng, scores or {}, kept)
    return sorted(kept, key=lambda r: r.task_id)
