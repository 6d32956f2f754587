"""What every section of settings is, and the one that several rooms need: the engine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict

from ilf import seams
from ilf.errors import ConfigError


def named_in(table: Mapping[str, str]) -> AfterValidator:
    """A name of a seam, or an import path."""

    def known(name: str) -> str:
        try:
            return seams.check(table, name)
        except ConfigError as error:
            raise ValueError(str(error)) from None

    return AfterValidator(known)


class Section(BaseModel):
    """Frozen settings that refuse unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class EngineConfig(Section):
    """What computes the samples."""

    name: Annotated[str, named_in({"auto": "", **seams.ENGINES})] = "auto"
    """`auto` (`vllm` on a GPU where vLLM is installed, else `torch`; with `options` always `torch`), `torch`,
    `transformers`, `openai`, `vllm`, `scripted`, or an import path, `package.module:open`."""
    options: dict[str, Any] = {}
    """Passed to the engine as they are."""

    def model_post_init(self, context: Any, /) -> None:
        """A run's steps and records name what computes, not `auto`. Options without a name are `torch`'s."""
        if self.name == "auto":
            object.__setattr__(self, "name", "torch" if self.options else seams.default_engine())
