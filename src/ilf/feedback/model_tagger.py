"""Kinds of bug (the paper's Table 5) by a language model, from what was said or from the program alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ilf.feedback.model import Writer
from ilf.feedback.tagger import MEANINGS
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
