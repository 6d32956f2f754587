"""On-policy distillation: the student writes, πRefine, told what was wrong, says token by token what it would
have written (Agarwal et al. 2023, arXiv 2306.13649, with feedback in the teacher's prompt).

For a feedback item (t, x0, f) and a text y that the student p = πθ(·|t) wrote for t, the loss is

    1/|y| · Σᵢ D(p(·|t, y<i), q(·|t, x0, f, y<i))

summed over items and texts and divided by all their tokens together. q is πRefine and does not move; D is
KL(q ‖ p) (forward), KL(p ‖ q) (reverse) or Jensen and Shannon's divergence (`training.objective`).
Unlike `sft` this needs no refinement that passes, and takes a distribution from each token, not one sample.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ilf import models
from ilf.errors import TrainingError, UserError
from ilf.learners import Lesson, Teacher
from ilf.learners.passes import Turn, in_passes
from ilf.learners.sft import by_heart
from ilf.records import Example, Feedback
from ilf.training.config import DistilConfig


def learn(lesson: Lesson) -> Mapping[str, float]:
    """Distil πRefine into the student; a scripted model learns the lesson's examples by heart.

    Raises:
        TrainingError: there is no πRefine, no feedback, or nothing that can be trained on.
    """

    def teacher(turn: Turn) -> Teacher:
        if lesson.teacher is None:
            raise TrainingError("learner.name: distil needs a πRefine to learn from")
        return lesson.teacher

    return distil(lesson, lesson.learner.distil, teacher)


def distil(
    lesson: Lesson, settings: DistilConfig, teacher_of: Callable[[Turn], Teacher]
) -> Mapping[str, float]:
    """Distil a teacher who is told each item's feedback.

    Args:
        lesson: what is asked.
        settings: of the learner.
        teacher_of: who teaches in a pass.
    """
    if lesson.start.engine.name == "scripted":
        return by_heart(lesson)
    if not lesson.feedback:
        raise TrainingError(f"learner.name: {lesson.learner.name} needs feedback, and there is none")

    def one(turn: Turn) -> dict[str, float]:
        from ilf.training.objective import Distil

        rows = _attempts(turn) if turn.number == 1 else []
        sampled = 0
        if settings.n:
            items = lesson.feedback
            tasks = [lesson.tasks[item.task_id] for item in items]
            programs = turn.write(tasks, settings.n, settings.temperature, settings.max_tokens)
            sampled = sum(program.tokens or 0 for program in programs)
            rows += [
                (items[place // settings.n], program.completion or "", "student")
                for place, program in enumerate(programs)
            ]
        rows = [row for row in rows if turn.usable(row[1])]
        if not rows:
            return {"sampled tokens": sampled}
        teacher = teacher_of(turn)
        prompter = turn.student.prompter
        examples = [
            Example(
                prompt=prompter.program(lesson.tasks[item.task_id]).text,
                completion=text,
                task_id=item.task_id,
                feedback_id=item.feedback_id,
                origin=origin,
            )
            for item, text, origin in rows
        ]
        objective = Distil(
            speaker=models.resolve(teacher.model.ref).path,
            speaker_hash=teacher.model.hash,
            prompts=tuple(teacher.prompt(lesson.tasks[item.task_id], item) for item, _, _ in rows),
            top_k=settings.top_k,
            kind=settings.divergence,
        )
        return {"sampled tokens": sampled, **turn.fit(examples, objective)}

    return in_passes(lesson, settings.passes if settings.n else 1, one)


def _attempts(turn: Turn) -> list[tuple[Feedback, str, str]]:
    """The wrong programs that the feedback is about, as the student would have written them."""
    found = []
    for item in turn.lesson.feedback:
        try:
            text = turn.student.prompter.program_target(turn.lesson.tasks[item.task_id], item.code)
        except UserError:  # no completion of the prompt is this program
            continue
        found.append((item, text, "attempt"))
    return found
