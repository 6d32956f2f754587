"""Pages for teams, as a browser without scripts sees them; and that each action asks for its role."""

import re

import pytest
from annotate_pages import fields

from ilf.annotate import accounts, queue, threads
from ilf.annotate.answers import Draft
from ilf.annotate.schema import Answer, Item

TEXT = "It adds a constant; add the number to itself instead."


def write(site, name, text=TEXT):
    person = accounts.named(site.store, name)
    return queue.submit(site.store, person, queue.claim(site.store, person), Draft(text=text))["answer"]


def states(site):
    with site.store.read() as session:
        return [answer.state for answer in session.query(Answer).order_by(Answer.id)]


def test_a_reviewer_accepts_all_that_match_and_undoes_it(site):
    site.store.configure(review=True)
    for name in ("Ann", "Ben"):
        write(site, name)
    rev = site.person("Rev", "reviewer")
    page = rev.get("/review?text=variant 1")
    assert page.text.count('name="row"') == 1 and "variant" in page.text
    data = {**fields(page.text), "scope": "matching", "do": "accept"}
    page = rev.post("/review/bulk", data=data)
    assert "1 accepted." in page.text and states(site) == ["accepted", "submitted"]
    undo = re.search(r'action="(/batches/\d+/undo)"', page.text).group(1)
    page = rev.post(undo, data={**fields(page.text), "back": "review"})
    assert "Undone" in page.text and states(site) == ["submitted", "submitted"]
    page = rev.post("/review/bulk", data={**fields(page.text), "row": ["1", "2"], "do": "return"})
    assert page.status_code == 422 and "say what should be better" in page.text


def test_tasks_are_given_on_the_queue_page(site):
    ben = accounts.named(site.store, "Ben")
    rev = site.person("Rev", "reviewer")
    page = rev.get("/queue")
    assert page.text.count('name="row"') == 3
    data = {**fields(page.text), "row": ["2"], "to": str(ben), "how": "only"}
    page = rev.post("/queue/assign", data=data)
    assert "1 assigned." in page.text and queue.claim(site.store, ben) == 2
    assert "<td>Ben</td>" in page.text
    assert rev.post("/queue/assign", data={**data, "how": "all"}).status_code == 422


def test_two_answers_are_compared_and_one_is_chosen(site):
    site.store.configure(overlap=2)
    write(site, "Ann", "Add the number twice.")
    write(site, "Ben", "Add the number to <b>itself</b>.")
    rev = site.person("Rev", "reviewer")
    page = rev.get("/compare/1")
    assert "<mark>twice</mark>" in page.text and "&lt;" in page.text and "<b>itself" not in page.text
    page = rev.post("/compare/1/choose", data={**fields(page.text), "answer": "2"})
    assert states(site) == ["overruled", "accepted"] and "chosen</span>" in page.text
    assert rev.get("/compare/2").status_code == 404
    assert rev.post("/compare/2/choose", data={**fields(page.text), "answer": "2"}).status_code == 422
    assert "1" in re.search(r"<h1>Queue.*?</h1>", rev.get("/queue?state=done").text, re.S).group()


def test_author_and_reviewer_talk_on_their_pages(site):
    ann, rev, eve = site.person("Ann"), site.person("Rev", "reviewer"), site.person("Eve")
    write(site, "Ann")
    page = rev.get("/review/1")
    page = rev.post("/answers/1/comment", data={**fields(page.text), "comment": "Which <i>line</i>?"})
    assert "Which &lt;i&gt;line" in page.text and "/review/1" in str(page.url)
    assert "Talk (1)" in ann.get("/mine").text
    page = ann.get("/answers/1")
    page = ann.post("/answers/1/comment", data={**fields(page.text), "comment": "The second."})
    assert "The second." in page.text and "The second." in rev.get("/review/1").text
    assert eve.get("/answers/1").status_code == 404
    csrf = fields(eve.get("/mine").text)
    assert eve.post("/answers/1/comment", data={**csrf, "comment": "Let me in."}).status_code == 404
    assert threads.counts(site.store, [1]) == {1: 2}


def test_ones_own_items_are_filtered(site):
    ann = site.person("Ann")
    for text in ("Words about the first one.", "Words about the second one."):
        write(site, "Ann", text)
    assert "second" in ann.get("/mine").text
    page = ann.get("/mine?text=first&state=accepted").text
    assert "about the first" in page and "about the second" not in page
    assert "Nothing is like that" in ann.get("/mine?state=skipped").text
    assert "about the first" in ann.get("/mine?person=2").text  # nobody else's, whatever is asked


ACTIONS = {
    "/review/bulk": {"row": "1", "do": "accept"},
    "/queue/assign": {"row": "1", "how": "anybody"},
    "/compare/1/choose": {"answer": "1"},
    "/batches/1/undo": {},
}


@pytest.mark.parametrize("path", ACTIONS)
@pytest.mark.parametrize("role", ["annotator", "reviewer", "owner", "nobody"])
def test_each_action_asks_for_its_role(site, path, role):
    site.store.configure(overlap=2, review=True)
    for name in ("Ann", "Ben"):
        write(site, name)
    browser = site.browser() if role == "nobody" else site.person("Zoe", role)
    csrf = "" if role == "nobody" else fields(browser.get("/mine").text)["csrf"]
    forged = browser.post(path, data=ACTIONS[path])
    assert forged.status_code == (401 if role == "nobody" else 403)
    status = browser.post(path, data={**ACTIONS[path], "csrf": csrf}).status_code
    assert (status == 403) is (role == "annotator") and (status == 401) is (role == "nobody")
    if role in ("annotator", "nobody"):
        assert states(site) == ["submitted", "submitted"]
        with site.store.read() as session:
            assert session.get(Item, 1).chosen_id is None


@pytest.mark.parametrize("page", ["/queue", "/review", "/compare/1"])
def test_lists_are_for_reviewers(site, page):
    assert site.person("Ann").get(page).status_code == 403
    assert site.browser().get(page).status_code == 401
