"""`finetune`: examples in, a standard Hugging Face folder out, whatever happens in between."""

from __future__ import annotations

import dataclasses
import itertools
import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from ilf.errors import MissingDependency, TrainingError
from ilf.pretrained import quiet
from ilf.progress import progress as progress_bar
from ilf.records import Example
from ilf.training.card import RECORD, write_card
from ilf.training.config import FinetuneConfig
from ilf.training.examples import LabelReport, check_examples
from ilf.training.group import given
from ilf.training.workfolder import LOG, Log, fingerprint, keep_log, own

if TYPE_CHECKING:
    from ilf.models import ModelFolder
    from ilf.training.objective import Objective
    from ilf.training.packing import Row
    from ilf.training.preflight import Plan

Say = Callable[[str], None]


class FinetuneResult(BaseModel):
    """What a fine-tuning did."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    folder: Path
    model: str
    """Hash of the weights written."""
    parent: str
    """Hash of the weights it started from."""
    examples: int
    """Trained on, each once an epoch; `left_out` were not (too long, or of weight 0)."""
    left_out: int
    steps: int
    tokens: int
    """Of all examples, times epochs: prompt, completion and end token."""
    label_tokens: int
    first_loss: float
    """Weighted mean negative log-likelihood per label token (nats) of the first step's batch."""
    final_loss: float
    """The same for the last step's."""
    seconds: float
    """Spent in optimiser steps, over all resumptions."""
    peak_memory: int
    """Bytes: of the process on a CPU, of the allocator on a GPU."""
    device: str
    engine: str
    """How the losses were computed: packed or padded, with chunked or full output projection."""
    heard_tokens: int = 0
    """Put through another model, whose word the objective compares with; `heard_seconds` it took."""
    heard_seconds: float = 0.0
    processes: int = 1
    """That shared the work; `peak_memory` is the first one's."""


def finetune(
    model: str | Path,
    examples: Sequence[Example],
    out: Path,
    config: FinetuneConfig = FinetuneConfig(),  # noqa: B008 - frozen
    *,
    card: Mapping[str, Any] | None = None,
    progress: Callable[[Log], None] | None = None,
    say: Say | None = None,
    replace: bool = False,
    trust_remote_code: bool = False,
    objective: Objective | None = None,
) -> FinetuneResult:
    """Fine-tune a model on examples; the loss is on the completions only (paper, section 2, step 4).

    The loss of a step is Σ wᵢ·(−log p(completionᵢ | promptᵢ)) over the number of label tokens in the batch,
    with the weights scaled to a mean of 1 over all examples (equation 6 where they are importance weights).

    Written in a hidden folder beside `out` and renamed at the end. Interrupted in any way, the same call
    goes on from the last checkpoint and gives the same weights; finished, it returns at once.

    Args:
        model: a MODEL string or folder.
        examples: what to learn.
        out: the model folder to write, in Hugging Face's standard form.
        config: how.
        card: said in the model card besides, by heading.
        progress: called after every optimiser step with its row of the training log (`step`, `steps`, `loss`
            in nats per label token, `grad_norm` before clipping, `learning_rate`, `seconds`,
            `tokens_per_second`).
        say: told, line by line, what is about to happen: counts, one decoded example with its labels marked,
            needs in memory and disk, where a resumed one goes on; without `progress`, a bar shows the steps.
        replace: an `out` that holds something else is replaced at the end instead of refused.
        trust_remote_code: see `ilf.models.resolve`.
        objective: what a label costs instead of its negative log-likelihood.

    Raises:
        TrainingError: examples that cannot be trained on, too little memory or disk, a loss that is not
            finite.
        ModelError: the model cannot be opened.
    """
    from ilf.training import processes

    def here(settings: FinetuneConfig) -> FinetuneResult:
        return _finetune(
            model, examples, out, settings, card, progress, say, replace, trust_remote_code, objective
        )

    if (group := given()) is None:
        return here(config)
    if group.rank > 0:  # the first process does all but the training itself
        return FinetuneResult.model_validate_json(processes.follow())
    try:
        result = here(group.checked(config))
    except BaseException:
        processes.failed()
        raise
    processes.tell(result.model_dump_json())
    return result


def _finetune(
    model: str | Path,
    examples: Sequence[Example],
    out: Path,
    config: FinetuneConfig,
    card: Mapping[str, Any] | None,
    progress: Callable[[Log], None] | None,
    say: Say | None,
    replace: bool,
    trust_remote_code: bool,
    objective: Objective | None,
) -> FinetuneResult:
    from ilf.models import context_length, load_tokenizer, resolve, weights_hash

    folder = resolve(str(model), trust_remote_code)
    tokenizer = load_tokenizer(folder.path)
    report = check_examples(
        tokenizer,
        examples,
        min(config.max_length, context_length(folder.path)),
        drop_too_long=config.too_long == "drop",
    )
    key = fingerprint(folder.hash, examples, config, {} if objective is None else objective.identity())
    talk, say = say, say or _silent
    if (kept := _finished(out, key, replace)) is not None:
        say(f"{out}: finished before, nothing to do")
        return kept
    say(f"Fine-tuning on {report.summary()}")
    say(f"The first example, what is learnt between ⟦ and ⟧:\n{report.shown}")
    work = out.with_name(f".{out.name}.partial")
    with own(work, key), quiet():
        trained = _train(folder, report, work, out, config, progress, talk, objective)
        result = FinetuneResult(
            folder=out,
            model=weights_hash(work / "model"),
            parent=folder.hash,
            examples=len(report.rows),
            left_out=report.examples - len(report.rows),
            tokens=config.epochs * (report.prompt_tokens + report.label_tokens),
            label_tokens=config.epochs * report.label_tokens,
            **trained,
        )
        record = {
            "fingerprint": key,
            "source": folder.source,
            "config": config.model_dump(mode="json"),
            "plan": json.loads((work / "plan.json").read_text(encoding="utf-8")),
            "result": result.model_dump(mode="json", exclude={"folder"}),
            "origins": Counter(example.origin or "example" for example in examples),
            "left_out": {"too long": list(report.too_long), "weight 0": report.unweighted},
            "card": dict(card or {}),
        }
        final = work / "model"
        (final / RECORD).write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        shutil.copy(work / LOG, final / LOG)
        if (events := work / "checkpoints" / "runs").is_dir():  # where TensorBoard's files were written
            events.rename(final / "runs")
        write_card(final)
        if out.exists():  # `replace`, or it would have been refused before
            out.rename(work / "replaced")
        final.rename(out)
        shutil.rmtree(work)
    return result


