"""A language model's forward pass over prompts and samples at once, each prompt's keys and values kept once.

Samples of one prompt that have said the same so far are one row: the model is asked once for all of them, and
the row forks where their next tokens differ.

Tokens of different sequences stand side by side in one row of ids (nothing is padded to the longest), the
model's own layers run over them, and only attention is ours: it is registered with transformers' attention
interface, so any model that uses the interface works. A sample attends in two parts, to its prompt (kept once
for all samples of the prompt) and to its own tokens; the parts are joined by their log-sum-exp.

Own tokens live in pools by capacity (32, 64, 128 …), a sample moving up as it grows: the work of a step
follows the samples' lengths, not the longest one's. So does memory: nobody is reserved the longest's; where
memory runs out, what rows have grown out of is given back, and then a row is refused (`NoRoom`).
"""

from __future__ import annotations

import math
import mmap
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from ilf.sampling.attention import ALIGN, Pass, Prompts, aligned, running, together

_FIRST_POOL = 32
# Python names it from 3.13 on. Without it, a machine short of memory could refuse what is never written to.
_NORESERVE = getattr(mmap, "MAP_NORESERVE", 0x4000)


class NoRoom(Exception):
    """The memory for own tokens is taken."""


@dataclass(eq=False)
class Prefix:
    """A prompt whose keys and values are in the cache."""

    ids: list[int]
    slot: int = -1


@dataclass(eq=False)
class Row:
    """The place in the cache of one continuation of a prompt, which any number of samples share."""

    prefix: Prefix
    token: int
    """Sampled last, not yet in the cache."""
    length: int = 0
    """Own tokens in the cache."""
    pool: int = 0
    slot: int = -1


@dataclass(eq=False)
class Pool:
    """The rows of up to a number of own tokens."""

    capacity: int
    offset: int
    """Where it starts in the flat store, in vectors."""
    keys: list[Any]
    """A layer: (room, kv heads, capacity, size)."""
    values: list[Any]
    room: int
    """Most rows."""
    rows: list[Row] = field(default_factory=list)
    used: int = 0
    """Slots whose memory is taken: the rows', and those of rows that have left."""


def kv_shape(net: Any) -> tuple[int, int, int]:
    """Layers, key/value heads and the size of a head."""
    config = net.config.get_text_config()
    heads = config.num_attention_heads
    size = getattr(config, "head_dim", None) or config.hidden_size // heads
    return config.num_hidden_layers, getattr(config, "num_key_value_heads", None) or heads, size


def pool_capacities(tokens: int) -> list[int]:
    """Capacities of the pools for samples of up to `tokens` own tokens."""
    capacities = []
    capacity = _FIRST_POOL
    while capacity < tokens:
        capacities.append(capacity)
        capacity *= 2
    return [*capacities, aligned(min(tokens, capacity))]


def token_bytes(net: Any) -> int:
    """Memory that the keys and values of one token take."""
    layers, heads, size = kv_shape(net)
    return 2 * layers * heads * size * int(net.dtype.itemsize)


