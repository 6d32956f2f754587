"""Choose among the refinements that pass (Algorithm 1, line 4): what πθ* is fine-tuned on."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ilf import metrics
from ilf.config import ExamplesConfig, SelectionConfig
from ilf.errors import NothingLeft, UserError
from ilf.kinds import kind_of
from ilf.outlook import after_nothing_passed
from ilf.policy import Model
from ilf.progress import say
from ilf.prompts import Prompter
from ilf.records import Example, Program, Refinement, Rows, Task, Verdict, read_jsonl, write_jsonl
from ilf.runfolder import digest
from ilf.runner import Job, Step
from ilf.selection import own_correct, select
from ilf.steps.refiner import say_left_out


@dataclass(frozen=True)
class Select(Step[list[Example]]):
    """The refinements that become examples."""

    file = "6-examples.jsonl"

    refinements: Rows[Refinement]
    tasks: Mapping[str, Task]
    """By id."""
    model: Model
    """πθ, which will learn them."""
    selection: SelectionConfig
    mixture: ExamplesConfig = ExamplesConfig()  # noqa: RUF009 - frozen
    own: tuple[Rows[Program], Rows[Verdict]] | None = None
    """πθ's samples and their verdicts, for `mixture.own`."""
    seed: int = 0

    def inputs(self) -> Mapping[str, Any]:
        """All that decides the choice."""
        return {
            "refinements": digest(self.refinements.path),
            "selection": self.selection.model_dump(),
            "style": self.model.style,
            "model": self.model.hash if self.selection.strategy == "likeliest" else None,
            "seed": self.seed,
            **({"mixture": self.mixture.model_dump(exclude={"replay"})} if self.mixture.own else {}),
            **({"own": [digest(rows.path) for rows in self.own]} if self.mixture.own and self.own else {}),
        }

    def run(self, job: Job) -> dict[str, float]:
        """Choose, and write one `Example` each."""
        prompter, scores = self.model.prompter, None
        if self.selection.strategy == "likeliest":
            passing = [r for r in self.refinements if r.verdict is not None and r.verdict.passed]
            job.place.close()
            scores = score_refinements(self.model.ref, prompter, self.tasks, passing)
        examples, left_out = select_examples(
            prompter, self.tasks, self.refinements, self.selection, seed=self.seed, scores=scores
        )
        say_left_out(left_out)
        own: list[Example] = []
        if self.mixture.own and self.own and examples:
            count = own_count(len(examples), self.mixture.own)
            refined = {str(example.task_id) for example in examples}
            own = own_examples(
                prompter, self.tasks, self.own, count, seed=self.seed, exclude=refined,
                per_task=self.mixture.own_per_task,
            )  # fmt: skip
            examples = own if self.mixture.own == 1 else [*examples, *own]
        write_jsonl(job.out, examples)
        counts = {"examples": float(len(examples)), "tasks": float(len({e.task_id for e in examples}))}
        return counts | ({"own": float(len(own))} if own else {})

    def result(self, out: Path) -> list[Example]:
        """The examples.

        Raises:
            NothingLeft: there are none.
        """
        examples = read_jsonl(out, Example)
        if not examples:
            for line in after_nothing_passed(self.refinements):
                say(f"    {line}")
            raise NothingLeft(
                f"none of {len(self.refinements)} refinements passed their tests: there is nothing to "
                f"fine-tune on. They are kept in {self.refinements.path}; the best next steps stand above"
            )
        return examples


def own_count(refined: int, share: float) -> int:
    """How many own samples make up `share` of the whole beside `refined` refinements; at 1 as many."""
    return refined if share == 1 else round(refined * share / (1 - share))


def own_examples(
    prompter: Prompter,
    tasks: Mapping[str, Task],
    own: tuple[Iterable[Program], Iterable[Verdict]],
    count: int,
    *,
    seed: int,
    exclude: Collection[str],
    per_task: int | None = None,
) -> list[Example]:
    """πθ's own samples that pass, as examples (`selection.own_correct`)."""
    found = own_correct(*own, count, seed=seed, exclude=exclude, per_task=per_task)
    rows: list[tuple[str, str, Mapping[str, object]]] = [(t, code, {"origin": "self"}) for t, code in found]
    return program_examples(prompter, tasks, rows)[0]


