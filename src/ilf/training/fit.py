"""The training itself, in one process or in each of several: from a job to a model folder."""

from __future__ import annotations

import resource
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
import torch.distributed as dist
from torch.distributed.tensor import DTensor
from transformers import set_seed

from ilf.errors import TrainingError, UserError
from ilf.models import load_model, load_tokenizer
from ilf.training import loss
from ilf.training.changes import Written
from ilf.training.config import FinetuneConfig
from ilf.training.objective import Objective
from ilf.training.packing import Row, batches
from ilf.training.preflight import Plan
from ilf.training.teacher import listen
from ilf.training.trainer import PackTrainer, Watch, arguments, interruptible, last_checkpoint, step_of
from ilf.training.weights import in_four_bits, merged, save, with_lora
from ilf.training.workfolder import LOG, Log, keep_log


@dataclass(frozen=True)
class Job:
    """What every process of a fine-tuning is given."""

    parent: Path
    """Model folder that it starts from."""
    rows: tuple[Row, ...]
    """What to learn, weighted and numbered."""
    config: FinetuneConfig
    plan: Plan
    work: Path
    """Folder of checkpoints and of the log, which all processes see."""
    name: str
    """For trackers."""
    objective: Objective | None
    trusted: tuple[Path, ...]
    """Model folders whose Python code may run."""


def fit(job: Job, note: Callable[[Log], None], say: Callable[[str], None]) -> dict[str, Any]:
    """Train to the end, or go on after the last checkpoint, and write the model to `work/model`.

    Args:
        job: what to do.
        note: called with each step's row of the log (in the first process alone).
        say: told what matters.

    Returns:
        What a `FinetuneResult` says about it.

    Raises:
        TrainingError: of what a user can change.
    """
    try:
        return _fit(job, note, say)
    except UserError:
        raise
    except Exception as error:
        raise _explained(error, job.work) or error from None


def _fit(job: Job, note: Callable[[Log], None], say: Callable[[str], None]) -> dict[str, Any]:
    config, plan, checkpoints = job.config, job.plan, job.work / "checkpoints"
    first = not dist.is_initialized() or dist.get_rank() == 0
    sharded = plan.sharding == "full"
    _reset_peak()
    resume = last_checkpoint(checkpoints)
    rows = keep_log(job.work / LOG, step_of(resume) if resume else 0) if first else []
    cost = None
    if job.objective is not None:
        heard = listen(job.objective, load_tokenizer(job.parent), job.rows, plan, job.work)
        cost = job.objective.cost(job.rows, heard.said)
    set_seed(config.seed)  # LoRA's first weights, and dropout
    device = torch.device(plan.device)
    if config.method == "qlora":
        model = in_four_bits(job.parent, plan)
        before = None  # compared when its factors are added to the whole weights
    else:
        # Shards are cut on the CPU: no GPU need hold the whole.
        model = load_model(job.parent, device="cpu" if sharded else plan.device, dtype=torch.float32)
        # What was loaded may be frozen: a PEFT adapter merged into its base leaves every weight so.
        model.requires_grad_(True)
        before = Written(model, getattr(torch, config.save_dtype)) if first else None
    if config.adapters:
        model = with_lora(model, config)
    way = loss.choose_way(model, job.rows, plan.precision, torch.device("cpu") if sharded else device)
    if first and way is not loss.WAYS[0]:
        say(f"this model's own attention or output layer is used: {way.name}, which is slower")
    if plan.checkpointing is not False:
        # Named gradient_checkpointing_enable before transformers 5.20.
        usual = model.gradient_checkpointing_enable
        enable = getattr(model, "activation_checkpointing_enable", usual)
        enable({"use_reentrant": False})
    steps = batches(job.rows, config.batch_size, config.epochs, config.seed, config.order)
    tokens = [sum(len(row.prompt) + len(row.completion) for row in step) for step in steps]

    def keep(row: Log) -> None:
        rows.append(row)
        note(row)

    watch = Watch(job.work / LOG, tokens, config.save_every, keep)
    trainer = PackTrainer(
        model,
        steps,
        way,
        plan,
        cost,
        args=arguments(config, checkpoints, job.name, len(steps), cpu=plan.device == "cpu", shard=sharded),
        train_dataset=steps,
        callbacks=[watch],
    )
    if dist.is_initialized() and dist.get_rank() > 0:  # dropout of its own
        torch.manual_seed(config.seed + dist.get_rank())
    with interruptible(watch, say):
        trainer.train(resume_from_checkpoint=None if resume is None else str(resume))
    found = _whole(job, trainer, sharded)
    if first:
        _write(job, found, before, len(steps))
    if dist.is_initialized():
        dist.barrier()
    if not first:
        return {}
    return {
        "steps": len(steps),
        "first_loss": rows[0]["loss"],
        "final_loss": rows[-1]["loss"],
        "seconds": sum(row["seconds"] for row in rows),
        "peak_memory": _peak(plan.device),
        "device": torch.cuda.get_device_name() if plan.device == "cuda" else "cpu",
        "engine": way.name,
        "processes": dist.get_world_size() if dist.is_initialized() else 1,
    }


