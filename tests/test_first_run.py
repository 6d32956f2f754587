"""docs/first-run.md: its files are written, its commands run, and what they print is what it says.

Blocks marked `console` are run; those that need a model are marked `text`, and were recorded by hand. `…` stands
for whatever is there.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from ilf.sandbox import probe

PAGE = Path(__file__).resolve().parents[1] / "docs" / "first-run.md"
FENCE = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)
ILF = f'ilf() {{ "{sys.executable}" -u -m ilf.cli "$@"; }}\n'


def blocks():
    return [match.groups() for match in FENCE.finditer(PAGE.read_text(encoding="utf-8"))]


def commands(block):
    """(command, the lines that it prints) of a console block."""
    found = []
    for line in block.splitlines():
        if line.startswith("$ "):
            found.append((line[2:], []))
        else:
            found[-1][1].append(line)
    return found


def matches(said, printed):
    pattern = "".join(
        ".*" if part == "…" else re.escape(part) for part in re.split("(…)", "\n".join(said).strip())
    )
    return re.fullmatch(pattern, "\n".join(printed).strip(), re.DOTALL)


def typed():
    return [command for kind, _, text in blocks() if kind == "console" for command in commands(text)]


@pytest.mark.skipif(not probe().available, reason="programs cannot be run here")
def test_what_it_prints_is_what_the_page_says(tmp_path):
    folder = tmp_path / "shop"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "COLUMNS": "140", "NO_COLOR": "1"}
    here = folder
    for kind, title, text in blocks():
        if title is not None:
            path = (here if title.endswith(".jsonl") else folder) / title
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        if kind != "console":
            continue
        for command, said in commands(text):
            done = subprocess.run(
                ["bash", "-c", f"{ILF}{command} 2>&1; echo; pwd"],
                cwd=here, env=environment, capture_output=True, text=True, timeout=120,
            )  # fmt: skip
            *printed, where = [line.rstrip() for line in done.stdout.strip().splitlines()]
            here = Path(where)
            assert matches([line.rstrip() for line in said], printed), (command, printed)


def test_the_page_goes_through_the_whole_of_it():
    words = " ".join(command for command, _ in typed())
    for wanted in ("ilf init", "ilf tasks check", "--dry-run", "--estimate"):
        assert wanted in words
    assert len([text for kind, _, text in blocks() if kind == "text"]) >= 2
