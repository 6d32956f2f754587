"""The Python API, `from ilf import …`: whole runs and single steps as functions of Python values."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ilf.config import EngineConfig, RunConfig, SamplingConfig, VerifyConfig, build_config, load_config
from ilf.errors import DataError
from ilf.metrics import Comparison, Evaluation
from ilf.records import Feedback, Program, Record, Refinement, Rows, Task, Verdict, write_jsonl
from ilf.runfolder import RunFolder
from ilf.sandbox import Limits, Verifier, Where
from ilf.sandbox import verify as _verify
from ilf.tasks import load_tasks

__all__ = [
    "Feedback",
    "Program",
    "Refinement",
    "Result",
    "Task",
    "Verdict",
    "Verifier",
    "refine",
    "run",
    "verify",
]


@dataclass(frozen=True)
class Result:
    """What the last round of a run made."""

    folder: Path
    """The run folder; every file of it is described in docs/architecture.md."""
    model: Path
    """πθ*, weights and tokenizer: `AutoModelForCausalLM.from_pretrained` opens it."""
    before: Evaluation
    """πθ on the held-out tasks."""
    after: Evaluation
    """πθ* on the same tasks."""
    comparisons: tuple[Comparison, ...]
    """`after` against `before`, paired by task, one a k of pass@k."""


def run(
    config: RunConfig | Mapping[str, Any] | str | Path,
    *,
    tasks: Sequence[Task] | None = None,
    feedback: Sequence[Feedback] | None = None,
    folder: str | Path | None = None,
    overrides: Sequence[str] = (),
    summary: bool = False,
) -> Result:
    """Every round of Algorithm 1 in a run folder; called again, it goes on where it stopped.

    Args:
        config: a TOML file, its content as a mapping, or a checked config.
        tasks: instead of `tasks.source` of a config that is a mapping or a file.
        feedback: on wrong programs, instead of `feedback.path`; `feedback.source` becomes `recorded`.
        folder: the run folder; `runs/NAME` by default.
        overrides: `key=value` pairs as after `--set`, for a config that is a file.
        summary: print the results and where the time went.

    Raises:
        UserError: bad input, named; everything done so far is kept.
        Waiting: `feedback.source` is `human` and people are not done yet.
    """
    from ilf import algorithm

    raw = _raw(config, overrides, tasks)
    path = Path(folder) if folder is not None else Path("runs") / str(raw.get("name", "run"))
    # Beside the folder: what was given is an input of the run, and a folder that is not new is refused.
    inputs = path.with_name(f"{path.name}-inputs")
    if tasks is not None:
        raw["tasks"] = {**raw.get("tasks", {}), "source": str(_written(inputs / "tasks.jsonl", tasks))}
    if feedback is not None:
        given = {"source": "recorded", "path": str(_written(inputs / "feedback.jsonl", feedback))}
        raw["feedback"] = {**raw.get("feedback", {}), **given}
    settings = build_config(raw, "ilf.run")
    found = algorithm.run(settings, path, summary=summary)
    return _result(found)


def verify(
    tasks: Task | Iterable[Task],
    programs: Iterable[Program | str],
    *,
    limits: Limits | None = None,
    workers: int | None = None,
    isolation: Where = "auto",
    unsafe: bool = False,
) -> list[Verdict]:
    """Verdicts on `programs` from the sandbox, in their order.

    For many calls in a row, as in a reward function, keep a `Verifier`: its workers stay warm.

    Args:
        tasks: what the programs are for.
        programs: texts, where there is one task; else `Program` records, which name their task.
        limits: of time and memory, of each program; None is the defaults.
        workers: programs at once; None is one per core.
        isolation: where tests run, for tasks that leave it open.
        unsafe: run programs without isolation where there is none.

    Raises:
        DataError: a text where there are several tasks, or a program of no task given.
        SandboxUnavailable: no isolation here, and `unsafe` is not set.
        SandboxFailure: too many programs could not be verified for the sandbox's own reasons.
    """
    known = _by_id([tasks] if isinstance(tasks, Task) else tasks)
    asked = []
    for program in programs:
        if isinstance(program, str):
            if len(known) != 1:
                raise DataError(
                    f"a program as text needs exactly one task, {len(known)} were given: "
                    "use Program(task_id=…, code=…)"
                )
            program = Program(task_id=next(iter(known)), code=program)
        asked.append(program)
    return list(_verify(known, asked, limits=limits, workers=workers, unsafe=unsafe, isolation=isolation))


def refine(
    model: str | Path,
    tasks: Sequence[Task] | str,
    feedback: Sequence[Feedback],
    *,
    n: int = 1,
    temperature: float = 0.8,
    max_tokens: int = 512,
    style: Literal["completion", "chat"] = "chat",
    engine: EngineConfig | str = "torch",
    use_feedback: bool = True,
    verification: VerifyConfig | None = None,
    seed: int = 0,
) -> list[Refinement]:
    """Refinements x1 ~ πRefine(·|t, x0, f) with their verdicts, `n` an item (Algorithm 1, line 3).

    Args:
        model: who refines: a hub id, a folder, a GGUF file or `package:NAME`.
        tasks: or a task source by its name.
        feedback: on wrong programs; each item carries its program.
        n: samples an item.
        temperature: of sampling.
        max_tokens: a sample, at most.
        style: `chat` for instruct models, `completion` for base models.
        engine: what computes the samples, by name or with its options.
        use_feedback: False leaves the feedback out of the prompt (a control).
        verification: settings of the sandbox.
        seed: of sampling.

    Raises:
        DataError: feedback on a task that is not given.
        ModelError: the model cannot be opened, or a prompt does not fit.
    """
    from ilf import policy
    from ilf.places import Local
    from ilf.runner import alone
    from ilf.steps import Refine, Refiner

    known = _by_id(load_tasks(tasks) if isinstance(tasks, str) else tasks)
    computed = EngineConfig(name=engine) if isinstance(engine, str) else engine
    step = Refine(
        Refiner(policy.get(model, computed, style)),
        tuple(feedback),
        known,
        SamplingConfig(n=n, temperature=temperature, max_tokens=max_tokens),
        verification or VerifyConfig(),
        use_feedback,
        seed=seed,
    )
    with tempfile.TemporaryDirectory(prefix="ilf-refine-") as folder:
        place = Local()
        try:
            found: Rows[Refinement] = alone(step, Path(folder) / "refinements.jsonl", place)
            return list(found)
        finally:
            place.close()


def _raw(
    config: RunConfig | Mapping[str, Any] | str | Path, overrides: Sequence[str], tasks: Sequence[Task] | None
) -> dict[str, Any]:
    """A config as a mapping of its own."""
    from ilf.configfile import read_toml, with_overrides

    if isinstance(config, RunConfig):
        return with_overrides(config.model_dump(mode="json", exclude_none=True), overrides)
    if isinstance(config, Mapping):
        return with_overrides(dict(config), overrides)
    if tasks is None:
        load_config(Path(config), overrides)  # its errors name the file
    return with_overrides(read_toml(Path(config)), overrides)


def _written(path: Path, records: Sequence[Record]) -> Path:
    if not records:
        raise DataError(f"{path.stem}: none were given")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_jsonl(path, records)
    return path


def _by_id(tasks: Iterable[Task]) -> dict[str, Task]:
    found: dict[str, Task] = {}
    for task in tasks:
        if task.task_id in found:
            raise DataError(f"two tasks are called {task.task_id!r}")
        found[task.task_id] = task
    return found


def _result(folder: RunFolder) -> Result:
    import json

    # A round that was stopped before its evaluation has no result.
    last = [files for files in folder.rounds() if files.evaluation.exists()][-1]
    raw = json.loads(last.evaluation.read_text(encoding="utf-8"))
    before, after = (Evaluation.model_validate(raw["arms"][arm]) for arm in ("before", "after"))
    comparisons = tuple(Comparison.model_validate(c) for c in raw["paired"])
    return Result(folder.path, last.model, before, after, comparisons)
