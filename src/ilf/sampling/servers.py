"""The servers of engine `openai`: which one gets the next request, and when.

- Load: the server with the smallest share of its limit in use is next.
- Adaptive concurrency, a limit a server: one request more after as many answers as the limit has (additive
  increase, and only while the limit is what holds requests back), half of it when the server refuses for load
  or does not answer in time (multiplicative decrease, once a round trip: Chiu and Jain 1989).
- A refusal for load pauses the server as long as its `Retry-After` says, else for a time that doubles from
  refusal to refusal, with jitter.
- A server that cannot be reached, or that fails three times in a row, is left out until it answers a health
  check (`GET /models`); the checks are further apart each time.
- A budget of requests and tokens in any 60 seconds, over all servers together.
"""

from __future__ import annotations

import logging
import math
import random
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

log = logging.getLogger(__name__)

Kind = Literal["overload", "unreachable", "failed"]
"""Refused for load (429, 503, 529); no connection; an error of the server's own (5xx), no answer in time."""
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
LONGEST_RETRY_AFTER = 600.0
"""Seconds: servers that all ask for more than this are not waited for."""
_FAILURES = 3
_CHECK_SECONDS = 5.0
_MINUTE = 60.0


class NoServer(Exception):
    """No server is left to ask and none is worth waiting for; the message says why."""


def pause(times: int, longest: float = LONGEST_PAUSE) -> float:
    """Seconds to wait after so many failures in a row: doubling, with jitter of half of it."""
    return min(longest, FIRST_PAUSE * 2.0 ** (min(times, 32) - 1)) * random.uniform(0.5, 1.0)


class Budget:
    """At most so many requests and tokens in any 60 seconds.

    Args:
        requests: a minute; None is any number.
        tokens: a minute, of prompts and answers; None is any number.
    """

    def __init__(self, requests: int | None = None, tokens: int | None = None) -> None:
        self._requests, self._tokens = requests or math.inf, tokens or math.inf
        self._spent: deque[list[float]] = deque()  # [when, tokens], the oldest first
        self._sum = 0.0

    def wait(self, tokens: float, now: float) -> float:
        """Seconds until a request of so many tokens fits; 0 when it fits now.

        One that is larger than the budget of a minute fits when nothing else was spent.
        """
        while self._spent and self._spent[0][0] <= now - _MINUTE:
            self._sum -= self._spent.popleft()[1]
        until, count, left = now, len(self._spent), self._sum
        for when, spent in self._spent:
            if count < self._requests and left + tokens <= self._tokens:
                break
            until, count, left = when + _MINUTE, count - 1, left - spent
        return until - now

    def take(self, tokens: float, now: float) -> list[float]:
        """Spend for a request; `correct` takes what this returns."""
        entry = [now, tokens]
        self._spent.append(entry)
        self._sum += tokens
        return entry

    def correct(self, entry: list[float], tokens: float) -> None:
        """A request took other than the expected tokens."""
        if self._spent and entry[0] >= self._spent[0][0]:  # else it is out of the window
            self._sum += tokens - entry[1]
        entry[1] = tokens


class Server:
    """One server, as its answers show it.

    Args:
        client: an `openai.OpenAI` without retries of its own.
        start: requests at once to begin with.
        most: requests at once at most.
    """

    def __init__(self, client: Any, start: int, most: int) -> None:
        self.client, self.url = client, str(client.base_url)
        self.refused: set[str] = set()
        """Fields that it does not take."""
        self.in_flight, self.limit, self.most = 0, float(start), most
        self.down = self.checking = False
        self.problem: Exception | None = None
        """What made it be left out, or paused."""
        self.failures = 0
        """In a row."""
        self.not_before = 0.0
        self.changed = -math.inf
        """When it last failed: what was sent before that says nothing new."""

    @property
    def free(self) -> bool:
        """Whether its limit has room."""
        return self.in_flight < int(self.limit)


@dataclass(frozen=True)
class Ticket:
    """Leave to send one request; goes back by `Pool.done` or `Pool.failed`."""

    server: Server
    sent: float
    full: bool
    """With it the server's limit was used up."""
    spent: list[float]


