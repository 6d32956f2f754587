"""Supervised fine-tuning on examples, the paper's learner (section 2, step 4)."""

from __future__ import annotations

from collections.abc import Mapping

from ilf.learners import Lesson
from ilf.progress import progress, say


def learn(lesson: Lesson) -> dict[str, float]:
    """Fine-tune on the lesson's examples; a scripted model learns them by heart.

    Raises:
        TrainingError, ModelError: as `ilf.training.finetune`.
    """
    start, examples, settings = lesson.start, lesson.examples, lesson.finetune
    if start.engine.name == "scripted":
        from ilf.sampling.scripted import learn as by_heart

        by_heart(start.ref, examples, lesson.out)
        return {"examples": len(examples)}
    from ilf.training import finetune

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
            start.ref, examples, lesson.out, settings, card=lesson.card, progress=watch, say=say, replace=True
        )
    say(f"    loss {result.first_loss:.3f} → {result.final_loss:.3f} nats a token")
    return {
        "examples": result.examples,
        "steps": result.steps,
        "tokens": result.tokens,
        "peak memory, MB": round(result.peak_memory / 1e6),
    }
