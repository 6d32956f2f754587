import re
import threading
import time
from pathlib import Path

import pytest
from annotate_pages import Site, fields
from annotate_samples import FakeVerifier

from ilf.annotate import accounts, pages
from ilf.annotate.security import RateLimit
from ilf.annotate.store import Refused

HOSTILE = "</textarea></script><script>alert(1)</script><img src=x onerror=alert(1)>\u202eevil\x00"


def test_cookies_and_headers(site):
    browser = site.browser()
    token = accounts.invite(site.store, "annotator")
    reply = browser.post(f"/join/{token}", data={"name": "Ann"}, follow_redirects=False)
    cookie = reply.headers["set-cookie"].lower()
    assert "httponly" in cookie and "samesite=lax" in cookie and "secure" not in cookie
    page = browser.get("/guide")
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "script-src 'self';" in policy and "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert page.headers["x-content-type-options"] == "nosniff"
    assert page.headers["referrer-policy"] == "same-origin" and page.headers["cache-control"] == "no-store"


def test_cookies_are_secure_behind_https(store):
    site = Site(store)
    site.options = type(site.options)(url="https://annotate.example.org")
    from ilf.annotate.app import create_app
    from ilf.annotate.checker import Checker

    site.app = create_app(store, Checker(None), site.options)
    token = accounts.invite(store, "annotator")
    reply = site.browser().post(f"/join/{token}", data={"name": "Ann"}, follow_redirects=False)
    assert "secure" in reply.headers["set-cookie"].lower()


def test_pages_have_no_inline_code(site):
    boss = site.person("Boss", "owner")
    for path in ("/work", "/guide", "/dashboard", "/team", "/review", "/mine"):
        page = boss.get(path).text
        for tag in re.findall(r"<script[^>]*>", page):
            assert "src=" in tag or "application/json" in tag
        assert not re.search(r"<[^>]+\s(on\w+|style)=", page), path
        assert not re.search(r'(?:src|href)="(?:https?:)?//', page), path


def test_every_change_needs_the_csrf_token(site):
    ann = site.person("Boss", "owner")
    ann.get("/work")
    paths = [p for p in _post_paths() if not p.startswith(("/api/", "/join/", "/theme"))]
    assert len(paths) >= 12
    for path in paths:
        path = path.format(
            item_id=1, answer_id=1, action="accept", person_id=1, link_id=1, key_id=1, batch_id=1
        )
        for data in ({}, {"csrf": "0" * 64}):
            assert ann.post(path, data=data).status_code == 403, path


def _post_paths() -> list[str]:
    """Every path of a page that changes something, read from the source: none can be forgotten here."""
    files = Path(pages.__file__).parent.glob("*.py")
    return [path for file in files for path in re.findall(r'@router\.post\("([^"]+)"\)', file.read_text())]


def test_other_sites_cannot_post(site):
    ann = site.person("Ann")
    page = ann.get("/work")
    data = {**fields(page.text), "text": "a long enough feedback text, really"}
    for headers in ({"origin": "https://evil.example"}, {"sec-fetch-site": "cross-site"}):
        assert ann.post("/items/1/submit", data=data, headers=headers).status_code == 403
    token = accounts.invite(site.store, "annotator")
    reply = site.browser().post(
        f"/join/{token}", data={"name": "X"}, headers={"origin": "https://evil.example"}
    )
    assert reply.status_code == 403 and accounts.peek(site.store, token) is not None


def test_a_proxy_may_pass_on_another_host_name(store):
    site = Site(store)
    ann = site.person("Ann")
    data = {**fields(ann.get("/work").text), "text": "half a thought"}
    headers = {"host": "127.0.0.1:8765", "origin": site.options.url, "sec-fetch-site": "same-origin"}
    assert ann.post("/items/1/draft", data=data, headers=headers).status_code == 200
    headers["origin"] = "https://evil.example"
    assert ann.post("/items/1/draft", data=data, headers=headers).status_code == 403


def test_a_forged_or_old_session_is_nobody(site):
    ann = site.person("Ann")
    cookie = ann.cookies["ilf_session"]
    browser = site.browser()
    browser.cookies.set("ilf_session", cookie[:-3] + "abc")
    assert browser.get("/work").status_code == 401
    page = ann.get("/work")
    ann.post("/sign-out", data=fields(page.text))
    browser.cookies.clear()
    browser.cookies.set("ilf_session", cookie)
    assert browser.get("/work").status_code == 401


def test_guessing_links_is_slowed_down_but_joining_is_not(site):
    for n in range(15):  # an office behind one address
        site.person(f"P{n}")
    browser = site.browser()
    codes = [browser.get(f"/join/guess{n}").status_code for n in range(12)]
    assert codes[0] == 403 and codes[-1] == 429


