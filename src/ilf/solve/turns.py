"""Programs at test time: a first draft, then refinements of it, judged by the shown test alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ilf.config import SamplingConfig, VerifyConfig
from ilf.errors import DataError
from ilf.feedback import execution
from ilf.feedback.ranking import rank
from ilf.places import Place
from ilf.policy import Model
from ilf.progress import progress
from ilf.prompts import Prompt
from ilf.records import Feedback, Program, Record, Task, Verdict
from ilf.steps import Refiner
from ilf.steps.sampling import refuse_failures, samples_of, seed_of


class Solution(Record):
    """What became of one task: a row of `ilf solve --out`, which `ilf verify --programs` reads."""

    task_id: str
    code: str
    shown: bool
    """It passes the shown test."""
    turns: int
    """Refinements that it took."""
    samples: int
    """Drawn in all turns."""
    tokens: int
    """Sampled in all turns; prompts are not counted."""


@dataclass(frozen=True)
class Turn:
    """The best program of one turn on a task."""

    program: Program
    verdict: Verdict
    """By the shown test alone."""
    samples: int
    tokens: int
    item: Feedback | None = None
    """What it follows; None for a first draft."""

    @property
    def passed(self) -> bool:
        """Whether it passes the shown test."""
        return self.verdict.passed


def shown_only(task: Task) -> Task:
    """The task with its shown test as the only one: at test time the others are not to be seen.

    Raises:
        DataError: the task shows no test.
    """
    if not task.shown.strip():
        raise DataError(f"task {task.task_id}: it shows no test, so nothing can be verified at test time")
    return task.model_copy(update={"tests": (task.shown,), "example": None})


def solution(turns: Sequence[Turn]) -> Solution:
    """What the turns on one task come to."""
    last = turns[-1]
    return Solution(
        task_id=last.program.task_id, code=last.program.code, shown=last.passed, turns=len(turns) - 1,
        samples=sum(turn.samples for turn in turns), tokens=sum(turn.tokens for turn in turns),
    )  # fmt: skip


def kept(turns: Sequence[Turn]) -> list[Feedback]:
    """The feedback of turns that were accepted, for the next run.

    The last one carries the program that it led to, where that passes the shown test; what came between is a
    wrong program and no example of a refinement.
    """
    items = [turn.item for turn in turns if turn.item is not None]
    if items and turns[-1].passed:
        items[-1] = items[-1].model_copy(update={"refinement": turns[-1].program.code})
    return items


class Solver:
    """Draws a turn's programs and takes the best one.

    Args:
        model: πθ, which writes the first drafts.
        refiner: πRefine; the same model may serve.
        place: where models are opened and programs run.
        sampling: n samples a task and turn.
        verify: the sandbox.
        seed: of all turns.
    """

    def __init__(
        self,
        model: Model,
        refiner: Refiner,
        place: Place,
        *,
        sampling: SamplingConfig,
        verify: VerifyConfig,
        seed: int = 0,
    ) -> None:
        self._model, self._refiner, self._place = model, refiner, place
        self._sampling, self._verify, self._seed = sampling, verify, seed

    def drafts(self, tasks: Sequence[Task], number: int = 0) -> list[Turn]:
        """The best of n programs for each task.

        Args:
            tasks: with their shown test alone (`shown_only`).
            number: of the turn, part of the seed: plain resampling is drafts with several numbers.

        Raises:
            ModelError: a prompt does not fit; it names the task.
            SandboxFailure: programs got no verdict.
        """
        writer = self._place.open(self._model)
        prompts = [writer.prompter.program(task) for task in tasks]
        return self._turns(self._model, tasks, prompts, ("drafts", number), [None] * len(tasks))

    def refinements(self, tasks: Mapping[str, Task], items: Sequence[Feedback], number: int) -> list[Turn]:
        """The best of n refinements for each item; arguments and errors as of `drafts`."""
        writer = self._place.open(self._refiner.model)
        of_items = [tasks[item.task_id] for item in items]
        prompts = [
            writer.prompter.refinement(task, item.code, item.text, shots=self._refiner.shots)
            for task, item in zip(of_items, items, strict=True)
        ]
        return self._turns(self._refiner.model, of_items, prompts, ("refinements", number), items)

    def _turns(
        self,
        model: Model,
        tasks: Sequence[Task],
        prompts: Sequence[Prompt],
        what: tuple[str, int],
        items: Sequence[Feedback | None],
    ) -> list[Turn]:
        writer, n = self._place.open(model), self._sampling.n
        seed = seed_of(self._seed, "solve", *what)
        with progress(f"{what[0]}, turn {what[1]}", len(tasks) * n) as bar:
            samples = samples_of(writer, prompts, self._sampling, seed, tasks, bar)
        programs = [
            Program(
                task_id=tasks[sample.prompt].task_id,
                code=writer.prompter.extract_program(tasks[sample.prompt], sample.text),
                model=model.hash,
                index=sample.index,
                tokens=sample.tokens,
            )
            for sample in samples
        ]
        by_id = {task.task_id: task for task in tasks}
        verdicts = list(self._place.verify(by_id, programs, self._verify))
        refuse_failures(verdicts, 0.05)
        pairs = list(zip(programs, verdicts, strict=True))
        found = []
        for place, item in enumerate(items):
            own = pairs[place * n : (place + 1) * n]
            best = next((pair for pair in own if pair[1].passed), None) or (rank(own) or own)[0]
            found.append(Turn(*best, n, sum(program.tokens or 0 for program, _ in own), item))
        return found


def solve(solver: Solver, tasks: Sequence[Task], most: int, *, redraw: bool = False) -> dict[str, list[Turn]]:
    """Turns on each task until the shown test passes, with execution feedback alone.

    Args:
        solver: draws the programs.
        tasks: to solve; their hidden tests are never run.
        most: turns a task after the draft.
        redraw: draw a new program each turn and refine nothing: plain resampling.

    Returns:
        Task id → its turns, the draft first.
    """
    known = {task.task_id: shown_only(task) for task in tasks}
    drafts = solver.drafts(list(known.values()))
    turns = {turn.program.task_id: [turn] for turn in drafts}
    for number in range(1, most + 1):
        left = [found[-1] for found in turns.values() if not found[-1].passed]
        if not left:
            break
        if redraw:
            made = solver.drafts([known[t.program.task_id] for t in left], number)
        else:
            items = [execution.about(known[t.program.task_id], t.program, t.verdict) for t in left]
            made = solver.refinements(known, items, number)
        for turn in made:
            turns[turn.program.task_id].append(turn)
    return turns
