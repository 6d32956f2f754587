"""The served sandbox as a reward: for TRL's GRPOTrainer, and for verl as its custom reward function.

    ilf serve verifier --tasks mbpp --keys-file keys.txt --host 0.0.0.0     # on machines with cores to spare

TRL (the dataset needs a column `task_id` beside `prompt`):

    from examples.served_reward import Served
    reward = Served("http://verifier:8080", key="…")
    trainer = GRPOTrainer(model=..., reward_funcs=reward, args=GRPOConfig(...), train_dataset=dataset)

verl (`ground_truth` is a task as JSON, or the id of one that the server knows):

    export ILF_VERIFIER=http://verifier:8080 ILF_VERIFIER_KEY=…
    … custom_reward_function.path=examples/served_reward.py custom_reward_function.name=compute_score
"""

from __future__ import annotations

import json
import os
import random
import re
import time
from collections.abc import Sequence
from typing import Any

import httpx

BUSY = (429, 503, 504)
"""Statuses that say: later."""
_FENCED = re.compile(r"```(?:python|py)?[ \t]*\n(.*?)(?:```|\Z)", re.DOTALL)


def program_in(completion: Any) -> str:
    """The last fenced block of a completion, or all of it."""
    text = completion if isinstance(completion, str) else completion[-1]["content"]
    blocks = _FENCED.findall(text)
    return blocks[-1] if blocks else text


class Served:
    """A reward function: 1.0 for a program that passes its task's tests.

    Args:
        url: of `ilf serve verifier`.
        key: one of its keys, where it has some.
        tasks: task_id → task as JSON, for tasks that the server does not know.
        partial: give the share of tests passed instead of all or nothing.
        patience: seconds to wait for a server that is busy or away.
    """

    __name__ = "passes_tests"  # TRL logs rewards under this name

    def __init__(
        self,
        url: str,
        *,
        key: str | None = None,
        tasks: dict[str, dict[str, Any]] | None = None,
        partial: bool = False,
        patience: float = 300.0,
    ) -> None:
        self.tasks, self.partial, self.patience = tasks or {}, partial, patience
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self.client = httpx.Client(base_url=url, headers=headers, timeout=httpx.Timeout(60, read=600))

    def __call__(
        self, prompts: Sequence[Any], completions: Sequence[Any], task_id: Sequence[Any], **columns: Any
    ) -> list[float | None]:
        """One reward a completion; None (TRL leaves it out) where the sandbox itself failed."""
        programs = [
            {"task_id": str(name), "code": program_in(completion)}
            for completion, name in zip(completions, task_id, strict=True)
        ]
        return self.rewards(programs, [self.tasks[name] for name in {*map(str, task_id)} & self.tasks.keys()])

    def rewards(self, programs: list[dict[str, str]], tasks: list[dict[str, Any]]) -> list[float | None]:
        """One reward a program."""
        rewards: list[float | None] = [None] * len(programs)
        until = time.monotonic() + self.patience
        while True:
            try:
                response = self.client.post("/v1/verify", json={"tasks": tasks, "programs": programs})
                if response.status_code not in BUSY:
                    break
                wait = float(response.headers.get("retry-after", 1))
            except httpx.TransportError:
                wait = 1.0
            if time.monotonic() + wait > until:
                raise TimeoutError(f"{self.client.base_url}: busy or away for {self.patience:g} s")
            time.sleep(wait * random.uniform(0.8, 1.2))
        if response.status_code != 200:
            raise ValueError(f"{self.client.base_url}: {response.json()['error']}")
        *rows, last = map(json.loads, response.text.splitlines())
        if last.get("done") != len(programs):
            raise ConnectionError(f"{self.client.base_url}: the answer is not whole")
        for row in rows:
            if row.get("status", "sandbox_error") != "sandbox_error":
                share = sum(map(bool, row["tests"])) / len(row["tests"])
                rewards[row["index"]] = share if self.partial else float(row["passed"])
        return rewards


_served: Served | None = None


def compute_score(
    data_source: str, solution_str: str, ground_truth: str, extra_info: Any = None, **rest: Any
) -> float:
    """verl's custom reward function; a program that could not be judged counts as 0, as verl has no None."""
    global _served
    if _served is None:
        key = os.environ.get("ILF_VERIFIER_KEY")
        _served = Served(os.environ.get("ILF_VERIFIER", "http://127.0.0.1:8080"), key=key)
    try:
        task = json.loads(ground_truth)
    except ValueError:
        task = ground_truth
    tasks = [task] if isinstance(task, dict) else []
    name = str(task["task_id"] if isinstance(task, dict) else task)
    [reward] = _served.rewards([{"task_id": name, "code": program_in(solution_str)}], tasks)
    return reward or 0.0
