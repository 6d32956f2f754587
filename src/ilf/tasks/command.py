"""`ilf tasks show|check|audit|convert`: look at tasks, verify references, find weak tests, write our form."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ilf.errors import ConfigError, DataError
from ilf.output import answer, tell
from ilf.records import Program, Task, Verdict, write_jsonl
from ilf.tasks import SUITES, load_tasks, source_hash
from ilf.tasks.check import CONSTANTS, INPUT, SHOWN, Verify, check_feedback
from ilf.tasks.check import audit as audit_tasks
from ilf.tasks.check import check as check_tasks
from ilf.terminal import console

if TYPE_CHECKING:
    from ilf.prompts import Style
    from ilf.rewardconfig import RewardConfig
    from ilf.sandbox import Where

NAMED = 20
"""How many failing references are printed in full."""


def show(
    source: str,
    *,
    task_id: str | None = None,
    ids: str | None = None,
    style: str = "completion",
    columns: Mapping[str, str] | None = None,
) -> None:
    """Print the tasks of a source as a list, or one task in full with its prompt; or their rows in our form.

    Raises:
        UserError: see `load_tasks`; or there is no such task or prompt style.
    """
    tasks = load_tasks(source, ids=ids, columns=columns)
    if task_id is not None:
        one = next((task for task in tasks if task.task_id == task_id), None)
        if one is None:
            near = f"{tasks[0].task_id} to {tasks[-1].task_id}"
            raise ConfigError(f"{source} has no task {task_id!r}; its {len(tasks)} ids run from {near}")
        tell(in_full(one, style).rstrip("\n"))
        answer(one)
        return
    answer(tasks)
    tell(f"{source}: {len(tasks)} tasks\n")
    _table(
        ["id", "split", "entry point", "tests", "description"],
        [[t.task_id, t.split or "", t.entry_point, str(len(t.tests)), _line(t.description)] for t in tasks],
    )
    tell(_summary(tasks))


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Rows under their columns' names; a column without content is left out, the last is cut to fit."""
    cells = [columns, *rows]
    full = [n for n in range(len(columns)) if any(row[n] for row in cells[1:])]
    width = {n: max(len(row[n]) for row in cells) for n in full[:-1]}
    room = max(console().width - sum(width.values()) - 2 * len(width), 20)
    for row in cells:
        last = row[full[-1]]
        shown = last if len(last) <= room else last[: room - 1] + "…"
        tell("".join(row[n].ljust(width[n] + 2) for n in full[:-1]) + shown)
    tell("")


def _line(text: str) -> str:
    return " ".join(text.split())


def _summary(tasks: Sequence[Task]) -> str:
    splits = Counter(task.split for task in tasks if task.split)
    parts = [f"{name} {count}" for name, count in splits.items()]
    parts += [f"{sum(len(t.tests) for t in tasks)} tests", f"sha256 {source_hash(tasks)[:16]}"]
    shared = sum(task.isolation == "shared" for task in tasks)
    if shared:
        parts.append(f"{shared} with isolation shared")
    return ", ".join(parts)


def in_full(task: Task, style: str = "completion") -> str:
    """One task as a text: its fields, its tests (the shown one marked), its reference, and its prompt."""
    from ilf.prompts import Prompter

    chosen: Style
    if style == "chat":
        chosen = "chat"
    elif style == "completion":
        chosen = "completion"
    else:
        raise ConfigError(f"--style: {style!r} is neither completion nor chat")
    facts = [f"Task {task.task_id}"]
    facts += [f"entry point {task.entry_point}"] if task.entry_point else []
    facts += [f"kind {task.kind}"] if task.kind != "function" else []
    facts += [f"split {task.split}"] if task.split else []
    facts += [f"tags {', '.join(task.tags)}"] if task.tags else []
    facts += ["isolation shared"] if task.isolation == "shared" else []
    sections = [("", " · ".join(facts)), ("Description", task.description)]
    tests = [f"{test}{'   # shown' if test == task.shown else ''}" for test in task.tests]
    sections.append(("Tests", "\n".join(tests)))
    if task.shown and task.shown not in task.tests:
        sections.append(("Shown example", task.shown))
    if task.setup.strip():
        sections.append(("Before the tests", task.setup.strip()))
    if task.reference:
        sections.append(("Reference", task.reference.rstrip()))
    prompt = Prompter(chosen).program(task)
    sections.append((f"Prompt ({chosen})", prompt.text))
    return "\n\n".join(f"--- {title} ---\n{text}" if title else text for title, text in sections) + "\n"


