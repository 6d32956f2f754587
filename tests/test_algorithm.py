"""The whole loop with a scripted model: what it writes, what it does again, and what a kill costs."""

import hashlib
import json
import os
import shutil
import signal
import sys
from itertools import groupby
from pathlib import Path

import pytest
from toy import config, outputs, world
from toy import tasks as toy_tasks

from ilf import learners, metrics, policy, rounds, runfolder
from ilf.algorithm import run
from ilf.errors import (
    ConfigError,
    DataError,
    LeakError,
    MissingDependency,
    ModelError,
    PromptTooLong,
    RunFolderError,
    SandboxFailure,
    TrainingError,
)
from ilf.kinds import function
from ilf.records import Example, Feedback, Program, Refinement, Task, Verdict, read_jsonl, write_jsonl
from ilf.sampling import scripted
from ilf.steps import evaluation, examples, feedback, sampling, verdicts


class FakeVerifier:
    """Runs trusted toy programs in this process, so that a test can afford a hundred runs."""

    def __init__(self, tasks, **settings):
        self.tasks = tasks

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass

    def verify(self, programs):
        for program in programs:
            results = []
            for test in self.tasks[program.task_id].tests:
                scope = {}
                try:
                    exec(program.code, scope)
                    exec(test, scope)
                    results.append(True)
                except Exception:
                    results.append(False)
            yield Verdict(
                task_id=program.task_id,
                program_id=program.program_id,
                status="passed" if all(results) else "failed",
                tests=tuple(results),
                detail="fake",
            )


@pytest.fixture
def fake_sandbox(monkeypatch):
    monkeypatch.setattr(function, "Verifier", FakeVerifier)
    monkeypatch.setattr(function, "self_check", lambda **_: None)


def test_a_run_that_refines_one_bug_at_a_time(tmp_path, fake_sandbox):
    asked = world(tmp_path)
    run(asked, tmp_path / "whole")
    parts = asked.model_copy(update={"refiner": asked.refiner.model_copy(update={"by_parts": True})})
    folder = run(parts, tmp_path / "parts")
    items = read_jsonl(folder.round(1).feedback, Feedback)
    train = {task.task_id for task in toy_tasks() if task.split == "train"}
    refined = read_jsonl(folder.round(1).refinements, Refinement)
    assert [row.feedback_id for row in refined] == [i.feedback_id for i in items if i.task_id in train]
    whole = read_jsonl(tmp_path / "whole" / "round-1" / "5-refinements.jsonl", Refinement)
    assert len(whole) == asked.refiner.sampling.n * len(refined)
    assert any(row.verdict.passed for row in refined)


def test_the_whole_loop_in_the_real_sandbox(tmp_path, capsys):
    folder = run(world(tmp_path), tmp_path / "run")
    files = folder.round(1)
    programs, verdicts = read_jsonl(files.programs, Program), read_jsonl(files.verdicts, Verdict)
    assert len(programs) == len(verdicts) == 8 * 2  # refine and train, two samples each
    assert {v.status for v in verdicts} <= {"failed", "error"}
    assert [p.program_id for p in programs] == [v.program_id for v in verdicts]

    items = read_jsonl(files.feedback, Feedback)
    assert len(items) == 8 and {i.author for i in items} == {"somebody"}

    refinements = read_jsonl(files.refinements, Refinement)
    assert len(refinements) == 5 * 2  # train only
    assert all(r.verdict.passed and r.edit_distance > 0 for r in refinements)

    examples = read_jsonl(files.examples, Example)
    assert sorted(e.task_id for e in examples) == [f"toy/train_{i}" for i in range(5)]

    # Each training row leads back to its feedback, its refinement, and the weights that wrote it.
    by_id = {i.feedback_id: i for i in items}
    refined = {r.refinement_id: r for r in refinements}
    refiner = hashlib.sha256((files.refiner / "script.jsonl").read_bytes()).hexdigest()
    for example in examples:
        assert by_id[example.feedback_id].task_id == example.task_id
        assert refined[example.refinement_id].model == refiner
        assert refined[example.refinement_id].verdict.passed

    evaluation = json.loads(files.evaluation.read_text())
    assert [c["metric"] for c in evaluation["paired"]] == ["pass@1", "pass@2"]
    assert evaluation["arms"]["before"]["pass_at"]["1"]["value"] == 0.0
    assert evaluation["refinement"]["pass_at"]["1"]["value"] == 1.0
    assert len(evaluation["arms"]["after"]["tasks"]) == 4
    out = capsys.readouterr().out
    assert "pass@1" in out and "Where the time went" in out


