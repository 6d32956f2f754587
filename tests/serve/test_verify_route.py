"""`/v1/verify` of a real server: verdicts, streaming, limits, hostile requests and programs, the end."""

import json
import random
import signal
import socket
import threading
import time

import httpx
import pytest
from serve_samples import RIGHT, SLOW, TASK, ask, rows_of

from ilf.records import Program, Verdict
from ilf.sandbox import verify
from ilf.tasks import load_tasks


def test_verdicts_are_those_of_ilf_verify(open_server):
    tasks = [task for task in load_tasks("starter") if task.reference][:25]
    programs = [Program(task_id=task.task_id, code=task.reference) for task in tasks]
    programs += [
        Program(task_id=task.task_id, code=task.reference.replace("return", "return not", 1))
        for task in tasks
    ]
    programs += [Program(task_id=tasks[0].task_id, code=code) for code in ("", "def", "raise SystemExit")]
    random.Random(0).shuffle(programs)
    expected = list(verify({task.task_id: task for task in tasks}, programs, workers=2))
    assert len({verdict.status for verdict in expected}) >= 3
    body = {"programs": [json.loads(program.to_json()) for program in programs]}
    rows = rows_of(httpx.post(open_server.url + "/v1/verify", json=body, timeout=120))
    assert len(rows) == len(programs)
    for row, verdict in zip(rows, expected, strict=True):
        assert row.pop("passed") == verdict.passed
        row.pop("index")
        found = Verdict.model_validate(row)
        assert found.model_copy(update={"seconds": verdict.seconds}) == verdict


def test_verdicts_come_before_the_last_program_has_run(open_server):
    times = {}
    with httpx.stream(
        "POST", open_server.url + "/v1/verify", json=ask(RIGHT, SLOW, SLOW, SLOW, SLOW), timeout=60
    ) as response:
        assert response.headers["content-type"] == "application/x-ndjson"
        for line in response.iter_lines():
            times[json.loads(line).get("index", "done")] = time.monotonic()
    assert len(times) == 6
    assert times["done"] - times[0] > 1


def test_the_request_sets_limits_and_repetitions(open_server):
    url = open_server.url + "/v1/verify"
    flaky = "import random\ndef f(x):\n    return 2 if random.random() < 0.5 else 3\n"
    [row] = rows_of(httpx.post(url, json=ask(flaky, repeat=10), timeout=60))
    assert row["status"] == "flaky"
    loop = "def f(x):\n    while True: pass\n"
    [row] = rows_of(httpx.post(url, json=ask(loop, limits={"cpu_seconds": 0.2}), timeout=60))
    assert row["status"] == "timeout"


@pytest.mark.parametrize(
    "body, status, words",
    [
        (b"{", 400, "not JSON"),
        (b"\xff\xfe", 400, "not JSON"),
        (b"[" * 100_000, 400, "not JSON"),
        (b"[]", 422, "row"),
        ({"programs": []}, 422, "programs"),
        ({"programs": [{"task_id": "nowhere", "code": ""}]}, 422, "neither sent nor known"),
        (ask(RIGHT, more=1), 422, "more"),
        (ask(RIGHT, repeat=11), 422, "repeat"),
        (ask(RIGHT, limits={"cpu_seconds": 1e9}), 422, "limits.cpu_seconds"),
        (ask(RIGHT, limits={"cpu_seconds": 100}), 422, "more than 30"),
        (ask(RIGHT, limits={"seconds": 1}), 422, "limits.seconds"),
        (ask(RIGHT, limits={"memory_mb": 100_000}), 422, "limits.memory_mb"),
        (ask(RIGHT) | {"tasks": [TASK, TASK]}, 422, "a second task"),
        (ask(RIGHT) | {"tasks": [TASK | {"tests": ["assert ("]}]}, 422, "not Python"),
        (ask(RIGHT) | {"tasks": [TASK | {"tests": []}]}, 422, "tests"),
        (ask(RIGHT) | {"tasks": [TASK | {"entry_point": ""}]}, 422, "entry_point"),
        (ask(RIGHT) | {"tasks": [TASK | {"kind": "os:system"}]}, 422, "kind"),
        (ask(RIGHT) | {"tasks": [TASK | {"kind": "stdin"}]}, 422, "an object with input and output"),
        (ask("x" * (1 << 20) + "x"), 413, "characters"),
        (ask(*[""] * 1001), 413, "1001"),
    ],
)  # fmt: skip
def test_a_bad_request_gets_one_line(open_server, body, status, words):
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    response = httpx.post(open_server.url + "/v1/verify", content=content, timeout=30)
    assert (response.status_code, list(response.json())) == (status, ["error"])
    assert words in response.json()["error"] and "\n" not in response.json()["error"]


