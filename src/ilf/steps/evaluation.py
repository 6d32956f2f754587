"""Is πθ* better on tasks it has never seen? (paper, section 3.3)"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ilf import costs, metrics
from ilf.config import EvaluationConfig, SamplingConfig, VerifyConfig
from ilf.costs import Cost
from ilf.errors import LeakError
from ilf.policy import Model
from ilf.records import Program, Refinement, Rows, Task, Verdict
from ilf.runfolder import digest, write_text
from ilf.runner import Job, Runner, Step
from ilf.steps.programs import Sample
from ilf.steps.sampling import sample_counts
from ilf.steps.verdicts import SHARED, Verify
from ilf.tasks import source_hash


@dataclass(frozen=True)
class Evaluate(Step[Path]):
    """pass@k of models on held-out tasks (mean R, where a reward decides), and their paired difference.

    Steps of its own sample and verify.
    """

    file = "8-evaluation.json"

    models: Mapping[str, Model]
    """By name of the arm: `before`, `after`, and `own` for the control that needs no feedback."""
    tasks: tuple[Task, ...]
    evaluation: EvaluationConfig
    verify: VerifyConfig
    refinements: Rows[Refinement]
    refined: Mapping[str, Task]
    """The tasks that πRefine worked on, by id."""
    refining: SamplingConfig
    max_sandbox_errors: float = 0.05
    validation: tuple[Task, ...] = ()
    """With several rounds: tasks that tell whether to go on; measured for `before` and `after`."""
    round: int = 1
    seed: int = 0

    def inputs(self) -> Mapping[str, Any]:
        """All that decides the numbers."""
        return {
            "models": {arm: model.identity() for arm, model in self.models.items()},
            "tasks": source_hash(self.tasks),
            "evaluation": self.evaluation.model_dump(exclude={"control"}),
            "refinements": digest(self.refinements.path),
            "verify": self.verify.deciding(),
            "seed": self.seed,
            **({"validation": source_hash(self.validation)} if self.validation else {}),
        }

    def cost(self) -> Cost:
        """n samples a task and model, each with a verdict."""
        programs = len(self.models) * len(self.tasks) + 2 * len(self.validation)
        folder = next(iter(self.models.values())).folder
        sampled = costs.sampling(programs, self.evaluation.sampling, folder)
        return sampled + Cost(disk=costs.VERDICT_BYTES * sampled.samples)

    def run(self, job: Job) -> dict[str, float]:
        """Sample and verify each model's programs, then compare."""
        assert job.do is not None, "an evaluation is made of steps"
        asked = self.evaluation
        counts = {"tasks": float(len(self.tasks)), "samples": 0.0, "tokens": 0.0}
        results = self._measured(job.do, self.models, self.tasks, asked.split, counts)
        summary = {
            "arms": {arm: result.model_dump(mode="json") for arm, result in results.items()},
            "models": {
                arm: {"source": _short(model.ref, job.out.parent.parent), "hash": model.hash}
                for arm, model in self.models.items()
            },
            "paired": _compared(results, [("before", "after")], asked.k),
            "refinement": self._refinement_rates().model_dump(mode="json"),
        }
        if "own" in results:
            summary["control"] = _compared(results, [("before", "own"), ("own", "after")], asked.k[:1])
        if self.validation:
            pair = {arm: self.models[arm] for arm in ("before", "after")}
            found = self._measured(job.do, pair, self.validation, "validation", counts)
            summary["validation"] = {
                "arms": {arm: result.model_dump(mode="json") for arm, result in found.items()},
                "paired": _compared(found, [("before", "after")], asked.k[:1]),
            }
        write_text(job.out, json.dumps(summary, indent=2, ensure_ascii=False) + "\n")
        after = self.models["after"]
        if after.has_weights:
            from ilf.training import write_card

            write_card(Path(after.ref), evaluation=results)
        return {what: count for what, count in counts.items() if count or what != SHARED}

    def _measured(
        self,
        do: Runner,
        models: Mapping[str, Model],
        tasks: Sequence[Task],
        split: str,
        counts: dict[str, float],
    ) -> dict[str, metrics.Evaluation]:
        """pass@k of each model on `tasks`; what was sampled is added to `counts`."""
        asked, results = self.evaluation, {}
        for arm, model in models.items():
            programs, verdicts = attempts(
                do, model, tasks, asked.sampling, self.verify,
                names=f"{arm}-" if split == asked.split else f"{arm}-{split}-",
                max_sandbox_errors=self.max_sandbox_errors, round=self.round, seed=self.seed,
            )  # fmt: skip
            results[arm] = metrics.evaluate(
                metrics.count(tasks, verdicts), split=split, n=asked.sampling.n, ks=asked.k,
                temperature=asked.sampling.temperature, seed=self.seed,
            )  # fmt: skip
            counts[SHARED] = counts.get(SHARED, 0.0) + sum(verdict.shared for verdict in verdicts)
            for what, count in sample_counts(programs).items():
                counts[what] += count
        return results

    def _refinement_rates(self) -> metrics.Evaluation:
        """πRefine's pass@k on the tasks it refined (the paper's Table 3)."""
        tasks = [self.refined[name] for name in dict.fromkeys(r.task_id for r in self.refinements)]
        verdicts = (r.verdict for r in self.refinements if r.verdict is not None)
        return refinement_rates(tasks, verdicts, self.refining, self.evaluation.k, self.seed)

    def result(self, out: Path) -> Path:
        """The file of numbers."""
        return out


