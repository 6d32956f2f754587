"""Actors on the nodes of a cluster, and the batches they have in hand.

Each actor has one batch more in hand than it works on, so that none waits for this process. Results come
back in the batches' order, at most `WINDOW` batches an actor ahead of it. What a lost actor had in hand is
given out again first; its node gets another actor, until it has lost `STRIKES` of them. Nodes that come later
are found.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from ilf.errors import IlfError, SandboxFailure, SandboxUnavailable, first_line
from ilf.progress import say
from ilf.ray.actors import About, Counts

WINDOW = 4
"""Batches an actor that may be given out, or done, before the oldest one's result is taken."""
STRIKES = 3
"""Actors that a node may lose, and lost attempts at a batch."""
LOOK_SECONDS = 10.0
"""Between two looks for new nodes."""
PATIENCE = 120.0
"""Seconds to wait for a node, where the cluster has none."""


@dataclass(frozen=True)
class Node:
    """A node of the cluster."""

    id: str
    name: str
    cpus: int
    gpus: int


@dataclass(eq=False)
class Member:
    """An actor on a node."""

    actor: Any
    node: Node
    about: About | None = None
    """Once it is open."""
    hand: list[Batch] = field(default_factory=list)


@dataclass(eq=False)
class Batch:
    """The arguments of one call of `do`."""

    arguments: tuple[Any, ...]
    result: Any = None
    done: bool = False
    attempts: int = 0


