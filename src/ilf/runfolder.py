"""The run folder: every path in it is known here, and so is how its files survive a kill.

runs/NAME/
  config.toml  manifest.json     what was asked; versions, seeds, hashes, the state of each step
  annotations.db                 what people wrote (only with `feedback.source = "human"`)
  round-1/
    1-programs.jsonl  2-verdicts.jsonl  3-feedback.jsonl  4-refiner/
    5-refinements.jsonl  6-examples.jsonl  7-model/  7-control/  8-evaluation.json  8-evaluation/
  report.html
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from ilf.costs import size
from ilf.errors import DataError, RunFolderError
from ilf.records import Record, describe

FORMAT = 2
"""Version of the layout and of the steps' keys; a folder with a higher one was written by a newer `ilf`."""


@dataclass(frozen=True)
class RoundFolder:
    """The files of one round, in the order of Algorithm 1."""

    path: Path

    @property
    def programs(self) -> Path:
        """Samples of πθ on the refine and train tasks (step 1)."""
        return self.path / "1-programs.jsonl"

    @property
    def verdicts(self) -> Path:
        """One verdict a program, in the same order."""
        return self.path / "2-verdicts.jsonl"

    @property
    def feedback(self) -> Path:
        """Feedback on wrong programs (step 2)."""
        return self.path / "3-feedback.jsonl"

    @property
    def refiner(self) -> Path:
        """πRefine: a model folder, or `shots.jsonl` where it is few-shot prompted."""
        return self.path / "4-refiner"

    @property
    def refinements(self) -> Path:
        """Samples of πRefine with their verdicts (step 3)."""
        return self.path / "5-refinements.jsonl"

    @property
    def examples(self) -> Path:
        """What πθ* is fine-tuned on (step 4)."""
        return self.path / "6-examples.jsonl"

    @property
    def model(self) -> Path:
        """πθ*."""
        return self.path / "7-model"

    @property
    def control(self) -> Path:
        """πθ fine-tuned on its own correct samples, where the run measures it."""
        return self.path / "7-control"

    @property
    def evaluation(self) -> Path:
        """πθ and πθ* on the held-out tasks."""
        return self.path / "8-evaluation.json"

    def evaluation_programs(self, arm: str) -> Path:
        """Programs that the model called `arm` (`before`, `after`) wrote for the held-out tasks."""
        return self.path / "8-evaluation" / f"{arm}-programs.jsonl"

    def evaluation_verdicts(self, arm: str) -> Path:
        """Their verdicts, in the same order."""
        return self.path / "8-evaluation" / f"{arm}-verdicts.jsonl"


class StepState(BaseModel):
    """What the manifest knows of one finished step."""

    model_config = ConfigDict(extra="forbid")

    key: str
    """Hash of the step's settings and inputs: an equal key means that there is nothing to do."""
    seconds: float
    """Wall-clock seconds spent, interrupted attempts included."""
    counts: dict[str, float] = {}
    """What the step made: rows, tokens …"""


class Manifest(BaseModel):
    """`manifest.json`: which run this is, and how far it has come."""

    model_config = ConfigDict(extra="forbid")

    format: int = FORMAT
    version: str
    """Of `ilf`."""
    created: str
    identity: dict[str, Any]
    """The settings that make this run this run: name, model, task source."""
    environment: dict[str, str] = {}
    """Versions of Python, libraries, and the machine."""
    tasks_hash: str | None = None
    seed: int = 0
    steps: dict[str, StepState] = {}
    parts: dict[str, StepState] = {}
    """Steps that other steps are made of: the sampling and verifying of an evaluation."""
    stopped: str | None = None
    """Why fewer rounds were done than were asked for."""
    partial_seconds: dict[str, float] = {}
    """Seconds spent by interrupted attempts at steps that are not finished."""


class RunFolder:
    """A run folder at `path` (it need not exist yet)."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)

    @property
    def config(self) -> Path:
        """The settings, all overrides applied."""
        return self.path / "config.toml"

    @property
    def manifest(self) -> Path:
        """State of each step."""
        return self.path / "manifest.json"

    @property
    def annotations(self) -> Path:
        """The annotation store (SQLite)."""
        return self.path / "annotations.db"

    @property
    def report(self) -> Path:
        """The HTML report."""
        return self.path / "report.html"

    def round(self, number: int) -> RoundFolder:
        """The folder of round `number`, from 1."""
        return RoundFolder(self.path / f"round-{number}")

    def rounds(self) -> list[RoundFolder]:
        """The rounds that exist, in order."""
        numbers = sorted(
            int(match[1])
            for entry in self.path.glob("round-*")
            if (match := re.fullmatch(r"round-(\d+)", entry.name))
        )
        return [self.round(number) for number in numbers]

    def read_manifest(self) -> Manifest | None:
        """The manifest, or None where the folder is new.

        Raises:
            RunFolderError: it is broken, or was written by a newer version.
        """
        try:
            text = self.manifest.read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        try:
            raw = json.loads(text)
            if isinstance(raw, dict) and isinstance(raw.get("format"), int) and raw["format"] > FORMAT:
                raise RunFolderError(
                    f"{self.manifest}: written by ilf {raw.get('version')} (format {raw['format']}), "
                    f"this one reads format {FORMAT}: upgrade ilf"
                )
            return Manifest.model_validate(raw)
        except ValidationError as error:
            raise RunFolderError(f"{self.manifest}: {describe(error)}") from None
        except json.JSONDecodeError as error:
            raise RunFolderError(f"{self.manifest}: not JSON: {error.msg}") from None

    def refuse_older(self, manifest: Manifest) -> None:
        """Refuse to go on in a folder whose steps have an older version's keys: nothing would be found done.

        Raises:
            RunFolderError: it was written by such a version.
        """
        if manifest.format < FORMAT:
            raise RunFolderError(
                f"{self.path} was made by ilf {manifest.version} (format {manifest.format}): `ilf report` "
                "reads it, but only that version goes on in it; to run again choose another folder with --out"
            )

    def write_manifest(self, manifest: Manifest) -> None:
        """Replace the manifest in one move."""
        write_text(self.manifest, manifest.model_dump_json(indent=2) + "\n")

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the folder: a second process that wants it gets a `RunFolderError`.

        The kernel drops the lock with the process, so that a kill leaves nothing to clean up.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError, FileNotFoundError) as error:
            raise RunFolderError(f"{self.path}: no folder can be made there ({error.strerror})") from None
        with (self.path / ".lock").open("a+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.seek(0)
                owner = file.read().strip() or "unknown"
                raise RunFolderError(
                    f"{self.path} is in use by another `ilf run` (process {owner}): "
                    "wait, or choose another folder"
                ) from None
            file.truncate(0)
            file.write(f"{os.getpid()}\n")
            file.flush()
            yield


@contextmanager
def named_errors(path: Path) -> Iterator[None]:
    """Errors of the system while `path` is written name it: those of a write or a flush name no file."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = str(path)
        raise


