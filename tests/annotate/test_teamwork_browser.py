"""A team's main way in a real browser: give out, write twice, compare, choose, undo, talk."""

from __future__ import annotations

import pytest

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
from annotate_queue import ANSWERS  # noqa: E402
from playwright.sync_api import expect  # noqa: E402
from test_annotate_browser import AXE, join, open_work, pytestmark, task_of  # noqa: E402, F401

FIRST = "queue/parse-range"


def test_a_team_gives_out_writes_compares_and_chooses(join, server):  # noqa: F811
    rev, ann, ben = join("Rev", "reviewer"), join("Ann"), join("Ben")
    rev.goto(server.url + "/queue")
    rev.fill("input[type=search]", "leap")
    rev.get_by_role("button", name="Show").click()
    rev.get_by_label("Mark queue/is-leap").check()
    rev.get_by_label("Person").last.select_option(label="Ben")
    rev.get_by_role("button", name="Give to this person").click()
    expect(rev.get_by_role("status")).to_contain_text("1 assigned.")
    open_work(ben, server)
    assert task_of(ben) == "queue/is-leap"
    owner = join("owner", "owner")
    owner.goto(server.url + "/team")
    owner.fill("#overlap", "2")
    owner.check("[name=review]")
    owner.click("text=Save")
    ben.fill("#text", "Years that 100 divides are missing: ask for 400 there, please, as the task says.")
    ben.keyboard.press("Control+Shift+Enter")
    expect(ben.locator(".toast")).to_be_visible()
    for page, text in ((ann, ANSWERS[FIRST][0]), (ben, "Use the last part: one number has only one part.")):
        open_work(page, server)
        assert task_of(page) == FIRST
        page.fill("#text", text)
        page.keyboard.press("Control+Shift+Enter")
        expect(page.locator(".toast")).to_be_visible()
    rev.goto(server.url + "/review")
    expect(rev.get_by_role("heading", name="Waiting")).to_contain_text("(3)")
    rev.goto(server.url + "/queue?state=twice")
    rev.get_by_role("link", name="answers to queue/parse-range").click()
    expect(rev.locator("mark").first).to_be_visible()
    rev.get_by_role("button", name="Use this one by Ann").click()
    expect(rev.get_by_role("status")).to_contain_text("decided")
    expect(rev.get_by_role("heading", name="Ben")).to_contain_text("another answer was chosen")
    assert [found.text for found in server.accepted()] == [ANSWERS[FIRST][0]]
    for path in ("/queue", "/review", "/mine", rev.url.removeprefix(server.url)):
        rev.goto(server.url + path)
        rev.evaluate(AXE.read_text())
        found = rev.evaluate("axe.run({runOnly: ['wcag2a', 'wcag2aa', 'wcag21aa', 'wcag22aa']})")
        assert found["violations"] == [], (path, [v["id"] for v in found["violations"]])
    rev.get_by_role("button", name="Undo").click()
    assert server.accepted() == []
    rev.goto(server.url + "/review?text=leap")
    rev.get_by_label("all 1 that match").check()
    rev.get_by_label("Comment").fill("Which line is it?")
    rev.get_by_role("button", name="Return").click()
    expect(rev.get_by_role("status")).to_contain_text("1 returned.")
    ben.goto(server.url + "/mine?state=returned")
    ben.get_by_role("link", name="Talk (1)").click()
    ben.get_by_role("textbox", name="Say something (").fill("The only one.")
    ben.get_by_role("button", name="Send").click()
    expect(ben.locator(".talk")).to_contain_text("The only one.")
