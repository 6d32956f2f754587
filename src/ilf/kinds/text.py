"""A text that no test decides: a summary, a reply, a title. What it is worth, R(x, t), a reward says.

The predecessor's tasks (Scheurer et al. 2022, arXiv 2204.14146, and 2023, arXiv 2303.16755). R, from 0 to 1,
is the weighted mean of the terms of `[verify.reward]`; an answer is wrong where R is under its threshold.
`tests` may be empty, or hold what a reward reads of the task: names to be kept, questions.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple, cast

from ilf.errors import ConfigError, Inexpressible, UserError
from ilf.records import Program, Task, Verdict
from ilf.seams import REWARDS, load

if TYPE_CHECKING:
    from ilf.config import VerifyConfig
    from ilf.rewardconfig import RewardConfig, RewardTerm

AT_ONCE = 256
"""Texts that a term scores in one call: what a judge asks of them fits into memory."""
_END = re.compile(r"<\|(?:endoftext|im_end|im_start|eot_id|end_of_text|end)\|>")


class Score(NamedTuple):
    """What one term says of a text."""

    value: float
    """In [0, 1]."""
    why: str = ""
    """What is missing, in a sentence; for people and for feedback from execution."""


Reward = Callable[[Mapping[str, Task], Sequence[Program], "RewardTerm"], Sequence[Score | None]]
"""Tasks by id, texts and the term's settings in; a score a text out, None where it says nothing of one."""


class Text:
    """Tasks whose answers are scored by `[verify.reward]` (`kinds.WordedKind`)."""

    def request(self, task: Task) -> str:
        """The description as it stands, and the example where the task has one."""
        shown = f"\n\nFor example:\n\n{task.example.strip()}" if task.example else ""
        return task.description.strip() + shown

    def extract(self, task: Task, completion: str) -> str:
        """All of it, without the tokens that end a turn."""
        return _END.split(completion)[0].strip()

    def target(self, task: Task, code: str) -> str:
        """The text; it ends where the model ends its turn."""
        if not code.strip():
            raise Inexpressible("it is empty")
        return code.strip()

    def require(self, settings: VerifyConfig) -> None:
        """Whether texts can be scored, before any is written.

        Raises:
            ConfigError: `verify.reward` has no term, or one cannot be loaded.
        """
        if not settings.reward.terms:
            raise ConfigError(
                'verify.reward.terms: tasks of kind "text" need at least one, for example '
                '{ by = "function", function = "package.module:name" } (docs/text.md)'
            )
        for term in settings.reward.terms:
            _scorer(term)
            if term.function is not None:
                load({}, term.function, "verify.reward.terms.function")

    def verify(
        self, tasks: Mapping[str, Task], programs: Iterable[Program], settings: VerifyConfig
    ) -> Iterator[Verdict]:
        """`passed` where R reaches the threshold.

        Raises:
            ConfigError: as `require`.
            UserError: no term says anything of a text.
        """
        self.require(settings)
        rest = iter(programs)
        while batch := list(islice(rest, AT_ONCE)):
            yield from _verdicts(tasks, batch, settings.reward)

    def reward(self, task: Task, verdict: Verdict) -> float:
        """R(x, t)."""
        return verdict.reward or 0.0


def _scorer(term: RewardTerm) -> Reward:
    return cast(Reward, load(REWARDS, term.by, "verify.reward.terms.by"))


def _verdicts(
    tasks: Mapping[str, Task], programs: Sequence[Program], settings: RewardConfig
) -> Iterator[Verdict]:
    """Verdicts on texts that are there; an empty one is worth nothing whatever the terms say."""
    written = [program for program in programs if program.code.strip()]
    said = [(_scorer(term)(tasks, written, term) if written else [], term) for term in settings.terms]
    for scores, term in said:
        if len(scores) != len(written):
            raise UserError(f"reward {_name(term)}: {len(scores)} scores for {len(written)} texts")
    by_text = iter(zip(*(scores for scores, _ in said), strict=True)) if written else iter(())
    for program in programs:
        if not program.code.strip():
            yield _verdict(program, 0.0, "There is no text.", "no_code")
            continue
        value, why = _combined(program, next(by_text), settings)
        wrong = value < settings.threshold
        told = why or f"R = {value:.2f}, under {settings.threshold:g}."
        yield _verdict(program, value, told if wrong else "", "failed" if wrong else "passed")


def _combined(program: Program, scores: Sequence[Score | None], settings: RewardConfig) -> tuple[float, str]:
    """The weighted mean of what the terms say, and their reasons."""
    total = weight = 0.0
    reasons = []
    for score, term in zip(scores, settings.terms, strict=True):
        if score is None:
            continue
        if not (math.isfinite(score.value) and 0 <= score.value <= 1):
            raise UserError(
                f"reward {_name(term)}: {score.value!r} for a text on task {program.task_id}; "
                "R is a number from 0 to 1"
            )
        total, weight = total + term.weight * score.value, weight + term.weight
        reasons.append(score.why.strip())
    if not weight:
        raise UserError(
            f"verify.reward.terms: none says what a text without feedback is worth (task {program.task_id}): "
            "add a function, or a judge with questions"
        )
    return total / weight, " ".join(filter(None, reasons))


def _name(term: RewardTerm) -> str:
    return term.function or term.by


def _verdict(program: Program, value: float, detail: str, status: str) -> Verdict:
    return Verdict.model_validate(
        {
            "task_id": program.task_id,
            "program_id": program.program_id,
            "status": status,
            "reward": round(value, 6),
            "actual": program.code.strip() or None,
            "detail": detail,
        }
    )