def test_verdicts_with_isolation_shared_are_counted_and_said(tmp_path, capsys):
    settings = world(tmp_path)
    changed = []
    for task in toy_tasks():
        if task.task_id in ("toy/train_0", "toy/test_0"):  # tests that only the program's process can run
            name, value = task.entry_point, 5 + int(task.task_id[-1]) + 1
            tests = (f"import builtins\nbuiltins.five = 5\nassert {name}(5) == {value}",)
            reference = f"import builtins\n{task.prefix}    return builtins.five + 1\n"
            task = task.model_copy(update={"tests": tests, "reference": reference})
        changed.append(task)
    write_jsonl(tmp_path / "tasks.jsonl", changed)
    folder = run(settings, tmp_path / "run")
    steps = {label.split("/")[1]: state.counts for label, state in folder.read_manifest().steps.items()}
    found = [v for v in read_jsonl(folder.round(1).verdicts, Verdict) if v.shared]
    assert {v.task_id for v in found} == {"toy/train_0"} and not any(v.passed for v in found)
    assert [steps[name].get("with isolation shared") for name in ("2-verdicts", "8-evaluation")] == [2, 4]
    said, profile = reversed(capsys.readouterr())
    assert (
        "2 verdicts with isolation shared, where a hostile program is able to cheat; tasks: toy/train_0"
        in said
    )
    assert "2 with isolation shared" in profile
    from ilf.report.command import write_report

    write_report(folder.path)
    page = folder.report.read_text()
    assert "Verdicts with isolation shared" in page and "hostile one is able to cheat" in page


def test_a_finished_run_does_nothing_again(tmp_path, fake_sandbox, monkeypatch, capsys):
    settings = world(tmp_path)
    run(settings, tmp_path / "run")
    before = outputs(tmp_path / "run")
    monkeypatch.setattr(policy, "open_sampler", HashOnly)
    capsys.readouterr()
    run(settings, tmp_path / "run")
    assert capsys.readouterr().err.count(": unchanged") == 8
    assert outputs(tmp_path / "run") == before


class HashOnly:
    """A scripted sampler whose weights can be hashed but not sampled."""

    def __init__(self, engine, model, **options):
        from ilf.sampling import open_sampler

        self.model = open_sampler(engine, model, **options).model

    def sample(self, *_, **__):
        pytest.fail("sampled again")


