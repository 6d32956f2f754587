"""The six records that travel between the steps of Algorithm 1, and their one-line JSON form.

Glossary (paper section 2, Algorithm 1):

- `Task`: a description t and a unit-test suite u, with what a prompt about it needs.
- `Program`: x0, a sample of the model πθ for a task.
- `Verdict`: EVAL(x, t), with the reason.
- `Feedback`: f, what someone says is wrong with a program and how to fix it.
- `Refinement`: x1, a sample of πRefine given (t, x0, f).
- `Example`: a (prompt, completion) pair that a model is fine-tuned on.

Each record is frozen, refuses unknown fields, and is one line of a JSONL file. A `program_id`, `feedback_id`
or `refinement_id` is a hash of the content, so a training row can be traced back through every file.
"""

from __future__ import annotations

import codecs
import gzip
import hashlib
import json
import os
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, WithJsonSchema
from pydantic import model_validator as validator
from pydantic_core import PydanticCustomError, PydanticSerializationError

from ilf import notes
from ilf.errors import DataError
from ilf.notes import LineNote


def _as_text(value: object) -> object:
    # Published files number their tasks; everywhere inside, an id is text.
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


TaskId = Annotated[str, BeforeValidator(_as_text), Field(min_length=1)]


def _as_tuple(value: object) -> object:
    # A task with one test, or one tag, is often written without the list.
    return (value,) if isinstance(value, str) else value


Texts = Annotated[tuple[str, ...], BeforeValidator(_as_tuple)]


def _as_tests(value: object) -> object:
    # Tests of some kinds are objects (an input and an output); inside, every test is a text: their JSON.
    if isinstance(value, str | dict):
        value = (value,)
    if isinstance(value, list | tuple):
        return tuple(
            json.dumps(test, ensure_ascii=False) if isinstance(test, dict) else test for test in value
        )
    return value


_TESTS = {"anyOf": [{"type": "string"}, {"type": "object"}]}
Tests = Annotated[
    tuple[str, ...],
    BeforeValidator(_as_tests),
    WithJsonSchema({"anyOf": [{"type": "array", "minItems": 1, "items": _TESTS}, *_TESTS["anyOf"]]}),
]


def content_id(*parts: object) -> str:
    """A short stable id (16 hex digits) of JSON-able `parts`."""
    text = json.dumps(parts, ensure_ascii=False, sort_keys=True)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


class Record(BaseModel):
    """A frozen record with a one-line JSON form."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")

    def to_json(self) -> str:
        """One line of JSON, without the fields that are at their default."""
        try:
            return self.model_dump_json(exclude_defaults=True)
        except PydanticSerializationError:  # a lone surrogate, which JSON can only have escaped
            return json.dumps(self.model_dump(exclude_defaults=True), separators=(",", ":"))


UNTESTED = "text"
"""The kind of task that may have no tests: a reward tells good answers from bad ones."""


class Task(Record):
    """A description and the tests that decide whether a program solves it."""

    task_id: TaskId
    description: str
    entry_point: str = ""
    """Name of the function (or class) under test; needed where the kind is `function`."""
    tests: Tests = ()
    """Python test statements, or what the kind says; all of them decide the verdict. Only `text` has none."""
    prefix: str = ""
    """Trusted code before the body: imports, helpers, and last the signature line of the entry point."""
    setup: str = ""
    """Trusted code that runs before the tests."""
    example: str | None = None
    """The test shown in the prompt; None means the first of `tests`."""
    reference: str | None = None
    """A whole program that passes."""
    split: str | None = None
    tags: Texts = ()
    isolation: Literal["auto", "separate", "shared"] = "auto"
    """Where the tests run: outside the program's process (`separate`), inside it (`shared`: weaker, recorded
    in the verdict), or `shared` only where the reference passes only so (`auto`)."""
    kind: str = "function"
    """What sort of answer is asked for: a name or import path of `ilf.kinds`."""

    @validator(mode="after")
    def _tested(self) -> Task:
        if not self.tests and self.kind != UNTESTED:
            raise PydanticCustomError("no_tests", "tests: no tests; a task needs at least one")
        return self

    @property
    def shown(self) -> str:
        """The test shown in the prompt; empty where there is none."""
        return self.example if self.example is not None else self.tests[0] if self.tests else ""


class Program(Record):
    """A program for a task, and where it came from."""

    task_id: TaskId
    code: str
    """The whole program, prefix included. Empty where the completion held no code."""
    completion: str | None = None
    """The model's raw text."""
    model: str | None = None
    """Hash of the weights that wrote it."""
    round: int | None = None
    index: int = 0
    """Which of the task's n samples."""
    style: str | None = None
    """Prompt style."""
    seed: int | None = None
    logprob: float | None = None
    """Sum of the sampled tokens' log-probabilities at temperature 1, untruncated (nats)."""
    tokens: int | None = None
    """Number of sampled tokens, the end token included where the model wrote one."""
    finish: Literal["stop", "length"] | None = None
    follows: Feedback | None = Field(default=None, exclude=True)
    """What a refinement follows, for rewards that read it; not part of the row."""

    @property
    def program_id(self) -> str:
        """Hash of (task, code)."""
        return content_id(self.task_id, self.code)


