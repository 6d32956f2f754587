"""Feedback written by a language model, few-shot prompted (the paper's InstructGPT ablation, section 3.4)."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from ilf.errors import DataError
from ilf.feedback.useless import useless
from ilf.progress import progress, say
from ilf.prompts import Prompter
from ilf.records import Feedback, Program, Task, Verdict
from ilf.sampling import Sampler, SamplingParams

TEMPERATURE = 0.7
MAX_TOKENS = 160
"""About 100 words; the paper's human texts have 69 on average, InstructGPT's 24 (Table 6)."""


class Writer(Protocol):
    """A model ready to write (`ilf.policy.Writer` is one)."""

    @property
    def sampler(self) -> Sampler:
        """Samples from it."""

    @property
    def prompter(self) -> Prompter:
        """The prompts it understands."""

    @property
    def model(self) -> str:
        """Hash of its weights."""


def load_shots(
    path: Path, tasks: Mapping[str, Task], count: int, seed: int, wanted: Collection[str]
) -> list[Feedback]:
    """`count` recorded items that show the model how feedback reads, chosen by seed.

    Args:
        path: recorded feedback, the paper's file or ours.
        tasks: of the source, by id, those of the evaluation left out; items on others are passed over.
        count: how many.
        seed: of the choice.
        wanted: ids of the tasks that feedback is written for; items on other tasks are taken where there are
            enough, so that the model is not shown a person's answer to its own question.

    Raises:
        DataError: the file has fewer.
    """
    from ilf.feedback import recorded

    items = [item for item in recorded.read(path) if item.task_id in tasks]
    others = [item for item in items if item.task_id not in wanted]
    items = others if len(others) >= count else items
    if len(items) < count:
        raise DataError(f"{path}: {len(items)} items on this run's tasks, feedback.shots asks for {count}")
    return random.Random(seed).sample(sorted(items, key=lambda item: item.feedback_id), count)


def write(
    writer: Callable[[], Writer],
    tasks: Mapping[str, Task],
    candidates: Mapping[str, Sequence[tuple[Program, Verdict]]],
    *,
    shots: Sequence[Feedback] = (),
    seed: int = 0,
) -> list[Feedback]:
    """One text a task, on the wrong program that is easiest to fix; empty answers are left out.

    Args:
        writer: opens the model that writes.
        tasks: by id.
        candidates: the wrong programs of each task, ranked (`ilf.feedback.candidates`).
        shots: worked examples for the prompt.
        seed: of the sampling.
    """
    chosen = [ranked[0][0] for _, ranked in sorted(candidates.items()) if ranked]
    opened = writer()
    worked = [(tasks[s.task_id], s.code, s.text) for s in shots]
    prompts = [opened.prompter.feedback(tasks[p.task_id], p.code, shots=worked) for p in chosen]
    params = SamplingParams(
        n=1, temperature=TEMPERATURE, max_tokens=MAX_TOKENS, stop=opened.prompter.feedback_stop, seed=seed
    )
    texts: dict[int, str] = {}
    with progress("writing feedback", len(prompts)) as bar:
        for completion in opened.sampler.sample(prompts, params, lambda tokens: bar.advance(tokens=tokens)):
            texts[completion.prompt] = completion.text.strip()
            bar.advance(1)
    _count_useless([(texts.get(number, ""), tasks[p.task_id], p.code) for number, p in enumerate(chosen)])
    return [
        Feedback(
            task_id=program.task_id,
            code=program.code,
            text=texts[number],
            source="model",
            author=f"model {opened.model[:12]}",
            model=program.model,
        )
        for number, program in enumerate(chosen)
        if texts.get(number)
    ]


def _count_useless(said: Sequence[tuple[str, Task, str]]) -> None:
    """Say how many texts are no feedback, and why: they are followed all the same, as in the paper."""
    why = Counter(filter(None, (useless(text, task, code) for text, task, code in said)))
    if why:
        counts = ", ".join(f"{kind} {count}" for kind, count in why.most_common())
        are = "is" if why.total() == 1 else "are"
        say(f"    {why.total()} of {len(said)} texts {are} no feedback: {counts}")
