"""Feedback from people: queue what the model failed, wait for the annotation store, take what is accepted."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from ilf.errors import DataError, Waiting
from ilf.feedback import candidates, recorded
from ilf.progress import say
from ilf.records import Feedback, Program, Task, Verdict

if TYPE_CHECKING:
    from ilf.annotate.store import Store
    from ilf.config import VerifyConfig
    from ilf.feedback.sources import Asked
    from ilf.places import Place
    from ilf.runfolder import RunFolder

POLL_SECONDS = 2.0
_SAY_SECONDS = 60.0


def from_people(asked: Asked, place: Place) -> list[Feedback]:
    """The feedback source `human`: what people write on the page of `ilf annotate`; raises as `collect`."""
    settings = asked.settings
    return collect(
        asked.folder, asked.tasks, asked.programs, asked.verdicts, round=asked.round, wanted=settings.wanted,
        wait=settings.wait, only_unsolved=settings.only_unsolved, filters=settings.filter, seed=asked.seed,
        verify=asked.verify,
    )  # fmt: skip


def collect(
    folder: RunFolder,
    tasks: Mapping[str, Task],
    programs: Iterable[Program],
    verdicts: Iterable[Verdict],
    *,
    round: int = 1,
    wanted: int | None = None,
    wait: bool = False,
    only_unsolved: bool = True,
    filters: bool = True,
    seed: int = 0,
    verify: VerifyConfig | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> list[Feedback]:
    """Accepted feedback on the tasks that no program solved, through the paper's filters, one item a task.

    The queue of the run's store is filled first. What is accepted is marked as used: its authors can no
    longer change it, so that the run's files and the store agree.

    Args:
        folder: the run folder.
        tasks: by id, in the order in which people see them.
        programs: samples of the model.
        verdicts: one a program.
        round: of the run.
        wanted: go on with this many accepted items (where an item was asked of several people, accepted from
            each); all of the round's by default. Where fewer are left
            (tasks taken out, skipped by everyone), with those.
        wait: stay until people are done, instead of leaving and saying how to go on.
        only_unsolved: only tasks that no program solved.
        filters: apply the paper's filters to what is accepted (`recorded.choose`).
        seed: of the choice of one item a task, where several people answered it.
        verify: how the server should run programs (kept in the store for `ilf annotate`).
        sleep: how to wait.

    Raises:
        Waiting: not enough is accepted yet, and `wait` is not set.
        DataError: there is nothing to ask people about, or nothing was accepted and nothing is left to do.
    """
    try:
        from ilf.annotate import worth
        from ilf.annotate.store import MOST, Store
    except ModuleNotFoundError as error:
        from ilf.errors import missing

        raise missing(error.name or "sqlalchemy", "annotate") from None

    where = (
        (folder.path / "annotations.url").read_text().strip() if _elsewhere(folder) else folder.annotations
    )
    store = Store(where)
    try:
        wrong = candidates(programs, verdicts, only_unsolved=only_unsolved, most=MOST)
        new = store.queue(list(tasks.values()), wrong, round)
        if verify is not None:
            store.set_state("verify", verify.model_dump(mode="json"))
        if new:
            worth.look_at(store)
            say(f"    {new} tasks are queued for people")
        if store.progress(round).items == 0:
            raise DataError("there is nothing to ask people about: the model solved every task it was given")
        accepted = _when_enough(store, folder, round, wanted, wait, sleep)
    finally:
        store.close()
    items, counts = recorded.choose(accepted, tasks, filters=filters, seed=seed, verify=verify)
    for what, count in counts.items():
        say(f"    {what}: {count}")
    return items


def _elsewhere(folder: RunFolder) -> bool:
    """`ilf annotate RUN --database URL` leaves the URL beside the run."""
    return (folder.path / "annotations.url").is_file()


def _when_enough(
    store: Store,
    folder: RunFolder,
    round: int,
    wanted: int | None,
    wait: bool,
    sleep: Callable[[float], None],
) -> list[Feedback]:
    from ilf.annotate.page import OwnPage

    said = 0.0
    goal = 0

    def tell(state: str, accepted: int) -> None:
        store.set_state(
            "run",
            {"state": state, "round": round, "wanted": goal, "accepted": accepted, "seen": store.clock(),
             "pid": os.getpid()},
        )  # fmt: skip

    page = OwnPage(store, folder)
    try:
        while True:
            now = store.progress(round)
            goal = min(wanted, now.items) if wanted is not None else now.items
            if now.ready >= goal or now.left == 0:
                if now.accepted == 0:
                    raise DataError(
                        "no feedback was accepted, and nothing is left in the queue: every task was "
                        "skipped or taken out"
                    )
                feedback = store.accepted(round, mark_used=True)
                ready = len({item.task_id for item in feedback})
                if now.ready < goal:
                    say(f"    going on with {ready} of {goal} items: nothing else is left in the queue")
                tell("done", ready)
                return feedback
            tell("waiting", now.ready)
            if not (wait or page.offer()):
                raise Waiting(
                    f"{now.ready} of {goal} items are accepted. People write feedback with:\n"
                    f"  ilf annotate {folder.path}\n"
                    "and the same `ilf run` goes on from here. To make it wait and go on by itself: "
                    "--set feedback.wait=true"
                )
            if time.monotonic() - said >= _SAY_SECONDS or not said:
                said = time.monotonic()
                say(f"    waiting: {now.ready} of {goal} accepted (ilf annotate {folder.path})")
            sleep(POLL_SECONDS)
    except BaseException:
        now = store.progress(round)
        tell("stopped", now.ready)
        raise
    finally:
        page.close()
