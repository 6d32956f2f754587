"""The steps of Algorithm 1, one at a time: records in, a file out.

Each long step works in batches, appends what is finished, and goes on after a kill (`runfolder.Growing`).
`algorithm.py` calls them in order; the command line offers each alone; the study calls them for its arms.
"""

from __future__ import annotations

import gc
import hashlib
import importlib.util
import random
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, repeat
from pathlib import Path
from typing import TypeVar

from ilf import metrics, models
from ilf.config import EngineConfig, SamplingConfig, SelectionConfig, VerifyConfig
from ilf.errors import DataError, LeakError, ModelError, PromptTooLong, SandboxFailure, UserError, missing
from ilf.progress import Progress, progress, say
from ilf.prompts import Prompt, Prompter, Style
from ilf.records import Example, Feedback, Program, Refinement, Rows, Task, Verdict
from ilf.runfolder import Growing, available_memory, digest_of, key_of, require_disk
from ilf.sampling import ENGINES, Completion, Sampler, SamplingParams, open_sampler
from ilf.sandbox import RECENT, Verifier, self_check
from ilf.selection import select
from ilf.tasks import source_hash
from ilf.training import FinetuneConfig

SEQUENCES = 512
"""Samples a batch, where an engine does not name more (`at_once`): the unit that a kill can cost, and large
enough to keep an engine's batch full."""
ROWS = 64
"""Verdicts between two writes."""
NO_WEIGHTS = frozenset({"openai", "scripted"})
"""Engines that hold no weights in this process."""

T = TypeVar("T")
Shot = tuple[Task, str, str | None, str]
"""A worked refinement for a few-shot prompt: task, wrong program, feedback, refinement."""


@dataclass(frozen=True)
class Writer:
    """A model ready to be sampled, with the prompts it understands."""

    sampler: Sampler
    prompter: Prompter
    style: Style

    @property
    def model(self) -> str:
        """Hash of its weights."""
        return self.sampler.model

    @property
    def at_once(self) -> int:
        """Samples to ask it for in one call."""
        return max(SEQUENCES, getattr(self.sampler, "at_once", 0))


@dataclass(frozen=True)
class Model:
    """A model that is opened when a step needs it."""

    ref: str
    """MODEL string or folder."""
    hash: str
    """Of its weights."""
    open: Callable[[], Writer]


class Models:
    """The models of a run, one of them open at a time: the old one's memory goes before the new one's comes.

    Args:
        engine: what computes the samples.
        style: prompt style, `completion` or `chat`.
    """

    def __init__(self, engine: EngineConfig, style: Style) -> None:
        self.engine, self.style = engine, style
        self._opened: tuple[str, str, Writer] | None = None

    def get(self, ref: str | Path) -> Model:
        """A model by MODEL string or folder.

        Raises:
            ModelError: there is no such model.
        """
        name = str(ref)
        found = model_hash(name, self.engine)

        def open_() -> Writer:
            if self._opened is None or self._opened[:2] != (name, found):
                self.close()
                _require_memory(name, self.engine)
                sampler = open_sampler(self.engine.name, name, **self.engine.options)
                prompter = make_prompter(name, self.engine.name, self.style)
                self._opened = (name, found, Writer(sampler, prompter, self.style))
            return self._opened[2]

        return Model(name, found, open_)

    def close(self) -> None:
        """Give the open model's memory back."""
        if self._opened is None:
            return
        self._opened = None
        # Models hold cycles; but a walk over the whole heap takes half a second beside torch.
        if self.engine.name not in NO_WEIGHTS:
            gc.collect()


def _require_memory(model: str, engine: EngineConfig) -> None:
    """Refuse to open a model whose weights alone are larger than the memory that is free."""
    free = available_memory()
    if engine.name in NO_WEIGHTS or free is None:
        return
    weights = sum(file.stat().st_size for file in models.resolve(model).path.glob("*.safetensors"))
    if weights > free:
        raise ModelError(
            f"{model}: its weights take {weights / 1e9:.1f} GB of memory, {free / 1e9:.1f} GB are free: "
            "close other programs or take a smaller model"
        )


def make_prompter(model: str, engine: str, style: Style) -> Prompter:
    """The prompts that a model understands (its chat template comes with its tokenizer)."""
    if engine == "scripted" or (engine == "openai" and not Path(model).exists()):
        # No tokenizer at hand: a chat server renders `user` and `prefill` itself, a script reads any text.
        return Prompter(style, template=lambda user: user + "\n\n" if style == "chat" else user)
    folder = models.resolve(model).path
    if style == "chat":
        return Prompter(style, template=models.chat_template(folder))
    return Prompter(style, bos=models.bos_text(folder))


