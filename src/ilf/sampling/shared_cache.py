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
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

_NAME = "ilf_shared_cache"
_FIRST_POOL = 32
_ALIGN = 16
# What a call of attention costs beyond its products, in queries times tokens.
_CALL = 2000
# Python names it from 3.13 on. Without it, a machine short of memory could refuse what is never written to.
_NORESERVE = getattr(mmap, "MAP_NORESERVE", 0x4000)
# torch's fused attention for the CPU, which gives its log-sum-exp as well; elsewhere plain products.
_FUSED = hasattr(torch.ops.aten, "_scaled_dot_product_flash_attention_for_cpu")


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
class _Pool:
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


@dataclass
class _Pass:
    """What attention needs to know about one forward pass."""

    cache: SharedCache
    prompts: list[tuple[int, int, int]]
    """(start, end, slot) of each new prompt among the tokens."""
    start: int
    """Where the samples' tokens begin, one each, pool by pool."""
    count: int
    put: Any
    """Where each sample's new key and value go in the flat store: (count * kv heads,)."""
    parts: list[tuple[_Pool, int, int, int, Any]]
    """(pool, first, last, tokens, mask) of the samples in each pool."""
    attended: list[_Prompts]
    """The prompts of the samples."""
    scatter: Any
    """Where each sample stands among what the prompts' parts give, one after the other: (count,)."""


@dataclass
class _Prompts:
    """Prompts in neighbouring slots, whose samples are attended for in one call."""

    first: int
    last: int
    widest: int
    """Most samples that one of them has."""
    gather: Any
    """Samples by prompt, filled up to the widest: (prompts * widest,)."""
    longest: int
    mask: Any
    """(prompts, 1, 1, longest)."""


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
    return [*capacities, _aligned(min(tokens, capacity))]


def token_bytes(net: Any) -> int:
    """Memory that the keys and values of one token take."""
    layers, heads, size = kv_shape(net)
    return 2 * layers * heads * size * int(net.dtype.itemsize)


