r"""A question with one right answer: a number, a word, a choice. Nothing is run, and nobody judges.

Models are asked to put their answer on a last line, `Answer: …`; `\boxed{…}`, which many were trained to
write, counts too. Numbers are compared as numbers (`1,000` is `1000.0`), all else as text without regard to
case, spaces at the ends and a full stop.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING

from ilf.records import Program, Task, Verdict

if TYPE_CHECKING:
    from ilf.config import VerifyConfig

_LINE = re.compile(r"(?im)^[ \t>*#]*(?:the )?(?:final )?answer(?: is)?[ \t*]*[:=]?[ \t*]*(\S.*)$")
_NUMBER = re.compile(r"[-+]?\$?[\d,]*\.?\d+(?:[eE][-+]?\d+)?%?")


class Answer:
    """Tasks whose `tests` hold the right answers, one of which must be given (`kinds.WordedKind`)."""

    def request(self, task: Task) -> str:
        """The question, and where the answer should stand."""
        shown = f"\n\nFor example: {task.shown}" if task.example else ""
        return f"{task.description}{shown}\n\nEnd with one line: Answer: …"

    def extract(self, task: Task, completion: str) -> str:
        """What is boxed, or behind the last `Answer:`, or else the last line."""
        boxed = _boxed(completion)
        if boxed is not None:
            return boxed.strip()
        found = _LINE.findall(completion)
        lines = [line.strip() for line in completion.splitlines() if line.strip()]
        text = found[-1] if found else (lines[-1] if lines else "")
        return str(text).strip().strip("*").strip()

    def target(self, task: Task, code: str) -> str:
        """The answer as it is asked for."""
        return f"Answer: {code.strip()}\n"

    def problem(self, task: Task) -> str | None:
        """No task without an answer."""
        return None if all(test.strip() for test in task.tests) else "tests: a right answer is empty"

    def verify(
        self, tasks: Mapping[str, Task], programs: Iterable[Program], settings: VerifyConfig
    ) -> Iterator[Verdict]:
        """`passed` where the answer is one of the task's."""
        for program in programs:
            task = tasks[program.task_id]
            given = program.code.strip()
            right = bool(given) and any(same(given, test) for test in task.tests)
            yield Verdict(
                task_id=program.task_id,
                program_id=program.program_id,
                status="passed" if right else "failed" if given else "no_code",
                tests=(right, *[None] * (len(task.tests) - 1)),
                test=None if right else 0,
                actual=given or None,
                detail="" if right else f"The answer {given!r} is wrong." if given else "There is no answer.",
            )

    def reward(self, task: Task, verdict: Verdict) -> float:
        """1 for a right answer, else 0."""
        return float(verdict.passed)


def same(given: str, right: str) -> bool:
    """Whether two answers mean the same: as numbers where both are some, else as texts."""
    one, other = _number(given), _number(right)
    if one is not None and other is not None:
        return one == other
    return _plain(given) == _plain(right)


def _plain(text: str) -> str:
    return " ".join(text.strip().strip("$").rstrip(".").split()).casefold()


def _number(text: str) -> Decimal | None:
    text = text.strip().rstrip(".").replace("$", "").replace("\\", "")
    if not _NUMBER.fullmatch(text):
        return None
    try:
        return Decimal(text.rstrip("%").replace(",", ""))
    except InvalidOperation:
        return None


def _boxed(text: str) -> str | None:
    r"""What stands in the last `\boxed{…}`, its braces matched."""
    at = text.rfind("\\boxed{")
    if at < 0:
        return None
    start, depth = at + len("\\boxed{"), 1
    for place in range(start, len(text)):
        depth += {"{": 1, "}": -1}.get(text[place], 0)
        if not depth:
            return text[start:place]
    return None
