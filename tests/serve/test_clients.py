"""Clients beside each other: keys, room in the queue, fairness, metrics."""

import json
import subprocess
import sys
import threading
import time

import httpx
import pytest
from serve_samples import KEYS, RIGHT, SLOW, ask, bearer, rows_of

from ilf.errors import DataError
from ilf.serve.keys import read_keys
from ilf.serve.queue import FairQueue, Full, Item

SLOW_ONES = [f"{SLOW}\n# {number}\n" for number in range(300)]
"""Each another text: the same one would run once."""


def test_a_key_is_needed(keyed):
    url = keyed.url + "/v1/verify"
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic %%"}, {"X-API-Key": ""}):
        response = httpx.post(url, json=ask(RIGHT), headers=headers)
        assert response.status_code == 401 and "key" in response.json()["error"]
        assert response.headers["www-authenticate"].startswith("Bearer")
    for headers in (bearer("one"), {"X-API-Key": KEYS["two"]}):
        assert rows_of(httpx.post(url, json=ask(RIGHT), headers=headers, timeout=60))[0]["passed"]
    assert rows_of(httpx.post(url, json=ask(RIGHT), auth=("any", KEYS["one"]), timeout=60))[0]["passed"]
    assert httpx.get(keyed.url + "/health").status_code == 200
    assert httpx.get(keyed.url + "/metrics").status_code == 401


def test_a_body_that_is_too_large_is_refused_while_it_arrives(keyed):
    def endless():
        for _ in range(1 << 14):
            yield b" " * (1 << 10)

    for content in (b" " * (1 << 19), endless()):
        try:
            response = httpx.post(
                keyed.url + "/v1/verify", content=content, headers=bearer("one"), timeout=30
            )
            assert response.status_code == 413 and "0.25 MiB" in response.json()["error"]
        except httpx.WriteError:
            pass  # the server has closed before all was sent


def test_a_full_queue_says_when_to_come_again(keyed):
    url = keyed.url + "/v1/verify"
    statuses = []

    def fill(name):
        with httpx.stream("POST", url, json=ask(*SLOW_ONES), headers=bearer(name), timeout=60) as response:
            statuses.append(response.status_code)
            filled.wait(60)

    filled = threading.Event()
    threads = [threading.Thread(target=fill, args=(name,)) for name in KEYS]
    for thread in threads:
        thread.start()
    while len(statuses) < 2:
        time.sleep(0.05)
    try:
        assert statuses == [200, 200]
        mine = httpx.post(url, json=ask(*[RIGHT] * 200), headers=bearer("one"))
        assert mine.status_code == 429 and 1 <= int(mine.headers["retry-after"]) <= 60
        all_ = httpx.post(url, json=ask(*[RIGHT] * 90), headers=bearer("one"))
        assert all_.status_code == 503 and 1 <= int(all_.headers["retry-after"]) <= 60
        run = {"code": "print(1)", "language": "python"}
        for _ in range(4):  # a slow program may just have made room for one
            fusion = httpx.post(keyed.url + "/run_code", json=run, headers=bearer("two"), timeout=30)
            if not fusion.is_success:
                break
        # verl's client repeats a request on this status only.
        assert fusion.status_code == 504 and 1 <= int(fusion.headers["retry-after"]) <= 60
    finally:
        filled.set()
        for thread in threads:
            thread.join()


def test_a_client_with_slow_programs_does_not_hold_up_another(keyed):
    """300 programs of 1.5 s are ahead; the other client's 40 are done after a few of them."""
    finished = {}
    started = threading.Event()

    def slow():
        with httpx.stream(
            "POST", keyed.url + "/v1/verify", json=ask(*SLOW_ONES), headers=bearer("one"), timeout=120
        ) as response:
            started.set()
            for number, _ in enumerate(response.iter_lines(), start=1):
                finished["slow"] = number
                if "quick" in finished:
                    return

    thread = threading.Thread(target=slow)
    thread.start()
    started.wait(30)
    time.sleep(0.5)
    rows = rows_of(
        httpx.post(keyed.url + "/v1/verify", json=ask(*[RIGHT] * 40), headers=bearer("two"), timeout=120)
    )
    finished["quick"] = len(rows)
    thread.join()
    assert all(row["passed"] for row in rows)
    assert finished.get("slow", 0) < 30


def test_metrics_tell_of_clients(keyed):
    httpx.post(keyed.url + "/v1/verify", json=ask(RIGHT, "def"), headers=bearer("two"), timeout=60)
    text = httpx.get(keyed.url + "/metrics", headers=bearer("one")).text
    from prometheus_client.parser import text_string_to_metric_families

    samples = {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert samples["ilf_verifier_programs_total", "passed", "two"] >= 1
    assert samples["ilf_verifier_programs_total", "error", "two"] >= 1
    assert samples["ilf_verifier_requests_total", "/v1/verify", "200", "two"] >= 1
    assert samples["ilf_verifier_queued_programs", "two"] == 0
    assert samples["ilf_verifier_program_seconds_count",] >= 2
    assert not any(key in text for key in KEYS.values())


def queued(*counts):
    queue = FairQueue(100, 60, 1)
    for name, count in counts:
        queue.put([Item(name, 1, number, lambda result: None, lambda: False) for number in range(count)])
    return queue


def test_programs_of_one_length_are_taken_in_turn():
    queue = queued(("a", 6), ("b", 3), ("c", 3))
    order = []
    for _ in range(12):
        item = queue.take(1, block=False)
        order.append(item.client)
        queue.ran(item, 0.01)
    assert order[:9] == ["a", "b", "c"] * 3 and order[9:] == ["a"] * 3


def test_seconds_count_not_programs():
    queue = queued(("slow", 50), ("quick", 50))
    seconds = {"slow": 0.0, "quick": 0.0}
    for _ in range(50):
        item = queue.take(block=False)
        took = 0.9 if item.client == "slow" else 0.1
        seconds[item.client] += took
        queue.ran(item, took)
    assert seconds["slow"] - seconds["quick"] < 1.0


def test_the_room_is_bounded_and_given_back():
    queue = queued(("a", 60))
    with pytest.raises(Full) as full:
        queue.put([Item("a", 1, 0, lambda result: None, lambda: False)])
    assert full.value.client and full.value.wait >= 1
    with pytest.raises(Full) as full:
        queue.put([Item("b", 1, 0, lambda result: None, lambda: False)] * 41)
    assert not full.value.client
    queue.taken("a", 1)
    queue.put([Item("a", 1, 0, lambda result: None, lambda: False)])


@pytest.mark.parametrize(
    "text, words",
    [("", "no keys"), ("name", "line 1: NAME KEY"), ("a short", "at least 16"), ("a b c", "NAME KEY"),
     ("a 0123456789abcdef\nb 0123456789abcdef", "line 2: the key of an earlier line")],
)  # fmt: skip
def test_a_keys_file_is_read_or_its_line_named(tmp_path, text, words):
    path = tmp_path / "keys.txt"
    path.write_text(text)
    with pytest.raises(DataError, match=words) as error:
        read_keys(path)
    assert "0123456789abcdef" not in str(error.value)


def test_the_command_refuses_to_be_open_to_others(web):
    done = subprocess.run(
        [sys.executable, "-m", "ilf.cli", "serve", "verifier", "--host", "0.0.0.0"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2 and "--keys-file" in done.stderr and done.stderr.count("\n") == 1
    assert json.dumps(KEYS["one"]) not in done.stderr
