"""Many at once, assignments, a choice between two answers, talk, and the order by expected gain."""

import pytest

from ilf.annotate import accounts, bulk, own_work, queue, review, search, threads, worth
from ilf.annotate.answers import Draft
from ilf.annotate.schema import Answer, Item
from ilf.annotate.search import Filter
from ilf.annotate.store import Refused

TEXT = "It adds a constant; add the number to itself instead."


@pytest.fixture
def team(store):
    """An annotator, another one, a reviewer; what is written waits for review."""
    store.configure(review=True)
    return (
        accounts.named(store, "Ann"),
        accounts.named(store, "Ben"),
        accounts.named(store, "Rev", "reviewer"),
    )


def write(store, person, text=TEXT, **more):
    return queue.submit(store, person, queue.claim(store, person), Draft(text=text, **more))["answer"]


def states(store, *answers):
    with store.read() as session:
        return [session.get(Answer, number).state for number in answers]


def item(store, number):
    with store.read() as session:
        return session.get(Item, number)


def test_many_are_accepted_and_it_can_be_undone(store, team):
    ann, _, rev = team
    answers = [write(store, ann) for _ in range(3)]
    mine = write(store, rev) if queue.claim(store, rev) else None
    batch = bulk.accept(store, rev, [*answers, 999])
    told = bulk.told(store, rev, batch)
    assert mine is None and states(store, *answers) == ["accepted"] * 3
    assert (told.changed, told.left, told.undone) == (3, {"there is no such answer": 1}, False)
    assert len(store.accepted()) == 3
    assert bulk.undo(store, rev, batch) == (3, 0)
    assert states(store, *answers) == ["submitted"] * 3 and store.accepted() == []
    with pytest.raises(Refused, match="undone already"):
        bulk.undo(store, rev, batch)
    actions = [row["action"] for row in own_work.history(store, f"answers/{answers[0]}")]
    assert actions == ["claim", "submit", "accept", "undo"]


def test_what_changed_since_is_not_undone(store, team):
    ann, _, rev = team
    one, two = write(store, ann), write(store, ann)
    batch = bulk.send_back(store, rev, [one, two], "Say which line.")
    assert queue.claim(store, ann) in (1, 2)
    assert [c.text for c, _ in threads.talk(store, ann, two)[1]] == ["Say which line."]
    queue.submit(store, ann, 1, Draft(text=TEXT + " Line 2."))
    assert bulk.undo(store, rev, batch) == (1, 1)
    assert states(store, one, two) == ["submitted", "submitted"]
    assert review.look(store, one)[0].text.endswith("Line 2.")
    # The word that went with the return is gone with it, and stays where the author acted on it.
    assert threads.counts(store, [one, two]) == {one: 1}


def test_nobody_accepts_their_own_among_many_or_undoes_for_others(store, team):
    ann, _, rev = team
    own, other = write(store, rev), write(store, ann)
    batch = bulk.accept(store, rev, [own, other])
    assert states(store, own, other) == ["submitted", "accepted"]
    assert bulk.told(store, rev, batch).left == {"someone else has to review your own answer": 1}
    with pytest.raises(Refused, match="nothing of yours"):
        bulk.undo(store, accounts.named(store, "Rita", "reviewer"), batch)
    with pytest.raises(Refused, match="nothing is marked"):
        bulk.accept(store, rev, [])
    with pytest.raises(Refused, match="say what should be better"):
        bulk.send_back(store, rev, [other], " ")


def test_what_a_run_trains_on_stays(store, team):
    ann, _, rev = team
    one, two = write(store, ann), write(store, ann)
    batch = bulk.accept(store, rev, [one, two])
    store.accepted(mark_used=True)
    assert bulk.undo(store, rev, batch) == (0, 2)
    assert states(store, one, two) == ["accepted", "accepted"]


def test_a_task_given_to_someone_goes_to_nobody_else(store, team):
    ann, ben, rev = team
    batch = bulk.assign(store, rev, [1, 3], ben)
    assert queue.claim(store, ben) == 1  # what was given to one comes first
    assert queue.claim(store, ann) == 2
    queue.submit(store, ann, 2, Draft(text=TEXT))
    assert queue.claim(store, ann) is None
    assert [found.people for found in search.beside(store, [1, 2, 3]).values()] == [["Ben"], [], ["Ben"]]
    bulk.assign(store, rev, [3], ann, "also")
    assert queue.claim(store, ann) == 3
    assert bulk.undo(store, rev, batch) == (1, 1)  # item 3 was given to another one since
    assert [found.people for found in search.beside(store, [1, 3]).values()] == [[], ["Ann", "Ben"]]
    bulk.assign(store, rev, [3], None, "anybody")
    assert search.beside(store, [3])[3].people == []