Status = Literal[
    "passed", "failed", "error", "timeout", "memory", "killed", "no_code", "sandbox_error", "flaky"
]


class Verdict(Record):
    """EVAL(x, t) with the reason. `sandbox_error` is the sandbox's own failure, never a wrong program."""

    task_id: TaskId
    program_id: str
    status: Status
    tests: tuple[bool | None, ...] = ()
    """Per test of the task: passed, failed, or None where it never ran."""
    test: int | None = None
    """Index of the first test that did not pass."""
    call: str | None = None
    """The failing call or test as written."""
    expected: str | None = None
    actual: str | None = None
    error: str | None = None
    """The exception, `Type: message`."""
    line: int | None = None
    """Line of the program, counted from 1, where the exception arose."""
    stdout: str | None = None
    """Tail of what the program printed."""
    seconds: float = 0.0
    """CPU time."""
    isolation: Literal["bubblewrap", "unsafe"] = "bubblewrap"
    shared: bool = False
    """The tests ran inside the program's process (`Task.isolation`), where a hostile one is able to cheat."""
    reward: float | None = None
    """R(x, t) in [0, 1], where the kind of task has more than right and wrong."""
    detail: str = ""
    """All of the above as a text for a person or a refinement model."""

    @property
    def passed(self) -> bool:
        """EVAL(x, t) = 1."""
        return self.status == "passed"


class Feedback(Record):
    """What someone says is wrong with a program, and how to fix it."""

    task_id: TaskId
    code: str
    """The incorrect program, prefix included."""
    text: str
    """All of it, the notes about lines included."""
    source: str
    """`human`, `recorded`, `model`, `execution`, or what a source of somebody else's calls itself."""
    author: str | None = None
    seconds: float | None = None
    """Time spent writing."""
    refinement: str | None = None
    """A corrected program by the same author."""
    tags: tuple[str, ...] = ()
    """Kinds of bug, in the paper's categories (Table 5)."""
    bugs: int | None = None
    """Number of bugs the text addresses."""
    model: str | None = None
    """Hash of the weights that wrote the incorrect program, where known."""
    foreign: bool = False
    """In a run: the incorrect program is not one of the model that is being taught."""
    warnings: tuple[str, ...] = ()
    """Checks that spoke up while it was written."""
    assisted: tuple[str, ...] = ()
    """Where suggested words in the text come from: `verdict`, `model`, `earlier`; none: a person wrote it."""
    created: str | None = None
    """When it was submitted (ISO 8601, UTC)."""
    notes: tuple[LineNote, ...] = ()
    """What the text says about lines ("Line 4: …"). Notes that a file has beside a text come before it."""

    @validator(mode="after")
    def _notes_in_text(self) -> Feedback:
        if self.notes:  # past the frozen model's own setter: nobody has seen it yet
            vars(self).update(text=notes.complete(self.text, self.notes))
            vars(self).update(notes=notes.parse(self.text)[0])
        return self

    @property
    def feedback_id(self) -> str:
        """Hash of (task, program, text)."""
        return content_id(self.task_id, self.code, self.text)


Program.model_rebuild()


class Refinement(Record):
    """A corrected program by πRefine, following one feedback."""

    feedback_id: str
    task_id: TaskId
    code: str
    completion: str | None = None
    model: str | None = None
    index: int = 0
    seed: int | None = None
    logprob: float | None = None
    tokens: int | None = None
    finish: Literal["stop", "length"] | None = None
    verdict: Verdict | None = None
    edit_distance: int | None = None
    """Levenshtein distance to the incorrect program, in characters."""

    @property
    def refinement_id(self) -> str:
        """Hash of (feedback, code)."""
        return content_id(self.feedback_id, self.code)


