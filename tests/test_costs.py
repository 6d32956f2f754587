"""What steps take at most: said by a dry run for the whole run, and never less than what they then take."""

import shutil

import pytest
from toy import config, world

from ilf import costs, dryrun
from ilf.algorithm import run
from ilf.config import SamplingConfig
from ilf.costs import Cost
from ilf.preparation import prepare_tasks
from ilf.runfolder import RunFolder
from ilf.training import FinetuneConfig


def test_costs_add_up_and_are_said_in_words():
    both = Cost(2, 30, memory=5, disk=7) + Cost(1, memory=8, disk=1)
    assert both == Cost(3, 30, 8, 8), "memory is had one after the other"
    assert Cost(4740, 455040, 2_100_000_000, 830_000).words() == (
        "4,740 samples, 455,040 tokens, 2.1 GB of memory, 0.8 MB of disk"
    )
    assert Cost(disk=300).words() == ""


def test_no_step_of_a_run_takes_more_than_was_said(tmp_path, capsys):
    """One seed of the toy world, in which every task gets feedback and every refinement passes."""
    settings = world(tmp_path, sampling__n=3, sampling__max_tokens=50)
    found = dryrun.expected(settings, prepare_tasks(settings))
    folder = run(settings, tmp_path / "run")
    said = capsys.readouterr().err
    total = sum(found.values(), Cost())
    assert said.splitlines()[:2] == [
        f"at most: {total.words()}",
        "how long: each step says it after its first seconds, at the rate measured in them",
    ]
    steps = {label.split("/")[1]: state.counts for label, state in folder.read_manifest().steps.items()}
    assert found.keys() == {
        "1-programs",
        "2-verdicts",
        "4-refiner",
        "5-refinements",
        "7-model",
        "8-evaluation",
    }
    for name in ("1-programs", "5-refinements", "8-evaluation"):
        assert steps[name]["samples"] == found[name].samples > 0
        assert steps[name]["tokens"] <= found[name].tokens
        label = f"  {name}\n    at most {found[name].samples} samples, {found[name].tokens:,} tokens"
        assert label in said, "the steps say the same of themselves"
    assert found["2-verdicts"].samples == found["1-programs"].samples
    settings = settings.finetune
    assert found["7-model"].tokens == steps["7-model"]["examples"] * settings.epochs * settings.max_length
    for cost, path in [
        (found["1-programs"], folder.round(1).programs),
        (found["2-verdicts"], folder.round(1).verdicts),
        (found["5-refinements"], folder.round(1).refinements),
    ]:
        assert path.stat().st_size <= cost.disk


def test_feedback_of_other_kinds_counts_every_task(tmp_path):
    world(tmp_path)
    asked = {"feedback": {"source": "model", "path": str(tmp_path / "feedback.jsonl")}}
    settings = config(tmp_path, **asked, selection__strategy="all")
    found = dryrun.expected(settings, prepare_tasks(settings))
    assert found["3-feedback"].samples == 3 + 5
    assert found["7-model"].tokens == 2 * 5 * settings.finetune.epochs * settings.finetune.max_length
    few = config(tmp_path, refiner__method="few-shot")
    assert "4-refiner" not in dryrun.expected(few, prepare_tasks(few))


def test_times_come_from_earlier_runs_of_the_model(tmp_path, capsys):
    runs = tmp_path / "runs"
    settings = world(tmp_path)
    dryrun.print_expected(settings, runs / "toy")
    assert "no times: no run of" in capsys.readouterr().err
    run(settings, runs / "earlier")
    shutil.copytree(runs / "earlier", runs / "toy")
    for name, seconds in (("earlier", 40.0), ("toy", 4.0)):
        manifest = RunFolder(runs / name).read_manifest()
        for label, state in manifest.steps.items():
            state.seconds = seconds
            if name == "toy" and label.endswith("8-evaluation"):
                state.seconds = 0.0  # not known here
        RunFolder(runs / name).write_manifest(manifest)
    (runs / "broken").mkdir()
    (runs / "broken" / "manifest.json").write_text("{")
    rates, sources = dryrun.known_rates(runs / "toy", settings.model)
    assert sources == [runs / "toy", runs / "earlier"]
    assert (
        rates["1-programs"] == 16 / 4 and rates["2-verdicts"] == 16 / 4 and rates["8-evaluation"] == 16 / 40
    )
    assert dryrun.known_rates(runs / "toy", "another model") == ({}, [])
    capsys.readouterr()
    dryrun.print_expected(settings, runs / "toy")
    shown = capsys.readouterr()
    dryrun.say_expected(settings, prepare_tasks(settings), runs / "toy")
    assert " at the rates of " in capsys.readouterr().err
    # 16 samples at 4 a second; the evaluation at the other run's rate.
    times = {line.split()[0]: line.split()[-2:] for line in shown.out.splitlines() if line.strip()}
    assert times["1-programs"] == ["4", "s"] and times["8-evaluation"] == ["40", "s"]
    assert f"at the rates of {runs / 'toy'}, {runs / 'earlier'}" in shown.err


def test_weights_are_counted_without_torch(tmp_path):
    assert costs.parameters(None) == costs.parameters(tmp_path) == 0
    torch = pytest.importorskip("torch")
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(3, 5), "b": torch.zeros(7, dtype=torch.bfloat16)}, tmp_path / "x.safetensors")
    save_file({"c": torch.zeros(2, 2, 2)}, tmp_path / "y.safetensors", metadata={"format": "pt"})
    assert costs.parameters(tmp_path) == 15 + 7 + 8
    full = costs.fine_tuning(4, FinetuneConfig(epochs=2, max_length=10), tmp_path)
    assert full == Cost(tokens=80, memory=16 * 30, disk=28 * 30)
    lora = costs.fine_tuning(4, FinetuneConfig(method="lora", save_dtype="bfloat16"), tmp_path)
    assert (lora.memory, lora.disk) == (4 * 30, 2 * 30)
    assert costs.sampling(2, SamplingConfig(n=3, max_tokens=5), tmp_path).memory == 4 * 30
