import threading

import pytest
from annotate_samples import RIGHT, make_failures, make_tasks

from ilf.annotate import accounts, own_work, queue, review, search
from ilf.annotate.answers import Draft
from ilf.annotate.checks import MOST_TEXT
from ilf.annotate.store import Conflict, Refused, Store

TEXT = "It adds a constant; add the number to itself instead."


@pytest.fixture
def ann(store):
    return accounts.named(store, "Ann")


@pytest.fixture
def ben(store):
    return accounts.named(store, "Ben")


def answer(store, person, item, text=TEXT, **more):
    return queue.submit(store, person, item, Draft(text=text, **more))


def test_fill_ranks_and_is_idempotent(store, ann):
    tasks = make_tasks(4)
    assert store.fill(tasks, *make_failures(tasks)) == 1  # three were there
    assert store.fill(tasks, *make_failures(tasks)) == 0
    work = queue.look(store, ann, queue.claim(store, ann))
    assert work.task == tasks[0]
    assert [c.rank for c in work.candidates] == [1, 2]
    assert "x + 1" in work.candidates[0].program["code"]  # the one that passes a test


def test_solved_tasks_are_not_queued(tmp_path, clock):
    tasks = make_tasks(2)
    programs, verdicts = make_failures(tasks)
    verdicts[0] = verdicts[0].model_copy(update={"status": "passed"})
    verdicts[3] = verdicts[3].model_copy(update={"status": "sandbox_error"})
    store = Store(tmp_path / "a.db", clock)
    assert store.fill(tasks, programs, verdicts) == 1
    assert store.fill(tasks, [], [], round=2) == 0


def test_empty_programs_are_no_candidates(tmp_path, clock):
    tasks = make_tasks(2)
    programs, verdicts = make_failures(tasks)
    for n in (0, 2, 3):  # one of the first task's, both of the second's
        programs[n] = programs[n].model_copy(update={"code": " \n"})
        verdicts[n] = verdicts[n].model_copy(
            update={"status": "no_code", "program_id": programs[n].program_id}
        )
    store = Store(tmp_path / "a.db", clock)
    assert store.fill(tasks, programs, verdicts) == 1
    ann = accounts.named(store, "Ann")
    assert len(queue.look(store, ann, queue.claim(store, ann)).candidates) == 1


def test_claim_returns_the_item_in_hand(store, ann):
    assert queue.claim(store, ann) == queue.claim(store, ann)


def test_two_people_get_two_items_and_then_none(store, ann, ben):
    first, second = queue.claim(store, ann), queue.claim(store, ben)
    assert first != second
    answer(store, ann, first)
    third = queue.claim(store, ann)
    assert len({first, second, third}) == 3
    answer(store, ann, third)
    assert queue.claim(store, ann) is None
    assert store.progress().left == 1


def test_an_idle_lease_comes_back(store, clock, ann, ben):
    items = {queue.claim(store, ann)}
    for _ in range(2):
        item = queue.claim(store, ben)
        items.add(item)
        answer(store, ben, item)
    assert queue.claim(store, ben) is None
    clock.now += 31 * 60
    mine = queue.claim(store, ben)
    assert mine in items
    with pytest.raises(Refused, match="someone else"):
        answer(store, ann, mine)


def test_typing_keeps_the_lease(store, clock, ann, ben):
    item, version = queue.claim(store, ann), 1
    for n in range(5):
        clock.now += 20 * 60
        saved = queue.save_draft(store, ann, item, version, Draft(text="a" * (n + 1)))
        version = saved.version
        assert saved.held
    assert queue.claim(store, ben) != item


def test_a_draft_outlives_a_lost_lease(store, clock, ann, ben):
    item = queue.claim(store, ann)
    clock.now += 31 * 60
    assert queue.claim(store, ben) == item
    saved = queue.save_draft(store, ann, item, 1, Draft(text="late"))
    assert not saved.held
    assert queue.look(store, ann, item).draft.text == "late"
    assert queue.claim(store, ann) != item


