"""Feedback f on one wrong program a task that πθ never solved (Algorithm 1, line 2)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ilf.errors import DataError, NothingLeft
from ilf.feedback.sources import Asked, source_of
from ilf.progress import say
from ilf.records import Feedback, read_jsonl, write_jsonl
from ilf.runfolder import digest
from ilf.runner import Job, Step


@dataclass(frozen=True)
class Gather(Step[list[Feedback]]):
    """What the configured source says of the programs that failed."""

    file = "3-feedback.jsonl"

    asked: Asked

    def inputs(self) -> Mapping[str, Any]:
        """All that decides the feedback; what people write is taken when there is enough of it."""
        asked = self.asked
        return {
            "programs": digest(asked.programs.path),
            "verdicts": digest(asked.verdicts.path),
            "feedback": asked.settings.deciding(),
            "recorded": None if asked.recorded is None else digest(asked.recorded),
            "writer": None if asked.writer is None else asked.writer.identity(),
            "verify": asked.verify.deciding(),
            "seed": asked.seed,
            **({"round": asked.round} if asked.round > 1 else {}),
            **({"exports": _exports(asked)} if "review" in asked.settings.sources else {}),
        }

    def run(self, job: Job) -> dict[str, float]:
        """Ask the source.

        Raises:
            NothingLeft: it has nothing to say.
            Waiting: people are not done yet.
        """
        asked = self.asked
        if asked.only_unsolved:
            say(f"    {len(asked.wanted)} of {len(asked.tasks)} tasks were never solved")
        items = source_of(asked.settings.source)(asked, job.place)
        if not items:
            hint = ""
            if asked.only_unsolved and len(asked.wanted) < len(asked.tasks):
                hint = "; feedback.only_unsolved = false also takes tasks that the model solves now and then"
            raise NothingLeft(
                "no feedback for the tasks of splits refine and train "
                f"(source: {asked.settings.source}): nothing to learn from{hint}"
            )
        write_jsonl(job.out, items)
        shares = Counter(item.source for item in items)
        if len(shares) > 1:
            told = (f"{count} by {name} ({count / len(items):.0%})" for name, count in shares.most_common())
            say(f"    {len(items)} items: {', '.join(told)}")
        return {
            "items": len(items),
            "with refinement": sum(item.refinement is not None for item in items),
            **({f"by {name}": count for name, count in shares.items()} if len(shares) > 1 else {}),
        }

    def result(self, out: Path) -> list[Feedback]:
        """The items.

        Raises:
            DataError: one is on a task of no split of this run.
        """
        items = read_jsonl(out, Feedback)
        known = self.asked.tasks.keys() | self.asked.held_out
        unknown = next((item.task_id for item in items if item.task_id not in known), None)
        if unknown is not None:
            raise DataError(f"{out}: feedback on task {unknown!r}, which is in no split of this run")
        return items


def _exports(asked: Asked) -> list[str]:
    return [digest(Path(path)) for path in asked.settings.review.exports]
