"""The sandbox as a reward function for TRL's GRPOTrainer: 1.0 for a program that passes its task's tests.

    from trl import GRPOConfig, GRPOTrainer
    from examples.trl_grpo_reward import PassesTests

    reward = PassesTests({task.task_id: task for task in tasks})
    trainer = GRPOTrainer(model=..., reward_funcs=reward, args=GRPOConfig(...), train_dataset=dataset)

The dataset needs a column `task_id` beside `prompt`: TRL hands every column to the reward function as a list
with one entry per completion. A completion becomes a program by the same function that `ilf` uses itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ilf.prompts import Prompter
from ilf.records import Program, Task
from ilf.sandbox import Limits, Verifier


class PassesTests:
    """A reward function with warm workers, for the whole of a training run.

    Args:
        tasks: task_id → task.
        limits: of each program; None is the defaults.
        partial: give the share of tests passed instead of all or nothing.
        prompter: turns a completion into a program, in the style of the prompts.
    """

    __name__ = "passes_tests"  # TRL logs rewards under this name

    def __init__(
        self,
        tasks: Mapping[str, Task],
        *,
        limits: Limits | None = None,
        partial: bool = False,
        prompter: Prompter | None = None,
    ) -> None:
        self.tasks = tasks
        self.prompter = prompter or Prompter("chat")
        self.partial = partial
        self.verifier = Verifier(tasks, limits=limits)

    def __call__(
        self, prompts: Sequence[Any], completions: Sequence[Any], task_id: Sequence[Any], **columns: Any
    ) -> list[float | None]:
        """One reward per completion; None (TRL leaves it out) where the sandbox itself failed."""
        programs = []
        for completion, name in zip(completions, task_id, strict=True):
            text = completion if isinstance(completion, str) else completion[-1]["content"]
            code = self.prompter.extract_program(self.tasks[str(name)], text)
            programs.append(Program(task_id=str(name), code=code))
        return [
            None
            if verdict.status == "sandbox_error"
            else sum(map(bool, verdict.tests)) / len(verdict.tests)
            if self.partial
            else float(verdict.passed)
            for verdict in self.verifier.verify(programs)
        ]

    def close(self) -> None:
        """End the workers."""
        self.verifier.close()
