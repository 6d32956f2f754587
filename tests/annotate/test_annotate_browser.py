"""A real browser against a real server: what an annotator, a reviewer and an owner do."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
from annotate_queue import ANSWERS, PROGRAMS, TASKS, write_queue  # noqa: E402
from annotate_server import CHROMIUM, Server, screenshots  # noqa: E402
from playwright.sync_api import Browser, Page, expect  # noqa: E402

from ilf.annotate.web import STATIC  # noqa: E402

BUNDLE = STATIC / "bundle" / "app.js"
AXE = Path(__file__).parents[2] / "node_modules" / "axe-core" / "axe.min.js"
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: make browser, or apt-get install chromium"),
    pytest.mark.skipif(not BUNDLE.is_file(), reason="the editor is not bundled: make bundle"),
]
expect.set_options(timeout=30_000)


def refused(message: str) -> list[str]:
    """What the page's policy refused. Typing over selected text, Chromium itself tries to keep its style: no harm."""
    return (
        [message] if "Content Security Policy" in message and "Applying inline style" not in message else []
    )


@pytest.fixture
def join(browser: Browser, server: Server) -> Iterator[Callable[..., Page]]:
    """A page in a browser of its own, signed in as someone new. Any script error fails the test."""
    contexts, problems = [], []

    def enter(name: str, role: str = "annotator", **options) -> Page:
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 800}, **options})
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.on("pageerror", lambda error: problems.append(f"{name}: {error}"))
        page.on(
            "dialog", lambda dialog: (problems.append(f"{name}: dialog {dialog.message}"), dialog.dismiss())
        )
        page.on("console", lambda message: problems.extend(refused(message.text)))
        page.goto(server.invite(role) if role != "owner" else server.owner_link)
        if role != "owner":
            page.fill("#name", name)
        page.click("button.primary")
        page.wait_for_load_state()
        page.problems = problems
        return page

    yield enter
    for context in contexts:
        context.close()
    assert problems == []


def open_work(page: Page, server: Server) -> None:
    page.goto(server.url + "/work")
    expect(page.locator(".cm-content")).to_be_visible()


def saved(page: Page) -> None:
    expect(page.locator("#saved")).to_have_text(re.compile(r"^Saved \d"))


def task_of(page: Page) -> str:
    return page.locator("#task-title").inner_text().split()[1]


def test_an_annotator_works_through_three_items_by_keyboard_alone(join, server):
    page = join("Ann")
    page.keyboard.press("Tab")  # to the first link: nothing needs a mouse
    open_work(page, server)
    keys = page.keyboard
    for number, (task_id, (feedback, (old, new))) in enumerate(ANSWERS.items()):
        expect(page.locator("#task-title")).to_contain_text(task_id)
        keys.press("2")
        expect(page.locator(".tab-input").nth(1)).to_be_checked()
        keys.press("1")
        keys.press("f")
        keys.type(feedback)
        keys.press("Escape")
        keys.press("b")
        keys.press("Space")  # the first kind of bug: logic
        keys.press("Escape")
        keys.press("e")
        expect(page.locator(".cm-content")).to_be_focused()
        keys.press("Control+a")
        keys.insert_text(PROGRAMS[task_id][0].replace(old, new))
        expect(page.locator("#distance")).to_have_class(re.compile("changed"))
        assert page.locator(".cm-changedText, .cm-changedLine").count() > 0  # the live diff
        keys.press("Control+Enter")
        expect(page.locator("#result")).to_contain_text("All 4 tests pass")
        keys.press("Escape")
        if number == 0:
            keys.press("x")
            keys.type("parse_range('7')")
            keys.press("Enter")
            expect(page.locator("#result")).to_contain_text("IndexError")
            keys.press("Escape")
        keys.press("Control+Shift+Enter")
        expect(page.locator(".toast")).to_contain_text("Submitted")
    expect(page.locator("#task-title")).to_contain_text(TASKS[3]["task_id"])
    assert page.locator("#progress").inner_text().startswith("3 of 6")
    found = server.accepted()
    assert [(f.task_id, f.text) for f in found] == [(t, ANSWERS[t][0]) for t in ANSWERS]
    assert all(f.tags == ("logic",) and f.seconds > 0 and f.warnings == () for f in found)
    assert found[0].refinement == PROGRAMS["queue/parse-range"][0].replace("parts[1]", "parts[-1]")
    keys.press("u")  # undo the last one
    expect(page.locator("#text")).to_have_value(ANSWERS["queue/first-unique"][0])
    assert len(server.accepted()) == 2
    keys.press("s")
    expect(page.locator("#reason")).to_be_focused()
    keys.press("Tab")
    keys.press("Enter")
    expect(page.locator(".toast")).to_contain_text("Skipped")
    keys.press("?")
    expect(page.get_by_role("dialog")).to_contain_text("Run the tests")


