"""The same store in a real PostgreSQL: a throw-away cluster, where its programs are installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from annotate_samples import RIGHT, make_failures, make_tasks

from ilf.annotate import accounts, own_work, queue, review
from ilf.annotate.answers import Draft
from ilf.annotate.store import Conflict, Store

pytest.importorskip("psycopg", reason="the extra 'annotate-postgres' is not installed")
BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
pytestmark = pytest.mark.skipif(
    not BINARIES, reason="PostgreSQL is not installed: apt-get install postgresql"
)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A cluster that listens on a socket in a folder of its own, nowhere else."""
    folder = Path(tempfile.mkdtemp(prefix="ilf-pg-", dir="/tmp"))  # a socket's path has to be short
    binaries = BINARIES[-1].parent
    # PostgreSQL refuses to run as root.
    as_user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    if as_user:
        shutil.chown(folder, "postgres")
    data = folder / "data"

    def call(*command: str) -> None:
        done = subprocess.run([*as_user, *command], capture_output=True, text=True, cwd=folder)
        if done.returncode:
            pytest.skip(
                f"PostgreSQL does not start here: {(done.stderr or done.stdout).strip().splitlines()[-1:]}"
            )

    call(str(binaries / "initdb"), "-D", str(data), "-A", "trust", "-U", "ilf", "-E", "UTF8", "--no-sync")
    options = f"-c listen_addresses='' -c unix_socket_directories='{folder}'"
    call(str(binaries / "pg_ctl"), "-D", str(data), "-o", options, "-l", str(folder / "log"), "-w", "start")
    try:
        yield f"postgresql://ilf@/postgres?host={folder}"
    finally:
        call(str(binaries / "pg_ctl"), "-D", str(data), "-m", "immediate", "stop")
        shutil.rmtree(folder, ignore_errors=True)


def test_a_team_works_in_postgresql(url):
    store = Store(url)
    Store(url).close()  # a second server finds the schema in place
    tasks = make_tasks(20)
    assert store.fill(tasks, *make_failures(tasks)) == 20
    people = [accounts.named(store, f"p{n}") for n in range(20)]
    got: list[int | None] = []
    start = threading.Barrier(20)

    def take(person: int) -> None:
        start.wait()
        got.append(queue.claim(store, person))

    threads = [threading.Thread(target=take, args=(person,)) for person in people]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(got)) == 20 and None not in got

    store.configure(review=True)
    item = queue.claim(store, people[0])
    saved = queue.save_draft(store, people[0], item, 1, Draft(text="half a\0 thought"))
    with pytest.raises(Conflict):
        queue.save_draft(store, people[0], item, 1, Draft(text="another tab"))
    answer = Draft(
        text="It adds a constant instead of doubling.", tags=["logic"], refinement=RIGHT.format(n=1)
    )
    reply = queue.submit(store, people[0], item, answer, version=saved.version, key="k")
    assert queue.submit(store, people[0], item, answer, version=saved.version, key="k") == reply
    assert store.accepted() == []
    review.accept(store, accounts.named(store, "Rev", "reviewer"), reply["answer"])
    assert [feedback.text for feedback in store.accepted()] == [answer.text]
    actions = [row["action"] for row in own_work.history(store, f"answers/{reply['answer']}")]
    assert actions == ["claim", "draft", "submit", "accept"]
    assert "postgres" in store.place
    store.close()


def test_two_servers_never_give_one_item_twice(url, tmp_path):
    """Both serve one database to people who ask now one, now the other; one is killed in the middle."""
    import httpx
    import psycopg
    from annotate_queue import write_queue
    from annotate_server import Server

    socket = url.partition("?host=")[2]
    with psycopg.connect(host=socket, user="ilf", dbname="postgres", autocommit=True) as connection:
        connection.execute("CREATE DATABASE two")
    two = url.replace("/postgres?", "/two?")
    store = Store(two)
    tasks = make_tasks(30)
    store.fill(tasks, *make_failures(tasks))
    people = [accounts.named(store, f"p{n}") for n in range(8)]
    keys = [accounts.make_key(store, person, "test", person) for person in people]
    servers = [Server(tmp_path / name, *write_queue(tmp_path), "--database", two) for name in "ab"]
    left = threading.Semaphore(18)  # answers until the second one is killed
    problems: list[str] = []

    def ask(path: str, key: str, turn: int, **body: object) -> httpx.Response:
        for attempt in range(20):
            server = servers[(turn + attempt) % 2]
            try:
                return httpx.post(
                    f"{server.url}/api/v1{path}", json=body or None, timeout=30,
                    headers={"authorization": f"Bearer {key}", "idempotency-key": f"{key[-6:]}{path}{turn}"},
                )  # fmt: skip
            except httpx.TransportError:
                continue  # killed: the other one answers
        raise AssertionError("no server answers")

    def work(key: str, turn: int) -> None:
        try:
            while (got := ask("/claim", key, turn)).status_code == 200:
                item, turn = got.json(), turn + 1
                said = {"text": f"It adds a constant where it should double, in {item['task_id']}."}
                reply = ask(f"/items/{item['item']}/answer", key, turn, version=item["version"], **said)
                if reply.status_code not in (
                    200,
                    409,
                ):  # 409: it was taken, and the reply lost with the server
                    problems.append(reply.text)
                if not left.acquire(blocking=False):
                    servers[1].kill()
        except Exception as error:
            problems.append(repr(error))

    threads = [threading.Thread(target=work, args=(key, n)) for n, key in enumerate(keys)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    servers[0].kill()
    assert problems == [] and servers[1].process.poll() is not None
    accepted = [feedback.task_id for feedback in store.accepted()]
    store.close()
    assert len(accepted) == len(set(accepted)) == 36
