"""Suggestions that save typing: what is offered, what became of it, and that it is never counted as a person's alone."""

import csv
import io
import json

import pytest
from annotate_pages import fields
from annotate_samples import make_failures, make_tasks
from hypothesis import given
from hypothesis import strategies as st

from ilf.annotate import accounts, queue, review
from ilf.annotate.answers import Draft, program, verdict
from ilf.annotate.exchange import export, import_feedback
from ilf.annotate.store import Store
from ilf.annotate.suggestions import (
    Suggested,
    earlier,
    kind_of,
    offered,
    outcomes,
    pieces,
    remember_drafts,
    shares,
)
from ilf.records import Feedback
from ilf.report.parts import feedback_table

SENTENCE = "The test `double_1(21)` fails: expected 42, got 22."


@pytest.fixture
def on(store):
    store.configure(suggest=True)
    return store


def shown(store, ann=None):
    work = queue.look(store, ann, queue.claim(store, ann))
    row = work.candidates[0]
    return offered(store, work.task, program(row), verdict(row))


def answer(store, ann, text, *suggested):
    item = queue.claim(store, ann)
    queue.submit(store, ann, item, Draft(text=text, suggested=list(suggested)))
    return item


def test_nothing_is_offered_unless_the_team_wants_it(store):
    ann = accounts.named(store, "Ann")
    assert shown(store, ann) == []
    store.configure(suggest=True)
    assert shown(store, ann) == [Suggested(source="verdict", text=SENTENCE)]


def test_a_models_draft_is_offered_on_its_program(on):
    tasks = make_tasks(3)
    near = make_failures(tasks)[0][1]
    rows = [
        Feedback(task_id="t1", code=near.code, text="Multiply by two.", source="model"),
        Feedback(task_id="t1", code="other", text="Never shown.", source="execution"),
    ]
    assert remember_drafts(on, rows) == 1
    found = shown(on, accounts.named(on, "Ann"))
    assert [(one.source, one.text) for one in found] == [("verdict", SENTENCE), ("model", "Multiply by two.")]


@pytest.mark.parametrize(
    ("text", "taken", "outcome"),
    [
        (f"{SENTENCE}\nAdd the number to itself.", True, "taken"),
        ("The test `double_1(21)` fails: it got 22, not 42. Add it to itself.", True, "edited"),
        ("Something else altogether is wrong.", True, "refused"),
        (SENTENCE, False, "refused"),  # typed by hand: nobody took it
    ],
)
def test_what_became_of_a_suggestion(on, text, taken, outcome):
    ann = accounts.named(on, "Ann")
    answer(on, ann, text, Suggested(source="verdict", text=SENTENCE, taken=taken))
    [row] = on.accepted()
    assert row.assisted == (() if outcome == "refused" else ("verdict",))
    assert shares(on) == {"verdict": {outcome: 1}}
    [line] = csv.DictReader(io.StringIO("".join(export(on, "csv"))))
    assert line["suggested"] == f"verdict {outcome}"
    [task] = json.loads("".join(export(on, "labelstudio")))
    assert task["meta"]["assisted"] == list(row.assisted)


WORDS = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=40).filter(
    lambda t: t.split()
)


@given(st.text(max_size=60), WORDS)
def test_a_suggestion_left_as_it_was_is_always_seen(text, words):
    [kept] = outcomes([Suggested(source="model", text=words, taken=True)], f"{text} {words} {text}")
    assert kept["outcome"] == "taken" and kept["share"] == 1.0


def test_the_record_survives_undoing_reviewing_and_another_store(on, tmp_path, clock):
    ann, rev = accounts.named(on, "Ann"), accounts.named(on, "Rev", "reviewer")
    item = answer(on, ann, f"{SENTENCE} Double it.", Suggested(source="verdict", text=SENTENCE, taken=True))
    queue.undo(on, ann, item)
    draft = queue.look(on, ann, item).draft
    assert draft.suggested == [Suggested(source="verdict", text=SENTENCE, taken=True)]
    queue.submit(on, ann, item, draft)
    row = queue.look(on, ann, item).answer
    better = draft.model_copy(update={"text": f"{SENTENCE} Add it to itself."})
    review.edit(on, rev, row.id, better, None)
    text = "".join(export(on, "ilf"))
    assert json.loads(text)["assisted"] == ["verdict"]
    other = Store(tmp_path / "other.db", clock)
    import_feedback(
        other, [Feedback.model_validate_json(text)], {task.task_id: task for task in make_tasks(3)}
    )
    assert "".join(export(other, "ilf")) == text
    [kept] = other.accepted()
    with other.read() as session:
        from ilf.annotate.schema import Answer

        answer_id = session.query(Answer).one().id
    boss = accounts.named(other, "Boss", "owner")
    review.edit(other, boss, answer_id, Draft(candidate=None, text="Rewritten by a reviewer."), None)
    assert other.accepted()[0].assisted == kept.assisted  # nobody can wash it off


def test_earlier_notes_are_ones_own_and_of_the_same_failure_first(on):
    ann, ben = accounts.named(on, "Ann"), accounts.named(on, "Ben")
    answer(on, ann, "Line 2: it adds a constant\nAdd the number to itself. Never print it.")
    answer(on, ben, "Ben says that it adds a constant.")
    assert earlier(on, ann, "ADDS constant") == ["it adds a constant"]
    assert earlier(on, ann, "") == ["it adds a constant", "Add the number to itself.", "Never print it."]
    assert earlier(on, ann, "nowhere") == []
    error = kind_of({"status": "error", "error": "ValueError: no"})
    assert error == "error ValueError" and earlier(on, ann, "print", error) == ["Never print it."]
    assert pieces("") == []


def test_the_report_counts_such_text_apart():
    rows = [
        Feedback(task_id="a", code="x", text="one two", source="human"),
        Feedback(task_id="b", code="x", text="one", source="human", assisted=("verdict", "model")),
    ]
    table = feedback_table("f", "Feedback.", rows)
    assert [row[:2] for row in table.rows] == [["human", 1], ["human, with suggestions (verdict, model)", 1]]


def test_the_page_carries_suggestions_and_refuses_nonsense(site):
    ann, boss = site.person("Ann"), site.person("Boss", "owner")
    form = fields(boss.get("/team").text)
    boss.post("/team/settings", data={**form, "overlap": "1", "idle_minutes": "30", "suggest": "1"})
    assert site.store.settings.suggest
    page = ann.get("/work")
    assert "fails: expected 42, got 22." in page.text
    form = fields(page.text)
    one = {"source": "verdict", "text": SENTENCE, "taken": True}
    address = str(page.url).split("?")[0]
    bad = ann.post(f"{address}/draft", data={**form, "text": "x", "suggested": '{"a": 1}'})
    assert bad.status_code == 422 and "suggested" in bad.text
    bad = ann.post(
        f"{address}/draft", data={**form, "suggested": json.dumps([{**one, "source": "thin air"}])}
    )
    assert bad.status_code == 422
    ann.post(
        f"{address}/submit", data={**form, "text": f"{SENTENCE} Double it.", "suggested": json.dumps([one])}
    )
    assert [row.assisted for row in site.store.accepted()] == [("verdict",)]
    assert ann.get(f"{address}/earlier?q=double it").json() == ["Double it."]
    assert "verdict: taken" in boss.get("/review/1").text
    assert "what became of them" in boss.get("/dashboard").text
