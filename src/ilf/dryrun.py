"""`ilf run --dry-run`: the whole loop over a few of the run's tasks with a scripted model, without torch.

It shows that tasks, feedback, sandbox and settings fit together before hours are spent. The script knows a
wrong program for each task and, for a refinement, the reference; what it "learns" it repeats word for word.
Its numbers mean nothing.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from ilf import costs, models
from ilf.config import RunConfig, SamplingConfig, build_config
from ilf.costs import Cost
from ilf.errors import UserError
from ilf.feedback import recorded
from ilf.feedback.model import MAX_TOKENS
from ilf.policy import make_prompter
from ilf.preparation import Tasks, load_source, load_splits, prepare_tasks, recorded_path
from ilf.progress import duration, say
from ilf.prompts import Prompter
from ilf.records import Task
from ilf.rewards.function import REFERENCE
from ilf.runfolder import RunFolder
from ilf.steps.verdicts import SHARED
from ilf.terminal import print_table

TASKS = 4
"""Tasks a split."""
_MARK = "\x00"


def dry(config: RunConfig, out: Path | None) -> tuple[RunConfig, Path]:
    """The settings and the folder of a dry run of `config`.

    Args:
        config: the run to rehearse.
        out: its run folder; runs/NAME-dry by default.
    """
    folder = out or Path("runs") / f"{config.name}-dry"
    folder.mkdir(parents=True, exist_ok=True)
    raw = config.model_dump(mode="json", exclude_none=True)
    raw["name"] = f"{config.name}-dry"
    raw["tasks"]["limit"] = TASKS
    raw["model"] = str(folder / "script.jsonl")
    raw.pop("refiner_model", None)
    raw["engine"] = {"name": "scripted"}
    raw["sampling"]["n"] = 2
    raw["refiner"]["sampling"]["n"] = 2
    raw["refiner"]["by_parts"] = False  # the script knows whole texts
    raw["evaluation"]["sampling"]["n"] = 2
    raw["evaluation"]["k"] = [1, 2]
    raw["selection"]["weights"] = False
    if raw["verify"]["reward"]["terms"]:
        # Judges are models, and the script's texts are no texts: its references are right, all else is wrong.
        raw["verify"]["reward"] = {"terms": [{"by": "function", "function": REFERENCE}]}
    if raw["selection"]["strategy"] == "likeliest":
        raw["selection"]["strategy"] = "random"
    if raw["feedback"]["source"] != "recorded":
        # Nobody is asked, and no model is at hand: what running the programs says stands for the feedback.
        raw["feedback"]["source"] = "execution"
        raw["refiner"].update(method="few-shot", shots=0)
    settings = build_config(raw, "dry run")
    if raw["feedback"]["source"] == "recorded":
        settings = _with_annotated_tasks(settings)
    splits = load_splits(settings)
    tasks = [task for name in sorted(splits) for task in splits[name]]
    write_script(tasks, make_prompter("", "scripted", settings.prompts.style), folder / "script.jsonl")
    say(f"dry run: {len(tasks)} tasks, a scripted model; the numbers mean nothing")
    return settings, folder


def expected(config: RunConfig, tasks: Tasks) -> dict[str, Cost]:
    """What the steps of one round take at most, by their names in the run folder.

    How much feedback there will be, and how many refinements pass, nobody knows: feedback on every task that
    can have some, and a right refinement for each, is the most.
    """
    theta = models.at_hand(config.model)
    start = theta if config.refiner_model is None else models.at_hand(config.refiner_model)
    refiner, asked, held_out = config.refiner, config.feedback, config.evaluation
    teach, follow = ({task.task_id for task in of_split} for of_split in (tasks.refine, tasks.train))
    if asked.source == "recorded" and (path := recorded_path(config, 1)) is not None:
        annotated = {item.task_id for item in recorded.read(path, tasks.everything)}
        teach, follow = teach & annotated, follow & annotated
    sampled = costs.sampling(len(tasks.training), config.sampling, theta)
    found = {"1-programs": sampled, "2-verdicts": costs.verifying(sampled.samples)}
    if asked.source == "model":
        writer = theta if asked.model is None else models.at_hand(asked.model)
        once = SamplingConfig(n=1, max_tokens=MAX_TOKENS)
        found["3-feedback"] = costs.sampling(len(teach) + len(follow), once, writer)
    if refiner.method == "finetune":
        found["4-refiner"] = costs.fine_tuning(len(teach), refiner.finetune, start)
    found["5-refinements"] = costs.sampling(len(follow), refiner.sampling, start)
    each = 1 if config.selection.strategy != "all" else refiner.sampling.n
    found["7-model"] = costs.fine_tuning(each * len(follow), config.finetune, theta)
    found["8-evaluation"] = costs.sampling(2 * len(tasks.test), held_out.sampling, theta)
    return found


def known_rates(folder: Path, model: str) -> tuple[dict[str, float], list[Path]]:
    """What steps did a second in earlier runs of a model: in `folder`, else in the folders beside it.

    Returns:
        Step → samples a second (of fine-tuning: tokens); and the folders that say so.
    """
    beside = sorted(folder.parent.iterdir()) if folder.parent.is_dir() else []
    rates: dict[str, float] = {}
    sources = []
    for path in dict.fromkeys([folder, *beside]):
        try:
            manifest = RunFolder(path).read_manifest()
        except (UserError, OSError):
            continue
        if manifest is None or manifest.identity.get("model") != model:
            continue
        for label, state in manifest.steps.items():
            counts = {name: count for name, count in state.counts.items() if name != SHARED}
            verdicts = sum(counts.values()) if label.endswith("2-verdicts") else 0
            done = verdicts or counts.get("samples") or counts.get("tokens") or 0
            name = label.rpartition("/")[2]
            if done and state.seconds and name not in rates:
                rates[name] = done / state.seconds
                sources += [path] if path not in sources else []
    return rates, sources


def say_expected(config: RunConfig, tasks: Tasks, folder: Path) -> None:
    """Say in two lines what a run takes at most, and how long where earlier runs tell how fast it goes."""
    steps = expected(config, tasks)
    total = sum(steps.values(), Cost())
    rounds = "" if config.rounds == 1 else f" each of {config.rounds} rounds"
    say(f"at most{rounds}: {total.words()}")
    rates, sources = known_rates(folder, config.model)
    if sources:
        seconds = sum((c.samples or c.tokens) / rates[name] for name, c in steps.items() if name in rates)
        unknown = [name for name in steps if name not in rates]
        without = f", without {', '.join(unknown)}" if unknown else ""
        say(f"about {duration(seconds)}{rounds} at the rates of {', '.join(map(str, sources))}{without}")
    else:
        say("how long: each step says it after its first seconds, at the rate measured in them")


def print_expected(config: RunConfig, folder: Path) -> dict[str, dict[str, float | None]]:
    """Say what a run would take at most, and where a rate is known how long.

    Args:
        config: of the run.
        folder: its run folder, which need not be there.

    Returns:
        Step → samples, tokens, memory and disk (bytes), and seconds (None where no rate is known).
    """
    rates, sources = known_rates(folder, config.model)
    rows, total = [], 0.0
    found: dict[str, dict[str, float | None]] = {}
    for name, cost in expected(config, prepare_tasks(config)).items():
        seconds = (cost.samples or cost.tokens) / rates[name] if name in rates else None
        found[name] = {**asdict(cost), "seconds": seconds}
        total += seconds or 0.0
        rows.append(
            [
                name,
                f"{cost.samples:,}" if cost.samples else "–",
                f"{cost.tokens:,}" if cost.tokens else "–",
                costs.size(cost.memory) if cost.memory else "–",
                costs.size(cost.disk) if cost.disk else "–",
                "–" if seconds is None else duration(seconds),
            ]
        )
    what = "the run" if config.rounds == 1 else f"each of {config.rounds} rounds"
    columns = ["step", "samples", "tokens", "memory", "disk", "time"]
    print_table(f"What {what} takes at most", columns, rows)
    if sources:
        say(f"times, {duration(total)} in all, at the rates of {', '.join(map(str, sources))}")
    else:
        say(f"no times: no run of {config.model} beside {folder} says how fast it is")
    return found


def _with_annotated_tasks(config: RunConfig) -> RunConfig:
    """`config` with its training splits cut to tasks that have recorded feedback."""
    path = recorded_path(config, 1)
    assert path is not None
    source = load_source(config)
    whole = config.model_copy(update={"tasks": config.tasks.model_copy(update={"limit": None})})
    splits = load_splits(whole, source)
    annotated = {item.task_id for item in recorded.read(path, {task.task_id: task for task in source})}
    specs = {}
    for name, of_split in splits.items():
        chosen = [t.task_id for t in of_split if name == config.evaluation.split or t.task_id in annotated]
        specs[name] = ",".join(chosen[:TASKS])
    return config.model_copy(update={"tasks": config.tasks.model_copy(update={"splits": specs})})


def write_script(tasks: list[Task], prompter: Prompter, path: Path) -> None:
    """The table that a scripted model answers from: references for refinements, wrong programs else.

    Raises:
        UserError: no task has a reference program.
    """
    refined, attempted = [], []
    for task in tasks:
        attempted.append(
            {"contains": prompter.program(task).text, "completions": ["\n    return None\n", "\n    pass\n"]}
        )
        if task.reference is None:
            continue
        try:
            target = prompter.refinement_target(task, task.reference)
        except UserError:
            continue
        start = prompter.refinement(task, _MARK, _MARK).text.partition(_MARK)[0]
        refined.append({"contains": start, "completions": [target]})
    if not refined:
        raise UserError("a dry run needs tasks with reference programs")
    # Refinements first: their prompts contain the program's.
    path.write_text("".join(json.dumps(row) + "\n" for row in [*refined, *attempted]), encoding="utf-8")