def _whole(job: Job, trainer: PackTrainer, sharded: bool) -> Any:
    """The trained model, shards gathered (in the first process alone)."""
    if not sharded:
        return trainer.model
    state = {}
    for name, weight in cast(Any, trainer.model).state_dict().items():  # one whole weight at a time
        gathered = weight.full_tensor() if isinstance(weight, DTensor) else weight
        if dist.get_rank() == 0:
            state[name] = gathered.cpu()
    if dist.get_rank() > 0:
        return None
    model = load_model(job.parent, device="cpu", dtype=torch.float32)
    if job.config.adapters:
        model = with_lora(model, job.config)
    model.load_state_dict(state)
    return model


def _write(job: Job, model: Any, before: Written | None, steps: int) -> None:
    """Write the model folder, unless nothing was learnt."""
    config = job.config
    dtype = getattr(torch, config.save_dtype)
    if config.method == "qlora":  # its factors go to the weights as they were before 4 bits
        model, kept = load_model(job.parent, device="cpu", dtype=torch.float32), model
        before = Written(model, dtype)
        model = with_lora(model, config)
        factors = {name: weight for name, weight in kept.state_dict().items() if "lora_" in name}
        model.load_state_dict(factors, strict=False)
    final = merged(model, job.work / "model", config)
    assert before is not None
    if before.same(final):
        rounded = config.save_dtype != "float32"
        raise TrainingError(
            f"{steps} steps changed no weight{f' as {config.save_dtype} holds it' if rounded else ''}: "
            f"raise learning_rate ({config.learning_rate:g}) or epochs"
            + (', or set save_dtype = "float32"' if rounded else "")
        )
    save(final, load_tokenizer(job.parent), job.work / "model", config)


def _explained(error: Exception, work: Path) -> TrainingError | None:
    """The one-line form of failures that the machine causes."""
    import torch

    if isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error):
        return TrainingError(
            "fine-tuning ran out of memory: set gradient_checkpointing = true, a lower pack_tokens or "
            'max_length, or method = "lora"'
        )
    if "No space left" in str(error) or shutil.disk_usage(work).free < 1e6:
        return TrainingError(f"{work}: the disk is full; make space and run again: finished steps are kept")
    return None


def _reset_peak() -> None:
    import torch

    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    with suppress(OSError):  # Linux starts the process's peak anew; elsewhere it counts from the start
        Path("/proc/self/clear_refs").write_text("5")


def _peak(device: str) -> int:
    import torch

    if device == "cuda":
        return int(torch.cuda.max_memory_allocated())
    with suppress(OSError, StopIteration):
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
        return 1024 * int(next(line for line in lines if line.startswith("VmHWM")).split()[1])
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
