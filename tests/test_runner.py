"""The runner: when a step is done, what its manifest says, and steps that are made of steps."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from ilf.costs import Cost
from ilf.errors import DataError
from ilf.places import Local
from ilf.runfolder import Manifest, RunFolder, StepState, write_text
from ilf.runner import Runner, Step, alone


@dataclass(frozen=True)
class Write(Step[str]):
    """Writes a value, and counts how often."""

    file = "1-x.txt"
    value: int
    done: list

    def inputs(self):
        return {"value": self.value}

    def run(self, job):
        self.done.append(self.value)
        write_text(job.out, f"{self.value}")
        return {"rows": 1}

    def result(self, out):
        return out.read_text()


@dataclass(frozen=True)
class Both(Step[str]):
    """Made of two steps; what it adds can fail."""

    file = "2-both.json"
    done: list
    mark: int = 0
    fail: bool = False

    def inputs(self):
        return {"mark": self.mark}

    def run(self, job):
        parts = [job.do(Write(n, self.done), f"{n}.txt") for n in (1, 2)]
        if self.fail:
            raise KeyboardInterrupt
        write_text(job.out, "+".join(parts))
        return {}

    def result(self, out):
        return out.read_text()


def runner(folder):
    found = folder.read_manifest() or Manifest(version="0", created="now", identity={})
    return Runner(folder, found, Local())


def test_a_step_is_done_once_until_something_changes(tmp_path):
    folder, done = RunFolder(tmp_path / "run"), []
    do = runner(folder).at("round-1")
    assert [do(Write(1, done)), do(Write(1, done))] == ["1", "1"] and done == [1]
    do = runner(folder).at("round-1")  # a new process
    do(Write(1, done))
    assert done == [1]
    assert do(Write(2, done)) == "2"
    (tmp_path / "run/round-1/1-x.txt").unlink()
    do(Write(2, done))
    assert done == [1, 2, 2]
    assert folder.read_manifest().steps["round-1/1-x.txt"].counts == {"rows": 1}


def test_equal_steps_in_two_places_are_two(tmp_path):
    do, done = runner(RunFolder(tmp_path)), []
    do.at("round-1")(Write(1, done))
    do.at("round-2")(Write(1, done))
    do(Write(1, done), "elsewhere/y.txt")
    assert done == [1, 1, 1] and (tmp_path / "elsewhere/y.txt").read_text() == "1"


def test_parts_of_an_interrupted_step_are_not_done_again(tmp_path):
    folder, done = RunFolder(tmp_path), []
    with pytest.raises(KeyboardInterrupt):
        runner(folder)(Both(done, fail=True))
    found = folder.read_manifest()
    assert "2-both" in found.partial_seconds and not found.steps and len(found.parts) == 2
    assert runner(folder)(Both(done)) == "1+2" and done == [1, 2]
    assert runner(folder)(Both(done, mark=1)) == "1+2" and done == [1, 2]
    found = folder.read_manifest()
    assert not found.partial_seconds and list(found.steps) == ["2-both"]
    assert (tmp_path / "2-both/1.txt").read_text() == "1"


def test_what_comes_before_a_step_comes_only_before_work(tmp_path):
    folder, checked = RunFolder(tmp_path), []
    do = Runner(folder, Manifest(version="0", created="now", identity={}), Local(), lambda: checked.append(1))
    do(Write(1, []))
    do(Write(1, []))
    assert checked == [1]


def test_a_step_alone_is_never_overwritten(tmp_path, capsys):
    out, done = tmp_path / "deep" / "out.txt", []
    assert alone(Write(1, done), out, Local()) == "1"
    assert alone(Write(1, done), out, Local()) == "1" and done == [1]
    assert "complete already" in capsys.readouterr().err
    with pytest.raises(DataError, match=r"out\.txt exists and was made from something else"):
        alone(Write(2, done), out, Local())
    with pytest.raises(DataError, match="a folder, but the name of a file"):
        alone(Write(2, done), Path(tmp_path), Local())


@dataclass(frozen=True)
class Sampling(Write):
    """Says that it samples."""

    file = "5-refinements.jsonl"

    def cost(self):
        return Cost(samples=30, tokens=3000)


def test_a_step_that_samples_says_how_long_at_the_rate_measured_before(tmp_path, capsys):
    folder = RunFolder(tmp_path)
    do = runner(folder).at("round-1")
    do(Sampling(1, []))
    assert "    at most 30 samples, 3,000 tokens\n" in capsys.readouterr().err
    do.manifest.steps["round-1/1-programs"] = StepState(key="", seconds=50, counts={"samples": 10})
    do(Sampling(2, []))
    assert "about 2 min 30 s at the rate of round-1/1-programs\n" in capsys.readouterr().err
    do.manifest.steps["round-1/5-refinements"] = StepState(key="", seconds=20, counts={"samples": 20})
    do.manifest.steps["round-2/1-programs"] = StepState(key="", seconds=50, counts={"samples": 10})
    second = runner(folder)
    second.manifest.steps.update(do.manifest.steps)
    second.at("round-2")(Sampling(3, []))
    assert "about 30 s at the rate of round-1/5-refinements\n" in capsys.readouterr().err
