"""R by a user's Python function: `name(task, text)`, a number in [0, 1], or that and what is missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ilf.errors import UserError
from ilf.kinds.text import Score
from ilf.records import Program, Task
from ilf.seams import load

if TYPE_CHECKING:
    from ilf.rewardconfig import RewardTerm

REFERENCE = "ilf.rewards.function:is_reference"
"""What stands for every reward in a dry run."""


def score(tasks: Mapping[str, Task], programs: Sequence[Program], term: RewardTerm) -> list[Score | None]:
    """The function's word on each text; it is asked once a text.

    Raises:
        ConfigError: there is no such function.
        UserError: it raises, or what it gives is no number; it and the task are named.
    """
    assert term.function is not None
    function = load({}, term.function, "verify.reward.terms.function")
    found: list[Score | None] = []
    for program in programs:
        try:
            said = function(tasks[program.task_id], program.code)
            value, why = said if isinstance(said, tuple) else (said, "")
            found.append(None if value is None else Score(float(value), str(why)))
        except Exception as error:
            raise UserError(
                f"reward {term.function}: task {program.task_id}: {type(error).__name__}: {error}"
            ) from error
    return found


def is_reference(task: Task, text: str) -> float:
    """1 where the text is the task's reference."""
    return float(task.reference is not None and text.strip() == task.reference.strip())