class SharedCache:
    """Keys and values of prompts and samples, and the forward pass over them."""

    def __init__(
        self, net: Any, rows: int, prefixes: int, prompt_tokens: int, own_tokens: int, most: int | None = None
    ) -> None:
        """Reserve the store (on the CPU, memory is only taken as it is written to).

        Args:
            net: a causal language model of transformers, inside `own_attention`.
            rows: continuations at once.
            prefixes: prompts at once.
            prompt_tokens: length of the longest prompt.
            own_tokens: most tokens a sample keeps.
            most: own tokens of all rows together, counted by the pools' capacities (one row always fits);
                None lets all of them be longest.
        """
        self._net, self.rows = net, rows
        self.layers, self.heads, self.size = kv_shape(net)
        capacities = pool_capacities(own_tokens)
        # Two of the last pool: a row that moves there is for a moment in both.
        self._most = rows * sum(capacities) if most is None else max(most, 2 * capacities[-1])
        rooms = [min(rows, self._most // capacity) for capacity in capacities]
        tokens = sum(room * capacity for room, capacity in zip(rooms, capacities, strict=True))
        self.windows: dict[int, int | None] = {}
        """Of the last pass, see `Pass.windows`."""
        self._memory: mmap.mmap | None = None
        self.prompt = self._zeros(2, self.layers, prefixes, self.heads, aligned(prompt_tokens), self.size)
        self.own = self._zeros(2, self.layers, self.heads * tokens, self.size)
        self.pools: list[Pool] = []
        offset = 0
        for room, capacity in zip(rooms, capacities, strict=True):
            end = offset + room * self.heads * capacity
            keys, values = self.own[:, :, offset:end].view(
                2, self.layers, room, self.heads, capacity, self.size
            )
            self.pools.append(Pool(capacity, offset, list(keys), list(values), room))
            offset = end
        self._free = list(reversed(range(prefixes)))
        self._prefixes: dict[int, Prefix] = {}

    def _zeros(self, *shape: int) -> Any:
        # Zeros, as what is masked is still multiplied.
        if self._net.device.type != "cpu":
            return torch.zeros(shape, dtype=self._net.dtype, device=self._net.device)
        # Small pages, each taken when it is first written to: much of the store never is.
        size = math.prod(shape) * int(self._net.dtype.itemsize)
        memory = mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _NORESERVE)
        if hasattr(mmap, "MADV_NOHUGEPAGE"):
            memory.madvise(mmap.MADV_NOHUGEPAGE)
        self._memory = memory
        return torch.frombuffer(memory, dtype=self._net.dtype).view(shape)

    def _take(self, pool: Pool) -> int:
        """A slot for one more row."""
        slot = len(pool.rows)
        if slot >= pool.room:
            raise NoRoom
        if slot >= pool.used:
            if self._taken() + pool.capacity > self._most:
                self._give_back()
                if self._taken() + pool.capacity > self._most:
                    raise NoRoom
            pool.used = slot + 1
        return slot

    def _taken(self) -> int:
        return sum(pool.used * pool.capacity for pool in self.pools)

    def _give_back(self) -> None:
        """Return the memory of slots that no row has any more."""
        vector = self.size * int(self._net.dtype.itemsize)
        whole = len(self.own[0, 0]) * vector
        for pool in self.pools:
            row = self.heads * pool.capacity * vector
            first, last = (pool.offset * vector + count * row for count in (len(pool.rows), pool.used))
            pool.used = len(pool.rows)
            if self._memory is None or first == last:
                continue
            for layer in range(2 * self.layers):
                # Whole pages only: what lies beside them belongs to others.
                start = -(-(layer * whole + first) // mmap.PAGESIZE) * mmap.PAGESIZE
                end = (layer * whole + last) // mmap.PAGESIZE * mmap.PAGESIZE
                if end > start:
                    self._memory.madvise(mmap.MADV_DONTNEED, start, end - start)

    @property
    def free_prefixes(self) -> int:
        """Prompts that can still be added."""
        return len(self._free)

    def add(self, prefix: Prefix, token: int) -> Row:
        """Begin a row whose first token was drawn from its prompt's logits.

        Raises:
            NoRoom: memory for it is lacking.
        """
        row = Row(prefix, token, slot=self._take(self.pools[0]))
        self.pools[0].rows.append(row)
        return row

    def fork(self, row: Row, token: int) -> Row:
        """A row with the same tokens, the last of which is to be another one.

        Raises:
            NoRoom: memory for it is lacking.
        """
        pool = self.pools[row.pool]
        new = Row(row.prefix, token, row.length, row.pool, self._take(pool))
        self._copy(row, pool, new.slot)
        pool.rows.append(new)
        return new

    def release(self, prefix: Prefix) -> None:
        """Forget a prompt that no sample needs any more."""
        del self._prefixes[prefix.slot]
        self._free.append(prefix.slot)
        self._free.sort(reverse=True)  # the lowest is taken first: attention runs up to the highest in use

    def forward(self, new: Sequence[Prefix]) -> tuple[Any, list[Row]]:
        """Compute new prompts and every sample's last token.

        Returns:
            Logits (len(new) + rows, vocabulary), after each prompt and then each row's token; and the rows. A
            row that has filled its pool and finds no room in the next is removed, and is not among them.
        """
        for prefix in new:
            prefix.slot = self._free.pop()
            self._prefixes[prefix.slot] = prefix
        for row in [row for pool in self.pools for row in pool.rows if row.length == pool.capacity]:
            self._promote(row)
        rows = [row for pool in self.pools for row in pool.rows]
        ends = np.cumsum([len(prefix.ids) for prefix in new], dtype=np.int64).tolist()
        start = ends[-1] if ends else 0
        ids = [token for prefix in new for token in prefix.ids] + [row.token for row in rows]
        positions = [place for prefix in new for place in range(len(prefix.ids))]
        positions += [len(row.prefix.ids) + row.length for row in rows]
        last = [end - 1 for end in ends] + list(range(start, len(ids)))
        # Products over few, odd numbers of rows are slow, and round differently: fill up to a multiple.
        filling = [0] * (-len(ids) % ALIGN)
        keep = last + [last[0]] * (-len(last) % ALIGN)
        spans = [(end - len(prefix.ids), end, prefix.slot) for end, prefix in zip(ends, new, strict=True)]
        plan = self._plan(spans, start, rows)
        with torch.inference_mode(), running(plan):
            logits = self._net(
                input_ids=self._ints([ids + filling]),
                position_ids=self._ints([positions + filling]),
                use_cache=False,
                logits_to_keep=self._ints(keep),
            ).logits[0, : len(last)]
        self.windows = plan.windows
        for row in rows:
            row.length += 1
        return logits, rows

    def _plan(self, spans: list[tuple[int, int, int]], start: int, rows: list[Row]) -> Pass:
        head = np.arange(self.heads)
        put, parts, first = [], [], 0
        for pool in self.pools:
            if not pool.rows:
                continue
            lengths = np.array([row.length for row in pool.rows])
            places = np.arange(len(lengths))[:, None] * self.heads + head
            put.append((pool.offset + places * pool.capacity + lengths[:, None]).ravel())
            tokens = min(aligned(int(lengths.max()) + 1), pool.capacity)
            parts.append((pool, first, first + len(lengths), tokens, lengths))
            first += len(lengths)
        members: dict[int, list[int]] = {}
        for place, row in enumerate(rows):
            members.setdefault(row.prefix.slot, []).append(place)
        counts = [len(members.get(slot, ())) for slot in range(max(members, default=-1) + 1)]
        sizes = [len(self._prefixes[slot].ids) if count else 1 for slot, count in enumerate(counts)]
        attended = []
        scatter = np.zeros(len(rows), np.int64)
        base = 0
        for start_slot, end_slot in together(counts, sizes, apart=self._net.device.type == "cpu"):
            widest = max(counts[start_slot:end_slot])
            gather = np.zeros((end_slot - start_slot, widest), np.int64)
            positions = np.zeros_like(gather)
            for slot in range(start_slot, end_slot):
                places_of = members.get(slot, [])
                row_of = slot - start_slot
                gather[row_of, : len(places_of)] = places_of
                positions[row_of, : len(places_of)] = [
                    sizes[slot] + rows[place].length for place in places_of
                ]
                scatter[places_of] = base + row_of * widest + np.arange(len(places_of))
            base += gather.size
            # An empty slot attends to one zero: harmless, and no NaN.
            of_slots = np.array(sizes[start_slot:end_slot])
            longest = aligned(int(of_slots.max()))
            gathered = self._ints(gather.ravel())
            attended.append(Prompts(start_slot, end_slot, longest, of_slots, positions, gathered))
        return Pass(
            cache=self,
            prompts=spans,
            start=start,
            count=len(rows),
            put=self._ints(np.concatenate(put) if put else []),
            parts=parts,
            attended=attended,
            scatter=self._ints(scatter),
        )

    def _ints(self, values: Any) -> Any:
        return torch.as_tensor(values, dtype=torch.int64, device=self._net.device)

    def remove(self, row: Row) -> None:
        """End a sample: its pool's last one moves into its place. Its prompt stays until `release`."""
        pool = self.pools[row.pool]
        last = pool.rows.pop()
        if last is not row:
            self._copy(last, pool, row.slot)
            last.slot = row.slot
            pool.rows[last.slot] = last

    def _promote(self, row: Row) -> None:
        target = self.pools[row.pool + 1]
        try:
            slot = self._take(target)
        except NoRoom:
            self.remove(row)
            return
        self._copy(row, target, slot)
        self.remove(row)
        row.pool, row.slot = row.pool + 1, slot
        target.rows.append(row)

    def _copy(self, row: Row, to: Pool, slot: int) -> None:
        source = self.pools[row.pool]
        self._view(to)[:, :, slot, :, : row.length] = self._view(source)[:, :, row.slot, :, : row.length]

    def _view(self, pool: Pool) -> Any:
        size = pool.room * self.heads * pool.capacity
        part = self.own[:, :, pool.offset : pool.offset + size]
        return part.view(2, self.layers, pool.room, self.heads, pool.capacity, self.size)
