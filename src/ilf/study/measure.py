"""The numbers of one seed: pass rates at each temperature, sweeps, KL, perplexity, transfer."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ilf import metrics
from ilf.config import SamplingConfig
from ilf.errors import UserError
from ilf.metrics import Evaluation
from ilf.policy import Model
from ilf.progress import say
from ilf.records import Example, Refinement, Rows, Task, Verdict, content_id
from ilf.steps import Sample
from ilf.steps.evaluation import attempts, refuse_leaks
from ilf.steps.evaluation import refinement_rates as rates_of
from ilf.steps.examples import program_examples
from ilf.study.arms import Arm, Refining
from ilf.study.examples import Row, examples, items_used
from ilf.study.lab import Lab, Skip
from ilf.study.results import Kl, SeedResult, Shared, Trial
from ilf.training import FinetuneConfig


@dataclass(frozen=True)
class Files:
    """Programs of one model on one set of tasks, and their verdicts in the same order."""

    programs: Path
    verdicts: Path


def samples(lab: Lab, model: Model, tasks: Sequence[Task], split: str, sampling: SamplingConfig) -> Files:
    """Sampled and verified programs, taken from the run where it made them already."""
    asked = lab.config.evaluation
    if lab.problem is None and (split, sampling) == (asked.split, asked.sampling):
        for arm, known in json.loads(lab.files.evaluation.read_text(encoding="utf-8"))["models"].items():
            if known["hash"] == model.hash:
                return Files(lab.files.evaluation_programs(arm), lab.files.evaluation_verdicts(arm))
    name = f"samples/{model.hash[:16]}-{_file_name(split)}-{sampling.temperature:g}"
    programs, verdicts = attempts(
        lab.do.at(name), model, tasks, sampling, lab.config.verify,
        max_sandbox_errors=lab.config.max_sandbox_errors, seed=lab.seed,
    )  # fmt: skip
    return Files(programs.path, verdicts.path)


def _file_name(split: str) -> str:
    """A split's name, or a task source's, as a part of a file name."""
    if split.isalnum():
        return split
    plain = "".join(char if char.isalnum() else "-" for char in split.rpartition("/")[2])
    return f"{plain}-{content_id(split)[:6]}"


def evaluate(
    lab: Lab, model: Model, tasks: Sequence[Task], split: str, sampling: SamplingConfig
) -> tuple[Evaluation, Files]:
    """pass@k of a model for every k of the run that the samples allow."""
    if sampling.temperature == 0:
        sampling = sampling.model_copy(update={"n": 1})  # greedy samples are all the same one
    files = samples(lab, model, tasks, split, sampling)
    ks = [k for k in lab.config.evaluation.k if k <= sampling.n] or [1]
    counts = metrics.count(tasks, Rows(files.verdicts, Verdict))
    found = metrics.evaluate(
        counts, split=split, temperature=sampling.temperature, n=sampling.n, ks=ks, seed=lab.seed
    )
    return found, files


def measure(lab: Lab, arm: Arm) -> SeedResult:
    """Train the arm's model and measure it everywhere the study asks for.

    Raises:
        Skip: the run's data cannot support this arm.
    """
    asked = lab.config.evaluation.sampling
    split = lab.config.evaluation.split
    rows: list[Example] = []
    trials: list[Trial] = []
    model = lab.policy
    if arm.learner is not None:
        settings = FinetuneConfig.model_validate(lab.config.finetune.model_dump() | arm.finetune)
        model = lab.learn(arm.learner, settings, arm.label)
    elif arm.trains:
        rows = examples(lab, arm)
        refuse_leaks(
            [task.task_id for task in (*lab.test, *lab.validation)],
            {f"the examples of arm {arm.name}": [e.task_id for e in rows if e.task_id is not None]},
        )
        base = FinetuneConfig.model_validate(lab.config.finetune.model_dump() | arm.finetune)
        trials = _sweep(lab, arm, rows, base)
        chosen = next((trial.settings for trial in trials if trial.chosen), {})
        model = lab.train(lab.policy, rows, base.model_copy(update=chosen), arm.label)
    test, files = evaluate(lab, model, lab.test, split, asked)
    cost = lab.cost(model) if arm.trains else {}
    fed = arm.refining is not None or arm.learner not in (None, "grpo")
    result = SeedResult(
        seed=lab.seed,
        model=model.hash,
        folder=_relative(lab, Path(model.ref)) if arm.trains else model.ref,
        examples=len(rows) if arm.learner is None else int(cost.get("examples", 0)),
        tasks=len({row.task_id for row in rows}),
        items=items_used(lab, arm) if fed else None,
        test=test,
        written=_relative(lab, files.programs),
        trials=trials,
        effective_samples=_effective_samples(lab, arm, rows),
        cost=cost,
    )
    if lab.study.in_full(arm):
        _temperatures(lab, model, result)
        for source in lab.study.also:
            result.also[source] = _elsewhere(lab, model, source, rows)
        if arm.trains and lab.has_weights:
            result.kl = kl(lab, model)
    if arm.group in ("final", "learner"):
        lab.keep(model)
    elif lab.study.keep_models == "final":
        lab.forget(model)
    return result


def _relative(lab: Lab, path: Path) -> str:
    return str(path.relative_to(lab.folder)) if path.is_relative_to(lab.folder) else str(path)


def _sweep(lab: Lab, arm: Arm, rows: Sequence[Example], base: FinetuneConfig) -> list[Trial]:
    """Every combination of the sweep's settings, measured on the validation tasks; the best is marked."""
    asked = lab.study.sweep
    axes = {name: values for name, values in asked.model_dump().items() if values}
    if not axes or not lab.study.in_full(arm):
        return []
    if not lab.validation:
        raise Skip(
            "a sweep needs validation tasks: every task of refine and train has feedback (validation.ids)"
        )
    trials, models = [], []
    for values in itertools.product(*axes.values()):
        settings = dict(zip(axes, values, strict=True))
        say(f"    sweep, {arm.label}: {settings}")
        model = lab.train(lab.policy, rows, base.model_copy(update=settings), arm.label)
        found, _ = evaluate(lab, model, lab.validation, "validation", _validation_sampling(lab))
        trials.append(Trial(settings=settings, evaluation=found))
        models.append(model)
    best = max(range(len(trials)), key=lambda number: _rate(trials[number].evaluation))
    trials[best].chosen = True
    for number, model in enumerate(models):
        if number != best and model.hash != models[best].hash and lab.study.keep_models == "final":
            lab.forget(model)
    return trials