@contextmanager
def own_attention(net: Any) -> Iterator[None]:
    """Switch a model's attention to the one of this module, and back."""
    before = net.config._attn_implementation
    net.set_attn_implementation(_NAME)
    try:
        yield
    finally:
        net.set_attn_implementation(before)


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
        self._memory: mmap.mmap | None = None
        self.prompt = self._zeros(2, self.layers, prefixes, self.heads, _aligned(prompt_tokens), self.size)
        self.own = self._zeros(2, self.layers, self.heads * tokens, self.size)
        self.pools: list[_Pool] = []
        offset = 0
        for room, capacity in zip(rooms, capacities, strict=True):
            end = offset + room * self.heads * capacity
            keys, values = self.own[:, :, offset:end].view(
                2, self.layers, room, self.heads, capacity, self.size
            )
            self.pools.append(_Pool(capacity, offset, list(keys), list(values), room))
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

    def _take(self, pool: _Pool) -> int:
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
        filling = [0] * (-len(ids) % _ALIGN)
        keep = last + [last[0]] * (-len(last) % _ALIGN)
        spans = [(end - len(prefix.ids), end, prefix.slot) for end, prefix in zip(ends, new, strict=True)]
        with torch.inference_mode(), _running(self._plan(spans, start, rows)):
            logits = self._net(
                input_ids=self._ints([ids + filling]),
                position_ids=self._ints([positions + filling]),
                use_cache=False,
                logits_to_keep=self._ints(keep),
            ).logits[0, : len(last)]
        for row in rows:
            row.length += 1
        return logits, rows

    def _plan(self, spans: list[tuple[int, int, int]], start: int, rows: list[Row]) -> _Pass:
        head = np.arange(self.heads)
        put, parts, first = [], [], 0
        for pool in self.pools:
            if not pool.rows:
                continue
            lengths = np.array([row.length for row in pool.rows])
            places = np.arange(len(lengths))[:, None] * self.heads + head
            put.append((pool.offset + places * pool.capacity + lengths[:, None]).ravel())
            tokens = min(_aligned(int(lengths.max()) + 1), pool.capacity)
            mask = self._mask(lengths + 1, tokens)
            parts.append((pool, first, first + len(lengths), tokens, mask))
            first += len(lengths)
        members: dict[int, list[int]] = {}
        for place, row in enumerate(rows):
            members.setdefault(row.prefix.slot, []).append(place)
        counts = [len(members.get(slot, ())) for slot in range(max(members, default=-1) + 1)]
        sizes = [len(self._prefixes[slot].ids) if count else 1 for slot, count in enumerate(counts)]
        attended = []
        scatter = np.zeros(len(rows), np.int64)
        base = 0
        for start_slot, end_slot in _together(counts, sizes, apart=self._net.device.type == "cpu"):
            widest = max(counts[start_slot:end_slot])
            gather = np.zeros((end_slot - start_slot, widest), np.int64)
            for slot in range(start_slot, end_slot):
                places_of = members.get(slot, [])
                row_of = slot - start_slot
                gather[row_of, : len(places_of)] = places_of
                scatter[places_of] = base + row_of * widest + np.arange(len(places_of))
            base += gather.size
            # An empty slot attends to one zero: harmless, and no NaN.
            of_slots = np.array(sizes[start_slot:end_slot])
            longest = _aligned(int(of_slots.max()))
            mask = self._mask(of_slots, longest)
            attended.append(_Prompts(start_slot, end_slot, widest, self._ints(gather.ravel()), longest, mask))
        return _Pass(
            cache=self,
            prompts=spans,
            start=start,
            count=len(rows),
            put=self._ints(np.concatenate(put) if put else []),
            parts=parts,
            attended=attended,
            scatter=self._ints(scatter),
        )

    def _mask(self, lengths: Any, tokens: int) -> Any:
        hidden = np.arange(tokens) >= lengths[:, None]
        mask = np.where(hidden, np.float32(-np.inf), np.float32(0))[:, None, None, :]
        return torch.from_numpy(mask).to(self._net.device)

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

    def _copy(self, row: Row, to: _Pool, slot: int) -> None:
        source = self.pools[row.pool]
        self._view(to)[:, :, slot, :, : row.length] = self._view(source)[:, :, row.slot, :, : row.length]

    def _view(self, pool: _Pool) -> Any:
        size = pool.room * self.heads * pool.capacity
        part = self.own[:, :, pool.offset : pool.offset + size]
        return part.view(2, self.layers, pool.room, self.heads, pool.capacity, self.size)


_ACTIVE: list[_Pass] = []


@contextmanager
def _running(plan: _Pass) -> Iterator[None]:
    _ACTIVE.append(plan)
    try:
        yield
    finally:
        _ACTIVE.pop()


def _attention(
    module: Any, query: Any, key: Any, value: Any, attention_mask: Any, scaling: float, **unused: Any
) -> tuple[Any, None]:
    """Attention of one layer over a packed row of tokens, as the running `_Pass` says.

    Args:
        module: the layer's attention, for its index.
        query: (1, heads, tokens, size).
        key: (1, kv heads, tokens, size), positions already applied; `value` likewise.
        value: see `key`.
        attention_mask: none is made for this attention.
        scaling: factor on the products.
        unused: what other implementations need.

    Returns:
        (1, tokens, heads, size).
    """
    plan = _ACTIVE[-1]
    cache, layer = plan.cache, module.layer_idx
    output = query.new_zeros(1, query.shape[2], query.shape[1], query.shape[3])
    for start, end, slot in plan.prompts:
        q, k, v = (tensor[:, :, start:end] for tensor in (query, key, value))
        cache.prompt[0, layer, slot, :, : end - start] = k[0]
        cache.prompt[1, layer, slot, :, : end - start] = v[0]
        one = scaled_dot_product_attention(q, k, v, is_causal=True, scale=scaling, enable_gqa=True)
        output[:, start:end] = one.transpose(1, 2)
    if plan.count:
        samples = slice(plan.start, plan.start + plan.count)
        q, k, v = (tensor[0, :, samples].transpose(0, 1) for tensor in (query, key, value))
        cache.own[0, layer].index_copy_(0, plan.put, k.reshape(-1, cache.size))
        cache.own[1, layer].index_copy_(0, plan.put, v.reshape(-1, cache.size))
        output[0, samples] = _join(plan, layer, q.contiguous(), scaling)
    return output, None


