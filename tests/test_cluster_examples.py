"""examples/cluster: they parse, and every ilf command in them is one."""

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

FOLDER = Path(__file__).parents[1] / "examples/cluster"
FILES = sorted(FOLDER.iterdir())
SETTING = re.compile(r"--set ([a-z_.]+)=")


def commands(text):
    """The words of each `ilf …` in a file, comments left out."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    return [
        shlex.split(found)
        for line in lines
        for found in re.findall(r"(?:^|[\s/])ilf ((?:run|doctor)[^&]*)", line)
    ]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_command_is_one(path):
    from typer.main import get_command

    from ilf.cli import app
    from ilf.config import RunConfig

    found = commands(path.read_text(encoding="utf-8"))
    assert found
    for name, *words in found:
        options = {o for p in get_command(app).commands[name].params for o in p.opts}
        assert {word for word in words if word.startswith("--")} <= options, words
    for dotted in SETTING.findall(path.read_text(encoding="utf-8")):
        model = RunConfig
        for part in dotted.split("."):
            assert part in model.model_fields, dotted
            model = model.model_fields[part].annotation


def test_kuberay_names_what_it_mounts():
    job = yaml.safe_load((FOLDER / "kuberay.yaml").read_text(encoding="utf-8"))
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    cluster = job["spec"]["rayClusterSpec"]
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        pod = group["template"]["spec"]
        volumes = {volume["name"] for volume in pod["volumes"]}
        assert {mount["name"] for c in pod["containers"] for mount in c["volumeMounts"]} == volumes


def test_sky_has_what_runs_and_where_it_keeps_it():
    task = yaml.safe_load((FOLDER / "sky.yaml").read_text(encoding="utf-8"))
    assert "/runs" in task["file_mounts"] and "--out /runs/" in task["run"] and "bubblewrap" in task["setup"]


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_the_batch_script_is_bash():
    subprocess.run(["bash", "-n", str(FOLDER / "slurm.sh")], check=True)
