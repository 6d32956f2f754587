"""`ilf runs`: states, numbers, comparison, and folders that cannot be read."""

import json
import shutil
import subprocess
import sys

import pytest
import toy
from pydantic_core import to_jsonable_python

from ilf import algorithm
from ilf.errors import DataError, UserError
from ilf.metrics import Evaluation
from ilf.runfolder import RunFolder
from ilf.runs import compare, runs, summary


@pytest.fixture(scope="module")
def shelf(tmp_path_factory):
    """runs/: a finished run, and copies of it that were interrupted; not to be changed."""
    folder = tmp_path_factory.mktemp("shelf")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ilf.kinds.function.self_check", lambda **_: 0)
        algorithm.run(toy.world(folder), folder / "runs" / "done", summary=False)
    return folder / "runs"


def evaluation(run):
    raw = json.loads(RunFolder(run).round(1).evaluation.read_text())
    return {arm: Evaluation.model_validate(e) for arm, e in raw["arms"].items()}


def cut(shelf, path, step):
    """A copy of the finished run that ended before `step`."""
    shutil.copytree(shelf / "done", path)
    folder = RunFolder(path)
    manifest = folder.read_manifest()
    kept = {label: state for label, state in manifest.steps.items() if label < f"round-1/{step}"}
    for entry in folder.round(1).path.iterdir():
        if entry.name >= step:
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    folder.write_manifest(manifest.model_copy(update={"steps": kept, "partial_seconds": {}}))
    return path


def test_a_finished_run_is_summed_up(shelf):
    row = summary(shelf / "done")
    measured = evaluation(shelf / "done")["after"]
    steps = RunFolder(shelf / "done").read_manifest().steps.values()
    assert (row.state, row.step, row.problem) == ("finished", None, None)
    assert row.tasks == str(shelf.parent / "tasks.jsonl")
    assert row.feedback == len(toy.rows(shelf / "done/round-1/3-feedback.jsonl")) > 0
    after = row.results[row.final]
    assert (after.value, after.low, after.high) == tuple(measured.pass_at[1].model_dump().values())
    assert (after.tasks, after.samples) == (len(measured.tasks), measured.n)
    assert row.seconds == pytest.approx(sum(step.seconds for step in steps), abs=0.01)


@pytest.mark.parametrize("step", ["1-programs", "4-refiner", "8-evaluation"])
def test_an_interrupted_run_says_which_step_comes_next(shelf, tmp_path, step):
    row = summary(cut(shelf, tmp_path / "cut", step))
    assert (row.state, row.step, row.results) == ("unfinished", f"round-1/{step}", {})
    assert (row.feedback is None) == (step == "1-programs")
    assert f"at round-1/{step}" in runs([str(tmp_path / "cut")])[1]


def test_a_step_without_its_file_and_a_round_to_come_are_not_done(shelf, tmp_path):
    run = shutil.copytree(shelf / "done", tmp_path / "run")
    (run / "config.toml").write_text((run / "config.toml").read_text().replace("rounds = 1", "rounds = 2"))
    assert summary(run).step == "round-2/1-programs"
    (run / "round-1/6-examples.jsonl").unlink()
    assert summary(run).step == "round-1/6-examples"


def test_a_run_that_needs_people_waits_for_them(shelf, tmp_path):
    run = cut(shelf, tmp_path / "cut", "3-feedback")
    config = run / "config.toml"
    assert summary(run).state == "unfinished"
    config.write_text(config.read_text().replace('source = "recorded"', 'source = "human"'))
    assert summary(run).state == "waiting"
    assert "waiting for people" in runs([str(run)])[1]


