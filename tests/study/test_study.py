"""The whole study with a scripted model: arms, sharing, skipping, resuming, the report."""

import json
import re
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from ilf.config import EngineConfig
from ilf.configfile import starter_path
from ilf.errors import ConfigError, LeakError, RunFolderError, UserError
from ilf.metrics import per_task
from ilf.places import Local
from ilf.policy import Model
from ilf.records import Example, Feedback, read_jsonl
from ilf.report.command import report
from ilf.runfolder import Manifest, RunFolder, StepState
from ilf.runner import Runner
from ilf.study.command import rebuild, study
from ilf.study.config import load_study
from ilf.study.lab import Lab
from ilf.study.provenance import provenance
from ilf.study.results import Results, read_results
from ilf.tasks import load_tasks, source_hash


def results_of(folder):
    return read_results(folder / "results.json")


def arm(folder, name):
    return next(result for result in results_of(folder).arms if result.arm.name == name)


def examples_of(folder, name):
    """What the arm's model learnt, from its script: prompts and completions."""
    row = arm(folder, name).seeds[0]
    table = folder / row.folder / "script.jsonl"
    return [json.loads(line) for line in table.read_text().splitlines()][: row.examples]


# --- arms


def test_arms_train_on_what_they_say(finished):
    gold = {row["contains"]: row["completions"][0] for row in examples_of(finished, "gold")}
    human = {row["contains"]: row["completions"][0] for row in examples_of(finished, "human")}
    ilf = read_jsonl(finished / "seed-0/run/round-1/6-examples.jsonl", Example)
    assert gold.keys() == human.keys() == {example.prompt for example in ilf}
    assert all("return x + " in completion for completion in gold.values())
    own = examples_of(finished, "self")
    feedback = read_jsonl(finished / "seed-0/run/round-1/3-feedback.jsonl", Feedback)
    assert own and all("return x + " in row["completions"][0] for row in own)
    ids = {"t" + re.search(r"Add (\d+) to x", row["contains"])[1] for row in own}
    assert not ids & {item.task_id for item in feedback}
    both = {row["contains"] for row in examples_of(finished, "ilf-self")}
    assert both == {example.prompt for example in ilf} | {row["contains"] for row in own}


def test_arms_without_data_are_skipped_with_the_reason(finished):
    skipped = {result.arm.name: result.skipped for result in results_of(finished).arms if result.skipped}
    assert skipped["no-feedback"] == "none of 12 refinements passed, so there is nothing to fine-tune on"
    assert "log-probabilities" in skipped["select-likeliest"]
    assert "ilf" not in skipped
    html = (finished / "report.html").read_text(encoding="utf-8")
    assert "ILF, no feedback; " in html and ": none of 12 refinements passed" in html


def test_refinement_rates_need_their_own_feedback(finished):
    rates = results_of(finished).seeds[0].refinement
    assert rates["fine-tuned, its own feedback"].pass_at[1].value == pytest.approx(5 / 12)
    assert rates["fine-tuned, its own feedback"].solved.value == pytest.approx(5 / 6)
    assert rates["fine-tuned, unrelated feedback"].solved.value == 0
    assert rates["few-shot, its own feedback"].solved.value == pytest.approx(5 / 6)


def test_only_the_ways_of_refining_that_an_arm_needs_where_asked(world):
    out = world.parent / "out"
    study(world, out, ['arms=["zero-shot", "ilf"]', 'refining="arms"'])
    shared = results_of(out).seeds[0]
    assert set(shared.refinement) == {"fine-tuned, its own feedback"}
    assert shared.reasons["few-shot, no feedback"] == 'not asked for (refining = "arms")'


def test_zero_shot_counts_every_split(finished):
    found = results_of(finished).seeds[0].zero_shot
    assert {name: len(e.tasks) for name, e in found.items()} == {
        "refine": 6,
        "train": 8,
        "test": 6,
        "all tasks": 20,
    }
    assert found["all tasks"].pass_at[1].value == pytest.approx(6 / 20 / 2)


def test_equal_examples_share_one_model(finished):
    found = {name: arm(finished, name).seeds[0] for name in ("ilf", "select-random", "gate-all", "size-100")}
    assert len({row.folder for row in found.values()}) == 1
    assert found["ilf"].folder == "seed-0/run/round-1/7-model"


