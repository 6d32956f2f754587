"""What `ilf annotate` does besides serving, and the mistakes it answers in one line."""

import asyncio
import json
import socket

import pytest
from annotate_queue import PROGRAMS, write_queue
from annotate_samples import RIGHT, make_failures, make_tasks

from ilf.annotate import accounts, queue
from ilf.annotate.answers import Draft
from ilf.annotate.command import annotate
from ilf.annotate.serving import serve
from ilf.annotate.store import Store
from ilf.config import VerifyConfig
from ilf.errors import DataError, RunFolderError, UserError
from ilf.listening import listen
from ilf.records import write_jsonl


@pytest.fixture
def files(tmp_path):
    """A finished store, its tasks as a file, and a place for another."""
    tasks = make_tasks(3)
    write_jsonl(tmp_path / "tasks.jsonl", tasks)
    (tmp_path / "one").mkdir()
    store = Store(tmp_path / "one" / "annotations.db")
    store.fill(tasks, *make_failures(tasks))
    ann = accounts.named(store, "Ann")
    for n in (1, 2):
        draft = Draft(text=f"It adds a constant, number {n}; double it.", refinement=RIGHT.format(n=n))
        queue.submit(store, ann, queue.claim(store, ann), draft)
    store.close()
    return tmp_path


def test_export_import_export(files):
    tasks = str(files / "tasks.jsonl")
    annotate(files / "one", export_file=files / "first.jsonl")
    annotate(files / "two", import_file=files / "first.jsonl", tasks=tasks)
    annotate(files / "two", export_file=files / "second.jsonl")
    assert (files / "second.jsonl").read_bytes() == (files / "first.jsonl").read_bytes()
    assert (files / "first.jsonl").read_text().count("\n") == 2
    store = Store(files / "two" / "annotations.db")
    with store.read() as session:
        rows = session.connection().exec_driver_sql("SELECT verdict FROM answers").all()
    assert [json.loads(row.verdict)["status"] for row in rows] == ["passed", "passed"]  # really run
    store.close()


@pytest.mark.parametrize(
    "format, beside", [("labelstudio", ".labelstudio.xml"), ("argilla", ".settings.json")]
)
def test_other_tools_get_their_set_up_beside_the_rows(files, format, beside):
    annotate(files / "one", export_file=files / "rows.json", format=format)
    assert len(json.loads((files / "rows.json").read_text())) == 2
    assert (files / f"rows{beside}").stat().st_size > 100


def test_export_to_standard_output(files, capsys):
    from pathlib import Path

    annotate(files / "one", export_file=Path("-"), format="csv")
    assert capsys.readouterr().out.startswith("round,task_id")


def test_mistakes_are_one_line(files, tmp_path):
    one = files / "one"
    cases = [
        (UserError, "--no-accounts", lambda: annotate(one, host="0.0.0.0", no_accounts=True)),
        (UserError, "--format.*ilf, csv", lambda: annotate(one, export_file=files / "x", format="xml")),
        (UserError, "--overlap", lambda: annotate(one, overlap=0)),
        (RunFolderError, "not a run folder", lambda: annotate(files / "nothing")),
        (UserError, "--programs needs --tasks", lambda: annotate(one, programs=files / "first.jsonl")),
        (DataError, "no such file", lambda: annotate(one, import_file=files / "nothing.jsonl")),
        (DataError, "not a database URL", lambda: annotate(one, database="mysql://x")),
    ]
    for kind, message, call in cases:
        with pytest.raises(kind, match=message) as caught:
            call()
        assert "\n" not in str(caught.value)
    assert not (one / "annotations.url").exists()


def test_verdicts_may_be_what_ilf_verify_wrote(tmp_path):
    """Rows with the program instead of its id, and with fields of other tools that mean something else here."""
    from ilf.annotate.command import _fill_from_files

    tasks = make_tasks(3)
    programs, verdicts = make_failures(tasks)
    write_jsonl(tmp_path / "tasks.jsonl", tasks)
    write_jsonl(tmp_path / "programs.jsonl", programs)
    stores = []
    for name in ("records", "verified"):
        if name == "records":
            write_jsonl(tmp_path / name, verdicts)
        else:
            rows = [
                {**json.loads(p.to_json()), "tests": "theirs", "error": 5, "passed": v.passed,
                 "status": v.status, "detail": v.detail, "shared": False}
                for p, v in zip(programs, verdicts, strict=True)
            ]  # fmt: skip
            (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
        store = Store(tmp_path / f"{name}.db")
        files = (str(tmp_path / "tasks.jsonl"), tmp_path / "programs.jsonl", tmp_path / name)
        _fill_from_files(store, *files, 1, VerifyConfig())
        with store.read() as session:
            found = session.connection().exec_driver_sql("SELECT program, verdict FROM candidates").all()
        stores.append([(program, json.loads(verdict)["status"]) for program, verdict in found])
        store.close()
    assert stores[0] == stores[1] and len(stores[0]) >= 3


def test_programs_of_unknown_tasks_are_named(tmp_path):
    options = write_queue(tmp_path)
    (tmp_path / "programs.jsonl").write_text('{"task_id": "nobody/knows", "code": "x"}\n')
    with pytest.raises(DataError, match="nobody/knows"):
        annotate(tmp_path / "run", tasks=options[1], programs=tmp_path / "programs.jsonl")
    assert PROGRAMS


def test_a_port_in_use_is_named(files):
    store = Store(files / "one" / "annotations.db")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=f"cannot listen on 127.0.0.1:{port}"):
            serve(store, "127.0.0.1", port, None, (), True, VerifyConfig(), opens=False)
    with pytest.raises(UserError, match="--port: 99999 is not between"):
        listen("127.0.0.1", 99999)
    store.close()


def test_replies_are_sent_at_once():
    async def no_delay() -> int:
        delays = asyncio.get_running_loop().create_future()

        def connected(_reader, writer):
            sock = writer.get_extra_info("socket")
            delays.set_result(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            writer.close()

        listening = listen("127.0.0.1", 0)
        async with await asyncio.start_server(connected, sock=listening):
            _, writer = await asyncio.open_connection(*listening.getsockname())
            found = await delays
            writer.close()
            return found

    assert asyncio.run(no_delay())  # Nagle's algorithm and delayed acknowledgements add 40 ms
