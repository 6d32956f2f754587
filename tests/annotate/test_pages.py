"""Pages as a browser without scripts sees them."""

import re

import pytest
from annotate_pages import fields
from annotate_samples import RIGHT

from ilf.annotate import accounts, own_work, queue
from ilf.tasks import STARTER

TEXT = "It adds a constant; add the number to itself instead."


def write(browser, page, action="submit", **values):
    data = {**fields(page.text), "text": TEXT, **values}
    item = re.search(r'data-item="(\d+)"', page.text).group(1)
    return browser.post(f"/items/{item}/{action}", data=data)


def test_an_annotator_works_without_scripts(site):
    ann = site.person("Ann")
    page = ann.get("/work")
    assert "Give back twice the number (variant 1)." in page.text and "1 of 2 tests pass" in page.text
    page = write(ann, page)
    assert "Submitted." in page.text and "variant 2" in page.text and "1 of 3" in page.text
    assert [f.text for f in site.store.accepted()] == [TEXT]


def test_warnings_come_back_once_and_are_recorded(site):
    ann = site.person("Ann")
    page = write(ann, ann.get("/work"), text="wrong")
    assert "Fewer than 6 words" in page.text and "Submit anyway" in page.text
    assert site.store.accepted() == []
    page = write(ann, page, text="wrong")
    assert "Submitted." in page.text
    assert site.store.accepted()[0].warnings == ("too short",)


def test_run_shows_the_verdict_and_keeps_what_was_typed(site):
    ann = site.person("Ann")
    page = write(
        ann, ann.get("/work"), action="run", refinement="def double_1(x):\n    return x + 7\n", do="tests"
    )
    assert "The tests fail" in page.text and TEXT in page.text and "x + 7" in page.text
    assert "<script>alert(1)" not in page.text and "&lt;script&gt;alert(1)" in page.text
    page = write(ann, page, action="run", refinement=RIGHT.format(n=1), do="tests", target="wrong")
    assert "All 2 tests pass" in page.text


def test_trying_an_input(site):
    ann = site.person("Ann")
    page = write(ann, ann.get("/work"), action="run", do="try", expression="double_1(21)", target="wrong")
    assert "42" in page.text and "&lt;b&gt;hi" in page.text
    assert site.verifier.ran == ["double_1(21)"]


def test_a_refinement_is_checked_when_it_is_submitted(site):
    ann = site.person("Ann")
    write(ann, ann.get("/work"), refinement=RIGHT.format(n=1))
    with site.store.read() as session:
        row = (
            session.connection()
            .exec_driver_sql("SELECT verdict, edit_distance FROM answers WHERE id = 1")
            .one()
        )
    assert '"passed"' in row.verdict and row.edit_distance == 1  # 1 became x


def test_a_failing_refinement_is_a_warning_not_a_wall(site):
    ann = site.person("Ann")
    page = write(ann, ann.get("/work"), refinement="def double_1(x):\n    return x + 7\n")
    assert "does not pass the tests" in page.text
    assert "Submitted." in write(ann, page, refinement="def double_1(x):\n    return x + 7\n").text


def test_crlf_of_forms_is_no_edit(site):
    ann = site.person("Ann")
    page = ann.get("/work")
    wrong = "def double_1(x):\r\n    return x + 1\r\n"
    write(ann, page, refinement=wrong)
    assert site.store.accepted()[0].refinement is None


def test_skip_and_undo(site):
    ann = site.person("Ann")
    page = write(ann, ann.get("/work"), action="skip", reason="ambiguous", note="which?")
    assert "Skipped." in page.text
    undo = re.search(r'action="(/items/\d+/undo)"', page.text).group(1)
    page = ann.post(undo, data=fields(page.text))
    assert "variant 1" in page.text
    assert "Take it up again" not in ann.get("/mine").text


def test_what_was_typed_before_a_skip_is_there_again(site):
    ann = site.person("Ann")
    page = write(ann, ann.get("/work"), action="skip", reason="too hard", text="The loop stops too")
    undo = re.search(r'action="(/items/\d+/undo)"', page.text).group(1)
    assert "The loop stops too</textarea>" in ann.post(undo, data=fields(page.text)).text


