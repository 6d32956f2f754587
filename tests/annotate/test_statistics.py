import json

import pytest
from annotate_samples import RIGHT, make_tasks
from sqlalchemy import select

from ilf import bugkinds, policy
from ilf.annotate import accounts, queue, statistics
from ilf.annotate.answers import Draft
from ilf.annotate.schema import Answer
from ilf.annotate.store import Store
from ilf.config import EngineConfig
from ilf.records import Verdict, write_jsonl

TEXT = "one two three four five six seven eight nine ten"


def verdict(status):
    return Verdict(task_id="t", program_id="p", status=status)


@pytest.fixture
def worked(store, clock):
    """Ann: a good refinement, one that fails, one that changes everything. Ben: the first item, too."""
    store.configure(overlap=2)
    ann, ben = accounts.named(store, "Ann"), accounts.named(store, "Ben")
    for number, (code, status) in enumerate(
        [
            (RIGHT.format(n=1), "passed"),
            ("def double_2(x):\n    return x + 9\n", "failed"),
            ("z" * 400, "passed"),
        ],
        start=1,
    ):
        item = queue.claim(store, ann)
        clock.now += 60 * number
        draft = Draft(text=TEXT, tags=["logic", "algebra"][:number], bugs=number, refinement=code)
        queue.submit(store, ann, item, draft, seconds=60.0 * number, checked=verdict(status))
    item = queue.claim(store, ben)
    clock.now += 30
    queue.submit(store, ben, item, Draft(text=TEXT + " eleven twelve", tags=["algebra"]), seconds=30)
    queue.skip(store, ben, queue.claim(store, ben), "too hard")
    return store


def test_filters_words_bugs_and_times(worked):
    total = statistics.dashboard(worked).total
    assert (total.answers, total.skips, total.refinements) == (4, 1, 3)
    assert (total.passing, total.close, total.kept) == (2, 2, 1)
    assert total.words_mean == 10.5 and total.words_sd == 1.0
    assert total.bugs_mean == 2.0
    assert total.median_seconds == 90 and total.per_hour is None  # four answers are no pace
    assert total.categories["logic"] == 3 and total.categories["algebra"] == 3 and total.tagged == 4


def test_a_rate_from_five_timed_answers_on(worked, clock):
    ben = accounts.named(worked, "Ben")
    item = queue.claim(worked, ben)
    clock.now += 30
    queue.submit(worked, ben, item, Draft(text=TEXT), seconds=30)
    assert statistics.dashboard(worked).total.per_hour == pytest.approx(3600 * 5 / 420)


def test_a_skip_and_an_open_page_are_no_work(store, clock):
    ann = accounts.named(store, "Ann")
    item = queue.claim(store, ann)
    clock.now += 150
    queue.skip(store, ann, item, "too hard")
    queue.undo(store, ann, item)
    clock.now += 150
    queue.skip(store, ann, item, "too hard")
    with store.read() as session:
        assert [answer.seconds for answer in session.scalars(select(Answer))] == [0.0]


def test_untagged_answers_get_kinds_by_rule_and_are_not_counted_as_tagged(store):
    ann = accounts.named(store, "Ann")
    queue.submit(
        store, ann, queue.claim(store, ann), Draft(text="The recursion has no base case here at all.")
    )
    queue.submit(store, ann, queue.claim(store, ann), Draft(text="The recursion is wrong.", tags=["logic"]))
    total = statistics.dashboard(store).total
    assert total.suggested == {"recursion": 1}
    assert total.tagged == 1 and total.categories["recursion"] == 0


def test_what_a_model_named_stands_in_the_rules_place(store, tmp_path):
    ann = accounts.named(store, "Ann")
    for text in (
        "The recursion has no base case.",
        "Nothing a table knows.",
        "It adds where it should double.",
    ):
        queue.submit(store, ann, queue.claim(store, ann), Draft(text=text))
    store.close()
    write_jsonl(tmp_path / "tasks.jsonl", make_tasks(3))
    rows = [("It adds where", "algebra, logic"), ("The recursion has", "missing step")]
    said = "".join(json.dumps({"contains": a, "completions": [b]}) + "\n" for a, b in rows)
    (tmp_path / "script.jsonl").write_text(said)
    model = policy.get(tmp_path / "script.jsonl", EngineConfig(name="scripted"), "chat")
    bugkinds.tag_answers(tmp_path, str(tmp_path / "tasks.jsonl"), model)
    total = statistics.dashboard(Store(tmp_path / "annotations.db")).total
    # Of the third answer it named nothing, and it says so instead of guessing.
    assert total.suggested == {"algebra": 1, "logic": 1, "missing step": 1}
    assert total.by_model == 3 and total.tagged == 0


def test_each_person(worked):
    people = {figures.name: figures for figures in statistics.dashboard(worked).people}
    assert set(people) == {"Ann", "Ben"}
    assert people["Ann"].answers == 3 and people["Ben"].skips == 1 and people["Ben"].refinements == 0


def test_agreement_on_items_answered_twice(worked):
    agreement = statistics.dashboard(worked).agreement
    assert agreement.items == 1 and agreement.same_program == 1.0
    assert agreement.tags == 0.0  # logic against algebra
    assert agreement.both_fixed is None  # Ben wrote no refinement


def test_throughput_has_no_gaps():
    hours, bucket = statistics._throughput([0.0, 10.0, 3600.0 * 3])
    assert bucket == 3600 and hours == [(0.0, 2), (3600.0, 0), (7200.0, 0), (10800.0, 1)]
    days, bucket = statistics._throughput([0.0, 86400.0 * 9])
    assert bucket == 86400 and len(days) == 10
    assert statistics._throughput([]) == ([], 3600.0)


def test_an_empty_store(store):
    board = statistics.dashboard(store)
    assert board.total.answers == 0 and board.total.words_mean is None and board.agreement is None
    assert board.people == []
