"""Kinds of bug by machine, files in and files out: what `ilf feedback agree` and `ilf feedback tag` do."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, combinations
from pathlib import Path
from typing import Any

from ilf import metrics
from ilf.config import VerifyConfig
from ilf.errors import DataError
from ilf.feedback import model_tagger, recorded
from ilf.feedback.case import Case
from ilf.feedback.tagger import PAPER_CATEGORIES, categories, of_failure
from ilf.places import Local
from ilf.policy import Model
from ilf.progress import say
from ilf.records import Program, Task, write_jsonl
from ilf.runfolder import RunFolder
from ilf.runner import writable
from ilf.standalone import by_id, verdicts_on
from ilf.tasks import load_tasks
from ilf.terminal import print_table


def agree(
    source: str, feedback: Path, *, verify: VerifyConfig, tagger: Model | None = None
) -> dict[str, Any]:
    """Print how far the rules for kinds of bug, and a model, agree with the tags of feedback, as kappa.

    The wrong programs are run: one of the rules looks at the failure alone. Without a tag in the file the
    rules and the model are compared with one another.

    Returns:
        `items`, `tagged`, and `kinds`: kind → each judge's share of items, and Cohen's kappa of each pair.

    Raises:
        DataError: no feedback on the tasks.
        SandboxUnavailable: there is no isolation to run programs in.
    """
    tasks = by_id(load_tasks(source))
    items = recorded.read(feedback, tasks)
    # A suite may have tags of its own, which are no kinds of bug.
    tagged = [item for item in items if PAPER_CATEGORIES.keys() & set(item.tags)]
    # Where an item is on a program that passes there is no failure to look at.
    programs = [Program(task_id=item.task_id, code=item.code) for item in tagged or items]
    verdicts = verdicts_on(tasks, programs, verify)
    judged = [
        (
            item,
            categories(item.text),
            of_failure(Case(tasks[item.task_id], program, verdict, False)),
        )
        for item, program, verdict in zip(tagged or items, programs, verdicts, strict=True)
        if verdict.status not in ("passed", "sandbox_error")
    ]
    if not judged:
        raise DataError(f"{feedback}: no feedback on programs that fail")

    judges: dict[str, Sequence[Sequence[str]]] = {
        "tags": [item.tags for item, _, _ in judged],
        "text": [found for _, found, _ in judged],
        "failure": [found for _, _, found in judged],
    }
    if tagger is not None:
        about = [(tasks[item.task_id], item.code, item.text) for item, _, _ in judged]
        judges["model"] = of_model(tagger, about)
    if not tagged:
        del judges["tags"]
    used = {tag for tags in chain(*judges.values()) for tag in tags}
    pairs = list(combinations(judges, 2))
    kinds: dict[str, dict[str, Any]] = {
        name: {
            "share": {judge: sum(name in tags for tags in of) / len(of) for judge, of in judges.items()},
            "kappa": {f"{a} and {b}": _kappa(judges[a], judges[b], name) for a, b in pairs},
        }
        for name in PAPER_CATEGORIES
        if name in used
    }
    said = "tagged by their authors" if tagged else "none tagged with kinds of bug"
    print_table(
        f"Kinds of bug: {len(judged)} items, {said}",
        ["kind", *judges, *(f"kappa, {a} and {b}" for a, b in pairs)],
        [
            [name, *(f"{kind['share'][judge]:.0%}" for judge in judges), *map(_cell, kind["kappa"].values())]
            for name, kind in kinds.items()
        ],
    )
    if tagger is not None and (silent := sum(not tags for tags in judges["model"])):
        say(f"for {silent} of {len(judged)} items the model names none of the kinds")
    return {"items": len(judged), "tagged": bool(tagged), "kinds": kinds}


def tag(source: str, feedback: Path, out: Path, tagger: Model) -> dict[str, int]:
    """Write the feedback with the kinds of bug that a model names, on items that nobody tagged.

    Raises:
        DataError: no feedback on the tasks, or `out` cannot be written.
    """
    tasks = by_id(load_tasks(source))
    writable(out)
    items = recorded.read(feedback, tasks)
    bare = [number for number, item in enumerate(items) if not item.tags]
    about = [(tasks[items[n].task_id], items[n].code, items[n].text) for n in bare]
    for number, kinds in zip(bare, of_model(tagger, about), strict=True):
        items[number] = items[number].model_copy(update={"tags": kinds})
    write_jsonl(out, items)
    known = sum(bool(items[n].tags) for n in bare)
    say(f"{len(items)} items, {len(bare)} of them without tags; the model named kinds for {known}: {out}")
    return {"items": len(items), "without tags": len(bare), "tagged": known}


def tag_answers(run: Path, source: str, tagger: Model) -> dict[str, int]:
    """Let a model name kinds of bug in what people wrote on the page of a run, for its dashboard.

    Their own tags stay as they are; nothing of this reaches the feedback.

    Raises:
        DataError: nobody wrote anything yet.
    """
    from ilf.annotate import exchange
    from ilf.annotate.command import open_store
    from ilf.annotate.statistics import KINDS

    tasks = by_id(load_tasks(source))
    store = open_store(RunFolder(run), None)
    try:
        items = [item for item in exchange.said(store) if not item.tags and item.task_id in tasks]
        if not items:
            raise DataError(f"{run}: no feedback without tags on tasks of {source}")
        found = of_model(tagger, [(tasks[item.task_id], item.code, item.text) for item in items])
        kinds = {item.feedback_id: list(named) for item, named in zip(items, found, strict=True)}
        store.set_state(KINDS, {**(store.state(KINDS) or {}), **kinds})
    finally:
        store.close()
    known = sum(map(bool, found))
    say(f"{len(items)} answers without tags; the model named kinds for {known}: see the dashboard")
    return {"without tags": len(items), "tagged": known}


def of_model(tagger: Model, about: Sequence[tuple[Task, str, str | None]]) -> list[tuple[str, ...]]:
    """The kinds that a model names for each (task, wrong program, what was said about it or None)."""
    subjects = [model_tagger.Subject(*one) for one in about]
    if tagger.has_weights:
        return model_tagger.tag_by_likelihood(tagger, subjects)
    place = Local()
    try:
        return model_tagger.tag(lambda: place.open(tagger), subjects)
    finally:
        place.close()


def _kappa(one: Sequence[Sequence[str]], two: Sequence[Sequence[str]], name: str) -> metrics.Estimate | None:
    return metrics.kappa([name in tags for tags in one], [name in tags for tags in two])


def _cell(found: metrics.Estimate | None) -> str:
    return "–" if found is None else f"{found.value:.2f} [{found.low:.2f}, {found.high:.2f}]"
