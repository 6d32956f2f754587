"""The arms of the study: each a small declaration of what a model is fine-tuned on.

A new arm is one more entry here, or a table `[[arm]]` in a study's config; nothing else changes.
"""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from ilf import seams

GROUPS = ("final", "selection", "gate", "size", "learner")
USUAL = GROUPS[:-1]
"""Those of a study that does not say which."""

FeedbackKind = Literal["people", "shuffled", "none", "model-1", "model-2"]
RefinerKind = Literal["finetuned", "few-shot", "writer"]


class Refining(BaseModel):
    """How refinements are made: which feedback, and who follows it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    feedback: FeedbackKind = "people"
    """`people`: the run's own feedback; `shuffled`: each item with another's text; `none`: the wrong program
    alone; `model-1`, `model-2`: written by the writer model after one or two worked examples."""
    refiner: RefinerKind = "finetuned"
    """`finetuned` πRefine, the base model `few-shot` prompted, or the `writer` model few-shot prompted."""

    @property
    def name(self) -> str:
        """For files and labels."""
        return f"{self.feedback}-{self.refiner}"


class Arm(BaseModel):
    """One row of the comparison."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9.-]*$")
    label: str
    feedback: str = "none"
    """The paper's column "feedback": whose."""
    trained_on: str = "none"
    """The paper's column "fine-tuned on"."""
    group: Literal["final", "selection", "gate", "size", "learner"] = "final"
    refining: Refining | None = None
    """Fine-tune on refinements made so."""
    data: Literal["gold", "human", "self"] | None = None
    """Or on programs: the tasks' references, the annotators' refinements, the model's own correct samples of
    other tasks. `self` goes with `refining` too: on both."""
    times: int = Field(default=1, ge=1)
    """`self` alone: so many own correct samples for each example of ILF, where there are so many. 2 makes as
    many as `ilf-self` has: the control at equal numbers."""
    learner: Annotated[str, AfterValidator(partial(seams.check, seams.LEARNERS))] | None = None
    """Or a learner that needs no examples, with the run's feedback, πRefine and train split: `distil`,
    `sdpo`, `grpo`, or an import path."""
    selection: dict[str, Any] = {}
    """Overrides of the run's `selection` settings."""
    finetune: dict[str, Any] = {}
    """Overrides of the run's `finetune` settings."""
    share: float | None = Field(default=None, gt=0, le=1)
    """Size arms: use this share of the feedback items (`study.sizes` overrides it)."""
    items: int | None = Field(default=None, ge=1)
    """Size arms: use so many feedback items."""
    paper: dict[int, float] = {}
    """k → the paper's pass@k (Table 4)."""

    @model_validator(mode="after")
    def _one_source(self) -> Arm:
        if self.refining is not None and self.data not in (None, "self"):
            raise ValueError(f"arm {self.name}: refining and data exclude each other")
        if self.learner is not None and (self.refining, self.data) != (None, None):
            raise ValueError(f"arm {self.name}: learner excludes refining and data")
        if self.times > 1 and (self.data != "self" or self.refining is not None):
            raise ValueError(f"arm {self.name}: times is for own correct samples alone (data = self)")
        return self

    @property
    def trains(self) -> bool:
        """Whether there is anything to fine-tune on."""
        return (self.refining, self.data, self.learner) != (None, None, None)


ILF = Arm(
    name="ilf", label="ILF", feedback="people", trained_on="πRefine's refinements",
    refining=Refining(), paper={1: 0.36, 10: 0.68},
)  # fmt: skip

SIZE = Arm(
    name="size-100", label="100% of the feedback", feedback="people", trained_on="πRefine's refinements",
    group="size", refining=Refining(), share=1.0,
)  # fmt: skip

ARMS: tuple[Arm, ...] = (
    Arm(name="zero-shot", label="zero-shot", paper={1: 0.26, 10: 0.59}),
    ILF,
    Arm(
        name="gold", label="gold programs", trained_on="reference programs", data="gold",
        paper={1: 0.22, 10: 0.63},
    ),
    Arm(
        name="human", label="human refinements", trained_on="human refinements", data="human",
        paper={1: 0.33, 10: 0.68},
    ),
    Arm(
        name="shuffled", label="ILF, unrelated feedback", feedback="people, shuffled",
        trained_on="πRefine's refinements", refining=Refining(feedback="shuffled"),
    ),
    Arm(
        name="no-feedback", label="ILF, no feedback", trained_on="refinements of the wrong program alone",
        refining=Refining(feedback="none"),
    ),
    Arm(name="self", label="own correct samples", trained_on="the model's passing programs", data="self"),
    Arm(
        name="self-2", label="own correct samples, twice as many", trained_on="the model's passing programs",
        data="self", times=2,
    ),
    Arm(
        name="ilf-self", label="ILF and own correct samples", feedback="people",
        trained_on="πRefine's refinements and the model's passing programs", refining=Refining(), data="self",
    ),
    Arm(
        name="few-shot", label="ILF, few-shot πRefine", feedback="people", trained_on="few-shot refinements",
        refining=Refining(refiner="few-shot"),
    ),
    Arm(
        name="model-1", label="model feedback, 1-shot", feedback="model, 1-shot",
        trained_on="that model's refinements", refining=Refining(feedback="model-1", refiner="writer"),
        paper={1: 0.19, 10: 0.55},
    ),
    Arm(
        name="model-2", label="model feedback, 2-shot", feedback="model, 2-shot",
        trained_on="that model's refinements", refining=Refining(feedback="model-2", refiner="writer"),
        paper={1: 0.25, 10: 0.59},
    ),
    Arm(
        name="model-1-refine", label="model feedback, 1-shot, πRefine", feedback="model, 1-shot",
        trained_on="πRefine's refinements", refining=Refining(feedback="model-1"),
    ),
    Arm(
        name="model-2-refine", label="model feedback, 2-shot, πRefine", feedback="model, 2-shot",
        trained_on="πRefine's refinements", refining=Refining(feedback="model-2"),
    ),
    *(
        Arm(
            name=f"select-{strategy}", label=f"select {strategy}", feedback="people",
            trained_on="πRefine's refinements", group="selection", refining=Refining(),
            selection={"strategy": strategy},
        )
        for strategy in ("random", "likeliest", "nearest", "diverse", "all")
    ),
    *(
        Arm(
            name=f"gate-{gate}", label=f"gate: {words}", feedback="people",
            trained_on="πRefine's refinements", group="gate", refining=Refining(), selection={"gate": gate},
        )
        for gate, words in (("all", "all tests"), ("shown", "the shown test"))
    ),
    *(
        SIZE.model_copy(
            update={
                "name": f"size-{int(100 * share)}",
                "label": f"{int(100 * share)}% of the feedback",
                "share": share,
            }
        )
        for share in (0.25, 0.5, 1.0)
    ),
    Arm(
        name="distil", label="πRefine distilled", feedback="people",
        trained_on="own samples, taught by πRefine", group="learner", learner="distil",
    ),
    Arm(
        name="sdpo", label="self-distillation", feedback="people",
        trained_on="own samples, taught by the model told the feedback", group="learner", learner="sdpo",
    ),
    Arm(
        name="grpo", label="reinforcement, no feedback", trained_on="own samples and their verdicts",
        group="learner", learner="grpo",
    ),
)  # fmt: skip
"""All arms, in the order of the report. Group `final` is the paper's Table 4 with the controls it lacks."""