def test_test_runs_are_limited(store):
    site = Site(store, runs_per_minute=4)
    ann = site.person("Ann")
    page = ann.get("/work")
    data = {**fields(page.text), "do": "tests"}
    headers = {"hx-request": "true"}
    codes = [ann.post("/items/1/run", data=data, headers=headers).status_code for _ in range(4)]
    assert codes == [200, 200, 429, 429]


def test_slow_programs_leave_the_server_its_threads():
    from annotate_samples import make_tasks

    from ilf.annotate.checker import _ALL, _EACH, Checker

    go_on, task = threading.Event(), make_tasks(1)[0]

    class Slow(FakeVerifier):
        def verify_one(self, task, code):
            assert go_on.wait(30)
            return super().verify_one(task, code)

    checker = Checker(Slow())
    threads = [
        threading.Thread(target=checker.tests, args=(task, f"while {n}: x + x", n // _EACH))
        for n in range(_ALL)
    ]
    for thread in threads:
        thread.start()
    while checker._inside.total() < _ALL:
        time.sleep(0.01)
    for who, message in ((0, "your last programs"), (99, "many programs")):
        with pytest.raises(Refused, match=message) as caught:
            checker.tests(task, "x + x", who)
        assert caught.value.status == 429
    go_on.set()
    for thread in threads:
        thread.join()
    assert checker.tests(task, "x + x", 99).passed and not checker._inside


def test_rate_limit_refills():
    now = [0.0]
    limit = RateLimit(60, 2, clock=lambda: now[0])
    limit.spend("a")
    limit.spend("a")
    with pytest.raises(Refused):
        limit.spend("a")
    limit.spend("b")
    now[0] += 1
    limit.spend("a")


def test_only_known_hosts(store):
    site = Site(store, hosts=frozenset({"127.0.0.1", "testserver"}))
    browser = site.browser()
    assert browser.get("/work", headers={"host": "evil.example"}).status_code == 400
    assert browser.get("/work", headers={"host": "127.0.0.1:8765"}).status_code == 401


def test_bodies_are_limited(site):
    ann = site.person("Ann")
    assert ann.post("/items/1/draft", content=b"x" * 13_000_000).status_code == 413

    def stream():
        for _ in range(13):
            yield b"x" * 1_000_000

    reply = ann.post(
        "/items/1/draft", content=stream(), headers={"content-type": "application/x-www-form-urlencoded"}
    )
    assert reply.status_code == 413


def test_no_accounts_means_owner(store):
    site = Site(store, accounts=False)
    browser = site.browser()
    assert browser.get("/dashboard").status_code == 200
    assert browser.post("/items/1/submit", data={"text": "x"}).status_code == 403  # CSRF holds all the same


def test_hostile_text_is_shown_as_text(tmp_path, clock):
    from annotate_samples import make_failures, make_tasks

    from ilf.annotate.store import Store

    task = make_tasks(1)[0].model_copy(
        update={"description": HOSTILE, "prefix": HOSTILE + "\n", "tests": (HOSTILE, "x")}
    )
    programs, verdicts = make_failures([task])
    evil = programs[0].model_copy(update={"code": HOSTILE + "\n\ud800 lone" + "\n" * 3 + "y" * 1_000_000})
    verdict = verdicts[0].model_copy(
        update={"program_id": evil.program_id, "call": HOSTILE, "expected": HOSTILE, "actual": HOSTILE,
                "error": HOSTILE, "stdout": HOSTILE, "status": "failed", "test": 0}
    )  # fmt: skip
    store = Store(tmp_path / "a.db", clock)
    assert store.fill([task], [evil], [verdict]) == 1
    site = Site(store)
    boss = site.person("Boss", "owner")
    page = boss.get("/work")
    assert page.status_code == 200 and len(page.content) < 3_000_000
    assert "<script>alert" not in page.text and "<img" not in page.text
    assert "U+202E" in page.text  # shown by name, not obeyed
    data = {
        **fields(page.text),
        "text": HOSTILE,
        "refinement": HOSTILE,
        "seen": ["too short", "refinement fails", "refinement too far"],
    }
    assert "Submitted." in boss.post("/items/1/submit", data=data).text
    for path in ("/mine", "/review", "/review/1", "/dashboard", "/export/csv", "/export/ilf", "/items/1"):
        page = boss.get(path)
        assert page.status_code == 200
        if not path.startswith("/export"):
            assert "<script>alert" not in page.text and "<img" not in page.text, path
    headers = site.key("V")
    store.configure(overlap=2)
    assert boss.post("/api/v1/claim", headers=headers).status_code == 200


def test_redirects_stay_here(site):
    ann = site.person("Ann")
    for back in ("//evil.example", "https://evil.example", "/\\evil", "/a\r\nx: y"):
        reply = ann.post("/theme", data={"theme": "dark", "back": back}, follow_redirects=False)
        assert reply.headers["location"] == "/"
