"""The folder that is published: model, adapter, a data set of examples with their lineage, predictions.

OUT/
  model/            7-model, with its card
  adapter/          LoRA's factors, unmerged (only with finetune.keep_adapter)
  gguf/             the model as one GGUF file (only where asked)
  dataset/          README.md, data/examples.jsonl, predictions/ARM-evalplus.jsonl and ARM-lm-eval.jsonl
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ilf import models
from ilf.config import load_config
from ilf.errors import DataError
from ilf.publish import predictions
from ilf.publish.gguf import convert
from ilf.records import Example, Feedback, Program, Refinement, Rows, read_jsonl
from ilf.runfolder import RoundFolder, RunFolder

ADAPTER = "adapter"


@dataclass(frozen=True)
class Published:
    """What lies in the folder."""

    folder: Path
    model: Path | None
    """None where the run has no model with weights."""
    adapter: Path | None
    base: str | None
    """What the adapter goes on top of: a hub id where the run's model is one, else a folder here."""
    gguf: Path | None
    dataset: Path
    examples: int


def round_of(run: Path, number: int | None) -> tuple[int, RoundFolder]:
    """A run's round; its last one that has examples where no number is given.

    Raises:
        DataError: there is none.
    """
    if not RunFolder(run).manifest.is_file():
        raise DataError(f"{run}: not a run folder (it has no manifest.json)")
    count = len(RunFolder(run).rounds())
    for wanted in [number] if number is not None else range(count, 0, -1):
        files = RunFolder(run).round(wanted)
        if files.examples.is_file():
            return wanted, files
    which = f"round {number} of it" if number is not None else "no round of it"
    raise DataError(f"{run}: {which} has examples (6-examples.jsonl): let the run go on first")


def build(
    run: Path, out: Path, number: int | None = None, *, names: bool = False, gguf: str | None = None
) -> Published:
    """Write what a run made into `out`.

    Args:
        run: a run folder.
        out: a folder that does not exist, or is empty.
        number: of the round; the last by default.
        names: whether authors of feedback are named; else they are numbered.
        gguf: write the model as GGUF of this type of weights, too (`gguf.TYPES`).

    Raises:
        DataError: the run has nothing to publish, or `out` holds something.
        UserError: it cannot be written as GGUF here.
    """
    number, files = round_of(run, number)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DataError(f"{out}: not an empty folder: choose another one")
    config = load_config(RunFolder(run).config)
    part = out.with_name(out.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    (part / "dataset" / "data").mkdir(parents=True)
    rows = list(lineage(files, names=names))
    _write(part / "dataset" / "data" / "examples.jsonl", rows)
    arms = []
    for arm in ("before", "after"):
        path = files.evaluation_programs(arm)
        if path.is_file():
            arms.append(arm)
            (part / "dataset" / "predictions").mkdir(exist_ok=True)
            for name, form in (("evalplus", predictions.evalplus), ("lm-eval", predictions.lm_eval)):
                where = part / "dataset" / "predictions" / f"{arm}-{name}.jsonl"
                _write(where, form(Rows(path, Program)))
    about = {
        "run": config.name,
        "round": number,
        "model": _public(config.model),
        "tasks": _public(config.tasks.source),
        "feedback": config.feedback.source,
    }
    (part / "dataset" / "README.md").write_text(_card(about, len(rows), arms), encoding="utf-8")
    whole = (files.model / "config.json").is_file()
    if whole:
        shutil.copytree(files.model, part / "model", ignore=shutil.ignore_patterns(ADAPTER, ".*", "*.part"))
    adapter = (files.model / ADAPTER).is_dir()
    base = None
    if adapter:
        shutil.copytree(files.model / ADAPTER, part / ADAPTER)
        base = _based(part / ADAPTER, config.model)
    file = None
    if gguf is not None:
        if not whole:
            raise DataError(f"{run}: there is no model with weights to write as GGUF")
        file = convert(part / "model", part / "gguf", gguf)
    if out.exists():
        out.rmdir()
    part.rename(out)
    return Published(
        folder=out,
        model=out / "model" if whole else None,
        adapter=out / ADAPTER if adapter else None,
        base=base,
        gguf=None if file is None else out / "gguf" / file.name,
        dataset=out / "dataset",
        examples=len(rows),
    )


def _based(adapter: Path, model: str) -> str:
    """What an adapter was trained on; where that is the run's model from the hub, it says so by its id.

    PEFT writes the folder of this machine.
    """
    path = adapter / "adapter_config.json"
    settings = json.loads(path.read_text(encoding="utf-8"))
    base = str(settings.get("base_model_name_or_path"))
    at_hand = None if Path(model).expanduser().exists() or ":" in model else models.at_hand(model)
    if at_hand is not None and at_hand.resolve() == Path(base).resolve():
        settings["base_model_name_or_path"] = base = model
        path.write_text(json.dumps(settings, indent=2, sort_keys=True), encoding="utf-8")
    return base


def lineage(files: RoundFolder, *, names: bool = False) -> Iterable[dict[str, Any]]:
    """Each example with the feedback that it follows: who said what about which program."""
    said = {item.feedback_id: item for item in read_jsonl(files.feedback, Feedback)}
    made = {r.refinement_id: r for r in Rows(files.refinements, Refinement)}
    numbers: dict[str, str] = {}
    for example in read_jsonl(files.examples, Example):
        item = said.get(example.feedback_id or "")
        refinement = made.get(example.refinement_id or "")
        author = item.author if item is not None else None
        if author is not None and not names and item is not None and item.source in ("human", "recorded"):
            author = numbers.setdefault(author, f"annotator {len(numbers) + 1}")
        yield {
            **example.model_dump(mode="json"),
            "feedback": item and item.text,
            "feedback_source": item and item.source,
            "feedback_author": author,
            "wrong_program": item and item.code,
            "wrong_program_model": item and item.model,
            "refined_program": refinement and refinement.code,
            "refiner_model": refinement and refinement.model,
        }


def _write(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    with path.open("w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(row) + "\n")


def _card(about: Mapping[str, object], examples: int, arms: list[str]) -> str:
    configs = "- config_name: examples\n  data_files: data/examples.jsonl\n"
    facts = "".join(f"- {name}: {value}\n" for name, value in about.items())
    parts = [
        "---\npretty_name: Refinements that follow language feedback\ntags:\n- ilf\n- code\n"
        f"configs:\n{configs}---",
        f"# {examples} examples",
        "Made with `ilf`: imitation learning from language feedback (Chen et al. 2023, arXiv 2303.16749). "
        "Each row is what a model was fine-tuned on (`prompt`, `completion`, `weight`) with where it came "
        "from: the wrong program, what was said about it and by whom, and the program that followed.",
        facts.strip(),
    ]
    if arms:
        parts.append(
            f"Programs for the held-out tasks, of the models {' and '.join(arms)} training, are in "
            "`predictions/` as evalplus (`evalplus.evaluate --samples`) and lm-eval (`--log_samples`) keep "
            "them."
        )
    parts.append("Programs that a model wrote are untrusted code: run them in a sandbox only.")
    return "\n\n".join(parts) + "\n"


def _public(name: str) -> str:
    """A model's or source's name; of a path on this machine only its last part."""
    kind, colon, rest = name.rpartition(":")
    return f"{kind}{colon}{Path(rest).name}" if Path(rest).expanduser().exists() else name
