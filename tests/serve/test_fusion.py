"""SandboxFusion's calls, asked for as verl's client asks (verl/utils/reward_score/sandbox_fusion/utils.py)."""

import base64
import json
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from serve_samples import KEYS

requests = pytest.importorskip("requests")
LEFT, RIGHT, WRONG, ERROR, TIMEOUT = None, True, False, -2, -3


def as_verl_calls(url, code, stdin, timeout=10, memory=1024):
    """One request: the same fields, headers and time limit, on a connection of its own, and no key."""
    payload = json.dumps(
        {
            "compile_timeout": timeout, "run_timeout": timeout, "code": code, "stdin": stdin,
            "memory_limit_MB": memory, "language": "python", "files": {}, "fetch_files": [],
        }
    )  # fmt: skip
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    response = requests.post(url, headers=headers, data=payload, timeout=2 * timeout + 10)
    response.raise_for_status()
    return response.json()


def as_verl_reads(answer, expected):
    """What verl makes of an answer: true, false, or the number of its kind of failure."""
    compiled, ran = answer.get("compile_result"), answer.get("run_result")
    if answer["status"] == "Failed":
        assert not compiled
        if ran["status"] == "TimeLimitExceeded":
            return TIMEOUT
        return ERROR if ran["status"] == "Finished" and ran["return_code"] != 0 else -1
    if answer["status"] == "Success" and ran["status"] == "Finished":
        return str(ran["stdout"] or "").rstrip("\n") == str(expected).rstrip("\n")
    return -1


DOUBLE = "print(int(input()) * 2)"
# As verl wraps a function: star imports over one another, arguments as lines of JSON, the result printed.
CALLED = """
from string import *
from re import *
from datetime import *
from collections import *
from itertools import *
from functools import *
from io import *
from sys import *
from json import *
from builtins import *
from typing import *
import sys
import json

class Solution:
    def addAll(self, nums: List[int], more: int) -> int:
        return sum(nums) + more

def run():
    lines = sys.stdin.read()
    args = [json.loads(line) for line in lines.split('\\n')]
    target = globals()['addAll'] if 'addAll' in globals() else getattr(globals()['Solution'](), 'addAll')
    return target(*args)

if __name__ == '__main__':
    print(json.dumps(run()))
"""


@pytest.mark.parametrize(
    "code, stdin, expected, score",
    [
        (DOUBLE, "21", "42", RIGHT),
        (DOUBLE, "21\n", "42\n", RIGHT),
        (DOUBLE, "21", "43", WRONG),
        (DOUBLE, "x", "42", ERROR),
        ("def", "", "", ERROR),
        ("import sys\nprint('said')\nsys.exit(3)", "", "said", ERROR),
        ("import sys\nprint(1)\nsys.exit()", "", "1", RIGHT),
        ("x = bytearray(10**10)", "", "", ERROR),
        ("import os\nos.kill(os.getpid(), 9)", "", "", ERROR),
        ("import os\nos.kill(os.getppid(), 9)", "", "", ERROR),
        ("print('é\\u4e2d')", "", "é\u4e2d", RIGHT),
        ("import sys\nsys.stdout.buffer.write(b'raw\\n')", "", "raw", RIGHT),
        ("import sys\nprint(sys.stdin.readline() + sys.stdin.read())", "a\nb\nc", "a\nb\nc", RIGHT),
        ("for line in open(0): print(line, end='')", "a\nb", "a\nb", RIGHT),
        ("print('x' * 200000)", "", "x" * 200_000, RIGHT),
        (CALLED, "[1, 2, 3]\n4", "10", RIGHT),
    ],
)  # fmt: skip
def test_verl_scores_a_program(open_server, code, stdin, expected, score):
    assert as_verl_reads(as_verl_calls(open_server.url + "/run_code", code, stdin), expected) is score or (
        score == as_verl_reads(as_verl_calls(open_server.url + "/run_code", code, stdin), expected)
    )


@pytest.mark.parametrize(
    "code", ["while True: pass", "import time\ntime.sleep(100)", "input()\nimport os\nos.read(0, 1)"]
)
def test_time_is_limited_by_the_request(open_server, code):
    answer = as_verl_calls(open_server.url + "/run_code", code, "", timeout=1)
    expected = TIMEOUT if "input" not in code else ERROR
    assert as_verl_reads(answer, "") == expected


def test_verl_asks_about_all_cases_at_once(open_server):
    """As check_correctness does: a thread a case, a semaphore around the calls."""
    gate = threading.Semaphore(32)

    def one(number):
        with gate:
            answer = as_verl_calls(open_server.url + "/run_code", DOUBLE, str(number))
        return as_verl_reads(answer, 2 * number)

    with ThreadPoolExecutor(32) as threads:
        assert list(threads.map(one, range(64))) == [True] * 64


