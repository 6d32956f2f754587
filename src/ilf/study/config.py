"""The settings of a study: one run's settings, and what is compared over it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from ilf.config import EngineConfig, RunConfig, build_config
from ilf.configfile import explain, read_toml, shipped, with_overrides
from ilf.errors import ConfigError
from ilf.study.arms import ARMS, GROUPS, SIZE, USUAL, Arm


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class ValidationConfig(_Section):
    """Tasks on which temperatures and training settings are chosen; in no feedback, training or test."""

    ids: str | None = None
    """Which tasks of the source ("split=validation", "1-10"); by default tasks of the refine and train splits
    on which the run has no feedback."""
    tasks: int = Field(default=40, ge=1)
    """At most so many."""
    n: int = Field(default=10, ge=1)
    """Samples a task."""


class SweepConfig(_Section):
    """Fine-tuning settings tried for each arm on the validation tasks (appendix); every combination."""

    method: tuple[Literal["full", "lora"], ...] = ()
    learning_rate: tuple[float, ...] = ()
    batch_size: tuple[int, ...] = ()
    epochs: tuple[int, ...] = ()


class WriterConfig(_Section):
    """The model that writes feedback in the arms without people; the run's own model by default."""

    model: str | None = None
    engine: EngineConfig | None = None
    style: Literal["completion", "chat"] | None = None
    """Prompt style of that model; the run's by default."""


class KlConfig(_Section):
    """How the distance between models is estimated."""

    tasks: int = Field(default=40, ge=0)
    """Held-out prompts (validation tasks, then test tasks); 0 leaves KL out."""
    n: int = Field(default=4, ge=1)
    """Samples a prompt, at temperature 1."""


