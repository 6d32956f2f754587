"""What wrong programs say alone: `ilf feedback explain`, `rank` and `agree`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

from ilf import metrics
from ilf.config import VerifyConfig
from ilf.errors import DataError, UserError
from ilf.formats.programs import Programs
from ilf.kinds.function import check_sandbox
from ilf.places import Local
from ilf.progress import progress, say
from ilf.records import Program, Refinement, Rows, Task, Verdict, write_jsonl
from ilf.runner import writable
from ilf.sandbox.command import check_programs
from ilf.standalone import by_id
from ilf.tasks import load_tasks
from ilf.terminal import percent, print_table

Judged = Sequence[Sequence[str]]
"""The kinds of bug of each item."""


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
) -> dict[str, Any]:
    """Print which of the tasks that no program solves to ask people about first; with both files of
    refinements, also what that order would have gained over random choice.

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
    order = asking.rank([asking.failure(tasks[n], pairs[0], of_task[n]) for n, pairs in wrong.items()])
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


def agree(source: str, feedback: Path, *, verify: VerifyConfig) -> dict[str, Any]:
    """Print how far the rules for kinds of bug agree with the tags of feedback, as kappa.

    The wrong programs are run: one of the rules looks at the failure alone. Without a tag in the file the two
    rules are compared with one another.

    Returns:
        `items`, `tagged`, and `kinds`: kind → each judge's share of items, and Cohen's kappa of each pair.

    Raises:
        DataError: no feedback on the tasks.
        SandboxUnavailable: there is no isolation to run programs in.
    """
    from ilf.feedback import recorded, tagger
    from ilf.feedback.case import Case

    tasks = by_id(load_tasks(source))
    items = recorded.read(feedback, tasks)
    # A suite may have tags of its own, which are no kinds of bug.
    tagged = [item for item in items if tagger.PAPER_CATEGORIES.keys() & set(item.tags)]
    # Where an item is on a program that passes there is no failure to look at.
    programs = [Program(task_id=item.task_id, code=item.code) for item in tagged or items]
    check_sandbox(verify)
    with progress("verifying programs", len(programs)) as bar:
        verdicts = list(Local().verify(tasks, programs, verify, bar))
    judged = [
        (
            item,
            tagger.categories(item.text),
            tagger.of_failure(Case(tasks[item.task_id], program, verdict, False)),
        )
        for item, program, verdict in zip(tagged or items, programs, verdicts, strict=True)
        if verdict.status not in ("passed", "sandbox_error")
    ]
    if not judged:
        raise DataError(f"{feedback}: no feedback on programs that fail")

    def kappa(one: Judged, two: Judged, name: str) -> metrics.Estimate | None:
        return metrics.kappa([name in tags for tags in one], [name in tags for tags in two])

    def cell(found: metrics.Estimate | None) -> str:
        return "–" if found is None else f"{found.value:.2f} [{found.low:.2f}, {found.high:.2f}]"

    people, texts = [item.tags for item, _, _ in judged], [found for _, found, _ in judged]
    failures = [found for _, _, found in judged]
    used = {tag for tags in (*people, *texts, *failures) for tag in tags}
    known = [name for name in tagger.PAPER_CATEGORIES if name in used]

    judges: dict[str, Judged] = {"tags": people} if tagged else {}
    judges |= {"text": texts, "failure": failures}
    pairs = [*combinations(judges, 2)]
    kinds: dict[str, dict[str, Any]] = {
        name: {
            "share": {judge: sum(name in tags for tags in of) / len(of) for judge, of in judges.items()},
            "kappa": {f"{a} and {b}": kappa(judges[a], judges[b], name) for a, b in pairs},
        }
        for name in known
    }
    said = "tagged by their authors" if tagged else "none tagged with kinds of bug"
    print_table(
        f"Kinds of bug: {len(judged)} items, {said}",
        ["kind", "tags", "text", "failure", *(f"kappa, {a} and {b}" for a, b in pairs)],
        [
            [name, *(f"{kind['share'][j]:.0%}" if j in judges else "–" for j in ("tags", "text", "failure")),
             *(cell(kind["kappa"][f"{a} and {b}"]) for a, b in pairs)]
            for name, kind in kinds.items()
        ],
    )  # fmt: skip
    return {"items": len(judged), "tagged": bool(tagged), "kinds": kinds}


def _verified(
    path: Path, tasks: Mapping[str, Task], verify: VerifyConfig
) -> tuple[list[Program], list[Verdict]]:
    """The distinct programs of a file, one task's together, with their verdicts."""
    found = Programs(path, tasks)
    check_programs(found, dict(tasks))
    rows = (Program(task_id=row["task_id"], code=row["code"]) for _, row in found)
    distinct = list({program.program_id: program for program in rows}.values())
    check_sandbox(verify)
    with progress("verifying programs", len(distinct)) as bar:
        return distinct, list(Local().verify(tasks, distinct, verify, bar))