def test_a_closed_account_keeps_no_task(store, team):
    ann, ben, rev = team
    bulk.assign(store, rev, [1, 2, 3], ben)
    assert queue.claim(store, ann) is None
    accounts.change_person(store, accounts.named(store, "owner", "owner"), ben, active=False)
    assert queue.claim(store, ann) == 1
    with pytest.raises(Refused, match="account is closed"):
        bulk.assign(store, rev, [1], ben)


def test_a_run_does_not_wait_for_tasks_that_those_skipped_who_have_them(store, team):
    _, ben, rev = team
    bulk.assign(store, rev, [1, 2, 3], ben)
    for _ in range(3):
        queue.skip(store, ben, queue.claim(store, ben), "too hard")
    assert store.progress().left == 0
    bulk.assign(store, rev, [2], None, "anybody")
    assert store.progress().left == 1


def test_one_of_two_answers_is_chosen(store, team):
    ann, ben, rev = team
    store.configure(overlap=2)
    one = write(store, ann, tags=["logic"])
    two = write(store, ben, "Another view of the same bug.", tags=["algebra"])
    batch = bulk.choose(store, rev, two)
    assert states(store, one, two) == ["overruled", "accepted"]
    assert [f.text for f in store.accepted()] == ["Another view of the same bug."]
    assert (item(store, 1).state, store.progress().ready) == ("done", 1)
    store.configure(overlap=3)  # a decided task is not asked again
    assert (item(store, 1).needed, item(store, 2).needed) == (1, 3)
    with pytest.raises(Refused, match="nothing to undo"):
        queue.undo(store, ann, 1)
    assert bulk.undo(store, rev, batch) == (3, 0)
    assert states(store, one, two) == ["submitted", "submitted"] and item(store, 1).chosen_id is None
    with pytest.raises(Refused, match="one answer"):
        bulk.choose(store, rev, write(store, ann))


def test_a_reviewer_does_not_choose_where_they_wrote(store, team):
    ann, _, rev = team
    store.configure(overlap=2)
    write(store, rev)
    with pytest.raises(Refused, match="someone else has to review"):
        bulk.choose(store, rev, write(store, ann))


def test_author_and_reviewers_talk(store, team):
    ann, ben, rev = team
    answer = write(store, ann)
    threads.say(store, rev, answer, "Which line?")
    threads.say(store, ann, answer, "The second\0 one.")
    said = threads.talk(store, rev, answer)[1]
    assert [(p.name, c.text) for c, p in said] == [("Rev", "Which line?"), ("Ann", "The second\ufffd one.")]
    for do in (lambda: threads.talk(store, ben, answer), lambda: threads.say(store, ben, answer, "Hm.")):
        with pytest.raises(Refused) as caught:
            do()
        assert caught.value.status == 404
    with pytest.raises(Refused, match="at most 5,000"):
        threads.say(store, ann, answer, "x" * 5001)


def test_lists_are_filtered(store, team):
    ann, ben, rev = team
    one, two = write(store, ann, tags=["logic"]), write(store, ben, "100%_sure of the loop", tags=["regex"])
    bulk.accept(store, rev, [one])
    worth.look_at(store)

    def found(**asked):
        return sorted(answer.id for answer, *_ in search.answers(store, Filter(**asked)).rows)

    assert found() == [one, two] and found(state="waiting") == [two] and found(state="accepted") == [one]
    assert found(category="logic") == [one] and found(category="syntax") == []
    assert found(person=ben) == [two] and found(text="LOOP sure") == [two]
    assert found(text="100%_") == [two] and found(text="_dds") == []  # no wildcards of the database's
    assert found(text="twice variant") == [one, two]  # the task's words
    assert [a.id for a, _ in search.own(store, ann, Filter(text="number")).rows] == [one]
    assert [row.id for row in search.items(store, Filter(state="open")).rows] == [3]
    assert [row.id for row in search.items(store, Filter(person=ben)).rows] == [2]
    page = search.answers(store, Filter(page=2))
    assert (page.total, page.pages, list(page.rows)) == (2, 1, [])


def test_the_most_worthwhile_comes_first(store, team):
    ann, *_ = team
    assert search.categories(store) == []
    store.configure(order="gain")
    worth.look_at(store)
    with store.read() as session:
        gains = {row.id: row.gain for row in session.query(Item)}
        assert all(row.mistake for row in session.query(Item))
    first = max(gains, key=gains.get)
    assert len(set(gains.values())) > 1 and queue.claim(store, ann) == first
    assert [row.id for row in search.items(store, Filter()).rows][0] == first
