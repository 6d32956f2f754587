"""Programs with stdin and stdout: ten tasks whose references pass, and whatever else a program may do."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ilf.errors import DataError, Inexpressible
from ilf.kinds import kind_of
from ilf.prompts import Prompter
from ilf.records import Task, Verdict
from ilf.sandbox import Limits, Verifier, stdin
from ilf.tasks import load_tasks
from ilf.tasks.check import audit

pytestmark = pytest.mark.alone

CHECKER = """
def check(input, output, expected):
    a, b = map(int, output.split())
    return a > 0 and b > 0 and a + b == int(input)
"""
ROWS = [
    {"task_id": "sum", "description": "Add two numbers.", "tests": [{"input": "3 4\n", "output": "7\n"}, {"input": "-1 1\n", "output": "0\n"}],
     "reference": "a, b = map(int, input().split())\nprint(a + b)\n"},
    {"task_id": "lines", "description": "Reverse the lines.", "tests": [{"input": "a\nb\nc\n", "output": "c\nb\na\n"}, {"input": "x", "output": "x"}],
     "reference": "import sys\nprint('\\n'.join(sys.stdin.read().splitlines()[::-1]))\n"},
    {"task_id": "bytes", "description": "Count the bytes.", "tests": [{"input": "äb\n", "output": "4"}],
     "reference": "import sys\nprint(len(sys.stdin.buffer.read()))\n"},
    {"task_id": "descriptor", "description": "Shout.", "tests": [{"input": "hello", "output": "HELLO"}],
     "reference": "import os\nos.write(1, open(0).read().upper().encode())\n"},
    {"task_id": "half", "description": "Half.", "tests": [{"input": "1\n", "output": "0.5\n", "tolerance": 1e-6}, {"input": "2\n", "output": "1", "tolerance": 1e-6}],
     "reference": "print('%.9f' % (int(input()) / 2 + 1e-8))\n"},
    {"task_id": "either", "description": "A prime under 4.", "tests": [{"output": ["2\n", "3\n"]}], "reference": "print(3)\n"},
    {"task_id": "parts", "description": "Two positive numbers with that sum.", "setup": CHECKER, "tests": [{"input": "5\n"}, {"input": "9\n"}],
     "reference": "n = int(input())\nprint(1, n - 1)\n"},
    {"task_id": "main", "description": "Twice.", "tests": [{"input": "4", "output": "8"}],
     "reference": "import sys\ndef main():\n    print(2 * int(input()))\n    sys.exit(0)\nif __name__ == '__main__':\n    main()\n"},
    {"task_id": "threads", "description": "Deep.", "tests": [{"input": "2000", "output": "2000"}],
     "reference": "import sys, threading\nsys.setrecursionlimit(10000)\nthreading.stack_size(1 << 26)\ndef f(n):\n    return 0 if n == 0 else 1 + f(n - 1)\nt = threading.Thread(target=lambda: print(f(int(input()))))\nt.start()\nt.join()\n"},
    {"task_id": "state", "description": "Number of lines.", "tests": [{"input": "a\n", "output": "1"}, {"input": "a\nb\n", "output": "2"}],
     "reference": "import sys, builtins\nbuiltins.seen = getattr(builtins, 'seen', 0) + sum(1 for _ in sys.stdin)\nprint(builtins.seen)\n"},
]  # fmt: skip
TASKS = {row["task_id"]: Task(**row, kind="stdin") for row in ROWS}


@pytest.fixture(scope="module")
def verifier():
    with Verifier(TASKS, workers=1, limits=Limits(cpu_seconds=1, wall_seconds=5)) as found:
        yield found


@pytest.mark.parametrize("name", TASKS)
def test_the_reference_passes_every_test(verifier, name):
    verdict = verifier.verify_one(TASKS[name], TASKS[name].reference)
    assert verdict.status == "passed" and all(verdict.tests), verdict.detail


@pytest.mark.parametrize(
    ("name", "code", "status", "says"),
    [
        ("sum", "print(7)", "failed", ["Failed: the program with the input\n-1 1", "Expected: '0\\n'", "Got: '7\\n'", "1 of 2 tests passed (test 1)."]),
        ("sum", "x = 1\nprint(1 / 0)", "error", ["Error: ZeroDivisionError: division by zero", "At line 2 of the program."]),
        ("sum", "x = 1\nprint((", "error", ["Error: SyntaxError: '(' was never closed", "At line 2"]),
        ("sum", "a, b = map(int, input().split())\nprint(a + b)\nraise SystemExit(3)", "error", ["the program ended with exit status 3"]),
        ("sum", "import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)", "error", ["was killed by signal 11"]),
        ("sum", "while True: pass", "timeout", ["Time limit: the program "]),
        ("sum", "x = bytearray(10 ** 12)", "memory", ["Memory limit: MemoryError"]),
        ("sum", "", "no_code", ["There is no program."]),
        ("sum", "input()\ninput()", "error", ["Error: EOFError"]),
        ("half", "print(0.501)", "failed", ["Expected: '0.5\\n'"]),
        ("half", "print('nan')", "failed", []),
        ("either", "print(4)", "failed", ["Expected: '2\\n' or '3\\n'"]),
        ("parts", "print('none')", "failed", []),
        ("parts", "print(2, 3)", "failed", ["1 of 2 tests passed"]),
        ("lines", "print('c')\nprint('b   ')\nprint('a')\nprint()\nprint()" , "failed", ["1 of 2 tests passed (test 1)."]),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_in_the_programs_own_words(verifier, name, code, status, says):
    verdict = verifier.verify_one(TASKS[name], code)
    assert verdict.status == status, verdict.detail
    for part in says:
        assert part in verdict.detail
    assert "__ilf" not in verdict.detail and ".ilf-" not in verdict.detail


HOSTILE = [
    "import os\nos._exit(0)",
    "import sys\nclass Any(str):\n    __eq__ = lambda s, o: True\nsys.stdout.write(Any('x'))",
    "import os\nos.kill(os.getppid(), 9)",
    "import os, sys\nframe = sys._getframe()\nwhile frame:\n    print(frame.f_locals)\n    frame = frame.f_back",
    "import gc\nprint([o for o in gc.get_objects() if type(o) is dict and 'outputs' in o])",
    "import os\nfor n in range(3, 64):\n    try:\n        os.write(n, b'{\"v\":\"7\"}')\n    except OSError:\n        pass",
    "import sys\nsys.modules['__main__'].__dict__['__ilf_run__'] = lambda s: 7",
    "print(open('/proc/self/environ').read())",
    "import socket\nsocket.socket(socket.AF_INET)",
    "import os\nif os.fork():\n    os._exit(0)\nwhile True:\n    pass",
    "print('7' * 10 ** 8)",
    "while True:\n    print('7')",
]  # fmt: skip


def test_no_hostile_program_passes_and_the_next_right_one_does(verifier):
    for code in HOSTILE:
        verdict = verifier.verify_one(TASKS["sum"], code)
        assert verdict.status not in ("passed", "sandbox_error"), (code, verdict)
    assert verifier.verify_one(TASKS["sum"], TASKS["sum"].reference).status == "passed"


def test_weak_tests_are_found(verifier):
    weak = {w.task_id: w.stubs for w in audit(list(TASKS.values()), verifier.verify)}
    # An example that is the only test is passed by whoever prints it.
    assert weak.pop("lines", None) is None and weak.pop("sum", None) is None
    assert weak["bytes"] == ("the shown value",)
    assert set(weak) == {"bytes", "descriptor", "either", "main", "threads"}


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=20), min_size=1, max_size=4))
@settings(max_examples=20, deadline=None)
def test_any_text_goes_in_and_comes_out(verifier, texts):
    tests = [{"input": text, "output": text + "."} for text in texts]
    task = Task(task_id="echo", description="", kind="stdin", tests=tests)
    code = "import sys\nsys.stdout.buffer.write(sys.stdin.buffer.read() + b'.')"
    assert verifier.verify_one(task, code).status == "passed"


# ---------------------------------------------------------------- tasks


def test_tests_are_written_as_objects_and_are_text_inside(tmp_path):
    path = tmp_path / "t.jsonl"
    path.write_text("".join(json.dumps(row | {"kind": "stdin"}) + "\n" for row in ROWS))
    tasks = load_tasks(str(path))
    assert tasks == list(TASKS.values()) and all(isinstance(test, str) for test in tasks[0].tests)
    assert Task.model_validate_json(tasks[0].to_json()) == tasks[0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tests": ["3 4"]}, "tests.0: an object with input and output was expected: "),
        ({"tests": [{"input": "1"}]}, "tests.0: no output, and no function check"),
        ({"tests": [{"input": "1", "ouput": "2"}]}, "tests.0: an object .*: ouput: Extra inputs"),
        ({"tests": [{"input": "1", "output": "2", "tolerance": -1}]}, "tests.0: an object .*: tolerance"),
        ({"setup": "def check(:"}, "setup: the checker does not parse"),
        ({"reference": "print("}, "reference: the reference program does not parse"),
        ({"tests": []}, "tests: no tests"),
    ],
)
def test_a_bad_row_is_named(tmp_path, changes, message):
    (tmp_path / "t.jsonl").write_text(json.dumps(ROWS[0] | {"kind": "stdin"} | changes) + "\n")
    with pytest.raises(DataError, match=f"line 1: {message}"):
        load_tasks(str(tmp_path / "t.jsonl"))


# ---------------------------------------------------------------- words


def test_the_prompt_ends_with_an_open_fence_and_sampling_stops_at_its_end():
    task = TASKS["sum"]
    chat, base = Prompter("chat"), Prompter("completion")
    prompt = chat.program(task)
    assert prompt.text.endswith("7\n```\n\n```python\n") and "Example input:\n\n```\n3 4\n```" in prompt.user
    assert prompt.prefill == "```python\n" and base.program(task).text.endswith("ANSWER:\n```python\n")
    assert chat.stops([task]) == base.stops([task]) == ("\n```",)
    function = Task(task_id="f", description="", entry_point="f", tests=("assert f() == 1",))
    answer = Task(task_id="a", description="", kind="answer", tests=("1",))
    assert chat.stops([function]) == chat.stop and chat.stops([task, function]) == chat.stops([answer]) == ()
    refinement = chat.refinement(task, "print(7)\n", "Add them.")
    assert "This answer is wrong:\n\nprint(7)" in refinement.text and refinement.text.endswith("```python\n")
    assert "Add two numbers." in chat.feedback(task, "print(7)\n").text


@pytest.mark.parametrize(
    ("completion", "code"),
    [
        ("print(1)", "print(1)\n"),
        ("print(1)\n```\nIt prints one.", "print(1)\n"),
        ("Here:\n```python\nprint(1)\n```\nand\n```\n7\n```", "7\n"),
        ("I would say so (:\n```python\nprint(1)\n```", "print(1)\n"),
        ("```python\nprint(1)\n```", "print(1)\n"),
        ("print((", "print((\n"),
        ("def f():\n    pass\n\nf()\n", "def f():\n    pass\n\nf()\n"),
        ("print(1)<|im_end|>\nuser", "print(1)\n"),
        ("", ""),
        ("\n\n", ""),
    ],
)
def test_the_program_of_a_completion(completion, code):
    assert kind_of("stdin").extract(TASKS["sum"], completion) == code


def test_what_is_trained_on_is_read_back():
    prompter = Prompter("chat")
    for task in TASKS.values():
        target = prompter.program_target(task, task.reference)
        assert prompter.extract_program(task, target) == task.reference
        assert prompter.extract_program(task, target.removesuffix("\n```")) == task.reference
    with pytest.raises(Inexpressible, match="code fence"):
        prompter.program_target(TASKS["sum"], 'print("""\n```\n""")')
    with pytest.raises(Inexpressible, match="empty"):
        prompter.program_target(TASKS["sum"], " \n")


def test_a_long_input_is_cut_in_what_is_said():
    task = Task(task_id="long", description="", kind="stdin", tests=[{"input": "x" * 9000, "output": "1"}])
    assert len(stdin.shown(task).tests[0]) < 600
    assert isinstance(stdin.told({"status": "failed", "test": 0, "call": "f()"}, task)["call"], str)
    assert Verdict(task_id="long", program_id="p", status="failed").passed is False