def test_a_draft_survives_a_killed_server(join, server):
    page = join("Ann")
    open_work(page, server)
    page.fill("#text", "Before the crash.")
    saved(page)
    server.kill()
    page.fill("#text", "Before the crash. And while the server was down.")
    expect(page.locator("#saved")).to_contain_text("kept in this browser")
    server.start()
    page.reload()
    expect(page.locator("#text")).to_have_value("Before the crash. And while the server was down.")
    # Saved by this page, or already by the one before, which tried again until the server was back.
    expect(page.locator("#saved")).to_have_text(re.compile(r"^(Saved \d|Everything is saved)"))
    page.evaluate("localStorage.clear()")
    page.reload()
    expect(page.locator("#text")).to_have_value("Before the crash. And while the server was down.")


def test_a_reload_that_overtakes_a_save_shows_the_saved_text(join, server):
    page = join("Ann")
    open_work(page, server)
    old = page.request.get(page.url).text()
    page.fill("#text", "Saved while the page was already on its way.")
    saved(page)
    # The page as the server rendered it before that save.
    page.route("**/items/*", lambda route: route.fulfill(body=old, content_type="text/html"))
    page.reload()
    expect(page.locator("#text")).to_have_value("Saved while the page was already on its way.")
    page.unroute_all()
    page.fill("#text", "And it goes on from there.")
    saved(page)


def test_a_lost_connection_heals_by_itself(join, server):
    page = join("Ann")
    open_work(page, server)
    page.context.set_offline(True)
    page.fill("#text", "Typed in a tunnel.")
    expect(page.locator("#saved")).to_contain_text("no connection")
    page.keyboard.press("Control+Shift+Enter")
    expect(page.locator("#saved")).to_contain_text("no connection")
    page.context.set_offline(False)
    saved(page)


def test_a_reviewer_returns_an_item_and_it_comes_back(join, server):
    owner = join("owner", "owner")
    owner.goto(server.url + "/team")
    owner.check("[name=review]")
    owner.get_by_role("button", name="Save").first.click()
    ann, rev = join("Ann"), join("Rev", "reviewer")
    open_work(ann, server)
    ann.fill("#text", ANSWERS["queue/parse-range"][0])
    ann.keyboard.press("Control+Shift+Enter")
    expect(ann.locator(".toast")).to_be_visible()
    rev.goto(server.url + "/review")
    rev.click("text=queue/parse-range")
    rev.wait_for_url("**/review/*")  # with its script: a key pressed earlier would be the old page's
    rev.keyboard.press("r")
    rev.keyboard.type("Say what happens to a text with two dashes, too.")
    rev.get_by_role("button", name="Return to Ann").click()
    expect(rev.locator("main")).to_contain_text("Nothing waits")
    open_work(ann, server)
    expect(ann.get_by_role("note")).to_contain_text("two dashes")
    expect(ann.locator("#text")).to_have_value(ANSWERS["queue/parse-range"][0])
    ann.keyboard.press("f")
    ann.keyboard.press("Control+End")
    ann.keyboard.type(" Two dashes never occur.")
    ann.keyboard.press("Control+Shift+Enter")
    expect(ann.locator(".toast")).to_be_visible()
    assert server.accepted() == []
    rev.goto(server.url + "/review")
    rev.click("text=queue/parse-range")
    rev.wait_for_url("**/review/*")  # with its script: a key pressed earlier would be the old page's
    expect(rev.locator("blockquote").first).to_contain_text("never occur")
    rev.keyboard.press("a")
    expect(rev.locator("main")).to_contain_text("Nothing waits")
    assert server.accepted()[0].text.endswith("Two dashes never occur.")


