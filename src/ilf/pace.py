"""How long a step will still take, from what it has reported so far.

By the share of finished samples alone the answer is wrong for most of a step: all samples of a batch begin
together, so that for long none is finished; then the short ones end, one after the other, while the last few
of a batch, which run to the limit, take as long as all the others. Measured on recorded steps (tests/traces),
a batch takes

    prompts + a · passes + b · tokens

with a pass for every token of its longest sample. a and b are fitted as passes come in, lengths are learnt as
samples end; before that, both are guessed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Protocol

OVERHEAD = 35.0
"""A pass costs as much as so many tokens more, guessed: 34 to 40 on the processor of the traces."""
PROMPT = 100.0
"""A prompt costs as much as so many tokens, guessed: 110 and 90 there."""
_LENGTH = 30.0
"""Tokens a sample, guessed: the mean of the traces, which have 20 to 38."""
_SPREAD = 0.8
"""Of the logarithm of lengths, guessed: mean over median was 1.4 in two traces."""
_ENDLESS = 0.02
"""Share of samples that go on to the limit, guessed: they say one thing over and over."""
_GUESSED = 20.0
"""Samples that the guessed shape of lengths, and passes that a guessed cost, count for."""
_FEW = 5.0
"""Samples that the guessed length counts for."""


class Pace(Protocol):
    """Hears what a step reports, and says what is left."""

    def heard(self, at: float, done: int, tokens: int) -> None:
        """At so many seconds, so many more units are finished and tokens computed."""
        ...

    def left(self, at: float) -> float | None:
        """Seconds still to go; None as long as nothing is known."""
        ...


class Steady:
    """Units that cost much the same, one after the other or some at a time: verdicts, optimiser steps.

    Time counts from the first report: before it something was opened.
    """

    def __init__(self, total: int) -> None:
        self._left = total
        self._since = self._last = 0.0
        self._before = self._done = 0
        """Units of the first report, and of all."""

    def heard(self, at: float, done: int, tokens: int) -> None:
        """See `Pace`."""
        if not done:
            return
        first = self._before == self._done
        self._done += done
        self._left -= done
        self._last = at
        # Units that end together are told one by one.
        if first and at <= 1.01 * (self._since or at):
            self._since, self._before = at, self._done

    def left(self, at: float) -> float | None:
        """See `Pace`."""
        if not self._done or self._left <= 0:
            return None
        if self._done == self._before:  # one report says no more than this
            return self._since / self._done * self._left
        return (self._last - self._since) / (self._done - self._before) * self._left


@dataclass(frozen=True)
class Plan:
    """The sampling that a step has before it."""

    batches: tuple[int, ...]
    """Samples of each, one batch after the other."""
    n: int
    """Samples a prompt."""
    most: int
    """Tokens a sample, at most."""


class Batched:
    """Samples of an engine that reports each pass, in batches that begin together and drain; see above.

    Where fewer are under way than a batch has (no pass was heard to compute a token of each), places are
    filled as they come free, and the pace is taken for steady.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._steady = Steady(sum(plan.batches))
        guess = _survivors(_lognormal(min(_LENGTH, 0.9 * plan.most), plan.most))
        self._guess = [_FEW * share for share in guess]
        # By the pass of its batch: samples that took part, and that ended with it, over all batches.
        self._exposed, self._ended = [0.0] * (plan.most + 1), [0.0] * (plan.most + 1)
        self._costs = _Costs()
        self._batch = 0
        self._prompts: list[float] = []
        """Seconds of each batch's prompts, a sample."""
        self._begin(0.0)

    def _begin(self, at: float) -> None:
        self._since, self._last = at, at
        self._passes, self._done, self._begun = 0, 0, 0

    @property
    def _size(self) -> int:
        return self._plan.batches[min(self._batch, len(self._plan.batches) - 1)]

    def heard(self, at: float, done: int, tokens: int) -> None:
        """See `Pace`."""
        self._steady.heard(at, done, tokens)
        if tokens:
            if self._begun < self._size:  # prompts are still being computed
                # A pass is over all that are under way; any other number are the first tokens of new ones.
                begin = tokens if tokens != self._begun - self._done else 0
                self._begun = min(self._size, max(self._begun + begin, self._done + tokens))
                self._prompted(at)
            else:
                self._costs.add(at - self._last, tokens)
            self._passes = min(self._passes + 1, self._plan.most)
            self._exposed[self._passes] += tokens
            self._last = at
        if done:
            self._done += done
            self._ended[self._passes] += done
            if self._done >= self._size:
                self._batch += 1
                self._begin(at)

    def _prompted(self, at: float) -> None:
        rate = (at - self._since) / self._begun
        self._prompts[self._batch :] = [rate]
        self._costs.guess(self._plan.n * rate / PROMPT)

    def left(self, at: float) -> float | None:
        """See `Pace`."""
        if self._batch >= len(self._plan.batches) or not self._prompts:
            return None
        if self._full():
            return self._steady.left(at)
        rest = self._prompts[-1] * self._size - (at - self._since) if self._begun < self._size else 0.0
        survival = self._survival()
        alive = self._size - self._done
        now = survival[self._passes] or 1.0
        rest += self._pass_seconds(alive, [s / now for s in survival[self._passes + 1 :]])
        for size in self._plan.batches[self._batch + 1 :]:
            rest += self._prompts[-1] * size + self._pass_seconds(size, survival[1:])
        return max(0.0, rest)

    def _full(self) -> bool:
        """Whether the engine has no room for the whole batch: samples end and others still wait to begin."""
        return self._begun < self._size and self._done > 0.1 * self._size

    def _pass_seconds(self, alive: int, survival: Sequence[float]) -> float:
        a, b = self._costs.fitted()
        # A pass is needed as long as one sample is left.
        return sum(a * -math.expm1(alive * math.log1p(-min(s, 1 - 1e-12))) + b * alive * s for s in survival)

    def _survival(self) -> list[float]:
        """The share of samples that take part in pass 0, 1, …: as seen, and guessed where nothing was."""
        # The mean length that makes what was seen, and a few samples as guessed, end as often as they did.
        seen = sum(self._ended[:-1]) + _FEW
        trials = [exposed + guess for exposed, guess in zip(self._exposed, self._guess, strict=True)]
        low, high = 0.0, math.log(self._plan.most)
        for _ in range(12):
            middle = (low + high) / 2
            chances = _lognormal(math.exp(middle), self._plan.most)
            many = sum(trial * h for trial, h in zip(trials[:-1], chances[:-1], strict=True)) > seen
            low, high = (middle, high) if many else (low, middle)
        hazards = [
            min(1.0, (ended + _GUESSED * h) / (exposed + _GUESSED))
            for ended, exposed, h in zip(self._ended, self._exposed, chances, strict=True)
        ]
        return _survivors(hazards)


