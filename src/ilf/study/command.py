"""`ilf study`: measure every arm with every seed, keep the numbers as they come, and write the report."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Sequence
from pathlib import Path

from ilf.errors import DataError, ModelError, TrainingError
from ilf.kinds.function import check_sandbox
from ilf.places import place_of
from ilf.preparation import load_source, load_splits, open_manifest
from ilf.progress import say
from ilf.records import Refinement
from ilf.runfolder import RunFolder, write_text
from ilf.runner import Runner
from ilf.steps.evaluation import refuse_leaks
from ilf.study.bugs import item_results
from ilf.study.config import StudyConfig, dump_study, load_study
from ilf.study.lab import Lab, Skip
from ilf.study.measure import measure, perplexities, refinement_rates, zero_shot
from ilf.study.report import CONFIG, RESULTS, rebuild
from ilf.study.results import ArmResult, Results, Shared, write_results


def study(
    config: Path,
    out: Path | None = None,
    overrides: Sequence[str] = (),
    also: Sequence[str] = (),
    dry_run: bool = False,
) -> Path:
    """Do a study, or go on where it was interrupted.

    Args:
        config: the study's TOML file.
        out: the study folder; studies/NAME by default.
        overrides: `key=value` pairs over the config.
        also: further task sources on which every arm is evaluated.
        dry_run: a rehearsal with a scripted model on a few tasks.

    Returns:
        The HTML report.

    Raises:
        UserError: bad input, named; everything done so far is kept.
    """
    settings = load_study(config, overrides)
    settings = settings.model_copy(update={"also": (*settings.also, *also)})
    folder = out or Path("studies") / settings.name
    if dry_run:
        settings, folder = rehearsal(settings, out)
    return run(settings, folder)


def run(settings: StudyConfig, folder: Path) -> Path:
    """Measure every arm of `settings` in `folder`; returns the report's path."""
    sources = _check_sources(settings)
    study_folder = RunFolder(folder)
    with study_folder.lock():
        identity = {"study": settings.name, **settings.run.identity()}
        manifest = open_manifest(study_folder, identity, "study")
        verify = settings.run.verify
        do = Runner(study_folder, manifest, place_of(settings.run.place), lambda: check_sandbox(verify))
        write_text(folder / CONFIG, dump_study(settings))
        evaluation = settings.run.evaluation
        results = Results(
            name=settings.name,
            temperature=evaluation.sampling.temperature,
            ks=evaluation.k,
            split=evaluation.split,
            sources=sources,
        )
        results.arms = [ArmResult(arm=arm) for arm in settings.declared()]
        for seed in settings.seeds:
            lab = Lab(settings, seed, folder, do)
            say(f"study {settings.name}, seed {seed}: the run that the arms share")
            lab.run()
            results.seeds.append(_share(lab))
            write_results(folder / RESULTS, results)
            for number, result in enumerate(results.arms, start=1):
                say(f"arm {number} of {len(results.arms)}, seed {seed}: {result.arm.label}")
                _measure(lab, result)
                write_results(folder / RESULTS, results)
            do.place.close()
        path = rebuild(folder)
    from ilf.study.terminal import print_study

    print_study(results)
    return path


def _check_sources(settings: StudyConfig) -> dict[str, str]:
    """Read every task source before hours are spent on the first of them; the others' names and hashes."""
    from ilf.tasks import load_named, select, source_hash

    tasks = load_source(settings.run)
    splits = load_splits(settings.run, tasks)
    if settings.validation.ids is not None:
        select(tasks, settings.validation.ids, key="validation.ids")
    taught = [task.task_id for name in ("refine", "train") for task in splits[name]]
    hashes = {}
    for source in settings.also:
        elsewhere = load_named(source)
        where = f"the refine and train splits, which {source} (also) shares"
        refuse_leaks([task.task_id for task in elsewhere], {where: taught})
        hashes[source] = source_hash(elsewhere)
    return hashes


def _measure(lab: Lab, result: ArmResult) -> None:
    try:
        result.seeds.append(measure(lab, result.arm))
    except Skip as reason:
        result.skipped = str(reason)
    except (TrainingError, DataError, ModelError) as error:
        # A setting or a model that only this arm needs; the other arms are still worth their answer.
        result.skipped = str(error)
    if result.skipped:
        say(f"    skipped: {result.skipped}")


def _share(lab: Lab) -> Shared:
    """What the arms of a seed share: zero-shot rates, refinement rates, perplexities, items."""
    shared = Shared(seed=lab.seed, problem=lab.problem, validation_tasks=len(lab.validation))
    shared.zero_shot = zero_shot(lab)
    own: Collection[Refinement] = ()
    for label, rows in refinement_rates(lab, shared):
        # πRefine's own where there is one; the few-shot one stands in for it.
        if label == "fine-tuned, its own feedback" or (label == "few-shot, its own feedback" and not own):
            own = rows
    chosen = frozenset(e.feedback_id for e in lab.ilf_examples if e.feedback_id is not None)
    shared.items = item_results(lab.apply, own, chosen)
    shared.teaching = item_results(lab.teach, [])
    if lab.has_weights:
        shared.perplexity = perplexities(lab)
    else:
        shared.reasons["perplexity"] = "this engine gives no log-probabilities of given texts"
    wanted = {arm.refining.feedback for arm in lab.study.declared() if arm.refining is not None}
    for kind in sorted(wanted & {"model-1", "model-2"}):
        try:
            shared.written_feedback[kind] = [item.text for item in lab.feedback(kind)]
        except (Skip, DataError, ModelError) as error:
            shared.reasons[kind] = str(error)
    return shared


def rehearsal(settings: StudyConfig, out: Path | None) -> tuple[StudyConfig, Path]:
    """The study with a scripted model on a few tasks (`ilf.dryrun`)."""
    from ilf.dryrun import dry, print_expected

    print_expected(settings.run, Path("runs") / settings.run.name)
    say("that is the run of one seed, which the arms share; what they take comes on top")
    folder = out or Path("studies") / f"{settings.name}-dry"
    script = folder.with_name(f"{folder.name}-script")
    shutil.rmtree(script, ignore_errors=True)
    run_settings, _ = dry(settings.run, script)
    update = {
        "run": run_settings,
        "name": f"{settings.name}-dry",
        "seeds": settings.seeds[:1],
        "also": (),
        "reuse": None,
        "temperatures": settings.temperatures[:2],
        "arms": tuple(arm.name for arm in settings.declared() if arm.items is None),  # too many for so few
        "sizes": (),
        "writer": type(settings.writer)(),
        "validation": settings.validation.model_copy(update={"ids": None, "n": 2, "tasks": 2}),
    }
    return settings.model_copy(update=update), folder
