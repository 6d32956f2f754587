"""`/v1/verify`: the request, checked, and the rows of the answer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ilf.records import Program, Task, describe
from ilf.sandbox import stdin
from ilf.sandbox.limits import Limits
from ilf.sandbox.verify import Where
from ilf.serve.engine import Broken, Group, Result
from ilf.serve.script import Ended
from ilf.serve.settings import Settings
from ilf.syntax import parse, problem

M = TypeVar("M", bound=BaseModel)


class Refused(Exception):
    """A request that is not answered.

    Args:
        status: of HTTP.
        reason: one line.
        wait: seconds after which it may be sent again.
    """

    def __init__(self, status: int, reason: str, wait: int | None = None) -> None:
        super().__init__(reason)
        self.status, self.reason, self.wait = status, " ".join(reason.split())[:500], wait


class Ask(BaseModel):
    """A request to `/v1/verify`."""

    model_config = ConfigDict(extra="forbid")

    tasks: list[Task] = []
    """Besides those that the server knows (`--tasks`), which they hide."""
    programs: list[Program] = Field(min_length=1)
    limits: dict[str, Any] = {}
    """Fields of `Limits` that differ from the server's."""
    repeat: int = Field(default=1, ge=1)
    isolation: Where | None = None


def parsed(kind: type[M], body: bytes) -> M:
    """A request's body as its model.

    Raises:
        Refused: it is not JSON (400), or not such a request (422).
    """
    try:
        raw = json.loads(body.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise Refused(400, f"the body is not JSON that can be read: {str(error).partition(';')[0]}") from None
    try:
        return kind.model_validate(raw)
    except ValidationError as error:
        raise Refused(422, describe(error)) from None
    except RecursionError:
        raise Refused(422, "nested too deeply") from None


def work_of(
    body: bytes, known: Mapping[str, Task], settings: Settings
) -> tuple[Group, list[tuple[Task, Program]]]:
    """What a request asks for: programs with their tasks.

    Raises:
        Refused: it cannot be done; the first reason.
    """
    ask = parsed(Ask, body)
    if len(ask.programs) > settings.programs:
        raise Refused(413, f"programs: {len(ask.programs)} are more than {settings.programs} of a request")
    if ask.repeat > settings.repeat:
        raise Refused(422, f"repeat: {ask.repeat} is more than {settings.repeat}")
    tasks: dict[str, Task] = {}
    for number, task in enumerate(ask.tasks):
        if task.task_id in tasks:
            raise Refused(422, f"tasks.{number}: a second task {task.task_id!r}")
        check_task(task, f"tasks.{number}", settings)
        tasks[task.task_id] = task
    pairs = []
    for number, program in enumerate(ask.programs):
        found = tasks.get(program.task_id) or known.get(program.task_id)
        if found is None:
            raise Refused(
                422, f"programs.{number}: task {program.task_id!r} is neither sent nor known to the server"
            )
        check_code(program.code, f"programs.{number}.code", settings)
        pairs.append((found, program))
    limits = asked_limits(ask.limits, settings)
    return Group(limits, ask.isolation or settings.isolation, ask.repeat), pairs


def check_code(code: str, where: str, settings: Settings) -> None:
    """Refuse text that is too long for a program."""
    if len(code) > settings.code_kb << 10:
        raise Refused(413, f"{where}: {len(code)} characters are more than {settings.code_kb} Ki")


def check_task(task: Task, where: str, settings: Settings) -> None:
    """Refuse a task that the sandbox cannot judge."""
    if task.kind not in stdin.JUDGED:
        raise Refused(422, f"{where}.kind: {task.kind!r} is not one of {', '.join(stdin.JUDGED)}")
    texts = (task.prefix, task.setup, task.reference or "", *task.tests)
    if sum(map(len, texts)) > settings.code_kb << 10:
        raise Refused(413, f"{where}: its tests and code are more than {settings.code_kb} Ki characters")
    if task.kind == stdin.KIND:
        complaint = stdin.complaint(task)
        if complaint is not None:
            raise Refused(422, f"{where}.{complaint}")
        return
    if not task.entry_point:
        raise Refused(422, f"{where}.entry_point: the name of the function under test is missing")
    for field, text in [("setup", task.setup), *((f"tests.{n}", t) for n, t in enumerate(task.tests))]:
        try:
            parse(text)
        except SyntaxError as error:
            raise Refused(422, f"{where}.{field}: not Python: {problem(error)}") from None
        except (ValueError, RecursionError, MemoryError) as error:
            raise Refused(422, f"{where}.{field}: not Python that can be read: {error}") from None


def asked_limits(asked: Mapping[str, Any], settings: Settings) -> Limits:
    """The limits of a request's programs: the server's, changed as asked, within what it allows."""
    try:
        limits = Limits.model_validate({**settings.limits.model_dump(), **asked})
    except ValidationError as error:
        raise Refused(422, f"limits.{describe(error)}") from None
    own = settings.limits
    most = {name: getattr(own, name) for name in ("processes", "open_files", "file_mb", "output_kb")}
    most |= {
        "cpu_seconds": max(own.cpu_seconds, settings.most_seconds),
        "wall_seconds": max(own.wall_seconds, settings.most_seconds),
        "memory_mb": max(own.memory_mb, settings.most_memory_mb),
    }
    for name, value in most.items():
        if getattr(limits, name) > value:
            raise Refused(422, f"limits.{name}: {getattr(limits, name):g} is more than {value:g}")
    return limits


def row_of(index: int, result: Result) -> dict[str, Any]:
    """A row of the answer: the verdict on the program of that index, or why there is none."""
    if isinstance(result, Broken):
        return {"index": index, "error": " ".join(result.reason.split())[:500]}
    assert not isinstance(result, Ended)
    return {"index": index, "passed": result.passed, **result.model_dump(mode="json")}


def line_of(row: Mapping[str, Any]) -> bytes:
    """A row as a line; lone surrogates, which UTF-8 cannot have, are escaped."""
    return (json.dumps(row, separators=(",", ":")) + "\n").encode()