def test_size_arms_are_nested(finished):
    sizes = [arm(finished, name).seeds[0] for name in ("size-25", "size-50", "size-100")]
    assert [row.items for row in sizes] == [2, 3, 6]
    prompts = [{row["contains"] for row in examples_of(finished, n)} for n in ("size-25", "size-50")]
    assert prompts[0] <= prompts[1]


def test_validation_tasks_are_seen_nowhere(finished):
    row = arm(finished, "ilf").seeds[0]
    validation = {task.task_id for task in row.validation["0.8"].tasks}
    feedback = read_jsonl(finished / "seed-0/run/round-1/3-feedback.jsonl", Feedback)
    assert validation and not validation & {item.task_id for item in feedback}
    assert not validation & {task.task_id for task in row.test.tasks}
    assert row.best_temperature == 0.8 and row.best == row.test


def test_transfer_is_measured_on_the_other_source(finished):
    row = arm(finished, "ilf").seeds[0]
    ((source, found),) = row.also.items()
    assert source.endswith("more.jsonl") and [t.task_id for t in found.tasks] == [
        "more/t1",
        "more/t2",
        "more/t3",
    ]
    html = (finished / "report.html").read_text(encoding="utf-8")
    assert "Transfer to" in html and "Every method against the untuned model, on" in html
    assert results_of(finished).sources == {source: source_hash(load_tasks(source))}
    assert f"<td>{source_hash(load_tasks(source))}</td>" in html


def test_every_arm_gets_its_best_temperature_and_transfer(finished):
    rows = {r.arm.name: r.seeds[0] for r in results_of(finished).arms if r.seeds}
    assert {"ilf", "select-nearest", "gate-shown", "size-50"} <= rows.keys()
    assert all(row.best is not None and len(row.also) == 1 for row in rows.values())
    table = (finished / "report-files/tables/temperature.csv").read_text(encoding="utf-8")
    assert "select nearest," in table and "gate: the shown test," in table


def test_arms_of_other_groups_can_be_measured_at_one_temperature_only(world):
    out = world.parent / "out"
    study(world, out, ['arms=["zero-shot", "ilf", "select-nearest"]', "everywhere=false"])
    assert arm(out, "select-nearest").seeds[0].best is None
    compared = (out / "report-files/tables/selection-paired.csv").read_text(encoding="utf-8")
    assert "select nearest,ILF,pass@1" in compared  # select-random was not asked for
    assert arm(out, "ilf").seeds[0].best is not None


def test_arms_are_reported_at_the_papers_temperature_whatever_the_run_samples_at(world):
    shipped = load_study(starter_path().parent / "study-starter.toml")
    assert (shipped.run.sampling.temperature, shipped.run.evaluation.sampling.temperature) == (0.4, 0.8)
    other = load_study(world, ["report_at=0.3"]).run
    assert (other.evaluation.sampling.temperature, other.sampling.temperature) == (0.3, 0.8)
    with pytest.raises(ConfigError, match=r"temperature: 0.4, but arms are measured at report_at = 0.8"):
        load_study(world, ["run.evaluation.sampling.temperature=0.4"])


def test_transfer_to_tasks_of_the_training_splits_is_refused_at_once(world):
    with pytest.raises(LeakError, match="tasks.jsonl .also. shares"):
        study(world, world.parent / "out", FEW, also=[f"{world.parent}/tasks.jsonl"])
    assert not (world.parent / "out").exists()


def test_weights_that_a_final_arm_shares_are_not_deleted(world):
    do = Runner(RunFolder(world.parent / "s"), Manifest(version="0", created="now", identity={}), Local())
    lab = Lab(load_study(world), 0, world.parent, do)
    shared, own = (
        Model(str(lab.path / "models" / name), name, EngineConfig(), "chat") for name in ("shared", "own")
    )
    for model in (shared, own):
        Path(model.ref).mkdir(parents=True)
        (Path(model.ref) / "model.safetensors").touch()
    lab.keep(shared)
    lab.forget(shared)
    lab.forget(own)
    assert [path.parent.name for path in lab.path.glob("models/*/*.safetensors")] == ["shared"]


def test_the_cost_counts_sampled_and_trained_tokens_apart(finished):
    manifest = RunFolder(finished).read_manifest()
    manifest.steps = {
        "samples": StepState(key="a", seconds=10, counts={"samples": 4, "tokens": 100}),
        "model": StepState(key="b", seconds=20, counts={"examples": 2, "tokens": 1000}),
    }
    manifest.partial_seconds = {"next": 5.0}
    folder = finished.parent / "cost"
    folder.mkdir()
    (folder / "manifest.json").write_text(manifest.model_dump_json())
    rows = dict(provenance(folder, Results(name="x", temperature=0.8, ks=[1], split="test")))
    assert rows["Wall-clock time"] == "35 s (0.01 h)"
    assert (rows["Tokens sampled"], rows["Tokens fine-tuned on"]) == ("100", "1,000")