def _verifier(
    tasks: Sequence[Task],
    cpu_seconds: float,
    unsafe: bool,
    isolation: Where = "auto",
    reward: RewardConfig | None = None,
) -> Verify:
    from ilf import kinds
    from ilf.config import VerifyConfig
    from ilf.rewardconfig import RewardConfig
    from ilf.sandbox import Limits

    # Twice as much by the clock: a program that waits is stopped, one on a busy machine is not.
    limits = Limits(cpu_seconds=cpu_seconds, wall_seconds=2 * cpu_seconds)
    settings = VerifyConfig(
        limits=limits, unsafe=unsafe, isolation=isolation, reward=reward or RewardConfig()
    )
    by_id = {task.task_id: task for task in tasks}

    def verify(programs: Iterable[Program]) -> Iterator[Verdict]:
        return kinds.verify(by_id, programs, settings)

    return verify


def check(
    source: str,
    *,
    ids: str | None = None,
    feedback: Path | None = None,
    cpu_seconds: float = 30.0,
    isolation: Where = "auto",
    unsafe: bool = False,
    columns: Mapping[str, str] | None = None,
    reward: RewardConfig | None = None,
) -> int:
    """Run every reference program, and the programs of feedback; print what is wrong, and counts.

    Args:
        source: of tasks.
        ids: only these tasks.
        feedback: a file of feedback on the source's tasks; for a shipped suite its own.
        cpu_seconds: for each program.
        isolation: where tests run, for tasks that leave it open; see `ilf.sandbox.Verifier`.
        unsafe: without isolation.
        columns: field of a task → column (`--map`).
        reward: what texts are worth; needed for tasks of kind `text`.

    Returns:
        The exit status: 0 when there is nothing to complain about, 1 otherwise.
    """
    from ilf.feedback import recorded

    tasks = load_tasks(source, ids=ids, columns=columns)
    by_id = {task.task_id: task for task in tasks}
    if feedback is None and source in SUITES:
        feedback = SUITES[source] / "feedback.jsonl"
    items = recorded.read(feedback, None if ids else by_id) if feedback is not None else []
    items = [item for item in items if item.task_id in by_id]
    verify = _verifier(tasks, cpu_seconds, unsafe, isolation, reward)
    checked = check_tasks(tasks, verify)
    complaints = check_feedback(items, by_id, verify)
    apart = [by_id[v.task_id] for v in checked.failing if not v.shared]
    if isolation == "auto":  # it has been tried there already
        apart = [task for task in apart if task.isolation == "separate"]
    weaker = _pass_when_shared(apart, cpu_seconds, unsafe)
    for verdict in checked.failing[:NAMED]:
        tell(f"Task {verdict.task_id}: {verdict.status}\n{verdict.detail}\n")
    more = [verdict.task_id for verdict in checked.failing[NAMED:]]
    if more:
        tell(f"… and {len(more)} more: {', '.join(more)}")
    verified = len(checked.verdicts)
    tell(f"{verified - len(checked.failing)} of {verified} reference programs pass their tests.")
    slowest = max(checked.verdicts, key=lambda v: v.seconds, default=None)
    if slowest is not None:
        tell(f"The slowest is task {slowest.task_id} with {slowest.seconds:.1f} s of CPU time.")
    if checked.without_reference:
        tell(f"{len(checked.without_reference)} tasks have no reference program.")
    named = f" ({', '.join(checked.shared)})" if checked.shared else ""
    tell(f"{len(checked.shared)} tasks ask for isolation shared{named}.")
    if checked.found:
        why = "because their references pass only so" if isolation == "auto" else "as --isolation says"
        tell(
            f"{len(checked.found)} tasks get isolation shared, {why}; tests run inside the program's process "
            f"there, and a hostile program is able to cheat: {', '.join(checked.found)}"
        )
    if weaker:
        tell(
            f'{len(weaker)} of the failing ones pass with isolation = "shared" in their row, where tests run '
            f"inside the program's process and a hostile program is able to cheat: {', '.join(weaker)}"
        )
    if feedback is not None:
        for place, complaint in list(complaints.items())[:NAMED]:
            tell(f"Feedback {place + 1}, on task {items[place].task_id}: {complaint}")
        sound = len(items) - len(complaints)
        tell(
            f"{sound} of {len(items)} feedback items are sound: the wrong program fails, and the refinement, "
            f"where there is one, passes and changes less than {recorded.MAX_EDIT:.0%}."
        )
    answer(
        {
            "tasks": checked.tasks,
            "references": verified,
            "failing": checked.failing,
            "without_reference": checked.without_reference,
            "shared": checked.shared,
            "found_shared": checked.found,
            "pass_when_shared": weaker,
            "feedback": len(items),
            "complaints": [
                {"item": place + 1, "task_id": items[place].task_id, "complaint": complaint}
                for place, complaint in complaints.items()
            ],
        }
    )
    return 1 if checked.failing or complaints else 0


