"""Comfort in a real browser: the size of code, and the bar on a phone."""

from __future__ import annotations

import pytest

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
from test_annotate_browser import open_work  # noqa: E402
from test_lines_browser import open_as, pytestmark  # noqa: E402, F401


def test_code_grows_and_stays_so(open_as, server):  # noqa: F811
    page = open_as()
    open_work(page, server)
    size = "e => parseFloat(getComputedStyle(e).fontSize)"
    code, editor = page.locator(".tab-panel:visible .code table"), page.locator(".cm-editor")
    before = code.evaluate(size), editor.evaluate(size)
    for _ in range(3):
        page.get_by_role("button", name="Larger code").click()
    page.reload()
    after = code.evaluate(size), editor.evaluate(size)
    assert [round(b / a, 2) for a, b in zip(before, after, strict=True)] == [1.3, 1.3]
    for _ in range(20):
        page.get_by_role("button", name="Smaller code").click()
    assert round(code.evaluate(size) / before[0], 2) == 0.7


def test_on_a_phone_the_bar_is_one_row(open_as, server):  # noqa: F811
    page = open_as(viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True)
    open_work(page, server)
    page.fill("#text", "It is saved, and says so at some length.")
    page.locator("#saved").filter(has_text="Saved").wait_for()
    assert page.locator(".bar").bounding_box()["height"] <= 64
    tops = page.locator(".bar button:visible, .bar summary:visible").evaluate_all(
        "all => all.map((e) => Math.round(e.getBoundingClientRect().top + e.getBoundingClientRect().height / 2))"
    )
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert len(tops) >= 2 and max(tops) - min(tops) <= 3
    assert page.locator("header.top").bounding_box()["height"] <= 60
    page.get_by_role("link", name="Team").click()  # in reach, by scrolling the row
    page.wait_for_url("**/team")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