def test_the_run_inside_is_a_run(finished):
    run = finished / "seed-0/run"
    evaluation = json.loads((run / "round-1/8-evaluation.json").read_text())["arms"]["after"]
    assert arm(finished, "ilf").seeds[0].test.model_dump(mode="json")["tasks"] == evaluation["tasks"]
    assert "Run small" in report([run], finished.parent / "run.html").read_text(encoding="utf-8")


# --- report


def test_the_report_has_every_table_and_figure(finished):
    html = (finished / "report.html").read_text(encoding="utf-8")
    for number in range(1, 7):
        assert f"Table {number}." in html
        assert (finished / f"report-files/tables/table-{number}.csv").is_file()
    for name in ("figure-4", "figure-5", "final"):
        assert (finished / f"report-files/figures/{name}.svg").is_file()
        assert f'id="figure-{name}"' in html
    assert "Perplexity and KL were not measured" in html
    assert "cannot be told from noise" in html and len(html) < 1_000_000


def test_the_report_is_rebuilt_without_measuring(finished, monkeypatch):
    monkeypatch.setattr("ilf.steps.Sample.run", None)
    before = (finished / "report.html").read_text(encoding="utf-8")
    assert rebuild(finished, finished.parent / "again.html").read_text(encoding="utf-8") == before
    assert rebuild(finished, finished.parent / "again.html").read_text(encoding="utf-8") == before


# --- sharing, resuming, changing


def test_a_second_call_measures_nothing_and_agrees(finished, monkeypatch):
    def never(*_, **__):
        raise AssertionError("this step was done before")

    before = results_of(finished)
    for name in ("Sample", "Verify", "Refine", "Learn"):
        monkeypatch.setattr(f"ilf.steps.{name}.run", never)
    study(finished.parent / "study.toml", finished, also=[f"{finished.parent}/more.jsonl"])
    assert results_of(finished) == before


FEW = ['arms=["zero-shot", "ilf", "gold"]', "temperatures=[]"]


def test_a_new_arm_leaves_the_others_alone(world):
    out = world.parent / "out"
    study(world, out, FEW)
    steps = dict(RunFolder(out).read_manifest().steps)
    text = world.read_text().replace('name = "small"', 'name = "small"\narms = ["zero-shot", "ilf", "mine"]')
    world.write_text(
        text + '[[arm]]\nname = "mine"\nlabel = "mine"\ndata = "human"\nfinetune = { epochs = 1 }\n'
    )
    study(world, out, ["temperatures=[]"])
    assert arm(out, "mine").seeds[0].examples == 5
    after = RunFolder(out).read_manifest().steps
    assert all(
        after[name].key == step.key and after[name].seconds == step.seconds for name, step in steps.items()
    )


def test_a_finished_run_is_reused(world, finished, monkeypatch):
    out = world.parent / "out"
    with monkeypatch.context() as patch:
        patch.setattr("ilf.steps.Refine.run", None)
        with pytest.raises(RunFolderError, match="belongs to a run with model"):
            study(world, out, [*FEW, f"reuse={finished / 'seed-0/run'}"])
    with pytest.raises(RunFolderError, match="reuse: .*nowhere: not a run folder"):
        study(world, world.parent / "other", [*FEW, "reuse=nowhere"])
    same = finished.parent / "study.toml"
    path = study(same, world.parent / "again", [*FEW, f"reuse={finished / 'seed-0/run'}"])
    steps = RunFolder(path.parent / "seed-0/run").read_manifest().steps
    assert steps == RunFolder(finished / "seed-0/run").read_manifest().steps


def test_seeds_are_pooled(world):
    out = world.parent / "out"
    study(world, out, [FEW[0], "seeds=[0, 1]", "validation.tasks=2"])
    found = results_of(out)
    assert [shared.seed for shared in found.seeds] == [0, 1]
    assert [row.seed for row in found.arm("ilf").seeds] == [0, 1]
    validation = [{t.task_id for t in row.validation["0.8"].tasks} for row in found.arm("ilf").seeds]
    assert validation[0] != validation[1]
    html = (out / "report.html").read_text(encoding="utf-8")
    assert "Learning from 10 pieces" in html and "16 in all. Seed 0 is shown." in html
    worth = (out / "report-files/tables/worth.md").read_text(encoding="utf-8")
    assert "| all | 6 |" in worth and "2 seeds, each item once" in worth