class Example(Record):
    """A prompt and the completion a model is fine-tuned to give; the loss is on the completion only."""

    prompt: str
    completion: str
    weight: float = Field(default=1.0, ge=0.0)
    task_id: TaskId | None = None
    feedback_id: str | None = None
    refinement_id: str | None = None
    origin: str | None = None
    """Which data it is: `refinement`, `human`, `gold`, `self` …"""


R = TypeVar("R", bound=Record)


def describe(error: ValidationError) -> str:
    """The first complaint of a pydantic error in one line: `field: what is wrong`."""
    first = error.errors()[0]
    if first["type"] == "no_tests":  # its message names the field
        return str(first["msg"])
    where = ".".join(str(part) for part in first["loc"]) or "row"
    return f"{where}: {first['msg']}"


def read_rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (`line N`, JSON object) of a JSONL file (or `.jsonl.gz`); blank lines are passed over.

    A file that is one JSON list of objects is read too, as some published ones are; it has (`row N`, object),
    for its lines say little.

    Raises:
        DataError: the file is missing, is not UTF-8, or a line is not a JSON object (named by number).
    """
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            first = True
            for number, raw in enumerate(file, start=1):
                raw = raw.removeprefix(codecs.BOM_UTF8)
                if not raw.strip():
                    continue
                if first and raw.lstrip().startswith(b"["):
                    yield from _list_rows(path, raw + file.read())
                    return
                first = False
                row = _loaded(f"{path}, line {number}", raw)
                if not isinstance(row, dict):
                    raise DataError(f"{path}, line {number}: a JSON object was expected")
                yield f"line {number}", row
    except IsADirectoryError:
        raise DataError(f"{path}: a folder, but a JSONL file was expected") from None
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except (gzip.BadGzipFile, EOFError):
        raise DataError(f"{path}: not a whole gzip file") from None


def _list_rows(path: Path, raw: bytes) -> Iterator[tuple[str, dict[str, Any]]]:
    """The rows of a file that is one JSON list."""
    rows = _loaded(str(path), raw)
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, dict):
            raise DataError(f"{path}, row {number} of the list: a JSON object was expected")
        yield f"row {number}", row


def _loaded(place: str, raw: bytes) -> Any:
    try:
        return json.loads(raw.decode("utf-8"))
    except UnicodeDecodeError:
        raise DataError(f"{place}: not UTF-8 text") from None
    except json.JSONDecodeError as error:
        raise DataError(f"{place}: not JSON: {error.msg}") from None
    except (RecursionError, ValueError) as error:  # nested too deep; a number of thousands of digits
        raise DataError(f"{place}: not JSON that can be read: {str(error).partition(';')[0]}") from None


class Rows(Collection[R]):
    """The records of a JSONL file, read anew each time they are walked over and never all in memory.

    Args:
        path: the file.
        kind: the record of its rows.
        prepare: makes of a row's JSON object what `kind` understands.

    Raises:
        DataError: while it is walked over; it names file, line and field.
    """

    def __init__(
        self, path: Path, kind: type[R], prepare: Callable[[dict[str, Any]], Any] | None = None
    ) -> None:
        self.path, self._kind, self._prepare = path, kind, prepare

    def __iter__(self) -> Iterator[R]:
        for place, row in read_rows(self.path):
            try:
                record = self._kind.model_validate(row if self._prepare is None else self._prepare(row))
            except ValidationError as error:
                raise DataError(f"{self.path}, {place}: {describe(error)}") from None
            yield record

    def __len__(self) -> int:
        return sum(1 for _ in read_rows(self.path))

    def __bool__(self) -> bool:
        return any(True for _ in read_rows(self.path))

    def __contains__(self, record: object) -> bool:
        return any(row == record for row in self)


def read_jsonl(path: Path, kind: type[R], prepare: Callable[[dict[str, Any]], Any] | None = None) -> list[R]:
    """All records of a small JSONL file at once; what grows with the samples is read by `Rows`."""
    return list(Rows(path, kind, prepare))


def write_jsonl(path: Path, records: Iterable[Record]) -> None:
    """Write records to a temporary name and rename: a reader sees the whole file or none."""
    temporary = path.with_name(path.name + ".tmp")
    with temporary.open("w", encoding="utf-8", errors="surrogatepass") as file:
        for record in records:
            file.write(record.to_json() + "\n")
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
