"""Algorithm 1 of the paper (Imitation learning from Language Feedback), read top to bottom.

`run` does the rounds of a config in a run folder. Each step is a value (`ilf.steps`) that the one runner
(`ilf.runner`) does where its key or its output is not there yet.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from ilf import policy, rounds
from ilf.config import RunConfig, dump_config
from ilf.control import control
from ilf.dryrun import say_expected
from ilf.errors import NothingLeft
from ilf.feedback.sources import Asked
from ilf.kinds import is_code
from ilf.kinds.function import check_sandbox
from ilf.learners import Teacher
from ilf.places import place_of
from ilf.policy import Model
from ilf.preparation import Tasks, check_needs, open_manifest, prepare_tasks, recorded_path
from ilf.progress import say
from ilf.rounds import Past
from ilf.runfolder import RunFolder, write_text
from ilf.runner import Runner
from ilf.steps import Evaluate, Gather, Learn, Refine, RefineByParts, Sample, Select, Teach, Verify
from ilf.steps.evaluation import refuse_leaks
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
        tasks = prepare_tasks(config)
        manifest = open_manifest(run_folder, config.identity(), "run", own=("script.jsonl",))
        manifest.tasks_hash = source_hash([*tasks.refine, *tasks.train, *tasks.test])
        manifest.seed, manifest.stopped = config.seed, None
        runs_code = any(map(is_code, tasks.everything.values()))
        before = partial(check_sandbox, config.verify) if runs_code else lambda: None
        do = Runner(run_folder, manifest, place_of(config.place), before)
        write_text(run_folder.config, dump_config(config))
        check_needs(config, tasks)
        say_expected(config, tasks, folder)
        first = theta = _model(config, config.model)
        past = Past()
        for number in range(1, config.rounds + 1):
            say(f"round {number}: πθ = {theta.ref}")
            inner, why = do.at(f"round-{number}"), None
            try:
                theta, past = one_round(inner, theta, first, past, tasks, config, run_folder, number)
            except NothingLeft as error:
                if number == 1:
                    raise
                why = f"nothing is left for round {number}: {error}"
            # 5: the next round starts from πθ*, where this one was worth it.
            if number < config.rounds and why is None:
                why = rounds.reason_to_stop(run_folder.round(number))
            if why is not None:
                do.stop(why)
                break
        if summary:
            from ilf.terminal import print_profile, print_results

            print_profile(do.manifest)
            print_results(run_folder, tasks.everything)
        if config.rounds > 1:
            rounds.say_best(run_folder)
    return run_folder


def one_round(
    do: Runner, theta: Model, first: Model, past: Past, tasks: Tasks, c: RunConfig, folder: RunFolder,
    number: int,
) -> tuple[Model, Past]:  # fmt: skip
    """One pass of Algorithm 1 with πθ = `theta`; returns πθ*, and what the next round is given.

    The numbers are the lines of Algorithm 1 (paper, section 2).
    """
    files, by_id, errors = folder.round(number), tasks.by_id, c.max_sandbox_errors
    in_refine = {task.task_id for task in tasks.refine}
    held_out = [task.task_id for task in (*tasks.test, *tasks.validation)]
    card = _card(c, number)

    # 1: sample programs x0 ~ πθ(·|t); EVAL(x0, t) tells those that fail.
    x0 = do(Sample(theta, tasks.training, c.sampling, c.seed, number))
    v0 = do(Verify(x0, by_id, c.verify, errors))

    # 2: feedback f on one wrong program a task that πθ never solved.
    writer = _model(c, c.feedback.model or c.model) if "model" in c.feedback.sources else None
    f = do(Gather(Asked(
        x0, v0, by_id, tasks.everything, held_out, c.feedback, c.verify, folder, number, c.seed,
        recorded_path(c, number), writer,
    )))  # fmt: skip
    refuse_leaks(held_out, {str(files.feedback): [item.task_id for item in f]})
    teach = past.with_feedback(item for item in f if item.task_id in in_refine)
    follow = tuple(item for item in f if item.task_id not in in_refine)
    if not follow:
        raise NothingLeft("no feedback on tasks of split train: there is nothing to refine")

    # 3: πRefine learns to follow feedback on the refine split, then refines the train split's programs:
    # x1 ~ πRefine(·|t, x0, f). The refinements with EVAL(x1, t) = 1 are kept.
    start = _model(c, c.refiner_model) if c.refiner_model else theta
    refiner = do(Teach(start, teach, by_id, c.refiner, c.seed, card))
    refine = RefineByParts if c.refiner.by_parts else Refine
    x1 = do(refine(
        refiner, follow, by_id, c.refiner.sampling, c.verify, c.refiner.use_feedback, errors, c.seed
    ))  # fmt: skip
    e = do(Select(x1, by_id, theta, c.selection, c.examples, (x0, v0), c.seed))
    refuse_leaks(held_out, {str(files.examples): [str(example.task_id) for example in e]})

    # 4: fine-tune πθ on (t → x1), giving πθ*: the minimum of KL(πt*, πθ) (equations 4 to 6).
    start = first if c.rounds_from == "first" else theta
    learned = past.with_examples(e) if c.examples.replay else tuple(e)
    teacher = Teacher(refiner.model, refiner.shots, c.refiner.use_feedback)
    theta2 = do(Learn(
        start, learned, c.finetune, c.learner, follow, c.seed, card=card,
        tasks={task.task_id: task for task in tasks.train}, teacher=teacher, verify=c.verify,
    ))  # fmt: skip
    models = {"before": theta, "after": theta2} | control(do, start, (x0, v0), learned, by_id, c)

    # Is πθ* better on tasks it has never seen? (section 3.3)
    do(Evaluate(
        models, tasks.test, c.evaluation, c.verify, x1, by_id,
        c.refiner.sampling, errors, tasks.validation, number, c.seed,
    ))  # fmt: skip
    return theta2, Past(teach, learned)


def _model(c: RunConfig, ref: str) -> Model:
    return policy.get(ref, c.engine, c.prompts.style, c.prompts.lines)


def _card(c: RunConfig, number: int) -> dict[str, object]:
    """What the model cards say of the run."""
    return {
        "Run": f"{c.name}, round {number}",
        "Tasks": c.tasks.source,
        "Feedback": c.feedback.source,
        "Prompt style": c.prompts.style,
    }
