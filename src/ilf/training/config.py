"""The settings of one fine-tuning. Light: the command line reads it without torch."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Divergence = Literal["forward", "reverse", "jsd"]
"""Between the model in training, p, and a fixed one, q: KL(q ‖ p), KL(p ‖ q), or Jensen and Shannon's."""


class FinetuneConfig(BaseModel):
    """How a model is fine-tuned.

    The paper's values: learning rate 5e-6, batch 32, 2 epochs, at most 1,024 tokens (defaults of its
    pipeline, appendix; it sweeps {1e-6, 5e-6, 1e-5}, {32, 64, 128} and {1, 2, 5}). What the paper leaves to
    Hugging Face's `Trainer` keeps that library's defaults of the time: linear decay, no warm-up, AdamW
    without weight decay, gradients clipped at norm 1.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    method: Literal["full", "lora", "qlora"] = "full"
    """All weights, LoRA's factors, or LoRA's factors on a base whose linear layers are held in 4 bits (NF4;
    Dettmers et al. 2023)."""
    learning_rate: float = Field(default=5e-6, gt=0)
    """Peak. LoRA usually wants 10 to 100 times what full fine-tuning does."""
    batch_size: int = Field(default=32, ge=1)
    """Examples per optimiser step, however many of them fit into memory at once."""
    epochs: int = Field(default=2, ge=1)
    max_length: int = Field(default=1024, ge=2)
    """Tokens of prompt, completion and end token together. The model's context counts where it is shorter."""
    too_long: Literal["error", "drop"] = "error"
    """What to do with examples over `max_length`: stop and name them, or leave them out and count them."""
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    """How the learning rate falls after the warm-up: to 0, or not at all."""
    warmup_ratio: float = Field(default=0.0, ge=0, lt=1)
    """Share of the steps in which the learning rate rises from 0."""
    weight_decay: float = Field(default=0.0, ge=0)
    max_grad_norm: float = Field(default=1.0, gt=0)
    seed: int = Field(default=0, ge=0)
    order: Literal["shuffled", "grouped"] = "shuffled"
    """`grouped` shuffles prompts instead of examples, so that those with one prompt meet in a batch, where
    the prompt is computed once for all of them."""

    lora_rank: int = Field(default=16, ge=1)
    lora_alpha: int = Field(default=32, ge=1)
    lora_dropout: float = Field(default=0.0, ge=0, lt=1)
    lora_targets: str | tuple[str, ...] = "all-linear"
    """Names of the layers that get adapters; `all-linear` means every linear layer but the output
    projection."""
    keep_adapter: bool = False
    """Keep the LoRA adapter in `adapter/` beside the merged weights."""

    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Of the computation; the weights that are trained stay float32. `auto` is bfloat16 on GPUs that
    compute it natively, float32 elsewhere (on many CPUs bfloat16 is the slower of the two)."""
    save_dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """Of the weights written. A step of 5e-6 is mostly below what 16 bits can hold, so a folder of half the
    size has lost most of what a short fine-tuning learnt."""
    pack_tokens: int | None = Field(default=None, ge=16)
    """Tokens computed at once, the one thing that activation memory grows with; by the machine where
    absent."""
    gradient_checkpointing: bool | Literal["auto"] = "auto"
    """Compute activations twice instead of keeping them: a third slower, far less memory. `auto` does so only
    where they would not fit."""
    save_every: int | None = Field(default=None, ge=1)
    """Steps between checkpoints; by time where absent, so that at most a few minutes are lost."""
    report_to: tuple[str, ...] = ()
    """Experiment trackers by their transformers names: `tensorboard`, `wandb`, `trackio`, `mlflow` …"""
    processes: int = Field(default=1, ge=1)
    """Processes on this machine that share the work, a GPU each, or the cores. Where torchrun or srun started
    this command, the processes are theirs."""
    sharding: Literal["none", "full"] = "none"
    """`none`: every process holds the whole model (DDP). `full`: weights, gradients and moments are shared
    out among the processes (FSDP2)."""

    @property
    def adapters(self) -> bool:
        """Whether LoRA's factors are trained instead of the weights."""
        return self.method != "full"

    def deciding(self) -> dict[str, Any]:
        """The settings without those that say where the work is done, which leave the weights as they are but
        for rounding. With LoRA's dropout every process drops by its own random numbers: then their number
        counts."""
        found = self.model_dump(mode="json", exclude={"processes", "sharding"})
        if self.adapters and self.lora_dropout and self.processes > 1:
            found["processes"] = self.processes
        return found

    @model_validator(mode="after")
    def _together(self) -> Self:
        if self.method == "qlora" and self.sharding == "full":
            raise ValueError('method = "qlora" holds its base whole in every process: set sharding = "none"')
        return self


class _OnPolicy(BaseModel):
    """How a learner lets the model in training write."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    passes: int = Field(default=2, ge=1)
    """How often the newest model writes and learns from what it wrote; each pass is a fine-tuning with the
    settings of `finetune`."""
    temperature: float = Field(default=1.0, gt=0)
    """Of what it writes; 1 is the model itself."""
    max_tokens: int = Field(default=512, ge=1)
    """Of what it writes."""


class DistilConfig(_OnPolicy):
    """On-policy distillation from πRefine."""

    n: int = Field(default=4, ge=0)
    """Programs the student writes for each feedback item in a pass, beside the one the item is about, which
    counts in the first pass. 0: only that one, and one pass."""
    divergence: Divergence = "forward"
    """Between the student p and the teacher q. `reverse` hardly moves what the student would never say."""
    top_k: int = Field(default=64, ge=1)
    """Tokens of the teacher that are told apart; the others count together."""


class SdpoConfig(DistilConfig):
    """Self-distillation: the teacher is the model itself, told the feedback."""

    teacher: Literal["current", "start"] = "current"
    """The model at the beginning of each pass, or the one that training started from."""
    shots: int = Field(default=0, ge=0)
    """Worked refinements that stand in the teacher's prompt, where the run's refiner has some."""


class GrpoConfig(_OnPolicy):
    """Group-relative policy gradients from the verifier alone."""

    n: int = Field(default=8, ge=2)
    """Programs written for each task of the train split in a pass."""
    tasks: int | None = Field(default=None, ge=1)
    """At most so many tasks a pass, drawn anew in each; all of the train split by default."""
    clip_low: float = Field(default=0.2, gt=0, lt=1)
    """How far below 1 the ratio of new to old probability still counts."""
    clip_high: float = Field(default=0.2, gt=0)
    scale: Literal["std", "none"] = "std"
    """Advantages are divided by the rewards' standard deviation in a task's group, or not."""


class SftConfig(BaseModel):
    """Supervised fine-tuning, the paper's learner."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    kl: float = Field(default=0.0, ge=0)
    """β of a penalty β·KL(πθ ‖ πstart) at every label; 0 leaves it out (the paper's)."""
