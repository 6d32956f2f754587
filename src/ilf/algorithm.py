"""Algorithm 1 of the paper (Imitation learning from Language Feedback), read top to bottom.

`run` does the rounds of a config in a run folder. Each step reads the files before it and writes its own;
one whose settings and inputs are unchanged is not done again; one that was killed goes on where it stopped.
"""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Any

from ilf import __version__, metrics, steps
from ilf.config import RunConfig, SamplingConfig, dump_config
from ilf.errors import ConfigError, DataError, RunFolderError, TrainingError
from ilf.feedback import candidates, solved
from ilf.progress import say
from ilf.prompts import Prompter
from ilf.records import Example, Feedback, Program, Refinement, Rows, Task, Verdict, read_jsonl, write_jsonl
from ilf.runfolder import Manifest, RoundFolder, RunFolder, State, Step, digest, write_text
from ilf.sandbox import RECENT, self_check
from ilf.steps import Model, Writer
from ilf.tasks import source_hash


def run(config: RunConfig, folder: Path, *, summary: bool = True) -> RunFolder:
    """Do every round of `config` in `folder`, or go on where an earlier call stopped.

    Args:
        config: what is asked.
        folder: the run folder; made where it does not exist.
        summary: print the results and where the time went.

    Raises:
        UserError: bad input, named; everything done so far is kept.
        Waiting: `feedback.source` is `human` and people are not done yet.
    """
    run_folder = RunFolder(folder)
    with run_folder.lock():
        state = _Run(config, run_folder)
        state.check()
        model: str | Path = config.model
        for number in range(1, config.rounds + 1):
            model = _round(state, number, model)
        if summary:
            state.summary()
    return run_folder


def _round(run: _Run, number: int, model: str | Path) -> Path:
    """One pass of Algorithm 1 with πθ = `model`; returns πθ*."""
    config, files = run.config, run.folder.round(number)
    files.path.mkdir(exist_ok=True)
    training = run.splits["refine"] + run.splits["train"]
    say(f"round {number}: πθ = {model}")
    policy = run.models.get(model)

    # 1: sample programs x0 ~ πθ(·|t), and find those that fail.
    programs, verdicts = _attempts(run, number, files, policy, training)

    # 2: feedback f on one wrong program a task that πθ never solved.
    feedback = _feedback(run, number, files, programs, verdicts)

    # 3: πRefine learns to follow feedback on the refine split, and refines the train split's programs.
    start = run.models.get(config.refiner_model) if config.refiner_model else policy
    refinements = _refine(run, number, files, start, feedback)

    # 4: fine-tune πθ on refinements that pass all tests.
    examples = _examples(run, number, files, policy, refinements)
    tuned = _finetune(run, number, files, policy, examples)

    # 5: is πθ* better on tasks it has never seen?
    steps.refuse_leaks(
        [task.task_id for task in run.splits[config.evaluation.split]],
        {
            str(files.feedback): [item.task_id for item in feedback],
            str(files.examples): [e.task_id for e in examples if e.task_id is not None],
        },
    )
    _evaluate(run, number, files, {"before": policy, "after": tuned}, refinements)
    return files.model


