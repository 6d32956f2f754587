"""Questions with answers, as `verifiers` environments and TRL's data sets for GRPO have them."""

from __future__ import annotations

from typing import Any

from ilf.records import Task
from ilf.tasks.rows import BadRow, Row

QUESTION = ("question", "prompt", "problem")
ANSWER = ("answer", "solution", "ground_truth")
IDS = ("task_id", "id", "example_id", "idx")


def read(row: Row, number: int) -> Task:
    """One row as a `Task` of kind `answer`; raises `BadRow`.

    Args:
        row: a question as a text or as chat messages, and its answer.
        number: of the row, which is its id where it has none.
    """
    asked = next(row[name] for name in QUESTION if row.get(name) is not None)
    answer = next((row[name] for name in ANSWER if row.get(name) is not None), None)
    if answer is None or isinstance(answer, list | dict) or not str(answer).strip():
        raise BadRow("answer: a text was expected")
    # GSM8K's answers are worked out, with the result behind four hashes.
    text = str(answer).rpartition("####")[2].strip()
    return Task(
        task_id=str(next((row[name] for name in IDS if row.get(name) is not None), number)),
        description=_question(asked),
        tests=(text,),
        example="",
        reference=text,
        kind="answer",
    )


def _question(asked: Any) -> str:
    """The question of a text or of messages; what a system message says stands before it."""
    if isinstance(asked, str) and asked.strip():
        return asked.strip()
    try:
        said = [(message["role"], message["content"]) for message in asked]
        if all(isinstance(content, str) for _, content in said) and said[-1][0] == "user":
            return "\n\n".join(content.strip() for role, content in said if role in ("system", "user"))
    except (TypeError, KeyError, IndexError):
        pass
    raise BadRow("prompt: a text, or messages with role and content that end with the user's, was expected")
