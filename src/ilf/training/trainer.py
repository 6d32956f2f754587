"""The training loop: transformers' `Trainer`, fed with packs.

`Trainer` keeps the optimiser, the schedule, clipping, checkpoints, resume and trackers. Two things are
ours: what one optimiser step computes, and a checkpoint that a full disk cannot break.
"""

from __future__ import annotations

import ctypes
import dataclasses
import json
import math
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from accelerate import DistributedType, FullyShardedDataParallelPlugin  # type: ignore[import-untyped]
from torch import Tensor
from torch.utils.data import DataLoader
from transformers import Trainer, TrainerCallback, TrainerState, TrainingArguments
from transformers.integrations import integration_utils
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.trainer_callback import PrinterCallback

from ilf.errors import Interrupted, MissingDependency, TrainingError
from ilf.training.config import FinetuneConfig
from ilf.training.loss import Cost, Way, pack_loss
from ilf.training.packing import Pack, Row, packs, padded_packs, share
from ilf.training.preflight import Plan
from ilf.training.workfolder import Log

# Without `save_every`, a checkpoint is due when the last one is this old, and this many times what it took.
SAVE_SECONDS, SAVE_TIMES = 120.0, 20.0


class PackTrainer(Trainer):
    """A `Trainer` whose batches are whole optimiser steps, computed pack by pack."""

    def __init__(
        self,
        model: Any,
        steps: Sequence[Sequence[Row]],
        way: Way,
        plan: Plan,
        cost: Cost | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(model=model, **kwargs)
        self.remove_callback(PrinterCallback)
        self._steps, self._way, self._plan, self._cost = steps, way, plan, cost
        self._layers = [m for m in model.modules() if isinstance(m, GradientCheckpointingLayer)]
        self._sharded = self.is_fsdp_enabled
        if dist.is_initialized():
            self._enter_by_forward()

    def create_accelerator_and_postprocess(self) -> None:
        """Have weights shared out on a CPU, too: torch can, and accelerate asks for it on GPUs only."""
        super().create_accelerator_and_postprocess()
        if self.args.fsdp and self.args.use_cpu:
            state = self.accelerator.state
            state.distributed_type = DistributedType.FSDP
            state.fsdp_plugin = FullyShardedDataParallelPlugin(**self.args.fsdp_plugin_args)
            self.is_fsdp_enabled = True

    def _enter_by_forward(self) -> None:
        """Let `model(pack=…)` be the pack's loss: the wrappers of torch look after gradients and shards where
        the outermost module is called, and nowhere else."""
        model: Any = self.model
        own = model.forward

        def forward(*args: Any, pack: Pack | None = None, **kwargs: Any) -> Any:
            if pack is None:
                return own(*args, **kwargs)
            return pack_loss(model, pack, self._way, self.args.device, self._cost)

        model.forward = forward

    def get_train_dataloader(self) -> DataLoader[Any]:
        """One batch an optimiser step, in the order given: `Trainer` skips the first ones on resume."""
        return DataLoader(self._steps, batch_size=1, collate_fn=self._collate)  # type: ignore[arg-type]

    def _collate(self, batch: Sequence[Sequence[Row]]) -> dict[str, Any]:
        rows = batch[0]
        shares = [self._packed(part) for part in share(rows, self.args.world_size)]
        mine = shares[self.args.process_index]
        # Collective operations need every process: who has nothing to do computes something of weight 0, and
        # where weights are gathered for every pack, all have as many packs.
        idle = dataclasses.replace(min(rows, key=lambda row: row.length), weight=0.0)
        least = max(map(len, shares)) if self._sharded else 1
        return {
            "packs": [*mine, *self._packed([idle]) * (least - len(mine))],
            "label_count": sum(len(pack.labels) for packs in shares for pack in packs),
        }

    def _packed(self, rows: Sequence[Row]) -> list[Pack]:
        budget = self._plan.pack_tokens
        return packs(rows, budget) if self._way.packed else padded_packs(rows, budget, pad=0)

    def training_step(self, model: Any, inputs: dict[str, Any], num_items_in_batch: Any = None) -> Tensor:
        """Forward and backward of one optimiser step; its loss is the weighted mean over all its labels.

        Dividing by the labels of the whole step, not pack by pack or process by process, makes the gradient
        independent of how the examples were packed and shared out.
        """
        model.train()
        device, processes = self.args.device, self.args.world_size
        total = torch.zeros((), device=device)
        *before, last = inputs["packs"]
        for pack in (*before, last):
            self._checkpoint_layers(pack)
            # DDP sums up gradients once a step; FSDP after every pack, as it frees what is not its shard.
            alone = processes > 1 and pack is not last and not self._sharded
            with self.accelerator.no_sync(model) if alone else nullcontext():
                with torch.autocast(device.type, torch.bfloat16, enabled=self._plan.precision == "bfloat16"):
                    if dist.is_initialized():
                        loss = model(pack=pack)
                    else:
                        loss = pack_loss(self.model, pack, self._way, device, self._cost)
                    loss = loss / inputs["label_count"]
                # torch's wrappers take the mean over processes, and the sum is wanted.
                self.accelerator.backward(loss * processes if processes > 1 else loss)
            total += loss.detach()
        if processes > 1:
            dist.all_reduce(total)
        if not torch.isfinite(total):
            raise TrainingError(
                f"the loss of step {self.state.global_step + 1} is {total.item()}: "
                "lower learning_rate, or check the model's weights"
            )
        _trim()
        return total

    def _checkpoint_layers(self, pack: Pack) -> None:
        """Recompute as many layers as this pack needs to stay within the plan's activation memory."""
        recomputed = self._plan.recomputed_layers(pack.tokens)
        for i, layer in enumerate(self._layers):
            layer.gradient_checkpointing = i < recomputed

    def floating_point_ops(self, inputs: dict[str, Any]) -> int:
        """Not counted: `Trainer` would look for `input_ids`."""
        return 0

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        folder = Path(str(self.args.output_dir)) / f"checkpoint-{self.state.global_step}"
        try:
            super()._save_checkpoint(model, trial)
        except Exception as error:  # each of the writers has an error of its own for a full disk
            if not self.is_world_process_zero():
                raise
            shutil.rmtree(folder, ignore_errors=True)
            kept = last_checkpoint(folder.parent)
            after = f"the one of step {step_of(kept)} is kept" if kept else "there is none yet"
            free = shutil.disk_usage(folder.parent).free / 1e9
            raise TrainingError(
                f"{folder}: the checkpoint could not be written ({str(error).strip().splitlines()[0]}); "
                f"{after}. Free space on that disk ({free:.1f} GB are free) and run again to go on"
            ) from error


def _trim() -> None:
    """Give the memory of freed activations back to the system before the optimiser asks for its own.

    glibc keeps freed blocks of up to 32 MB for later: a gigabyte of activations would lie idle beside the
    optimiser's moments, and be counted twice in the peak.
    """
    with suppress(OSError, AttributeError):  # another libc
        ctypes.CDLL(None).malloc_trim(0)


def arguments(
    config: FinetuneConfig, folder: Path, name: str, steps: int, *, cpu: bool, shard: bool = False
) -> TrainingArguments:
    """`Trainer`'s settings for so many steps, with checkpoints in `folder`; trackers call it `name`."""
    warmup = math.ceil(config.warmup_ratio * steps)
    constant = "constant_with_warmup" if warmup else "constant"
    # Every process writes its shards, and any number of processes can read them.
    sharded: dict[str, Any] = {}
    if shard:
        sharded = {"fsdp": True, "fsdp_config": {"state_dict_type": "SHARDED_STATE_DICT"}}
    arguments = TrainingArguments(
        output_dir=str(folder),
        run_name=name,
        max_steps=steps,
        per_device_train_batch_size=1,
        learning_rate=config.learning_rate,
        lr_scheduler_type=constant if config.schedule == "constant" else config.schedule,
        warmup_steps=warmup,
        weight_decay=config.weight_decay,
        max_grad_norm=config.max_grad_norm,
        seed=config.seed,
        logging_steps=1,
        logging_nan_inf_filter=False,
        save_strategy="no",  # Watch says when
        save_total_limit=1,
        report_to=list(config.report_to) or "none",
        use_cpu=cpu,
        disable_tqdm=True,
        ddp_find_unused_parameters=False,
        ddp_broadcast_buffers=False,
        **sharded,
    )
    arguments._n_gpu = min(arguments.n_gpu, 1)  # several GPUs would otherwise mean nn.DataParallel
    return arguments


def check_trackers(names: Sequence[str]) -> None:
    """Refuse trackers that cannot be reported to, before anything is loaded.

    Raises:
        TrainingError: an unknown tracker.
        MissingDependency: a tracker that is not installed.
    """
    known = integration_utils.INTEGRATION_TO_CALLBACK
    installed = integration_utils.get_available_reporting_integrations()  # type: ignore[no-untyped-call]
    for name in names:
        if name not in known:
            raise TrainingError(f"report_to: unknown tracker {name!r}; known: {', '.join(sorted(known))}")
        if name not in installed:
            raise MissingDependency(f"report_to: {name} is not installed: pip install {name}")


class Watch(TrainerCallback):
    """Keeps the log, reports each step, and asks for checkpoints in time.

    Args:
        log: the JSONL file that gets a row a step.
        tokens: of each step's examples.
        save_every: steps between checkpoints; None goes by time.
        report: called with each row.
    """

    def __init__(
        self, log: Path, tokens: Sequence[int], save_every: int | None, report: Callable[[Log], None]
    ) -> None:
        self._log, self._tokens, self._save_every, self._report = log, tokens, save_every, report
        self._began = self._saved = time.monotonic()
        self._seconds = self._cost = 0.0
        self.stopped = False
        self.stop = False
        """Set it to have a checkpoint written after the step in progress, and training stopped."""

    def on_step_begin(self, args: Any, state: TrainerState, control: Any, **_: Any) -> None:
        """Start the step's clock."""
        self._began = time.monotonic()

    def on_step_end(self, args: Any, state: TrainerState, control: Any, **_: Any) -> None:
        """Stop the clock; ask for a checkpoint where one is due. The last step's would be the model
        itself."""
        now = time.monotonic()
        self._seconds = now - self._began
        if self._save_every is not None:
            due = state.global_step % self._save_every == 0
        else:
            due = now - self._saved > max(SAVE_SECONDS, SAVE_TIMES * self._cost)
        due, stop = self._agreed(due, self.stop, args.device)
        if (due or stop) and state.global_step < state.max_steps:
            control.should_save = True
            control.should_training_stop = self.stopped = stop
            self._saved = now

    def _agreed(self, due: bool, stop: bool, device: torch.device) -> tuple[bool, bool]:
        """All processes write a checkpoint, and stop, as soon as one of them wants to."""
        if not dist.is_initialized():
            return due, stop
        wanted = torch.tensor([due, stop], dtype=torch.int32, device=device)
        dist.all_reduce(wanted, dist.ReduceOp.MAX)
        return bool(wanted[0]), bool(wanted[1])

    def on_save(self, args: Any, state: TrainerState, control: Any, **_: Any) -> None:
        """Note what the checkpoint cost."""
        now = time.monotonic()
        self._cost, self._saved = now - self._saved, now

    def on_log(self, args: Any, state: TrainerState, control: Any, logs: Log | None = None, **_: Any) -> None:
        """Write the step's row."""
        if logs is None or "loss" not in logs:  # the summary at the end
            return
        if logs["grad_norm"] == 0:
            raise TrainingError(
                f"the gradient of step {state.global_step} is exactly 0 (loss {logs['loss']:.3g}): nothing "
                "is learnt. Are all weights frozen, or is every answer known to the last bit?"
            )
        if not state.is_world_process_zero:
            return
        tokens = self._tokens[state.global_step - 1]
        row = {
            "step": state.global_step,
            "steps": state.max_steps,
            **{name: logs[name] for name in ("loss", "grad_norm", "learning_rate")},
            "tokens": tokens,
            "seconds": self._seconds,
            "tokens_per_second": tokens / self._seconds,
        }
        with self._log.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        self._report(row)


@contextmanager
def interruptible(watch: Watch, say: Callable[[str], None]) -> Iterator[None]:
    """On Ctrl-C (SIGTERM, SIGHUP), finish the step, keep it in a checkpoint, and only then interrupt.

    A second one does at once.
    """
    if threading.current_thread() is not threading.main_thread():  # signals are the main thread's
        yield
        return

    told: list[int] = []

    def stop(number: int, frame: Any) -> None:
        watch.stop = True
        told.append(number)
        restore()
        say("keeping the step in progress, then stopping; Ctrl-C again stops at once")

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    # The others only where somebody handles them (the command line does): else their default is to end.
    numbers = [n for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP) if callable(signal.getsignal(n))]
    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    finally:
        restore()
    if watch.stopped:
        raise Interrupted(told[0] if told else signal.SIGTERM)  # told to another process


def step_of(checkpoint: Path) -> int:
    """The step a checkpoint folder was written after."""
    return int(checkpoint.name.rpartition("-")[2])


def last_checkpoint(folder: Path) -> Path | None:
    """The newest complete checkpoint: `Trainer` writes its state file last."""
    for checkpoint in sorted(folder.glob("checkpoint-*"), key=step_of, reverse=True):
        with suppress(OSError, ValueError, KeyError):
            state = json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
            if state["global_step"] == step_of(checkpoint):
                return checkpoint
    return None
