"""Which tasks to ask people about, where they cannot be asked about all: by expected gain.

A text is worth more where the program is near to passing (a refiner can follow it), where the failure is
like those of other tasks (what is learnt carries over), and where the model's samples disagree (it is not
sure of its mistake). Tasks are taken one at a time, and a failure that those taken are like counts for less.
"""

from __future__ import annotations

import ast
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log, sqrt

from ilf.feedback.case import Case
from ilf.feedback.mistakes import mistakes
from ilf.feedback.ranking import parsed_share, passed_share
from ilf.feedback.words import traits
from ilf.records import Program, Task, Verdict
from ilf.syntax import try_parse

Pair = tuple[Program, Verdict]


@dataclass(frozen=True)
class Failure:
    """What of a task's failure counts for asking about it."""

    task_id: str
    nearness: float
    """How near to passing its program is, from 0 to 1."""
    disagreement: float
    """Entropy of what its samples do, as a share of the largest possible, from 0 to 1."""
    kind: str
    """Of mistake, or the exception, or the status."""
    shape: frozenset[str]
    """What the failing test is like (`words.traits`)."""
    code: Mapping[str, int]
    """Counts of the pairs of a node and its child in the syntax tree: an embedding of the program."""


@dataclass(frozen=True)
class Ranked:
    """A task with the reason for its place."""

    failure: Failure
    gain: float
    """Expected, when its turn came; in arbitrary units."""
    like: int
    """Tasks whose failure is of the same kind, its own included: what one rule might fix."""


def failure(task: Task, best: Pair, samples: Sequence[Verdict]) -> Failure:
    """The failure of one task.

    Args:
        task: that failed.
        best: the wrong program to say something about, with its verdict.
        samples: verdicts of all its samples.
    """
    program, verdict = best
    number = verdict.test
    test = task.tests[number] if number is not None and number < len(task.tests) else ""
    return Failure(
        task_id=task.task_id,
        nearness=(passed_share(verdict) + parsed_share(program.code) + (verdict.status == "failed")) / 3,
        disagreement=_entropy(samples),
        kind=kind_of(task, best),
        shape=frozenset(traits(test, task.entry_point)),
        code=embedding(program.code),
    )


def kind_of(task: Task, best: Pair) -> str:
    """The kind of mistake that a failure suggests, or else its exception or status."""
    program, verdict = best
    # Nobody trains on the choice itself, so that hidden tests may tell what kind of failure it is.
    suggested = mistakes(Case(task, program, verdict, hide_tests=False))
    return suggested[0].kind if suggested else (verdict.error or verdict.status).partition(":")[0]


def embedding(code: str) -> Counter[str]:
    """Counts of (node, child) pairs of the syntax tree; of words where it does not parse."""
    tree = try_parse(code)
    if tree is None:
        return Counter(code.split())
    return Counter(
        f"{type(node).__name__}/{type(child).__name__}"
        for node in ast.walk(tree)
        for child in ast.iter_child_nodes(node)
    )


def likeness(one: Failure, other: Failure) -> float:
    """How alike two failures are, from 0 to 1: their kind, the test's shape, the code."""
    both, either = one.shape & other.shape, one.shape | other.shape
    shape = len(both) / len(either) if either else 1.0
    return ((one.kind == other.kind) + shape + _cosine(one.code, other.code)) / 3


def rank(failures: Sequence[Failure]) -> list[Ranked]:
    """All failures, the most worth asking about first.

    The gain of the next one is its (1 + nearness + disagreement) times what it adds to the likeness of every
    failure to the nearest one taken: common kinds come first, and not again and again.
    """
    import numpy as np

    alike = np.array([[likeness(one, other) for other in failures] for one in failures])
    worth = np.array([1 + one.nearness + one.disagreement for one in failures])
    kinds = Counter(one.kind for one in failures)
    covered = np.zeros(len(failures))
    left, ranked = np.ones(len(failures), dtype=bool), list[Ranked]()
    while left.any():
        gains = worth * np.maximum(alike - covered, 0).sum(axis=1)
        # Where nothing is left to add, the nearest to passing comes first.
        best = int(np.argmax(np.where(left, np.round(gains, 9) + worth * 1e-9, -1.0)))
        ranked.append(Ranked(failures[best], float(gains[best]), kinds[failures[best].kind]))
        covered = np.maximum(covered, alike[best])
        left[best] = False
    return ranked


def at_random(failures: Sequence[Failure], seed: int) -> list[Failure]:
    """The same in a random order."""
    return random.Random(f"{seed} asking").sample(list(failures), len(failures))


def _entropy(samples: Sequence[Verdict]) -> float:
    seen = Counter((v.status, v.tests, v.actual, v.error) for v in samples if v.status != "sandbox_error")
    total = seen.total()
    if total < 2:
        return 0.0
    return -sum(count / total * log(count / total) for count in seen.values()) / log(total)


def _cosine(one: Mapping[str, int], other: Mapping[str, int]) -> float:
    if not one or not other:
        return float(one == other)
    dot = sum(count * other.get(name, 0) for name, count in one.items())
    return dot / sqrt(sum(c * c for c in one.values()) * sum(c * c for c in other.values()))
