"""Where the work of steps is done. A step says what; its place says on which machine, and in what order."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Mapping
from typing import Protocol, cast

from ilf import kinds
from ilf.config import PlaceConfig, VerifyConfig
from ilf.errors import ConfigError
from ilf.policy import Model, Models, Writer
from ilf.progress import Progress
from ilf.records import Program, Task, Verdict
from ilf.seams import PLACES, load


class Place(Protocol):
    """What steps ask of a place; a class whose arguments are settings of `[place]` beside the name."""

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

    def counts(self) -> Mapping[str, float]:
        """What was done on which machine since this was last asked, for the manifest."""
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

    def counts(self) -> Mapping[str, float]:
        """Nothing: there is one machine."""
        return {}


def place_of(settings: PlaceConfig) -> Place:
    """The place that a config names.

    Raises:
        ConfigError: there is no such place, or it has no such setting.
    """
    factory = load(PLACES, settings.name, "place.name")
    options = settings.model_dump(exclude={"name"}, exclude_none=True)
    try:
        inspect.signature(factory).bind(**options)
    except TypeError:
        raise ConfigError(f"place {settings.name!r} takes no {' and no '.join(options)}") from None
    return cast(Place, factory(**options))