def test_broken_and_foreign_folders_are_a_line_each(shelf, tmp_path):
    here = tmp_path / "runs"
    shutil.copytree(shelf / "done", here / "good")
    spoil = {
        "no-manifest": ("manifest.json", None),
        "manifest-not-json": ("manifest.json", b"{"),
        "manifest-a-list": ("manifest.json", b"[]"),
        "manifest-binary": ("manifest.json", b"\xff\xfe"),
        "newer": ("manifest.json", b'{"format": 99, "version": "9"}'),
        "no-config": ("config.toml", None),
        "config-not-toml": ("config.toml", b"= ="),
        "config-binary": ("config.toml", b"\xff"),
        "evaluation-empty": ("round-1/8-evaluation.json", b""),
        "evaluation-a-list": ("round-1/8-evaluation.json", b"[1]"),
    }
    for name, (file, content) in spoil.items():
        shutil.copytree(shelf / "done", here / name)
        (here / name / file).unlink() if content is None else (here / name / file).write_bytes(content)
    (here / "photos").mkdir()
    (here / "new\nline\x1b[31m").mkdir()
    (here / "a-file").write_text("not a folder")
    lines = runs([str(here)])[1].splitlines()
    assert len(lines) == 2 + len(spoil) + 2
    assert [line for line in lines if "finished" in line][0].startswith(str(here / "good"))
    for name in spoil:
        assert [line for line in lines if line.startswith(f"{here / name}: broken: ")], name
    assert f"{here / 'photos'}: not a run or study folder" in lines
    assert not any("\x1b" in line for line in lines)
    states = {row["folder"]: row["state"] for row in to_jsonable_python(runs([str(here)])[0])}
    assert sorted(states.values()) == ["broken"] * len(spoil) + ["finished"] + ["foreign"] * 2


def test_settings_of_the_wrong_kind_are_no_traceback(shelf, tmp_path):
    run = shutil.copytree(shelf / "done", tmp_path / "run")
    (run / "config.toml").write_text('model = 3\ntasks = "x"\nfeedback = [1]\nrounds = "two"\n')
    row = summary(run)
    assert (row.model, row.tasks, row.state) == ("3", None, "finished")


def test_compare_shows_what_differs_and_both_results(shelf, make_run, tmp_path):
    a = make_run(tmp_path / "a", before=0.2, after=0.3, n=4)
    b = make_run(tmp_path / "b", before=0.2, after=0.9, n=4, seed=1, name="other")
    found = compare(a, b)
    assert found["settings"].keys() == {"name", "seed", "tasks.source"}
    assert found["settings"]["seed"] == ["0", "1"]
    rates = [evaluation(run)["after"].pass_at[1].value for run in (a, b)]
    assert found["difference"]["difference"]["value"] == pytest.approx(rates[1] - rates[0])
    text = runs(["compare", str(a), str(b)])[1]
    for rate in rates:
        assert f"{100 * rate:.1f}% [" in text
    assert "paired" in text and "a gain" in text
    assert runs(["compare", str(a), str(b)])[0] == found


def test_other_tasks_are_not_paired(make_run, tmp_path):
    a, b = make_run(tmp_path / "a", tasks=6), make_run(tmp_path / "b", tasks=7)
    assert compare(a, b)["difference"] is None


def test_what_cannot_be_compared_is_said(shelf, tmp_path):
    with pytest.raises(UserError, match="two folders, got 1"):
        runs(["compare", str(shelf / "done")])
    with pytest.raises(DataError, match="not a run or study folder"):
        compare(shelf / "done", tmp_path)
    with pytest.raises(DataError, match="no such folder"):
        runs([str(tmp_path / "nothing")])


def test_no_runs_yet(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "no runs here yet" in runs([])[1]
    assert runs([])[0] == []


def test_the_command_lists_runs_without_torch_or_numpy(shelf):
    program = (
        "import sys; sys.argv[1:] = ['runs', *sys.argv[1:]]\nfrom ilf import cli\n"
        "try: cli.main()\nexcept SystemExit: pass\n"
        "assert not {'torch', 'numpy', 'transformers'} & sys.modules.keys()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(shelf), "--json"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert [row["name"] for row in json.loads(done.stdout)] == ["toy"]
