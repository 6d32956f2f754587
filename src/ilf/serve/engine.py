"""The threads that take programs from the queue, each with a warm jail of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from ilf.errors import IlfError, first_line
from ilf.records import Program, Task, Verdict
from ilf.sandbox.limits import Limits
from ilf.sandbox.verify import Verifier, Where
from ilf.serve.queue import FairQueue, Item
from ilf.serve.script import Ended, run_script
from ilf.serve.settings import Settings

STRETCH = 64
"""Programs that a thread takes one behind the other before it looks back: one that ran out of time on a busy
core is run again, and answered, only then."""
STRETCH_SECONDS = 2.0
"""After which it looks back in any case."""
JAILS = 3
"""Sets of limits for which a thread keeps a warm jail."""
RENEWED = 20_000
"""Programs after which a jail is replaced: what is known about tasks is never forgotten by one."""


class Group(NamedTuple):
    """What programs that one jail can run have in common."""

    limits: Limits
    isolation: Where
    repeat: int
    script: bool = False


@dataclass(frozen=True)
class Script:
    """A program to be run, not judged."""

    code: str
    stdin: str


class Broken(NamedTuple):
    """There is no result: the task cannot be used. Not the program's fault."""

    reason: str


Result = Verdict | Ended | Broken


class Engine:
    """Threads and their jails; a context manager, which finishes what is in the queue.

    Args:
        queue: where items come from; their work is a pair (task, program), or a `Script`.
        settings: of the server.
        told: called with each item, its result, and the seconds it took, in a thread.
    """

    def __init__(
        self, queue: FairQueue, settings: Settings, told: Callable[[Item, Result, float], None]
    ) -> None:
        self.queue, self.settings, self.told = queue, settings, told
        self.running = 0
        self._threads = [
            threading.Thread(target=self._serve, name=f"jail-{number}", daemon=True)
            for number in range(settings.workers)
        ]

    def __enter__(self) -> Engine:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.queue.close()
        for thread in self._threads:
            thread.join()

    @property
    def alive(self) -> bool:
        """Whether every thread is at work."""
        return all(thread.is_alive() for thread in self._threads)

    def _serve(self) -> None:
        jails: dict[Group, Verifier] = {}
        counts: dict[Group, int] = {}
        try:
            while (item := self.queue.take()) is not None:
                group = item.group
                assert isinstance(group, Group)
                try:
                    verifier = self._jail(jails, counts, group)
                except Exception as error:  # no jail just now: that is this program's end, not the server's
                    self._answer(item, Broken(f"the sandbox failed: {first_line(error)}"), 0.0)
                    continue
                counts[group] += self._stretch(verifier, group, item)
        finally:
            for verifier in jails.values():
                verifier.close()

    def _jail(self, jails: dict[Group, Verifier], counts: dict[Group, int], group: Group) -> Verifier:
        """A thread's warm jail for a group, or a new one, for which the one used longest ago may go."""
        if counts.get(group, 0) > RENEWED:
            jails.pop(group).close()
        if group not in jails:
            while len(jails) >= JAILS:
                oldest = next(iter(jails))
                counts.pop(oldest)
                jails.pop(oldest).close()
            jails[group] = Verifier(
                limits=group.limits, workers=1, unsafe=self.settings.unsafe, isolation=group.isolation
            )
            counts[group] = 0
        jails[group] = verifier = jails.pop(group)
        return verifier

    def _stretch(self, verifier: Verifier, group: Group, first: Item) -> int:
        """Run an item and those of its group that come next; how many."""
        begun: list[Item] = []
        until = time.monotonic() + STRETCH_SECONDS
        answered = 0

        def items() -> Iterator[Item]:
            item: Item | None = first
            while item is not None:
                begun.append(item)
                yield item
                if len(begun) >= STRETCH or time.monotonic() > until:
                    return
                item = self.queue.take(group, block=False)

        def pairs() -> Iterator[tuple[Task, Program]]:
            for item in items():
                yield item.work

        last = time.monotonic()
        try:
            results = self._scripts(verifier, items()) if group.script else None
            for result in results or verifier.judge(pairs(), repeat=group.repeat, workers=1):
                now = time.monotonic()
                self._answer(begun[answered], result, now - last)
                answered, last = answered + 1, now
        except Exception:
            # A task that cannot be used, or a fault of ours, takes nobody else's programs with it.
            for item in begun[answered:]:
                self._alone(verifier, group, item)
        return len(begun)

    def _scripts(self, verifier: Verifier, items: Iterator[Item]) -> Iterator[Ended]:
        for item in items:
            yield run_script(verifier, item.work.code, item.work.stdin)

    def _alone(self, verifier: Verifier, group: Group, item: Item) -> None:
        started = time.monotonic()
        result: Result
        try:
            if group.script:
                [result] = self._scripts(verifier, iter([item]))
            else:
                [result] = verifier.judge([item.work], repeat=group.repeat, workers=1)
        except IlfError as error:
            result = Broken(str(error))
        except Exception as error:
            result = Broken(first_line(error))
        self._answer(item, result, time.monotonic() - started)

    def _answer(self, item: Item, result: Result, seconds: float) -> None:
        self.queue.ran(item, seconds)
        self.told(item, result, seconds)
        item.deliver(result)
