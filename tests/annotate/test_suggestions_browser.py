"""Suggestions in a real browser: a key takes the verdict's sentence, Ctrl+K finds what one wrote before."""

from __future__ import annotations

import pytest

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
from playwright.sync_api import expect  # noqa: E402
from test_annotate_browser import AXE, open_work, saved  # noqa: E402
from test_lines_browser import open_as, pytestmark  # noqa: E402, F401

from ilf.annotate.store import Store  # noqa: E402


def switch_on(server) -> None:  # noqa: F811
    store = Store(server.run / "annotations.db")
    store.configure(suggest=True)
    store.close()


def test_a_sentence_is_taken_corrected_and_found_again(open_as, server):  # noqa: F811
    switch_on(server)
    page = open_as()
    open_work(page, server)
    keys, text = page.keyboard, page.locator("#text")
    expect(page.locator("#suggestions")).to_contain_text("from the verdict")
    keys.press("v")
    expect(text).to_be_focused()
    sentence = text.input_value()
    assert "IndexError" in sentence and page.locator(".suggestion").count() == 0
    keys.type(" Use the last part, which is the first of a single number.")
    saved(page)
    page.reload()
    expect(page.locator(".cm-content")).to_be_visible()
    keys.press("Control+Shift+Enter")
    expect(page.locator(".toast")).to_be_visible()
    [row] = server.accepted()
    assert row.text.startswith(sentence) and row.assisted == ("verdict",)

    expect(page.locator(".cm-content")).to_be_visible()
    keys.press("f")
    keys.type("Here, too:")
    keys.press("Control+k")
    expect(page.get_by_role("combobox", name="Search what you wrote before")).to_be_focused()
    keys.type("SINGLE number")
    expect(page.locator("#found [role=option]")).to_have_count(1)
    if AXE.is_file():
        page.evaluate(AXE.read_text())
        for scheme in ("dark", "light"):
            page.emulate_media(color_scheme=scheme)
            found = page.evaluate("axe.run().then(r => r.violations.map(v => [v.id, v.nodes[0].html]))")
            assert found == [], scheme
    keys.press("Enter")
    expect(text).to_have_value("Here, too: Use the last part, which is the first of a single number.")
    expect(text).to_be_focused()
    keys.press("Control+Shift+Enter")
    keys.press("Control+Shift+Enter")  # past a warning, where there is one
    page.wait_for_url("**done=2")  # the toast of the first may still be there
    assert [row.assisted for row in server.accepted()] == [("verdict",), ("earlier",)]


def test_without_the_setting_there_is_nothing(open_as, server):  # noqa: F811
    page = open_as()
    open_work(page, server)
    for key in ("v", "Control+k"):
        page.keyboard.press(key)
    assert page.locator(".suggestion, dialog[open]").count() == 0
    expect(page.locator("#text")).to_have_value("")