def _rate(evaluation: Evaluation) -> float:
    """pass@1, or what stands for it where a sample without a verdict forbids it."""
    return evaluation.pass_at[1].value if 1 in evaluation.pass_at else evaluation.solved.value


def _validation_sampling(lab: Lab, temperature: float | None = None) -> SamplingConfig:
    asked = lab.config.evaluation.sampling
    update: dict[str, Any] = {"n": lab.study.validation.n}
    if temperature is not None:
        update["temperature"] = temperature
    return asked.model_copy(update=update)


def _temperatures(lab: Lab, model: Model, result: SeedResult) -> None:
    """The model's best temperature on the validation tasks, and its test rates there."""
    asked = lab.config.evaluation.sampling
    grid = sorted({*lab.study.temperatures, asked.temperature})
    if not lab.study.temperatures or not lab.validation:
        return
    for temperature in grid:
        found, _ = evaluate(lab, model, lab.validation, "validation", _validation_sampling(lab, temperature))
        result.validation[f"{temperature:g}"] = found
    # Equal rates: the temperature nearest to the run's.
    best = max(grid, key=lambda t: (_rate(result.validation[f"{t:g}"]), -abs(t - asked.temperature)))
    result.best_temperature = best
    sampling = asked.model_copy(update={"temperature": best})
    result.best = result.test
    if best != asked.temperature:
        result.best, _ = evaluate(lab, model, lab.test, lab.config.evaluation.split, sampling)


def _elsewhere(lab: Lab, model: Model, source: str, rows: Sequence[Example]) -> Evaluation:
    """Pass rates on another task source."""
    from ilf.tasks import load_named

    tasks = load_named(source)
    used = [e.task_id for e in rows if e.task_id is not None]
    refuse_leaks([task.task_id for task in tasks], {"training": used})
    sampling = lab.config.evaluation.sampling.model_copy(update={"n": lab.study.also_n})
    return evaluate(lab, model, tasks, source, sampling)[0]


def _effective_samples(lab: Lab, arm: Arm, rows: Sequence[Example]) -> float | None:
    """Effective number of examples under unclipped importance weights of equation 6."""
    if arm.refining is None:
        return None
    ids = {e.refinement_id for e in rows}
    found = {name: r for r in lab.refinements(arm.refining) if (name := r.refinement_id) in ids}
    kept = [found[e.refinement_id] for e in rows if e.refinement_id in found]
    if not kept or any(r.logprob is None for r in kept):
        return None
    weights = metrics.importance_weights([1.0] * len(kept), [r.logprob or 0.0 for r in kept])
    return metrics.effective_sample_size(weights)


# --- what the arms share ----------------------------------------------------------------------------------


def refinement_rates(lab: Lab, shared: Shared) -> Iterator[tuple[str, Rows[Refinement]]]:
    """Pass rates of each way of refining (Tables 2 and 3), into `shared`; yields the refinements too."""
    ways = {
        "few-shot, its own feedback": Refining(refiner="few-shot"),
        "few-shot, unrelated feedback": Refining(feedback="shuffled", refiner="few-shot"),
        "few-shot, no feedback": Refining(feedback="none", refiner="few-shot"),
        "fine-tuned, its own feedback": Refining(),
        "fine-tuned, unrelated feedback": Refining(feedback="shuffled"),
        "fine-tuned, no feedback": Refining(feedback="none"),
    }
    asked = lab.config.refiner.sampling
    needed = {arm.refining for arm in lab.study.declared()}
    for label, refining in ways.items():
        if lab.study.refining == "arms" and refining not in needed:
            shared.reasons[label] = 'not asked for (refining = "arms")'
            continue
        try:
            rows = lab.refinements(refining)
        except (Skip, UserError) as error:
            shared.reasons[label] = str(error)
            continue
        tasks = [lab.tasks[task_id] for task_id in dict.fromkeys(row.task_id for row in rows)]
        verdicts = (row.verdict for row in rows if row.verdict is not None)
        shared.refinement[label] = rates_of(tasks, verdicts, asked, lab.config.evaluation.k, lab.seed)
        yield label, rows


