"""The control of a run: what the same fine-tuning gains on the model's own correct samples, without feedback.

Rejection sampling costs nobody's time. Feedback pays only where πθ* is better than what it gives, so a run
measures both unless `evaluation.control` is off.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ilf.config import LearnerConfig, RunConfig
from ilf.policy import Model
from ilf.progress import say
from ilf.records import Example, Program, Rows, Task, Verdict
from ilf.runner import Runner
from ilf.steps import Learn
from ilf.steps.examples import own_examples


def control(
    do: Runner,
    start: Model,
    own: tuple[Rows[Program], Rows[Verdict]],
    learned: Sequence[Example],
    tasks: Mapping[str, Task],
    c: RunConfig,
) -> dict[str, Model]:
    """`start` fine-tuned on as many of its own correct samples as πθ* has examples.

    Args:
        do: does the fine-tuning, in the round's folder.
        start: what πθ* started from.
        own: πθ's samples and their verdicts.
        learned: πθ*'s examples; none of their tasks is used, apart from own samples among them.
        tasks: by id.
        c: the run's settings.

    Returns:
        The model under the arm's name; empty where the control is off or nothing passed.
    """
    if not c.evaluation.control:
        return {}
    refined = {str(example.task_id) for example in learned if example.origin != "self"}
    found = own_examples(start.prompter, tasks, own, len(learned), seed=c.seed, exclude=refined)
    if not found:
        say("  no control: the model has no correct samples of its own on the other tasks")
        return {}
    what = "the control, on own correct samples"
    # Plain fine-tuning, whatever πθ* learns by; a model without weights is left to its own learner.
    learner = LearnerConfig() if start.has_weights else c.learner
    learn = Learn(start, tuple(found), c.finetune, learner, seed=c.seed, what=what)
    return {"own": do(learn, "7-control")}
