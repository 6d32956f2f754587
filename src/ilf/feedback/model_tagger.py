"""Kinds of bug (the paper's Table 5) by a language model, from what was said or from the program alone.

A model whose weights are at hand is read (`tag_by_likelihood`), any other is asked (`tag`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ilf.feedback.model import Writer
from ilf.feedback.tagger import MEANINGS
from ilf.policy import Model
from ilf.progress import progress
from ilf.prompts import Prompt, Prompter
from ilf.records import Task
from ilf.sampling import SamplingParams
from ilf.wording import mistake

MAX_TOKENS = 24
"""Room for three or four names."""


@dataclass(frozen=True)
class Subject:
    """What is to be tagged."""

    task: Task
    code: str
    """The wrong program."""
    text: str | None = None
    """What somebody said about it; None before anybody did."""


def tag(writer: Callable[[], Writer], subjects: Sequence[Subject], *, seed: int = 0) -> list[tuple[str, ...]]:
    """The kinds that a model names for each, greedily; none where it names none.

    Args:
        writer: opens the model.
        subjects: what to tag.
        seed: of the sampling, which is greedy.

    Raises:
        ModelError: a prompt does not fit.
    """
    opened = writer()
    prompts = [question(opened.prompter, subject) for subject in subjects]
    params = SamplingParams(n=1, temperature=0.0, max_tokens=MAX_TOKENS, stop=("\n",), seed=seed)
    found: list[tuple[str, ...]] = [()] * len(subjects)
    with progress("tagging", len(prompts)) as bar:
        for completion in opened.sampler.sample(prompts, params, lambda tokens: bar.advance(tokens=tokens)):
            found[completion.prompt] = named(completion.text)
            bar.advance(1)
    return found


def tag_by_likelihood(model: Model, subjects: Sequence[Subject]) -> list[tuple[str, ...]]:
    """The one kind for each that a model finds likelier than it does for the other subjects.

    The log-probability of a kind's first token as the answer, less its mean over all subjects (batch
    calibration, Zhou et al. 2023, arXiv 2309.17249): a small model likes the first kind of the list whatever
    it is asked. Needs several subjects to mean anything.

    Args:
        model: with weights at hand, which are read.
        subjects: what to tag.

    Raises:
        ModelError: a prompt does not fit, or the model's first tokens do not tell the kinds apart.
    """
    from ilf.scoring import first_tokens

    prompter = model.prompter
    prompts = [question(prompter, subject).text for subject in subjects]
    found = first_tokens(model.ref, prompts, [f" {name}" for name in MEANINGS], what="tagging")
    means = [sum(of_kind) / len(found) for of_kind in zip(*found, strict=True)]
    names = list(MEANINGS)
    apart = [[value - mean for value, mean in zip(row, means, strict=True)] for row in found]
    return [(names[row.index(max(row))],) for row in apart]


def question(prompter: Prompter, subject: Subject) -> Prompt:
    """What the model is asked about one subject."""
    said = "" if subject.text is None else f"\n\nWhat somebody said about it:\n\n{subject.text.strip()}"
    kinds = "\n".join(f"- {name}: {meaning}" for name, meaning in MEANINGS.items())
    return prompter.ask(
        f"{mistake(subject.task, subject.code)}{said}\n\nKinds of bug:\n\n{kinds}\n\n"
        "Which of these kinds does the bug have? Name one or more, with commas between them, nothing else.",
        "Kinds:",
    )


def named(answer: str) -> tuple[str, ...]:
    """The kinds that an answer names, in its order."""
    text = answer.lower().replace("-", " ")
    places = {name: text.find(name) for name in MEANINGS}
    return tuple(sorted((name for name, at in places.items() if at >= 0), key=places.__getitem__))