class _Run:
    """What the steps of a run share: its settings, tasks, models, and the state of its steps."""

    def __init__(self, config: RunConfig, folder: RunFolder) -> None:
        self.config = config
        self.folder = folder
        source = load_source(config)
        self.source = {task.task_id: task for task in source}
        """All tasks, those in no split included."""
        self.splits = load_splits(config, source)
        self.tasks = {task.task_id: task for tasks in self.splits.values() for task in tasks}
        self.models = steps.Models(config.engine, config.prompts.style)
        self._state = State(folder, self._manifest())
        write_text(folder.config, dump_config(config))

    def _manifest(self) -> Manifest:
        config, path = self.config, self.folder.path
        found = self.folder.read_manifest()
        if found is None:
            if any(entry.name not in (".lock", "script.jsonl") for entry in path.iterdir()):
                raise RunFolderError(f"{path} is not empty and has no manifest.json: choose another folder")
            created = datetime.now(UTC).isoformat(timespec="seconds")
            found = Manifest(version=__version__, created=created, identity=config.identity())
        for key, value in config.identity().items():
            if found.identity.get(key) != value:
                raise RunFolderError(
                    f"{path} belongs to a run with {key} = {found.identity.get(key)!r}, not {value!r}: "
                    "choose another folder with --out"
                )
        return found.model_copy(
            update={
                "version": __version__,
                "environment": environment(),
                "tasks_hash": source_hash([*self.tasks.values()]),
                "seed": config.seed,
            }
        )

    @cached_property
    def prompter(self) -> Prompter:
        """Prompts of the run's models."""
        return steps.make_prompter(self.config.model, self.config.engine.name, self.config.prompts.style)

    def step(
        self, number: int, name: str, outputs: Sequence[Path], **inputs: Any
    ) -> AbstractContextManager[Step]:
        """Step `name` of round `number` (`State.step`)."""
        return self._state.step(f"round-{number}/{name}", outputs, **inputs)

    def check(self) -> None:
        """Before hours of work: is what the later steps need there, and can it be read?"""
        config, asked = self.config, self.config.feedback
        for path in {recorded_path(config, number) for number in range(1, config.rounds + 1)} - {None}:
            from ilf.feedback import recorded

            assert path is not None
            recorded.read(path, self.source if asked.source == "recorded" else None)
        others = [config.refiner_model, asked.model if asked.source == "model" else None]
        for model in filter(None, others):
            self.models.get(model)
        taught = [config.refiner.finetune] if config.refiner.method == "finetune" else []
        steps.require_training([*taught, config.finetune], config.engine)

    def card(self, number: int) -> dict[str, object]:
        """What a model card says of the run."""
        config = self.config
        return {
            "Run": f"{config.name}, round {number}",
            "Tasks": config.tasks.source,
            "Feedback": config.feedback.source,
            "Prompt style": config.prompts.style,
        }

    def check_sandbox(self) -> None:
        """Before hours of work on programs: can the sandbox tell right from wrong?"""
        self_check(unsafe=self.config.verify.unsafe, within=RECENT)

    def summary(self) -> None:
        """Where the time went, and what came of it."""
        from ilf.terminal import print_profile, print_results

        print_profile(self._state.manifest)
        print_results(self.folder)


def load_source(config: RunConfig) -> list[Task]:
    """Every task of the config's source; raises as `ilf.tasks.load_tasks`."""
    from ilf.tasks import load_tasks

    asked = config.tasks
    return load_tasks(asked.source, prefix=asked.prefix, challenge_tests=asked.challenge_tests)


def load_splits(config: RunConfig, tasks: Sequence[Task] | None = None) -> dict[str, list[Task]]:
    """The tasks of a config by split: `refine`, `train` and the evaluation's.

    Args:
        config: with the splits.
        tasks: of the whole source; read where they are not given.

    Raises:
        ConfigError: a split is missing, empty, or overlaps another.
    """
    from ilf.tasks import PAPER_SPLITS, split_tasks

    asked = config.tasks
    tasks = load_source(config) if tasks is None else tasks
    needed = ("refine", "train", config.evaluation.split)
    by_default = PAPER_SPLITS if asked.source.partition(":")[0] == "mbpp" else {}
    specs = {name: asked.splits.get(name) or by_default.get(name) or f"split={name}" for name in needed}
    unknown = sorted(asked.splits.keys() - set(needed))
    if unknown:
        raise ConfigError(f"tasks.splits.{unknown[0]}: no step uses this split; used: {', '.join(needed)}")
    return {name: of_split[: asked.limit] for name, of_split in split_tasks(tasks, specs).items()}


# --- 1: programs and verdicts -----------------------------------------------------------------------------


