"""Backups, retention, a person's data, the audit trail, single sign-on, health and metrics."""

from __future__ import annotations

import json
import sqlite3
import stat
import threading

import pytest
from annotate_pages import Site, fields

from ilf.annotate import accounts, bulk, queue, threads, upkeep
from ilf.annotate.answers import Draft
from ilf.annotate.command import annotate
from ilf.annotate.schema import Answer, History, Person
from ilf.annotate.signon import SignOn
from ilf.annotate.store import Refused, Store
from ilf.errors import DataError, UserError

TEXT = "It adds a constant; add the number to itself instead."


def write(store, person, text=TEXT):
    return queue.submit(store, person, queue.claim(store, person), Draft(text=text))["answer"]


def test_a_backup_is_whole_while_people_write(store, tmp_path):
    ann = accounts.named(store, "Ann")
    item = queue.claim(store, ann)
    stop, saved = threading.Event(), []

    def types():
        while not stop.is_set():
            queue.save_draft(store, ann, item, None, Draft(text=f"{TEXT} {len(saved)}"))
            saved.append(1)

    typing = threading.Thread(target=types)
    typing.start()
    try:
        for number in range(3):
            copy = tmp_path / f"copy{number}.db"
            assert upkeep.backup(store, copy) == copy.stat().st_size > 0
            assert stat.S_IMODE(copy.stat().st_mode) == 0o600
            again = Store(copy)
            assert queue.look(again, ann, item).draft.text.startswith(TEXT) or number == 0
            again.close()
    finally:
        stop.set()
        typing.join()
    assert saved and not list(tmp_path.glob("*.part"))


def test_a_backup_that_cannot_be_leaves_the_old_one(store, tmp_path):
    with pytest.raises(UserError, match="the store itself"):
        upkeep.backup(store, tmp_path / "annotations.db")
    with pytest.raises(DataError, match="nowhere"):
        upkeep.backup(store, tmp_path / "nowhere" / "copy.db")


def test_chores_from_the_command_line(store, tmp_path, capsys):
    write(store, accounts.named(store, "Ann"))
    annotate(tmp_path, backup_file=tmp_path / "copy.db", audit_file=tmp_path / "audit.jsonl")
    assert sqlite3.connect(tmp_path / "copy.db").execute("SELECT text FROM answers").fetchone()[0] == TEXT
    rows = [json.loads(line) for line in (tmp_path / "audit.jsonl").read_text().splitlines()]
    submit = next(row for row in rows if row["action"] == "submit")
    assert (submit["person"], submit["subject"], submit["after"]["text"]) == ("Ann", "answers/1", TEXT)
    annotate(tmp_path, forget="Ann")
    assert "'Ann' is deleted" in capsys.readouterr().err
    with pytest.raises(Refused, match="nobody called"):
        annotate(tmp_path, forget="Ann")


def everything(store) -> str:
    """All that the database holds, as text."""
    with store.read() as session:
        connection = session.connection().connection.driver_connection
        return "\n".join(connection.iterdump())


@pytest.mark.parametrize("with_answers", [False, True])
def test_nothing_of_a_person_is_left(store, with_answers):
    token = accounts.invite(store, "annotator", note="Annabel from Leeds")
    ann = accounts.use_link(store, token, "Annabel").id
    rev = accounts.named(store, "Rev", "reviewer")
    used, kept = write(store, ann, "What a run trains on, as it says."), write(store, ann)
    with store.write() as change:
        change.session.get(Answer, used).used = 1.0
    accounts.make_key(store, ann, "Annabel's key", ann)
    threads.say(store, ann, kept, "Annabel says so.")
    bulk.assign(store, rev, [3], ann)
    queue.save_draft(store, ann, queue.claim(store, ann), None, Draft(text="Annabel was typing."))
    assert upkeep.forget(store, "Annabel", with_answers) == f"deleted {ann}"
    dump = everything(store)
    assert "Annabel" not in dump and "trains on" in dump
    assert (TEXT in dump) is not with_answers
    found = store.accepted()
    assert [f.author for f in found] == [f"deleted {ann}"] * (1 if with_answers else 2)
    assert store.progress().done == len(found)  # what lost its answer is open again
    assert queue.claim(store, accounts.named(store, "Ben")) == (2 if with_answers else 3)
    with pytest.raises(Refused, match="own account stays"):
        accounts.named(store, "owner", "owner")
        upkeep.forget(store, "owner")


