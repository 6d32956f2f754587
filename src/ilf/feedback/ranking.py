"""Which of a task's wrong programs feedback is about: the one that looks easiest to fix (section 3)."""

from __future__ import annotations

import ast
from collections.abc import Sequence

from ilf.metrics import edit_distance
from ilf.records import Program, Verdict

_OTHERS = 20
"""A sample of the others is enough to tell an outlier, and keeps this linear."""
_COMPARED = 4000
"""Characters of a program that count for its distance to others."""
# How near to giving an answer: it ran and answered wrongly, it raised, it ran into a limit, it never ran.
_NEAR = {"failed": 4, "flaky": 4, "error": 3, "timeout": 2, "memory": 1, "killed": 1, "no_code": 0}


def passed_share(verdict: Verdict) -> float:
    """Share of the task's tests that passed, from 0 to 1; a test that never ran did not. R, without tests."""
    if verdict.reward is not None:
        return verdict.reward
    return sum(result is True for result in verdict.tests) / max(1, len(verdict.tests))


def parsed_share(code: str) -> float:
    """Share of a program's lines before its first syntax error: 1 where it parses."""
    try:
        ast.parse(code)
    except SyntaxError as error:
        lines = code.count("\n") + 1
        return min(max((error.lineno or 1) - 1, 0) / lines, 0.99)
    except (ValueError, MemoryError, RecursionError):
        return 0.0
    return 1.0


def rank(pairs: Sequence[tuple[Program, Verdict]], most: int | None = None) -> list[tuple[Program, Verdict]]:
    """The distinct programs of one task, easiest to fix first.

    Ordered by share of tests passed, then by how near to parsing and running, then by mean edit distance to
    the others (what most samples agree on is nearer to what the model can do).

    Args:
        pairs: wrong programs of one task with their verdicts; copies and `sandbox_error`s are passed over.
        most: how many to keep; all by default.
    """
    distinct: dict[str, tuple[Program, Verdict]] = {}
    for program, verdict in pairs:
        if verdict.status not in ("passed", "sandbox_error"):
            distinct.setdefault(program.code.strip(), (program, verdict))
    kept = list(distinct.values())
    codes = [program.code[:_COMPARED] for program, _ in kept]

    def order(index: int) -> tuple[float, float, int, float, int]:
        program, verdict = kept[index]
        apart = sum(edit_distance(codes[index], other) for other in codes[:_OTHERS]) / max(
            1, len(codes[:_OTHERS])
        )
        return (
            -passed_share(verdict),
            -parsed_share(program.code),
            -_NEAR.get(verdict.status, 0),
            apart,
            index,
        )

    return [kept[index] for index in sorted(range(len(kept)), key=order)][:most]
