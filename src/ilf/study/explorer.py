"""The report's explorer: the tasks of a study one by one, with what every arm's model writes for them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from ilf.records import Feedback, Program, Refinement, Rows, Verdict
from ilf.report import items
from ilf.report.content import Item
from ilf.report.load import load_run
from ilf.study.results import ArmResult, Results


def items_of(folder: Path, results: Results, seed: int) -> list[Item]:
    """Tasks of a seed with what each arm's model writes; arms that share a model stand together."""
    run = load_run(folder / f"seed-{seed}" / "run")
    sharing: dict[str, list[ArmResult]] = {}
    for result in results.arms:
        for row in result.seeds:
            if row.seed == seed:
                sharing.setdefault(row.written, []).append(result)
    labels: dict[str, str] = {}
    written = {}
    for programs, arms in sharing.items():
        label = "; ".join(result.arm.label for result in arms)
        labels |= {result.arm.name: label for result in arms}
        pair = _written(folder / programs)
        if pair is not None:
            written[label] = pair
    last = run.rounds[-1] if run.rounds else None
    feedback: Sequence[Feedback] = last.feedback if last else []
    refinements: Collection[Refinement] = last.refinements if last else ()
    change = (labels.get("zero-shot", ""), labels.get("ilf", ""))
    found = items.build(
        run.tasks, feedback=feedback, refinements=refinements, verdicts=last.verdicts if last else [],
        written=written, change=change,
    )  # fmt: skip
    for item in found:
        item.seed = str(seed) if len(results.seeds) > 1 else ""
    return found


def _written(path: Path) -> tuple[Rows[Program], Rows[Verdict]] | None:
    verdicts = path.with_name(path.name.replace("programs", "verdicts"))
    if not (path.is_file() and verdicts.is_file()):
        return None
    return Rows(path, Program), Rows(verdicts, Verdict)