def test_a_second_tab_gets_a_choice_not_an_overwrite(site):
    ann = site.person("Ann")
    one, two = ann.get("/work"), ann.get("/work")
    write(ann, one, action="draft", text="from the first tab")
    page = write(ann, two, action="draft", text="from the second tab")
    assert page.status_code == 409
    assert "from the first tab" in page.text and "from the second tab" in page.text
    page = write(ann, page, text=TEXT)  # the page carries the new version: submitting keeps this one
    assert "Submitted." in page.text


def test_a_double_click_submits_once(site):
    ann = site.person("Ann")
    page = ann.get("/work")
    first, second = write(ann, page), write(ann, page)
    assert first.status_code == second.status_code == 200
    assert len(site.store.accepted()) == 1


def test_nothing_left_says_so(site):
    ann = site.person("Ann")
    for n in range(3):
        page = write(ann, ann.get("/work"), text=f"{TEXT} Variant {n}.")
    assert "Nothing is left for you" in page.text and "You answered 3" in page.text


def test_a_reviewer_returns_and_accepts(site):
    site.store.configure(review=True)
    ann, rev = site.person("Ann"), site.person("Rev", "reviewer")
    write(ann, ann.get("/work"))
    page = rev.get("/review")
    answer = re.search(r'href="(/review/\d+)"', page.text).group(1)
    page = rev.get(answer)
    assert TEXT in page.text
    page = rev.post(answer + "/return", data={**fields(page.text), "comment": "Name the line, please."})
    assert "Nothing waits" in page.text
    page = ann.get("/work")
    assert "Name the line, please." in page.text
    write(ann, page, text=TEXT + " In line 2.")
    page = rev.get(answer)
    rev.post(answer + "/accept", data=fields(page.text))
    assert [f.text for f in site.store.accepted()] == [TEXT + " In line 2."]


def test_a_reviewer_edits(site):
    site.store.configure(review=True)
    ann, rev = site.person("Ann"), site.person("Rev", "reviewer")
    write(ann, ann.get("/work"))
    page = rev.get("/review/1")
    rev.post(
        "/review/1/edit", data={**fields(page.text), "text": "Better words.", "refinement": RIGHT.format(n=1)}
    )
    (feedback,) = site.store.accepted()
    assert feedback.text == "Better words." and feedback.refinement == RIGHT.format(n=1)
    page = rev.post("/review/1/return", data={**fields(page.text), "comment": "late"})
    assert page.status_code == 409 and "changed" in page.text


def test_a_reviewer_decides_about_wrong_tests(site):
    ann, rev = site.person("Ann"), site.person("Rev", "reviewer")
    write(ann, ann.get("/work"), kind="tests_wrong", text="The second assert contradicts the text.")
    page = rev.get("/review")
    assert "says the tests are wrong" in page.text
    page = rev.get("/review/1")
    rev.post("/items/1/decide", data={**fields(page.text), "decision": "remove"})
    assert site.store.progress().removed == 1


def test_the_dashboard_and_exports(site):
    ann, boss = site.person("Ann"), site.person("Boss", "owner")
    write(ann, ann.get("/work"), refinement=RIGHT.format(n=1), tags="logic", bugs="1")
    page = boss.get("/dashboard")
    assert "tasks done" in page.text and "Ann" in page.text
    assert boss.get("/export/ilf").text.count("\n") == 1
    assert boss.get("/export/csv").text.startswith("round,task_id")
    assert boss.get("/export/argilla").json()[0]["fields"]["code"]
    assert boss.get("/export/nonsense").status_code == 404
    part = boss.get("/dashboard", headers={"hx-request": "true"})
    assert "<html" not in part.text and "tasks done" in part.text


def test_the_dashboard_tells_of_a_waiting_run(site, clock):
    boss = site.person("Boss", "owner")
    state = {"state": "waiting", "round": 1, "wanted": 3, "accepted": 0, "seen": clock.now, "pid": 1}
    site.store.set_state("run", state)
    assert "A run is waiting" in boss.get("/dashboard").text
    write(boss, boss.get("/work"))
    assert "1 so far, 2 to go" in boss.get("/dashboard").text
    site.store.set_state("run", {**state, "round": 2})  # what round 1 gave does not count for it
    assert "0 so far, 3 to go" in boss.get("/dashboard").text
    clock.now += 60
    assert "No run is waiting now" in boss.get("/dashboard").text