def test_two_annotators_never_hold_one_item(join, server):
    ann, ben = join("Ann"), join("Ben")
    seen = []
    for _ in range(3):
        for page in (ann, ben):
            open_work(page, server)
        assert task_of(ann) != task_of(ben)
        for page in (ann, ben):
            seen.append(task_of(page))
            page.fill("#text", f"Words about {task_of(page)} that nobody else has written so far.")
            page.keyboard.press("Control+Shift+Enter")
            expect(page.locator(".toast")).to_be_visible()
    assert sorted(seen) == sorted(task["task_id"] for task in TASKS)
    assert len(server.accepted()) == 6


def test_two_tabs_on_one_item(join, server):
    one = join("Ann")
    open_work(one, server)
    two = one.context.new_page()
    two.goto(one.url)
    expect(two.locator(".cm-content")).to_be_visible()
    one.fill("#text", "From the first tab.")
    saved(one)
    two.fill("#text", "From the second tab.")
    expect(two.locator("#conflict")).to_contain_text("From the first tab.")
    two.get_by_role("button", name="Keep what is here").click()
    saved(two)
    one.fill("#text", "From the first tab, again.")
    expect(one.locator("#conflict")).to_contain_text("From the second tab.")
    one.get_by_role("button", name="Use the other one").click()
    expect(one.locator("#text")).to_have_value("From the second tab.")


def test_warnings_are_gentle(join, server):
    page = join("Ann")
    open_work(page, server)
    page.fill("#text", "The code is correct.")
    expect(page.locator("#hints")).to_contain_text("says that the code is correct")
    page.keyboard.press("Control+Shift+Enter")
    expect(page.get_by_role("button", name="Submit anyway")).to_be_visible()
    assert server.accepted() == []
    # What was typed last is with the server, although the warning came before it was saved by itself.
    page.evaluate("localStorage.clear()")
    page.reload()
    expect(page.locator("#text")).to_have_value("The code is correct.")
    page.keyboard.press("Control+Shift+Enter")
    expect(page.get_by_role("button", name="Submit anyway")).to_be_visible()
    page.keyboard.press("Control+Shift+Enter")
    expect(page.locator(".toast")).to_be_visible()
    assert set(server.accepted()[0].warnings) == {"says correct", "too short"}


def test_another_program_brings_its_own_text_to_the_editor(join, server):
    page = join("Ann")
    open_work(page, server)
    expect(page.locator(".cm-content")).to_contain_text("parts[1]")
    page.keyboard.press("j")
    expect(page.locator(".cm-content")).not_to_contain_text("parts[1]")
    expect(page.locator("#distance")).to_have_text("unchanged")


HOSTILE = (
    "</textarea></script><script>alert('no')</script><img src=x onerror=alert(1)> \u202egnihton\u202c \u2066x"
)


FOREIGN = "main img:not(.cm-widgetBuffer), main script:not([type='application/json'])"


def test_hostile_text_does_no_harm(browser, tmp_path):
    task = {
        **TASKS[0],
        "task_id": "evil",
        "description": HOSTILE + "y" * 1_000_000,
        "prefix": "",
        "tests": [*TASKS[0]["tests"], f"assert parse_range({HOSTILE!r}) == 1"],
    }
    programs = {
        "evil": [
            f"# {HOSTILE}\ndef parse_range(text):\n    raise ValueError({HOSTILE!r})\n",
            "# " + "z" * 1_000_000 + "\n",
        ]
    }
    server = Server(tmp_path / "run", *write_queue(tmp_path, [task], programs))
    try:
        page = browser.new_context().new_page()
        page.set_default_timeout(60_000)
        harm: list[str] = []
        page.on("dialog", lambda dialog: (harm.append(dialog.message), dialog.dismiss()))
        page.on("pageerror", lambda error: harm.append(str(error)))
        page.goto(server.owner_link)
        page.click("button.primary")
        open_work(page, server)
        assert page.locator(FOREIGN).count() == 0
        assert page.locator(".hidden-char").count() > 0
        expect(page.locator(".description").first).to_contain_text("<script>alert('no')</script>")
        page.fill("#text", HOSTILE + "w" * 1_000_000)
        saved(page)
        page.reload()
        assert page.input_value("#text") == HOSTILE + "w" * 1_000_000
        page.keyboard.press("Control+Shift+Enter")
        expect(page.locator("#saved")).to_contain_text("at most 20,000", timeout=60_000)
        page.fill("#text", HOSTILE)
        page.keyboard.press("Control+Enter")
        expect(page.locator("#result")).to_contain_text("The tests fail")
        page.keyboard.press("Control+Shift+Enter")
        page.wait_for_url("**/work?done=1", timeout=60_000)  # no warning, nothing left to do
        for path in ("/mine", "/review", "/review/1", "/dashboard", "/team"):
            page.goto(server.url + path)
            assert page.locator(FOREIGN).count() == 0
        assert harm == []
        assert server.accepted()[0].text == HOSTILE
    finally:
        server.kill()


