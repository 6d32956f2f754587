"""Where the server is reached: below a path, behind a proxy, from a crowded address, over kept connections."""

import http.client
import re
import time

from annotate_pages import Site, fields
from annotate_queue import write_queue
from annotate_server import Server

from ilf.annotate import accounts, show
from ilf.annotate.app import create_app
from ilf.annotate.checker import Checker
from ilf.annotate.schema import Link
from ilf.annotate.web import Options


def below(store, path="/annotate"):
    site = Site(store)
    site.options = Options(url=f"http://testserver{path}")
    site.app = create_app(store, Checker(site.verifier), site.options)
    return site


def test_every_address_of_a_page_is_below_the_path(store):
    boss = below(store).browser()
    token = accounts.invite(store, "owner")
    reply = boss.post(f"/annotate/join/{token}", data={"name": "Boss"}, follow_redirects=False)
    assert reply.headers["location"] == "/annotate/"
    assert "path=/annotate" in reply.headers["set-cookie"].lower()
    for page in ("work", "mine", "guide", "review", "dashboard", "team"):
        text = boss.get(f"/annotate/{page}").text
        found = re.findall(r'\b(?:href|src|action|formaction)="(/[^"]*)"', text)
        assert found and all(address.startswith("/annotate/") for address in found), (page, found)
        for address in found:
            if "/static/" in address:
                assert boss.get(address).status_code == 200
    work = boss.get("/annotate/work")
    data = {**fields(work.text), "reason": "too hard"}
    said = boss.post("/annotate/items/1/skip", data=data, headers={"accept": "application/json"}).json()
    assert said["next"].startswith("/annotate/work?")
    api = boss.get("/annotate/api/openapi.json").json()
    assert api["servers"] == [{"url": "/annotate"}]


def test_a_proxy_may_take_the_path_off(store):
    browser = below(store).browser()
    token = accounts.invite(store, "annotator")
    reply = browser.post(f"/join/{token}", data={"name": "Ann"}, follow_redirects=False)
    assert reply.headers["location"] == "/annotate/guide?new=1"
    assert browser.get("/annotated").status_code == 404  # another path that begins alike


def test_a_good_key_works_from_an_address_with_many_bad_ones(site):
    headers = site.key("Ann")
    browser = site.browser()
    codes = [
        browser.get("/api/v1/progress", headers={"authorization": f"Bearer bad{n}"}).status_code
        for n in range(12)
    ]
    assert codes[0] == 401 and codes[-1] == 429
    assert browser.get("/api/v1/progress", headers=headers).status_code == 200
    token = accounts.invite(site.store, "annotator")
    assert browser.post(f"/join/{token}", data={"name": "Eve"}).status_code == 200


def test_who_asks_is_taken_from_trusted_proxies_only(tmp_path):
    def blocked(port: int, address: str) -> bool:
        """Whether ten bad keys of one client use up those of the client at `address`."""

        def status(client: str) -> int:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
            headers = {"authorization": "Bearer bad", "x-forwarded-for": client}
            connection.request("GET", "/api/v1/progress", headers=headers)
            found = connection.getresponse().status
            connection.close()
            return found

        assert [status("203.0.113.1") for _ in range(12)][-1] == 429
        return status(address) == 429

    for options, shared in (((), True), (("--trusted-proxy", "127.0.0.1"), False)):
        folder = tmp_path / str(shared)
        folder.mkdir()
        server = Server(folder / "run", *write_queue(folder), *options)
        try:
            assert blocked(server.port, "203.0.113.2") is shared
        finally:
            server.kill()


def test_a_kept_connection_is_not_closed_while_someone_reads(tmp_path):
    server = Server(tmp_path / "run", *write_queue(tmp_path))
    try:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
        for pause in (0, 7):  # uvicorn's own limit is 5 s
            time.sleep(pause)
            connection.request("GET", "/static/app.css")
            reply = connection.getresponse()
            assert reply.status == 200 and reply.read()
    finally:
        server.kill()


def test_invitations_say_whom_they_are_for(site):
    boss = site.person("Boss", "owner")
    data = {**fields(boss.get("/team").text), "role": "annotator", "note": "  Ada, <b>Tuesdays</b> "}
    assert "a new annotator (Ada, &lt;b&gt;Tuesdays&lt;/b&gt;)" in boss.post("/team/invite", data=data).text
    page = boss.get("/team").text
    assert "<td>Ada, &lt;b&gt;Tuesdays&lt;/b&gt;</td>" in page
    assert re.search(r'<time datetime="\d{4}-\d\d-\d\dT[\d:]+Z">', page)
    with site.store.read() as session:
        assert [link.note for link in session.query(Link) if link.note] == ["Ada, <b>Tuesdays</b>"]


def test_long_descriptions_fold():
    assert show.fold("one\ntwo") == ("one\ntwo", "")
    lines = "\n".join(f"line {n}" for n in range(60))
    head, rest = show.fold(lines)
    assert head.count("\n") == 9 and f"{head}\n{rest}" == lines
    words = "word " * 600
    head, rest = show.fold(words)
    assert len(head) <= 1000 and head + rest == words
