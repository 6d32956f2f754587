"""Where the work of steps is done. A step says what; its place says on which machine, and in what order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Protocol, cast

from ilf import kinds
from ilf.config import VerifyConfig
from ilf.policy import Model, Models, Writer
from ilf.progress import Progress
from ilf.records import Program, Task, Verdict
from ilf.seams import PLACES, load


class Place(Protocol):
    """What steps ask of a place; a class without arguments."""

    def open(self, model: Model) -> Writer:
        """The model, ready to be sampled; the one that was open before is closed."""
        ...

    def close(self) -> None:
        """Give the open model's memory back, for fine-tuning."""
        ...

    def verify(
        self,
        tasks: Mapping[str, Task],
        programs: Iterable[Program],
        settings: VerifyConfig,
        bar: Progress | None = None,
    ) -> Iterator[Verdict]:
        """EVAL(x, t) of each program, in order."""
        ...


class Local(Models):
    """This machine, one model in memory at a time, one program a core."""

    def verify(
        self,
        tasks: Mapping[str, Task],
        programs: Iterable[Program],
        settings: VerifyConfig,
        bar: Progress | None = None,
    ) -> Iterator[Verdict]:
        """EVAL(x, t) of each program, in order."""
        return kinds.verify(tasks, programs, settings, bar)


def place_of(name: str) -> Place:
    """The place called `name` (`place.name` of a config).

    Raises:
        ConfigError: there is no such place.
    """
    return cast(Place, load(PLACES, name, "place.name")())
