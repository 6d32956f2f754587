import sys
from pathlib import Path

import pytest

pytest.importorskip("sqlalchemy", reason="the extra 'annotate' is not installed")
sys.path.append(str(Path(__file__).parents[1] / "annotate"))

from annotate_samples import make_failures, make_tasks

from ilf.annotate import accounts, own_work, queue
from ilf.annotate.answers import Draft
from ilf.annotate.collect import collect
from ilf.annotate.store import Store
from ilf.errors import DataError, Waiting
from ilf.runfolder import RunFolder

TEXT = "It adds a constant; add the number to itself instead."


@pytest.fixture
def folder(tmp_path):
    return RunFolder(tmp_path)


@pytest.fixture
def failed():
    tasks = make_tasks(3)
    return {task.task_id: task for task in tasks}, *make_failures(tasks)


def answer(folder, count=1):
    store = Store(folder.annotations)
    ann = accounts.named(store, "Ann")
    for n in range(count):
        queue.submit(store, ann, queue.claim(store, ann), Draft(text=f"{TEXT} {n}"))
    store.close()


def test_without_waiting_it_says_how_to_go_on(folder, failed):
    with pytest.raises(Waiting, match="0 of 3 items are accepted.*\n  ilf annotate"):
        collect(folder, *failed)
    answer(folder)
    with pytest.raises(Waiting, match="1 of 3"):
        collect(folder, *failed)
    answer(folder, 2)
    assert [f.task_id for f in collect(folder, *failed)] == ["t1", "t2", "t3"]
    assert len(collect(folder, *failed)) == 3  # a repeated step gets the same


def test_waiting_goes_on_by_itself(folder, failed):
    waits = []

    def sleep(seconds):
        waits.append(Store(folder.annotations).state("run"))
        answer(folder)

    feedback = collect(folder, *failed, wanted=2, wait=True, sleep=sleep)
    assert len(feedback) == 2 and len(waits) == 2
    assert waits[1]["state"] == "waiting" and waits[1]["wanted"] == 2 and waits[1]["accepted"] == 1
    assert Store(folder.annotations).state("run")["state"] == "done"


def test_what_is_used_stays_as_it_is(folder, failed):
    with pytest.raises(Waiting):
        collect(folder, *failed)
    answer(folder, 3)
    collect(folder, *failed)
    store = Store(folder.annotations)
    with pytest.raises(Exception, match="trains"):
        queue.undo(store, accounts.named(store, "Ann"), 1)
    assert [row["action"] for row in own_work.history(store, "answers/1")] == ["claim", "submit", "use"]


def test_it_goes_on_with_less_when_nothing_is_left(folder, failed):
    with pytest.raises(Waiting):
        collect(folder, *failed)
    answer(folder, 2)
    store = Store(folder.annotations)
    ann = accounts.named(store, "Ann")
    queue.skip(store, ann, queue.claim(store, ann), "too hard")
    assert len(collect(folder, *failed)) == 2


def test_nothing_to_ask_and_nothing_answered(folder, failed):
    tasks, programs, verdicts = failed
    solved = [v.model_copy(update={"status": "passed"}) for v in verdicts]
    with pytest.raises(DataError, match="nothing to ask"):
        collect(folder, tasks, programs, solved)
    with pytest.raises(Waiting):
        collect(folder, tasks, programs, verdicts)
    store = Store(folder.annotations)
    ann = accounts.named(store, "Ann")
    for _ in range(3):
        queue.skip(store, ann, queue.claim(store, ann), "too hard")
    with pytest.raises(DataError, match="no feedback was accepted"):
        collect(folder, tasks, programs, verdicts)


def test_ctrl_c_leaves_word(folder, failed):
    def interrupt(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        collect(folder, *failed, wait=True, sleep=interrupt)
    assert Store(folder.annotations).state("run")["state"] == "stopped"


def test_the_papers_filters_hold_for_people_too(folder, failed):
    with pytest.raises(Waiting):
        collect(folder, *failed)
    store = Store(folder.annotations)
    ann = accounts.named(store, "Ann")
    fixed = "def double_{n}(x):\n    return x + x\n"
    for n, refinement in enumerate(
        [fixed.format(n=1), "def double_2(x):\n    return x + 22\n", "y" * 500], start=1
    ):
        queue.submit(store, ann, queue.claim(store, ann), Draft(text=f"{TEXT} {n}", refinement=refinement))
    assert [f.refinement for f in collect(folder, *failed)] == [fixed.format(n=1)]
    assert len(collect(folder, *failed, filters=False)) == 3


def test_one_item_a_task_with_overlap(folder, failed):
    Store(folder.annotations).configure(overlap=2)
    with pytest.raises(Waiting):
        collect(folder, *failed)
    store = Store(folder.annotations)
    for name in ("Ann", "Ben"):
        person = accounts.named(store, name)
        for n in range(3):
            with pytest.raises(Waiting, match=f"{n if name == 'Ben' else 0} of 3"):
                collect(folder, *failed)
            queue.submit(store, person, queue.claim(store, person), Draft(text=f"{name}: {TEXT} {n}"))
    assert [f.task_id for f in collect(folder, *failed)] == ["t1", "t2", "t3"]


def test_an_item_that_nobody_else_can_take_is_not_waited_for(folder, failed):
    Store(folder.annotations).configure(overlap=2)
    with pytest.raises(Waiting):
        collect(folder, *failed)
    store = Store(folder.annotations)
    ann, ben = accounts.named(store, "Ann"), accounts.named(store, "Ben")
    for n in range(3):
        queue.submit(store, ann, queue.claim(store, ann), Draft(text=f"{TEXT} {n}"))
        with pytest.raises(Waiting):
            collect(folder, *failed)
        queue.skip(store, ben, queue.claim(store, ben), "too hard")
    assert len(collect(folder, *failed)) == 3
