"""The steps that the arms of one seed share; each is computed once and kept in the study's folder.

studies/NAME/seed-0/
  run/            the run itself, as `ilf run` leaves it: programs, verdicts, feedback, πRefine, ILF
  shared/         other feedback, other refiners, their refinements
  models/HASH/    fine-tuned models by what they were made of: arms with equal examples share one
  samples/…       programs and verdicts of each model, split and temperature
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ilf import algorithm, policy
from ilf.config import RunConfig
from ilf.errors import DataError, IlfError, ModelError, RunFolderError, TrainingError
from ilf.feedback import shuffled
from ilf.learners import Teacher
from ilf.policy import Model
from ilf.preparation import load_source, load_splits
from ilf.progress import say
from ilf.prompts import Prompter
from ilf.records import Example, Feedback, Program, Refinement, Rows, Task, Verdict, read_jsonl
from ilf.runfolder import RoundFolder, RunFolder, key_of, write_text
from ilf.runner import Job, Runner, Step
from ilf.steps import Learn, Refine, Refiner
from ilf.steps.evaluation import refuse_leaks
from ilf.steps.refiner import pick_shots, refiner_examples, worked
from ilf.study.arms import FeedbackKind, Refining
from ilf.study.config import StudyConfig
from ilf.study.making import Cached, WriteFeedback
from ilf.training import FinetuneConfig

_FORGOTTEN = "weights.hash"
"""In a model folder whose weights were deleted: their hash."""


class Skip(IlfError):
    """An arm cannot be had from this run's data; the message is the reason."""


