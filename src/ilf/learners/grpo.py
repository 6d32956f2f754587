"""Reinforcement learning from the verifier alone: group-relative policy gradients (GRPO, Shao et al. 2024,
arXiv 2402.03300, section 4.1), the comparison that shows what feedback adds.

For a task t the policy writes a group y₁ … yₙ with rewards R(yⱼ, t) (the task kind's; 1 for a program that
passes). The advantage of yⱼ is

    Aⱼ = (Rⱼ - mean R) / std R

or without the division (`scale = "none"`; Liu et al. 2025, arXiv 2503.20783), and the loss of its token i

    -min(r·Aⱼ, clip(r, 1 - low, 1 + high)·Aⱼ),  r = πθ(yⱼᵢ | t, yⱼ,<ᵢ) / πold(yⱼᵢ | t, yⱼ,<ᵢ)

averaged over all tokens of a step (Yu et al. 2025, arXiv 2503.14476, equation 8), with πold the policy that
wrote. A group whose rewards are all equal, as where a task is never solved, teaches nothing and is left out.
There is no KL to a reference model. The end of a text counts as the end token, also where a stop sequence
ended it, as in every example that models are trained on here.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from statistics import fmean, pstdev
from typing import Literal

from ilf import models
from ilf.errors import TrainingError
from ilf.kinds import kind_of
from ilf.learners import Lesson
from ilf.learners.passes import Turn, in_passes
from ilf.learners.sft import by_heart
from ilf.progress import progress, say
from ilf.records import Example, Program, Task, Verdict, read_jsonl, write_jsonl


def learn(lesson: Lesson) -> Mapping[str, float]:
    """Reinforce what the verifier rewards; a scripted model learns the lesson's examples by heart.

    Raises:
        TrainingError: there are no tasks, or in no pass did a group have unlike rewards.
    """
    if lesson.start.engine.name == "scripted":
        return by_heart(lesson)
    if not lesson.tasks:
        raise TrainingError("learner.name: grpo needs tasks to write programs for, and there are none")
    settings = lesson.learner.grpo

    def one(turn: Turn) -> dict[str, float]:
        from ilf.training.objective import PolicyGradient

        names = sorted(lesson.tasks)
        if settings.tasks is not None and settings.tasks < len(names):
            draw = random.Random(f"{lesson.finetune.seed} grpo {turn.number}")
            names = sorted(draw.sample(names, settings.tasks))
        tasks = [lesson.tasks[name] for name in names]
        programs = turn.write(tasks, settings.n, settings.temperature, settings.max_tokens)
        verdicts = _verdicts(turn, programs)
        counts = {
            "samples": float(len(programs)),
            "sampled tokens": float(sum(program.tokens or 0 for program in programs)),
            "passed": float(sum(verdict.passed for verdict in verdicts)),
        }
        rewards = [_reward(lesson.tasks[verdict.task_id], verdict) for verdict in verdicts]
        gains = advantages(rewards, settings.n, settings.scale)
        rows = [
            (program, gain)
            for program, gain in zip(programs, gains, strict=True)
            if gain and turn.usable(program.completion)
        ]
        if not rows:
            say("    all programs of each task are worth the same: nothing to learn in this pass")
            return counts
        prompter = turn.student.prompter
        examples = [
            Example(
                prompt=prompter.program(lesson.tasks[program.task_id]).text,
                completion=program.completion or "",
                task_id=program.task_id,
                origin="student",
            )
            for program, _ in rows
        ]
        objective = PolicyGradient(
            speaker=models.resolve(turn.student.ref).path,
            speaker_hash=turn.student.hash,
            top_k=1,
            advantages=tuple(gain for _, gain in rows),
            low=settings.clip_low,
            high=settings.clip_high,
        )
        return {**counts, **turn.fit(examples, objective)}

    return in_passes(lesson, settings.passes, one)


def advantages(rewards: Sequence[float | None], n: int, scale: Literal["std", "none"]) -> list[float]:
    """Of each of the texts, n of a task following one another; 0 where a group's rewards are all equal.

    Args:
        rewards: R of each text; None where it is not known, which counts for nothing.
        n: size of a group.
        scale: whether to divide by the group's standard deviation.
    """
    found: list[float] = []
    for start in range(0, len(rewards), n):
        group = rewards[start : start + n]
        known = [reward for reward in group if reward is not None]
        spread = pstdev(known) if known else 0.0
        by = spread if scale == "std" else 1.0
        found += [(r - fmean(known)) / by if spread and r is not None else 0.0 for r in group]
    return found


def _reward(task: Task, verdict: Verdict) -> float | None:
    """R(x, t); None where the sandbox itself failed, from which nothing is to be learnt."""
    if verdict.status == "sandbox_error":
        return None
    return kind_of(task.kind).reward(task, verdict)


def _verdicts(turn: Turn, programs: Sequence[Program]) -> list[Verdict]:
    """EVAL of each program, taken from the pass's file where it is there."""
    path = turn.file("verdicts")
    if not path.is_file():
        with progress("verifying", len(programs)) as bar:
            found = list(turn.lesson.place.verify(turn.lesson.tasks, programs, turn.lesson.verify, bar))
        write_jsonl(path, found)
    return read_jsonl(path, Verdict)
