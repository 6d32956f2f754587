import errno
import sqlite3

import pytest
from annotate_samples import RIGHT
from sqlalchemy.exc import OperationalError

from ilf.annotate import queue

TEXT = "It adds a constant; add the number to itself instead."


@pytest.fixture
def api(site):
    browser = site.browser()

    class Api:
        def __init__(self, headers):
            self.headers = headers

        def __call__(self, method, path, json=None, **headers):
            return browser.request(method, "/api/v1" + path, json=json, headers={**self.headers, **headers})

    return lambda name, role="annotator": Api(site.key(name, role))


def test_a_vendor_fetches_and_submits(site, api):
    vendor = api("Vendor")
    item = vendor("POST", "/claim").json()
    assert item["task_id"] == "t1" and item["candidates"][0]["expected"] == "42"
    assert vendor("POST", "/claim").json()["item"] == item["item"]
    saved = vendor("PUT", f"/items/{item['item']}/draft", {"text": "half", "version": item["version"]}).json()
    assert saved == {"version": 2, "held": True}
    body = {
        "text": TEXT,
        "candidate": item["candidates"][0]["id"],
        "refinement": RIGHT.format(n=1),
        "tags": ["logic"],
    }
    reply = vendor("POST", f"/items/{item['item']}/answer", body, **{"Idempotency-Key": "k1"})
    assert reply.status_code == 200 and reply.json()["passes"] is True and reply.json()["warnings"] == []
    assert (
        vendor("POST", f"/items/{item['item']}/answer", body, **{"Idempotency-Key": "k1"}).json()
        == reply.json()
    )
    clash = vendor(
        "POST", f"/items/{item['item']}/answer", {**body, "text": "other text"}, **{"Idempotency-Key": "k1"}
    )
    assert clash.status_code == 422
    assert vendor("GET", "/progress").json()["accepted"] == 1
    assert len(site.store.accepted()) == 1


def test_workers_of_one_key_are_people_of_their_own(api):
    vendor = api("Vendor")
    one = vendor("POST", "/claim", **{"X-Worker": "w1"}).json()["item"]
    two = vendor("POST", "/claim", **{"X-Worker": "w2"}).json()["item"]
    assert one != two
    assert vendor("GET", f"/items/{one}", **{"X-Worker": "w2"}).status_code == 404


def test_an_empty_queue_is_204(api):
    vendor = api("Vendor")
    for n in range(3):
        item = vendor("POST", "/claim").json()["item"]
        assert (
            vendor("POST", f"/items/{item}/skip", {"reason": "other", "note": str(n)}).json()["state"]
            == "skipped"
        )
    assert vendor("POST", "/claim").status_code == 204


def test_errors_are_json_with_one_line(site, api):
    vendor = api("Vendor")
    assert site.browser().post("/api/v1/claim").status_code == 401
    assert vendor("GET", "/items/999").json() == {"error": "there is no such task"}
    assert vendor("GET", "/nothing").status_code == 404
    item = vendor("POST", "/claim").json()["item"]
    reply = vendor("POST", f"/items/{item}/answer", {"txt": "x"})
    assert reply.status_code == 422 and "txt" in reply.json()["error"]
    assert vendor("POST", f"/items/{item}/answer", {"text": ""}).status_code == 422
    assert vendor("GET", "/answers").status_code == 403
    assert vendor("POST", f"/items/{item}/answer", {"text": TEXT, "version": 77}).status_code == 409


def test_warnings_do_not_stop_a_program(api):
    vendor = api("Vendor")
    item = vendor("POST", "/claim").json()["item"]
    reply = vendor("POST", f"/items/{item}/answer", {"text": "bad"}).json()
    assert reply["state"] == "accepted" and [w["code"] for w in reply["warnings"]] == ["too short"]


