"""Tasks that a model failed, and a clock that tests move."""

from __future__ import annotations

from types import SimpleNamespace

from ilf.records import Program, Task, Verdict

WRONG = "def double_{n}(x):\n    return x + {n}\n"
RIGHT = "def double_{n}(x):\n    return x + x\n"


class Clock:
    """Seconds since 1970, moved by hand."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


def make_tasks(count: int) -> list[Task]:
    return [
        Task(
            task_id=f"t{n}",
            description=f"Give back twice the number (variant {n}).",
            entry_point=f"double_{n}",
            prefix=f"def double_{n}(x):\n",
            tests=(f"assert double_{n}(1) == 2", f"assert double_{n}(21) == 42"),
            reference=RIGHT.format(n=n),
        )
        for n in range(1, count + 1)
    ]


def make_failures(tasks: list[Task]) -> tuple[list[Program], list[Verdict]]:
    """Two distinct wrong programs a task; the second passes one of the two tests."""
    programs, verdicts = [], []
    for n, task in enumerate(tasks, start=1):
        broken = Program(
            task_id=task.task_id, code=f"def double_{n}(x):\n    return x +\n", index=0, model="m0"
        )
        near = Program(task_id=task.task_id, code=WRONG.format(n=n), index=1, model="m0")
        programs += [broken, near]
        verdicts += [
            Verdict(
                task_id=task.task_id,
                program_id=broken.program_id,
                status="error",
                tests=(None, None),
                error="SyntaxError: invalid syntax",
                line=2,
            ),
            Verdict(
                task_id=task.task_id,
                program_id=near.program_id,
                status="failed",
                tests=(n == 1, False),
                test=1,
                call=f"double_{n}(21)",
                expected="42",
                actual=str(21 + n),
            ),
        ]
    return programs, verdicts


class FakeVerifier:
    """Verdicts by looking, so that page tests need no sandbox: `x + x` passes, everything else fails."""

    workers = 1

    def __init__(self) -> None:
        self.ran: list[str] = []

    def verify_one(self, task: Task, code: str) -> Verdict:
        self.ran.append(code)
        program = Program(task_id=task.task_id, code=code)
        if "x + x" in code:
            return Verdict(
                task_id=task.task_id, program_id=program.program_id, status="passed", tests=(True, True)
            )
        return Verdict(
            task_id=task.task_id,
            program_id=program.program_id,
            status="failed",
            tests=(False, False),
            test=0,
            call=task.tests[0],
            expected="2",
            actual="<script>alert(1)</script>",
            line=2,
        )

    def run(self, task: Task, code: str, expression: str):
        self.ran.append(expression)
        return SimpleNamespace(status="passed", value="42", error=None, line=None, stdout="<b>hi</b>")

    def close(self) -> None:
        pass