def zero_shot(lab: Lab) -> dict[str, Evaluation]:
    """The untuned model on each split and, where samples are alike, on all tasks together (Table 1)."""
    asked, held_out = lab.config.sampling, lab.config.evaluation
    splits = {name: lab.splits[name] for name in ("refine", "train")}
    taught = {c.task_id: c for c in metrics.count([*itertools.chain(*splits.values())], lab.verdicts)}
    found: dict[str, Evaluation] = {}
    counts = {name: [taught[task.task_id] for task in tasks] for name, tasks in splits.items()}
    _, files = evaluate(lab, lab.policy, lab.test, held_out.split, held_out.sampling)
    counts[held_out.split] = metrics.count(lab.test, Rows(files.verdicts, Verdict))
    alike = (asked.n, asked.temperature) == (held_out.sampling.n, held_out.sampling.temperature)
    if alike:
        counts["all tasks"] = [task for rows in counts.values() for task in rows]
    for name, rows in counts.items():
        used = held_out.sampling if name == held_out.split else asked
        ks = [k for k in held_out.k if k <= used.n] or [1]
        found[name] = metrics.evaluate(
            rows, split=name, temperature=used.temperature, n=used.n, ks=ks, seed=lab.seed
        )
    return found


def perplexities(lab: Lab) -> dict[str, list[float]]:
    """Perplexity under the untuned model of what arms train on (Figure 3): references, refinements that ILF
    chose, human refinements."""
    ids = sorted({item.task_id for item in lab.apply})
    gold: list[Row] = [(task_id, code, {}) for task_id in ids if (code := lab.tasks[task_id].reference)]
    human: list[Row] = [(item.task_id, item.refinement, {}) for item in lab.apply if item.refinement]
    learnt = {
        "gold programs": program_examples(lab.prompter, lab.tasks, gold)[0],
        "refinements by πRefine": lab.ilf_examples,
        "human refinements": program_examples(lab.prompter, lab.tasks, human)[0],
    }
    pairs = {label: [(e.prompt, e.completion) for e in rows] for label, rows in learnt.items()}

    def compute() -> dict[str, list[float]]:
        from ilf.scoring import score

        found = {}
        for label, texts in pairs.items():
            scores = score(lab.policy.ref, texts, what=f"scoring {label}")
            found[label] = [metrics.perplexity(logprob, tokens) for logprob, tokens in scores if tokens]
        return found

    kept: dict[str, list[float]] = lab.cached("perplexity", compute, model=lab.policy.hash, texts=pairs)
    return kept


def kl(lab: Lab, model: Model) -> Kl | None:
    """KL between a fine-tuned model and its start, both ways, from samples at temperature 1.

    Next-token distributions are compared along texts of the first-named model (`scoring.divergence`). The
    texts end at a stop sequence or the end token: this is the KL of the distributions over such texts.
    """
    asked = lab.study.kl
    tasks = [*lab.validation, *lab.test][: asked.tasks]
    if not tasks:
        return None
    sampling = lab.config.evaluation.sampling.model_copy(
        update={"n": asked.n, "temperature": 1.0, "top_p": 1.0}
    )
    own = _texts(lab, model, tasks, sampling)
    start = _texts(lab, lab.policy, tasks, sampling)

    def compute() -> list[list[float]]:
        from ilf.scoring import divergence

        return [
            divergence(model.ref, lab.policy.ref, [pair for _, pair in own], what="KL"),
            divergence(lab.policy.ref, model.ref, [pair for _, pair in start], what="KL"),
        ]

    values = lab.cached(f"kl-{model.hash[:16]}", compute, model=model.hash, texts=[own, start])
    found = [
        metrics.mean_by_group(nats, [task_id for task_id, _ in texts], seed=lab.seed)
        for nats, texts in zip(values, (own, start), strict=True)
    ]
    return Kl(own=found[0], start=found[1], prompts=len(tasks))


def _texts(
    lab: Lab, model: Model, tasks: Sequence[Task], sampling: SamplingConfig
) -> list[tuple[str, tuple[str, str]]]:
    """(task id, (prompt, completion)) of each sample; they are not verified."""
    sample = Sample(model, tuple(tasks), sampling, seed=lab.seed, what="KL")
    rows = lab.do(sample, f"samples/{model.hash[:16]}-kl/programs.jsonl")
    by_id = {task.task_id: task for task in tasks}
    return [(p.task_id, (lab.prompter.program(by_id[p.task_id]).text, p.completion or "")) for p in rows]