class Pool:
    """Hands out servers to threads.

    Args:
        servers: those there are.
        budget: over all of them.
        retries: health checks of servers none of which has ever answered.
        patience: seconds that all servers may be gone once one has answered.
        clock: seconds, rising.
    """

    def __init__(
        self,
        servers: list[Server],
        budget: Budget,
        retries: int,
        patience: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.servers = servers
        self.answers = 0
        """Requests answered so far."""
        self._budget, self._retries, self._patience, self._clock = budget, retries, patience, clock
        self._state = threading.Condition()
        self._gone_since: float | None = None

    def acquire(self, tokens: float, stopped: threading.Event) -> Ticket | None:
        """Wait for the next server with room; None once `stopped` is set.

        Args:
            tokens: what the request will take at most, for the budget.
            stopped: nobody wants the answer any more.

        Raises:
            NoServer: none is there to wait for.
        """
        while True:
            with self._state:
                if stopped.is_set():
                    return None
                now = self._clock()
                server = self._next(now)
                if server is None:
                    self._state.wait(self._until_next(now))
                    continue
                if not server.down:
                    if wait := self._budget.wait(tokens, now):
                        self._state.wait(wait)
                        continue
                    server.in_flight += 1
                    return Ticket(server, now, not server.free, self._budget.take(tokens, now))
                server.checking = True
            problem = _check(server)
            with self._state:
                server.checking = False
                if problem is None:
                    log.warning("%s answers again", server.url)
                    server.down, self._gone_since = False, None
                else:
                    self._leave_out(server, problem, self._clock())
                self._state.notify_all()

    def done(self, ticket: Ticket, tokens: float | None) -> None:
        """A request was answered, and took so many tokens (None: not known)."""
        with self._state:
            server = self._back(ticket, tokens)
            self.answers += 1
            if server.changed <= ticket.sent:
                server.failures = 0
            if ticket.full and server.limit < server.most and server.changed <= ticket.sent:
                server.limit = min(server.most, server.limit + 1 / server.limit)

    def failed(self, ticket: Ticket, kind: Kind, problem: Exception, wait: float | None = None) -> None:
        """A request was not answered.

        Args:
            ticket: of the request.
            kind: what went wrong.
            problem: the error, for the message where it does not get better.
            wait: seconds that the server asks for (`Retry-After`).
        """
        with self._state:
            server, now = self._back(ticket, 0.0), self._clock()
            server.problem = problem
            if server.changed <= ticket.sent:  # not one of several that failed together
                server.changed = now
                server.failures += 1
                server.limit = max(1.0, server.limit / 2)
                if kind == "unreachable" or (kind == "failed" and server.failures >= _FAILURES):
                    self._leave_out(server, problem, now, again=False)
                elif kind == "overload" and wait is None:
                    server.not_before = now + pause(server.failures)
            if wait is not None:
                server.not_before = max(server.not_before, now + wait * random.uniform(1.0, 1.1))
                if wait > _MINUTE:
                    log.warning("%s asks to wait %.0f s (Retry-After)", server.url, wait)

    def refused(self, ticket: Ticket) -> None:
        """A request was answered with a refusal of the request itself: the server is well."""
        with self._state:
            self._back(ticket, 0.0)

    def wake(self) -> None:
        """Let the waiting threads look whether they are still wanted."""
        with self._state:
            self._state.notify_all()

    def _back(self, ticket: Ticket, tokens: float | None) -> Server:
        ticket.server.in_flight -= 1
        if tokens is not None:
            self._budget.correct(ticket.spent, tokens)
        self._state.notify_all()
        return ticket.server

    def _next(self, now: float) -> Server | None:
        """The server to use or to check now."""
        ready = [server for server in self.servers if server.not_before <= now and not server.checking]
        for server in ready:
            if server.down:
                return server
        free = [server for server in ready if server.free]
        return min(free, key=lambda server: (server.in_flight / server.limit, random.random()), default=None)

    def _until_next(self, now: float) -> float | None:
        """Seconds until one's pause is over; None where an answer or a check will tell.

        Raises:
            NoServer: all are gone for too long.
        """
        waits = [server.not_before - now for server in self.servers if server.not_before > now]
        if len(waits) == len(self.servers) and min(waits) > LONGEST_RETRY_AFTER:
            raise NoServer(f"asks to wait {min(waits):.0f} s (Retry-After)")
        if all(server.down for server in self.servers):
            if not self.answers:
                if min(server.failures for server in self.servers) > self._retries:
                    raise NoServer("cannot be reached")
            elif now - (self._gone_since or now) > self._patience:
                raise NoServer(f"has been away for {self._patience:.0f} s (patience)")
        return min(waits, default=None)

    def _leave_out(self, server: Server, problem: Exception, now: float, again: bool = True) -> None:
        if again:
            server.failures += 1
        if not server.down:
            alone = all(other.down for other in self.servers if other is not server)
            rest = "waiting for it" if alone else "its work goes to the others"
            log.warning("%s does not answer (%s); %s", server.url, type(problem).__name__, rest)
        server.down, server.problem = True, problem
        server.not_before = now + pause(server.failures)
        if all(one.down for one in self.servers) and self._gone_since is None:
            self._gone_since = now


def _check(server: Server) -> Exception | None:
    """What is wrong with a server, by its list of models; None where it answers, whatever it answers."""
    import openai

    try:
        server.client.with_options(timeout=_CHECK_SECONDS).models.list()
    except openai.APIStatusError as error:
        return error if error.status_code in (500, 502, 503, 504) else None
    except openai.APIConnectionError as error:
        return error
    except (openai.OpenAIError, ValueError):  # something that is no list of models, but an answer
        return None
    return None
