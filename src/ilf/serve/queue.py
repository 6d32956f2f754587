"""The one queue between requests and jails: bounded, and fair between clients.

Who has had the fewest seconds is served next. Where programs take equally long that is round-robin; where one
client's are slow, it waits longer for its next turn, and the others' share of the cores stays theirs.
"""

from __future__ import annotations

import collections
import math
import threading
import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any

REMEMBER = 0.9
"""Share of the old in a running mean."""
FIRST_GUESS = 0.005
"""Seconds of a program, of a client that has shown none yet."""


class Full(Exception):
    """No room for what a client sends.

    Args:
        client: whether it is the client's own share that is full, not the whole queue.
        wait: seconds after which there should be room.
    """

    def __init__(self, client: bool, wait: int) -> None:
        super().__init__(client, wait)
        self.client, self.wait = client, wait


@dataclass(eq=False)
class Item:
    """One program of a request."""

    client: str
    group: Hashable
    """Items of one group can be run by the same warm jail, one behind the other."""
    work: Any
    deliver: Callable[[Any], None]
    """Takes the result; called in a thread of the engine's."""
    dropped: Callable[[], bool]
    """Whether nobody waits any more."""
    since: float = field(default_factory=time.monotonic)
    charged: float = 0.0


class _Client:
    def __init__(self) -> None:
        self.items: collections.deque[Item] = collections.deque()
        self.used = 0.0
        self.expected = FIRST_GUESS
        self.pending = 0


class FairQueue:
    """Items of all clients.

    Args:
        most: items that are pending, of all clients: queued, running, or done and not taken yet.
        most_client: of one client.
        workers: how many take items.
    """

    def __init__(self, most: int, most_client: int, workers: int) -> None:
        self.most, self.most_client, self.workers = most, most_client, workers
        self.clients: dict[str, _Client] = {}
        self.pending = 0
        self.closed = False
        self._changed = threading.Condition()

    def put(self, items: Sequence[Item]) -> None:
        """Take all items of one client, or none.

        Raises:
            Full: there is no room.
        """
        with self._changed:
            client = self.clients.setdefault(items[0].client, _Client())
            if client.pending + len(items) > self.most_client:
                raise Full(True, self._wait(client.pending))
            if self.pending + len(items) > self.most:
                raise Full(False, self._wait(self.pending))
            if not client.items:
                # Time in which it asked for nothing is not saved up.
                active = [other.used for other in self.clients.values() if other.items]
                client.used = max(client.used, min(active, default=client.used))
            client.items.extend(items)
            client.pending += len(items)
            self.pending += len(items)
            self._changed.notify(len(items))

    def _wait(self, ahead: int) -> int:
        """Seconds until about half of so many items are done."""
        mean = max((client.expected for client in self.clients.values() if client.pending), default=0.0)
        return min(60, max(1, math.ceil(ahead * mean / self.workers / 2)))

    def take(self, group: Hashable = None, *, block: bool = True) -> Item | None:
        """The next item; None where it is not of the `group` wanted, there is none, or the queue is closed.

        Args:
            group: None takes any.
            block: wait for one.
        """
        with self._changed:
            while True:
                for client in self.clients.values():
                    while client.items and client.items[0].dropped():
                        client.items.popleft()
                waiting = [client for client in self.clients.values() if client.items]
                if waiting:
                    client = min(waiting, key=lambda one: one.used)
                    if group is not None and client.items[0].group != group:
                        return None
                    item = client.items.popleft()
                    item.charged = client.expected
                    client.used += item.charged
                    return item
                if self.closed or not block:
                    return None
                self._changed.wait()

    def ran(self, item: Item, seconds: float) -> None:
        """Note what an item took of a core."""
        with self._changed:
            client = self.clients[item.client]
            client.used += seconds - item.charged
            client.expected = REMEMBER * client.expected + (1 - REMEMBER) * seconds

    def taken(self, name: str, count: int) -> None:
        """A client has got results, or went away without them: there is room for as many items."""
        with self._changed:
            self.clients[name].pending -= count
            self.pending -= count

    def depths(self) -> dict[str, int]:
        """Items that wait to be run, by client."""
        with self._changed:
            return {name: len(client.items) for name, client in self.clients.items()}

    def close(self) -> None:
        """Let who waits for items go, once all are taken."""
        with self._changed:
            self.closed = True
            self._changed.notify_all()