def write_text(path: Path, text: str) -> None:
    """Write to a temporary name and rename: a reader sees the whole file or none."""
    temporary = path.with_name(path.name + ".tmp")
    with named_errors(path), temporary.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


# CPU seconds differ from run to run and decide nothing: two files that differ only in them are the same data.
_SECONDS = re.compile(rb'"seconds":\s*[0-9.eE+-]+,?')


def digest(path: Path, each: Callable[[bytes], object] = bytes) -> str:
    """Hash of a JSONL or JSON file's content, measured seconds left out (64 hex digits).

    Args:
        path: the file.
        each: shown every line on the way, for who wants to know more and not to read twice.
    """
    state = hashlib.sha256()
    with path.open("rb") as file:
        for line in file:
            state.update(_SECONDS.sub(b"", line))
            each(line)
    return state.hexdigest()


def digest_of(texts: Iterable[str]) -> str:
    """Hash of many texts in their order, each taken as it comes (64 hex digits)."""
    state = hashlib.sha256()
    for text in texts:
        state.update(json.dumps(text).encode() + b"\n")
    return state.hexdigest()


def key_of(**parts: Any) -> str:
    """Hash of a step's settings and inputs (64 hex digits)."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


R = TypeVar("R", bound=Record)


class Growing(Generic[R]):
    """A JSONL file that a long step appends to, batch by batch; it appears under its name when complete.

    Rows go to `NAME.part`; `NAME.part.key` says which settings and inputs they belong to. A batch is the unit
    of work: after a kill, the rows of unfinished batches are cut off, so that a resumed step computes the
    same batches as an uninterrupted one and ends with the same file.

    Args:
        path: the file's final name.
        key: hash of the settings and inputs (`key_of`); a part with another key is thrown away.
        kind: the record of its rows.
        sizes: how many rows each batch has, in order.
    """

    def __init__(self, path: Path, key: str, kind: type[R], sizes: Iterable[int]) -> None:
        self.path = path
        self.part = path.with_name(path.name + ".part")
        self._key_file = path.with_name(path.name + ".part.key")
        self.done = 0
        """Batches that need no work."""
        self.rows = 0
        """Rows in them."""
        path.parent.mkdir(parents=True, exist_ok=True)
        if not (self.part.exists() and _text(self._key_file) == key):
            self.part.unlink(missing_ok=True)
            write_text(self._key_file, key)
            self.part.touch()
        self._cut(kind, sizes)

    def _cut(self, kind: type[R], sizes: Iterable[int]) -> None:
        kept = 0
        with self.part.open("rb") as file:
            ends = _ends(file, kind)
            for size in sizes:
                of_batch = list(islice(ends, size))
                if len(of_batch) < size:
                    break
                kept = of_batch[-1] if of_batch else kept
                self.rows += size
                self.done += 1
        os.truncate(self.part, kept)

    def append(self, records: Iterable[R]) -> None:
        """Add one batch, flushed to the disk before this returns."""
        text = "".join(record.to_json() + "\n" for record in records)
        with named_errors(self.part), self.part.open("a", encoding="utf-8", errors="surrogatepass") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())

    def finish(self) -> None:
        """Give the file its final name."""
        self.part.replace(self.path)
        self._key_file.unlink(missing_ok=True)


def _ends(file: IO[bytes], kind: type[Record]) -> Iterator[int]:
    """The byte offset after each row, up to the first one that is not whole."""
    offset = 0
    for line in file:
        offset += len(line)
        try:
            kind.model_validate_json(line)
        except ValidationError:
            return
        if not line.endswith(b"\n"):
            return
        yield offset


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None


def require_disk(folder: Path, needed: int, what: str) -> None:
    """Refuse to start what will not fit.

    Args:
        folder: where it will be written (or its nearest existing parent).
        needed: bytes.
        what: for the message.

    Raises:
        DataError: less is free.
    """
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise DataError(
            f"{folder}: {what} needs {size(needed)} of disk, {size(free)} are free: "
            "make room, or choose another folder with --out"
        )


def available_memory() -> int | None:
    """Bytes of memory that can be had without swapping, or None where the system does not say."""
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return None
