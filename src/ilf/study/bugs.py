"""What feedback talks about: kinds of bug (Table 5) and how many of them (Table 6, Figure 5).

The paper's authors read 50 items and labelled them by hand. Where an item carries labels of people, those
count. Elsewhere rules do: `ilf.feedback.tagger` gives the kinds, and an item addresses as many bugs as it
has sentences (or list entries) that tell what to change, and at least one. They are crude, and a report says
where they were used.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from ilf.feedback.parts import parts
from ilf.feedback.tagger import PAPER_CATEGORIES, categories
from ilf.records import Feedback, Refinement
from ilf.study.results import ItemResult

__all__ = ["PAPER_CATEGORIES", "categories", "count_bugs", "item_results"]


def count_bugs(text: str) -> int:
    """How many bugs a feedback text addresses by the rule."""
    return len(parts(text))


def item_results(
    feedback: Sequence[Feedback], refinements: Iterable[Refinement], chosen: frozenset[str] = frozenset()
) -> list[ItemResult]:
    """Each item with its bugs and what became of its refinements.

    Args:
        feedback: the items.
        refinements: samples that follow them, with verdicts.
        chosen: ids of the feedback behind the examples that were trained on.
    """
    n, passed = Counter[str](), Counter[str]()
    for row in refinements:
        if row.verdict is not None and row.verdict.status not in ("sandbox_error", "flaky"):
            n[row.feedback_id] += 1
            passed[row.feedback_id] += row.verdict.passed
    return [
        ItemResult(
            feedback_id=item.feedback_id,
            task_id=item.task_id,
            author=item.author,
            source=item.source,
            seconds=item.seconds,
            words=len(item.text.split()),
            tags=item.tags or categories(item.text),
            tagged=bool(item.tags),
            bugs=item.bugs or count_bugs(item.text),
            counted=item.bugs is not None,
            n=n[item.feedback_id],
            passed=passed[item.feedback_id],
            chosen=item.feedback_id in chosen,
        )
        for item in feedback
    ]
