"""The place `ray`: two nodes on this machine, killed in the middle of their work, give the files that local gives."""

import os
import signal
import subprocess

import pytest
import toy
from bytemodel import write_model

from ilf import algorithm, policy
from ilf.config import EngineConfig, PlaceConfig, SamplingConfig, VerifyConfig
from ilf.errors import ConfigError, ModelError
from ilf.places import Local, place_of
from ilf.prompts import Prompt
from ilf.ray.place import _trusted
from ilf.records import Program, Rows, write_jsonl
from ilf.runfolder import Growing, RunFolder, digest
from ilf.runner import Job
from ilf.sampling import SamplingParams
from ilf.sandbox import probe
from ilf.steps import Sample
from ilf.steps.verdicts import Verify

ray = pytest.importorskip("ray", reason="ray is not installed: pip install 'ilf[ray]'")
pytestmark = [pytest.mark.model, pytest.mark.alone]
needs_jails = pytest.mark.skipif(not probe().available, reason="programs cannot be isolated here")


DEADLY = """
import os
from ilf.sampling.scripted import ScriptedSampler

class Deadly(ScriptedSampler):
    def sample(self, prompts, params, progress=None):
        if prompts[0].text == "die":
            os._exit(1)
        return super().sample(prompts, params, progress)

def open(model):
    return Deadly([("", ["said"])], "0")
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    from ray.cluster_utils import Cluster

    os.environ["OMP_NUM_THREADS"] = "1"  # nodes and local compute with as many threads
    folder = tmp_path_factory.mktemp("engines")
    (folder / "deadly.py").write_text(DEADLY)
    os.environ["PYTHONPATH"] = os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    yield cluster
    ray.shutdown()
    cluster.shutdown()


@pytest.fixture
def place(cluster):
    place = place_of(PlaceConfig(name="ray", address=cluster.address))
    yield place
    place.close()


def kill(node):
    """kill -9 of a node's raylet and of all that runs under it, at once."""
    raylet = node.all_processes["raylet"][0].process.pid
    listed = subprocess.run(["ps", "-o", "pid=", "--ppid", str(raylet)], capture_output=True, text=True)
    for pid in [raylet, *map(int, listed.stdout.split())]:
        os.kill(pid, signal.SIGKILL)


@pytest.fixture
def at_append(monkeypatch):
    """Call a function when the step has written its second batch."""

    def arrange(call, number=2):
        seen = []
        append = Growing.append

        def counted(self, records):
            append(self, records)
            seen.append(1)
            if len(seen) == number:
                call()

        monkeypatch.setattr(Growing, "append", counted)

    return arrange


@needs_jails
@pytest.mark.timeout(600)
def test_killed_nodes_leave_locals_files(cluster, place, tmp_path, at_append, monkeypatch, capfd):
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)
    folder = write_model(tmp_path / "model", context=512)
    model = policy.get(folder, EngineConfig(), "completion")
    tasks = tuple(toy.tasks())
    step = Sample(model, tasks, SamplingConfig(n=256, max_tokens=24), seed=3)
    step.run(Job(tmp_path / "local.jsonl", "key", local := Local()))
    local.close()

    node = cluster.add_node(num_cpus=1)
    with monkeypatch.context():
        at_append(lambda: kill(node))
        step.run(Job(tmp_path / "ray.jsonl", "key", place))
    monkeypatch.undo()
    place.close()
    counts = place.counts()
    assert (tmp_path / "ray.jsonl").read_bytes() == (tmp_path / "local.jsonl").read_bytes()
    assert "batches are done again" in capfd.readouterr().err
    assert sum(count for what, count in counts.items() if what.startswith("samples on")) == 12 * 256

    # A mixture of right, wrong and endless programs; another node comes, and goes the same way.
    programs = [
        Program(task_id=task.task_id, code=code + f"# {number}\n")
        for number in range(40)
        for task in tasks
        for code in (task.reference, task.prefix + "    return None\n", task.prefix + "    return x ** 2\n")
    ]
    write_jsonl(tmp_path / "programs.jsonl", programs)
    by_id = {task.task_id: task for task in tasks}
    verify = Verify(Rows(tmp_path / "programs.jsonl", Program), by_id, VerifyConfig())
    verify.run(Job(tmp_path / "local-verdicts.jsonl", "key", Local()))
    node = cluster.add_node(num_cpus=1)
    at_append(lambda: kill(node), number=3)
    verify.run(Job(tmp_path / "ray-verdicts.jsonl", "key", place))
    assert digest(tmp_path / "ray-verdicts.jsonl") == digest(tmp_path / "local-verdicts.jsonl")
    assert "batches are done again" in capfd.readouterr().err
    counts = place.counts()
    assert sum(count for what, count in counts.items() if what.startswith("programs on")) == len(programs)


@needs_jails
def test_a_whole_run_is_locals_and_a_node_without_a_sandbox_is_left_out(cluster, tmp_path, capfd):
    cluster.add_node(num_cpus=1, env_vars={"PATH": "/nowhere"})
    made = []
    for name, changes in {
        "local": {},
        "ray": {"place__name": "ray", "place__address": cluster.address},
    }.items():
        (tmp_path / name).mkdir()
        config = toy.world(tmp_path / name, **changes)
        algorithm.run(config, tmp_path / name / "run", summary=False)
        made.append(toy.outputs(tmp_path / name / "run"))
    here, there = made
    assert here.keys() == there.keys()
    rows = [path for path in here if path.endswith(".jsonl")]
    assert len(rows) > 5 and all(here[path] == there[path] for path in rows if "script" not in path)
    assert "is left out: programs cannot be isolated here" in capfd.readouterr().err
    counts = RunFolder(tmp_path / "ray/run").read_manifest().steps["round-1/2-verdicts"].counts
    assert [what.split(" on ")[0] for what in counts if " on " in what] == ["programs", "seconds"]


def test_a_model_that_is_not_there_is_a_mistake_not_a_lost_node(place, tmp_path):
    missing = policy.Model(str(tmp_path / "none"), "0", EngineConfig(name="scripted"), "chat")
    with pytest.raises(ModelError, match="no such table"):
        place.open(missing)


def test_a_batch_that_kills_whoever_has_it_stops_the_step_by_name(place):
    engine = EngineConfig(name="deadly:open")
    writer = place.open(policy.Model("nothing", "0", engine, "chat"))
    params = SamplingParams(n=2)
    [found] = writer.sampler.sample_many([([Prompt("live")], params)])
    assert [sample.text for sample in found] == ["said", "said"]
    with pytest.raises(ModelError, match="3 processes died of the same batch"):
        list(writer.sampler.sample_many([([Prompt("die")], params)]))


def test_a_node_is_judged_as_local_is():
    assert _trusted({"sandbox_error": 4, "programs": 10}) is None
    assert _trusted({"sandbox_error": 20, "programs": 1000}) is None
    assert _trusted({"sandbox_error": 21, "programs": 1000}) == "its sandbox failed on 21 of 1000 programs"


def test_an_address_without_a_cluster():
    ray.shutdown()
    place = place_of(PlaceConfig(name="ray", address="127.0.0.1:1"))
    with pytest.raises(ConfigError, match=r"place\.address: no Ray cluster at '127\.0\.0\.1:1'"):
        place.open(policy.Model("x", "y", EngineConfig(name="scripted"), "chat"))


def test_a_place_without_such_a_setting():
    with pytest.raises(ConfigError, match="place 'local' takes no address"):
        place_of(PlaceConfig(name="local", address="auto"))
