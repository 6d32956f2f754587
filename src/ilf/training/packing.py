"""Which examples are computed together: no padding, and a shared prompt only once.

A *pack* is one row of tokens. Each of its segments is a prompt followed by the completions it has in this
batch; every completion attends to the prompt and to itself, at the positions it would have alone. Under
causal attention the prompt's activations do not depend on what follows, so this computes what the examples
would give one by one.
"""

from __future__ import annotations

import math
import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class Row:
    """A tokenised example: what is given, what is learnt (end token included), and how much it counts."""

    prompt: tuple[int, ...]
    completion: tuple[int, ...]
    weight: float = 1.0
    index: int = 0
    """Position among the examples as they were given."""
    offset: int = 0
    """Number of its first label among the labels of all rows."""

    @property
    def length(self) -> int:
        """Tokens that go through the model: the last one predicts nothing."""
        return len(self.prompt) + len(self.completion) - 1


@dataclass
class Pack:
    """Token rows to compute together: one without padding, or several padded on the right.

    `labels[i]` is predicted at flat position `label_at[i]` (row times width plus column), counts
    `label_weight[i]`, and is number `label_number[i]` among the labels of all rows.
    """

    width: int = 0
    input_ids: list[int] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    segments: list[tuple[int, tuple[int, ...]]] = field(default_factory=list)
    """Prompt length and completion input lengths of each segment; empty for padded rows."""
    real: list[int] = field(default_factory=list)
    """Tokens of each padded row that are not padding."""
    label_at: list[int] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    label_weight: list[float] = field(default_factory=list)
    label_number: list[int] = field(default_factory=list)

    @property
    def tokens(self) -> int:
        """Tokens computed, padding included."""
        return len(self.input_ids)

    def _learn(self, prompt_end: int, start: int, row: Row) -> None:
        """Note the labels of `row`, whose prompt ends before `prompt_end` and completion begins at
        `start`."""
        at = [prompt_end - 1, *range(start, start + len(row.completion) - 1)]
        labels, numbers = row.completion, range(row.offset, row.offset + len(row.completion))
        if not row.prompt:  # nothing comes before the first token, so nothing predicts it
            at, labels, numbers = at[1:], labels[1:], numbers[1:]
        self.label_at += at
        self.labels += labels
        self.label_weight += [row.weight] * len(labels)
        self.label_number += numbers

    def add_segment(self, rows: Sequence[Row]) -> None:
        """Append examples of one prompt, which is computed once."""
        prompt = rows[0].prompt
        prompt_end = self.tokens + len(prompt)
        self.input_ids += prompt
        self.positions += range(len(prompt))
        for row in rows:
            start = self.tokens
            self.input_ids += row.completion[:-1]
            self.positions += range(len(prompt), row.length)
            self._learn(prompt_end, start, row)
        self.segments.append((len(prompt), tuple(len(row.completion) - 1 for row in rows)))
        self.width = self.tokens

    @classmethod
    def padded(cls, rows: Sequence[Row], pad: int) -> Pack:
        """Rows one under the other, for models whose attention cannot be told about segments."""
        pack = cls(width=max(row.length for row in rows))
        for row in rows:
            start = pack.tokens
            pack.input_ids += [*row.prompt, *row.completion[:-1], *[pad] * (pack.width - row.length)]
            pack.positions += range(pack.width)
            pack.real.append(row.length)
            pack._learn(start + len(row.prompt), start + len(row.prompt), row)
        return pack


def batches(
    rows: Sequence[Row], batch_size: int, epochs: int, seed: int, order: Literal["shuffled", "grouped"]
) -> list[list[Row]]:
    """The rows of every optimiser step of all epochs; an epoch's last step may be smaller."""
    steps = []
    for epoch in range(epochs):
        rng = random.Random(f"{seed}/{epoch}")
        shuffled = rng.sample(list(rows), len(rows))
        if order == "grouped":
            first = {row.prompt: i for i, row in reversed(list(enumerate(shuffled)))}
            shuffled.sort(key=lambda row: first[row.prompt])
        steps += [shuffled[i : i + batch_size] for i in range(0, len(shuffled), batch_size)]
    return steps


def packs(rows: Sequence[Row], budget: int) -> list[Pack]:
    """Pack the rows of a step into as few rows of about `budget` tokens as first-fit-decreasing finds.

    An example longer than `budget` gets a pack of its own.
    """
    by_prompt: dict[tuple[int, ...], list[Row]] = defaultdict(list)
    for row in rows:
        by_prompt[row.prompt].append(row)
    segments = [segment for group in by_prompt.values() for segment in _split(group, budget)]
    segments.sort(key=_tokens, reverse=True)
    found: list[Pack] = []
    for segment in segments:
        size = _tokens(segment)
        pack = next((pack for pack in found if pack.tokens + size <= budget), None)
        if pack is None:
            pack = Pack()
            found.append(pack)
        pack.add_segment(segment)
    return found


def share(rows: Sequence[Row], processes: int) -> list[list[Row]]:
    """The rows of a step shared out, each process about as many tokens; examples of one prompt stay together
    where they are not more than a process's part."""
    if processes == 1:
        return [list(rows)]
    by_prompt: dict[tuple[int, ...], list[Row]] = defaultdict(list)
    for row in rows:
        by_prompt[row.prompt].append(row)
    part = sum(map(_tokens, by_prompt.values())) / processes
    pieces = []
    for group in by_prompt.values():
        pieces += _even([[row] for row in group], min(processes, math.ceil(_tokens(group) / part)))
    return _even([piece for piece in pieces if piece], processes)


def _even(pieces: Sequence[list[Row]], parts: int) -> list[list[Row]]:
    """Longest first, each to the part that has least so far."""
    found: list[list[Row]] = [[] for _ in range(parts)]
    sizes = [0] * parts
    for piece in sorted(pieces, key=_tokens, reverse=True):
        least = sizes.index(min(sizes))
        found[least] += piece
        sizes[least] += _tokens(piece)
    return found


def padded_packs(rows: Sequence[Row], budget: int, pad: int) -> list[Pack]:
    """Rows of like length together, padded to the longest of them."""
    found: list[list[Row]] = []
    for row in sorted(rows, key=lambda row: row.length, reverse=True):
        if not found or (len(found[-1]) + 1) * found[-1][0].length > budget:
            found.append([])
        found[-1].append(row)
    return [Pack.padded(group, pad) for group in found]


def _tokens(segment: Sequence[Row]) -> int:
    return len(segment[0].prompt) + sum(len(row.completion) - 1 for row in segment)


def _split(group: Sequence[Row], budget: int) -> Iterator[list[Row]]:
    """Cut the examples of one prompt into segments of at most `budget` tokens (or one example)."""
    segment: list[Row] = []
    for row in group:
        if segment and _tokens([*segment, row]) > budget:
            yield segment
            segment = []
        segment.append(row)
    yield segment