def test_overlap_gives_an_item_to_k_people(store, ann, ben):
    store.configure(overlap=2)
    item = queue.claim(store, ann)
    assert queue.claim(store, ben) == item
    cy = accounts.named(store, "Cy")
    assert queue.claim(store, cy) != item
    answer(store, ann, item)
    assert store.progress().done == 0
    answer(store, ben, item)
    assert store.progress().done == 1
    assert [f.author for f in store.accepted()] == ["Ann", "Ben"]


def test_a_raised_overlap_reopens_done_items(store, ann, ben):
    item = queue.claim(store, ann)
    answer(store, ann, item)
    store.configure(overlap=2)
    assert store.progress().done == 0
    assert queue.claim(store, ben) == item


def test_fifty_threads_never_share_an_item(tmp_path):
    store = Store(tmp_path / "a.db")
    tasks = make_tasks(60)
    store.fill(tasks, *make_failures(tasks))
    people = [accounts.named(store, f"p{n}") for n in range(50)]
    got, start = [], threading.Barrier(50)

    def take(person):
        start.wait()
        got.append(queue.claim(store, person))

    threads = [threading.Thread(target=take, args=(p,)) for p in people]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == 50 and len(set(got)) == 50 and None not in got


def test_two_tabs_do_not_overwrite_each_other(store, ann):
    item = queue.claim(store, ann)
    version = queue.look(store, ann, item).answer.version
    queue.save_draft(store, ann, item, version, Draft(text="first tab"))
    with pytest.raises(Conflict):
        queue.save_draft(store, ann, item, version, Draft(text="second tab"))
    with pytest.raises(Conflict):
        queue.submit(store, ann, item, Draft(text="second tab"), version=version)
    assert queue.look(store, ann, item).draft.text == "first tab"


def test_an_unchanged_draft_keeps_its_version(store, ann):
    item = queue.claim(store, ann)
    first = queue.save_draft(store, ann, item, 1, Draft(text="same"))
    assert queue.save_draft(store, ann, item, first.version, Draft(text="same")).version == first.version


def test_the_same_text_saved_twice_is_no_conflict(store, ann):
    item = queue.claim(store, ann)
    first = queue.save_draft(store, ann, item, 1, Draft(text="same"))
    assert queue.save_draft(store, ann, item, 1, Draft(text="same")).version == first.version


def test_submit_is_idempotent_by_key(store, ann):
    item = queue.claim(store, ann)
    draft = Draft(text=TEXT)
    reply = queue.submit(store, ann, item, draft, key="k1")
    assert queue.submit(store, ann, item, draft, key="k1") == reply
    assert len(own_work.history(store, f"answers/{reply['answer']}")) == 2  # claim, submit
    with pytest.raises(Refused, match="another request"):
        queue.submit(store, ann, item, Draft(text="something else here"), key="k1")


@pytest.mark.parametrize(
    "draft, message",
    [
        (Draft(text="  "), "no feedback yet"),
        (Draft(text="x", kind="feedback", candidate=99), "one of this task's"),
        (Draft(text="x" * (MOST_TEXT + 1)), "at most"),
        (Draft(text="x", tags=["nonsense"]), "unknown tag"),
        (Draft(kind="tests_wrong"), "which test"),
    ],
)
def test_what_cannot_be_submitted(store, ann, draft, message):
    item = queue.claim(store, ann)
    with pytest.raises(Refused, match=message) as caught:
        queue.submit(store, ann, item, draft)
    assert caught.value.status == 422
    assert store.accepted() == []