def test_undo_and_run(api):
    vendor = api("Vendor")
    item = vendor("POST", "/claim").json()["item"]
    vendor("POST", f"/items/{item}/answer", {"text": TEXT})
    assert vendor("POST", f"/items/{item}/undo").json()["draft"]["text"] == TEXT
    assert vendor("POST", f"/items/{item}/run", {"code": RIGHT.format(n=1)}).json()["status"] == "passed"
    assert vendor("POST", f"/items/{item}/run", {"code": "x", "expression": "1"}).json()["value"] == "42"


def test_reviewing(site, api):
    site.store.configure(review=True)
    vendor, rev = api("Vendor"), api("Rev", "reviewer")
    item = vendor("POST", "/claim").json()["item"]
    vendor("POST", f"/items/{item}/answer", {"text": TEXT})
    (row,) = rev("GET", "/review").json()
    assert row["author"] == "Vendor" and row["text"] == TEXT
    back = rev("POST", f"/answers/{row['answer']}/review", {"action": "return", "comment": "more"})
    assert back.json()["state"] == "returned"
    assert vendor("POST", "/claim").json()["comment"] == "more"
    vendor("POST", f"/items/{item}/answer", {"text": TEXT + " More."})
    assert rev("POST", f"/answers/{row['answer']}/review", {"action": "accept"}).json()["state"] == "accepted"
    assert rev("GET", "/answers").text.count("\n") == 1


def test_the_api_is_described(site):
    described = site.browser().get("/api/openapi.json").json()
    assert "/api/v1/items/{item_id}/answer" in described["paths"]
    assert not any(path.startswith(("/work", "/items")) for path in described["paths"])
    operation = described["paths"]["/api/v1/claim"]["post"]
    assert operation["summary"] and operation["security"]


@pytest.mark.parametrize("number", [2**63, 99999999999999999999, -(2**64)])
def test_numbers_beyond_64_bits_are_no_items(site, api, number):
    vendor = api("Vendor")
    assert vendor("GET", f"/items/{number}").status_code == 422  # the API documents the range
    owner = site.person("Olga", "owner")
    for page in (f"/items/{number}", f"/review/{number}"):
        reply = owner.get(page)
        assert reply.status_code == 404 and "no such" in reply.text


@pytest.mark.parametrize(
    "error",
    [OSError(errno.ENOSPC, "No space left on device"), sqlite3.OperationalError("database or disk is full")],
    ids=["file", "database"],
)
def test_a_full_disk_is_said_in_words(api, monkeypatch, error):
    vendor = api("Vendor")
    item = vendor("POST", "/claim").json()

    def full(*args, **kwargs):
        raise error if isinstance(error, OSError) else OperationalError("INSERT", {}, error)

    monkeypatch.setattr(queue, "save_draft", full)
    reply = vendor("PUT", f"/items/{item['item']}/draft", {"text": "half", "version": item["version"]})
    assert reply.status_code == 507
    assert reply.json()["error"].startswith("the server's disk is full: nothing of this was saved")
    monkeypatch.undo()
    assert vendor("PUT", f"/items/{item['item']}/draft", {"text": "half"}).status_code == 200


def test_notes_about_lines_travel_through_the_api(site, api):
    vendor, owner = api("Vendor"), api("Boss", "owner")
    item = vendor("POST", "/claim").json()["item"]
    note = {"first": 2, "last": 2, "text": "This adds a constant."}
    body = {"text": "Add the number to itself instead.", "notes": [note]}
    assert vendor("POST", f"/items/{item}/answer", body).status_code == 200
    [row] = site.store.accepted()
    assert row.text == "Line 2: This adds a constant.\n\nAdd the number to itself instead."
    assert [n.model_dump() for n in row.notes] == [note]
    assert owner("GET", "/answers").json()["notes"] == [note]
    assert owner("GET", "/answers?format=labelstudio").json()[0]["meta"]["notes"] == [note]
    wrong = vendor("POST", f"/items/{item}/answer", {**body, "notes": [{**note, "last": 1}]})
    assert wrong.status_code == 422 and "the last line comes before the first" in wrong.json()["error"]