def test_a_killed_study_goes_on(world, tmp_path):
    out = tmp_path / "out"
    whole = tmp_path / "whole"
    study(world, whole, FEW)
    script = textwrap.dedent(f"""
        import ilf.kinds.function
        ilf.kinds.function.self_check = lambda **_: 0
        from pathlib import Path
        from ilf.study.command import study
        study(Path({str(world)!r}), Path({str(out)!r}), {FEW!r})
    """)
    for marker in ("seed-0/run/round-1/2-verdicts.jsonl", "seed-0/shared", "results.json", "seed-0/models"):
        process = subprocess.Popen(
            [sys.executable, "-c", script], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 60
        while process.poll() is None and not (out / marker).exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        process.kill()
        process.wait()
        assert (out / marker).exists()
    study(world, out, FEW)
    expected, found = results_of(whole), results_of(out)
    for a, b in zip(expected.arms, found.arms, strict=True):
        assert a.skipped == b.skipped
        for x, y in zip(a.seeds, b.seeds, strict=True):
            assert (x.examples, x.tasks, x.items) == (y.examples, y.tasks, y.items)
            assert per_task(x.test, 1) == per_task(y.test, 1)


def test_a_run_that_cannot_fine_tune_still_serves_the_controls(world):
    script = Path(world.parent / "script.jsonl")
    rows = [line for line in script.read_text().splitlines() if "FEEDBACK" not in line]
    script.write_text("\n".join(rows) + "\n")
    out = world.parent / "out"
    study(world, out, FEW)
    found = results_of(out)
    assert "nothing to fine-tune on" in found.seeds[0].problem
    assert "nothing to fine-tune on" in arm(out, "ilf").skipped
    assert arm(out, "gold").seeds[0].examples == 6
    assert "ILF was not measured" in (out / "report.html").read_text(encoding="utf-8")


def test_a_dry_run(world):
    # The run that a study starts from is not rehearsed.
    path = study(world, world.parent / "dry", ["reuse=nowhere"], dry_run=True)
    assert path.is_file() and results_of(world.parent / "dry").arm("ilf") is not None


# --- bad input


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ('arms=["gild"]', "arms: 'gild' is unknown; known: zero-shot, ilf"),
        ('groups=["all"]', "groups: 'all' is unknown"),
        ("temperature=[0.5]", "temperature: unknown key; did you mean temperatures"),
        ("temperatures=[-1]", "temperatures: a temperature is negative"),
        ("seeds=[1, 1]", "seeds: a seed is given twice"),
        ("seeds=[]", "seeds"),
        ("run.sampling.m=3", "run: sampling.m: unknown key"),
        ('base="nowhere.toml"', "nowhere.toml: no such file"),
    ],
)
def test_bad_settings_are_named(world, change, complaint):
    with pytest.raises(ConfigError, match=complaint.replace("[", r"\[")):
        load_study(world, [change])


def test_a_folder_keeps_to_one_study(finished, world):
    with pytest.raises(RunFolderError, match="belongs to a study with"):
        study(world, finished)
    other = world.parent / "full"
    other.mkdir()
    (other / "file").touch()
    with pytest.raises(RunFolderError, match="not empty"):
        study(world, other)


def test_more_items_than_there_are_skip_the_arm(world):
    out = world.parent / "out"
    study(world, out, ['arms=["size-50"]', "sizes=[50]", "temperatures=[]"])
    assert arm(out, "size-50").skipped == "50 feedback items asked for, the run has 6 on the train split"


def test_validation_ids_that_were_seen_are_refused(world):
    with pytest.raises(UserError, match="were seen in feedback or the test split"):
        study(world, world.parent / "out", ['validation.ids="t1,t15"', *FEW[:1]])


@pytest.mark.parametrize(
    "name", ["study-starter", "study-starter-seeds", "study-mbpp", "study-paper", "study-demo", "study-house"]
)
def test_shipped_studies_load(name):
    settings = load_study(starter_path().parent / f"{name}.toml")
    assert settings.run.selection.strategy == "random" and "ilf" in {arm.name for arm in settings.declared()}
