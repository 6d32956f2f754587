"""`ilf verify`: a file of programs in, a file of verdicts out, row by row in order.

Verdicts go to `OUT.part` as they come; the finished file gets its name at the end. `.OUT.key` beside it says
what it was made from, so that an interrupted command goes on only with the same input.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO, Any

from ilf.errors import DataError, UserError
from ilf.formats.programs import Programs
from ilf.progress import progress, say
from ilf.records import Program, Task, Verdict, content_id, read_rows
from ilf.sandbox.limits import Limits
from ilf.sandbox.selfcheck import self_check
from ilf.sandbox.stdin import JUDGED
from ilf.sandbox.verify import Verifier, Where

Others = Callable[[Mapping[str, Task], Iterable[Program]], Iterator[Verdict]]
"""Tasks and programs in, verdicts out."""

EVERY = 10.0
"""Seconds between lines of progress where there is no terminal."""
NAMED = 8
"""Tasks with isolation shared that the last line names."""


def verify(
    tasks: str,
    programs: Path,
    out: Path,
    *,
    repeat: int = 1,
    workers: int | None = None,
    limits: Limits | None = None,
    unsafe: bool = False,
    isolation: Where = "auto",
    others: Others | None = None,
) -> Counter[str]:
    """Verify the programs of a JSONL file; rows come back with `passed`, `status`, `detail`, `shared`.

    Interrupted in any way, the same call goes on behind the last whole row.

    Args:
        tasks: SOURCE of the tasks, as in `ilf.tasks.load_tasks`.
        programs: JSONL rows `{"task_id": …, "code": "…"}`, other fields are handed through; or a form of
            `ilf.formats.programs`.
        out: where the verdicts go.
        repeat: runs of each program; `flaky` where they disagree.
        workers: programs at once; None is one per core.
        limits: of each program.
        unsafe: without isolation.
        isolation: where tests run, for tasks that leave it open; see `Verifier`.
        others: judges tasks of kinds that the sandbox does not (`ilf.kinds.verify`).

    Returns:
        How many verdicts of each status, over the whole file.

    Raises:
        DataError: a row is not a program, or names an unknown task (file and line are given); `out` holds
            verdicts on other programs, or was made with other settings.
        SandboxUnavailable: no isolation, and `unsafe` is not set.
        SandboxFailure: too many programs could not be verified; what was verified is kept.
    """
    from ilf.tasks import load_tasks

    if repeat < 1:
        raise UserError(f"repeat is {repeat}; it must be at least 1")
    limits = limits or Limits()
    suite = {task.task_id: task for task in load_tasks(tasks)}
    rows = Programs(programs, suite)
    digest, total = check_programs(rows, suite)
    key = {
        "programs": digest,
        "tasks": content_id(*(suite[name].model_dump() for name in sorted(suite))),
        "limits": limits.model_dump(),
        "repeat": repeat,
        "unsafe": unsafe,
        "isolation": isolation,
    }
    part, key_path = out.with_name(out.name + ".part"), out.with_name(f".{out.name}.key")
    if not out.parent.is_dir():
        raise DataError(f"{out}: there is no folder {out.parent}")
    if out.exists() or part.exists():
        _same(out if out.exists() else part, key_path, key)
    if out.exists():
        statuses = Counter(str(row.get("status")) for _, row in read_rows(out))
        say(f"{out} has all {total} verdicts already; delete it to verify again")
        return statuses
    with _opened(part) as file, _explained(part):
        done, statuses, shared = _kept(file)
        if not done:
            _write_key(key_path, key)
        if done < total:
            self_check(unsafe=unsafe)
            if done:
                say(f"going on behind row {done} of {total}")
            if others is not None and any(task.kind not in JUDGED for task in suite.values()):
                if repeat > 1:
                    raise UserError("--repeat: only programs that the sandbox runs can be run more than once")
                _append(lambda left: others(suite, left), rows, file, done, total, statuses, shared)
            else:
                with Verifier(
                    suite, limits=limits, workers=workers, unsafe=unsafe, isolation=isolation
                ) as verifier:
                    judge = partial(verifier.verify, repeat=repeat)
                    _append(judge, rows, file, done, total, statuses, shared)
        os.fsync(file.fileno())
        part.replace(out)
    counts = ", ".join(f"{count} {status}" for status, count in statuses.most_common())
    say(f"{total} programs: {counts or 'none'} → {out}")
    if shared:
        say(
            f"{shared.total()} of them with isolation shared, where a hostile program is able to cheat: "
            f"{len(shared)} tasks ({', '.join(list(shared)[:NAMED])}{' …' if len(shared) > NAMED else ''})"
        )
    return statuses


def _append(
    judge: Callable[[Iterator[Program]], Iterator[Verdict]],
    programs: Programs,
    file: IO[bytes],
    done: int,
    total: int,
    statuses: Counter[str],
    shared: Counter[str],
) -> None:
    waiting: list[dict[str, Any]] = []

    def source() -> Iterator[Program]:
        for number, (_, row) in enumerate(programs):
            if number >= done:
                waiting.append(row)
                yield Program(task_id=row["task_id"], code=row["code"])

    with progress("verifying", total, done, EVERY) as bar:
        for verdict in judge(source()):
            row = waiting.pop(0)
            row |= {"passed": verdict.passed, "status": verdict.status, "detail": verdict.detail}
            row |= {} if verdict.reward is None else {"reward": verdict.reward}
            file.write(_line(row | {"shared": verdict.shared}))
            statuses[verdict.status] += 1
            shared.update([verdict.task_id] if verdict.shared else [])
            bar.advance(1, shared=verdict.shared)


def _line(row: dict[str, Any]) -> bytes:
    try:
        return (json.dumps(row, ensure_ascii=False) + "\n").encode()
    except UnicodeEncodeError:  # lone surrogates
        return (json.dumps(row) + "\n").encode()


def check_programs(rows: Programs, tasks: dict[str, Task]) -> tuple[str, int]:
    """Hash and number of the rows of a file of programs; says what they were read as, if not as ours.

    Raises:
        DataError: a row that is no program of one of the `tasks`, with its line.
    """
    digest = hashlib.sha256()
    total = 0
    path = rows.path
    for place, row in rows:
        for field in ("task_id", "code"):
            if field not in row:
                raise DataError(f"{path}, {place}: {field}: missing")
        name, code = row["task_id"], row["code"]
        if not isinstance(code, str):
            raise DataError(f"{path}, {place}: code: text was expected, not {type(code).__name__}")
        if isinstance(name, bool) or not isinstance(name, str | int) or name == "":
            raise DataError(f"{path}, {place}: task_id: {name!r} is not an id")
        if str(name) not in tasks:
            raise DataError(f"{path}, {place}: task_id: {name!r} is not among the {len(tasks)} tasks")
        digest.update(json.dumps(row, sort_keys=True).encode() + b"\n")
        total += 1
    if rows.says is not None:
        say(f"{path}: read as {rows.says}: {total} programs")
    return digest.hexdigest(), total


def _same(existing: Path, key_path: Path, key: dict[str, Any]) -> None:
    """Refuse verdicts that were made from something else."""
    try:
        found = json.loads(key_path.read_text())
    except (OSError, ValueError):
        raise DataError(
            f"{existing} exists and does not say what it was made from; delete it or choose another --out"
        ) from None
    for name, what in (
        ("programs", "other programs"),
        ("tasks", "other tasks"),
        ("limits", "other limits"),
        ("repeat", "another --repeat"),
        ("unsafe", "another --unsafe"),
        ("isolation", "another --isolation"),
    ):
        if found.get(name) != key[name]:
            raise DataError(f"{existing} holds verdicts made with {what}; delete it or choose another --out")


def _write_key(path: Path, key: dict[str, Any]) -> None:
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(json.dumps(key) + "\n")
    temporary.replace(path)


@contextmanager
def _opened(part: Path) -> Iterator[IO[bytes]]:
    """The growing file, unbuffered, held by this process alone."""
    with part.open("a+b", buffering=0) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DataError(f"{part} is being written by another `ilf verify`") from None
        yield file


@contextmanager
def _explained(part: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise UserError(
                f"{part}: the disk is full; verdicts so far are kept, free some space and go on"
            ) from None
        raise


def _kept(file: IO[bytes]) -> tuple[int, Counter[str], Counter[str]]:
    """Whole rows of an interrupted file: how many, by status, and with isolation shared by task.

    What follows the last one is cut off.
    """
    statuses: Counter[str] = Counter()
    shared: Counter[str] = Counter()
    end = 0
    file.seek(0)
    with os.fdopen(os.dup(file.fileno()), "rb") as reader:
        for raw in reader:
            try:
                row = json.loads(raw)
                if not raw.endswith(b"\n"):
                    break
                statuses[row["status"]] += 1
                shared.update([str(row["task_id"])] if row["shared"] else [])
            except (ValueError, KeyError, TypeError):
                break
            end += len(raw)
    file.truncate(end)
    file.seek(0, os.SEEK_END)
    return statuses.total(), statuses, shared
