"""Kinds of task: how a task is asked, what of a completion is the answer, and what an answer is worth.

`function` (a Python function or class, checked by test statements in the sandbox) is the paper's. Its prompts
are the paper's formats and live in `prompts.py`; another kind says the words itself and any style wraps them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from itertools import groupby
from typing import TYPE_CHECKING, Protocol, cast, runtime_checkable

from ilf.progress import Progress
from ilf.records import Program, Task, Verdict
from ilf.seams import KINDS, load

if TYPE_CHECKING:
    from ilf.config import VerifyConfig

FUNCTION = "function"


class TaskKind(Protocol):
    """One kind of task; a class without arguments."""

    def verify(
        self, tasks: Mapping[str, Task], programs: Iterable[Program], settings: VerifyConfig
    ) -> Iterator[Verdict]:
        """EVAL(x, t) of each answer, in order."""
        ...

    def reward(self, task: Task, verdict: Verdict) -> float:
        """R(x, t) in [0, 1] (paper, equation 6)."""
        ...


class WordedKind(TaskKind, Protocol):
    """What every kind but `function` has besides: the words that prompts wrap."""

    def request(self, task: Task) -> str:
        """What a model is asked, the shown example included."""
        ...

    def extract(self, task: Task, completion: str) -> str:
        """The answer in a completion; `""` where there is none."""
        ...

    def target(self, task: Task, code: str) -> str:
        """The completion that a model is trained on to give the answer `code`.

        Raises:
            Inexpressible: no completion is this answer.
        """
        ...


@runtime_checkable
class Checked(Protocol):
    """What a kind may have besides: a look at its tasks before they are used."""

    def problem(self, task: Task) -> str | None:
        """What is wrong with a task's fields, starting with the field; None where nothing is."""
        ...


@runtime_checkable
class Opened(Protocol):
    """What a worded kind may have besides: how every answer begins, a code fence for a program."""

    def opening(self, task: Task) -> str:
        """Text that the prompt ends with; sampling stops at the fence that closes it."""
        ...


@runtime_checkable
class Settled(Protocol):
    """What a kind may have besides: settings without which none of its tasks can be verified."""

    def require(self, settings: VerifyConfig) -> None:
        """Look at them before any work is done.

        Raises:
            ConfigError: one is missing or wrong; it is named.
        """
        ...


@cache
def kind_of(name: str) -> TaskKind:
    """The kind called `name` (`Task.kind`).

    Raises:
        ConfigError: there is no such kind.
    """
    return cast(TaskKind, load(KINDS, name, "kind")())


def words_of(task: Task) -> WordedKind | None:
    """The words of a task's kind; None for `function`, whose prompts are the paper's formats."""
    return None if task.kind == FUNCTION else cast(WordedKind, kind_of(task.kind))


def is_code(task: Task) -> bool:
    """Whether the task's answers are programs."""
    words = words_of(task)
    return words is None or isinstance(words, Opened)


def verify(
    tasks: Mapping[str, Task],
    programs: Iterable[Program],
    settings: VerifyConfig,
    bar: Progress | None = None,
) -> Iterator[Verdict]:
    """EVAL(x, t) of each program in order, whatever the tasks' kinds.

    Args:
        tasks: by id.
        programs: what to verify; those of one kind that follow one another are verified together.
        settings: the sandbox's.
        bar: told of each verdict.
    """
    for name, group in groupby(programs, key=lambda program: tasks[program.task_id].kind):
        for verdict in kind_of(name).verify(tasks, group, settings):
            if bar is not None:
                bar.advance(1, shared=verdict.shared)
            yield verdict