class StudyConfig(_Section):
    """Everything `ilf study` is asked for."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """The study folder is studies/NAME."""
    run: RunConfig
    """The run that all arms share; in the file `base = "PATH"`, a run's config, and `[run]` over it."""
    seeds: tuple[int, ...] = Field(default=(0,), min_length=1)
    reuse: str | None = None
    """A run folder to start from: it is copied to be the first seed's run, and only what the study asks for
    differently is done again. Its name, model, tasks and seed must be the study's."""
    arms: tuple[str, ...] = ()
    """Names of arms; empty means all of `groups`."""
    groups: tuple[str, ...] = USUAL
    """Families of arms: final, selection, gate, size, learner; all but the last by default."""
    report_at: float = Field(default=0.8, ge=0)
    """Temperature at which every arm is measured on the test tasks, the paper's by default. It takes the
    place of the run's `evaluation.sampling.temperature`."""
    temperatures: tuple[float, ...] = (0.2, 0.4, 0.6, 0.8, 1.0)
    """Among these and `report_at` each arm's best one is chosen on the validation tasks; empty leaves this
    out."""
    everywhere: bool = True
    """Best temperatures, transfer, KL and sweeps for every arm; false: for groups `final` and `learner`, and
    the others are measured on the test tasks at `report_at` only."""
    refining: Literal["all", "arms"] = "all"
    """Which ways of refining are measured for Tables 2 and 3: all six (few-shot and fine-tuned πRefine, each
    with its own, unrelated and no feedback), or only those that an arm needs."""
    sizes: tuple[int, ...] = ()
    """Numbers of feedback items for the size curve; empty means a quarter, a half and all."""
    also: tuple[str, ...] = ()
    """Other task sources on which every arm is evaluated, `SOURCE` or `SOURCE@IDS`."""
    also_n: int = Field(default=10, ge=1)
    """Samples a task there."""
    validation: ValidationConfig = ValidationConfig()
    sweep: SweepConfig = SweepConfig()
    writer: WriterConfig = WriterConfig()
    kl: KlConfig = KlConfig()
    keep_models: Literal["final", "all"] = "final"
    """Whose weights stay on the disk: those of groups `final` and `learner`, or also those of the other
    groups and of the sweeps' trials that were not chosen. What is gone is trained again where something new
    is asked of it."""
    arm: tuple[Arm, ...] = ()
    """Arms of your own, tables `[[arm]]`."""

    @field_validator("seeds")
    @classmethod
    def _distinct(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(value)) != len(value):
            raise ValueError("a seed is given twice")
        return value

    @field_validator("temperatures")
    @classmethod
    def _not_negative(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if any(t < 0 for t in value):
            raise ValueError("a temperature is negative")
        return value

    @field_validator("groups")
    @classmethod
    def _known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        unknown = [name for name in value if name not in GROUPS]
        if unknown:
            raise ValueError(f"{unknown[0]!r} is unknown; known: {', '.join(GROUPS)}")
        return value

    def declared(self) -> list[Arm]:
        """The arms asked for, in their order; own ones replace those of the same name.

        Raises:
            ConfigError: a name in `arms` is unknown.
        """
        known = {arm.name: arm for arm in (*ARMS, *self.arm)}
        if self.sizes:
            known = {name: arm for name, arm in known.items() if arm.group != "size" or arm in self.arm}
            for size in self.sizes:
                update = {"name": f"size-{size}", "label": f"{size} items", "share": None, "items": size}
                known.setdefault(f"size-{size}", SIZE.model_copy(update=update))
        if self.arms:
            unknown = [name for name in self.arms if name not in known]
            if unknown:
                raise ConfigError(f"arms: {unknown[0]!r} is unknown; known: {', '.join(known)}")
            return [known[name] for name in self.arms]
        own = {arm.name for arm in self.arm}
        return [arm for arm in known.values() if arm.group in self.groups or arm.name in own]

    def in_full(self, arm: Arm) -> bool:
        """Whether an arm gets its best temperature, transfer, KL and sweep."""
        return self.everywhere or arm.group in ("final", "learner")

    def for_seed(self, seed: int) -> RunConfig:
        """The run of one seed."""
        name = self.run.name if len(self.seeds) == 1 else f"{self.run.name}-seed-{seed}"
        # The study has arms for what the control tells.
        measured = self.run.evaluation.model_copy(update={"control": False})
        return self.run.model_copy(update={"seed": seed, "name": name, "rounds": 1, "evaluation": measured})


def load_study(path: Path, overrides: Sequence[str] = ()) -> StudyConfig:
    """Read and check a study's config.

    Args:
        path: a TOML file with `name`, `base` and/or `[run]`.
        overrides: `key=value` pairs, keys dotted (`run.sampling.n=10`).

    Raises:
        ConfigError: one line naming the file and the key.
    """
    raw = with_overrides(read_toml(path), overrides)
    base = raw.pop("base", None)
    settings = raw.pop("run", {})
    if not isinstance(settings, dict):
        raise ConfigError(f"{path}: run: a table was expected")
    own = _temperature_of(settings)
    if base is not None:
        settings = _merged(read_toml(_beside(path, str(base))), settings)
    if not settings:
        raise ConfigError(f'{path}: base: needed, but not given (base = "RUN.toml", or a table [run])')
    settings.setdefault("name", raw.get("name", "study"))
    where = f"{path}: run" if base is None else f"{path}, base {base}"
    run = build_config(settings, where)
    try:
        study = StudyConfig.model_validate({**raw, "run": run})
    except ValidationError as error:
        raise ConfigError(f"{path}: {explain(error, StudyConfig)}") from None
    study.declared()
    if own is not None and own != study.report_at:
        raise ConfigError(
            f"{path}: run.evaluation.sampling.temperature: {own}, but arms are measured at report_at = "
            f"{study.report_at}: set report_at instead"
        )
    return study.model_copy(update={"run": _measured_at(run, study.report_at)})


def _temperature_of(settings: Any) -> Any:
    """The evaluation's temperature in a run's raw settings, where they name one."""
    for key in ("evaluation", "sampling", "temperature"):
        settings = settings.get(key) if isinstance(settings, dict) else None
    return settings


def _measured_at(run: RunConfig, temperature: float) -> RunConfig:
    """The run, evaluated at another temperature."""
    sampling = run.evaluation.sampling.model_copy(update={"temperature": temperature})
    return run.model_copy(update={"evaluation": run.evaluation.model_copy(update={"sampling": sampling})})


def _beside(path: Path, base: str) -> Path:
    """A base config: beside the study's file, or as it stands."""
    beside = shipped(path).parent / base
    return beside if beside.is_file() else Path(base)


def _merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        if isinstance(value, dict) and isinstance(merged.get(key), dict):
            value = _merged(merged[key], value)
        merged[key] = value
    return merged


def dump_study(study: StudyConfig) -> str:
    """The whole config as TOML, defaults written out."""
    import tomli_w

    return tomli_w.dumps(study.model_dump(mode="json", exclude_none=True))
