"""The command line: exit statuses, one-line errors, files in and files out."""

import errno
import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from toy import rows, world

from ilf import cli
from ilf.config import dump_config
from ilf.records import Task, read_jsonl
from ilf.runfolder import RunFolder

ILF = [sys.executable, "-m", "ilf.cli"]
TASK = {"task_id": "a", "description": "d", "entry_point": "f", "tests": ["assert f() == 1"]}


@pytest.fixture
def ilf(monkeypatch, capsys):
    """Run a command in this process: (exit status, standard output, standard error)."""

    def call(*words):
        monkeypatch.setattr(sys, "argv", ["ilf", *map(str, words)])
        with pytest.raises(SystemExit) as left:
            cli.main()
        out, err = capsys.readouterr()
        return left.value.code or 0, out, err

    return call


def write(path: Path, *rows_: object) -> Path:
    path.write_text("".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in rows_))
    return path


def refused(answer, *parts):
    """One clear line, exit status 2, no traceback."""
    status, _, err = answer
    lines = [line for line in err.strip().splitlines() if line.startswith("ilf: ")]
    assert status == 2, err
    assert "Traceback" not in err
    assert len(lines) == 1 and err.strip().splitlines()[-1] == lines[0], err
    for part in parts:
        assert part in lines[0]


# --- help -------------------------------------------------------------------------------------------------


def commands():
    group = __import__("typer").main.get_command(cli.app)

    def walk(command, words):
        found = getattr(command, "commands", None)
        if found is None:
            yield words
        else:
            for name, child in found.items():
                yield from walk(child, [*words, name])

    return list(walk(group, []))


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_every_command_has_help_with_an_example(ilf, words):
    status, out, _ = ilf(*words, "--help")
    assert status == 0
    assert f"Example: ilf {' '.join(words)}" in " ".join(out.split())


def test_help_and_version_do_not_import_anything_heavy():
    code = "import sys, ilf.cli; print([m for m in ('torch', 'transformers', 'numpy', 'pydantic') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"
    assert re.fullmatch(r"ilf \d+\.\d+\.\d+\n", subprocess.check_output([*ILF, "--version"], text=True))


def test_an_unknown_command_or_option(ilf):
    for words in (["fly"], ["run", "--colour", "red"], ["sample"]):
        status, _, err = ilf(*words)
        assert status == 2 and "Traceback" not in err


# --- the whole loop ---------------------------------------------------------------------------------------


def test_run_again_and_report(ilf, tmp_path):
    (tmp_path / "toy.toml").write_text(dump_config(world(tmp_path)))
    status, out, _ = ilf("run", tmp_path / "toy.toml", "--out", tmp_path / "run")
    assert status == 0
    assert "pass@1" in out
    report = Path(re.search(r"Report: (.*)", out)[1])
    assert "<html" in report.read_text()
    status, _, err = ilf("run", tmp_path / "toy.toml", "--out", tmp_path / "run")
    assert status == 0 and err.count(": unchanged") == 8


def test_a_report_is_written_again_only_for_what_is_new(ilf, tmp_path):
    (tmp_path / "toy.toml").write_text(dump_config(world(tmp_path)))
    command = ("run", tmp_path / "toy.toml", "--out", tmp_path / "run")
    ilf(*command)
    report = RunFolder(tmp_path / "run").report
    report.write_text("kept")
    assert ilf(*command)[0] == 0
    assert report.read_text() == "kept"
    assert ilf(*command, "--set", "evaluation.sampling.n=3")[0] == 0
    assert "<html" in report.read_text()


def test_dry_run_of_the_shipped_starter_config(ilf, tmp_path):
    status, out, err = ilf("run", "--dry-run", "--out", tmp_path / "dry")
    assert status == 0, err
    assert "the numbers mean nothing" in err
    assert RunFolder(tmp_path / "dry").round(1).evaluation.exists()