def _attempts(
    run: _Run, number: int, files: RoundFolder, policy: Model, tasks: Sequence[Task]
) -> tuple[Rows[Program], Rows[Verdict]]:
    config = run.config
    programs, verdicts = Rows(files.programs, Program), Rows(files.verdicts, Verdict)
    with run.step(
        number,
        "1-programs",
        [files.programs],
        model=policy.hash,
        tasks=source_hash(tasks),
        sampling=config.sampling.model_dump(),
        style=config.prompts.style,
        seed=config.seed,
    ) as step:
        if step.todo:
            run.check_sandbox()
            steps.sample_programs(
                policy.open, policy.hash, tasks, config.sampling, files.programs,
                seed=config.seed, style=config.prompts.style, round=number,
            )  # fmt: skip
            step.counts = steps.sample_counts(programs)
    stale = next((p for p in programs if p.model != policy.hash), None)
    if stale is not None:
        raise DataError(
            f"{files.programs}: a program of task {stale.task_id} was not sampled from this round's model "
            f"({(stale.model or 'unknown')[:12]}, not {policy.hash[:12]}): remove the file to sample again"
        )
    with run.step(
        number, "2-verdicts", [files.verdicts],
        programs=digest(files.programs), verify=config.verify.model_dump(exclude={"workers"}),
    ) as step:  # fmt: skip
        if step.todo:
            steps.verify_programs(
                run.tasks, programs, files.verdicts, config.verify,
                max_sandbox_errors=config.max_sandbox_errors,
            )  # fmt: skip
            step.counts = dict(Counter(verdict.status for verdict in verdicts))
    return programs, verdicts


# --- 2: feedback ------------------------------------------------------------------------------------------


def _feedback(
    run: _Run, number: int, files: RoundFolder, programs: Rows[Program], verdicts: Rows[Verdict]
) -> list[Feedback]:
    config = run.config
    recorded = recorded_path(config, number)
    with run.step(
        number,
        "3-feedback",
        [files.feedback],
        programs=digest(files.programs),
        verdicts=digest(files.verdicts),
        feedback=config.feedback.model_dump(exclude={"wait"}),
        recorded=None if recorded is None else digest(recorded),
        seed=config.seed,
    ) as step:
        if step.todo:
            items = gather_feedback(run, number, programs, verdicts)
            if not items:
                raise DataError(
                    "no feedback for the tasks of splits refine and train "
                    f"(source: {config.feedback.source}): nothing to learn from"
                )
            write_jsonl(files.feedback, items)
            step.counts = {
                "items": len(items),
                "with refinement": sum(i.refinement is not None for i in items),
            }
    items = read_jsonl(files.feedback, Feedback)
    unknown = next((i.task_id for i in items if i.task_id not in run.tasks), None)
    if unknown is not None:
        raise DataError(f"{files.feedback}: feedback on task {unknown!r}, which is in no split of this run")
    return items


def recorded_path(config: RunConfig, number: int) -> Path | None:
    """The file of recorded feedback for round `number`; None where the source needs none.

    Raises:
        DataError: it is not there.
    """
    paths = config.feedback.path
    if isinstance(paths, list):
        path = paths[min(number, len(paths)) - 1]
    elif paths is not None:
        path = paths
    elif config.feedback.source == "recorded":
        from ilf.tasks import STARTER

        return STARTER / "feedback.jsonl"
    else:
        return None
    if not Path(path).is_file():
        raise DataError(f"feedback.path: {path}: no such file")
    return Path(path)


