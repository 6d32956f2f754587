"""What learners share that learn from what the newest model writes: passes of writing and fine-tuning.

Beside the model folder OUT, `.OUT.passes/` keeps what a kill must not cost: what was written (batch by
batch), what was verified, the model of the last whole pass, and within a pass `finetune`'s own checkpoints.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from ilf import models, policy
from ilf.errors import ModelError, TrainingError
from ilf.learners import Lesson
from ilf.learners.sft import fit
from ilf.policy import Model
from ilf.progress import progress, say
from ilf.records import Example, Program, Task, content_id, read_jsonl
from ilf.runfolder import Growing, write_text
from ilf.sampling import Completion, SamplingParams
from ilf.training import write_card
from ilf.training.card import RECORD

if TYPE_CHECKING:
    from ilf.training.objective import Objective

STATE = "passes.json"
Counts = dict[str, float]


@dataclass(frozen=True)
class Turn:
    """One pass."""

    lesson: Lesson
    number: int
    """From 1."""
    student: Model
    """The newest model."""
    work: Path
    """Folder of all passes."""

    @property
    def out(self) -> Path:
        """The model folder that the pass writes."""
        return self.work / f"pass-{self.number}"

    def file(self, what: str) -> Path:
        """A JSONL file of this pass."""
        return self.work / f"{self.number}-{what}.jsonl"

    def write(self, tasks: Sequence[Task], n: int, temperature: float, max_tokens: int) -> list[Program]:
        """n programs by the student for each of `tasks`, in their order, with the text they were found in.

        Raises:
            ModelError: a prompt does not fit, or the engine gave another number of samples.
        """
        path = self.file("programs")
        if not path.is_file():
            writer = self.lesson.place.open(self.student)
            size = max(1, writer.at_once // n)
            batches = [tasks[start : start + size] for start in range(0, len(tasks), size)]
            growing = Growing(path, self.lesson.key, Program, (len(batch) * n for batch in batches))
            with progress("the student writes", len(tasks) * n, growing.rows) as bar:
                for number in range(growing.done, len(batches)):
                    batch = batches[number]
                    seed = int(content_id(self.lesson.finetune.seed, self.number, number)[:8], 16) // 2
                    params = SamplingParams(
                        n=n,
                        temperature=temperature,
                        max_tokens=max_tokens,
                        stop=writer.prompter.stop,
                        seed=seed,
                    )
                    prompts = [writer.prompter.program(task) for task in batch]
                    found: dict[tuple[int, int], Completion] = {}
                    for sample in writer.sampler.sample(prompts, params, lambda t: bar.advance(tokens=t)):
                        found[sample.prompt, sample.index] = sample
                        bar.advance(1)
                    if len(found) != len(batch) * n:
                        raise ModelError(f"the engine gave {len(found)} samples, not {len(batch) * n}")
                    growing.append(
                        Program(
                            task_id=(task := batch[s.prompt]).task_id,
                            code=writer.prompter.extract_program(task, s.text),
                            completion=s.text, model=self.student.hash, index=s.index, seed=seed,
                            logprob=s.logprob, tokens=s.tokens, finish=s.finish,
                        )
                        for _, s in sorted(found.items())
                    )  # fmt: skip
            growing.finish()
        self.lesson.place.close()
        return read_jsonl(path, Program)

    def usable(self, completion: str | None) -> bool:
        """Whether a text can be trained on: it is one, and the end token stands at its end only."""
        end = _end_token(self.student.ref)
        return bool(completion and completion.strip() and not (end and end in completion))

    def fit(self, examples: Sequence[Example], objective: Objective) -> Counts:
        """Fine-tune the student on `examples`; what was written too long to learn from is left out."""
        settings = self.lesson.finetune.model_copy(update={"too_long": "drop"})
        result = fit(
            self.lesson, self.student.ref, examples, self.out, settings, objective=objective, replace=True
        )
        return {
            "examples": result.examples,
            "left out": result.left_out,
            "steps": result.steps,
            "tokens": result.tokens,
            "heard tokens": result.heard_tokens,
            "training seconds": round(result.seconds, 1),
            "heard seconds": round(result.heard_seconds, 1),
        }


@cache
def _end_token(model: str) -> str | None:
    found: str | None = models.load_tokenizer(models.resolve(model).path).eos_token
    return found


def in_passes(lesson: Lesson, count: int, one: Callable[[Turn], Counts]) -> Counts:
    """Do `count` passes, or go on after the last whole one; the last one's model is the lesson's.

    Args:
        lesson: what is asked.
        count: passes.
        one: writes `Turn.out` unless there is nothing to learn in it, and says what was done.

    Returns:
        The sums of the passes' counts.

    Raises:
        TrainingError: no pass found anything to learn, or the engine has no weights to train.
    """
    if not lesson.start.has_weights:
        raise TrainingError(
            f"learner.name: {lesson.learner.name} needs a model in a folder, which engine "
            f"{lesson.start.engine.name} does not have"
        )
    finished = _state(lesson.out / STATE, lesson.key)
    if finished is not None:
        return finished[1]
    work = lesson.out.with_name(f".{lesson.out.name}.passes")
    state = _state(work / STATE, lesson.key)
    if state is None:
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        state = ([], {})
        _write(work / STATE, lesson.key, *state)
    wrote, counts = state
    for number in range(len(wrote) + 1, count + 1):
        newest = _newest(wrote)
        student = lesson.start
        if newest:
            student = policy.get(
                work / f"pass-{newest}", lesson.start.engine, lesson.start.style, lesson.start.lines
            )
        say(f"    {lesson.what}: pass {number} of {count}")
        began = time.monotonic()
        turn = Turn(lesson, number, student, work)
        found = one(turn)
        counts = {**counts, "seconds": round(counts.get("seconds", 0) + time.monotonic() - began, 1)}
        for name, value in found.items():
            counts[name] = round(counts.get(name, 0) + value, 1)
        wrote = [*wrote, turn.out.is_dir()]
        _write(work / STATE, lesson.key, wrote, counts)
        if newest and wrote[-1]:
            shutil.rmtree(work / f"pass-{newest}")
    newest = _newest(wrote)
    if not newest:
        raise TrainingError(f"{lesson.learner.name}: nothing to learn in {count} passes")
    _finish(lesson, work, work / f"pass-{newest}", wrote, counts)
    return counts


def _finish(lesson: Lesson, work: Path, model: Path, wrote: list[bool], counts: Counts) -> None:
    """Give the last pass's model its name; its card says where the first one started."""
    record = json.loads((model / RECORD).read_text(encoding="utf-8"))
    record["source"], record["result"]["parent"] = lesson.start.ref, lesson.start.hash
    record["card"]["Learner"] = f"{lesson.learner.name}, {len(wrote)} passes; the numbers are the last one's"
    write_text(model / RECORD, json.dumps(record, indent=2, ensure_ascii=False) + "\n")
    write_card(model)
    _write(model / STATE, lesson.key, wrote, counts)
    if lesson.out.exists():
        lesson.out.rename(work / "replaced")
    model.rename(lesson.out)
    shutil.rmtree(work)


def _newest(wrote: list[bool]) -> int:
    """Number of the last pass that wrote a model; 0 where none did."""
    return max((number for number, did in enumerate(wrote, start=1) if did), default=0)


def _write(path: Path, key: str, wrote: list[bool], counts: Counts) -> None:
    write_text(path, json.dumps({"key": key, "wrote": wrote, "counts": counts}) + "\n")


def _state(path: Path, key: str) -> tuple[list[bool], Counts] | None:
    """Which passes are done, and what they counted; None for another lesson's."""
    with suppress(OSError, ValueError):
        found = json.loads(path.read_text(encoding="utf-8"))
        if found["key"] == key:
            return found["wrote"], found["counts"]
    return None