def _join(plan: _Pass, layer: int, query: Any, scaling: float) -> Any:
    """Attention of the samples: (count, heads, size) to the same."""
    cache = plan.cache
    count, heads, size = query.shape
    shared = heads // cache.heads
    grouped = query.view(count, cache.heads, shared, size)
    own = [
        _attend(grouped[first:last], pool.keys[layer][: last - first, :, :tokens],
                pool.values[layer][: last - first, :, :tokens], mask, scaling)
        for pool, first, last, tokens, mask in plan.parts
    ]  # fmt: skip
    own_out = torch.cat([out for out, _ in own]).view(count, heads, size)
    own_lse = torch.cat([lse for _, lse in own]).view(count, heads, 1)
    outs, lses = [], []
    for part in plan.attended:
        # All samples of one prompt are one matrix of queries.
        slots, widest = part.last - part.first, part.widest
        by_prompt = query.index_select(0, part.gather).view(slots, widest, cache.heads, shared, size)
        by_prompt = by_prompt.transpose(1, 2).reshape(slots, cache.heads, widest * shared, size)
        keys, values = cache.prompt[:, layer, part.first : part.last, :, : part.longest]
        out, lse = _attend(by_prompt, keys, values, part.mask, scaling)
        outs.append(_by_sample(out, widest, shared).reshape(-1, heads, size))
        lses.append(_by_sample(lse[..., None], widest, shared).reshape(-1, heads, 1))
    out = torch.cat(outs).index_select(0, plan.scatter)
    lse = torch.cat(lses).index_select(0, plan.scatter)
    return torch.lerp(own_out.float(), out.float(), torch.sigmoid(lse - own_lse)).to(query.dtype)


def _by_sample(tensor: Any, widest: int, shared: int) -> Any:
    slots, heads, _, size = tensor.shape
    return tensor.view(slots, heads, widest, shared, size).transpose(1, 2)


def _together(counts: Sequence[int], lengths: Sequence[int], apart: bool) -> list[tuple[int, int]]:
    """Which neighbouring slots to attend to in one call; it costs each of them what the largest needs.

    Args:
        counts: rows of each slot; empty ones at a call's ends are left out.
        lengths: tokens of each slot's prompt.
        apart: whether more than one call can pay; on a GPU none does.

    Returns:
        (first, last) of each call, in order, in which all rows are.
    """
    size = len(counts)
    if not apart:
        return [(0, size)] if size else []
    best, before = [0.0] * (size + 1), [0] * (size + 1)
    for end in range(1, size + 1):
        if not counts[end - 1]:
            best[end], before[end] = best[end - 1], -1
            continue
        best[end] = math.inf
        widest = longest = 0
        for start in range(end - 1, -1, -1):
            widest, longest = max(widest, counts[start]), max(longest, lengths[start])
            cost = best[start] + (end - start) * widest * longest + _CALL
            if cost < best[end]:
                best[end], before[end] = cost, start
    calls, end = [], size
    while end:
        start = before[end]
        if start < 0:
            end -= 1
            continue
        calls.append((start, end))
        end = start
    return calls[::-1]


def _attend(query: Any, key: Any, value: Any, mask: Any, scaling: float) -> tuple[Any, Any]:
    """Attention and its log-sum-exp.

    Args:
        query: (batch, kv heads, queries, size).
        key: (batch, kv heads, tokens, size); `value` likewise.
        value: see `key`.
        mask: (batch, 1, 1, tokens), added.
        scaling: factor on the products.

    Returns:
        (batch, kv heads, queries, size) and (batch, kv heads, queries), float32.
    """
    if _FUSED and query.device.type == "cpu" and query.dtype == torch.float32:
        out, lse = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
            query, key, value, 0.0, False, attn_mask=mask, scale=scaling
        )
        return out.contiguous(), lse.contiguous()
    scores = torch.matmul(query, key.transpose(-1, -2)).float() * scaling + mask
    lse = scores.logsumexp(-1)
    weights = (scores - lse[..., None]).exp().to(value.dtype)
    return torch.matmul(weights, value), lse


def _aligned(length: int) -> int:
    return -(-length // _ALIGN) * _ALIGN


AttentionInterface.register(_NAME, _attention)
