"""Self-distillation: the model itself, told what was wrong, is the teacher of the model that is not told
(SDPO, Hübotter et al. 2026, arXiv 2601.20802).

The loss is that of `distil`, Σᵢ D(πθ(·|t, y<i), q(·|t, x0, f, y<i)), with q = πθ' the same network with the
weights that the pass began with (`teacher = "current"`) or that training began with (`"start"`), and no
gradient. No πRefine is needed: what is distilled is what feedback changes in the model's own predictions, so
it can only work where the model follows feedback that stands in its prompt.
"""

from __future__ import annotations

from collections.abc import Mapping

from ilf.learners import Lesson, Teacher
from ilf.learners.distil import distil
from ilf.learners.passes import Turn


def learn(lesson: Lesson) -> Mapping[str, float]:
    """Distil the model's own answer to feedback; a scripted model learns the lesson's examples by heart.

    Raises:
        TrainingError: there is no feedback, or nothing that can be trained on.
    """
    settings = lesson.learner.sdpo
    known = lesson.teacher.shots if lesson.teacher is not None else ()
    use_feedback = lesson.teacher is None or lesson.teacher.use_feedback

    def teacher(turn: Turn) -> Teacher:
        model = turn.student if settings.teacher == "current" else lesson.start
        return Teacher(model, known[: settings.shots], use_feedback)

    return distil(lesson, settings, teacher)
