"""The place `ray` beside `local`: throughput, overhead, and the parent's memory.

    pip install 'ilf[models,ray]'
    python benchmarks/scale.py ../shared/data                              # verify and sample, 1 and 2 workers
    python benchmarks/scale.py ../shared/data --memory 10000 100000        # the parent's peak memory

A worker is a core: local with so many programs or threads at once, against a cluster started on this machine with
so many nodes of one core each. Both have their workers and models ready when the clock starts; so do nodes in a
long run. The programs are those of `benchmarks/verify.py`; the model is a random one of two layers, so cheap that
what the cluster costs is seen at its worst. (Not called `ray.py`: it would be imported in the place of Ray.)
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
os.environ["OMP_NUM_THREADS"] = "1"

from verify import SLOW, programs_of

from ilf import policy
from ilf.config import EngineConfig, PlaceConfig, SamplingConfig, VerifyConfig
from ilf.places import Local, Place, place_of
from ilf.records import Program, Task
from ilf.runner import Job
from ilf.steps import Sample

SAMPLES = 32
"""A task."""


class Nodes:
    """A cluster on this machine, of nodes of one core."""

    def __init__(self, count: int) -> None:
        from ray.cluster_utils import Cluster

        self.cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
        for _ in range(count - 1):
            self.cluster.add_node(num_cpus=1)
        self.place = place_of(PlaceConfig(name="ray", address=self.cluster.address))

    def close(self) -> None:
        """End it."""
        import ray

        self.place.close()
        ray.shutdown()
        self.cluster.shutdown()


class Taken(NamedTuple):
    """What a call takes, in seconds."""

    wall: float
    parent: float
    """Processor time of this process: what a cluster's every program or sample costs it."""


def taken_by(call: Callable[[], object]) -> Taken:
    """What a call takes."""
    began, used = time.perf_counter(), time.process_time()
    call()
    return Taken(time.perf_counter() - began, time.process_time() - used)


def verifying(place: Place, tasks: dict[str, Task], programs: list[Program], workers: int | None) -> Taken:
    """Seconds for all programs, after a few that start the workers."""
    settings = VerifyConfig(workers=workers)
    list(place.verify(tasks, programs[:40], settings))
    return taken_by(lambda: list(place.verify(tasks, programs, settings)))


def sampling(place: Place, tasks: list[Task], folder: Path) -> Taken:
    """Seconds for a step that samples, the model open before."""
    model = policy.get(folder, EngineConfig(), "completion")
    place.open(model)
    step = Sample(model, tuple(tasks), SamplingConfig(n=SAMPLES, max_tokens=64), seed=1)
    with tempfile.TemporaryDirectory() as out:
        return taken_by(lambda: step.run(Job(Path(out) / "programs.jsonl", "key", place)))


def measured(
    what: str, where: str, workers: int, tasks: dict[str, Task], programs: list[Program], folder: Path
) -> Taken:
    """Seconds of one of the table's cells, with a cluster of its own."""
    place = Local() if where == "local" else (nodes := Nodes(workers)).place
    try:
        if what == "verify":
            return verifying(place, tasks, programs, workers if where == "local" else None)
        return sampling(place, list(tasks.values())[:64], folder)
    finally:
        place.close()
        if where == "ray":
            nodes.close()


def compare(tasks: dict[str, Task], programs: list[Program], rounds: int) -> None:
    """The table: the best of interleaved rounds."""
    from bytemodel import write_model

    # One thread a process: a model so small gains nothing of a second one.
    cells = [("verify", "local", 1), ("verify", "ray", 1), ("verify", "local", 2), ("verify", "ray", 2),
             ("sample", "local", 1), ("sample", "ray", 1), ("sample", "ray", 2)]  # fmt: skip
    counts = {"verify": len(programs), "sample": 64 * SAMPLES}
    found: dict[tuple[str, str, int], Taken] = {}
    with tempfile.TemporaryDirectory() as work:
        folder = write_model(Path(work) / "model", context=2048)
        for _ in range(rounds):
            for cell in cells:
                taken = measured(*cell, tasks, programs, folder)
                found[cell] = min(found.get(cell, taken), taken)
                print(
                    f"{cell}: {taken.wall:.2f} s, load {os.getloadavg()[0]:.1f}", file=sys.stderr, flush=True
                )
    print(f"best of {rounds} interleaved rounds; {counts['verify']} programs, {counts['sample']} samples")
    for (what, where, workers), taken in found.items():
        beside = found.get((what, "local", workers), found[what, "local", 1])
        print(
            f"{what:7}{where:6}{workers} workers: {taken.wall:6.2f} s, {counts[what] / taken.wall:5.0f} a second, "
            f"{taken.wall / beside.wall - 1:+.0%} time, parent {1000 * taken.parent / counts[what]:.2f} ms each"
        )


def memory(tasks: dict[str, Task], programs: list[Program], counts: list[int]) -> None:
    """Peak memory of the process that gives programs to two nodes, for each number of programs."""
    for count in counts:
        queue: multiprocessing.Queue[tuple[int, int, float]] = multiprocessing.get_context("spawn").Queue()
        process = multiprocessing.get_context("spawn").Process(
            target=_peak, args=(tasks, programs, count, queue)
        )
        process.start()
        before, peak, taken = queue.get()
        process.join()
        print(
            f"{count:7,} programs: {count / taken:6.0f} programs/s, parent's peak {peak / 1024:.1f} MiB, "
            f"{(peak - before) / 1024:.1f} MiB above that of the first 2,000",
            flush=True,
        )


def _peak(
    tasks: dict[str, Task],
    programs: list[Program],
    count: int,
    queue: multiprocessing.Queue[tuple[int, int, float]],
) -> None:
    def stream(count: int) -> Iterator[Program]:
        for number in range(count):
            program = programs[number % len(programs)]
            yield program.model_copy(update={"code": f"{program.code}\n# {number}\n"})

    nodes = Nodes(2)
    assert sum(1 for _ in nodes.place.verify(tasks, stream(2000), VerifyConfig())) == 2000
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.perf_counter()
    assert sum(1 for _ in nodes.place.verify(tasks, stream(count), VerifyConfig())) == count
    queue.put((before, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter() - began))
    nodes.close()


def main() -> None:
    """Parse the command line and measure."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, help="folder with mbpp.jsonl and surge_annotations.jsonl")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument(
        "--memory", type=int, nargs="+", help="numbers of programs: peak memory instead of speed"
    )
    arguments = parser.parse_args()
    tasks, programs = programs_of(arguments.data)
    programs = [program for program in programs if program.task_id != SLOW]
    if arguments.memory:
        memory(tasks, programs, arguments.memory)
    else:
        compare(tasks, programs, arguments.rounds)


if __name__ == "__main__":
    main()