def attempts(
    do: Runner,
    model: Model,
    tasks: Sequence[Task],
    sampling: SamplingConfig,
    verify: VerifyConfig,
    *,
    max_sandbox_errors: float,
    seed: int,
    round: int = 1,
    names: str = "",
) -> tuple[Rows[Program], Rows[Verdict]]:
    """A model's programs for held-out tasks and their verdicts, in the folder of `do`.

    The files are called `programs.jsonl` and `verdicts.jsonl`, with `names` before it.
    """
    sample = Sample(model, tuple(tasks), sampling, seed=seed, round=round, what="evaluation")
    programs = do(sample, f"{names}programs.jsonl")
    of_tasks = {task.task_id: task for task in tasks}
    return programs, do(Verify(programs, of_tasks, verify, max_sandbox_errors), f"{names}verdicts.jsonl")


def refinement_rates(
    tasks: Sequence[Task],
    verdicts: Iterable[Verdict],
    sampling: SamplingConfig,
    ks: Sequence[int],
    seed: int,
) -> metrics.Evaluation:
    """pass@k of refinements, for those k that their number allows (the paper's Tables 2 and 3)."""
    return metrics.evaluate(
        metrics.count(tasks, verdicts), split="train", temperature=sampling.temperature, n=sampling.n,
        ks=[k for k in ks if k <= sampling.n] or [1], seed=seed,
    )  # fmt: skip


def refuse_leaks(evaluated: Iterable[str], seen: Mapping[str, Iterable[str]]) -> None:
    """Evaluation ids never appear in feedback or training.

    Args:
        evaluated: ids of the evaluation split.
        seen: where ids were seen → the ids.

    Raises:
        LeakError: one does; it names it and where.
    """
    held_out = set(evaluated)
    for where, ids in seen.items():
        both = sorted(held_out.intersection(ids))
        if both:
            raise LeakError(
                f"{len(both)} evaluation tasks were seen in {where} (the first: {both[0]}): "
                "their scores would mean nothing. Keep the splits apart"
            )


def _compared(
    results: Mapping[str, metrics.Evaluation], pairs: Sequence[tuple[str, str]], ks: Sequence[int]
) -> list[dict[str, Any]]:
    """Paired tests of (a, b) for each k, or of mean R, as JSON; corrected as one family."""
    by = metrics.common(results.values(), ks)
    found = [metrics.compare([results[a]], [results[b]], k=k) for a, b in pairs for k in by]
    return [c.model_dump(mode="json") for c in metrics.with_holm(found)]


def _short(ref: str, folder: Path) -> str:
    """A model of the run by its path in the run folder, so that a folder can be moved."""
    path = Path(ref)
    return str(path.relative_to(folder)) if path.is_relative_to(folder) else ref
