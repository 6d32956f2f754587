"""Reports at experiment trackers: every number arrives, by the real libraries, without a network."""

import json
import math
import sys

import pytest
from toy import world

from ilf import algorithm
from ilf.errors import MissingDependency, UserError
from ilf.metrics import Estimate
from ilf.report import trackers
from ilf.report.command import write_report
from ilf.report.content import Column, Document, Section, Table
from ilf.report.load import load_run
from ilf.report.run import document
from ilf.runfolder import RunFolder


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run with the log of a fine-tuning."""
    folder = tmp_path_factory.mktemp("toy")
    algorithm.run(world(folder), folder / "run", summary=False)
    log = RunFolder(folder / "run").round(1).model
    rows = [{"step": i, "loss": 2.0 / i, "learning_rate": 0.1} for i in (1, 2, 3)]
    (log / "training_log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder / "run"


def test_every_number_of_the_tables_has_a_name_of_its_own(run):
    report = document(load_run(run))
    cells = [cell for table in report.tables for row in table.rows for cell in row]
    expected = sum(
        3 if isinstance(cell, Estimate) else 1 for cell in cells if isinstance(cell, Estimate | int | float)
    )
    found = trackers.numbers(report)
    assert len(found) == expected > 20
    evaluation = json.loads(RunFolder(run).round(1).evaluation.read_text())["arms"]["after"]
    assert found["result/after-pitheta-star/pass-at-1"] == evaluation["pass_at"]["1"]["value"]
    assert all(name.isascii() and " " not in name for name in found)


def test_rows_without_a_text_are_numbered():
    table = Table("t", "T.", [Column("k", "number"), Column("v", "percent")], [[1, 0.5], [2, None]])
    made = Document("r", "", sections=[Section("s", "S", parts=[table])])
    assert trackers.numbers(made) == {"t/1/k": 1.0, "t/1/v": 0.5, "t/2/k": 2.0}


def test_tensorboard(run, tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    write_report(run, tmp_path / "out.html", to=["tensorboard"])
    read = EventAccumulator(str(tmp_path / "out-files" / "tensorboard"))
    read.Reload()
    expected = trackers.numbers(document(load_run(run)))
    tags = set(read.Tags()["scalars"])
    assert expected.keys() <= tags
    for name, value in expected.items():
        assert math.isclose(read.Scalars(name)[0].value, value, rel_tol=1e-6, abs_tol=1e-9), name
    losses = read.Scalars("round-1-pitheta-star-loss")
    assert [(event.step, round(event.value, 4)) for event in losses] == [(1, 2.0), (2, 1.0), (3, 0.6667)]


def test_wandb_offline(run, tmp_path, monkeypatch):
    pytest.importorskip("wandb", reason="wandb is not among the tests' packages: 62 MB")
    monkeypatch.setenv("WANDB_MODE", "offline")
    write_report(run, tmp_path / "out.html", to=["wandb"])
    [written] = (tmp_path / "out-files").glob("wandb/offline-run-*/*.wandb")
    content = written.read_bytes()
    assert b"result/after-pitheta-star/pass-at-1" in content and b"round-1-pitheta-star-loss" in content


def test_trackio(run, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))  # read when it is imported
    pytest.importorskip("trackio", reason="trackio is not among the tests' packages: it brings a web server")
    write_report(run, tmp_path / "out.html", to=["trackio"])
    content = b"".join(path.read_bytes() for path in (tmp_path / "trackio").rglob("*") if path.is_file())
    assert b"result/after-pitheta-star/pass-at-1" in content
    assert capsys.readouterr().out == "", "what it says is not part of our answer"


def test_mistakes_are_one_line(run, tmp_path, monkeypatch):
    with pytest.raises(UserError, match="unknown tracker 'abacus'; known: tensorboard, trackio, wandb"):
        write_report(run, tmp_path / "a.html", to=["abacus"])
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(MissingDependency, match="wandb is not installed.*pip install wandb"):
        write_report(run, tmp_path / "b.html", to=["wandb"])

    def refusing(name, beside):
        raise RuntimeError("no account\nand more")

    monkeypatch.setitem(trackers.TRACKERS, "wandb", refusing)
    with pytest.raises(UserError, match="^wandb: RuntimeError: no account$"):
        write_report(run, tmp_path / "c.html", to=["wandb"])
