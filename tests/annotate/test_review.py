import pytest
from annotate_samples import RIGHT

from ilf.annotate import accounts, own_work, queue, review
from ilf.annotate.answers import Draft
from ilf.annotate.store import Conflict, Refused

TEXT = "It adds a constant; add the number to itself instead."


@pytest.fixture
def team(store):
    store.configure(review=True)
    return accounts.named(store, "Ann"), accounts.named(store, "Rev", "reviewer")


def submitted(store, ann, **more):
    item = queue.claim(store, ann)
    return queue.submit(store, ann, item, Draft(text=TEXT, **more))


def test_only_accepted_answers_count(store, team):
    ann, rev = team
    reply = submitted(store, ann)
    assert reply["state"] == "submitted" and store.accepted() == []
    assert store.progress().waiting == 1
    review.accept(store, rev, reply["answer"])
    assert [f.text for f in store.accepted()] == [TEXT]


def test_a_returned_answer_comes_back_first_with_its_comment(store, team):
    ann, rev = team
    reply = submitted(store, ann)
    other = queue.claim(store, ann)
    review.send_back(store, rev, reply["answer"], "Say how to fix it, too.")
    assert queue.claim(store, ann) == reply["item"] != other
    work = queue.look(store, ann, reply["item"])
    assert work.answer.comment == "Say how to fix it, too." and work.draft.text == TEXT
    again = queue.submit(store, ann, reply["item"], Draft(text=TEXT + " Return x + x."))
    assert again["state"] == "submitted"
    review.accept(store, rev, reply["answer"])
    assert store.accepted()[0].text.endswith("Return x + x.")


def test_a_comment_is_needed(store, team):
    ann, rev = team
    with pytest.raises(Refused, match="comment"):
        review.send_back(store, rev, submitted(store, ann)["answer"], "  ")


def test_an_edit_keeps_the_author_and_both_forms(store, team):
    ann, rev = team
    reply = submitted(store, ann)
    review.edit(
        store, rev, reply["answer"], Draft(text="Clearer words on it.", refinement=RIGHT.format(n=1)), None
    )
    (feedback,) = store.accepted()
    assert feedback.text == "Clearer words on it." and feedback.author == "Ann"
    last = own_work.history(store, f"answers/{reply['answer']}")[-1]
    assert last["action"] == "edit" and last["person_id"] == rev and last["before"]["text"] == TEXT


def test_nobody_reviews_their_own_work_but_the_owner(store, team):
    _, rev = team
    reply = submitted(store, rev)
    with pytest.raises(Refused, match="someone else") as caught:
        review.accept(store, rev, reply["answer"])
    assert caught.value.status == 403
    owner = accounts.named(store, "owner", "owner")
    review.accept(store, owner, submitted(store, owner)["answer"])


def test_a_reviewer_sees_what_changed_meanwhile(store, team):
    ann, rev = team
    reply = submitted(store, ann)
    queue.submit(store, ann, reply["item"], Draft(text=TEXT + " More."))
    with pytest.raises(Conflict):
        review.accept(store, rev, reply["answer"], version=reply["version"])


def test_an_open_item_cannot_be_accepted(store, team):
    ann, rev = team
    reply = submitted(store, ann)
    queue.undo(store, ann, reply["item"])
    with pytest.raises(Refused, match="its author has it open"):
        review.accept(store, rev, reply["answer"])


def test_reassigning_gives_the_item_to_someone_else(store, team):
    ann, rev = team
    reply = submitted(store, ann)
    review.reassign(store, rev, reply["answer"])
    assert queue.claim(store, ann) != reply["item"]
    assert queue.claim(store, accounts.named(store, "Ben")) == reply["item"]
    with pytest.raises(Refused, match="someone else"):
        queue.submit(store, ann, reply["item"], Draft(text=TEXT))


def test_an_accepted_answer_can_be_returned_later(store, team):
    ann, rev = team
    reply = submitted(store, ann)
    review.accept(store, rev, reply["answer"])
    with pytest.raises(Refused, match="accepted this already"):
        queue.undo(store, ann, reply["item"])
    review.send_back(store, rev, reply["answer"], "On second thoughts, no.")
    assert store.accepted() == []


def test_overlapping_answers_are_shown_side_by_side(store, team):
    ann, rev = team
    store.configure(overlap=2)
    reply = submitted(store, ann)
    ben = accounts.named(store, "Ben")
    assert queue.claim(store, ben) == reply["item"]
    queue.submit(store, ben, reply["item"], Draft(text="Another view of the same bug."))
    answer, *_ = review.look(store, reply["answer"])
    assert [person.name for _, person in review.others(store, answer)] == ["Ben"]


def test_a_decision_keeps_what_the_author_was_writing_meanwhile(store, team):
    ann, rev = team
    reply = submitted(store, ann)
    version = queue.look(store, ann, reply["item"]).answer.version
    queue.save_draft(store, ann, reply["item"], version, Draft(text=TEXT + " And more"))
    review.send_back(store, rev, reply["answer"], "Say more.")
    assert queue.look(store, ann, reply["item"]).draft.text == TEXT + " And more"
    # A reviewer's own words are what its author goes on from.
    review.edit(store, rev, reply["answer"], Draft(text="The reviewer's words."), None)
    assert queue.look(store, ann, reply["item"]).draft.text == "The reviewer's words."
