"""One step alone, files in and files out: what `ilf sample`, `refine` and `evaluate` do."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ilf import metrics, models, policy
from ilf.config import EngineConfig, SamplingConfig, SelectionConfig, VerifyConfig
from ilf.errors import DataError, UserError
from ilf.feedback import shuffled
from ilf.kinds.function import check_sandbox
from ilf.notes import Lines
from ilf.places import Local
from ilf.progress import progress, say
from ilf.prompts import Style
from ilf.records import Example, Program, Refinement, Rows, Task, Verdict, read_rows, write_jsonl
from ilf.runfolder import write_text
from ilf.runner import alone, writable
from ilf.selection import accepted
from ilf.steps import Refine, RefineByParts, Refiner, Sample
from ilf.steps.evaluation import refuse_leaks
from ilf.steps.examples import select_examples
from ilf.steps.refiner import Shot, pick_shots, refiner_examples, worked
from ilf.tasks import load_tasks
from ilf.terminal import print_evaluations


def by_id(tasks: Sequence[Task]) -> dict[str, Task]:
    """Tasks by their id."""
    return {task.task_id: task for task in tasks}


def verdicts_on(
    tasks: Mapping[str, Task], programs: Sequence[Program], verify: VerifyConfig
) -> list[Verdict]:
    """Verdicts on programs, in their order, with a bar.

    Raises:
        SandboxUnavailable: there is no isolation to run programs in.
    """
    check_sandbox(verify)
    with progress("verifying programs", len(programs)) as bar:
        return list(Local().verify(tasks, programs, verify, bar))


def sample(
    model: str,
    source: str,
    out: Path,
    *,
    ids: str | None,
    engine: EngineConfig,
    style: Style,
    settings: SamplingConfig,
    seed: int,
) -> int:
    """Sample programs for the tasks of `source` into the JSONL file `out`; returns how many tasks."""
    tasks = load_tasks(source, ids=ids)
    alone(Sample(policy.get(model, engine, style), tuple(tasks), settings, seed), out, Local())
    say(f"{len(tasks) * settings.n} programs for {len(tasks)} tasks: {out}")
    return len(tasks)


def refine(
    model: str,
    source: str,
    feedback: Path,
    out: Path,
    *,
    ids: str | None,
    engine: EngineConfig,
    style: Style,
    settings: SamplingConfig,
    verify: VerifyConfig,
    seed: int,
    shots: Path | None,
    shot_count: int,
    shuffle: bool,
    use_feedback: bool,
    by_parts: bool = False,
    lines: Lines = "number",
) -> metrics.Evaluation:
    """Sample refinements that follow `feedback`, verify them, and print how many pass."""
    from ilf.feedback import recorded

    all_tasks = by_id(load_tasks(source))
    wanted = by_id(load_tasks(source, ids=ids))
    items = [item for item in recorded.read(feedback, all_tasks) if item.task_id in wanted]
    if not items:
        raise DataError(f"{feedback}: no feedback on the chosen tasks of {source}")
    if shuffle:
        items = shuffled(items, seed)
    worked_shots: tuple[Shot, ...] = ()
    if shots is not None:
        usable = [item for item in recorded.read(shots, all_tasks) if item.task_id not in wanted]
        chosen = pick_shots(usable, shot_count, f"{shots}: on other tasks it")
        worked_shots = worked(chosen, all_tasks, use_feedback=use_feedback)
    refiner = Refiner(policy.get(model, engine, style, lines), worked_shots)
    kind = RefineByParts if by_parts else Refine
    step = kind(refiner, tuple(items), wanted, settings, verify, use_feedback, seed=seed)
    refinements = alone(step, out, Local())
    if by_parts:
        settings = settings.model_copy(update={"n": 1})  # each chain ends in one refinement
    refined = [wanted[task_id] for task_id in dict.fromkeys(item.task_id for item in items)]
    result = metrics.evaluate(
        metrics.count(refined, (r.verdict for r in refinements if r.verdict is not None)),
        split=ids or source, temperature=settings.temperature, n=settings.n,
        ks=[k for k in (1, 10) if k <= settings.n], seed=seed,
    )  # fmt: skip
    print_evaluations(f"Refinements in {out}", {model: result})
    return result


def examples(
    model: str,
    source: str,
    out: Path,
    *,
    style: Style,
    feedback: Path | None,
    refinements: Path | None,
    ids: str | None,
    selection: SelectionConfig,
    seed: int,
    trust_remote_code: bool = False,
) -> list[Example]:
    """Make the rows that a model is fine-tuned on: πRefine's from feedback, or πθ*'s from refinements.

    Raises:
        UserError: not exactly one of the two is given, or nothing comes of it.
    """
    tasks = by_id(load_tasks(source, ids=ids))
    models.resolve(model, trust_remote_code)  # trust lasts for the process
    prompter = policy.make_prompter(model, "torch", style)
    if (feedback is None) == (refinements is None):
        raise UserError("give one of --examples, --feedback (trains πRefine) and --refinements (trains πθ*)")
    if feedback is not None:
        from ilf.feedback import recorded

        items = [i for i in recorded.read(feedback, by_id(load_tasks(source))) if i.task_id in tasks]
        rows, left_out = refiner_examples(prompter, tasks, items)
    else:
        assert refinements is not None
        # Whoever joins files of `ilf refine` has a task's refinements in several places.
        found = sorted(_passing(refinements, tasks, selection.gate), key=lambda r: r.task_id)
        rows, left_out = select_examples(prompter, tasks, found, selection, seed=seed)
    if left_out:
        say(
            f"{len(left_out)} programs change what stands above the body and were left out: "
            f"{', '.join(left_out)}"
        )
    if not rows:
        raise UserError(f"{feedback or refinements}: nothing to train on for the chosen tasks of {source}")
    write_jsonl(out, rows)
    return rows


def evaluate(
    source: str,
    *,
    ids: str | None,
    verdicts: Path,
    against: Path | None,
    ks: Sequence[int],
    trained_on: Sequence[Path],
    temperature: float,
    out: Path | None,
    seed: int,
) -> dict[str, Any]:
    """pass@k of verified programs, and the paired test against other ones on the same tasks.

    Raises:
        LeakError: a task stands in one of `trained_on`.
        DataError: a verdict is for a task that is not among the chosen ones.
    """
    tasks = load_tasks(source, ids=ids)
    if out is not None:
        writable(out)
    ids_of = {task.task_id for task in tasks}
    refuse_leaks(ids_of, {str(path): _ids_in(path) for path in trained_on})
    arms = {"programs": verdicts} if against is None else {"against": against, "programs": verdicts}
    results: dict[str, metrics.Evaluation] = {}
    for name, path in arms.items():
        counts = metrics.count(tasks, _verdicts(path, ids_of))
        n = max(task.n + task.unscored for task in counts)
        results[name] = metrics.evaluate(
            counts, split=ids or source, temperature=temperature, n=n, ks=ks, seed=seed
        )
    comparisons = []
    if against is not None:
        pair = [results["against"]], [results["programs"]]
        by = metrics.common(results.values(), ks)
        comparisons = metrics.with_holm(
            [metrics.compare(*pair, names=("against", "programs"), k=k) for k in by]
        )
    found = {
        "arms": {name: result.model_dump(mode="json") for name, result in results.items()},
        "paired": [c.model_dump(mode="json") for c in comparisons],
    }
    print_evaluations(f"{verdicts} on {source}", results, comparisons)
    if out is not None:
        write_text(out, json.dumps(found, indent=2) + "\n")
    return found


def _passing(path: Path, tasks: Mapping[str, Task], gate: str) -> Iterator[Refinement]:
    for row in Rows(path, Refinement):
        if row.task_id in tasks and accepted(row, tasks[row.task_id], gate):
            yield row


def _verdicts(path: Path, ids: set[str]) -> Iterator[Verdict]:
    """Verdicts from `ilf verify`'s output, or from a run folder's file."""
    for place, row in read_rows(path):
        task_id, status = str(row.get("task_id", "")), row.get("status")
        if status is None:
            raise DataError(f"{path}, {place}: status: Field required (is this an output of `ilf verify`?)")
        if task_id not in ids:
            raise DataError(f"{path}, {place}: task_id: {task_id!r} is not among the chosen tasks")
        fields: dict[str, Any] = {
            "task_id": task_id,
            "program_id": row.get("program_id", ""),
            "status": status,
        }
        if isinstance(row.get("tests"), list):
            fields["tests"] = row["tests"]
        if row.get("reward") is not None:
            fields["reward"] = row["reward"]
        try:
            yield Verdict.model_validate(fields)
        except ValueError:
            raise DataError(f"{path}, {place}: status: {status!r} is not a verdict's status") from None


def _ids_in(path: Path) -> list[str]:
    return [str(row["task_id"]) for _, row in read_rows(path) if "task_id" in row]