def model_hash(model: str | Path, engine: EngineConfig) -> str:
    """Hash of a model's weights, without opening it where the engine allows that.

    Raises:
        ConfigError: there is no such engine.
        ModelError: there is no such model.
    """
    if engine.name in NO_WEIGHTS or engine.name not in ENGINES:
        return open_sampler(engine.name, str(model), **engine.options).model
    return models.resolve(str(model)).hash


def seed_of(*parts: object) -> int:
    """A seed that depends on all of `parts` (the run's seed, round, step, batch)."""
    text = "/".join(map(str, parts))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") // 2


def batched(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Consecutive lists of at most `size` items."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


def sample_counts(rows: Iterable[Program | Refinement]) -> dict[str, float]:
    """What a sampling made, for the manifest."""
    counts: dict[str, float] = {"samples": 0, "tokens": 0}
    for row in rows:
        counts["samples"] += 1
        counts["tokens"] += row.tokens or 0
    return counts


# --- 1: programs ------------------------------------------------------------------------------------------


def sample_programs(
    writer: Callable[[], Writer],
    model: str,
    tasks: Sequence[Task],
    settings: SamplingConfig,
    out: Path,
    *,
    seed: int,
    style: str,
    round: int = 1,
    what: str = "programs",
) -> Rows[Program]:
    """Sample n programs a task: x0 ~ πθ(·|t) (Algorithm 1, line 1).

    Args:
        writer: opens the model.
        model: hash of its weights.
        tasks: in the order of the file's rows, n rows each.
        settings: how to sample.
        out: the file.
        seed: the run's.
        style: prompt style.
        round: noted in each row.
        what: name of this sampling, part of the seed.

    Raises:
        ModelError: a prompt does not fit; it names the task.
    """
    key = key_of(
        step="sample",
        what=what,
        model=model,
        tasks=source_hash(tasks),
        settings=settings.model_dump(),
        seed=seed,
        style=style,
        round=round,
    )
    n = settings.n
    opened = writer()
    if opened.model != model:
        raise ModelError(f"{out}: expected samples of model {model[:12]}, got {opened.model[:12]}")
    batches = list(batched(tasks, max(1, opened.at_once // n)))
    growing = Growing(out, key, Program, (len(batch) * n for batch in batches))
    if growing.done < len(batches):
        prompts = [[opened.prompter.program(task) for task in batch] for batch in batches]
        _require_room(opened, prompts, settings, batches, out, growing.done)
        with progress(f"sampling {what}", len(tasks) * n, growing.rows) as bar:
            for number in range(growing.done, len(batches)):
                batch = batches[number]
                batch_seed = seed_of(seed, round, what, number)
                rows: dict[tuple[int, int], Program] = {}
                for sample in _samples(opened, prompts[number], settings, batch_seed, batch, bar):
                    task = batch[sample.prompt]
                    rows[sample.prompt, sample.index] = Program(
                        task_id=task.task_id,
                        code=opened.prompter.extract_program(task, sample.text),
                        completion=sample.text,
                        model=model,
                        round=round,
                        index=sample.index,
                        style=style,
                        seed=batch_seed,
                        logprob=sample.logprob,
                        tokens=sample.tokens,
                        finish=sample.finish,
                    )
                growing.append(rows[key] for key in sorted(rows))
    growing.finish()
    return Rows(out, Program)


def _params(writer: Writer, settings: SamplingConfig, seed: int) -> SamplingParams:
    return SamplingParams(
        n=settings.n,
        temperature=settings.temperature,
        top_p=settings.top_p,
        max_tokens=settings.max_tokens,
        stop=writer.prompter.stop,
        seed=seed,
    )


def _require_room(
    writer: Writer,
    prompts: Sequence[Sequence[Prompt]],
    settings: SamplingConfig,
    tasks: Sequence[Sequence[Task]],
    out: Path,
    done: int,
) -> None:
    """Before the first sample: does every prompt fit into the context, and what they give onto the disk?

    Args:
        writer: what will sample.
        prompts: by batch.
        settings: how to sample.
        tasks: of the prompts, by batch.
        out: the file to be written.
        done: batches that need no work.
    """
    left = [prompt for batch in prompts[done:] for prompt in batch]
    of_left = [task for batch in tasks[done:] for task in batch]
    try:
        writer.sampler.check(left, _params(writer, settings, 0))
    except PromptTooLong as error:
        raise ModelError(f"task {of_left[error.prompt].task_id}: {error}") from None
    # A token is about four characters; a row has the completion, the program that contains it, and numbers.
    require_disk(
        out.parent, len(left) * settings.n * (8 * settings.max_tokens + 1000), f"sampling {out.name}"
    )


def _samples(
    writer: Writer,
    prompts: Sequence[Prompt],
    settings: SamplingConfig,
    seed: int,
    tasks: Sequence[Task],
    bar: Progress,
) -> Iterator[Completion]:
    params = _params(writer, settings, seed)
    seen = 0
    try:
        for completion in writer.sampler.sample(prompts, params, lambda tokens: bar.advance(tokens=tokens)):
            seen += 1
            bar.advance(1)
            yield completion
    except PromptTooLong as error:
        raise ModelError(f"task {tasks[error.prompt].task_id}: {error}") from None
    if seen != len(prompts) * settings.n:
        raise ModelError(f"the engine gave {seen} samples where {len(prompts) * settings.n} were asked for")


# --- 2: verdicts ------------------------------------------------------------------------------------------


def verify_programs(
    tasks: Mapping[str, Task],
    programs: Collection[Program],
    out: Path,
    settings: VerifyConfig,
    *,
    max_sandbox_errors: float = 0.05,
) -> Rows[Verdict]:
    """EVAL(x, t) of each program, one row each, in order (Algorithm 1, line 1).

    Args:
        tasks: by id.
        programs: what to verify.
        out: the file.
        settings: the sandbox's.
        max_sandbox_errors: share of programs without a verdict above which this stops.

    Raises:
        DataError: a program names an unknown task.
        SandboxFailure: too many programs got no verdict; what was verified is kept.
    """
    count = len(programs)
    of_tasks: set[str] = set()

    def ids() -> Iterator[str]:
        for program in programs:
            if program.task_id not in tasks:
                raise DataError(
                    f"a program is for task {program.task_id!r}, which is not among the {len(tasks)} tasks"
                )
            of_tasks.add(program.task_id)
            yield program.program_id

    key = key_of(
        step="verify",
        programs=digest_of(ids()),
        tasks=source_hash([tasks[task_id] for task_id in sorted(of_tasks)]),
        limits=settings.limits.model_dump(),
        unsafe=settings.unsafe,
    )
    growing = Growing(out, key, Verdict, repeat(1, count))
    if growing.done < count:
        with progress("verifying", count, growing.rows) as bar:
            verdicts = verify(tasks, islice(programs, growing.rows, None), settings, bar)
            for batch in batched(verdicts, ROWS):
                growing.append(batch)
    _refuse_failures(Rows(growing.part, Verdict), max_sandbox_errors)
    growing.finish()
    return Rows(out, Verdict)


def verify(
    tasks: Mapping[str, Task],
    programs: Iterable[Program],
    settings: VerifyConfig,
    bar: Progress | None = None,
) -> Iterator[Verdict]:
    """Verdicts of programs in order, after the sandbox has shown that it can tell right from wrong."""
    self_check(unsafe=settings.unsafe, within=RECENT)
    with Verifier(
        tasks, limits=settings.limits, workers=settings.workers, unsafe=settings.unsafe
    ) as verifier:
        for verdict in verifier.verify(programs):
            if bar is not None:
                bar.advance(1)
            yield verdict


def _refuse_failures(verdicts: Iterable[Verdict], share: float) -> None:
    count = failures = 0
    first = ""
    for verdict in verdicts:
        count += 1
        if verdict.status == "sandbox_error":
            failures += 1
            first = first or verdict.detail or verdict.error or ""
    if failures > share * count:
        raise SandboxFailure(
            f"{failures} of {count} programs got no verdict (more than {share:.0%}); "
            f"the first: {first}. See `ilf doctor`"
        )


# --- 3: refinements ---------------------------------------------------------------------------------------


def sample_refinements(
    writer: Callable[[], Writer],
    model: str,
    tasks: Mapping[str, Task],
    feedback: Sequence[Feedback],
    settings: SamplingConfig,
    verify_settings: VerifyConfig,
    out: Path,
    *,
    seed: int,
    style: str,
    shots: Sequence[Shot] = (),
    use_feedback: bool = True,
    max_sandbox_errors: float = 0.05,
    what: str = "refinements",
) -> Rows[Refinement]:
    """Sample n refinements an item and verify them: x1 ~ πRefine(·|t, x0, f) (Algorithm 1, line 3).

    Items on one task follow one another in the file, so that a reader needs one task's at a time.

    Args:
        writer: opens πRefine.
        model: hash of its weights.
        tasks: by id.
        feedback: what to follow, n rows each.
        settings: how to sample.
        verify_settings: the sandbox's.
        out: the file.
        seed: the run's.
        style: prompt style.
        shots: worked examples that stand in the prompt (few-shot πRefine).
        use_feedback: False leaves the feedback out of the prompt.
        max_sandbox_errors: share of refinements without a verdict above which this stops.
        what: name of this sampling, part of the seed.
    """
    unknown = next((f.task_id for f in feedback if f.task_id not in tasks), None)
    if unknown is not None:
        raise DataError(f"feedback is on task {unknown!r}, which is not among the {len(tasks)} tasks")
    places = {task_id: place for place, task_id in enumerate(dict.fromkeys(f.task_id for f in feedback))}
    feedback = sorted(feedback, key=lambda item: places[item.task_id])
    key = key_of(
        step="refine",
        what=what,
        model=model,
        tasks=source_hash([tasks[task_id] for task_id in sorted({f.task_id for f in feedback})]),
        feedback=[item.feedback_id for item in feedback],
        settings=settings.model_dump(),
        limits=verify_settings.limits.model_dump(),
        seed=seed,
        style=style,
        shots=[[task.to_json(), *rest] for task, *rest in shots],
        use_feedback=use_feedback,
    )
    n = settings.n
    self_check(unsafe=verify_settings.unsafe, within=RECENT)
    opened = writer()
    batches = list(batched(feedback, max(1, opened.at_once // n)))
    growing = Growing(out, key, Refinement, (len(batch) * n for batch in batches))
    if growing.done < len(batches):
        prompts = [
            [
                opened.prompter.refinement(
                    tasks[item.task_id], item.code, item.text if use_feedback else None, shots=shots
                )
                for item in batch
            ]
            for batch in batches
        ]
        of_batches = [[tasks[item.task_id] for item in batch] for batch in batches]
        _require_room(opened, prompts, settings, of_batches, out, growing.done)
        with progress(f"sampling {what}", len(feedback) * n, growing.rows) as bar:
            for number in range(growing.done, len(batches)):
                batch = batches[number]
                rows = _refine_batch(
                    opened, prompts[number], of_batches[number], batch, settings,
                    seed_of(seed, what, number), bar,
                )  # fmt: skip
                growing.append(_verified(tasks, batch, rows, n, verify_settings))
    refinements = Rows(growing.part, Refinement)
    _refuse_failures((r.verdict for r in refinements if r.verdict is not None), max_sandbox_errors)
    growing.finish()
    return Rows(out, Refinement)


def _refine_batch(
    writer: Writer,
    prompts: Sequence[Prompt],
    of_batch: Sequence[Task],
    batch: Sequence[Feedback],
    settings: SamplingConfig,
    seed: int,
    bar: Progress,
) -> list[Refinement]:
    rows: dict[tuple[int, int], Refinement] = {}
    for sample in _samples(writer, prompts, settings, seed, of_batch, bar):
        item = batch[sample.prompt]
        code = writer.prompter.extract_refinement(of_batch[sample.prompt], sample.text)
        rows[sample.prompt, sample.index] = Refinement(
            feedback_id=item.feedback_id,
            task_id=item.task_id,
            code=code,
            completion=sample.text,
            model=writer.model,
            index=sample.index,
            seed=seed,
            logprob=sample.logprob,
            tokens=sample.tokens,
            finish=sample.finish,
            edit_distance=metrics.edit_distance(item.code, code),
        )
    return [rows[key] for key in sorted(rows)]


def _verified(
    tasks: Mapping[str, Task],
    batch: Sequence[Feedback],
    rows: Sequence[Refinement],
    n: int,
    settings: VerifyConfig,
) -> list[Refinement]:
    programs = [Program(task_id=row.task_id, code=row.code) for row in rows]
    with Verifier(
        tasks, limits=settings.limits, workers=settings.workers, unsafe=settings.unsafe
    ) as verifier:
        return [
            row.model_copy(update={"verdict": verdict})
            for row, verdict in zip(rows, verifier.verify(programs), strict=True)
        ]


# --- 4: examples ------------------------------------------------------------------------------------------


def refiner_examples(
    prompter: Prompter, tasks: Mapping[str, Task], feedback: Iterable[Feedback], *, use_feedback: bool = True
) -> tuple[list[Example], list[str]]:
    """What πRefine is fine-tuned on: (t, x0, f) → the refinement written by the same person.

    Returns:
        The examples, and the ids of tasks whose refinement the prompt style cannot express.
    """
    examples, left_out = [], []
    for item in feedback:
        if item.refinement is None:
            continue
        task = tasks[item.task_id]
        try:
            completion = prompter.refinement_target(task, item.refinement)
        except UserError:
            left_out.append(item.task_id)
            continue
        prompt = prompter.refinement(task, item.code, item.text if use_feedback else None)
        examples.append(
            Example(
                prompt=prompt.text,
                completion=completion,
                task_id=item.task_id,
                feedback_id=item.feedback_id,
                origin="human",
            )
        )
    return examples, left_out


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
    """Choose among the refinements that pass (Algorithm 1, line 4), one `Example` each.

    With `settings.weights` each counts by equation 6: πt*(x1) ∝ exp(β·R) over the proposal q(x1), which
    πRefine's own log-probability stands for; self-normalised within a task and clipped, so that they matter
    where more than one refinement a task is kept.

    Returns:
        The examples, and the ids of tasks whose program the prompt style cannot express.
    """
    kept = select(refinements, tasks, settings.strategy, seed=seed, gate=settings.gate, scores=scores)
    weights = [1.0] * len(kept)
    if settings.weights and kept:
        unknown = next((r.task_id for r in kept if r.logprob is None), None)
        if unknown is not None:
            raise UserError(f"selection.weights: the engine gave no log-probabilities (task {unknown})")
        found = metrics.importance_weights(
            [float(r.verdict is not None and r.verdict.passed) for r in kept],
            [r.logprob or 0.0 for r in kept],
            beta=settings.beta,
            clip=settings.clip,
            groups=[r.task_id for r in kept],
        )
        weights = list(found)
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


def require_training(settings: Iterable[FinetuneConfig], engine: EngineConfig) -> None:
    """Refuse what fine-tuning with `settings` would stumble over, before hours of sampling.

    Raises:
        MissingDependency: a library, or an experiment tracker, is not installed.
        TrainingError: an unknown tracker.
    """
    if engine.name == "scripted":
        return
    for asked in settings:
        wanted = ["torch", "transformers", "accelerate", *(["peft"] if asked.method == "lora" else [])]
        lacking = next((name for name in wanted if importlib.util.find_spec(name) is None), None)
        if lacking is not None:
            raise missing(lacking, "models")
        if asked.report_to:
            from ilf.training.trainer import check_trackers

            check_trackers(asked.report_to)


def finetune_model(
    model: str,
    examples: Sequence[Example],
    out: Path,
    settings: FinetuneConfig,
    *,
    seed: int,
    engine: EngineConfig,
    what: str,
    card: Mapping[str, object] | None = None,
) -> dict[str, float]:
    """Fine-tune a model on examples (Algorithm 1, line 4); a folder that holds something else is replaced.

    Args:
        model: where it starts from.
        examples: what to learn.
        out: the model folder.
        settings: how; its seed is replaced by `seed`.
        seed: the run's.
        engine: of the run; a scripted model learns by heart.
        what: for the person watching.
        card: said in the model card besides, by heading.

    Returns:
        Counts for the manifest.
    """
    if engine.name == "scripted":
        from ilf.sampling.scripted import learn

        learn(model, examples, out)
        return {"examples": len(examples)}
    from ilf.training import finetune

    settings = settings.model_copy(update={"seed": seed})
    say(
        f"    {what}: {len(examples)} examples, {settings.epochs} epochs, "
        f"learning rate {settings.learning_rate}"
    )
    steps = settings.epochs * -(-len(examples) // settings.batch_size)
    with progress(f"fine-tuning {what}", steps) as bar:
        done = 0

        def watch(row: Mapping[str, float]) -> None:
            nonlocal done
            bar.advance(int(row["step"]) - done)
            done = int(row["step"])

        result = finetune(model, examples, out, settings, card=card, progress=watch, say=say, replace=True)
    say(f"    loss {result.first_loss:.3f} → {result.final_loss:.3f} nats a token")
    return {
        "examples": result.examples,
        "steps": result.steps,
        "tokens": result.tokens,
        "peak memory, MB": round(result.peak_memory / 1e6),
    }


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


# --- guards -----------------------------------------------------------------------------------------------


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


def shuffled(feedback: Sequence[Feedback], seed: int) -> list[Feedback]:
    """Each item with the text of another (the paper's control for unrelated feedback, Table 2).

    Raises:
        DataError: fewer than two items.
    """
    if len(feedback) < 2:
        raise DataError(f"shuffling feedback needs at least 2 items, there are {len(feedback)}")
    order = list(range(len(feedback)))
    random.Random(seed).shuffle(order)
    # A cyclic shift of a random order: everyone gets somebody else's.
    donor = {order[i]: order[i - 1] for i in range(len(order))}
    return [item.model_copy(update={"text": feedback[donor[i]].text}) for i, item in enumerate(feedback)]