def test_one_step_after_the_other(ilf, tmp_path):
    world(tmp_path)
    tasks, script = tmp_path / "tasks.jsonl", tmp_path / "script.jsonl"
    common = ["--tasks", tasks, "--style", "chat", "--engine", "scripted"]
    assert (
        ilf(
            "sample",
            "--model",
            script,
            *common,
            "-n",
            2,
            "--ids",
            "split=test",
            "--out",
            tmp_path / "p.jsonl",
        )[0]
        == 0
    )
    programs = rows(tmp_path / "p.jsonl")
    assert len(programs) == 8

    assert (
        ilf("verify", "--tasks", tasks, "--programs", tmp_path / "p.jsonl", "--out", tmp_path / "v.jsonl")[0]
        == 0
    )
    verdicts = rows(tmp_path / "v.jsonl")
    assert [v["task_id"] for v in verdicts] == [p["task_id"] for p in programs]
    assert not any(v["passed"] for v in verdicts) and all(v["detail"] for v in verdicts)

    refine = ["refine", "--model", script, *common, "-n", 2, "--feedback", tmp_path / "feedback.jsonl"]
    status, out, _ = ilf(*refine, "--ids", "split=train", "--out", tmp_path / "r.jsonl")
    assert status == 0 and "100.0%" in out
    assert all(r["verdict"]["status"] == "passed" for r in rows(tmp_path / "r.jsonl"))

    evaluate = ["evaluate", "--tasks", tasks, "--ids", "split=test", "--verdicts", tmp_path / "v.jsonl"]
    status, out, _ = ilf(
        *evaluate, "-k", 1, "-k", 2, "--against", tmp_path / "v.jsonl", "--out", tmp_path / "e.json"
    )
    assert status == 0 and "no difference that can be told from noise" in " ".join(out.split())
    assert json.loads((tmp_path / "e.json").read_text())["arms"]["programs"]["solved"]["value"] == 0.0
    refused(ilf(*evaluate, "-k", 10), "pass@10 needs at least 10 samples a task, but there are 2")
    leak = write(tmp_path / "f.jsonl", {"task_id": "toy/test_1"})
    refused(ilf(*evaluate, "-k", 1, "--trained-on", leak), "1 evaluation tasks were seen in", "toy/test_1")


def test_shuffled_feedback_is_everybody_elses(ilf, tmp_path):
    from ilf.feedback import shuffled
    from ilf.records import Feedback

    world(tmp_path)
    items = read_jsonl(tmp_path / "feedback.jsonl", Feedback)
    mixed = shuffled(items, 0)
    assert sorted(i.text for i in mixed) == sorted(i.text for i in items)
    assert not any(a.text == b.text for a, b in zip(items, mixed))
    assert [i.code for i in mixed] == [i.code for i in items]
    assert shuffled(items, 0) == mixed != shuffled(items, 1)


# --- bad input --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ('{"task_id": "b", ', "line 2: not JSON"),
        ({**TASK, "task_id": "b", "entry_point": None}, "line 2: entry_point"),
        ({k: v for k, v in TASK.items() if k != "description"}, "line 2: description"),
        (TASK, "line 2: task_id: 'a' is already on line 1"),
        ({**TASK, "task_id": "b", "tests": []}, "line 2: tests: no tests"),
        ({**TASK, "task_id": "b", "reference": "def f(:"}, "line 2: reference"),
    ],
)
def test_bad_task_files(ilf, tmp_path, row, message):
    path = write(tmp_path / "tasks.jsonl", TASK, row)
    refused(ilf("tasks", "show", path), str(path), message)
    programs = write(tmp_path / "p.jsonl", {"task_id": "a", "code": ""})
    refused(ilf("verify", "--tasks", path, "--programs", programs, "--out", tmp_path / "v.jsonl"), message)


def test_an_unknown_source_lists_the_known(ilf):
    refused(ilf("tasks", "show", "leetcode"), "leetcode", "starter", "FORMAT:PATH")


