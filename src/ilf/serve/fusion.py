"""SandboxFusion's calls `/run_code` and `/submit`, for Python, as its clients make them (verl among them).

Fields and statuses are those of bytedance/SandboxFusion (sandbox/server/sandbox_api.py, sandbox/datasets/).
`/run_code` says what a program did; the client judges. `/submit` judges here, as `/v1/verify` does.
"""

from __future__ import annotations

import ast
import builtins
import json
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from ilf.prompts import Prompter
from ilf.records import Program, Task, Verdict
from ilf.serve.engine import Broken, Group, Result, Script
from ilf.serve.script import Ended
from ilf.serve.settings import Settings
from ilf.serve.wire import Refused, asked_limits, check_code, check_task, parsed
from ilf.syntax import parse
from ilf.tasks.mbpp import find_entry_point

_LEAST_SECONDS = 0.1


class RunCode(BaseModel):
    """A request to `/run_code`; what it may have besides is ignored, as SandboxFusion does."""

    model_config = ConfigDict(extra="ignore")

    code: str
    language: str
    stdin: str | None = None
    run_timeout: float = Field(default=10.0, gt=0)
    memory_limit_MB: int = -1
    files: dict[str, str | None] = {}
    fetch_files: list[str] = []
    args: list[str] = []


class Config(BaseModel):
    """`config` of a request to `/submit`."""

    model_config = ConfigDict(extra="ignore")

    dataset_type: str | None = None
    language: str | None = None
    run_timeout: float | None = Field(default=None, gt=0)
    custom_extract_logic: str | None = None
    provided_data: dict[str, Any] | list[dict[str, Any]] | None = None


class Submit(BaseModel):
    """A request to `/submit`."""

    model_config = ConfigDict(extra="ignore")

    dataset: str
    id: int | str
    completion: str
    config: Config = Config()


