"""A program that reads its input and prints its output: contests, exercises, scripts.

`tests` are objects `{"input": "3 4\n", "output": "7\n"}`, with a list of outputs where several are right, and
`tolerance` where numbers are printed. A checker is a function `check(input, output, expected)` in `setup`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from ilf.errors import Inexpressible
from ilf.kinds.function import Function
from ilf.records import Program, Task, Verdict
from ilf.sandbox import stdin
from ilf.syntax import normalise, try_parse

if TYPE_CHECKING:
    from ilf.config import VerifyConfig

OPENING = "```python\n"
_FENCED = re.compile(r"^ {0,3}```[^\n`]*\n(.*?)(?:^ {0,3}```|\Z)", re.MULTILINE | re.DOTALL)
_END = re.compile(r"<\|(?:endoftext|im_end|im_start|eot_id|end_of_text|end)\|>")


class Stdin:
    """Programs judged by what they print (`kinds.WordedKind`, `kinds.Opened`)."""

    def request(self, task: Task) -> str:
        """The description, what is read and printed, and one example."""
        parts = [
            task.description.strip(),
            "Write a whole Python 3 program that reads standard input and prints to standard output.",
        ]
        if task.shown:
            example = stdin.case(task.shown)
            parts.append(f"Example input:\n\n```\n{example.input.rstrip()}\n```")
            parts += [f"Example output:\n\n```\n{out.rstrip()}\n```" for out in example.outputs[:1] if out]
        return "\n\n".join(parts)

    def opening(self, task: Task) -> str:
        """Answers begin as code."""
        return OPENING

    def extract(self, task: Task, completion: str) -> str:
        """The code up to the closing fence; of a text with fences of its own the last block that parses."""
        text = _END.split(normalise(completion))[0]
        piece = text.split("\n```")[0]
        if not piece.lstrip().startswith("```") and try_parse(piece) is not None:
            return piece.strip("\n").rstrip() + "\n" if piece.strip() else ""
        blocks = [str(block) for block in _FENCED.findall(text)]
        whole = [block for block in blocks if block.strip() and try_parse(block) is not None]
        found = whole[-1] if whole else blocks[-1] if text.lstrip().startswith("```") and blocks else piece
        return found.strip("\n").rstrip() + "\n" if found.strip() else ""

    def target(self, task: Task, code: str) -> str:
        """The program and the fence that closes it."""
        code = normalise(code).strip("\n").rstrip()
        if not code or "\n```" in "\n" + code:
            raise Inexpressible("a line of it is a code fence" if code else "it is empty")
        return f"{code}\n```"

    def problem(self, task: Task) -> str | None:
        """See `sandbox.stdin.complaint`."""
        return stdin.complaint(task)

    def verify(
        self, tasks: Mapping[str, Task], programs: Iterable[Program], settings: VerifyConfig
    ) -> Iterator[Verdict]:
        """Verdicts of the sandbox."""
        return Function().verify(tasks, programs, settings)

    def reward(self, task: Task, verdict: Verdict) -> float:
        """1 where all outputs are right, else 0."""
        return float(verdict.passed)
