"""Supervised fine-tuning on examples, the paper's learner (section 2, step 4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ilf import models
from ilf.learners import Lesson
from ilf.progress import progress, say
from ilf.records import Example
from ilf.training import FinetuneConfig, FinetuneResult, finetune

if TYPE_CHECKING:
    from ilf.training.objective import Objective


def learn(lesson: Lesson) -> dict[str, float]:
    """Fine-tune on the lesson's examples; a scripted model learns them by heart.

    With `learner.sft.kl` = β > 0 a label costs -log πθ(label) + β·KL(πθ ‖ πstart) instead (`Anchored`).

    Raises:
        TrainingError, ModelError: as `ilf.training.finetune`.
    """
    if lesson.start.engine.name == "scripted":
        return by_heart(lesson)
    objective = _penalty(lesson) if lesson.learner.sft.kl else None
    result = fit(
        lesson,
        lesson.start.ref,
        lesson.examples,
        lesson.out,
        lesson.finetune,
        objective=objective,
        replace=True,
    )
    return {
        "examples": result.examples,
        "steps": result.steps,
        "tokens": result.tokens,
        "peak memory, MB": round(result.peak_memory / 1e6),
    }


def _penalty(lesson: Lesson) -> Objective:
    from ilf.training.objective import Anchored

    start = models.resolve(lesson.start.ref)
    return Anchored(start.path, start.hash, beta=lesson.learner.sft.kl)


def by_heart(lesson: Lesson) -> dict[str, float]:
    """What every learner does with a scripted model."""
    from ilf.sampling.scripted import learn as repeat

    repeat(lesson.start.ref, lesson.examples, lesson.out)
    return {"examples": len(lesson.examples)}


def fit(
    lesson: Lesson,
    start: str,
    examples: Sequence[Example],
    out: Path,
    settings: FinetuneConfig,
    *,
    objective: Objective | None = None,
    replace: bool = False,
) -> FinetuneResult:
    """One fine-tuning, told to the person watching.

    Args:
        lesson: what it is a part of.
        start: MODEL string or folder.
        examples: what to learn.
        out: the folder to write.
        settings: how.
        objective: what a label costs instead of its negative log-likelihood.
        replace: whether an `out` that holds something else is replaced.
    """
    say(
        f"    {lesson.what}: {len(examples)} examples, {settings.epochs} epochs, "
        f"learning rate {settings.learning_rate}"
    )
    steps = settings.epochs * -(-len(examples) // settings.batch_size)
    with progress(f"fine-tuning {lesson.what}", steps) as bar:
        done = 0

        def watch(row: Mapping[str, float]) -> None:
            nonlocal done
            bar.advance(int(row["step"]) - done)
            done = int(row["step"])

        result = finetune(
            start, examples, out, settings, card=lesson.card, progress=watch, say=say, replace=replace,
            objective=objective,
        )  # fmt: skip
    say(f"    loss {result.first_loss:.3f} → {result.final_loss:.3f} nats a token")
    return result