@pytest.mark.parametrize(
    ("change", "again"),
    [
        ({"evaluation__k": [1]}, {"8-evaluation"}),
        ({"selection__strategy": "all"}, {"6-examples"}),
        ({"refiner__sampling": {"n": 3}}, {"5-refinements", "6-examples", "8-evaluation"}),
        ({"verify__workers": 1}, set()),
        ({"sampling__n": 3}, {"1-programs", "2-verdicts", "3-feedback"}),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_a_changed_setting_reruns_only_what_depends_on_it(tmp_path, fake_sandbox, capsys, change, again):
    run(world(tmp_path), tmp_path / "run")
    capsys.readouterr()
    run(config(tmp_path, **change), tmp_path / "run")
    said = capsys.readouterr().err.splitlines()
    names = [
        line.strip()
        for line in said
        if line.startswith("  ") and line.strip()[:2] in {f"{i}-" for i in range(9)}
    ]
    assert {name for name in names if not name.endswith(": unchanged")} == again


def test_an_edited_file_reruns_what_reads_it(tmp_path, fake_sandbox, capsys):
    settings = world(tmp_path)
    folder = run(settings, tmp_path / "run")
    path = folder.round(1).feedback
    write_jsonl(path, read_jsonl(path, Feedback)[:-1])
    capsys.readouterr()
    run(settings, tmp_path / "run")
    said = capsys.readouterr().err
    assert "3-feedback: unchanged" in said and "5-refinements: unchanged" not in said
    assert len(read_jsonl(folder.round(1).refinements, Refinement)) == 4 * 2


def two_rounds(tmp_path, **changes):
    """A run whose first round hears of three of the five train tasks, and the second of all of them."""
    settings = world(tmp_path)
    path = tmp_path / "feedback.jsonl"
    some = [i for i in read_jsonl(path, Feedback) if i.task_id not in ("toy/train_3", "toy/train_4")]
    write_jsonl(tmp_path / "some.jsonl", some)
    paths = [str(tmp_path / "some.jsonl"), str(path)]
    settings = config(tmp_path, rounds=2, feedback={"path": paths, "only_unsolved": False}, **changes)
    folder = run(settings, tmp_path / "run")
    return folder, *(json.loads(folder.round(n).evaluation.read_text()) for n in (1, 2))


def test_a_later_round_asks_about_what_still_fails_and_replays_the_rest(tmp_path, fake_sandbox):
    folder, one, two = two_rounds(tmp_path)
    assert (
        two["models"]["before"]["hash"] == one["models"]["after"]["hash"] != one["models"]["before"]["hash"]
    )
    assert read_jsonl(folder.round(2).programs, Program)[0].round == 2
    # Round 1 taught three train tasks by heart, so round 2 samples right programs for them.
    solved = {v.task_id for v in read_jsonl(folder.round(2).verdicts, Verdict) if v.passed}
    assert solved == {f"toy/train_{i}" for i in range(3)}
    asked = {i.task_id for i in read_jsonl(folder.round(2).feedback, Feedback)}
    assert asked == {"toy/train_3", "toy/train_4", *(f"toy/refine_{i}" for i in range(3))}
    new = {e.task_id for e in read_jsonl(folder.round(2).examples, Example)}
    assert new == {"toy/train_3", "toy/train_4"}
    counts = folder.read_manifest().steps
    assert counts["round-1/7-model"].counts["examples"] == 3
    assert counts["round-2/7-model"].counts["examples"] == 5  # the first three are replayed


def test_the_last_screen_has_the_curve_by_round_with_what_was_forgotten(tmp_path, fake_sandbox, capsys):
    two_rounds(tmp_path)
    lines = capsys.readouterr().out.split("By round")[1].splitlines()
    assert [line.split()[:2] for line in lines if "%" in line] == [
        ["before", "0.0%"],
        ["round", "1"],
        ["round", "2"],
    ]
    assert sum("0 of 0" in line for line in lines) == 2


def test_forgetting_counts_tasks_that_are_no_longer_solved():
    def evaluated(*passed):
        verdicts = [
            Verdict(task_id=f"t{n}", program_id=f"p{n}", status="passed" if p else "failed")
            for n, p in enumerate(passed)
        ]
        of = [
            Task(task_id=f"t{n}", description="", entry_point="f", tests=("1",)) for n in range(len(passed))
        ]
        return metrics.evaluate(metrics.count(of, verdicts), split="test", temperature=0, n=1, ks=[1])

    assert rounds.forgotten(evaluated(1, 1, 1, 0), evaluated(1, 0, 1, 1)) == (3, 1)


def test_without_replay_a_round_learns_its_own_examples_only(tmp_path, fake_sandbox):
    folder, *_ = two_rounds(tmp_path, examples={"replay": False})
    assert folder.read_manifest().steps["round-2/7-model"].counts["examples"] == 2


def test_a_round_can_start_from_the_first_model(tmp_path, fake_sandbox, monkeypatch):
    began = []
    real = scripted.learn
    monkeypatch.setattr(scripted, "learn", lambda start, *rest: (began.append(start), real(start, *rest))[1])
    two_rounds(tmp_path, rounds_from="first", evaluation__control=False)
    # πRefine, πθ*; then πRefine from the newest model, and πθ* from the first again.
    assert [Path(start).name for start in began] == [
        "script.jsonl",
        "script.jsonl",
        "7-model",
        "script.jsonl",
    ]


def test_rounds_end_where_nothing_fails_any_more(tmp_path, fake_sandbox, capsys):
    path = str(tmp_path / "feedback.jsonl")
    folder = run(world(tmp_path, rounds=3, feedback={"path": path, "only_unsolved": False}), tmp_path / "run")
    assert not folder.round(2).evaluation.exists()
    assert "nothing is left for round 2" in folder.read_manifest().stopped
    assert "nothing is left for round 2" in capsys.readouterr().err


def test_why_an_earlier_call_stopped_is_forgotten_by_one_that_does_not(tmp_path, fake_sandbox):
    path = str(tmp_path / "feedback.jsonl")
    feedback = {"path": path, "only_unsolved": False}
    folder = run(world(tmp_path, rounds=2, feedback=feedback), tmp_path / "run")
    assert folder.read_manifest().stopped is not None
    run(config(tmp_path, rounds=1, feedback=feedback), tmp_path / "run")
    assert folder.read_manifest().stopped is None


def test_a_round_without_a_gain_on_the_validation_tasks_is_the_last(tmp_path, fake_sandbox, capsys):
    settings = world(tmp_path)
    path = tmp_path / "feedback.jsonl"
    some = [i for i in read_jsonl(path, Feedback) if i.task_id not in ("toy/train_3", "toy/train_4")]
    write_jsonl(path, some)
    settings = config(tmp_path, rounds=3, feedback={"path": str(path), "only_unsolved": False})
    folder = run(settings, tmp_path / "run")
    # One of the two train tasks without feedback is kept apart: learning others by heart does not solve it.
    kept = json.loads(folder.round(1).evaluation.read_text())["validation"]
    [apart] = {task["task_id"] for task in kept["arms"]["after"]["tasks"]}
    assert apart in ("toy/train_3", "toy/train_4")
    assert apart not in {p.task_id for p in read_jsonl(folder.round(1).programs, Program)}
    assert not folder.round(2).path.exists()
    said = capsys.readouterr().err
    assert "no gain that can be told from noise, so no further round" in said
    assert "best: the model it started from" in said


def test_feedback_on_programs_of_another_model_is_marked(tmp_path, fake_sandbox):
    settings = world(tmp_path)
    folder = run(settings, tmp_path / "one")
    ours = read_jsonl(folder.round(1).programs, Program)[0]
    path = tmp_path / "feedback.jsonl"
    items = read_jsonl(path, Feedback)
    code = next(i.code for i in items if i.task_id == ours.task_id)
    of_other = [i.model_copy(update={"model": "f" * 64}) if i.task_id == ours.task_id else i for i in items]
    write_jsonl(path, of_other)
    marked = {
        i.task_id: i.foreign for i in read_jsonl(run(settings, tmp_path / "two").round(1).feedback, Feedback)
    }
    sampled = {(p.task_id, p.code) for p in read_jsonl(folder.round(1).programs, Program)}
    assert marked[ours.task_id] is ((ours.task_id, code) not in sampled)
    assert set(marked.values()) <= {True, False}


# --- the control ------------------------------------------------------------------------------------------


def solving(tmp_path, solved=("toy/refine_2", "toy/train_4")):
    """The toy's model, which already solves some tasks: these, and train_2, whose description is refine_2's."""
    settings = world(tmp_path)
    of = {task.task_id: task for task in toy_tasks()}
    rows = [json.loads(line) for line in (tmp_path / "script.jsonl").read_text().splitlines()]
    for row in rows:
        for name in solved:
            if of[name].description in row["contains"] and "return None" in row["completions"][0]:
                body = of[name].reference.removeprefix(of[name].prefix)
                row["completions"] = ["\n" + body]
    (tmp_path / "script.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return settings


def test_the_control_learns_own_correct_samples_and_stands_beside_the_gain(tmp_path, fake_sandbox, capsys):
    folder = run(solving(tmp_path), tmp_path / "run")
    found = json.loads(folder.round(1).evaluation.read_text())
    assert list(found["arms"]) == ["before", "after", "own"]
    assert len(found["control"]) == 2  # own against before, after against own
    assert folder.round(1).control.is_dir()
    # As many own samples as πθ* has examples.
    counts = folder.read_manifest().steps
    assert counts["round-1/7-control"].counts["examples"] == counts["round-1/7-model"].counts["examples"] == 3
    out = capsys.readouterr().out
    assert "own correct samples alone" in out and "Feedback gained" in out


def test_own_samples_join_the_examples_as_a_share_of_the_whole(tmp_path, fake_sandbox):
    solving(tmp_path)
    folder = run(config(tmp_path, examples={"own": 0.4}, evaluation__control=False), tmp_path / "run")
    found = read_jsonl(folder.round(1).examples, Example)
    own = [e for e in found if e.origin == "self"]
    refined = [e for e in found if e.origin == "refinement"]
    # Three train tasks are not solved and get refined; two own samples are 40% of five.
    assert {e.task_id for e in refined} == {"toy/train_0", "toy/train_1", "toy/train_3"}
    assert len(own) == 2 and {e.task_id for e in own} < {"toy/refine_2", "toy/train_2", "toy/train_4"}
    assert not {e.task_id for e in own} & {e.task_id for e in refined}


# --- kills ------------------------------------------------------------------------------------------------


def _events(monkeypatch, act):
    """Call `act()` before and after every write that a run makes."""

    def around(owner, name):
        real = getattr(owner, name)

        def wrapped(*args, **kwargs):
            act()
            result = real(*args, **kwargs)
            act()
            return result

        monkeypatch.setattr(owner, name, wrapped)

    around(runfolder.Growing, "append")
    around(runfolder.Growing, "finish")
    around(runfolder.RunFolder, "write_manifest")
    around(feedback, "write_jsonl")
    around(examples, "write_jsonl")
    around(evaluation, "write_text")
    around(scripted, "learn")


def _in_child(do):
    """Run `do` in a forked process; its wait status."""
    child = os.fork()
    if child == 0:
        try:
            sys.stderr = open(os.devnull, "w")
            sys.stdout = open(os.devnull, "w")
            do()
        finally:
            os._exit(0)
    return os.waitpid(child, 0)[1]


def test_killed_anywhere_it_ends_as_if_never_killed(tmp_path, fake_sandbox, monkeypatch):
    monkeypatch.setattr(policy, "SEQUENCES", 4)  # several batches a step
    monkeypatch.setattr(verdicts, "ROWS", 3)
    # A kill, unlike a power cut, loses nothing that was written: the test need not wait for the disk.
    monkeypatch.setattr(os, "fsync", lambda _: None)
    settings = world(tmp_path)
    seen = []
    with monkeypatch.context() as patch:
        _events(patch, lambda: seen.append(1))
        run(settings, tmp_path / "whole")
    expected = outputs(tmp_path / "whole")
    assert len(seen) > 80
    for stop in range(len(seen)):
        folder = tmp_path / f"killed-{stop}"
        left = [stop]

        def kill(left=left):
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left[0] -= 1

        def attempt(folder=folder, kill=kill):
            with monkeypatch.context() as patch:
                _events(patch, kill)
                run(settings, folder)

        assert os.WTERMSIG(_in_child(attempt)) == signal.SIGKILL
        assert _in_child(lambda folder=folder: run(settings, folder)) == 0
        assert outputs(folder) == expected, f"killed at event {stop}"


def test_a_killed_step_repeats_at_most_the_batch_in_flight(tmp_path, fake_sandbox, monkeypatch):
    monkeypatch.setattr(policy, "SEQUENCES", 4)
    settings = world(tmp_path)
    real, appended = runfolder.Growing.append, []

    def append(self, records):
        real(self, records)
        appended.append(self.path.name)
        if appended.count("1-programs.jsonl") == 3:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(runfolder.Growing, "append", append)
        run(settings, tmp_path / "run")
    batches = []
    real_samples = sampling.samples_of
    monkeypatch.setattr(
        sampling, "samples_of", lambda *args: (batches.append(args[4][0].task_id), real_samples(*args))[1]
    )
    run(settings, tmp_path / "run")
    first_step = [task for task in batches if "test" not in task][:1]
    assert first_step == ["toy/train_3"]  # three batches of two tasks were kept: refine 0-2, train 0-2


def test_a_full_disk_loses_nothing(tmp_path, fake_sandbox, monkeypatch):
    settings = world(tmp_path)
    real = runfolder.Growing.append

    def full(self, records):
        if self.path.name == "2-verdicts.jsonl":
            raise OSError(28, "No space left on device", str(self.part))
        real(self, records)

    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space left"):
        patch.setattr(runfolder.Growing, "append", full)
        run(settings, tmp_path / "run")
    assert (tmp_path / "run" / "round-1" / "1-programs.jsonl").exists()
    run(settings, tmp_path / "run")


def test_what_later_steps_need_is_looked_at_before_the_first_one(tmp_path, fake_sandbox):
    settings = world(tmp_path)
    for change, error, said in (
        ({"refiner_model": str(tmp_path / "gone.jsonl")}, ModelError, "gone.jsonl"),
        ({"feedback": {"source": "model", "model": "gone.jsonl"}}, ModelError, "gone.jsonl"),
        ({"feedback": {"source": "model", "path": "gone.jsonl"}}, DataError, "feedback.path: gone.jsonl"),
    ):
        with pytest.raises(error, match=said):
            run(config(tmp_path, **change), tmp_path / "run")
    path = tmp_path / "feedback.jsonl"
    path.write_text(
        path.read_text() + '{"task_id": "toy/nowhere", "code": "", "text": "x", "source": "human"}\n'
    )
    with pytest.raises(DataError, match=r"line 9: task_id: 'toy/nowhere' is none of the source's 12 tasks"):
        run(settings, tmp_path / "run")
    assert not (tmp_path / "run" / "round-1").exists()


def test_missing_libraries_and_trackers_are_said_before_the_first_step(monkeypatch):
    from importlib import util

    from ilf.config import EngineConfig
    from ilf.training import FinetuneConfig

    real = util.find_spec
    monkeypatch.setattr(util, "find_spec", lambda name: None if name == "peft" else real(name))
    pytest.importorskip("accelerate")
    learners.require_training([FinetuneConfig()], EngineConfig())
    with pytest.raises(MissingDependency, match=r"peft is not installed: pip install 'ilf\[models\]'"):
        learners.require_training([FinetuneConfig(), FinetuneConfig(method="lora")], EngineConfig())
    with pytest.raises(TrainingError, match="unknown tracker 'abacus'"):
        learners.require_training([FinetuneConfig(report_to=("abacus",))], EngineConfig())
    learners.require_training([FinetuneConfig(method="lora")], EngineConfig(name="scripted"))


def test_a_prompt_that_does_not_fit_stops_before_the_first_sample(tmp_path, fake_sandbox, monkeypatch):
    from ilf.sampling.scripted import ScriptedSampler

    def check(self, prompts, params):
        for number, prompt in enumerate(prompts):
            if "train_4" in prompt.text:
                raise PromptTooLong("prompt too long", number)

    monkeypatch.setattr(ScriptedSampler, "check", check)
    monkeypatch.setattr(ScriptedSampler, "sample", lambda *_: pytest.fail("sampled"))
    monkeypatch.setattr(policy, "SEQUENCES", 4)  # the prompt in question is in the last batch of four
    with pytest.raises(ModelError, match=r"task toy/train_4: prompt too long"):
        run(world(tmp_path), tmp_path / "run")


def test_a_disk_that_is_too_small_is_said_before_the_first_sample(tmp_path, fake_sandbox, monkeypatch):
    from ilf.sampling.scripted import ScriptedSampler

    monkeypatch.setattr(ScriptedSampler, "sample", lambda *_: pytest.fail("sampled"))
    usage = type(shutil.disk_usage(tmp_path))(10**9, 10**9, 10**3)
    monkeypatch.setattr(runfolder.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(DataError, match=r"sampling 1-programs.jsonl needs .* MB of disk"):
        run(world(tmp_path), tmp_path / "run")


def test_the_loop_with_feedback_that_a_model_writes(tmp_path, fake_sandbox):
    few = {"method": "few-shot", "shots": 0, "sampling": {"n": 2}}
    asked = {"source": "model", "path": str(tmp_path / "feedback.jsonl"), "shots": 2}
    settings = world(tmp_path, feedback=asked, refiner=few)
    # Its examples are on two tasks that are in no split.
    more = [
        task.model_copy(update={"task_id": f"more/{task.task_id}", "split": None}) for task in toy_tasks()[:2]
    ]
    write_jsonl(tmp_path / "tasks.jsonl", [*toy_tasks(), *more])
    write_jsonl(tmp_path / "feedback.jsonl", [
        Feedback(task_id=t.task_id, code="x", text=f"Shown {n}.", source="recorded") for n, t in enumerate(more)
    ])  # fmt: skip
    script = tmp_path / "script.jsonl"
    answers = {"contains": "Feedback: Shown", "completions": [" It returns nothing.\n"]}
    script.write_text(json.dumps(answers) + "\n" + script.read_text())
    items = read_jsonl(run(settings, tmp_path / "run").round(1).feedback, Feedback)
    assert len(items) == 8 and {i.text for i in items} == {"It returns nothing."}
    assert {i.source for i in items} == {"model"} and all(
        i.model and i.author.startswith("model ") for i in items
    )


def test_examples_for_a_model_that_writes_feedback_are_not_on_the_tasks_in_question(tmp_path):
    from ilf.feedback.model import load_shots

    world(tmp_path)
    path = tmp_path / "feedback.jsonl"
    tasks = {task.task_id: task for task in toy_tasks()}
    training = {f"toy/train_{i}" for i in range(5)}
    for seed in range(5):
        shown = load_shots(path, tasks, 3, seed, training)
        assert {item.task_id for item in shown} == {f"toy/refine_{i}" for i in range(3)}
    assert len(load_shots(path, tasks, 4, 0, training)) == 4  # too few others: all will do
    with pytest.raises(DataError, match="3 items on this run's tasks, feedback.shots asks for 4"):
        load_shots(path, {name: tasks[name] for name in tasks.keys() - training}, 4, 0, training)


def test_refinements_of_a_task_stand_together_whatever_the_order_of_the_feedback(tmp_path, fake_sandbox):
    settings = world(tmp_path, feedback__filter=False)
    folder = run(settings, tmp_path / "run")
    path = folder.round(1).feedback
    items = read_jsonl(path, Feedback)
    write_jsonl(path, [*items, items[-2].model_copy(update={"text": "Another word on the same task."})])
    run(settings, tmp_path / "run")
    refinements = read_jsonl(folder.round(1).refinements, Refinement)
    assert [len(list(rows)) for _, rows in groupby(refinements, key=lambda r: r.task_id)] == [2, 2, 2, 4, 2]
    assert len(read_jsonl(folder.round(1).examples, Example)) == 5


# --- guards -----------------------------------------------------------------------------------------------


def test_feedback_on_an_evaluation_task_stops_the_run(tmp_path, fake_sandbox):
    settings = world(tmp_path)
    folder = run(settings, tmp_path / "run")
    path = folder.round(1).feedback
    items = read_jsonl(path, Feedback)
    write_jsonl(path, [*items, items[0].model_copy(update={"task_id": "toy/test_0"})])
    with pytest.raises(
        LeakError, match=r"1 evaluation tasks were seen in .*3-feedback.jsonl .the first: toy/test_0"
    ):
        run(settings, tmp_path / "run")


def test_programs_of_other_weights_are_refused(tmp_path, fake_sandbox):
    settings = world(tmp_path)
    folder = run(settings, tmp_path / "run")
    path = folder.round(1).programs
    rows = read_jsonl(path, Program)
    write_jsonl(path, [rows[0].model_copy(update={"model": "f" * 64}), *rows[1:]])
    with pytest.raises(DataError, match="was not sampled from this round's model"):
        run(settings, tmp_path / "run")


def test_programs_are_read_once_for_the_key_of_their_verdicts(tmp_path, monkeypatch):
    from ilf.config import VerifyConfig
    from ilf.records import Rows

    of = toy_tasks()[:3]
    path = tmp_path / "programs.jsonl"
    write_jsonl(path, [Program(task_id=task.task_id, code="x = 1\n") for task in of for _ in range(2)])
    step = verdicts.Verify(Rows(path, Program), {task.task_id: task for task in toy_tasks()}, VerifyConfig())
    with monkeypatch.context() as patch:
        patch.setattr(Rows, "__iter__", lambda rows: pytest.fail("read again"))
        key = step.inputs()
    assert key["tasks"] == verdicts.source_hash(sorted(of, key=lambda task: task.task_id))
    # Lines that a person edited are read as ever: an empty one passed over, a broken one named.
    path.write_text(path.read_text() + "\n")
    assert step.inputs()["tasks"] == key["tasks"]
    path.write_text(path.read_text() + '{"task_id": "toy/refine_0"}\n{"code": 3}\n')
    with pytest.raises(DataError, match=r"programs\.jsonl, line 8: code: Field required"):
        step.inputs()


def test_a_folder_of_another_run_is_refused(tmp_path, fake_sandbox):
    run(world(tmp_path), tmp_path / "run")
    with pytest.raises(RunFolderError, match="belongs to a run with name = 'toy', not 'other'"):
        run(config(tmp_path, name="other"), tmp_path / "run")
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "thesis.txt").write_text("mine")
    with pytest.raises(RunFolderError, match="not empty"):
        run(config(tmp_path), tmp_path / "docs")
    assert (tmp_path / "docs" / "thesis.txt").read_text() == "mine"


def test_splits_that_overlap_or_are_empty(tmp_path, fake_sandbox):
    world(tmp_path)
    with pytest.raises(ConfigError, match="overlap"):
        run(config(tmp_path, tasks__splits={"train": "split=test"}), tmp_path / "a")
    with pytest.raises(ConfigError, match="dev"):
        run(config(tmp_path, evaluation__split="dev"), tmp_path / "b")
    with pytest.raises(ConfigError, match="no step uses this split"):
        run(config(tmp_path, tasks__splits={"trian": "split=train"}), tmp_path / "c")


def test_nothing_that_passes_is_said(tmp_path, fake_sandbox, monkeypatch):
    settings = world(tmp_path)

    class Failing(FakeVerifier):
        def verify(self, programs):
            for verdict in super().verify(programs):
                yield verdict.model_copy(update={"status": "failed"})

    monkeypatch.setattr(function, "Verifier", Failing)
    with pytest.raises((TrainingError, DataError), match=r"none of 10 refinements passed|no feedback"):
        run(
            settings.model_copy(update={"feedback": settings.feedback.model_copy(update={"filter": False})}),
            tmp_path / "run",
        )


def test_sandbox_failures_stop_the_run_and_are_never_wrong_programs(tmp_path, fake_sandbox, monkeypatch):
    class Dying(FakeVerifier):
        def verify(self, programs):
            for number, verdict in enumerate(super().verify(programs)):
                yield verdict.model_copy(update={"status": "sandbox_error"}) if number % 4 == 0 else verdict

    monkeypatch.setattr(function, "Verifier", Dying)
    with pytest.raises(SandboxFailure, match=r"4 of 16 programs got no verdict .more than 5%"):
        run(world(tmp_path), tmp_path / "run")


def test_dry_run_rehearses_a_config_in_the_real_sandbox(tmp_path, monkeypatch):
    from ilf.dryrun import dry

    settings, folder = dry(world(tmp_path, tasks__limit=None), tmp_path / "dry")
    made = run(settings, folder)
    assert made.round(1).evaluation.exists()
    assert "torch" not in settings.engine.name
