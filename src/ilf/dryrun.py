"""`ilf run --dry-run`: the whole loop over a few of the run's tasks with a scripted model, without torch.

It shows that tasks, feedback, sandbox and settings fit together before hours are spent. The script knows a
wrong program for each task and, for a refinement, the reference; what it "learns" it repeats word for word.
Its numbers mean nothing.
"""

from __future__ import annotations

import json
from pathlib import Path

from ilf.config import RunConfig, build_config
from ilf.errors import UserError
from ilf.policy import make_prompter
from ilf.preparation import load_source, load_splits, recorded_path
from ilf.progress import say
from ilf.prompts import Prompter
from ilf.records import Task

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
    raw["evaluation"]["sampling"]["n"] = 2
    raw["evaluation"]["k"] = [1, 2]
    raw["selection"]["weights"] = False
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


def _with_annotated_tasks(config: RunConfig) -> RunConfig:
    """`config` with its training splits cut to tasks that have recorded feedback."""
    from ilf.feedback import recorded

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
