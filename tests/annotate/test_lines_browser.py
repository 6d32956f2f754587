"""Words about lines, in a real browser: by keyboard, by mouse, with a finger, and without scripts."""

from __future__ import annotations

import re

import pytest

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
from annotate_server import Server  # noqa: E402
from playwright.sync_api import Browser, Page, expect  # noqa: E402
from test_annotate_browser import AXE, open_work, pytestmark, saved  # noqa: E402, F401


@pytest.fixture
def open_as(browser: Browser, server: Server):
    """The owner's page on the first task, in a browser of the given kind; any script error fails the test."""
    opened, problems = [], []

    def enter(**options) -> Page:
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 800}, **options})
        opened.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.goto(server.owner_link)
        page.click("button.primary")
        page.goto(server.url + "/work")
        return page

    yield enter
    for context in opened:
        context.close()
    assert problems == []


def said(page: Page) -> list[str]:
    """What stands below the shown program's lines, with the number of the line above."""
    return page.locator(
        ".tab-input:checked + .tab + .tab-panel tr.said, main > .columns tr.said"
    ).evaluate_all(
        """rows => rows.map((row) => {
            let above = row.previousElementSibling;
            while (above.classList.contains("said")) above = above.previousElementSibling;
            return above.querySelector(".no").textContent + "|" + row.textContent;
        })"""
    )


def number(page: Page, line: int):
    return page.locator(f".tab-panel:visible tr[data-number='{line}'] .no")


def test_by_keyboard_two_notes_and_a_general_text(open_as, server):
    page = open_as()
    open_work(page, server)
    keys = page.keyboard
    keys.press("l")  # the program raises at line 4, where the choice begins
    expect(page.locator("#line-picked")).to_have_text(re.compile(r"Line 4: .*end = int\(parts\[1\]\)"))
    keys.press("Enter")
    keys.type("a text without a dash has one part only")
    keys.press("Escape")
    for key in ("l", "2", "Shift+ArrowDown"):
        keys.press(key)
    expect(page.locator("tr.chosen")).to_have_count(2)
    keys.press("Enter")
    keys.type("this is fine as it is")
    keys.press("Enter")
    keys.type("Use the last part, which is the first where there is one.")
    text = (
        "Line 4: a text without a dash has one part only\nLines 2-3: this is fine as it is\n"
        "Use the last part, which is the first where there is one."
    )
    expect(page.locator("#text")).to_have_value(text)
    beside = ["3|Lines 2-3: this is fine as it is", "4|Line 4: a text without a dash has one part only"]
    assert said(page) == beside
    saved(page)
    page.reload()
    expect(page.locator(".cm-content")).to_be_visible()
    assert said(page) == beside
    keys.press("Escape")
    keys.press("2")  # another program: digits choose programs again
    expect(page.locator(".tab-input").nth(1)).to_be_checked()
    keys.press("1")
    keys.press("Control+Shift+Enter")
    expect(page.locator(".toast")).to_be_visible()
    [row] = server.accepted()
    assert row.text == text
    assert [(n.first, n.last) for n in row.notes] == [(4, 4), (2, 3)]
    page.goto(server.url + "/review/1")  # beside the lines for a reviewer, too
    assert said(page) == beside
    if AXE.is_file():
        page.evaluate(AXE.read_text())
        assert page.evaluate("axe.run().then(r => r.violations.map(v => v.id))") == []


def test_a_click_a_drag_and_a_note_left_empty(open_as, server):
    page = open_as()
    open_work(page, server)
    text = page.locator("#text")
    page.fill("#text", "In general it is too long.")
    number(page, 2).click()
    expect(text).to_have_value("In general it is too long.\nLine 2: ")
    expect(text).to_be_focused()
    number(page, 5).hover()
    page.mouse.down()
    number(page, 3).hover()
    page.mouse.up()  # upwards, and in place of the one that was begun
    expect(text).to_have_value("In general it is too long.\nLines 3-5: ")
    page.keyboard.type("one too many")
    assert said(page) == ["5|Lines 3-5: one too many"]
    number(page, 2).click()
    number(page, 4).click(modifiers=["Shift"])
    expect(text).to_have_value("In general it is too long.\nLines 3-5: one too many\nLines 2-4: ")
    page.keyboard.press("Escape")
    expect(text).to_have_value("In general it is too long.\nLines 3-5: one too many")
    page.fill("#text", "Line 77: there is no such line in this program")
    expect(page.locator("#hints")).to_contain_text("a line that this program does not have")
    if AXE.is_file():
        page.fill("#text", "Line 2: this is wrong\nLine 4: and so is this, quite certainly")
        page.keyboard.press("Escape")
        page.keyboard.press("l")
        for scheme in ("dark", "light"):
            page.emulate_media(color_scheme=scheme)
            page.evaluate(AXE.read_text())
            found = page.evaluate("axe.run().then(r => r.violations.map(v => [v.id, v.nodes[0].html]))")
            assert found == [], scheme


def test_with_a_finger_two_taps_make_a_range(open_as, server):
    page = open_as(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    open_work(page, server)
    text = page.locator("#text")
    number(page, 2).tap()
    expect(text).to_have_value("Line 2: ")
    number(page, 4).tap()
    expect(text).to_have_value("Lines 2-4: ")
    expect(text).to_be_focused()
    page.keyboard.type("all of this")
    number(page, 5).tap()
    expect(text).to_have_value("Lines 2-4: all of this\nLine 5: ")
    height = number(page, 3).bounding_box()["height"]
    assert height >= 24  # WCAG 2.2: a target's least size
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_without_scripts_notes_are_typed(open_as, server):
    page = open_as(java_script_enabled=False)
    page.fill("#text", "lines 4 - 4: a text without a dash has no second part\nUse the last part.")
    page.get_by_role("button", name="Run tests").click()
    assert (
        page.locator("tr.said").inner_text().split(None, 2)[2] == "a text without a dash has no second part"
    )
    page.get_by_role("button", name=re.compile("^Submit")).click()
    expect(page.locator(".toast")).to_be_visible()
    [row] = server.accepted()
    assert [(n.first, n.last, n.text) for n in row.notes] == [
        (4, 4, "a text without a dash has no second part")
    ]