def test_old_changes_lose_their_content(store, clock):
    ann = accounts.named(store, "Ann")
    write(store, ann, "Written long ago, and well.")
    clock.now += 40 * 86400
    write(store, ann)
    assert upkeep.retain(store, 30) > 0
    with store.read() as session:
        told = [(row.action, row.after) for row in session.query(History).order_by(History.id)]
    assert [after for action, after in told if action == "submit"][0] is None
    assert [after for action, after in told if action == "submit"][1]["text"] == TEXT
    assert upkeep.retain(store, 30) == 0
    assert len(store.accepted()) == 2


def behind(site, *proxies):
    """A browser whose requests come from the test client's address, `testclient`."""
    from starlette.testclient import TestClient

    return TestClient(SignOn(site.app, "X-Remote-User", proxies), follow_redirects=True)


def test_a_trusted_proxy_says_who_asks(site):
    browser = behind(site, "testclient")
    page = browser.get("/mine", headers={"x-remote-user": "Zoë Müller".encode()})
    assert page.status_code == 200 and "Zoë Müller" in page.text
    ben = browser.get("/mine", headers={"x-remote-user": "Ben"})
    # One person's token is no good for another.
    data = {**fields(page.text), "comment": "x"}
    assert browser.post("/sign-out", data=data, headers={"x-remote-user": "Ben"}).status_code == 403
    assert (
        browser.post("/sign-out", data=fields(ben.text), headers={"x-remote-user": "Ben"}).status_code == 200
    )
    assert browser.get("/review", headers={"x-remote-user": "Ben"}).status_code == 403
    assert browser.get("/mine").status_code == 401
    with site.store.read() as session:
        assert {(p.name, p.role) for p in session.query(Person)} >= {("Ben", "annotator")}


@pytest.mark.parametrize("name", ["owner", "Vendor/w1", " ", "\u200b"])
def test_kept_names_do_not_sign_on(site, name):
    accounts.named(site.store, "owner", "owner")
    accounts.named(site.store, "Vendor/w1")
    reply = behind(site, "testclient").get("/mine", headers={"x-remote-user": name.encode()})
    assert reply.status_code in (403, 422, 401)


def test_nobody_else_says_who_asks(site):
    accounts.named(site.store, "Ann", "owner")
    said = {"x-remote-user": "Ann"}
    assert site.browser().get("/mine", headers=said).status_code == 401  # no sign-on at all
    stranger = behind(site, "10.0.0.1")
    assert stranger.get("/mine", headers=said).status_code == 401
    forwarded = {**said, "x-forwarded-for": "10.0.0.1"}  # a client cannot put itself in the proxy's place
    assert stranger.get("/mine", headers=forwarded).status_code == 401
    twice = [("x-remote-user", "Ann"), ("X-Remote-User", "Ben")]
    assert behind(site, "testclient").get("/mine", headers=twice).status_code == 401
    accounts.change_person(site.store, accounts.named(site.store, "owner", "owner"), 1, active=False)
    assert behind(site, "testclient").get("/mine", headers=said).status_code == 403


@pytest.mark.parametrize("options", [{}, {"trusted_proxies": ["*"]}])
def test_sign_on_needs_a_proxy_to_trust(tmp_path, options):
    with pytest.raises(UserError, match="--trusted-proxy"):
        annotate(tmp_path, sign_on_header="X-Remote-User", **options)


def test_health_is_for_anyone_and_metrics_for_owners_keys(site, monkeypatch):
    browser = site.browser()
    assert browser.get("/health").json()["status"] == "ok"
    assert browser.get("/metrics").status_code == 401
    assert browser.get("/metrics", headers=site.key("Rev", "reviewer")).status_code == 401
    browser.get("/join/secret-token")
    text = browser.get("/metrics", headers=site.key("Olga", "owner")).text
    assert 'ilf_annotate_requests_total{method="GET",route="/health",status="200"} 1.0' in text
    assert "ilf_annotate_items 3.0" in text and "ilf_annotate_request_seconds_bucket" in text
    assert 'route="/join/{token}"' in text and "secret-token" not in text


def test_health_says_when_the_database_is_gone(site, monkeypatch):
    from sqlalchemy.exc import OperationalError

    def gone():
        raise OperationalError("SELECT", {}, Exception("connection refused"))

    monkeypatch.setattr(site.store, "read", gone)
    reply = site.browser().get("/health")
    assert reply.status_code == 503 and reply.json()["status"] == "the database does not answer"


def test_a_server_of_the_version_before_can_go_on(store):
    """While servers are restarted one after the other, an old one writes to the new tables."""
    with store.write() as change:
        change.session.connection().exec_driver_sql(
            "INSERT INTO items (round, task_id, task, position, state, needed, created) "
            "SELECT round, 'old', task, 9, state, needed, created FROM items WHERE id = 1"
        )
    assert store.progress().items == 4
    assert Site(store).person("Rev", "reviewer").get("/queue").text.count('name="row"') == 4
