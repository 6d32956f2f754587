"""Settings of `[feedback]`: who says what is wrong."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from ilf import seams
from ilf.configbase import Section, named_in


class MixedConfig(Section):
    """Feedback source `mixed`: people for a part of the tasks, another source for the rest."""

    people: Annotated[str, named_in(seams.SOURCES)] = "human"
    """Who is asked first: `human`, or `recorded` to replay what people wrote before."""
    items: int | None = Field(default=None, ge=0)
    """Budget: how many tasks people are asked about."""
    hours: float | None = Field(default=None, ge=0)
    """Budget in hours of people's time; with `items`, whichever is less."""
    minutes_each: float = Field(default=6.0, gt=0)
    """What one item takes, to make items of hours."""
    rest: Annotated[str, named_in(seams.SOURCES)] = "execution"
    """Who speaks on all other tasks: `execution`, `model`, or an import path."""
    ask: Literal["gain", "random"] = "gain"
    """Which tasks people are asked about: by expected gain, or at random."""

    @property
    def budget(self) -> int | None:
        """Items that people may be asked for; None where no budget is given."""
        limits = [self.items, None if self.hours is None else int(self.hours * 60 / self.minutes_each)]
        return min((limit for limit in limits if limit is not None), default=None)


class ReviewConfig(Section):
    """Feedback source `review`: comments of code review, exported, and the repository that they are about."""

    exports: list[str] = []
    """Files: GitHub's review comments or GitLab's discussions (JSON), SARIF, quoted patches."""
    repository: str | None = None
    """A clone that has the commits."""
    head: str = "HEAD"
    """The version that the review led to."""


class FeedbackConfig(Section):
    """Where feedback comes from."""

    source: Annotated[str, named_in(seams.SOURCES)] = "recorded"
    """`recorded`, `human`, `execution`, `model`, `review`, `mixed`, or an import path,
    `package.module:gather`."""
    path: str | list[str] | None = None
    """`recorded`: a file in the paper's form or ours, one a round (the last one
    serves the later rounds too); the shipped suites have their own."""
    only_unsolved: bool = True
    """Only tasks that the model never solved in its n samples (paper, section 3)."""
    filter: bool = True
    """Apply the paper's filters: a written refinement must pass, and stay within half of an edit."""
    wanted: int | None = Field(default=None, ge=1)
    """`human`: go on when this many items are accepted; all that were asked for by default."""
    wait: bool = False
    """`human`: keep running until people are done, instead of stopping and saying how to go on."""
    model: str | None = None
    """`model`: who writes the feedback; the run's own model by default."""
    shots: int = Field(default=2, ge=0)
    """`model`: recorded items shown in the prompt as examples, from `path`."""
    hide_tests: bool = True
    """`execution`: speak of the shown test only: no value of a hidden one reaches a model that is trained."""
    mixed: MixedConfig = MixedConfig()
    review: ReviewConfig = ReviewConfig()
    options: dict[str, Any] = {}
    """Settings of a source of somebody else's."""

    @property
    def sources(self) -> set[str]:
        """Every source that is asked: `mixed` asks two."""
        return {self.mixed.people, self.mixed.rest} if self.source == "mixed" else {self.source}

    def deciding(self) -> dict[str, Any]:
        """All that decides what a source says, for the keys of steps."""
        left_out = {"wait"} if "review" in self.sources else {"wait", "review"}
        return self.model_dump(exclude=left_out)

    @model_validator(mode="after")
    def _review_has_a_repository(self) -> FeedbackConfig:
        if "review" in self.sources and not (self.review.exports and self.review.repository):
            raise ValueError("review.exports and review.repository: needed for comments of code review")
        return self

    @model_validator(mode="after")
    def _mixed_has_a_budget(self) -> FeedbackConfig:
        if self.source == "mixed":
            if self.mixed.budget is None:
                raise ValueError('mixed.items or mixed.hours: needed where feedback.source is "mixed"')
            if "mixed" in self.sources:
                raise ValueError('mixed.people and mixed.rest: "mixed" is made of other sources')
        return self