def gather_feedback(
    run: _Run, number: int, programs: Rows[Program], verdicts: Rows[Verdict]
) -> list[Feedback]:
    """Feedback of the configured source on the tasks of splits refine and train."""
    asked = run.config.feedback
    done = solved(programs, verdicts) if asked.only_unsolved else set()
    wanted = {t.task_id for name in ("refine", "train") for t in run.splits[name]} - done
    if asked.only_unsolved:
        total = len(run.splits["refine"]) + len(run.splits["train"])
        say(f"    {len(wanted)} of {total} tasks were never solved in {run.config.sampling.n} samples")
    if asked.source == "recorded":
        from ilf.feedback import recorded

        path = recorded_path(run.config, number)
        assert path is not None
        items, counts = recorded.load(
            path, run.source, keep=wanted, filters=asked.filter, seed=run.config.seed,
            verify=run.config.verify,
        )  # fmt: skip
        for what, count in counts.items():
            say(f"    {what}: {count}")
        return items
    if asked.source == "human":
        from ilf.feedback import people

        return people.collect(
            run.folder, run.tasks, programs, verdicts, round=number, wanted=asked.wanted, wait=asked.wait,
            only_unsolved=asked.only_unsolved, filters=asked.filter, seed=run.config.seed,
            verify=run.config.verify,
        )  # fmt: skip
    if asked.source == "execution":
        from ilf.feedback import execution

        return execution.write(programs, verdicts, only_unsolved=asked.only_unsolved)
    from ilf.feedback import model

    writer = run.models.get(asked.model or run.config.model)
    path = recorded_path(run.config, number)
    held_out = {task.task_id for task in run.splits[run.config.evaluation.split]}
    shown = {task_id: task for task_id, task in run.source.items() if task_id not in held_out}
    return model.write(
        writer.open, run.source, candidates(programs, verdicts, only_unsolved=asked.only_unsolved),
        shots=(
            [] if path is None else model.load_shots(path, shown, asked.shots, run.config.seed, wanted)
        ),
        seed=run.config.seed,
    )  # fmt: skip


# --- 3: refinements ---------------------------------------------------------------------------------------


def _refine(
    run: _Run, number: int, files: RoundFolder, start: Model, feedback: Sequence[Feedback]
) -> Rows[Refinement]:
    config, asked = run.config, run.config.refiner
    in_refine = {task.task_id for task in run.splits["refine"]}
    teach = [item for item in feedback if item.task_id in in_refine]
    apply = [item for item in feedback if item.task_id not in in_refine]
    if not apply:
        raise DataError("no feedback on tasks of split train: there is nothing to refine")
    shots: list[steps.Shot] = []
    refiner = start
    with run.step(
        number, "4-refiner", [files.refiner],
        start=start.hash, feedback=[item.to_json() for item in teach], style=config.prompts.style,
        refiner=asked.model_dump(exclude={"sampling"}), seed=config.seed,
    ) as step:  # fmt: skip
        if step.todo:
            if asked.method == "finetune":
                step.counts = _teach_refiner(run, number, files, start, teach)
            else:
                _pick_shots(run, files, teach)
    if asked.method == "finetune":
        refiner = run.models.get(files.refiner)
    else:
        shots = [
            (run.tasks[i.task_id], i.code, i.text if asked.use_feedback else None, i.refinement or "")
            for i in read_jsonl(files.refiner / "shots.jsonl", Feedback)
        ]
    with run.step(
        number, "5-refinements", [files.refinements],
        refiner=refiner.hash, feedback=[item.to_json() for item in apply], shots=[s[1:] for s in shots],
        sampling=asked.sampling.model_dump(), use_feedback=asked.use_feedback, style=config.prompts.style,
        verify=config.verify.model_dump(exclude={"workers"}), seed=config.seed,
    ) as step:  # fmt: skip
        if step.todo:
            rows = steps.sample_refinements(
                refiner.open, refiner.hash, run.tasks, apply, asked.sampling, config.verify,
                files.refinements, seed=config.seed, style=config.prompts.style, shots=shots,
                use_feedback=asked.use_feedback, max_sandbox_errors=config.max_sandbox_errors,
            )  # fmt: skip
            step.counts = {
                **steps.sample_counts(rows),
                "passed": sum(r.verdict is not None and r.verdict.passed for r in rows),
            }
    return Rows(files.refinements, Refinement)


