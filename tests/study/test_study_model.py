"""The study on a tiny random model: training, perplexity and KL are the real thing, the programs are noise."""

import math

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from bytemodel import write_model  # noqa: E402

from ilf.records import Program, read_jsonl  # noqa: E402
from ilf.study.command import run, study
from ilf.study.config import load_study  # noqa: E402
from ilf.study.results import read_results  # noqa: E402


@pytest.fixture(scope="module")
def measured(tmp_path_factory, quick, write_world):
    folder = tmp_path_factory.mktemp("world")
    config = write_world(folder)
    model = write_model(folder / "model", context=1024)
    settings = [
        f"run.model={model}",
        "run.engine.name=torch",
        "run.sampling.max_tokens=8",
        "run.refiner.sampling.max_tokens=8",
        "run.evaluation.sampling.max_tokens=8",
        "run.finetune.learning_rate=0.01",
        "run.finetune.epochs=2",
        "run.refiner.finetune.epochs=1",
        'arms=["zero-shot", "ilf", "gold", "distil"]',
        "run.learner.distil.passes=1",
        "run.learner.distil.n=1",
        "run.learner.distil.max_tokens=8",
        "temperatures=[0.5]",
        "kl.tasks=6",
        "kl.n=4",
        "sweep.learning_rate=[0.0001, 0.01]",
    ]
    study(config, folder / "study", settings)
    (folder / "study" / "again.toml").write_text((folder / "study" / "study.toml").read_text())
    return folder / "study"


def arm(folder, name):
    return next(result for result in read_results(folder / "results.json").arms if result.arm.name == name)


def test_noise_refines_nothing_and_the_report_says_so(measured):
    assert "nothing to fine-tune on" in arm(measured, "ilf").skipped
    assert "ILF was not measured" in (measured / "report.html").read_text(encoding="utf-8")


def test_kl_is_positive_and_its_samples_are_at_temperature_1(measured):
    row = arm(measured, "gold").seeds[0]
    assert row.kl.prompts == 6
    assert 0 < row.kl.own.low < row.kl.own.value < row.kl.own.high
    assert row.kl.start.value > 0
    files = list(measured.glob("seed-0/samples/*-kl/programs.jsonl"))
    assert len(files) >= 2 and all(len(read_jsonl(path, Program)) == 24 for path in files)


def test_perplexity_of_the_untuned_model(measured):
    found = read_results(measured / "results.json").seeds[0].perplexity
    assert len(found["gold programs"]) == len(found["human refinements"]) == 6
    assert found["refinements by πRefine"] == []
    assert all(1 < value < math.inf for value in found["gold programs"])
    html = (measured / "report.html").read_text(encoding="utf-8")
    assert 'id="figure-figure-3"' in html and "Share above 100" in html


def test_weights_of_trials_that_lost_are_deleted(measured):
    row = arm(measured, "gold").seeds[0]
    kept = [path.parent for path in measured.glob("seed-0/models/*/*.safetensors")]
    assert measured / row.folder in kept
    gone = [path.parent for path in measured.glob("seed-0/models/*/weights.hash")]
    assert len(gone) == 1 and not set(gone) & set(kept)


def test_a_second_call_computes_nothing(measured, monkeypatch):
    def never(*_, **__):
        raise AssertionError("this was done before")

    before = read_results(measured / "results.json")
    for name in (
        "ilf.steps.Sample.run",
        "ilf.steps.Learn.run",
        "ilf.scoring.divergence",
        "ilf.scoring.score",
    ):
        monkeypatch.setattr(name, never)
    settings = load_study(measured / "again.toml")
    run(settings, measured)
    assert read_results(measured / "results.json") == before


def test_every_trial_of_a_sweep_is_reported(measured):
    row = arm(measured, "gold").seeds[0]
    assert [trial.settings for trial in row.trials] == [{"learning_rate": 0.0001}, {"learning_rate": 0.01}]
    assert sum(trial.chosen for trial in row.trials) == 1
    assert {task.task_id for task in row.trials[0].evaluation.tasks} == {
        task.task_id for task in row.validation["0.5"].tasks
    }
    assert 'id="table-sweep"' in (measured / "report.html").read_text(encoding="utf-8")


def test_a_learner_that_samples_is_an_arm_with_its_cost(measured):
    row = arm(measured, "distil").seeds[0]
    # The attempts that have feedback and one program more for each, where it says anything.
    assert row.items <= row.examples <= 2 * row.items
    assert row.cost["heard tokens"] > row.cost["tokens"] / 2 > 0 and row.cost["seconds"] > 0
    assert arm(measured, "zero-shot").seeds[0].cost == {}
    report = (measured / "report.html").read_text(encoding="utf-8")
    assert "Other ways to learn" in report and "What learning cost." in report
