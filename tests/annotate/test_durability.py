"""Nothing acknowledged is ever lost: the server is killed under load, again and again."""

from __future__ import annotations

import json
import threading
import urllib.error
import urllib.request
from collections import Counter

import pytest

pytest.importorskip("uvicorn", reason="the extra 'annotate' is not installed")
from annotate_samples import make_failures, make_tasks
from annotate_server import Server

from ilf.annotate import accounts
from ilf.annotate.store import Store

ITEMS, WORKERS, KILLS = 150, 12, 3


def test_kill_9_under_load_loses_and_doubles_nothing(tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    store = Store(run / "annotations.db")
    tasks = make_tasks(ITEMS)
    store.fill(tasks, *make_failures(tasks))
    keys = []
    for n in range(WORKERS):
        person = accounts.named(store, f"w{n}")
        keys.append(accounts.make_key(store, person, "load", person))
    store.close()
    server = Server(run)
    acknowledged: dict[int, str] = {}
    lock, stop = threading.Lock(), threading.Event()
    died = threading.Event()

    def call(method: str, path: str, key: str, body: dict | None = None, once: str | None = None):
        request = urllib.request.Request(
            f"{server.url}/api/v1{path}", method=method, data=None if body is None else json.dumps(body).encode(),
            headers={"authorization": f"Bearer {key}", "content-type": "application/json",
                     **({"idempotency-key": once} if once else {})},
        )  # fmt: skip
        with urllib.request.urlopen(request, timeout=10) as reply:
            return reply.status, json.loads(reply.read() or b"null")

    def patiently(*args):
        """As a client should: the same request again until there is an answer."""
        while not stop.is_set():
            try:
                return call(*args)
            except urllib.error.HTTPError as error:
                raise AssertionError(f"{args[:2]}: {error.code} {error.read()!r}") from None
            except OSError:
                died.set()
                stop.wait(0.05)
        return 0, None

    failures: list[str] = []

    def work(number: int) -> None:
        try:
            while not stop.is_set():
                status, item = patiently("POST", "/claim", keys[number])
                if status != 200:
                    return
                text = f"Worker {number} says that item {item['item']} adds a constant instead of doubling."
                status, reply = patiently(
                    "POST",
                    f"/items/{item['item']}/answer",
                    keys[number],
                    {"text": text},
                    f"{number}-{item['item']}",
                )
                if status == 200:
                    with lock:
                        assert reply["item"] not in acknowledged, "one item was acknowledged twice"
                        acknowledged[reply["item"]] = text
        except AssertionError as error:
            failures.append(str(error))
            stop.set()

    threads = [threading.Thread(target=work, args=(n,)) for n in range(WORKERS)]
    for thread in threads:
        thread.start()
    for kill in range(KILLS):
        while len(acknowledged) < (kill + 1) * ITEMS // (KILLS + 2) and not stop.is_set():
            stop.wait(0.005)
        server.kill()
        sofar = dict(acknowledged)
        kept = {feedback.text for feedback in server.accepted()}
        assert set(sofar.values()) <= kept, "an acknowledged answer is gone"
        server.start()
    for thread in threads:
        thread.join(60)
    stop.set()
    server.stop()
    assert failures == []
    assert died.is_set(), "the server was never down: the test tested nothing"
    texts = Counter(feedback.text for feedback in server.accepted())
    assert len(acknowledged) == ITEMS
    assert texts == Counter(acknowledged.values())