class Crew:
    """See above.

    Args:
        ray: the library, connected.
        nodes: the nodes that are there now.
        hire: starts the actors of a node.
        opening: arguments of the actors' `open`.
        lanes: batches that an actor works on at a time.
        judge: what is wrong with a node whose counts are these; None where nothing is.
        failure: the error for when no node is left.
    """

    def __init__(
        self,
        ray: Any,
        nodes: Callable[[], list[Node]],
        hire: Callable[[Node], list[Any]],
        opening: tuple[Any, ...],
        lanes: int,
        judge: Callable[[Counts], str | None],
        failure: Callable[[str], IlfError],
    ) -> None:
        self._ray, self._nodes, self._hire, self._opening = ray, nodes, hire, opening
        self._lanes, self._judge, self._failure = lanes, judge, failure
        self._members: list[Member] = []
        self._under_way: dict[Any, tuple[Member, Batch | None]] = {}
        self._strikes: Counter[str] = Counter()
        self._out: dict[str, str] = {}
        """Nodes that get no more work, and why."""
        self._looked = self._waited = 0.0
        self._again: deque[Batch] = deque()
        self._done: dict[str, Counter[str]] = defaultdict(Counter)
        """What each node did, for `_judge`."""
        self._told: dict[str, Counter[str]] = defaultdict(Counter)

    def begin(self) -> Member:
        """Start actors on every node; the first one that is ready.

        Raises:
            IlfError: none can be opened.
        """
        began: float | None = time.monotonic()
        while True:
            self._look()
            for member in self._members:
                if member.about is not None:
                    return member
            self._wait()
            if began is not None and time.monotonic() - began > PATIENCE:
                say("    still waiting for the first node: others may be using the cluster (`ray status`)")
                began = None

    def run(self, calls: Iterable[tuple[Any, ...]]) -> Iterator[Any]:
        """What `do` gives for each tuple of arguments, in order.

        Raises:
            IlfError: what an actor raised, or no node is left.
        """
        source = iter(calls)
        order: deque[Batch] = deque()
        exhausted = False
        try:
            while True:
                while order and order[0].done:
                    yield order.popleft().result
                self._look()
                ready = [member for member in self._members if member.about is not None]
                for depth in range(self._lanes + 1):
                    for member in ready:
                        if len(member.hand) != depth:
                            continue
                        if not self._again and not exhausted and len(order) < WINDOW * (len(ready) + 1):
                            for arguments in islice(source, 1):
                                self._again.append(Batch(arguments))
                                order.append(self._again[-1])
                                break
                            else:
                                exhausted = True
                        if self._again:
                            self._give(member, self._again.popleft())
                if exhausted and not order:
                    return
                self._wait()
        finally:
            self._again.clear()
            if any(member.hand for member in self._members):
                self.close()  # the caller stopped early: what is under way ends with it

    def ask(self, method: str, *arguments: Any) -> Any:
        """One call of another method, on any actor; it is made again where that actor is lost."""
        while True:
            member = self.begin()
            reference = getattr(member.actor, method).remote(*arguments)
            try:
                return self._ray.get(reference)
            except self._ray.exceptions.RayError as error:
                if (cause := _cause(error)) is not None:
                    raise cause from error
                self._lose(member, first_line(error))

    def counts(self) -> dict[str, Counter[str]]:
        """What each node did since this was last asked, by its name."""
        told, self._told = self._told, defaultdict(Counter)
        return told

    def close(self) -> None:
        """End every actor: an idle one by its own `close`, a busy one at once."""
        idle = [member for member in self._members if member.about is not None and not member.hand]
        with suppress(self._ray.exceptions.RayError):
            self._ray.wait([m.actor.close.remote() for m in idle] or [self._ray.put(0)],
                           num_returns=max(1, len(idle)), timeout=5)  # fmt: skip
        for member in self._members:
            self._end(member)
        self._members.clear()
        self._under_way.clear()
        self._looked = 0.0

    def _end(self, member: Member) -> None:
        with suppress(Exception):  # it is gone, whatever the library calls that
            self._ray.kill(member.actor)

    def _look(self) -> None:
        """Start actors where there are none."""
        if self._members and time.monotonic() - self._looked < LOOK_SECONDS:
            return
        self._looked = time.monotonic()
        manned = {member.node.id for member in self._members}
        for node in self._nodes():
            if node.id in manned or node.id in self._out:
                continue
            for actor in self._hire(node):
                member = Member(actor, node)
                self._members.append(member)
                self._under_way[actor.open.remote(*self._opening)] = member, None

    def _give(self, member: Member, batch: Batch) -> None:
        member.hand.append(batch)
        self._under_way[member.actor.do.remote(*batch.arguments)] = member, batch

    def _wait(self) -> None:
        """Until something is done: a batch, an actor's start, or its end."""
        if not self._under_way:
            self._nobody()
            return
        self._waited = 0.0
        ready, _ = self._ray.wait(list(self._under_way), num_returns=1, timeout=1.0)
        for reference in ready:
            member, batch = self._under_way.pop(reference)
            try:
                self._take(member, batch, self._ray.get(reference))
            except self._ray.exceptions.RayError as error:
                cause = _cause(error)
                blamed = IlfError if batch is None else (SandboxFailure, SandboxUnavailable)
                if isinstance(cause, blamed):
                    self._leave_out(member.node, cause)
                elif cause is not None:
                    raise cause from error
                else:
                    self._lose(member, first_line(error))

    def _take(self, member: Member, batch: Batch | None, value: Any) -> None:
        if batch is None:
            member.about = value
            return
        member.hand.remove(batch)
        result, counts = value
        done = self._done[member.node.id]
        done.update(counts)
        problem = self._judge(dict(done))
        if problem is not None:
            self._told[member.node.name].update({"sandbox_error": counts.get("sandbox_error", 0)})
            self._again.append(batch)
            self._leave_out(member.node, SandboxFailure(problem))
            return
        self._told[member.node.name].update(counts)
        batch.result, batch.done = result, True

    def _drop(self, member: Member) -> None:
        """An actor gets no more work; what it had in hand comes first for the others."""
        if member in self._members:
            self._members.remove(member)
        for reference in [ref for ref, (owner, _) in self._under_way.items() if owner is member]:
            del self._under_way[reference]
        self._again.extendleft(reversed(member.hand))
        member.hand = []
        self._end(member)

    def _lose(self, member: Member, why: str) -> None:
        """An actor is dead, or its node is."""
        node = member.node
        for batch in member.hand[: self._lanes]:
            batch.attempts += 1
            if batch.attempts >= STRIKES:
                raise self._failure(
                    f"{STRIKES} processes died of the same batch, the last on {node.name}: {why}"
                )
        say(f"    lost a process on node {node.name}; {len(member.hand)} batches are done again")
        self._drop(member)
        self._strikes[node.id] += 1
        if self._strikes[node.id] >= STRIKES:
            self._leave_out(node, SandboxFailure(f"it lost {STRIKES} processes, the last by: {why}"))
        self._looked = 0.0

    def _leave_out(self, node: Node, why: Exception) -> None:
        for member in [member for member in self._members if member.node.id == node.id]:
            self._drop(member)
        self._out[node.id] = str(why)
        say(f"    node {node.name} is left out: {why}")
        if not self._members and not [n for n in self._nodes() if n.id not in self._out]:
            # A user's mistake is the same on every node.
            raise why if not isinstance(why, SandboxFailure) else self._failure(f"node {node.name}: {why}")

    def _nobody(self) -> None:
        """No actor is there: wait for a node."""
        now = time.monotonic()
        if not self._waited:
            say("    the cluster has no node that could work: waiting for one")
            self._waited = now
        if now - self._waited > PATIENCE:
            raise self._failure(f"the cluster had no node that could work for {PATIENCE:.0f} s")
        time.sleep(1.0)


def _cause(error: Any) -> Exception | None:
    """What the code of an actor raised; None where the actor or its node is gone."""
    cause = getattr(error, "cause", None)
    return cause if isinstance(cause, Exception) else None
