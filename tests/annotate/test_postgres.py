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