def test_the_answer_holds_everything(store, clock, ann):
    item = queue.claim(store, ann)
    work = queue.look(store, ann, item)
    clock.now += 100
    queue.submit(
        store, ann, item,
        Draft(candidate=work.candidates[1].id, text=TEXT, tags=["logic", "algebra"], bugs=2, refinement=RIGHT.format(n=1)),
        seconds=90,
    )  # fmt: skip
    (feedback,) = store.accepted()
    assert feedback.code == work.candidates[1].program["code"]
    assert feedback.refinement == RIGHT.format(n=1)
    assert (feedback.author, feedback.seconds, feedback.bugs, feedback.tags) == (
        "Ann",
        90,
        2,
        ("logic", "algebra"),
    )
    assert (
        feedback.model == "m0" and feedback.source == "human" and feedback.created == "2027-01-15T08:01:40Z"
    )


def test_seconds_never_exceed_the_clock(store, clock, ann):
    item = queue.claim(store, ann)
    clock.now += 10
    saved = queue.save_draft(store, ann, item, 1, Draft(text="a"), seconds=9999)
    assert queue.look(store, ann, item).answer.seconds <= 15
    clock.now += 10
    queue.save_draft(store, ann, item, saved.version, Draft(text="ab"), seconds=2)
    assert queue.look(store, ann, item).answer.seconds >= 10  # never goes down


def test_skip_gives_the_item_to_someone_else(store, ann, ben):
    item = queue.claim(store, ann)
    queue.skip(store, ann, item, "too hard", "regular expressions")
    assert queue.claim(store, ann) != item
    assert queue.claim(store, ben) == item
    assert queue.look(store, ann, item).answer.reason == "too hard: regular expressions"
    with pytest.raises(Refused, match="unknown reason"):
        queue.skip(store, ben, item, "bored")


def test_two_people_who_find_a_task_ambiguous_bring_it_before_a_reviewer(store, ann, ben):
    item = queue.claim(store, ann)
    queue.skip(store, ann, item, "ambiguous")
    assert queue.claim(store, ben) == item
    queue.skip(store, ben, item, "ambiguous", "which order?")
    cy = accounts.named(store, "Cy")
    assert queue.claim(store, cy) != item
    assert [i.id for _, i, _ in review.waiting(store)] == [item, item]
    review.decide(store, cy, item, remove=False)
    assert queue.claim(store, accounts.named(store, "Di")) == item
    assert review.waiting(store) == []


def test_wrong_tests_take_the_item_out_until_decided(store, ann, ben):
    item = queue.claim(store, ann)
    queue.submit(
        store, ann, item, Draft(kind="tests_wrong", text="The second assert contradicts the description.")
    )
    assert store.progress().questioned == 1
    assert queue.claim(store, ben) != item
    review.decide(store, ben, item, remove=False, comment="21 doubled is 42.")
    assert queue.claim(store, ann) == item  # back to its author first
    assert queue.look(store, ann, item).answer.comment == "21 doubled is 42."
    answer(store, ann, item)
    assert len(store.accepted()) == 1


def test_wrong_tests_agreed_removes_the_item(store, ann, ben):
    item = queue.claim(store, ann)
    queue.submit(
        store, ann, item, Draft(kind="tests_wrong", text="The second assert contradicts the description.")
    )
    review.decide(store, ben, item, remove=True)
    assert store.progress().removed == 1 and store.progress().items == 2
    assert store.accepted() == []


def test_undo_brings_everything_back(store, ann):
    item = queue.claim(store, ann)
    answer(store, ann, item, tags=["logic"], refinement=RIGHT.format(n=1))
    queue.undo(store, ann, item)
    assert store.accepted() == [] and store.progress().done == 0
    draft = queue.look(store, ann, item).draft
    assert (draft.text, draft.tags, draft.refinement) == (TEXT, ["logic"], RIGHT.format(n=1))
    assert queue.claim(store, ann) == item


def test_undo_a_skip_unless_someone_has_it(store, ann, ben):
    item = queue.claim(store, ann)
    queue.skip(store, ann, item, "later")
    queue.undo(store, ann, item)
    assert queue.look(store, ann, item).answer.state == "open"
    queue.skip(store, ann, item, "later")
    assert queue.claim(store, ben) == item
    with pytest.raises(Refused, match="someone else"):
        queue.undo(store, ann, item)


