"""Between rounds (Algorithm 1, line 5): what is carried on, when to stop, and which round was best.

The paper does one round and leaves the rest open. Here a round learns from all feedback and examples so far,
and whether the next one is worth its cost is decided on validation tasks, which are in no feedback, example
or test.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ilf.metrics import Comparison, Evaluation, points
from ilf.progress import say
from ilf.records import Example, Feedback
from ilf.runfolder import RoundFolder, RunFolder


@dataclass(frozen=True)
class Past:
    """What earlier rounds leave to the later ones."""

    teach: tuple[Feedback, ...] = ()
    """Feedback on the refine split: each round's πRefine learns from all of it."""
    examples: tuple[Example, ...] = ()
    """What earlier πθ* learned; replayed, so that it is not forgotten."""

    def with_feedback(self, items: Iterable[Feedback]) -> tuple[Feedback, ...]:
        """All feedback so far, each item once."""
        return tuple({item.feedback_id: item for item in (*self.teach, *items)}.values())

    def with_examples(self, new: Iterable[Example]) -> tuple[Example, ...]:
        """All examples so far, each program once."""
        both = (*self.examples, *new)
        return tuple({(str(e.task_id), e.completion): e for e in both}.values())


def reason_to_stop(files: RoundFolder) -> str | None:
    """Why another round is not worth it; None where it is, or where no validation tasks can say so."""
    raw = json.loads(files.evaluation.read_text(encoding="utf-8")).get("validation")
    if raw is None:
        return None
    gain = Comparison.model_validate(raw["paired"][0])
    if gain.difference.low > 0:
        return None
    return (
        f"on {gain.tasks} validation tasks this round changed {gain.metric} by {points(gain.difference)}: "
        f"no gain that can be told from noise, so no further round"
    )


def best_round(folder: RunFolder) -> int | None:
    """The round whose πθ* does best on the validation tasks, 0 for the first model; None where none tells."""
    rates: dict[int, float] = {}
    for number, files in enumerate(folder.rounds(), start=1):
        if not files.evaluation.is_file():
            continue
        raw = json.loads(files.evaluation.read_text(encoding="utf-8")).get("validation")
        if raw is None:
            return None
        for arm, of_round in (("before", number - 1), ("after", number)):
            found = Evaluation.model_validate(raw["arms"][arm]).rates
            rates[of_round] = next(iter(found.values())).value
    # Equal rates: the earlier one.
    return max(rates, key=lambda number: (rates[number], -number)) if rates else None


def say_best(folder: RunFolder) -> None:
    """Name the best round's model, where validation tells."""
    best = best_round(folder)
    if best is None:
        return
    if best:
        say(f"best on the validation tasks: round {best}, {folder.round(best).model}")
    else:
        say("best: the model it started from: no round improved it")


def forgotten(before: Evaluation, after: Evaluation) -> tuple[int, int]:
    """(tasks that `before` solved at least once, those of them that `after` never solves)."""
    solved = [task.task_id for task in before.tasks if task.passed]
    still = {task.task_id for task in after.tasks if task.passed}
    return len(solved), sum(task_id not in still for task_id in solved)


def curve(evaluations: Sequence[tuple[Evaluation, Evaluation]]) -> list[tuple[str, Evaluation, str]]:
    """(label, evaluation, what was forgotten) of the first model and of each round's πθ*."""
    rows = [("before", evaluations[0][0], "")] if evaluations else []
    for number, (before, after) in enumerate(evaluations, start=1):
        solved, lost = forgotten(before, after)
        rows.append((f"round {number}", after, f"{lost} of {solved}"))
    return rows