class Lab:
    """One seed of a study.

    Args:
        study: the settings.
        seed: which.
        folder: the study's folder.
        do: does its steps.
    """

    def __init__(self, study: StudyConfig, seed: int, folder: Path, do: Runner) -> None:
        self.study, self.seed, self.folder = study, seed, folder
        self.config: RunConfig = study.for_seed(seed)
        self.path = folder / f"seed-{seed}"
        self.do = do.at(self.path.name)
        self.problem: str | None = None
        self._kept: set[str] = set()

    def run(self) -> None:
        """The run that everything else stands on. Where it cannot fine-tune, its first steps still serve."""
        run_folder = RunFolder(self.path / "run")
        reuse = self.study.reuse
        if reuse is not None and self.seed == self.study.seeds[0] and not run_folder.manifest.is_file():
            if RunFolder(reuse).read_manifest() is None:
                raise RunFolderError(f"reuse: {reuse}: not a run folder (it has no manifest.json)")
            say(f"  copying {reuse}")
            unfinished = self.path / "run.part"
            shutil.rmtree(unfinished, ignore_errors=True)
            shutil.rmtree(run_folder.path, ignore_errors=True)
            shutil.copytree(reuse, unfinished, ignore=shutil.ignore_patterns(".lock"))
            unfinished.rename(run_folder.path)
        try:
            algorithm.run(self.config, run_folder.path, summary=False)
        except (TrainingError, DataError, ModelError) as error:
            if not self.files.feedback.is_file():
                raise
            self.problem = str(error)

    @property
    def files(self) -> RoundFolder:
        """The run's first round."""
        return RunFolder(self.path / "run").round(1)

    # --- what the run made -------------------------------------------------------------------------------

    @cached_property
    def splits(self) -> dict[str, list[Task]]:
        """The run's splits."""
        return load_splits(self.config, load_source(self.config))

    @cached_property
    def tasks(self) -> dict[str, Task]:
        """All tasks of the splits by id."""
        return {task.task_id: task for tasks in self.splits.values() for task in tasks}

    @cached_property
    def test(self) -> list[Task]:
        """The held-out tasks."""
        return self.splits[self.config.evaluation.split]

    @cached_property
    def prompter(self) -> Prompter:
        """Prompts of πθ."""
        return self.policy.prompter

    @cached_property
    def policy(self) -> Model:
        """πθ."""
        return self._model(self.config.model)

    def _model(self, ref: str | Path) -> Model:
        return policy.get(ref, self.config.engine, self.config.prompts.style, self.config.prompts.lines)

    @property
    def has_weights(self) -> bool:
        """Whether texts can be scored under the run's models."""
        return self.policy.has_weights

    @property
    def programs(self) -> Rows[Program]:
        """What πθ wrote for the refine and train tasks."""
        return Rows(self.files.programs, Program)

    @property
    def verdicts(self) -> Rows[Verdict]:
        """Their verdicts, in the same order."""
        return Rows(self.files.verdicts, Verdict)

    @cached_property
    def all_feedback(self) -> list[Feedback]:
        """The run's feedback."""
        return read_jsonl(self.files.feedback, Feedback)

    @cached_property
    def teach(self) -> list[Feedback]:
        """Feedback on the refine split, which teaches πRefine."""
        refine = {task.task_id for task in self.splits["refine"]}
        return [item for item in self.all_feedback if item.task_id in refine]

    @cached_property
    def apply(self) -> list[Feedback]:
        """Feedback on the train split, which πRefine follows."""
        train = {task.task_id for task in self.splits["train"]}
        return [item for item in self.all_feedback if item.task_id in train]

    @cached_property
    def validation(self) -> list[Task]:
        """Tasks for choosing temperatures and settings: in no feedback, no training and no test."""
        asked = self.study.validation
        used = {item.task_id for item in self.all_feedback} | {task.task_id for task in self.test}
        if asked.ids is not None:
            from ilf.tasks import select

            tasks = select(load_source(self.config), asked.ids, key="validation.ids")
            refuse_leaks([task.task_id for task in tasks], {"feedback or the test split": used})
            return tasks[: asked.tasks]
        free = [
            task for name in ("refine", "train") for task in self.splits[name] if task.task_id not in used
        ]
        # At most half of them: the others are where the model's own correct samples come from.
        chosen = random.Random(f"{self.seed} validation").sample(free, min(asked.tasks, len(free) // 2))
        places = {task.task_id: place for place, task in enumerate(free)}
        return sorted(chosen, key=lambda task: places[task.task_id])

    # --- feedback and refinements ------------------------------------------------------------------------

    def feedback(self, kind: FeedbackKind) -> list[Feedback]:
        """The feedback on the train split that refinements follow, of one kind."""
        if kind == "shuffled":
            return shuffled(self.apply, self.seed)
        if kind in ("people", "none"):
            return self.apply
        shots = self._shots(int(kind.removeprefix("model-")), refined=False)
        step = WriteFeedback(self._writer(), tuple(self.apply), self.tasks, tuple(shots), self.seed)
        rows = self.do(step, f"shared/feedback-{kind}.jsonl")
        if not rows:
            raise Skip("the writer model gave no feedback")
        return rows

    def _writer(self) -> Model:
        asked = self.study.writer
        if asked.model is None and asked.engine is None:
            return self.policy
        style = asked.style or self.config.prompts.style
        return policy.get(asked.model or self.config.model, asked.engine or self.config.engine, style)

    def _shots(self, count: int, *, refined: bool) -> list[Feedback]:
        """The shortest items of the refine split, as worked examples."""
        try:
            return pick_shots(self.teach, count, "the refine split", refined=refined)
        except DataError as error:
            raise Skip(str(error)) from None

    def _refiner(self, refining: Refining) -> Refiner:
        """Who refines, and the worked examples in its prompt."""
        use = refining.feedback != "none"
        if refining.refiner == "finetuned":
            return Refiner(self._finetuned_refiner(use))
        count = {"model-2": 2, "model-1": 1}.get(refining.feedback, max(1, self.config.refiner.shots))
        shots = worked(self._shots(count, refined=True), self.tasks, use_feedback=use)
        return Refiner(self._writer() if refining.refiner == "writer" else self.policy, shots)

    def _finetuned_refiner(self, use_feedback: bool) -> Model:
        asked = self.config.refiner
        if asked.method == "finetune" and asked.use_feedback == use_feedback and self.files.refiner.is_dir():
            return self._model(self.files.refiner)
        start = self._model(self.config.refiner_model or self.config.model)
        examples, _ = refiner_examples(self.prompter, self.tasks, self.teach, use_feedback=use_feedback)
        if not examples:
            raise Skip(
                "no feedback on the refine split carries a refinement, so πRefine cannot be fine-tuned"
            )
        return self.train(
            start, examples, asked.finetune, "πRefine" if use_feedback else "πRefine, no feedback"
        )

    def refinements(self, refining: Refining) -> Rows[Refinement]:
        """n refinements of each item with their verdicts."""
        asked = self.config.refiner
        own = Refining(refiner="finetuned" if asked.method == "finetune" else "few-shot")
        if refining == own and asked.use_feedback and self.files.refinements.is_file():
            return Rows(self.files.refinements, Refinement)
        step = Refine(
            refiner=self._refiner(refining),
            feedback=tuple(self.feedback(refining.feedback)),
            tasks=self.tasks,
            sampling=asked.sampling,
            verify=self.config.verify,
            use_feedback=refining.feedback != "none",
            max_sandbox_errors=self.config.max_sandbox_errors,
            seed=self.seed,
            what=refining.name,
        )
        return self.do(step, f"shared/refinements-{refining.name}.jsonl")

    # --- models ------------------------------------------------------------------------------------------

    @cached_property
    def ilf_examples(self) -> list[Example]:
        """What ILF itself is fine-tuned on; empty where no refinement passed."""
        return read_jsonl(self.files.examples, Example) if self.files.examples.is_file() else []

    def train(self, start: Model, examples: Sequence[Example], settings: FinetuneConfig, what: str) -> Model:
        """A model fine-tuned on `examples`; equal examples and settings give the one that is there."""
        ids = [example.to_json() for example in examples]
        run = RunFolder(self.path / "run").read_manifest()
        finished = self.problem is None and run is not None and "round-1/7-model" in run.steps
        same = start.hash == self.policy.hash and settings == self.config.finetune
        if finished and same and ids == [example.to_json() for example in self.ilf_examples]:
            return self._model(self.files.model)
        return self._made(
            Learn(start, tuple(examples), settings, self.config.learner, seed=self.seed, what=what)
        )

    def learn(self, name: str, settings: FinetuneConfig, what: str) -> Model:
        """A model by a learner that needs no examples: from the run's feedback, πRefine and train tasks."""
        held = {task.task_id for task in self.validation}
        tasks = {task.task_id: task for task in self.splits["train"] if task.task_id not in held}
        teacher = None
        if name != "grpo":
            asked = self.config.refiner
            refiner = self._refiner(
                Refining(refiner="finetuned" if asked.method == "finetune" else "few-shot")
            )
            teacher = Teacher(refiner.model, refiner.shots)
        return self._made(
            Learn(
                self.policy, (), settings, self.config.learner.model_copy(update={"name": name}),
                () if name == "grpo" else tuple(self.apply), self.seed, what,
                tasks=tasks, teacher=teacher, verify=self.config.verify,
            )
        )  # fmt: skip

    def _made(self, learn: Learn) -> Model:
        key = key_of(**learn.inputs())[:16]
        return self.do(Remembered(learn, self.do, f"models/{key}"), f"models/{key}")

    def cost(self, model: Model) -> dict[str, float]:
        """What making a model from what it learns took: `seconds` and the learner's counts."""
        folder, run = Path(model.ref), RunFolder(self.path / "run")
        if folder == self.files.model:
            manifest, label = run.read_manifest(), "round-1/7-model"
        else:
            manifest, label = self.do.manifest, f"{self.path.name}/models/{folder.name}"
        state = None if manifest is None else manifest.steps.get(label)
        return {} if state is None else {**state.counts, "seconds": state.seconds}

    def keep(self, model: Model) -> None:
        """Spare a model from `forget`: arms with equal examples share one."""
        self._kept.add(model.ref)

    def forget(self, model: Model) -> None:
        """Delete a fine-tuned model's weights; their hash stays, so its samples stay known as its own."""
        folder = Path(model.ref)
        weights = list(folder.glob("*.safetensors"))
        if folder.parent == self.path / "models" and weights and model.ref not in self._kept:
            self.do.place.close()
            write_text(folder / _FORGOTTEN, model.hash)
            for file in weights:
                file.unlink()

    def cached(self, name: str, compute: Callable[[], Any], **of: Any) -> Any:
        """A JSON-able value that takes long to compute, kept in a file under `name`."""
        return self.do(Cached(compute, {**of, "seed": self.seed}), f"shared/{name}.json")


@dataclass(frozen=True)
class Remembered(Step[Model]):
    """A fine-tuned model whose weights may have been deleted (`Lab.forget`): it is made again when opened."""

    file = "model"

    learn: Learn
    do: Runner
    out: str

    def inputs(self) -> Mapping[str, Any]:
        """Those of its fine-tuning."""
        return self.learn.inputs()

    def run(self, job: Job) -> Mapping[str, float]:
        """Fine-tune; what was deleted is there again."""
        counts = self.learn.run(job)
        (job.out / _FORGOTTEN).unlink(missing_ok=True)
        return counts

    def result(self, out: Path) -> Model:
        """The model, with the hash of its weights where they are gone."""
        forgotten = out / _FORGOTTEN
        if not forgotten.is_file():
            return self.learn.result(out)
        start = self.learn.start

        def remake() -> None:
            if forgotten.is_file():
                self.do.again(self, self.out)

        return Model(
            str(out), forgotten.read_text(encoding="utf-8"), start.engine, start.style, start.lines, remake
        )
