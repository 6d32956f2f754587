"""Refinements that follow a text one bug at a time, with verification between (the paper's Figure 5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ilf import costs, metrics
from ilf.costs import Cost
from ilf.feedback.parts import parts
from ilf.progress import progress
from ilf.records import Feedback, Program, Refinement, Verdict, write_jsonl
from ilf.runner import Job
from ilf.steps.refinements import Refine
from ilf.steps.sampling import refuse_failures, require_room


@dataclass
class _Chain:
    """How far an item is."""

    item: Feedback
    parts: Sequence[str]
    verdict: Verdict
    refinement: Refinement
    tokens: int = 0


@dataclass(frozen=True)
class RefineByParts(Refine):
    """One refinement an item: the end of a chain of `sampling.n` samples for each part of its text.

    The best sample of a step is kept where it passes no fewer tests than what it started from; a chain ends
    with its parts, or when every test passes. To compare with all parts at once at equal samples, give
    `Refine` as many samples as the chain had.
    """

    what: str = "refinements by parts"

    def inputs(self) -> Mapping[str, Any]:
        """Those of `Refine`, and the parts."""
        return {**super().inputs(), "parts": [parts(item.text) for item in self.feedback]}

    def cost(self) -> Cost:
        """n samples a part."""
        asked = sum(len(parts(item.text)) for item in self.feedback)
        return costs.sampling(asked, self.sampling, self.refiner.model.folder)

    def run(self, job: Job) -> dict[str, float]:
        """Sample and verify, part by part; a kill repeats the step.

        Raises:
            ModelError: a prompt does not fit; it names the task.
            SandboxFailure: too many refinements got no verdict.
        """
        chains = self._start(job)
        writer = job.place.open(self.refiner.model)
        asked = sum(len(chain.parts) for chain in chains) * self.sampling.n
        with progress(f"sampling {self.what}", asked) as bar:
            for number in range(max((len(chain.parts) for chain in chains), default=0)):
                live = [c for c in chains if number < len(c.parts) and not c.verdict.passed]
                if not live:
                    break
                items = [_next(chain, number) for chain in live]
                prompts = [self._prompt(writer, item) for item in items]
                left = [self.tasks[item.task_id] for item in items]
                require_room(writer, prompts, self.sampling, left, job.out)
                rows = self._verified(job, self._sampled(writer, prompts, items, number, bar), items)
                refuse_failures((r.verdict for r in rows if r.verdict is not None), self.max_sandbox_errors)
                for place, chain in enumerate(live):
                    _advance(chain, rows[place * self.sampling.n : (place + 1) * self.sampling.n])
        done = [_finished(chain) for chain in chains]
        write_jsonl(job.out, done)
        return {
            "items": len(done),
            "passed": sum(chain.verdict.passed for chain in chains),
            "tokens": sum(chain.tokens for chain in chains),
        }

    def _start(self, job: Job) -> list[_Chain]:
        """Every item with its own program as what it is so far."""
        items = self.items
        programs = [Program(task_id=item.task_id, code=item.code) for item in items]
        verdicts = job.place.verify(self.tasks, programs, self.verify)
        return [
            _Chain(
                item, parts(item.text), verdict,
                Refinement(feedback_id=item.feedback_id, task_id=item.task_id, code=item.code),
            )
            for item, verdict in zip(items, verdicts, strict=True)
        ]  # fmt: skip


def _next(chain: _Chain, number: int) -> Feedback:
    """One part of the text, on what the chain has come to."""
    return chain.item.model_copy(update={"code": chain.refinement.code, "text": chain.parts[number]})


def _passes(verdict: Verdict) -> tuple[bool, float]:
    worth = sum(result is True for result in verdict.tests) if verdict.reward is None else verdict.reward
    return verdict.passed, worth


def _advance(chain: _Chain, rows: Sequence[Refinement]) -> None:
    """Keep the best sample, where it passes no fewer tests than what there is."""
    chain.tokens += sum(row.tokens or 0 for row in rows)
    known = [(row.verdict, row) for row in rows if row.verdict and row.verdict.status != "sandbox_error"]
    if not known:
        return
    verdict, row = max(known, key=lambda pair: _passes(pair[0]))
    if _passes(verdict) >= _passes(chain.verdict):
        chain.verdict, chain.refinement = verdict, row


def _finished(chain: _Chain) -> Refinement:
    """The end of a chain as a refinement of the item that it began with."""
    return chain.refinement.model_copy(
        update={
            "feedback_id": chain.item.feedback_id,
            "verdict": chain.verdict,
            "tokens": chain.tokens,
            "edit_distance": metrics.edit_distance(chain.item.code, chain.refinement.code),
        }
    )
