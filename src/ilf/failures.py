"""What wrong programs say alone: `ilf feedback explain` and `rank`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ilf.config import VerifyConfig
from ilf.errors import DataError, UserError
from ilf.formats.programs import Programs
from ilf.policy import Model
from ilf.progress import say
from ilf.records import Program, Refinement, Rows, Task, Verdict, write_jsonl
from ilf.runner import writable
from ilf.sandbox.command import check_programs
from ilf.standalone import by_id, verdicts_on
from ilf.tasks import load_tasks
from ilf.terminal import percent, print_table


def explain(
    source: str, programs: Path, out: Path, *, ids: str | None, verify: VerifyConfig, hide_tests: bool
) -> dict[str, int]:
    """Verify `programs` and write into `out` what their failures say: an item a wrong program.

    Returns:
        How many programs, items (one a wrong program), and programs without a verdict.

    Raises:
        DataError: a row is no program of one of the tasks, or `out` cannot be written.
        SandboxUnavailable: there is no isolation to run programs in.
    """
    from ilf.feedback import execution

    tasks = by_id(load_tasks(source, ids=ids))
    writable(out)
    asked, verdicts = _verified(programs, tasks, verify)
    items = [
        execution.about(tasks[program.task_id], program, verdict, hide_tests=hide_tests)
        for program, verdict in zip(asked, verdicts, strict=True)
        if verdict.status not in ("passed", "sandbox_error")
    ]
    write_jsonl(out, items)
    unscored = sum(verdict.status == "sandbox_error" for verdict in verdicts)
    without = f", {unscored} without a verdict" if unscored else ""
    say(f"{len(asked)} programs, {len(items)} of them wrong{without}: {out}")
    return {"programs": len(asked), "items": len(items), "unscored": unscored}


def rank(
    source: str,
    programs: Path,
    *,
    ids: str | None,
    verify: VerifyConfig,
    budget: int | None,
    people: Path | None,
    rest: Path | None,
    tagger: Model | None = None,
) -> dict[str, Any]:
    """Print which of the tasks that no program solves to ask people about first; with both files of
    refinements, also what that order would have gained over random choice. With a `tagger` its kinds of bug
    stand in the place of the rules' kinds of mistake.

    Returns:
        `tasks`, the first to ask about first, and `replay` (`replay.Replay`, or None).

    Raises:
        DataError: every task is solved; the files have too few tasks in common; the budget is not possible.
        UserError: one of the files is given without the other.
    """
    from ilf.feedback import asking, candidates, replay

    if (people is None) != (rest is None):
        raise UserError("--people and --rest: a replay needs both")
    tasks = by_id(load_tasks(source, ids=ids))
    asked, verdicts = _verified(programs, tasks, verify)
    of_task: dict[str, list[Verdict]] = {}
    for verdict in verdicts:
        of_task.setdefault(verdict.task_id, []).append(verdict)
    wrong = candidates(asked, verdicts)
    if not wrong:
        raise DataError(f"{programs}: there is nothing to ask about: every task is solved")
    failures = [asking.failure(tasks[n], pairs[0], of_task[n]) for n, pairs in wrong.items()]
    if tagger is not None:
        from ilf.bugkinds import of_model

        kinds = of_model(tagger, [(tasks[n], pairs[0][0].code, None) for n, pairs in wrong.items()])
        failures = [
            replace(one, kind=", ".join(named) or one.kind)
            for one, named in zip(failures, kinds, strict=True)
        ]
    order = asking.rank(failures)
    listed = [
        {"task_id": r.failure.task_id, "kind": r.failure.kind, "like": r.like, "gain": r.gain,
         "nearness": r.failure.nearness, "disagreement": r.failure.disagreement}
        for r in order[:budget]
    ]  # fmt: skip
    print_table(
        f"What to ask people about: {len(order)} tasks",
        ["task", "failure", "tasks like it", "nearness", "disagreement", "gain"],
        [
            [str(row["task_id"]), str(row["kind"]), str(row["like"]),
             *(f"{row[name]:.2f}" for name in ("nearness", "disagreement", "gain"))]
            for row in listed
        ],
    )  # fmt: skip
    if people is None or rest is None:
        return {"tasks": listed, "replay": None}
    gain = replay.gains(Rows(people, Refinement), Rows(rest, Refinement))
    names = [ranked.failure.task_id for ranked in order]
    known = sum(name in gain for name in names)
    found = replay.replay(names, gain, max(1, known // 3) if budget is None else budget)
    print_table(
        "Gain in pass rate an item",
        ["tasks asked about", "tasks", "gain [95%]"],
        [
            ["by expected gain", str(found.budget), percent(found.chosen)],
            ["at random", f"{found.budget} of {found.tasks}", percent(found.random)],
            ["difference", "", percent(found.difference)],
        ],
    )
    return {"tasks": listed, "replay": found}


def _verified(
    path: Path, tasks: Mapping[str, Task], verify: VerifyConfig
) -> tuple[list[Program], list[Verdict]]:
    """The distinct programs of a file, one task's together, with their verdicts."""
    found = Programs(path, tasks)
    check_programs(found, dict(tasks))
    rows = (Program(task_id=row["task_id"], code=row["code"]) for _, row in found)
    distinct = list({program.program_id: program for program in rows}.values())
    return distinct, verdicts_on(tasks, distinct, verify)