def test_without_scripts_a_plain_text_area(join, server):
    page = join("Ann", java_script_enabled=False)
    page.goto(server.url + "/work")
    page.fill("#text", ANSWERS["queue/parse-range"][0])
    code = page.input_value("#refinement")
    page.fill("#refinement", code.replace("parts[1]", "parts[-1]"))
    page.get_by_role("button", name="Run tests").click()
    expect(page.locator("#result")).to_contain_text("All 4 tests pass")
    page.get_by_role("button", name="Submit").click()
    expect(page.locator(".toast")).to_be_visible()
    assert server.accepted()[0].refinement == code.replace("parts[1]", "parts[-1]")


DOCUMENTED = {
    "work-light",
    "work-dark",
    "tablet-light",
    "phone-light",
    "phone-dark",
    "zoomed-light",
    "guide-light",
    "review-item-light",
}
"""Pictures that the documentation shows, besides the busy team's below."""


@pytest.mark.skipif(not AXE.is_file(), reason="axe-core is not installed: npm ci")
def test_pages_are_accessible(join, server):
    page = join("owner", "owner")
    folder = screenshots()
    rules = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]

    def look(name: str, full: bool = False) -> None:
        # By the protocol, not by a script tag: the page's own policy forbids those.
        page.evaluate(AXE.read_text())
        for scheme in ("dark", "light"):
            page.emulate_media(color_scheme=scheme)
            # In light everything; in dark what colours can change.
            only = (
                {"type": "tag", "values": rules}
                if scheme == "light"
                else {"type": "rule", "values": ["color-contrast"]}
            )
            found = page.evaluate("only => axe.run({runOnly: only, resultTypes: ['violations']})", only)
            told = [
                (v["id"], n["target"], n["failureSummary"][:300])
                for v in found["violations"]
                for n in v["nodes"][:3]
            ]
            assert told == [], (name, scheme, json.dumps(told, indent=1))
            if folder is not None and f"{name}-{scheme}" in DOCUMENTED:
                page.screenshot(path=folder / f"annotate-{name}-{scheme}.png", full_page=full)

    page.goto(server.url + "/team")
    page.check("[name=suggest]")
    page.click("text=Save")
    open_work(page, server)
    task_id, (feedback, (old, new)) = next(iter(ANSWERS.items()))
    page.check("[value='missing step']", force=True)
    page.fill("[name=bugs]", "1")
    page.fill("#text", f"Line 4: {feedback}\nThe rest is right.")
    page.locator(".cm-content").click()
    page.keyboard.press("Control+a")
    page.keyboard.insert_text(PROGRAMS[task_id][0].replace(old, new))
    page.keyboard.press("Control+Enter")
    expect(page.locator("#result")).to_contain_text("All 4 tests pass")
    saved(page)
    page.set_viewport_size({"width": 1280, "height": 1000})  # nothing half under the bar
    page.evaluate("scrollTo(0, 0)")
    look("work")
    page.set_viewport_size({"width": 834, "height": 1194})
    page.evaluate("scrollTo(0, 0)")
    look("tablet")
    page.set_viewport_size({"width": 390, "height": 844})
    look("phone")
    page.set_viewport_size({"width": 640, "height": 440})  # 1280 by 880 at 200%
    look("zoomed")
    page.set_viewport_size({"width": 1280, "height": 1000})
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    look("keys")
    page.keyboard.press("Escape")
    page.keyboard.press("s")
    look("skip")
    page.keyboard.press("Escape")
    page.keyboard.press("Control+Shift+Enter")
    expect(page.locator(".toast")).to_be_visible()
    open_work(page, server)
    page.fill("#text", "def f(x):\n    return x\n")
    page.keyboard.press("Control+Shift+Enter")
    expect(page.get_by_role("button", name="Submit anyway")).to_be_visible()
    look("warning")
    for name in ("guide", "mine", "review", "review/1", "dashboard", "team"):
        page.goto(f"{server.url}/{name}")
        # The documentation's dashboard is the busier one below.
        look(
            {"review/1": "review-item", "dashboard": "dashboard-empty"}.get(name, name), full=name == "guide"
        )
    page.goto(server.url + "/nothing")
    look("message")
    page.goto(server.invite("annotator"))
    look("join")
    page.context.clear_cookies()
    page.goto(server.url + "/work")
    expect(page.locator("main")).to_contain_text("signed out")
    look("signed-out")


