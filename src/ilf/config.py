"""The settings of a run: one typed config, read from TOML, checked before anything runs.

Defaults are the paper's where it has one (section 3 and appendix: 30 samples, temperature 0.8, learning rate
5e-6, batch 32, 2 epochs); model and tasks have none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, field_validator, model_validator

from ilf import seams
from ilf.configbase import EngineConfig as EngineConfig
from ilf.configbase import Section, named_in
from ilf.configfile import checked, read_toml, starter_path, with_overrides
from ilf.feedbackconfig import FeedbackConfig as FeedbackConfig
from ilf.feedbackconfig import MixedConfig as MixedConfig
from ilf.feedbackconfig import ReviewConfig as ReviewConfig
from ilf.notes import Lines
from ilf.rewardconfig import RewardConfig as RewardConfig
from ilf.rewardconfig import RewardTerm as RewardTerm
from ilf.sandbox import Limits
from ilf.training import FinetuneConfig
from ilf.training.config import DistilConfig, GrpoConfig, SdpoConfig, SftConfig


class TasksConfig(Section):
    """Where tasks come from, and which of them do what."""

    source: str
    """`starter`, `house`, `mbpp`, `humaneval`, `hub:OWNER/NAME`, a file or folder, or `FORMAT:PATH`."""
    map: dict[str, str] = {}
    """Field of a task → column, for rows in columns of your own: { task_id = "id", tests = "asserts" }."""
    prefix: Literal["all", "signature"] = "all"
    """What precedes the body: all reference code above it (the paper's), or imports and signature only."""
    challenge_tests: bool = False
    """MBPP: add the challenge tests to the tests."""
    splits: dict[str, str] = {}
    """Name → ids ("11-110", "3,5,9") or "split=NAME" for a field of the tasks. `refine`, `train`, `test` are
    needed; MBPP has the paper's built in, other sources their own `split` field."""
    limit: int | None = Field(default=None, ge=1)
    """At most this many tasks a split, the first ones."""
    validation: int = Field(default=20, ge=0)
    """With several rounds: so many tasks of `train` are kept apart to tell whether another round is worth it;
    at most half of those without recorded feedback, or a quarter of all. 0: every round is done."""


class PromptsConfig(Section):
    """The text models see."""

    style: Literal["completion", "chat"] = "completion"
    lines: Lines = "number"
    """How prompts name the lines of the wrong program that a note of the feedback is about: by `number`, as
    people wrote it; by `quote`, the lines' own text in its place; `none` leaves only what is said of them."""


class SamplingConfig(Section):
    """How a model is sampled."""

    n: int = Field(default=30, ge=1)
    """Samples a task."""
    temperature: float = Field(default=0.8, ge=0)
    top_p: float = Field(default=1.0, gt=0, le=1)
    max_tokens: int = Field(default=512, ge=1)


class VerifyConfig(Section):
    """The sandbox; and for tasks without tests, what an answer is worth."""

    limits: Limits = Limits()
    workers: int | None = Field(default=None, ge=1)
    """Programs at once; one a core by default."""
    unsafe: bool = False
    """Run without isolation. Only for programs you would run by hand."""
    isolation: Literal["auto", "separate", "shared"] = "auto"
    """Where tests run, for tasks that do not say it. `separate`: outside the program's process; `shared`:
    inside it, where a hostile program can cheat; `auto`: `shared` where the reference passes only so."""
    reward: RewardConfig = RewardConfig()

    def deciding(self) -> dict[str, Any]:
        """All that decides a verdict, for the keys of steps."""
        left_out = {"workers"} if self.reward != RewardConfig() else {"workers", "reward"}
        return self.model_dump(exclude=left_out)


class RefinerConfig(Section):
    """πRefine."""

    method: Literal["finetune", "few-shot"] = "finetune"
    shots: int = Field(default=1, ge=0)
    """`few-shot`: how many triples of the refine split stand in the prompt."""
    use_feedback: bool = True
    """False: refine from the wrong program alone (a control)."""
    by_parts: bool = False
    """Follow a text one bug at a time, `sampling.n` samples a part, keeping what passes no fewer tests; one
    refinement an item (the paper's Figure 5 suggests it)."""
    finetune: FinetuneConfig = FinetuneConfig()
    sampling: SamplingConfig = SamplingConfig()

    @model_validator(mode="after")
    def _parts_of_something(self) -> RefinerConfig:
        if self.by_parts and not self.use_feedback:
            raise ValueError(
                "by_parts follows the parts of the feedback, and use_feedback = false leaves it out"
            )
        return self


class SelectionConfig(Section):
    """Which refinements become examples."""

    strategy: Literal["random", "all", "nearest", "likeliest", "diverse", "best"] = "random"
    """One at random a task is the paper's; `best`, the highest R, its predecessor's for texts."""
    gate: Literal["all", "shown"] = "all"
    """Which tests a refinement must pass to be kept."""
    weights: bool = False
    """Importance weights of equation 6 instead of 1 each."""
    beta: float = Field(default=1.0, gt=0)
    """Inverse temperature of the target distribution (equation 6)."""
    clip: float = Field(default=10.0, ge=1)
    """Weights stay within [median / clip, median · clip] of their task's."""


class ExamplesConfig(Section):
    """What πθ* learns beside this round's refinements. The paper: nothing."""

    own: float = Field(default=0.0, ge=0, le=1)
    """Share of the whole that πθ's own correct samples of other tasks make up, so far as there are enough."""
    own_per_task: int = Field(default=1, ge=1)
    """At most so many of one task."""
    replay: bool = True
    """With several rounds: those of earlier rounds too."""


class LearnerConfig(Section):
    """How a model learns from examples; its optimiser's settings are those of `finetune`."""

    name: Annotated[str, named_in(seams.LEARNERS)] = "sft"
    """`sft` (the paper's), `distil`, `sdpo`, `grpo`, or an import path, `package.module:learn`."""
    options: dict[str, Any] = {}
    """Settings of a learner of somebody else's."""
    sft: SftConfig = SftConfig()
    distil: DistilConfig = DistilConfig()
    sdpo: SdpoConfig = SdpoConfig()
    grpo: GrpoConfig = GrpoConfig()

    @property
    def section(self) -> BaseModel | None:
        """The settings of the learner that is named; None for somebody else's."""
        found = getattr(self, self.name, None) if self.name in seams.LEARNERS else None
        return found if isinstance(found, BaseModel) else None


class PlaceConfig(Section):
    """Where the steps' work is done."""

    name: Annotated[str, named_in(seams.PLACES)] = "local"
    """`local`, `ray` (docs/scale.md), or an import path, `package.module:Name`."""
    address: str | None = None
    """`ray`: `auto` (the default) is the cluster that this machine is part of, `local` a cluster of this
    machine alone that ends with the run; or `HOST:PORT` of a cluster's head."""
    cores: int | None = Field(default=None, ge=1)
    """`ray`: cores, and so threads, of one sampling process on a node without a GPU; all of a node's by
    default. On nodes with GPUs there is one process a GPU."""


class EvaluationConfig(Section):
    """The held-out measurement."""

    split: str = "test"
    sampling: SamplingConfig = SamplingConfig()
    k: list[int] = [1, 10]
    """pass@k for these k, none above n."""
    control: bool = True
    """Also fine-tune πθ on as many of its own correct samples, which need no feedback, and measure it beside
    πθ*: what feedback adds is the difference. One more fine-tuning and evaluation; the paper has none."""

    @field_validator("split")
    @classmethod
    def _held_out(cls, value: str) -> str:
        if value in ("refine", "train"):
            raise ValueError(f"models are trained on split {value}: scores on it would mean nothing")
        return value

    @field_validator("k")
    @classmethod
    def _positive(cls, value: list[int]) -> list[int]:
        if not value or min(value) < 1:
            raise ValueError("each k must be at least 1")
        return sorted(set(value))

    @model_validator(mode="after")
    def _enough(self) -> EvaluationConfig:
        if max(self.k) > self.sampling.n:
            raise ValueError(f"k = {max(self.k)} is larger than n = {self.sampling.n} samples a task")
        return self


class RunConfig(Section):
    """Everything `ilf run` is asked for."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """The run folder is runs/NAME."""
    model: str
    """πθ: a hub id, a folder, a GGUF file or `package:NAME`."""
    refiner_model: str | None = None
    """What πRefine starts from; a copy of πθ by default (the paper's)."""
    seed: int = 0
    rounds: int = Field(default=1, ge=1)
    """At most so many; a round that gains nothing on the validation tasks is the last."""
    rounds_from: Literal["last", "first"] = "last"
    """What a later round's πθ* starts from: the round before's, or the run's first model."""
    max_sandbox_errors: float = Field(default=0.05, ge=0, le=1)
    """Share of programs without a verdict above which the run stops."""
    tasks: TasksConfig
    place: PlaceConfig = PlaceConfig()
    engine: EngineConfig = Field(default_factory=EngineConfig)
    prompts: PromptsConfig = PromptsConfig()
    sampling: SamplingConfig = SamplingConfig()
    verify: VerifyConfig = VerifyConfig()
    feedback: FeedbackConfig = FeedbackConfig()
    refiner: RefinerConfig = RefinerConfig()
    selection: SelectionConfig = SelectionConfig()
    examples: ExamplesConfig = ExamplesConfig()
    learner: LearnerConfig = LearnerConfig()
    finetune: FinetuneConfig = FinetuneConfig()
    evaluation: EvaluationConfig = EvaluationConfig()

    @model_validator(mode="after")
    def _rounds_have_feedback(self) -> RunConfig:
        paths = self.feedback.path if isinstance(self.feedback.path, list) else [self.feedback.path]
        shipped = self.tasks.source in ("starter", "house")
        if "recorded" in self.feedback.sources and paths == [None] and not shipped:
            raise ValueError('feedback.path: needed where feedback.source is "recorded"')
        return self

    def identity(self) -> dict[str, Any]:
        """What makes two runs different runs: a folder keeps to one."""
        return {"name": self.name, "model": self.model, "tasks.source": self.tasks.source}


def load_config(path: Path | None, overrides: Sequence[str] = ()) -> RunConfig:
    """Read and check a config.

    Args:
        path: a TOML file; None means the starter run's.
        overrides: `key=value` pairs, keys dotted (`sampling.n=10`), values in TOML (bare words are strings).

    Raises:
        ConfigError: one line naming the file and the key.
    """
    path = starter_path() if path is None else path
    return build_config(with_overrides(read_toml(path), overrides), str(path))


def build_config(raw: Mapping[str, Any], where: str) -> RunConfig:
    """Check a raw config; `where` names it in errors."""
    return checked(RunConfig, raw, where)


def dump_config(config: RunConfig) -> str:
    """The config as TOML, defaults written out, for the run folder."""
    import tomli_w

    return tomli_w.dumps(config.model_dump(mode="json", exclude_none=True))
