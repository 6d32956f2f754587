"""R by a model that answers yes/no questions: InstructRM (Scheurer et al. 2023, arXiv 2303.16755).

The probability of `Yes` over that of `Yes` and `No` together as the first token of the answer, averaged over
questions. A refinement is asked, where the term has no questions of its own, whether it does what the
feedback says: five wordings, as there (their text is ours), because one question alone is a noisy judge.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ilf import policy
from ilf.kinds import words_of
from ilf.kinds.text import Score
from ilf.policy import Model
from ilf.prompts import Prompt, Prompter
from ilf.records import Program, Task
from ilf.sampling import SamplingParams

if TYPE_CHECKING:
    from ilf.rewardconfig import RewardTerm

ANSWERS = (" Yes", " No")
"""After a prompt that ends with `Answer:`."""
WORDINGS = (
    "Does the new text do what the feedback asks for?",
    "Was the feedback followed in the new text?",
    "Are all the points of the feedback taken care of in the new text?",
    "Judged by the feedback alone, is the new text better than the old one?",
    "Would the person who gave the feedback be content with the new text?",
)
"""Questions about a refinement."""


def score(tasks: Mapping[str, Task], programs: Sequence[Program], term: RewardTerm) -> list[Score | None]:
    """The mean probability of `Yes` for each text; None where there is nothing to ask about it.

    Raises:
        ModelError: the judge cannot be opened, or a text does not fit into its context.
    """
    assert term.model is not None
    judge = policy.get(term.model, term.engine, term.style)
    prompter = judge.prompter
    asked: list[Prompt] = []
    of_text: list[int] = []
    for program in programs:
        questions = _questions(tasks[program.task_id], program, term)
        asked += [prompter.ask(question, "Answer:") for question in questions]
        of_text.append(len(questions))
    likely = iter(_yes(judge, prompter, asked, term))
    found: list[Score | None] = []
    for count in of_text:
        values = [next(likely) for _ in range(count)]
        found.append(Score(sum(values) / count) if count else None)
    return found


def _questions(task: Task, program: Program, term: RewardTerm) -> list[str]:
    """Whole messages to the judge about one text."""
    words = words_of(task)
    asked = words.request(task) if words is not None else task.description
    if term.questions:
        # A task's own questions stand among its tests.
        questions = [*term.questions, *(test for test in task.tests if test.rstrip().endswith("?"))]
        return [f"Task: {asked}\n\nText: {program.code}\n\n{_closed(question)}" for question in questions]
    if program.follows is None:
        return []
    told = (
        f"Task: {asked}\n\nOld text: {program.follows.code}\n\nFeedback on the old text: "
        f"{program.follows.text.strip()}\n\nNew text: {program.code}"
    )
    return [f"{told}\n\n{_closed(question)}" for question in WORDINGS]


def _closed(question: str) -> str:
    return f"{question.strip()} Answer Yes or No."


def _yes(judge: Model, prompter: Prompter, asked: Sequence[Prompt], term: RewardTerm) -> list[float]:
    """How likely the judge says yes to each prompt."""
    if not asked:
        return []
    if judge.has_weights:
        from ilf.scoring import first_tokens

        return [_share(*both) for both in first_tokens(judge.ref, [p.text for p in asked], ANSWERS)]
    opened = policy.Models()
    try:
        params = SamplingParams(n=term.samples, temperature=1.0, max_tokens=4)
        yes, known = [0] * len(asked), [0] * len(asked)
        for answer in opened.open(judge).sampler.sample(asked, params):
            word = answer.text.strip().lower()
            yes[answer.prompt] += word.startswith("yes")
            known[answer.prompt] += word.startswith(("yes", "no"))
    finally:
        opened.close()
    # Neither yes nor no: as good as a coin.
    return [y / k if k else 0.5 for y, k in zip(yes, known, strict=True)]


def _share(yes: float, no: float) -> float:
    """p(yes) / (p(yes) + p(no)) of two log-probabilities."""
    return 1 / (1 + math.exp(min(700.0, no - yes)))
