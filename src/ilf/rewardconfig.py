"""Settings of `[verify.reward]`: R(x, t) of answers that no test decides (task kind `text`)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from ilf import seams
from ilf.configbase import EngineConfig, Section, named_in


class RewardTerm(Section):
    """One part of R(x, t); which others are read depends on `by`."""

    by: Annotated[str, named_in(seams.REWARDS)]
    """`function`, `judge`, `similarity`, or the import path of a function like theirs."""
    weight: float = Field(default=1.0, gt=0)
    """Its share, beside the other terms' weights."""
    function: str | None = None
    """`function`: import path, `package.module:name`, of `name(task, text)`, which gives R in [0, 1], or R
    and a sentence on what is missing."""
    model: str | None = None
    """`judge`, `similarity`: the model that is asked; never the one that is taught, unless you say so."""
    engine: EngineConfig = Field(default_factory=EngineConfig)
    """`judge`: what computes it."""
    style: Literal["completion", "chat"] = "chat"
    """`judge`: its prompt style."""
    questions: list[str] = []
    """`judge`: what every text is asked, to be answered yes or no, `yes` being good. Without any, refinements
    are asked in five wordings whether they do what the feedback says, and other texts nothing."""
    samples: int = Field(default=8, ge=1)
    """`judge` on an engine that gives no probabilities: answers a question, whose share of `yes` counts."""
    options: dict[str, Any] = {}
    """Settings of a term of somebody else's."""

    @model_validator(mode="after")
    def _whole(self) -> RewardTerm:
        needed = {"function": "function", "judge": "model", "similarity": "model"}.get(self.by)
        if needed is not None and getattr(self, needed) is None:
            raise ValueError(f'{needed}: needed where by is "{self.by}"')
        return self


class RewardConfig(Section):
    """What an answer of kind `text` is worth: the weighted mean of the terms that say something of it."""

    threshold: float = Field(default=0.5, ge=0, le=1)
    """An answer is wrong where its R is under this."""
    terms: list[RewardTerm] = []
    """What R is made of."""
