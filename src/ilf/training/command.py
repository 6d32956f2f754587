"""What `ilf finetune` does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from ilf.configfile import checked, read_toml, with_overrides
from ilf.formats.examples import read
from ilf.models import chat_renderer, resolve
from ilf.progress import say
from ilf.training.config import FinetuneConfig
from ilf.training.run import FinetuneResult
from ilf.training.run import finetune as train


def finetune(
    model: str,
    examples: Path,
    out: Path,
    *,
    config: Path | None = None,
    overrides: Sequence[str] = (),
    card: Mapping[str, object] | None = None,
    trust_remote_code: bool = False,
) -> FinetuneResult:
    """Fine-tune `model` on the rows of `examples` (JSONL) and write the model folder `out`.

    Args:
        model: a MODEL string.
        examples: rows of `prompt`, `completion` and, where it is not 1, `weight`; or a form of
            `ilf.formats.examples`.
        out: the folder to write.
        config: a TOML file of `FinetuneConfig`'s settings, or of a run (its `[finetune]` section counts).
        overrides: `key=value`, keys of `FinetuneConfig`.
        card: said in the model card besides, by heading.
        trust_remote_code: see `ilf.models.resolve`.

    Raises:
        UserError: one line naming the file, the row or the key.
    """
    raw = {} if config is None else read_toml(config)
    settings = checked(
        FinetuneConfig, with_overrides(raw.get("finetune", raw), overrides), str(config or "--set")
    )
    rows = read(examples, cache(lambda: chat_renderer(resolve(model, trust_remote_code).path)))
    result = train(
        model, rows, out, settings, card={"Examples file": examples.name, **(card or {})}, say=say,
        trust_remote_code=trust_remote_code,
    )  # fmt: skip
    say(f"{out}: {result.steps:,} steps, loss {result.first_loss:.3f} to {result.final_loss:.3f}")
    return result