def _teach_refiner(
    run: _Run, number: int, files: RoundFolder, start: Model, teach: Sequence[Feedback]
) -> dict[str, float]:
    examples, left_out = steps.refiner_examples(
        run.prompter, run.tasks, teach, use_feedback=run.config.refiner.use_feedback
    )
    _say_left_out(left_out)
    if not examples:
        raise TrainingError(
            "no feedback on split refine carries a refinement, so πRefine has nothing to learn from: "
            'set refiner.method = "few-shot", or write refinements'
        )
    run.check_sandbox()
    run.models.close()
    return steps.finetune_model(
        start.ref, examples, files.refiner, run.config.refiner.finetune, seed=run.config.seed,
        engine=run.config.engine, what="πRefine", card=run.card(number),
    )  # fmt: skip


def _pick_shots(run: _Run, files: RoundFolder, teach: Sequence[Feedback]) -> None:
    usable = [item for item in teach if item.refinement is not None]
    count = run.config.refiner.shots
    if len(usable) < count:
        raise DataError(
            f"refiner.shots: {count} asked for, but only {len(usable)} items of split refine "
            "carry a refinement"
        )
    # The shortest make the cheapest prompt, and every item is continued with the same ones.
    usable.sort(key=lambda item: (len(item.code) + len(item.text) + len(item.refinement or ""), item.task_id))
    files.refiner.mkdir(exist_ok=True)
    write_jsonl(files.refiner / "shots.jsonl", usable[:count])


# --- 4: examples and πθ* ----------------------------------------------------------------------------------


def _examples(
    run: _Run, number: int, files: RoundFolder, policy: Model, refinements: Rows[Refinement]
) -> list[Example]:
    config = run.config
    with run.step(
        number, "6-examples", [files.examples],
        refinements=digest(files.refinements), selection=config.selection.model_dump(), seed=config.seed,
        style=config.prompts.style,
    ) as step:  # fmt: skip
        if step.todo:
            scores = None
            if config.selection.strategy == "likeliest":
                passing = [r for r in refinements if r.verdict is not None and r.verdict.passed]
                scores = steps.score_refinements(policy.ref, run.prompter, run.tasks, passing)
            examples, left_out = steps.select_examples(
                run.prompter, run.tasks, refinements, config.selection, seed=config.seed, scores=scores
            )
            _say_left_out(left_out)
            write_jsonl(files.examples, examples)
            step.counts = {"examples": len(examples), "tasks": len({e.task_id for e in examples})}
    examples = read_jsonl(files.examples, Example)
    if not examples:
        raise TrainingError(
            f"none of {len(refinements)} refinements passed their tests: there is nothing to fine-tune on. "
            f"See {files.refinements}; more samples (refiner.sampling.n) or more feedback may help"
        )
    return examples


def _finetune(
    run: _Run, number: int, files: RoundFolder, policy: Model, examples: Sequence[Example]
) -> Model:
    config = run.config
    with run.step(
        number, "7-model", [files.model],
        start=policy.hash, examples=digest(files.examples), finetune=config.finetune.model_dump(),
        seed=config.seed,
    ) as step:  # fmt: skip
        if step.todo:
            run.check_sandbox()
            run.models.close()
            step.counts = steps.finetune_model(
                policy.ref, examples, files.model, config.finetune, seed=config.seed,
                engine=config.engine, what="πθ*", card=run.card(number),
            )  # fmt: skip
    return run.models.get(files.model)


# --- 5: evaluation ----------------------------------------------------------------------------------------


