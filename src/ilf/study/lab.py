"""The steps that the arms of one seed share; each is computed once and kept in the study's folder.

studies/NAME/seed-0/
  run/            the run itself, as `ilf run` leaves it: programs, verdicts, feedback, πRefine, ILF
  shared/         other feedback, other refiners, their refinements
  models/HASH/    fine-tuned models by what they were made of: arms with equal examples share one
  samples/…       programs and verdicts of each model, split and temperature
"""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import cached_property
from pathlib import Path
from typing import Any

from ilf import algorithm, steps
from ilf.config import RunConfig
from ilf.errors import DataError, IlfError, ModelError, RunFolderError, TrainingError
from ilf.feedback import model as model_feedback
from ilf.progress import say
from ilf.prompts import Prompter
from ilf.records import Example, Feedback, Program, Refinement, Rows, Task, Verdict, read_jsonl, write_jsonl
from ilf.runfolder import RoundFolder, RunFolder, State, Step, key_of, write_text
from ilf.steps import Model, Models, Shot, Writer
from ilf.study.arms import FeedbackKind, Refining
from ilf.study.config import StudyConfig
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
        state: of the study's steps.
    """

    def __init__(self, study: StudyConfig, seed: int, folder: Path, state: State) -> None:
        self.study, self.seed, self.folder = study, seed, folder
        self.config: RunConfig = study.for_seed(seed)
        self.path = folder / f"seed-{seed}"
        self._state = state
        self.models = Models(self.config.engine, self.config.prompts.style)
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
        return algorithm.load_splits(self.config, algorithm.load_source(self.config))

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
        return steps.make_prompter(self.config.model, self.config.engine.name, self.config.prompts.style)

    @cached_property
    def policy(self) -> Model:
        """πθ."""
        return self.models.get(self.config.model)

    @property
    def has_weights(self) -> bool:
        """Whether texts can be scored under the run's models."""
        return self.config.engine.name not in steps.NO_WEIGHTS

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

            tasks = select(algorithm.load_source(self.config), asked.ids, key="validation.ids")
            steps.refuse_leaks([task.task_id for task in tasks], {"feedback or the test split": used})
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
            return steps.shuffled(self.apply, self.seed)
        if kind in ("people", "none"):
            return self.apply
        shots = self._shots(int(kind.removeprefix("model-")), refined=False)
        writer = self._writer()
        out = self.path / "shared" / f"feedback-{kind}.jsonl"
        out.parent.mkdir(parents=True, exist_ok=True)
        wrong = {}
        for item in self.apply:
            program = Program(task_id=item.task_id, code=item.code, model=item.model)
            failed = Verdict(task_id=item.task_id, program_id=program.program_id, status="failed")
            wrong[item.task_id] = [(program, failed)]
        with self.step(
            f"feedback-{kind}", [out], writer=writer.hash, shots=[item.to_json() for item in shots],
            wrong=[item.feedback_id for item in self.apply],
        ) as step:  # fmt: skip
            if step.todo:
                rows = model_feedback.write(writer.open, self.tasks, wrong, shots=shots, seed=self.seed)
                write_jsonl(out, rows)
                step.counts = {"items": len(rows)}
        rows = read_jsonl(out, Feedback)
        if not rows:
            raise Skip("the writer model gave no feedback")
        return rows

    def _writer(self) -> Model:
        asked = self.study.writer
        if asked.model is None and asked.engine is None:
            return self.policy
        style = asked.style or self.config.prompts.style
        return Models(asked.engine or self.config.engine, style).get(asked.model or self.config.model)

    def _shots(self, count: int, *, refined: bool) -> list[Feedback]:
        """The shortest items of the refine split, as worked examples."""
        usable = [item for item in self.teach if item.refinement is not None or not refined]
        if len(usable) < count:
            what = " that carries a refinement" if refined else ""
            raise Skip(f"{count} worked examples needed, the refine split has {len(usable)} feedback{what}")
        usable.sort(key=lambda i: (len(i.code) + len(i.text) + len(i.refinement or ""), i.task_id))
        return usable[:count]

    def _refiner(self, refining: Refining) -> tuple[Model, list[Shot]]:
        """Who refines, and the worked examples in its prompt."""
        use = refining.feedback != "none"
        if refining.refiner == "finetuned":
            return self._finetuned_refiner(use), []
        count = {"model-2": 2, "model-1": 1}.get(refining.feedback, max(1, self.config.refiner.shots))
        shots = [
            (self.tasks[i.task_id], i.code, i.text if use else None, i.refinement or "")
            for i in self._shots(count, refined=True)
        ]
        return (self._writer() if refining.refiner == "writer" else self.policy), shots

    def _finetuned_refiner(self, use_feedback: bool) -> Model:
        asked = self.config.refiner
        if asked.method == "finetune" and asked.use_feedback == use_feedback and self.files.refiner.is_dir():
            return self.models.get(self.files.refiner)
        start = self.models.get(self.config.refiner_model or self.config.model)
        examples, _ = steps.refiner_examples(self.prompter, self.tasks, self.teach, use_feedback=use_feedback)
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
        items = self.feedback(refining.feedback)
        refiner, shots = self._refiner(refining)
        out = self.path / "shared" / f"refinements-{refining.name}.jsonl"
        out.parent.mkdir(parents=True, exist_ok=True)
        with self.step(
            f"refinements-{refining.name}", [out],
            refiner=refiner.hash, feedback=[item.feedback_id for item in items], shots=[s[1:] for s in shots],
            sampling=asked.sampling.model_dump(), verify=self.config.verify.model_dump(exclude={"workers"}),
        ) as step:  # fmt: skip
            if step.todo:
                rows = steps.sample_refinements(
                    refiner.open, refiner.hash, self.tasks, items, asked.sampling, self.config.verify, out,
                    seed=self.seed, style=self.config.prompts.style, shots=shots,
                    use_feedback=refining.feedback != "none",
                    max_sandbox_errors=self.config.max_sandbox_errors, what=refining.name,
                )  # fmt: skip
                step.counts = steps.sample_counts(rows)
        return Rows(out, Refinement)

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
            return self.models.get(self.files.model)
        key = key_of(start=start.hash, examples=ids, settings=settings.model_dump(), seed=self.seed)[:16]
        out = self.path / "models" / key
        out.parent.mkdir(parents=True, exist_ok=True)
        forgotten = out / _FORGOTTEN
        found = forgotten.read_text(encoding="utf-8") if forgotten.is_file() else None

        def make() -> dict[str, float]:
            self.models.close()
            return steps.finetune_model(
                start.ref, list(examples), out, settings,
                seed=self.seed, engine=self.config.engine, what=what,
            )  # fmt: skip

        def again() -> Writer:
            make()
            forgotten.unlink(missing_ok=True)
            return self.models.get(out).open()

        with self.step(f"model-{key}", [out], key=key) as step:
            if step.todo:
                step.counts = make()
                found = None
        return self.models.get(out) if found is None else Model(str(out), found, again)

    def keep(self, model: Model) -> None:
        """Spare a model from `forget`: arms with equal examples share one."""
        self._kept.add(model.ref)

    def forget(self, model: Model) -> None:
        """Delete a fine-tuned model's weights; their hash stays, so its samples stay known as its own."""
        folder = Path(model.ref)
        weights = list(folder.glob("*.safetensors"))
        if folder.parent == self.path / "models" and weights and model.ref not in self._kept:
            self.models.close()
            write_text(folder / _FORGOTTEN, model.hash)
            for file in weights:
                file.unlink()

    def cached(self, name: str, compute: Callable[[], Any], **inputs: Any) -> Any:
        """A JSON-able value that takes long to compute, kept in a file under `name`."""
        out = self.path / "shared" / f"{name}.json"
        out.parent.mkdir(parents=True, exist_ok=True)
        with self.step(name, [out], **inputs) as step:
            if step.todo:
                write_text(out, json.dumps(compute()) + "\n")
        return json.loads(out.read_text(encoding="utf-8"))

    def step(self, name: str, outputs: Sequence[Path], **inputs: Any) -> AbstractContextManager[Step]:
        """Step `name` of this seed (`State.step`)."""
        return self._state.step(f"seed-{self.seed}/{name}", outputs, seed=self.seed, **inputs)
