"""`ilf runs` on study folders."""

import shutil

import pytest

from ilf.errors import DataError
from ilf.runfolder import RunFolder
from ilf.runs import compare, runs, summary
from ilf.study.results import read_results, write_results


def test_a_finished_study_is_summed_up(finished):
    row = summary(finished)
    arm = read_results(finished / "results.json").arm("ilf")
    assert (row.kind, row.name, row.state, row.problem) == ("study", "small", "finished", None)
    assert row.final == "ilf"
    assert row.results["ilf"].value == arm.seeds[0].test.pass_at[1].value
    assert [*row.results][0] == "zero-shot"
    items = (finished / "seed-0/run/round-1/3-feedback.jsonl").read_text().splitlines()
    assert row.feedback == len(items) > 0
    own = RunFolder(finished).read_manifest().steps.values()
    shared = RunFolder(finished / "seed-0/run").read_manifest().steps.values()
    assert row.seconds == pytest.approx(sum(s.seconds for s in [*own, *shared]), abs=0.01)


def test_an_interrupted_study_says_where_it_is(finished, tmp_path):
    folder = shutil.copytree(finished, tmp_path / "study")
    results = read_results(folder / "results.json")
    next(result for result in results.arms if result.arm.name == "gold").seeds = []
    write_results(folder / "results.json", results)
    assert (summary(folder).state, summary(folder).step) == ("unfinished", "seed 1 of 1, arm gold")
    (folder / "results.json").unlink()
    assert summary(folder).step == "the run that the arms share"
    (folder / "results.json").write_text("{}")
    assert "broken: " in runs([str(folder)])[1]


def test_studies_compare_arm_by_arm_and_not_with_runs(finished, tmp_path):
    folder = shutil.copytree(finished, tmp_path / "study")
    text = (folder / "study.toml").read_text()
    (folder / "study.toml").write_text(text.replace("report_at = 0.8", "report_at = 0.5"))
    found = compare(finished, folder)
    assert found["settings"] == {"report_at": ["0.8", "0.5"]}
    assert "gold" in runs(["compare", str(finished), str(folder)])[1]
    with pytest.raises(DataError, match="is a study and"):
        compare(finished, finished / "seed-0/run")
