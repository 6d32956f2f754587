"""One rule, many programs: a note said about other tasks that fail in the same way."""

import pytest
from annotate_pages import fields
from annotate_samples import make_failures, make_tasks

from ilf.annotate import accounts, alike, bulk, own_work, queue, worth
from ilf.annotate.answers import Draft
from ilf.annotate.schema import Answer, Item
from ilf.annotate.store import Refused
from ilf.records import Program, Verdict

NOTE = "It adds a constant; add the number to itself instead."


@pytest.fixture
def note(store):
    """Ann's note on the first of five tasks; four fail alike, the last one by a syntax error."""
    tasks = make_tasks(5)
    programs, verdicts = make_failures(tasks)
    broken = Program(task_id="t5", code="def double_5(x):\n    return x +\n", index=0)
    error = Verdict(
        task_id="t5", program_id=broken.program_id, status="error", tests=(None, None),
        error="SyntaxError: invalid syntax", line=2,
    )  # fmt: skip
    store.fill(tasks, [*programs[6:8], broken], [*verdicts[6:8], error])
    worth.look_at(store)
    ann = accounts.named(store, "Ann")
    return queue.submit(store, ann, queue.claim(store, ann), Draft(text=NOTE, tags=["logic"]))["answer"]


def test_a_note_becomes_drafts_where_it_was_confirmed(store, note):
    ann = accounts.named(store, "Ann")
    *_, found = alike.look(store, ann, note)
    assert sorted(one.item.task_id for one in found) == ["t2", "t3", "t4"]
    assert all(0 < one.likeness <= 1 for one in found)
    assert [one.likeness for one in found] == sorted((one.likeness for one in found), reverse=True)
    batch = alike.apply(store, ann, note, {2: NOTE, 4: NOTE + " Here 4."})
    assert bulk.told(store, ann, batch).changed == 2
    draft = queue.look(store, ann, 4).draft
    assert (draft.text, draft.tags, draft.refinement) == (NOTE + " Here 4.", ["logic"], None)
    assert store.progress().accepted == 1  # nothing is said for her: she submits each, with its refinement
    ben = accounts.named(store, "Ben")
    assert queue.claim(store, ben) == 3 and queue.claim(store, ann) in (2, 4)
    log = own_work.history(store, f"answers/{queue.look(store, ann, 2).answer.id}")
    assert [(row["action"], (row["after"] or {}).get("from")) for row in log] == [
        ("claim", None), ("apply note", f"answers/{note}"),
    ]  # fmt: skip


def test_untouched_drafts_are_taken_back(store, note):
    ann = accounts.named(store, "Ann")
    batch = alike.apply(store, ann, note, {2: NOTE, 3: NOTE})
    queue.save_draft(store, ann, 3, None, Draft(text="Her own words by now."))
    assert bulk.undo(store, ann, batch) == (1, 1)
    with store.read() as session:
        assert sorted(answer.item_id for answer in session.query(Answer)) == [1, 3]
    assert queue.claim(store, accounts.named(store, "Ben")) == 2


def test_tasks_of_others_and_of_another_kind_are_left(store, note):
    ann, ben = accounts.named(store, "Ann"), accounts.named(store, "Ben")
    assert queue.claim(store, ben) == 2
    batch = alike.apply(store, ann, note, {2: NOTE, 5: NOTE, 1: NOTE, 99: NOTE, 3: NOTE})
    told = bulk.told(store, ann, batch)
    assert told.changed == 1 and sum(told.left.values()) == 4
    with store.read() as session:
        assert session.get(Item, 5).mistake != session.get(Item, 1).mistake
    for texts in ({}, {4: " "}, {4: "x" * 20_001}):
        with pytest.raises(Refused):
            alike.apply(store, ann, note, texts)


def test_who_may_say_it_elsewhere(site, note):
    reviewer, stranger, ann = (
        site.person("Rev", "reviewer"),
        site.person("Eve"),
        accounts.named(site.store, "Ann"),
    )
    assert stranger.get(f"/alike/{note}").status_code == 404
    csrf = fields(stranger.get("/mine").text)
    assert stranger.post(f"/alike/{note}", data={**csrf, "row": "2", "text2": NOTE}).status_code == 404
    page = reviewer.get(f"/alike/{note}")
    assert page.text.count("The note holds here") == 3 and "Note by Ann" in page.text
    page = reviewer.post(f"/alike/{note}", data={**fields(page.text), "row": ["2"], "text2": NOTE})
    assert "1 noted." in page.text and "Ann gets them next" in page.text
    assert queue.look(site.store, ann, 2).draft.text == NOTE  # the author stays the author
    undo = reviewer.post("/batches/1/undo", data={**fields(page.text), "back": f"alike/{note}"})
    assert "Undone" in undo.text and str(undo.url).endswith(f"/alike/{note}?batch=1")
    assert f"/alike/{note}" in reviewer.get(f"/review/{note}").text
