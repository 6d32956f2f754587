"""`ilf runs watch`: a run as it goes on."""

import io
import json
import shutil
import threading
import time

import pytest
from toy import world

from ilf import algorithm
from ilf.errors import DataError
from ilf.runfolder import RunFolder
from ilf.watch import HEIGHT, Curve, drawn, look, view, watch


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("toy")
    algorithm.run(world(folder), folder / "run", summary=False)
    return folder / "run"


def shown(found):
    from rich.console import Console

    out = Console(width=100, record=True, file=io.StringIO())
    out.print(view(found))
    return out.export_text()


def test_a_finished_run_has_its_steps_rates_and_result(finished):
    found = look(finished)
    assert [step.name for step in found.steps] == list(RunFolder(finished).read_manifest().steps)
    assert all(step.seconds is not None for step in found.steps)
    rates = {curve.name: curve.values[-1] for curve in found.passing}
    evaluation = json.loads(RunFolder(finished).round(1).evaluation.read_text())
    assert rates["programs"] == 0 and rates["refinements"] == 1
    for arm in ("before", "after"):
        assert rates[f"{arm}, held out"] == evaluation["arms"][arm]["pass_at"]["1"]["value"]
    text = shown(found)
    assert "finished" in text and "round-1/8-evaluation" in text and "Feedback gained" in text
    assert found.loss == ()  # a scripted model has none


def test_one_under_way_says_how_far_it_is(finished, tmp_path):
    run = RunFolder(shutil.copytree(finished, tmp_path / "run"))
    manifest = run.read_manifest()
    for name in ("round-1/5-refinements", "round-1/6-examples", "round-1/7-model", "round-1/8-evaluation"):
        manifest.steps.pop(name)
    run.write_manifest(manifest)
    files = run.round(1)
    rows = files.refinements.read_text().splitlines()
    files.refinements.unlink()
    half = "\n".join(rows[:4]) + "\n" + rows[4][:20]  # the last one is being written
    files.refinements.with_name("5-refinements.jsonl.part").write_text(half)
    files.evaluation.unlink()
    shutil.rmtree(files.path / "8-evaluation")
    work = files.refiner.with_name(".4-refiner.partial")
    work.mkdir()
    log = [{"step": i, "loss": 2.0 - i / 10} for i in range(10)]
    (work / "training_log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in log))
    found = look(run.path)
    assert found.row["step"] == "round-1/5-refinements" == found.steps[-1].name
    assert found.steps[-1].seconds is None and found.steps[-1].made == {"rows": 4}
    assert found.loss == (Curve("πRefine", tuple(row["loss"] for row in log)),)
    assert found.passing[-1] == Curve("refinements", (1.0, 1.0, 1.0, 1.0))
    text = shown(found)
    assert "unfinished, at round-1/5-refinements" in text and "under way" in text
    assert "Loss, πRefine: 2.000 nats a token → 1.100 nats a token" in text


def test_a_curve_has_its_least_at_the_bottom_and_its_largest_at_the_top():
    assert drawn([0.0, 1.0, 0.5], height=2) == [" █▁", "▁██"]
    long = drawn([float(i) for i in range(1000)], width=50)
    assert len(long) == HEIGHT and {len(line) for line in long} == {50}
    assert long[0][-1] == "█" and long[0][0] == " " and long[-1][0] == "▁"
    assert drawn([3.0], height=1) == ["▁"]


def test_it_goes_on_until_the_run_is_finished(finished, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    run = RunFolder(shutil.copytree(finished, tmp_path / "run"))
    manifest = run.read_manifest()
    last = manifest.steps.pop("round-1/8-evaluation")
    run.write_manifest(manifest)

    def end():
        time.sleep(0.3)
        manifest.steps["round-1/8-evaluation"] = last
        run.write_manifest(manifest)

    other = threading.Thread(target=end)
    other.start()
    watch(run.path, every=0.05)
    other.join()
    out = capsys.readouterr().out
    assert "at round-1/8-evaluation" in out and "finished" in out.rpartition("at round-1/8-evaluation")[2]


def test_where_there_is_no_terminal_one_look_is_enough(finished, tmp_path, capsys):
    watch(finished)
    assert "finished" in capsys.readouterr().out
    with pytest.raises(DataError, match="not a run"):
        look(tmp_path)