def test_undo_of_wrong_tests_reopens_the_item(store, ann):
    item = queue.claim(store, ann)
    queue.submit(store, ann, item, Draft(kind="tests_wrong", text="The second assert is wrong, I think."))
    queue.undo(store, ann, item)
    assert store.progress().questioned == 0
    assert queue.claim(store, ann) == item


def test_revising_replaces_and_keeps_history(store, ann):
    item = queue.claim(store, ann)
    reply = answer(store, ann, item)
    saved = queue.save_draft(store, ann, item, reply["version"], Draft(text="half a thou"))
    assert [f.text for f in store.accepted()] == [TEXT]  # an unfinished revision changes nothing
    queue.submit(store, ann, item, Draft(text="Better words about the same bug here."), version=saved.version)
    assert [f.text for f in store.accepted()] == ["Better words about the same bug here."]
    log = own_work.history(store, f"answers/{reply['answer']}")
    assert [row["action"] for row in log] == ["claim", "submit", "draft", "revise"]
    assert log[-1]["before"]["text"] == TEXT and log[-1]["person_id"] == ann


def test_what_a_run_uses_stays(store, ann):
    item = queue.claim(store, ann)
    answer(store, ann, item)
    store.accepted(mark_used=True)
    for change in (
        lambda: queue.undo(store, ann, item),
        lambda: answer(store, ann, item, text="another text altogether, much later"),
        lambda: queue.save_draft(store, ann, item, None, Draft(text="x")),
        lambda: review.send_back(store, accounts.named(store, "Rev", "reviewer"), 1, "hm"),
    ):
        with pytest.raises(Refused, match="trains"):
            change()


def test_drafts_share_a_row_of_history_a_minute(store, clock, ann):
    item, version = queue.claim(store, ann), 1
    for n in range(10):
        clock.now += 2
        version = queue.save_draft(store, ann, item, version, Draft(text="x" * (n + 1))).version
    clock.now += 120
    queue.save_draft(store, ann, item, version, Draft(text="y"))
    drafts = [row for row in own_work.history(store, "answers/1") if row["action"] == "draft"]
    assert len(drafts) == 2
    assert drafts[0]["after"]["draft"]["text"] == "x" * 10


def test_strangers_are_refused(store, ann, ben):
    item = queue.claim(store, ann)
    for act in (queue.look, queue.undo, queue.reopen):
        with pytest.raises(Refused) as caught:
            act(store, ben, item)
        assert caught.value.status == 404


def test_the_same_text_on_another_item_is_seen(store, ann):
    first = queue.claim(store, ann)
    answer(store, ann, first)
    second = queue.claim(store, ann)
    assert queue.seen_elsewhere(store, second, TEXT.upper())
    assert not queue.seen_elsewhere(store, first, TEXT)
    assert not queue.seen_elsewhere(store, second, "")


def test_my_progress(store, clock, ann):
    for seconds in (60, 120):
        item = queue.claim(store, ann)
        clock.now += seconds
        queue.submit(store, ann, item, Draft(text=TEXT), seconds=seconds)
    clock.now += 1
    queue.skip(store, ann, queue.claim(store, ann), "other")
    mine = own_work.my_progress(store, ann)
    assert (mine.answered, mine.skipped, mine.median_seconds) == (2, 1, 90)
    assert [a.state for a, _ in search.own(store, ann, search.Filter()).rows] == [
        "skipped",
        "accepted",
        "accepted",
    ]
    assert store.progress().median_seconds == 90


def test_a_queue_that_everyone_skipped_is_nobodys(store, ann):
    for _ in range(3):
        queue.skip(store, ann, queue.claim(store, ann), "too hard")
    assert store.progress().left == 0
