"""The one runner: looks up a step's key, does the step where that is needed, and notes what came of it.

`ilf run`, the arms of `ilf study`, the one-step commands and the rehearsal hand steps to it; nothing else
writes into a run or study folder. A step writes under a temporary name and renames (`runfolder.Growing`,
`runfolder.write_text`), so that a kill at any moment leaves a folder from which the same call goes on.
"""

from __future__ import annotations

import copy
import fcntl
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from ilf.costs import Cost
from ilf.errors import DataError
from ilf.places import Place
from ilf.progress import duration, say
from ilf.runfolder import Manifest, RunFolder, StepState, key_of

T = TypeVar("T")


class Step(ABC, Generic[T]):
    """One line of Algorithm 1 as a value: a frozen dataclass of inputs and settings."""

    file: ClassVar[str]
    """What it writes, by its name in the round's folder."""

    @abstractmethod
    def inputs(self) -> Mapping[str, Any]:
        """Settings and hashes of inputs: all that decides what the step makes, and nothing else."""

    @abstractmethod
    def run(self, job: Job) -> Mapping[str, float]:
        """Do it: write `job.out`, whole or not at all; returns counts for the manifest."""

    @abstractmethod
    def result(self, out: Path) -> T:
        """What the steps after it take, read from what it wrote."""

    def cost(self) -> Cost:
        """What it takes at most."""
        return Cost()


@dataclass(frozen=True)
class Job:
    """A step that is being done."""

    out: Path
    """What to write."""
    key: str
    """Hash of the step's settings and inputs; a part that was written for another one is thrown away."""
    place: Place
    do: Runner | None = None
    """Does steps that this one is made of, beside its output; None for a step alone."""


class Runner:
    """Does steps in one folder, and keeps their states in its manifest.

    Args:
        folder: a run or study folder, locked by the caller.
        manifest: its manifest, as read or new.
        place: where the work is done.
        before: called before a step that has work to do (`kinds.function.check_sandbox`).
    """

    def __init__(
        self, folder: RunFolder, manifest: Manifest, place: Place, before: Callable[[], None] = lambda: None
    ) -> None:
        self.folder, self.manifest, self.place = folder, manifest, place
        self._before = before
        self._path, self._prefix, self._depth = folder.path, "", 1
        folder.path.mkdir(parents=True, exist_ok=True)
        folder.write_manifest(manifest)

    def at(self, name: str, deeper: int = 0) -> Runner:
        """The runner of a folder within this one; steps there are `NAME/STEP` in the manifest."""
        inner = copy.copy(self)
        inner._path, inner._prefix = self._path / name, f"{self._prefix}{name}/"
        inner._depth += deeper
        return inner

    def __call__(self, step: Step[T], out: str | None = None) -> T:
        """What `step` makes; it is done only where its key or its output is not there.

        Args:
            step: what to do.
            out: what it writes, by its path in this runner's folder; the step's own name by default.
        """
        path, label, key = self._place_of(step, out)
        known = self._states.get(label)
        if known is None or known.key != key or not path.exists():
            self.again(step, out)
        else:
            say(f"{'  ' * self._depth}{label.removeprefix(self._prefix)}: unchanged")
        return step.result(path)

    def again(self, step: Step[T], out: str | None = None) -> None:
        """Do a step, whether or not it is done already."""
        path, label, key = self._place_of(step, out)
        name = label.removeprefix(self._prefix)
        say(f"{'  ' * self._depth}{name}")
        path.parent.mkdir(parents=True, exist_ok=True)
        if self._depth == 1 and (takes := step.cost().words()):
            say(f"    at most {takes}{self._how_long(label, step.cost())}")
        with self._noted(label, key) as counts:
            self._before()
            self.place.counts()  # what an earlier step left there is not this one's
            counts.update(step.run(Job(path, key, self.place, self.at(name, deeper=1))))
            counts.update(self.place.counts())

    def _how_long(self, label: str, cost: Cost) -> str:
        """Of sampling, at the rate of the same step of an earlier round, or of the last one that sampled.

        Fine-tuning has no such words: its tokens at most are several times what it takes.
        """
        if not (cost.samples and cost.tokens):
            return ""
        name = label.rpartition("/")[2]
        known = [(of, s) for of, s in self._states.items() if s.counts.get("samples") and s.seconds]
        same = [found for found in known if found[0].rpartition("/")[2] == name and found[0] != label]
        for of, state in (same or known)[-1:]:
            seconds = cost.samples * state.seconds / state.counts["samples"]
            return f"; about {duration(seconds)} at the rate of {of}"
        return ""

    def stop(self, why: str) -> None:
        """Note that no further round is done, and say why."""
        say(why)
        self.manifest.stopped = why
        self.folder.write_manifest(self.manifest)

    def _place_of(self, step: Step[T], out: str | None) -> tuple[Path, str, str]:
        """A step's output, its label in the manifest, and its key."""
        file = Path(out or step.file)
        label = self._prefix + str(file.with_suffix("") if file.suffix in (".json", ".jsonl") else file)
        return self._path / file, label, key_of(step=label, **step.inputs())

    @property
    def _states(self) -> dict[str, StepState]:
        return self.manifest.steps if self._depth == 1 else self.manifest.parts

    @contextmanager
    def _noted(self, label: str, key: str) -> Iterator[dict[str, float]]:
        """Write down how long a step took and what it made, also where it did not end."""
        counts: dict[str, float] = {}
        began = time.monotonic()
        # The seconds of a part are those of the step that it is a part of.
        partial = self.manifest.partial_seconds if self._depth == 1 else {}
        earlier = partial.get(label, 0.0)
        try:
            yield counts
        except BaseException:
            partial[label] = round(earlier + time.monotonic() - began, 2)
            with suppress(OSError):  # a full disk: the error that matters is the first one
                self.folder.write_manifest(self.manifest)
            raise
        partial.pop(label, None)
        seconds = round(earlier + time.monotonic() - began, 2)
        self._states[label] = StepState(key=key, seconds=seconds, counts=counts)
        self.folder.write_manifest(self.manifest)


def alone(step: Step[T], out: Path, place: Place) -> T:
    """One step, into a file of the user's own: what `ilf sample` and `ilf refine` do.

    `.OUT.key` beside the file says what it is made from, and holds it for this process: a finished file is
    not made again, and never overwritten.

    Raises:
        DataError: `out` cannot be written, was made from something else, or another process is at it.
    """
    writable(out)
    key = key_of(**step.inputs())
    with out.with_name(f".{out.name}.key").open("a+", encoding="utf-8") as note:
        try:
            fcntl.flock(note, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DataError(
                f"{out} is being written by another `ilf`: wait, or choose another --out"
            ) from None
        note.seek(0)
        known = note.read()
        if out.exists():
            if known != key:
                raise DataError(
                    f"{out} exists and was made from something else (another model, tasks or settings): "
                    "delete it or choose another --out"
                )
            say(f"{out} is complete already; delete it to make it again")
        else:
            note.truncate(0)
            note.write(key)
            note.flush()
            step.run(Job(out, key, place))
    return step.result(out)


def writable(out: Path) -> None:
    """Fail before hours of work, not after them.

    Raises:
        DataError: no file can be written there.
    """
    if out.is_dir():
        raise DataError(f"{out}: a folder, but the name of a file to write was expected")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        probe = out.with_name(out.name + ".tmp")
        probe.touch()
        probe.unlink()
    except (FileExistsError, FileNotFoundError, NotADirectoryError) as error:
        raise DataError(f"{out}: cannot be written ({error.strerror})") from None