def _evaluate(
    run: _Run, number: int, files: RoundFolder, arms: Mapping[str, Model], refinements: Rows[Refinement]
) -> None:
    config, asked = run.config, run.config.evaluation
    tasks = run.splits[asked.split]
    with run.step(
        number, "8-evaluation", [files.evaluation],
        models={arm: model.hash for arm, model in arms.items()}, tasks=source_hash(tasks),
        evaluation=asked.model_dump(), style=config.prompts.style, refinements=digest(files.refinements),
        verify=config.verify.model_dump(exclude={"workers"}), seed=config.seed,
    ) as step:  # fmt: skip
        if not step.todo:
            return
        run.check_sandbox()
        results = {
            arm: evaluate_model(
                model.open, model.hash, tasks, asked.sampling, asked.k, files, arm, config, round=number
            )
            for arm, model in arms.items()
        }
        comparisons = [metrics.compare([results["before"]], [results["after"]], k=k) for k in asked.k]
        summary = {
            "arms": {arm: result.model_dump(mode="json") for arm, result in results.items()},
            "models": {
                arm: {"source": _short(model.ref, run.folder.path), "hash": model.hash}
                for arm, model in arms.items()
            },
            "paired": [c.model_dump(mode="json") for c in metrics.with_holm(comparisons)],
            "refinement": _refinement_rates(run, refinements, asked.k).model_dump(mode="json"),
        }
        import json

        write_text(files.evaluation, json.dumps(summary, indent=2, ensure_ascii=False) + "\n")
        written = (p for arm in arms for p in Rows(files.evaluation_programs(arm), Program))
        step.counts = {"tasks": len(tasks), **steps.sample_counts(written)}
        if config.engine.name != "scripted":
            from ilf.training import write_card

            write_card(files.model, evaluation=dict(results.items()))


def evaluate_model(
    writer: Callable[[], Writer],
    model: str,
    tasks: Sequence[Task],
    sampling: SamplingConfig,
    ks: Sequence[int],
    files: RoundFolder,
    arm: str,
    config: RunConfig,
    *,
    round: int,
) -> metrics.Evaluation:
    """pass@k of a model on held-out tasks; its programs and verdicts stay in the run folder."""
    programs = steps.sample_programs(
        writer, model, tasks, sampling, files.evaluation_programs(arm),
        seed=config.seed, style=config.prompts.style, round=round, what="evaluation",
    )  # fmt: skip
    verdicts = steps.verify_programs(
        {task.task_id: task for task in tasks}, programs, files.evaluation_verdicts(arm), config.verify,
        max_sandbox_errors=config.max_sandbox_errors,
    )  # fmt: skip
    return metrics.evaluate(
        metrics.count(tasks, verdicts), split=config.evaluation.split, temperature=sampling.temperature,
        n=sampling.n, ks=ks, seed=config.seed,
    )  # fmt: skip


def _refinement_rates(run: _Run, refinements: Rows[Refinement], ks: Sequence[int]) -> metrics.Evaluation:
    """πRefine's pass@k on the tasks it refined (the paper's Table 3)."""
    sampling = run.config.refiner.sampling
    refined = [run.tasks[task_id] for task_id in dict.fromkeys(r.task_id for r in refinements)]
    verdicts = (r.verdict for r in refinements if r.verdict is not None)
    return metrics.evaluate(
        metrics.count(refined, verdicts), split="train", temperature=sampling.temperature, n=sampling.n,
        ks=[k for k in ks if k <= sampling.n] or [1], seed=run.config.seed,
    )  # fmt: skip


# --- small things -----------------------------------------------------------------------------------------


def _say_left_out(task_ids: Sequence[str]) -> None:
    if task_ids:
        say(f"    {len(task_ids)} programs change what stands above the body and cannot be trained on: "
            f"{', '.join(sorted(task_ids)[:8])}{' …' if len(task_ids) > 8 else ''}")  # fmt: skip


def _short(ref: str, folder: Path) -> str:
    """A model of the run by its path in the run folder, so that a folder can be moved."""
    path = Path(ref)
    return str(path.relative_to(folder)) if path.is_relative_to(folder) else ref


def environment() -> dict[str, str]:
    """Versions of what computes, for the manifest."""
    found = {
        "python": platform.python_version(),
        "system": platform.platform(),
        "machine": platform.machine(),
    }
    for library in ("torch", "transformers", "peft", "numpy", "scipy"):
        try:
            found[library] = metadata.version(library)
        except metadata.PackageNotFoundError:
            continue
    return found