def test_a_key_in_the_url_is_enough(keyed):
    """verl's client sends no key of its own; requests makes Authorization of the URL's password."""
    url = keyed.url.replace("http://", f"http://verl:{KEYS['one']}@") + "/run_code"
    assert as_verl_reads(as_verl_calls(url, DOUBLE, "4"), 8) is True
    with pytest.raises(requests.HTTPError, match="401"):
        as_verl_calls(keyed.url + "/run_code", DOUBLE, "4")


def test_answers_have_sandboxfusions_fields(open_server):
    answer = as_verl_calls(open_server.url + "/run_code", "import sys\nprint(1, file=sys.stderr)", "")
    assert set(answer) == {"status", "message", "compile_result", "run_result", "executor_pod_name", "files"}
    ran = answer["run_result"]
    assert set(ran) == {"status", "execution_time", "return_code", "stdout", "stderr"}
    assert (ran["stdout"], ran["stderr"], ran["return_code"]) == ("", "1\n", 0)


@pytest.mark.parametrize(
    "change, words",
    [({"language": "cpp"}, "language"), ({"files": {"a": base64.b64encode(b"x").decode()}}, "files"),
     ({"fetch_files": ["a"]}, "fetch_files"), ({"code": None}, "code"), ({"run_timeout": -1}, "run_timeout")],
)  # fmt: skip
def test_what_is_not_supported_is_refused(open_server, change, words):
    body = {"code": "print(1)", "language": "python"} | change
    response = requests.post(open_server.url + "/run_code", json=body)
    assert response.status_code == 422 and words in response.json()["error"]


def submit(server, **body):
    return requests.post(server.url + "/submit", json={"dataset": "any", "id": 1} | body, timeout=60)


CASES = [{"input": {"stdin": str(n)}, "output": {"stdout": str(2 * n)}} for n in range(3)]


def test_lone_surrogates_come_back_escaped(open_server):
    config = {"dataset_type": "CommonOJDataset", "provided_data": {"id": 1, "test": CASES}}
    response = submit(open_server, completion="```python\nprint('\ud800__MOST__')\n```", config=config)
    assert response.status_code == 200 and "\ud800" in response.json()["extracted_code"]


@pytest.mark.parametrize("tests", [CASES, json.dumps(CASES)])
@pytest.mark.parametrize("code, accepted", [(DOUBLE, True), ("print(0)", False), ("while True: pass", False)])
def test_submissions_with_standard_input(open_server, tests, code, accepted):
    config = {"dataset_type": "CommonOJDataset", "language": "python", "run_timeout": 1,
              "provided_data": {"id": 1, "content": "double", "labels": {}, "test": tests}}  # fmt: skip
    found = submit(open_server, completion=f"So:\n```python\n{code}\n```", config=config).json()
    assert found["accepted"] is accepted and found["id"] == 1 and found["extracted_code"].strip() == code
    assert len(found["tests"]) == 3 and all(
        set(t) == {"passed", "exec_info", "test_info"} for t in found["tests"]
    )
    if accepted:
        assert all(t["passed"] and t["exec_info"]["status"] == "Success" for t in found["tests"])


@pytest.mark.parametrize("body, accepted", [("a + b", True), ("a - b", False)])
def test_submissions_with_assertions(open_server, body, accepted):
    config = {"provided_data": {"id": 1, "content": "add", "labels": {"test_setup_code": "two = 2"},
                                "test": ["assert add(1, two) == 3", "assert add(0, 0) == 0"]}}  # fmt: skip
    completion = f"```python\ndef add(a, b):\n    return {body}\n```"
    found = submit(open_server, dataset="MBPPDataset", completion=completion, config=config).json()
    assert (found["accepted"], [t["passed"] for t in found["tests"]]) == (accepted, [accepted, True])


def test_submissions_to_tasks_that_the_server_knows(open_server):
    from ilf.tasks import load_tasks

    task = next(task for task in load_tasks("starter") if task.reference)
    completion = f"```python\n{task.reference}\n```"
    assert submit(open_server, id=task.task_id, completion=completion, config={}).json()["accepted"]
    response = submit(open_server, id="nowhere", completion="x", config={})
    assert response.status_code == 404 and "nowhere" in response.json()["error"]


@pytest.mark.parametrize(
    "config, words",
    [({"provided_data": {}}, "test is a list"), ({"provided_data": {"test": "{"}}, "not JSON"),
     ({"provided_data": {"test": [1]}}, "dataset_type"), ({"language": "go"}, "language"),
     ({"dataset_type": "CommonOJDataset", "provided_data": {"test": [1]}}, "provided_data"),
     ({"dataset_type": "MBPPDataset", "provided_data": {"test": ["assert ("]}}, "provided_data"),
     ({"custom_extract_logic": "import os"}, "custom_extract_logic"),
     ({"provided_data": [{"id": 2}]}, "no row")],
)  # fmt: skip
def test_submissions_in_another_form_are_refused(open_server, config, words):
    response = submit(open_server, completion="print(1)", config=config)
    assert response.status_code == 422 and words in response.json()["error"]
