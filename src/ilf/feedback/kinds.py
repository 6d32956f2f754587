"""The paper's Table 5 for a run: what kinds of bug its feedback addresses, and how much of it is none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from ilf.feedback.tagger import PAPER_CATEGORIES, categories
from ilf.feedback.useless import KINDS, useless
from ilf.records import Feedback, Task

Row = tuple[str, float, float | None, float | None]
"""Kind, its share of the items, and that of the paper's people and of InstructGPT."""


def by_model(feedback: Sequence[Feedback]) -> list[Feedback]:
    """The items that a model wrote."""
    return [item for item in feedback if item.source == "model"]


def table5(items: Sequence[Feedback], tasks: Mapping[str, Task]) -> list[Row]:
    """Share of each kind, those that occur here or in the paper; an item may be of several.

    What is no feedback is of that kind alone (`useless`); all else is tagged by rules over the text
    (`tagger.categories`), which agree little with people (docs/feedback.md).

    Args:
        items: feedback, at least one.
        tasks: by id; where one is unknown, only the text is looked at.
    """
    counts: Counter[str] = Counter()
    for item in items:
        task = tasks.get(item.task_id)
        why = None if task is None else useless(item.text, task, item.code)
        counts.update([why] if why is not None else categories(item.text))
    extra = [kind for kind in KINDS if kind not in PAPER_CATEGORIES and counts[kind]]
    return [
        (kind, counts[kind] / len(items), *PAPER_CATEGORIES.get(kind, (None, None)))
        for kind in [*PAPER_CATEGORIES, *extra]
    ]