def test_no_request_gives_500(open_server):
    """Values of every sort in every place of every request."""
    chance = random.Random(1)
    odd = [
        None,
        True,
        -1,
        1e308,
        10**400,
        "",
        "\ud800",
        "\0",
        [],
        [[]],
        {},
        {"a": {}},
        "x" * 1000,
        float("nan"),
    ]
    good = {
        "/v1/verify": ask(RIGHT, limits={"cpu_seconds": 1}, repeat=1, isolation="auto"),
        "/run_code": {"code": "print(1)", "language": "python", "stdin": "", "run_timeout": 1, "files": {}},
        "/submit": {
            "dataset": "CommonOJDataset", "id": 1, "completion": "print(1)",
            "config": {"provided_data": {"id": 1, "test": [{"input": {"stdin": ""}, "output": {"stdout": "1"}}]}},
        },
    }  # fmt: skip

    def paths(value, path=()):
        yield path
        items = (
            value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        )
        for key, inner in items:
            yield from paths(inner, (*path, key))

    def put(value, path, new):
        if not path:
            return new
        copy = value.copy()
        copy[path[0]] = put(value[path[0]], path[1:], new)
        return copy

    seen = set()
    with httpx.Client(base_url=open_server.url, timeout=60) as client:
        for _ in range(250):
            route = chance.choice(list(good))
            path = chance.choice(list(paths(good[route])))
            body = json.dumps(put(good[route], path, chance.choice(odd)))
            response = client.post(route, content=body)
            seen.add(response.status_code)
            assert response.status_code < 500, (route, body, response.text)
            if response.status_code >= 400:
                assert "\n" not in response.json()["error"]
    assert {200, 422} <= seen


def test_a_hostile_program_harms_no_other(open_server):
    hostile = [
        "import os\nos._exit(0)", "import os\nwhile True: os.fork()", "x = bytearray(10**12)",
        "import os, signal\nos.kill(os.getppid(), 9)", "import sys\nsys.setrecursionlimit(10**9)\ndef g(): g()\ng()",
        "while True: print('x' * 10**6)", "def f(x):\n    return type('A', (), {'__eq__': lambda s, o: True})()",
    ]  # fmt: skip
    codes = [code for bad in hostile for code in (RIGHT, bad)] + [RIGHT]
    body = ask(*codes, limits={"cpu_seconds": 1, "wall_seconds": 3})
    rows = rows_of(httpx.post(open_server.url + "/v1/verify", json=body, timeout=250))
    assert [row["passed"] for row in rows] == [code == RIGHT for code in codes]
    assert httpx.get(open_server.url + "/health").json()["status"] == "ok"


def test_a_client_that_goes_away_leaves_nothing_behind(open_server):
    body = json.dumps(ask(*[SLOW] * 200)).encode()
    host, _, port = open_server.url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port))) as raw:
        head = f"POST /v1/verify HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
        raw.sendall(head.encode() + body)
        raw.recv(100)
    deadline = time.monotonic() + 30
    while httpx.get(open_server.url + "/health").json()["pending"] and time.monotonic() < deadline:
        time.sleep(0.2)
    assert httpx.get(open_server.url + "/health").json()["pending"] == 0
    started = time.monotonic()
    assert rows_of(httpx.post(open_server.url + "/v1/verify", json=ask(RIGHT), timeout=60))[0]["passed"]
    assert time.monotonic() - started < 60


@pytest.mark.parametrize("number, group", [(signal.SIGTERM, False), (signal.SIGINT, True)])
def test_what_was_accepted_is_answered_before_the_end(serve, number, group):
    server = serve("--workers", "2")
    answers = []

    def post():
        answers.append(httpx.post(server.url + "/v1/verify", json=ask(*[SLOW] * 4, RIGHT), timeout=60))

    thread = threading.Thread(target=post)
    thread.start()
    while httpx.get(server.url + "/health").json()["pending"] == 0:
        time.sleep(0.05)
    assert server.stop(number, group) == 0
    thread.join()
    assert [row["passed"] for row in rows_of(answers[0])] == [True] * 5
    assert server.said.strip() == "stopped; what was accepted is answered"
    with pytest.raises(httpx.ConnectError):
        httpx.get(server.url + "/health")