def test_feedback_and_programs_for_unknown_tasks(ilf, tmp_path):
    config = world(tmp_path)
    (tmp_path / "toy.toml").write_text(dump_config(config))
    text = (tmp_path / "feedback.jsonl").read_text().replace("toy/train_4", "toy/nowhere")
    (tmp_path / "feedback.jsonl").write_text(text)
    refused(
        ilf("run", tmp_path / "toy.toml", "--out", tmp_path / "run"), "feedback.jsonl, line 8", "toy/nowhere"
    )
    programs = write(
        tmp_path / "p.jsonl", {"task_id": "toy/test_0", "code": ""}, {"task_id": "x/1", "code": ""}
    )
    verify = [
        "verify",
        "--tasks",
        tmp_path / "tasks.jsonl",
        "--programs",
        programs,
        "--out",
        tmp_path / "v.jsonl",
    ]
    refused(ilf(*verify), "p.jsonl, line 2", "x/1")


def test_models_that_are_not_there(ilf, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    world(tmp_path)
    (tmp_path / "empty").mkdir()
    sample = ["sample", "--tasks", tmp_path / "tasks.jsonl", "--out", tmp_path / "p.jsonl", "--model"]
    pytest.importorskip("transformers")
    refused(ilf(*sample, tmp_path / "empty"), "no weights")
    (tmp_path / "empty" / "model.safetensors").write_bytes(b"")
    refused(ilf(*sample, tmp_path / "empty"), "no config.json")
    refused(ilf(*sample, "somebody/some-model"), "somebody/some-model", "the hub cannot be reached")
    refused(ilf(*sample, tmp_path / "script.jsonl", "--engine", "steam"), "steam", "scripted")
    refused(ilf(*sample, tmp_path / "no.jsonl", "--engine", "scripted"), "no.jsonl")


def test_configs_that_are_wrong(ilf, tmp_path):
    (tmp_path / "toy.toml").write_text(dump_config(world(tmp_path)))
    run = ["run", tmp_path / "toy.toml", "--out", tmp_path / "run"]
    refused(ilf("run", tmp_path / "none.toml"), "none.toml: no such file")
    refused(ilf(*run, "--set", "samplin.n=3"), "samplin: unknown key; did you mean sampling?")
    refused(ilf(*run, "--set", "evaluation.k=[10]"), "k = 10 is larger than n = 2")
    refused(ilf(*run, "--set", "tasks.splits.train=split=test"), "overlap")
    refused(ilf(*run, "--set", "feedback.path=gone.jsonl"), "gone.jsonl: no such file")
    assert not (tmp_path / "run" / "round-1").exists()


def test_folders_of_other_runs_and_newer_versions(ilf, tmp_path):
    (tmp_path / "toy.toml").write_text(dump_config(world(tmp_path)))
    run = ["run", tmp_path / "toy.toml", "--out", tmp_path / "run"]
    assert ilf(*run)[0] == 0
    refused(ilf(*run, "--set", "name=other"), "belongs to a run with name = 'toy'")
    manifest = tmp_path / "run" / "manifest.json"
    newer = json.loads(manifest.read_text()) | {"format": 99}
    manifest.write_text(json.dumps(newer))
    refused(ilf(*run), "upgrade ilf")
    assert json.loads(manifest.read_text()) == newer


def scripted(folder):
    """The words that name what `world(folder)` wrote: its tasks, and the model that answers from its script."""
    return ["--tasks", folder / "tasks.jsonl", "--engine", "scripted", "--model", folder / "script.jsonl"]


def test_what_cannot_be_written_is_one_line(ilf, tmp_path):
    (tmp_path / "toy.toml").write_text(dump_config(world(tmp_path)))
    file = tmp_path / "toy.toml"
    refused(ilf("run", file, "--out", file), str(file), "no folder can be made there")
    refused(ilf("run", file, "--out", file / "run"), str(file), "no folder can be made there")
    common = scripted(tmp_path)
    refused(ilf("sample", *common, "--out", file / "p.jsonl"), "cannot be written")
    verdicts = write(tmp_path / "v.jsonl", {"task_id": "toy/test_0", "status": "passed"})
    evaluate = ["evaluate", "--tasks", tmp_path / "tasks.jsonl", "--ids", "toy/test_0", "-k", "1"]
    refused(ilf(*evaluate, "--verdicts", verdicts, "--out", file / "e.json"), "cannot be written")


@pytest.mark.parametrize(
    "words",
    [
        ["tasks", "check", "starter", "--cpu-seconds", "0"],
        ["verify", "--tasks", "starter", "--programs", "p", "--out", "v", "--workers", "0"],
        ["annotate", "runs/x", "--port", "65536"],
    ],
)
def test_numbers_out_of_range_are_refused(ilf, words):
    status, _, err = ilf(*words)
    assert status == 2 and f"Invalid value for '{words[-2]}'" in err and "Traceback" not in err


def test_samples_are_never_overwritten_and_not_drawn_twice(ilf, tmp_path):
    world(tmp_path)
    out = tmp_path / "p.jsonl"
    common = [*scripted(tmp_path), "--style", "chat", "--out", out]
    assert ilf("sample", *common, "-n", 2)[0] == 0
    before = (out.read_bytes(), out.stat().st_mtime_ns)
    status, _, err = ilf("sample", *common, "-n", 2)
    assert status == 0 and "complete already" in err
    refused(ilf("sample", *common, "-n", 3), "was made from something else", "--out")
    assert (out.read_bytes(), out.stat().st_mtime_ns) == before
    refine = ["refine", *common, "--feedback", tmp_path / "feedback.jsonl", "-n", 2]
    refused(ilf(*refine), "was made from something else")
    assert (out.read_bytes(), out.stat().st_mtime_ns) == before
    with (tmp_path / ".q.jsonl.key").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        refused(ilf("sample", *common[:-1], tmp_path / "q.jsonl", "-n", 2), "being written by another")


def test_two_runs_on_one_folder(ilf, tmp_path):
    (tmp_path / "toy.toml").write_text(dump_config(world(tmp_path)))
    with RunFolder(tmp_path / "run").lock():
        refused(ilf("run", tmp_path / "toy.toml", "--out", tmp_path / "run"), "in use by another `ilf run`")


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_signal_keeps_what_is_done_and_says_so(tmp_path, number, status):
    (tmp_path / "toy.toml").write_text(dump_config(world(tmp_path)))
    command = [*ILF, "run", str(tmp_path / "toy.toml"), "--out", str(tmp_path / "run")]
    running = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    programs = tmp_path / "run" / "round-1" / "1-programs.jsonl"
    deadline = time.monotonic() + 60
    while not programs.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    running.send_signal(number)
    _, err = running.communicate(timeout=60)
    assert running.returncode == status, err
    assert "everything so far is kept" in err and "Traceback" not in err
    assert programs.exists()
    assert subprocess.run(command, capture_output=True).returncode == 0


def test_errors_of_the_disk_name_the_path_and_what_is_free(tmp_path, monkeypatch):
    from ilf.cli import _of_the_disk
    from ilf.runfolder import write_text

    def full(number):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError) as caught:
            write_text(tmp_path / "manifest.json", "{}")
    said = _of_the_disk(caught.value)
    assert said.startswith(f"{tmp_path}/manifest.json: No space left on device (")
    assert " MB are free there): everything written so far is kept" in said
    unnamed = _of_the_disk(OSError(errno.ENOSPC, "No space left on device"))
    assert unnamed.startswith(f"{Path.cwd()}: No space left")
    assert "free" not in _of_the_disk(PermissionError(errno.EACCES, "Permission denied", "/nowhere/x"))


