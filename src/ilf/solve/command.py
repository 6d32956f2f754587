"""What `ilf solve` and `ilf refine --program` do."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ilf import policy
from ilf.config import EngineConfig, SamplingConfig, VerifyConfig
from ilf.errors import DataError
from ilf.kinds.function import check_sandbox
from ilf.output import machines, tell
from ilf.places import Local
from ilf.progress import say
from ilf.prompts import Style
from ilf.records import Feedback, Task, write_jsonl
from ilf.runfolder import write_text
from ilf.runner import writable
from ilf.solve.dialogue import Quit, show, talk
from ilf.solve.turns import Solution, Solver, Turn, kept, shown_only, solution, solve
from ilf.steps import Refiner
from ilf.tasks import load_tasks
from ilf.terminal import console


def make_solver(
    model: str,
    refiner: str | None,
    *,
    engine: EngineConfig,
    style: Style,
    settings: SamplingConfig,
    verify: VerifyConfig,
    seed: int,
) -> Solver:
    """A solver on this machine; `refiner` None lets the model refine its own programs.

    Raises:
        ModelError: there is no such model.
        SandboxUnavailable: there is no isolation to run programs in.
    """
    check_sandbox(verify)
    first = policy.get(model, engine, style)
    second = first if refiner is None else policy.get(refiner, engine, style)
    return Solver(first, Refiner(second, ()), Local(), sampling=settings, verify=verify, seed=seed)


def run(
    solver: Solver,
    source: str,
    *,
    ids: str | None,
    out: Path | None,
    keep: Path | None,
    most: int,
    interactive: bool | None,
    redraw: bool = False,
) -> list[Solution]:
    """Solve tasks; with a person where standard input and output are a terminal.

    Args:
        solver: draws the programs.
        source: of the tasks.
        ids: which of them.
        out: where the programs go, a `Solution` a row.
        keep: where accepted turns are added, as feedback.
        most: refining turns a task.
        interactive: None asks the terminal.
        redraw: where nobody is asked, draw anew instead of refining.

    Raises:
        DataError: a task shows no test, or a file cannot be written.
    """
    tasks = load_tasks(source, ids=ids)
    for path in (out, keep):
        if path is not None:
            writable(path)
    if interactive is None:
        interactive = sys.stdin.isatty() and sys.stdout.isatty()
    if interactive:
        done = _with_person(solver, tasks, keep, most)
    else:
        done = _alone(solver, tasks, keep, most, redraw)
    solutions = [solution(turns) for turns in done]
    if out is not None:
        write_jsonl(out, solutions)
    passed = sum(turns[-1].passed for turns in done)
    tokens = sum(found.tokens for found in solutions)
    where = "" if out is None else f": {out}"
    say(f"{passed} of {len(done)} programs pass the shown test, {tokens:,} tokens sampled{where}")
    return solutions


def _alone(
    solver: Solver, tasks: Sequence[Task], keep: Path | None, most: int, redraw: bool
) -> list[list[Turn]]:
    done = list(solve(solver, tasks, most, redraw=redraw).values())
    # Nobody looked at them: only what the shown test accepts counts as accepted.
    _add(keep, [item for turns in done if turns[-1].passed for item in kept(turns)])
    return done


def _with_person(solver: Solver, tasks: Sequence[Task], keep: Path | None, most: int) -> list[list[Turn]]:
    shown = [shown_only(task) for task in tasks]
    done = []
    try:
        for task, draft in zip(shown, solver.drafts(shown), strict=True):
            turns = talk(solver, task, draft, most)
            if turns is not None:
                done.append(turns)
                _add(keep, kept(turns))  # at once: whoever closes the terminal loses nothing
    except Quit:
        pass
    return done


def _add(keep: Path | None, items: Sequence[Feedback]) -> None:
    """Add feedback to a file, on the disk when this returns."""
    if keep is None or not items:
        return
    with keep.open("a", encoding="utf-8") as file:
        file.writelines(item.to_json() + "\n" for item in items)
        file.flush()
        os.fsync(file.fileno())
    say(f"{len(items)} feedback items added to {keep}")


def refine_one(
    solver: Solver, source: str, program: Path, text: str, *, ids: str | None, out: Path | None
) -> dict[str, Any]:
    """The best of n refinements of one program that follow one text.

    Args:
        solver: draws them.
        source: of the task.
        program: a file of Python; `-` is standard input.
        text: what is wrong with it.
        ids: which task of the source; needed where it has several.
        out: where the refined program goes; standard output by default, after a diff on a terminal.

    Returns:
        The task's id, the program and the status of the shown test.

    Raises:
        DataError: not exactly one task, no text, or a file that cannot be read or written.
    """
    tasks = load_tasks(source, ids=ids)
    if len(tasks) != 1:
        raise DataError(
            f"--program is for one task, {source} has {len(tasks)} of them here: choose with --ids"
        )
    if not text.strip():
        raise DataError("--feedback: say what is wrong with the program")
    if out is not None:
        writable(out)
    task = shown_only(tasks[0])
    item = Feedback(task_id=task.task_id, code=_read(program), text=text, source="human")
    turn = solver.refinements({task.task_id: task}, [item], 1)[0]
    if sys.stdout.isatty() and not machines():
        before = Turn(turn.program.model_copy(update={"code": item.code}), turn.verdict, 0, 0)
        show(console(), task, [before, turn])
    else:
        say("passes the shown test" if turn.passed else f"fails the shown test: {turn.verdict.status}")
    if out is not None:
        write_text(out, turn.program.code)
    elif not sys.stdout.isatty():
        tell(turn.program.code.rstrip())
    return {"task_id": task.task_id, "code": turn.program.code, "status": turn.verdict.status}


def _read(program: Path) -> str:
    try:
        return sys.stdin.read() if str(program) == "-" else program.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise DataError(f"{program}: not UTF-8 text") from None
    except OSError as error:
        raise DataError(f"{program}: cannot be read ({error.strerror})") from None