def program_examples(
    prompter: Prompter,
    tasks: Mapping[str, Task],
    rows: Iterable[tuple[str, str, Mapping[str, object]]],
) -> tuple[list[Example], list[str]]:
    """What πθ* is fine-tuned on: t → program.

    Args:
        prompter: of πθ.
        tasks: by id.
        rows: (task id, program, further fields of `Example`).

    Returns:
        The examples, and the ids of tasks whose program the prompt style cannot express.
    """
    examples, left_out = [], []
    for task_id, code, fields in rows:
        task = tasks[task_id]
        try:
            completion = prompter.program_target(task, code)
        except UserError:
            left_out.append(task_id)
            continue
        row = {"prompt": prompter.program(task).text, "completion": completion, "task_id": task_id, **fields}
        examples.append(Example.model_validate(row))
    return examples, left_out


def select_examples(
    prompter: Prompter,
    tasks: Mapping[str, Task],
    refinements: Iterable[Refinement],
    settings: SelectionConfig,
    *,
    seed: int,
    scores: Mapping[str, float] | None = None,
) -> tuple[list[Example], list[str]]:
    """Choose among the refinements that pass, one `Example` each.

    With `settings.weights` each counts by equation 6: πt*(x1) ∝ exp(β·R) over the proposal q(x1), which
    πRefine's own log-probability stands for; self-normalised within a task and clipped, so that they matter
    where more than one refinement a task is kept.

    Returns:
        The examples, and the ids of tasks whose program the prompt style cannot express.
    """
    kept = select(refinements, tasks, settings.strategy, seed=seed, gate=settings.gate, scores=scores)
    weights = [1.0] * len(kept)
    if settings.weights and kept:
        weights = _weights(kept, tasks, settings)
    return program_examples(
        prompter,
        tasks,
        [
            (
                r.task_id,
                r.code,
                {
                    "weight": weight,
                    "feedback_id": r.feedback_id,
                    "refinement_id": r.refinement_id,
                    "origin": "refinement",
                },
            )
            for r, weight in zip(kept, weights, strict=True)
        ],
    )


def _weights(kept: Sequence[Refinement], tasks: Mapping[str, Task], settings: SelectionConfig) -> list[float]:
    """Importance weights (equation 6)."""
    unknown = next((r.task_id for r in kept if r.logprob is None), None)
    if unknown is not None:
        raise UserError(f"selection.weights: the engine gave no log-probabilities (task {unknown})")

    def reward(r: Refinement) -> float:
        task = tasks[r.task_id]
        return 0.0 if r.verdict is None else kind_of(task.kind).reward(task, r.verdict)

    return list(
        metrics.importance_weights(
            [reward(r) for r in kept],
            [r.logprob or 0.0 for r in kept],
            beta=settings.beta,
            clip=settings.clip,
            groups=[r.task_id for r in kept],
        )
    )


def score_refinements(
    model: str, prompter: Prompter, tasks: Mapping[str, Task], refinements: Sequence[Refinement]
) -> dict[str, float]:
    """Log-probability a token of each refinement as an answer to its task's prompt, under `model` (nats)."""
    from ilf.scoring import score

    pairs, ids = [], []
    for refinement in refinements:
        task = tasks[refinement.task_id]
        try:
            pairs.append((prompter.program(task).text, prompter.program_target(task, refinement.code)))
        except UserError:
            continue
        ids.append(refinement.refinement_id)
    found = score(model, pairs)
    scores = {r.refinement_id: float("-inf") for r in refinements}
    scores.update(
        {name: logprob / max(1, tokens) for name, (logprob, tokens) in zip(ids, found, strict=True)}
    )
    return scores