class _Costs:
    """Least squares of seconds a pass = a + b · tokens, drawn to a = `OVERHEAD` · b and to a guessed b."""

    def __init__(self) -> None:
        self._n = self._k = self._kk = self._t = self._kt = 0.0
        self._guess: float | None = None

    def guess(self, b: float) -> None:
        """What a token may cost, by what prompts did."""
        self._guess = b

    def add(self, seconds: float, tokens: int) -> None:
        """A pass."""
        self._n += 1
        self._k += tokens
        self._kk += tokens * tokens
        self._t += seconds
        self._kt += tokens * seconds

    def fitted(self) -> tuple[float, float]:
        """a and b, in seconds."""
        w = _GUESSED
        # (a - OVERHEAD·b)² · w, as so many passes that said so.
        n, k, kk = self._n + w, self._k - w * OVERHEAD, self._kk + w * OVERHEAD**2
        t, kt = self._t, self._kt
        if self._guess is not None:
            kk += 4 * OVERHEAD**2
            kt += 4 * OVERHEAD**2 * self._guess
        determinant = n * kk - k * k
        if determinant <= 0:
            return 0.0, 0.0
        a, b = (t * kk - k * kt) / determinant, (n * kt - k * t) / determinant
        return max(a, 0.0), max(b, 0.0)


def _survivors(hazards: Sequence[float]) -> list[float]:
    """The share that takes part in pass 0, 1, …: whoever does in pass l did not end in an earlier one."""
    return [1.0, *accumulate((1.0 - h for h in hazards[1:-1]), lambda s, h: s * h, initial=1.0)]


def _lognormal(mean: float, most: int) -> list[float]:
    """The guessed chance to end with pass 0, 1, …, most, of those that got there."""
    median = math.log(max(mean, 1.0)) - _SPREAD**2 / 2

    def beyond(length: int) -> float:
        ended = 0.5 * math.erfc((median - math.log(length)) / (_SPREAD * math.sqrt(2))) if length else 0.0
        return 1.0 - (1.0 - _ENDLESS) * ended

    hazards = [0.0]
    for length in range(1, most):
        before, after = beyond(length - 1), beyond(length)
        hazards.append(1.0 - after / before if before > 1e-12 else 1.0)
    return [*hazards, 1.0]