@pytest.mark.skipif(shutil.which("bwrap") is None, reason="needs bubblewrap for a disk that can be filled")
def test_a_full_disk_is_one_line(tmp_path):
    found = [
        Task(task_id=f"t{i}", description="d" * 2000, entry_point="f", tests=("assert f()",))
        for i in range(600)
    ]
    write(tmp_path / "tasks.jsonl", *[t.to_json() for t in found])
    write(tmp_path / "script.jsonl", {"contains": "", "completions": ["x = 1\n" * 400]})
    small = ["bwrap", "--dev-bind", "/", "/", "--size", "2000000", "--tmpfs", "/mnt"]
    command = [*ILF, "sample", "--engine", "scripted", "--model", str(tmp_path / "script.jsonl"), "-n", "2"]
    # Answers longer than their tokens let expect, so that it is full in the middle; then an honest estimate.
    for tokens, said in (
        ("1", ("No space left on device", "kept")),
        ("512", ("needs 6.1 MB of disk, 2.0 MB are free",)),
    ):
        answer = subprocess.run(
            [
                *small,
                *command,
                "--tasks",
                str(tmp_path / "tasks.jsonl"),
                "--out",
                "/mnt/p.jsonl",
                "--max-tokens",
                tokens,
            ],
            capture_output=True,
            text=True,
            env={**os.environ, "ILF_CACHE": str(tmp_path / "cache")},
        )
        refused((answer.returncode, answer.stdout, answer.stderr), *said)


