"""A toy world for end-to-end tests: tasks, feedback on wrong programs, and a scripted model."""

from __future__ import annotations

import json
from pathlib import Path

from ilf.config import RunConfig, build_config
from ilf.dryrun import write_script
from ilf.prompts import Prompter
from ilf.records import Feedback, Task, write_jsonl

OPERATIONS = {"add": "+", "sub": "-", "mul": "*"}
SPLITS = {"refine": 3, "train": 5, "test": 4}


def tasks() -> list[Task]:
    found = []
    for split, count in SPLITS.items():
        for number in range(count):
            name = f"{split}_{number}"
            operation = list(OPERATIONS.values())[number % 3]
            prefix = f"def {name}(x: int) -> int:\n"
            value = eval(f"5 {operation} {number + 1}")
            zero = eval(f"0 {operation} {number + 1}")
            found.append(
                Task(
                    task_id=f"toy/{name}",
                    description=f"Compute x {operation} {number + 1}.",
                    entry_point=name,
                    prefix=prefix,
                    tests=(f"assert {name}(5) == {value}", f"assert {name}(0) == {zero}"),
                    reference=f"{prefix}    return x {operation} {number + 1}\n",
                    split=split,
                )
            )
    return found


def feedback(of: list[Task]) -> list[Feedback]:
    return [
        Feedback(
            task_id=task.task_id,
            code=task.prefix + "    return None\n",
            text=f"It returns nothing. Return the result for {task.entry_point} instead.",
            source="recorded",
            author="somebody",
            refinement=task.reference,
        )
        for task in of
        if task.split != "test"
    ]


def world(folder: Path, **changes: object) -> RunConfig:
    """Write the toy's files into `folder` and give the config of a run over them."""
    found = tasks()
    write_jsonl(folder / "tasks.jsonl", found)
    write_jsonl(folder / "feedback.jsonl", feedback(found))
    write_script(found, Prompter("chat"), folder / "script.jsonl")
    return config(folder, **changes)


def config(folder: Path, **changes: object) -> RunConfig:
    raw: dict[str, object] = {
        "name": "toy",
        "model": str(folder / "script.jsonl"),
        "tasks": {"source": str(folder / "tasks.jsonl")},
        "engine": {"name": "scripted"},
        "prompts": {"style": "chat"},
        "sampling": {"n": 2},
        "feedback": {"path": str(folder / "feedback.jsonl")},
        "refiner": {"sampling": {"n": 2}},
        "evaluation": {"k": [1, 2], "sampling": {"n": 2}},
    }
    for key, value in changes.items():
        section, _, name = key.partition("__")
        if name:
            raw[section] = {**raw.get(section, {}), name: value}  # type: ignore[dict-item]
        else:
            raw[section] = value
    return build_config(raw, "toy.toml")


def rows(path: Path) -> list[dict]:
    """A JSONL file without measured seconds."""
    found = [json.loads(line) for line in path.read_text().splitlines()]
    for row in found:
        row.pop("seconds", None)
        if isinstance(row.get("verdict"), dict):
            row["verdict"].pop("seconds", None)
    return found


def outputs(folder: Path) -> dict[str, object]:
    """What a run made, by path, without measured seconds and without the manifest."""
    found: dict[str, object] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_dir() or name in ("manifest.json", ".lock", "report.html"):
            continue
        found[name] = rows(path) if path.suffix == ".jsonl" else path.read_bytes()
    return found
