"""What a terminal's user expects of any command: quiet, completion, no colours where none are wanted."""

import json
import os
import subprocess
import sys

import pytest
from toy import world

from ilf import cli, progress
from ilf.config import RunConfig, dump_config
from ilf.records import Task, read_jsonl

ILF = [sys.executable, "-c", "import sys; sys.argv[0] = 'ilf'; from ilf.cli import main; main()"]


def test_quiet_says_results_only(tmp_path, monkeypatch, capsys):
    (tmp_path / "toy.toml").write_text(dump_config(world(tmp_path)))
    command = ["run", str(tmp_path / "toy.toml"), "--out", str(tmp_path / "run")]
    try:
        monkeypatch.setattr(sys, "argv", ["ilf", "--quiet", *command])
        with pytest.raises(SystemExit):
            cli.main()
        out, err = capsys.readouterr()
        assert "pass@1" in out and "Report: " in out and err == ""
        monkeypatch.setattr(sys, "argv", ["ilf", *command])
        with pytest.raises(SystemExit):
            cli.main()
        assert "unchanged" in capsys.readouterr().err
    finally:
        progress.be_quiet(False)


def test_quiet_still_names_mistakes(tmp_path):
    found = subprocess.run(
        [*ILF, "--quiet", "run", "none.toml"], capture_output=True, text=True, cwd=tmp_path
    )
    assert found.returncode == 2 and found.stderr == "ilf: none.toml: no such file\n"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_of_commands(shell):
    words = {"bash": {"COMP_WORDS": "ilf eval", "COMP_CWORD": "1"}}.get(
        shell, {"_TYPER_COMPLETE_ARGS": "ilf eval"}
    )
    action = {"_TYPER_COMPLETE_FISH_ACTION": "get-args"} if shell == "fish" else {}
    environment = {**os.environ, "_ILF_COMPLETE": f"complete_{shell}", **words, **action}
    found = subprocess.run(ILF, capture_output=True, text=True, env=environment)
    assert "evaluate" in found.stdout and "annotate" not in found.stdout, found


@pytest.mark.parametrize(("variable", "value"), [("TERM", "dumb"), ("TERM", "unknown"), ("NO_COLOR", "1")])
def test_no_colours_where_none_can_be_shown(monkeypatch, capsys, variable, value):
    from ilf import terminal

    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    terminal.console().print("[red]words[/red]")
    assert "\x1b[31m" in capsys.readouterr().out
    monkeypatch.setenv(variable, value)
    terminal.console().print("[red]words[/red]")
    assert "\x1b[31m" not in capsys.readouterr().out


@pytest.mark.parametrize("terminal", ["dumb", "xterm"])
def test_a_dumb_terminal_gets_lines_and_no_bar(monkeypatch, capsys, terminal):
    monkeypatch.setenv("TERM", terminal)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with progress.progress("counting", 3, every=0) as bar:
        bar.advance(2)
    shown = capsys.readouterr().err
    assert ("counting: 2 of 3" in shown) == ("\x1b" not in shown) == (terminal == "dumb")


def called(monkeypatch, capsys, *words):
    monkeypatch.setattr(sys, "argv", ["ilf", *map(str, words)])
    with pytest.raises(SystemExit) as left:
        cli.main()
    return left.value.code or 0, capsys.readouterr().out


def test_estimate_runs_nothing(tmp_path, monkeypatch, capsys):
    (tmp_path / "toy.toml").write_text(dump_config(world(tmp_path)))
    status, out = called(
        monkeypatch, capsys, "run", tmp_path / "toy.toml", "--out", tmp_path / "run", "--estimate"
    )
    assert status == 0 and "1-programs" in out and "at most" in out
    assert not (tmp_path / "run").exists()


def test_json(tmp_path, monkeypatch, capsys):
    config = world(tmp_path)
    (tmp_path / "toy.toml").write_text(dump_config(config))
    _, out = called(monkeypatch, capsys, "config", "show", tmp_path / "toy.toml", "--json")
    assert RunConfig.model_validate_json(out) == config
    _, out = called(monkeypatch, capsys, "tasks", "show", tmp_path / "tasks.jsonl", "--json")
    tasks = [Task.model_validate(row) for row in json.loads(out)]
    assert tasks == read_jsonl(tmp_path / "tasks.jsonl", Task)
    _, out = called(
        monkeypatch, capsys, "tasks", "show", tmp_path / "tasks.jsonl", tasks[0].task_id, "--json"
    )
    assert Task.model_validate_json(out) == tasks[0]
    _, out = called(monkeypatch, capsys, "doctor", "--json")
    assert {"state", "what", "found", "fix"} <= json.loads(out)[0].keys()
    verdicts = tmp_path / "verdicts.jsonl"
    verdicts.write_text("".join(json.dumps({"task_id": t.task_id, "status": "passed"}) + "\n" for t in tasks))
    _, out = called(
        monkeypatch, capsys, "evaluate", "--tasks", tmp_path / "tasks.jsonl", "--verdicts", verdicts,
        "-k", 1, "--json",
    )  # fmt: skip
    assert json.loads(out)["arms"]["programs"]["pass_at"]["1"]["value"] == 1