def _train(
    folder: ModelFolder,
    report: LabelReport,
    work: Path,
    out: Path,
    config: FinetuneConfig,
    progress: Callable[[Log], None] | None,
    talk: Say | None,
    objective: Objective | None,
) -> dict[str, Any]:
    """Train to the end and write the model to `work/model`; what the result says about it."""
    try:
        import accelerate  # type: ignore[import-untyped]  # noqa: F401 - Trainer needs it

        from ilf.training.fit import Job, fit
        from ilf.training.teacher import listen
        from ilf.training.trainer import check_trackers, last_checkpoint, step_of
    except ImportError as error:
        raise MissingDependency(f"{error.name} is not installed: pip install 'ilf[models]'") from None
    from ilf.models import load_tokenizer
    from ilf.pretrained import trusted_folders
    from ilf.training import processes
    from ilf.training.launch import launch
    from ilf.training.packing import batches

    say = talk or _silent
    check_trackers(config.report_to)
    plan = _plan(folder.path, report, config, work, out, say)
    resume = last_checkpoint(work / "checkpoints")
    done = keep_log(work / LOG, step_of(resume) if resume else 0)
    if resume:
        say(f"going on after step {step_of(resume)}")
    examples = _weighted(report.rows)
    heard = None
    if objective is not None:
        heard = listen(objective, load_tokenizer(folder.path), examples, plan, work)
    job = Job(folder.path, tuple(examples), config, plan, work, out.name, objective, trusted_folders())
    steps = len(batches(examples, config.batch_size, config.epochs, config.seed, config.order))
    with _shown(progress, talk, steps, len(done)) as note:
        if given() is not None:
            trained = processes.lead(job, note, say)
        elif config.processes > 1 or plan.sharding == "full":
            trained = launch(job, note, say)
        else:
            trained = fit(job, note, say)
    return {
        **trained,
        "heard_tokens": heard.tokens if heard else 0,
        "heard_seconds": heard.seconds if heard else 0.0,
    }


@contextmanager
def _shown(
    progress: Callable[[Log], None] | None, say: Say | None, steps: int, start: int
) -> Iterator[Callable[[Log], None]]:
    """Who is told about a step: the caller, or where there is only someone to talk to, a progress bar."""
    if progress is not None or say is None:
        yield progress or (lambda row: None)
        return
    with progress_bar("fine-tuning", steps, start) as bar:
        yield lambda row: bar.advance(1, int(row["tokens"]))


def _plan(parent: Path, report: LabelReport, config: FinetuneConfig, work: Path, out: Path, say: Say) -> Plan:
    """The plan kept with the checkpoints, or a new one that was checked against what is free."""
    from ilf.training.preflight import Plan, estimate_rows

    kept = work / "plan.json"
    if kept.is_file():
        return Plan(**json.loads(kept.read_text(encoding="utf-8")))
    needs = estimate_rows(parent, report.longest, config, out).check()
    say(needs.summary())
    plan = needs.plan
    temporary = kept.with_suffix(".tmp")
    temporary.write_text(json.dumps(dataclasses.asdict(plan)), encoding="utf-8")
    temporary.replace(kept)
    return plan


def _weighted(rows: Sequence[Row]) -> list[Row]:
    """Rows with weights of mean 1, so that the learning rate means the same whatever the weights' scale, and
    with their labels numbered."""
    mean = sum(row.weight for row in rows) / len(rows)
    starts = itertools.accumulate((len(row.completion) for row in rows), initial=0)
    return [
        dataclasses.replace(row, weight=row.weight / mean, offset=offset)
        for row, offset in zip(rows, starts, strict=False)
    ]


def _finished(out: Path, key: str, replace: bool) -> FinetuneResult | None:
    """The result of the same fine-tuning where `out` holds it.

    Raises:
        TrainingError: `out` holds something else, and it is not to be replaced.
    """
    if not out.exists():
        return None
    with suppress(OSError, ValueError, KeyError):
        record = json.loads((out / RECORD).read_text(encoding="utf-8"))
        if record["fingerprint"] == key:
            return FinetuneResult(folder=out, **record["result"])
    if replace:
        return None
    raise TrainingError(
        f"{out}: exists, and is not this fine-tuning (another model, other examples or settings): "
        "choose another folder or delete it"
    )


def _silent(line: str) -> None:
    """Where nobody wants to be told."""