def _group(seconds: float, memory_mb: int, settings: Settings, *, script: bool = False) -> Group:
    """The limits asked for, as far as the server allows: its clients know no refusal."""
    # Whole seconds above one: each set of limits needs a jail of its own.
    seconds = max(_LEAST_SECONDS, float(round(seconds)) if seconds > 1 else round(seconds, 1))
    seconds = min(seconds, max(settings.most_seconds, settings.limits.wall_seconds))
    asked: dict[str, Any] = {"cpu_seconds": seconds, "wall_seconds": seconds}
    if memory_mb > 0:
        most = max(settings.most_memory_mb, settings.limits.memory_mb)
        asked["memory_mb"] = min(most, max(64, -(-memory_mb // 64) * 64))
    return Group(asked_limits(asked, settings), settings.isolation, 1, script)


def script_of(body: bytes, settings: Settings) -> tuple[Group, Script]:
    """What a request to `/run_code` asks for.

    Raises:
        Refused: another language than Python, files, or arguments.
    """
    ask = parsed(RunCode, body)
    if ask.language != "python":
        raise Refused(422, f"language: {ask.language!r} is not run here, only 'python'")
    for name in ("files", "fetch_files", "args"):
        if getattr(ask, name):
            raise Refused(422, f"{name}: not supported here; leave it empty")
    check_code(ask.code, "code", settings)
    return _group(ask.run_timeout, ask.memory_limit_MB, settings, script=True), Script(
        ask.code, ask.stdin or ""
    )


def ran(result: Result) -> dict[str, Any]:
    """The answer of `/run_code`."""
    if isinstance(result, Broken) or result.status == "sandbox_error":
        reason = result.reason if isinstance(result, Broken) else "the sandbox itself failed"
        return _answer("SandboxError", reason, None)
    assert isinstance(result, Ended)
    if result.status == "timeout":
        return _answer("Failed", "", _command("TimeLimitExceeded", result.seconds, None, "", result.stderr))
    # Ended from outside: by the memory limit, say.
    code = -9 if result.code is None else result.code
    told = _command("Finished", result.seconds, code, result.stdout, result.stderr)
    return _answer("Failed" if code else "Success", "", told)


def _command(status: str, seconds: float, code: int | None, stdout: str, stderr: str) -> dict[str, Any]:
    return {
        "status": status, "execution_time": seconds, "return_code": code, "stdout": stdout, "stderr": stderr,
    }  # fmt: skip


def _answer(status: str, message: str, ran: dict[str, Any] | None) -> dict[str, Any]:
    return {
        "status": status, "message": message, "compile_result": None, "run_result": ran,
        "executor_pod_name": None, "files": {},
    }  # fmt: skip


def submission_of(
    body: bytes, known: Mapping[str, Task], settings: Settings
) -> tuple[Group, tuple[Task, Program], Submit]:
    """What a request to `/submit` asks for: the task is the server's, or comes as `provided_data`.

    Raises:
        Refused: no such task, or data in a form that is not known here.
    """
    ask = parsed(Submit, body)
    config = ask.config
    if config.language not in (None, "python"):
        raise Refused(422, f"config.language: {config.language!r} is not run here, only 'python'")
    if config.custom_extract_logic:
        raise Refused(422, "config.custom_extract_logic: not supported here: it is code for the server")
    check_code(ask.completion, "completion", settings)
    task = known.get(str(ask.id)) if config.provided_data is None else _provided(ask)
    if task is None:
        raise Refused(404, f"id: {str(ask.id)!r} is not among the server's tasks, and no provided_data came")
    check_task(task, "config.provided_data", settings)
    code = Prompter("chat").extract_program(task, ask.completion)
    group = _group(config.run_timeout or 20.0, -1, settings)
    return group, (task, Program(task_id=task.task_id, code=code)), ask


def _provided(ask: Submit) -> Task:
    """The task of a row of SandboxFusion's data."""
    data = ask.config.provided_data
    rows = data if isinstance(data, list) else [data or {}]
    row = next((row for row in rows if str(row.get("id", ask.id)) == str(ask.id)), None)
    if row is None:
        raise Refused(422, f"config.provided_data: no row with the id {str(ask.id)!r}")
    kind = ask.config.dataset_type or ask.dataset
    tests = _loaded(row.get("test"), "test")
    labels = _loaded(row.get("labels") or {}, "labels")
    if not isinstance(tests, list) or not tests or not isinstance(labels, dict):
        raise Refused(422, "config.provided_data: test is a list and labels an object")
    content = str(row.get("content", ""))
    try:
        if kind == "CommonOJDataset":
            cases = tuple(
                json.dumps({"input": str(case["input"]["stdin"]), "output": str(case["output"]["stdout"])})
                for case in tests
            )
            return Task(task_id=str(ask.id), description=content, tests=cases, kind="stdin")
        if kind == "MBPPDataset":
            texts = tuple(map(str, tests))
            name = _entry_point(texts, str(labels.get("code") or ""))
            return Task(
                task_id=str(ask.id), description=content, tests=texts, entry_point=name or "",
                setup=str(labels.get("test_setup_code", "")),
            )  # fmt: skip
    except (KeyError, TypeError, ValueError, SyntaxError, RecursionError, MemoryError) as error:
        raise Refused(422, f"config.provided_data.test: {type(error).__name__}: {error}") from None
    raise Refused(422, f"config.dataset_type: {kind!r} is not one of CommonOJDataset, MBPPDataset")


def _entry_point(tests: Sequence[str], reference: str) -> str | None:
    """What tests are about; without a reference, what they call that is no built-in."""
    trees = [parse(test) for test in tests]
    if not reference:
        nodes = (node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Call))
        names = {node.func.id for node in nodes if isinstance(node.func, ast.Name)}
        reference = "\n".join(f"{name} = None" for name in sorted(names) if not hasattr(builtins, name))
    return find_entry_point(trees, parse(reference))


def _loaded(value: Any, where: str) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        raise Refused(422, f"config.provided_data.{where}: not JSON") from None


def judged(ask: Submit, pair: tuple[Task, Program], result: Result) -> dict[str, Any]:
    """The answer of `/submit`: a row a test, in the order of the task's."""
    if isinstance(result, Broken):
        raise Refused(422, result.reason)
    assert isinstance(result, Verdict)
    task, program = pair
    tests = [
        {
            "passed": bool(passed),
            "exec_info": _exec_info(result, bool(passed)),
            "test_info": {"test": test[:2000], "detail": result.detail if result.test == number else ""},
        }
        for number, (test, passed) in enumerate(zip(task.tests, result.tests, strict=False))
    ]
    return {
        "id": ask.id, "accepted": result.passed, "extracted_code": program.code, "full_code": None,
        "test_code": None, "tests": tests, "extracted_type": "fenced" if "```" in ask.completion else
        "heuristic" if program.code.strip() else "empty",
        "extra": {"status": result.status, "detail": result.detail},
    }  # fmt: skip


def _exec_info(verdict: Verdict, passed: bool) -> dict[str, Any]:
    if verdict.status == "sandbox_error":
        return _answer("SandboxError", verdict.error or "", None)
    if not passed and verdict.status == "timeout":
        return _answer("Failed", "", _command("TimeLimitExceeded", verdict.seconds, None, "", ""))
    told = _command(
        "Finished", verdict.seconds, int(not passed), verdict.stdout or "",
        "" if passed else verdict.error or verdict.detail,
    )  # fmt: skip
    return _answer("Success" if passed else "Failed", "", told)