def test_an_owner_runs_the_team(site):
    boss = site.person("Boss", "owner")
    page = boss.get("/team")
    page = boss.post("/team/invite", data={**fields(page.text), "role": "annotator"})
    link = re.search(r'value="http://testserver(/join/[\w-]+)"', page.text).group(1)
    new = site.browser()
    assert "invited as <b>annotator</b>" in new.get(link).text
    assert "How to write good feedback" in new.post(link, data={"name": "New One"}).text
    assert new.get("/team").status_code == 403
    person = next(m.person for m in accounts.team(site.store) if m.person.name == "New One")
    boss.post(f"/team/{person.id}/role", data={**fields(page.text), "role": "reviewer"})
    assert new.get("/work").status_code == 401  # another role: sign in again
    page = boss.post(f"/team/{person.id}/link", data=fields(page.text))
    link = re.search(r'value="http://testserver(/join/[\w-]+)"', page.text).group(1)
    assert new.post(link).status_code == 200 and new.get("/review").status_code == 200
    page = boss.post(f"/team/{person.id}/key", data={**fields(page.text), "name": "vendor"})
    key = re.search(r'value="(ilf_[\w-]+)"', page.text).group(1)
    assert new.get("/api/v1/progress", headers={"authorization": f"Bearer {key}"}).status_code == 200
    boss.post(f"/team/{person.id}/close", data=fields(page.text))
    assert new.get("/work").status_code == 401
    boss.post(
        "/team/settings", data={**fields(page.text), "overlap": "2", "idle_minutes": "45", "review": "1"}
    )
    settings = site.store.settings
    assert (settings.overlap, settings.idle_minutes, settings.review) == (2, 45, True)
    owner = next(m.person for m in accounts.team(site.store) if m.person.name == "Boss")
    assert own_work.history(site.store, "settings")[-1]["person_id"] == owner.id


@pytest.mark.parametrize(
    "path", ["/", "/work", "/mine", "/guide", "/items/1", "/review", "/dashboard", "/team"]
)
def test_strangers_see_nothing(site, path):
    page = site.browser().get(path)
    assert page.status_code == 401 and "variant" not in page.text


@pytest.mark.parametrize("path", ["/review", "/review/1", "/dashboard", "/team", "/export/ilf"])
def test_annotators_have_no_team_pages(site, path):
    assert site.person("Ann").get(path).status_code == 403


def test_someone_elses_item_is_not_shown(site):
    ann, ben = site.person("Ann"), site.person("Ben")
    item = re.search(r'data-item="(\d+)"', ann.get("/work").text).group(1)
    assert ben.get(f"/items/{item}").status_code == 404


def test_a_guide_with_examples(site):
    page = site.person("Ann").get("/guide")
    assert "What helps, and what does not" in page.text
    recorded = (STARTER / "feedback.jsonl").read_text(encoding="utf-8").strip()
    assert ("The model wrote" in page.text) == bool(recorded)


def test_without_a_sandbox_pages_say_so(store):
    from annotate_pages import Site

    from ilf.annotate.app import create_app
    from ilf.annotate.checker import Checker

    site = Site(store)
    site.app = create_app(store, Checker(None, "install bubblewrap"), site.options)
    ann = site.person("Ann")
    page = ann.get("/work")
    assert "install bubblewrap" in page.text
    assert "Submitted." in write(ann, page, refinement=RIGHT.format(n=1)).text


def test_a_huge_text_stays_a_draft(site):
    ann = site.person("Ann")
    page = write(ann, ann.get("/work"), text="x" * 1_000_000)
    assert page.status_code == 200  # a warning first
    page = write(ann, page, text="word " * 200_000)
    assert page.status_code == 422 and "at most 20,000" in page.text
    person = next(m.person.id for m in accounts.team(site.store))
    assert len(queue.look(site.store, person, 1).draft.text) == 1_000_000
