"""A task kind: the answer is a word, to be written in capital letters; no program, and no sandbox."""

from collections.abc import Iterable, Iterator, Mapping

from ilf.config import VerifyConfig
from ilf.records import Program, Task, Verdict


class Shout:
    """Tasks whose `tests` hold the one right answer."""

    def request(self, task: Task) -> str:
        return task.description

    def extract(self, task: Task, completion: str) -> str:
        return completion.strip()

    def target(self, task: Task, code: str) -> str:
        return f" {code}\n"

    def verify(
        self, tasks: Mapping[str, Task], programs: Iterable[Program], settings: VerifyConfig
    ) -> Iterator[Verdict]:
        for program in programs:
            right = program.code == tasks[program.task_id].tests[0]
            yield Verdict(
                task_id=program.task_id,
                program_id=program.program_id,
                status="passed" if right else "failed",
                tests=(right,),
                detail="" if right else f"{program.code!r} is not the answer",
            )

    def reward(self, task: Task, verdict: Verdict) -> float:
        return float(verdict.passed)
