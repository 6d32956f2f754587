"""What a study has measured: `results.json`, from which every table and figure is made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from ilf.errors import DataError
from ilf.metrics import Estimate, Evaluation
from ilf.records import describe
from ilf.runfolder import write_text
from ilf.study.arms import Arm


class _Row(BaseModel):
    model_config = ConfigDict(extra="forbid", ser_json_inf_nan="constants")


class Trial(_Row):
    """One fine-tuning setting tried on the validation tasks."""

    settings: dict[str, Any]
    evaluation: Evaluation
    chosen: bool = False


class Kl(_Row):
    """How far a fine-tuned model moved from the start, in nats a program, on held-out prompts."""

    own: Estimate
    """KL(πθ*, πθ), on the fine-tuned model's own samples."""
    start: Estimate
    """KL(πθ, πθ*), on the untuned model's samples."""
    prompts: int


class SeedResult(_Row):
    """What came of an arm with one seed."""

    seed: int
    model: str
    """Hash of the weights."""
    folder: str
    """The model's folder, relative to the study's."""
    examples: int = 0
    tasks: int = 0
    """Tasks that the examples are of."""
    items: int | None = None
    """Feedback items that stand behind them."""
    test: Evaluation
    """At the run's temperature."""
    written: str = ""
    """Folder of the programs and verdicts behind `test`, relative to the study's."""
    validation: dict[str, Evaluation] = {}
    """Temperature → evaluation on the validation tasks."""
    best_temperature: float | None = None
    best: Evaluation | None = None
    """On the test tasks at the best temperature."""
    also: dict[str, Evaluation] = {}
    """Other task source → evaluation there."""
    trials: list[Trial] = []
    kl: Kl | None = None
    effective_samples: float | None = None
    """Effective number of examples under the importance weights of equation 6, unclipped."""
    cost: dict[str, float] = {}
    """Of making the model from what it learns: `seconds` and the learner's counts, `tokens` among them."""


class ArmResult(_Row):
    """An arm over all seeds."""

    arm: Arm
    skipped: str | None = None
    """Why there are no results."""
    seeds: list[SeedResult] = []


class ItemResult(_Row):
    """One feedback item of the train split, and what πRefine made of it."""

    feedback_id: str = ""
    """Which item it is in every seed; older results do not say."""
    task_id: str
    author: str | None
    source: str
    seconds: float | None
    words: int
    tags: tuple[str, ...]
    tagged: bool
    """The tags were given by people; else by the documented rule."""
    bugs: int
    counted: bool
    """The number of bugs was given by people; else by the documented rule."""
    n: int
    passed: int
    chosen: bool = False
    """A refinement that follows it is among ILF's examples."""


class Shared(_Row):
    """What the arms of one seed share."""

    seed: int
    problem: str | None = None
    """Why the run itself did not reach its end."""
    zero_shot: dict[str, Evaluation] = {}
    """Split → the untuned model (Table 1)."""
    refinement: dict[str, Evaluation] = {}
    """Way of refining → pass rates of its refinements (Tables 2 and 3)."""
    reasons: dict[str, str] = {}
    """Way of refining, or measurement → why it could not be had."""
    perplexity: dict[str, list[float]] = {}
    """`gold programs`, `refinements by πRefine`, `human refinements` → under the untuned model (Figure 3)."""
    items: list[ItemResult] = []
    teaching: list[ItemResult] = []
    """Items of the refine split, which taught πRefine (no refinements were sampled for them)."""
    written_feedback: dict[str, list[str]] = {}
    """`model-1`, `model-2` → texts."""
    temperatures: list[float] = []
    validation_tasks: int = 0


class Results(_Row):
    """Everything measured so far."""

    name: str
    temperature: float
    """The run's, at which every arm is measured."""
    ks: list[int]
    split: str
    sources: dict[str, str] = {}
    """Other task source → hash of its tasks."""
    seeds: list[Shared] = []
    arms: list[ArmResult] = []

    def arm(self, name: str) -> ArmResult | None:
        """An arm by name, where it was measured."""
        return next((result for result in self.arms if result.arm.name == name and result.seeds), None)


def read_results(path: Path) -> Results:
    """`results.json` of a study folder.

    Raises:
        DataError: it is missing or broken.
    """
    try:
        return Results.model_validate_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; run `ilf study` first") from None
    except ValidationError as error:
        raise DataError(f"{path}: {describe(error)}") from None


def write_results(path: Path, results: Results) -> None:
    """Replace `results.json` in one move."""
    write_text(path, results.model_dump_json(indent=1) + "\n")