def test_the_dashboard_for_the_documentation(browser, tmp_path):
    """A busy week of three people: the picture of the dashboard in the documentation."""
    import random
    import time

    from annotate_samples import make_failures, make_tasks

    from ilf.annotate import accounts, queue
    from ilf.annotate.answers import Draft
    from ilf.annotate.store import Store
    from ilf.records import Verdict

    folder, run, draw = screenshots(), tmp_path / "starter", random.Random(3)
    run.mkdir()
    moment = [time.time() - 30 * 3600]
    store = Store(run / "annotations.db", clock=lambda: moment[0])
    store.configure(overlap=1)
    tasks = make_tasks(60)
    store.fill(tasks, *make_failures(tasks))
    people = [accounts.named(store, name) for name in ("Amara", "Jonas", "Mei")]
    accounts.named(store, "Ines", "reviewer")
    accounts.make_key(store, people[2], "nightly export", people[2])
    words = "the loop condition compares wrongly so that last element never counts return sum instead of list".split()
    kinds = (
        ["logic"] * 5 + ["formatting"] * 4 + ["missing step", "algebra", "recursion", "regex", "extra step"]
    )
    for n in range(43):
        person = draw.choice(people)
        item = queue.claim(store, person)
        spent = draw.uniform(120, 900)
        moment[0] += spent + draw.choice([0, 0, 0, 4000])
        if n % 11 == 10:
            queue.skip(store, person, item, "too hard")
            continue
        number = queue.look(store, person, item).task.task_id[1:]
        good = draw.random() < 0.85
        code = (
            f"def double_{number}(x):\n    return x + {'x' if good else 3}\n" if draw.random() < 0.9 else None
        )
        verdict = (
            Verdict(task_id="t", program_id="p", status="passed" if good else "failed") if code else None
        )
        text = " ".join(draw.choices(words, k=draw.randint(20, 110)))
        draft = Draft(
            text=text,
            tags=sorted(set(draw.choices(kinds, k=2))),
            bugs=draw.choice([1, 1, 2, 2, 3]),
            refinement=code,
        )
        queue.submit(store, person, item, draft, seconds=spent, checked=verdict)
    store.set_state(
        "run",
        {"state": "waiting", "round": 1, "wanted": 60, "accepted": 39, "seen": time.time() + 60, "pid": 1},
    )
    store.close()
    server = Server(run)
    try:
        context = browser.new_context(viewport={"width": 1280, "height": 800})
        page = context.new_page()
        page.goto(server.owner_link)
        page.click("button.primary")
        expect(page.locator("main")).to_contain_text("A run is waiting")
        expect(page.locator("main")).to_contain_text("Amara")
        assert page.locator(".chart rect").count() > 3
        for scheme in ("light", "dark") if folder is not None else ():
            page.emulate_media(color_scheme=scheme)
            page.screenshot(path=folder / f"annotate-dashboard-{scheme}.png", full_page=True)
        page.emulate_media(color_scheme="light")
        page.goto(server.url + "/team")
        expect(page.locator("main")).to_contain_text("Jonas")
        if folder is not None:
            page.screenshot(path=folder / "annotate-team-light.png", full_page=True)
        context.close()
    finally:
        server.kill()


def test_tab_leaves_the_editor_unless_it_is_to_indent(join, server):
    page = join("Ann")
    open_work(page, server)
    before = page.locator("#refinement").input_value()
    page.locator("#editor .cm-content").focus()
    page.keyboard.press("Tab")
    expect(page.locator("[data-run=tests]")).to_be_focused()
    assert page.locator("#refinement").input_value() == before
    page.check("#tab-indents")
    page.locator("#editor .cm-content").focus()
    page.keyboard.press("Tab")
    assert page.locator("#refinement").input_value().startswith("    ")
    page.reload()
    assert page.locator("#tab-indents").is_checked()
    page.check("[data-wrap]")
    assert "wrap" in page.locator("body").get_attribute("class")
    expect(page.locator("#editor .cm-lineWrapping")).to_have_count(1)
