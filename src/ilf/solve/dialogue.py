"""`ilf solve` on a terminal: a person sees the program, accepts it, or says what is wrong with it."""

from __future__ import annotations

import difflib
import getpass
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from ilf.feedback import execution
from ilf.records import Feedback, Task
from ilf.solve.turns import Solver, Turn
from ilf.terminal import console

if TYPE_CHECKING:
    from rich.console import Console

ASKED = "a accept · t what the test said · u undo · s skip · q quit · or say what is wrong"


class Quit(Exception):
    """The person has had enough; what was accepted is kept."""


def difference(before: str, after: str) -> str:
    """A unified diff of two programs; empty where they are the same."""
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), "before", "after", lineterm="")
    return "\n".join(lines)


def plain(text: str) -> str:
    """A text without the control characters by which a program could drive the terminal."""
    return "".join(sign if sign.isprintable() or sign in "\n\t" else "\ufffd" for sign in text)


def show(screen: Console, task: Task, turns: Sequence[Turn]) -> None:
    """The last program (from the second on as a diff in colour), and what the shown test says of it."""
    from rich.syntax import Syntax

    last = turns[-1]
    if len(turns) == 1:
        screen.print(f"\n{task.task_id}", style="bold", markup=False)
        screen.print(plain(task.description), markup=False)
        screen.print(Syntax(plain(last.program.code), "python", background_color="default", word_wrap=True))
    else:
        diff = difference(turns[-2].program.code, last.program.code)
        shown = Syntax(plain(diff), "diff", background_color="default", word_wrap=True)
        screen.print(shown if diff else "The program is the same as before.")
    if last.passed:
        screen.print(f"passes the shown test: {task.shown}", style="green", markup=False)
    else:
        screen.print(plain(execution.about(task, last.program, last.verdict).text), style="red", markup=False)


def talk(
    solver: Solver,
    task: Task,
    draft: Turn,
    most: int,
    ask: Callable[[str], str] = input,
    author: str | None = None,
) -> list[Turn] | None:
    """Turns on one task with a person.

    Args:
        solver: draws the refinements.
        task: with its shown test alone (`shown_only`).
        draft: its first program.
        most: refining turns.
        ask: gives the line that a person typed after a prompt.
        author: noted in the feedback; the name of the account by default.

    Returns:
        The accepted turns, or None where the task was skipped.

    Raises:
        Quit: the person left.
    """
    screen, turns, drawn = console(), [draft], 0
    show(screen, task, turns)
    while True:
        screen.print(ASKED, style="dim", markup=False)
        try:
            said = ask("> ").strip()
        except EOFError:
            raise Quit from None
        if said in ("q", "s"):
            if said == "q":
                raise Quit
            return None
        if said == "a":
            return turns
        if said == "u":
            screen.print("Back to the program before." if len(turns) > 1 else "This is the first program.")
            turns = turns[:-1] or turns
        if said in ("", "u"):
            continue
        if drawn == most:
            screen.print(f"That were {most} turns (--turns): accept, undo, skip or quit.", markup=False)
            continue
        last = turns[-1]
        if said == "t":
            item = execution.about(task, last.program, last.verdict)
            if last.passed:
                screen.print("The shown test passes: it has nothing to say.", markup=False)
                continue
        else:
            item = Feedback(
                task_id=task.task_id, code=last.program.code, text=said, source="human",
                author=author or getpass.getuser(), model=last.program.model,
                created=datetime.now(UTC).isoformat(timespec="seconds"),
            )  # fmt: skip
        drawn += 1
        turns = [*turns, solver.refinements({task.task_id: task}, [item], drawn)[0]]
        show(screen, task, turns)
