"""A model's programs in the forms in which evalplus and lm-eval keep them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any

from ilf.records import Program


def evalplus(programs: Iterable[Program]) -> Iterator[dict[str, Any]]:
    """A row a program: `evalplus.evaluate --samples FILE` and BigCodeBench read them."""
    for program in programs:
        yield {"task_id": program.task_id, "solution": program.code}


def lm_eval(programs: Iterable[Program]) -> Iterator[dict[str, Any]]:
    """A row a task, as `lm_eval --log_samples` writes them; a task's programs must follow one another."""
    for number, (task_id, group) in enumerate(groupby(programs, key=lambda program: program.task_id)):
        of_task = list(group)
        said = [program.code if program.completion is None else program.completion for program in of_task]
        yield {
            "doc_id": number,
            "doc": {"task_id": task_id},
            "target": "",
            "arguments": {},
            "resps": [said],
            "filtered_resps": [[program.code for program in of_task]],
            "filter": "ilf",
        }
