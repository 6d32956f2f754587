"""What a terminal's user expects of any command: quiet, completion, no colours where none are wanted."""

import os
import subprocess
import sys

import pytest
from toy import world

from ilf import cli, progress
from ilf.config import dump_config

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


def test_no_color(monkeypatch, capsys):
    from ilf import terminal

    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    terminal.console().print("[red]words[/red]")
    assert "\x1b[31m" in capsys.readouterr().out
    monkeypatch.setenv("NO_COLOR", "1")
    terminal.console().print("[red]words[/red]")
    assert "\x1b[31m" not in capsys.readouterr().out