def test_a_corrected_p_names_its_correction_and_its_family():
    from ilf import metrics
    from ilf.terminal import comparison_line

    tasks = [metrics.TaskCounts(task_id=str(n), n=4, passed=n % 5) for n in range(20)]
    result = metrics.evaluate(tasks, split="test", temperature=0.8, n=4, ks=[1, 2], seed=0)
    both = metrics.with_holm([metrics.compare([result], [result], k=k) for k in (1, 2)])
    assert (
        "p = 1.000 (1.000 by Holm's correction over the 2 comparisons made together), 20 tasks"
        in comparison_line(both[0])
    )
    assert "Holm" not in comparison_line(metrics.compare([result], [result], k=1))


def test_doctor_says_what_cannot_be_done_without_torch():
    from ilf.doctor import TRAINING, Finding, lacking

    found = [
        Finding("ok", "peft", "0.18"),
        Finding("optional", "torch", "not installed", "pip install 'ilf[models]'", TRAINING),
        Finding("optional", "vllm", "not installed", "pip install 'ilf[vllm]'"),
    ]
    assert lacking(found) == [f"torch is not installed; without it no {TRAINING}: pip install 'ilf[models]'"]


def test_a_cache_that_is_a_file_and_a_lone_surrogate_are_no_tracebacks(tmp_path):
    world(tmp_path)
    (tmp_path / "cache").write_text("x")
    environment = {**os.environ, "ILF_CACHE": str(tmp_path / "cache"), "PYTHONIOENCODING": "utf-8"}
    gguf = tmp_path / "m.gguf"
    gguf.write_bytes(b"GGUF")
    found = subprocess.run(
        [*ILF, "sample", "--model", str(gguf), "--tasks", str(tmp_path / "tasks.jsonl"), "--out", str(tmp_path / "p")],
        env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert (
        found.returncode == 2
        and "cache: a file, but a folder for the model cache was expected" in found.stderr
    )
    text = (tmp_path / "tasks.jsonl").read_text().replace("Compute", "\\ud800 Compute", 1)
    (tmp_path / "tasks.jsonl").write_text(text)
    found = subprocess.run(
        [*ILF, "tasks", "show", str(tmp_path / "tasks.jsonl")], capture_output=True, text=True
    )
    assert found.returncode == 0 and "\\ud800 Compute" in found.stdout and "Traceback" not in found.stderr


# --- feedback ---------------------------------------------------------------------------------------------


def test_feedback_explain_says_why_programs_fail(ilf, tmp_path):
    tests = ["assert f(1) == 1", "assert f(0) == 5"]
    tasks = write(tmp_path / "tasks.jsonl", {**TASK, "entry_point": "f", "tests": tests})
    codes = ["def f(x):\n    return x\n", "def f(x):\n    return x + 1\n", "def f(x):\n    return x or 5\n"]
    rows_ = [{"task_id": "a", "code": code} for code in [*codes, codes[0]]]
    programs = write(tmp_path / "programs.jsonl", *rows_)
    call = ["feedback", "explain", "--tasks", tasks, "--programs", programs, "--out", tmp_path / "f.jsonl"]
    status, out, err = ilf(*call)
    assert status == 0 and "3 programs, 2 of them wrong" in out + err
    said = [row["text"] for row in map(json.loads, (tmp_path / "f.jsonl").read_text().splitlines())]
    assert said[0].startswith("The shown test `assert f(1) == 1` passes")
    assert said[1].startswith("f(1) should return 1, but it returns 2.")
    assert ilf(*call, "--show-tests")[0] == 0
    assert "f(0) should return 5, but it returns 0." in (tmp_path / "f.jsonl").read_text()
    other = write(tmp_path / "other.jsonl", {"task_id": "b", "code": ""})
    refused(ilf(*call[:5], other, *call[6:]), "other.jsonl, line 1", "'b'")


def test_feedback_rank_orders_and_replays(ilf, tmp_path):
    names = ["a", "b", "c", "d"]
    tasks = write(tmp_path / "tasks.jsonl", *({**TASK, "task_id": name} for name in names))
    codes = ["def f():\n    return 1\n", "def f():\n    return 2\n", "def f(\n", "def f():\n    return 3\n"]
    programs = write(
        tmp_path / "programs.jsonl", *({"task_id": n, "code": c} for n, c in zip(names, codes, strict=True))
    )
    call = ["feedback", "rank", "--tasks", tasks, "--programs", programs]
    status, out, _ = ilf(*call, "--budget", 2)
    assert status == 0 and "3 tasks" in out and "off by one" in out

    def refinements(name, passing):
        def row(task_id):
            verdict = {
                "task_id": task_id,
                "program_id": "p",
                "status": "passed" if task_id in passing else "failed",
            }
            return {"task_id": task_id, "feedback_id": "f", "code": "", "verdict": verdict}

        return write(tmp_path / name, *map(row, "bcd"))

    both = ["--people", refinements("people.jsonl", "b"), "--rest", refinements("rest.jsonl", "")]
    status, out, _ = ilf(*call, "--budget", 1, *both)
    assert status == 0 and "1 of 3" in out and "at random" in out and "66.7%" in out
    refused(ilf(*call, *both[:2]), "needs both")
    refused(ilf(*call, "--budget", 9, *both), "3 tasks to choose from")
    solved = write(tmp_path / "solved.jsonl", {"task_id": "a", "code": codes[0]})
    refused(ilf(*call[:4], "--programs", solved), "every task is solved")


def test_feedback_import_names_what_is_wrong(ilf, tmp_path):
    export = write(tmp_path / "comments.json", [{"body": "a comment", "path": "a.py"}])
    call = ["feedback", "import", export, "--repository", tmp_path, "--out", tmp_path / "out"]
    refused(ilf(*call), "comments.json", "neither review comments of GitHub")
    write(export, [{"body": "a comment", "path": "a.py", "diff_hunk": ""}])
    refused(ilf(*call), str(tmp_path), "not a git repository")
    assert not (tmp_path / "out").exists()


def test_refine_by_parts_gives_one_refinement_an_item(ilf, tmp_path):
    config = world(tmp_path)
    out = tmp_path / "refinements.jsonl"
    status, said, _ = ilf(
        "refine", "--by-parts", "-n", 3, "--model", config.model, "--engine", "scripted", "--style", "chat",
        "--tasks", config.tasks.source, "--feedback", tmp_path / "feedback.jsonl", "--out", out,
    )  # fmt: skip
    assert status == 0 and "100.0%" in said
    assert len(rows(out)) == 8