def _pass_when_shared(failing: Sequence[Task], cpu_seconds: float, unsafe: bool) -> list[str]:
    """Ids of the tasks whose references pass where the tests run inside the program's own process."""
    tried = [task.model_copy(update={"isolation": "shared"}) for task in failing if task.kind == "function"]
    if not tried:
        return []
    verify = _verifier(tried, cpu_seconds, unsafe)
    return [verdict.task_id for verdict in check_tasks(tried, verify).verdicts if verdict.passed]


def audit(
    source: str,
    *,
    ids: str | None = None,
    cpu_seconds: float = 5.0,
    unsafe: bool = False,
    columns: Mapping[str, str] | None = None,
) -> int:
    """Run stubs against every task; print the tasks whose tests one passes.

    Returns:
        The exit status, 0: such tasks are a warning, not an error.
    """
    tasks = load_tasks(source, ids=ids, columns=columns)
    weak = audit_tasks(tasks, _verifier(tasks, cpu_seconds, unsafe))
    if weak:
        descriptions = {task.task_id: task.description for task in tasks}
        tell("Tasks whose tests a stub passes\n")
        _table(
            ["task", "it returns", "description"],
            [[w.task_id, ", ".join(w.stubs), _line(descriptions[w.task_id])] for w in weak],
        )
    counts = Counter(stub for w in weak for stub in w.stubs)
    each = ", ".join(f"{name} {counts[name]}" for name in (*CONSTANTS, SHOWN, INPUT))
    tell(f"{len(weak)} of {len(tasks)} tasks: {each}")
    answer({"tasks": len(tasks), "weak": weak, "stubs": counts})
    return 0


def convert(
    source: str, out: Path, *, ids: str | None = None, columns: Mapping[str, str] | None = None
) -> None:
    """Write the tasks of a source, in whatever form they are, in ours.

    Raises:
        UserError: see `load_tasks`; or `out` is there already.
    """
    tasks = load_tasks(source, ids=ids, columns=columns)
    if out.exists():
        raise DataError(f"{out} is there already: choose another --out, or remove it")
    if not out.parent.is_dir():
        raise DataError(f"{out}: there is no folder {out.parent}")
    write_jsonl(out, tasks)
    tell(f"{len(tasks)} tasks: {out}")
    answer({"tasks": len(tasks), "out": out})
