"""Engine `torch`: our own batched decoding on the model's own layers, for many samples of many prompts.

A prompt is computed once for its n samples, and so is every beginning that several of them share: samples
that have said the same so far are one row of the batch, which forks where their draws differ. A sample leaves
at its stop sequence and another takes its place; the vocabulary is projected only where a token is drawn; on
the CPU the weights are packed for oneDNN's matrix products. Each sample has random numbers of its own, so
what it says does not depend on what else is in the batch.

A model of which this would not be exact (`ilf.sampling.probe`) is sampled by engine `transformers`.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ilf import models
from ilf.errors import ConfigError
from ilf.prompts import Prompt
from ilf.sampling import Completion, Sampler, SamplingParams
from ilf.sampling.attention import Unsupported, own_attention
from ilf.sampling.draw import choose, uniforms
from ilf.sampling.packed import can_pack, pack
from ilf.sampling.probe import Probe
from ilf.sampling.shared_cache import NoRoom, Prefix, Row, SharedCache, token_bytes
from ilf.sampling.text import TextStream, encode, sample_key
from ilf.sampling.transformers_engine import TransformersSampler

log = logging.getLogger(__name__)

# Prompt tokens computed in one pass, beside the samples: bounds the pass's memory.
_PROMPT_TOKENS = 2048
# Samples that should be ready to begin beyond the free places: about as many as end in one step.
_AHEAD = 8
# Part of the batch that one prompt's samples may wait for, to begin together and share what they say alike.
_TOGETHER = 0.25


def open(
    model: str,
    *,
    device: str | None = None,
    dtype: str | None = None,
    batch_size: int | None = None,
    cache_gb: float | None = None,
    trust_remote_code: bool = False,
) -> Sampler:
    """Open a MODEL string (see `ilf.models.resolve`).

    Args:
        model: hub id, folder, GGUF file or package.
        device: torch device; None takes CUDA where there is one.
        dtype: `float32` or `bfloat16`; None means float32 on the CPU and, where the GPU computes it natively,
            bfloat16. On the CPU, bfloat16 is for the products of the layers only, and pays on processors
            that compute it natively.
        batch_size: most samples under way together; None means 512, on a GPU 2,048.
        cache_gb: memory for keys and values, in GiB, which bounds the batch too; None means 2, or as much as
            the weights take, but at most half of what is free.
        trust_remote_code: see `ilf.models.resolve`.

    Raises:
        ConfigError: an unknown `dtype`, or one that this processor does not compute.
        ModelError: the model cannot be opened.
    """
    if dtype not in (None, "float32", "bfloat16"):
        raise ConfigError(f"sampling engine torch: dtype: {dtype!r} is neither float32 nor bfloat16")
    kind = None if dtype is None else getattr(torch, dtype)
    folder = models.resolve(model, trust_remote_code)
    on_cpu = (device or models.default_device()) == "cpu"
    if on_cpu and kind is not None and not can_pack(kind):
        raise ConfigError(f"sampling engine torch: dtype: this processor does not compute in {dtype}")
    net = models.load_model(folder.path, device, torch.float32 if on_cpu else kind)
    context = models.context_length(folder.path)
    try:
        probe = Probe(net, context)
        probe.check(net.dtype)  # before its products are rounded, where they will be
        if pack(net, kind or torch.float32):
            probe.check(kind or net.dtype)
    except Unsupported as reason:
        log.warning("%s: %s: sampling it with engine transformers", type(net).__name__, reason)
        del net
        return TransformersSampler(folder.path, folder.hash, device, batch_size or 32)
    tokenizer = models.load_tokenizer(folder.path)
    return TorchSampler(net, tokenizer, context, folder.hash, batch_size, cache_gb)


class TorchSampler:
    """Continuous batching over a `SharedCache`."""

    in_step = True

    def __init__(
        self,
        net: Any,
        tokenizer: Any,
        context: int,
        model: str,
        batch_size: int | None = None,
        cache_gb: float | None = None,
    ) -> None:
        self.model = model
        self._net, self._tokenizer, self._context = net, tokenizer, context
        self._end = models.end_tokens(tokenizer, net)
        self._batch_size = batch_size or (512 if net.device.type == "cpu" else 2048)
        self.at_once = (batch_size or 0) if net.device.type == "cpu" else 4 * self._batch_size
        self._cache_bytes = int(cache_gb * 2**30) if cache_gb else _cache_bytes(net)

    def sample(
        self,
        prompts: Sequence[Prompt],
        params: SamplingParams,
        progress: Callable[[int], None] | None = None,
    ) -> Iterator[Completion]:
        """See `Sampler.sample`."""
        ids = encode(self._tokenizer, prompts, params, self._context)
        seen: Counter[str] = Counter()
        groups = []
        for place, prompt in enumerate(prompts):
            pending = list(reversed(range(params.n)))
            groups.append(_Group(place, prompt.text, seen[prompt.text], Prefix(ids[place]), pending=pending))
            seen[prompt.text] += 1
        return self._run(groups, params, progress or (lambda tokens: None))

    def check(self, prompts: Sequence[Prompt], params: SamplingParams) -> None:
        """See `Sampler.check`."""
        encode(self._tokenizer, prompts, params, self._context)

    def _run(
        self, groups: list[_Group], params: SamplingParams, progress: Callable[[int], None]
    ) -> Iterator[Completion]:
        if not groups:
            return
        with own_attention(self._net):
            # Prompts of like length are in the cache together; the longest come first, and size the batch.
            groups.sort(key=lambda group: len(group.prefix.ids))
            work = _Work(groups, params, self._reserve(groups, params), progress, self._tokenizer, self._end)
            while work.waiting or work.ready or work.live:
                yield from work.begin()
                yield from work.step()

    def _reserve(self, groups: list[_Group], params: SamplingParams) -> SharedCache:
        """A cache for the prompts of a whole batch, in at most half of the memory, and what follows them."""
        own, longest = max(params.max_tokens - 1, 1), len(groups[-1].prefix.ids)
        token = token_bytes(self._net)
        rows = min(self._batch_size, len(groups) * params.n)
        wanted = min(len(groups), -(-(rows + _AHEAD) // params.n) + 1)
        prefixes = max(1, min(wanted, self._cache_bytes // (2 * longest * token)))
        most = self._cache_bytes // token - prefixes * longest
        if self._net.device.type == "cpu":
            return SharedCache(self._net, rows, prefixes, longest, own, most)
        # There the store is taken whole: as many as fit if all are longest, half again for smaller pools.
        return SharedCache(self._net, max(1, min(rows, int(most / (1.5 * own)))), prefixes, longest, own)


@dataclass(eq=False)
class _Group:
    """A prompt and its n samples."""

    prompt: int
    text: str
    occurrence: int
    """How many prompts of the same text stand before it."""
    prefix: Prefix
    logits: Any = None
    """After the prompt: (1, vocabulary)."""
    pending: list[int] = field(default_factory=list)
    """Samples still to begin; the last is next."""
    ended: int = 0


@dataclass(eq=False)
class _Sample:
    group: _Group
    index: int
    key: int
    stream: TextStream
    logprob: float = 0.0


@dataclass
class _Work:
    """One call of `sample` under way."""

    waiting: list[_Group]
    """Prompts not yet computed; the last is next."""
    params: SamplingParams
    cache: SharedCache
    progress: Callable[[int], None]
    tokenizer: Any
    end: Sequence[int]
    ready: list[_Group] = field(default_factory=list)
    """Prompts of which samples are still to begin."""
    live: dict[Row, list[_Sample]] = field(default_factory=dict)
    """The samples that have said what each row holds."""
    most: int = 0
    """Samples under way together."""

    def __post_init__(self) -> None:
        self.most = self.cache.rows

    @property
    def free(self) -> int:
        """Samples that can begin: each may come to need a row of its own."""
        return self.most - sum(map(len, self.live.values()))

    def begin(self) -> Iterator[Completion]:
        """Fill free places: first tokens are drawn from the prompts' logits."""
        free, begun = self.free, []
        together = max(1, int(_TOGETHER * self.most))
        while self.ready:
            group = self.ready[0]
            left = len(group.pending)
            if free < min(left, together):
                break
            count = min(left, free)
            begun.append([self._sample(group, group.pending.pop()) for _ in range(count)])
            free -= count
            if count == left:
                self.ready.pop(0)
        if begun:
            tokens = self._draw(torch.cat([samples[0].group.logits for samples in begun]), begun)
            for samples, said in zip(begun, tokens, strict=True):
                ended, going = _push(samples, said)
                for token, members in going.items():
                    try:
                        self.live[self.cache.add(members[0].group.prefix, token)] = members
                    except NoRoom:
                        self._put_back(members)
                yield from map(self._ended, ended)

    def _sample(self, group: _Group, index: int) -> _Sample:
        key = sample_key(self.params.seed, group.text, group.occurrence, index)
        return _Sample(group, index, key, TextStream(self.tokenizer, group.prefix.ids, self.params, self.end))

    def step(self) -> Iterator[Completion]:
        """One forward pass: the next token of each sample, and prompts for the places that will be free."""
        new = self._admit()
        if not new and not self.live:
            return
        logits, rows = self.cache.forward([group.prefix for group in new])
        for place, group in enumerate(new):
            group.logits = logits[place : place + 1].clone()
        self.ready += new
        if not rows:
            return
        for row in self.live.keys() - set(rows):
            self._put_back(self.live.pop(row))
        tokens = self._draw(logits[len(new) :], [self.live[row] for row in rows])
        for row, said in zip(rows, tokens, strict=True):
            ended, going = _push(self.live.pop(row), said)
            if not going:
                self.cache.remove(row)
            else:
                # Whoever says something else goes on in a copy, made while the row is still there.
                first, *others = going
                for token in others:
                    try:
                        self.live[self.cache.fork(row, token)] = going[token]
                    except NoRoom:
                        self._put_back(going[token])
                row.token = first
                self.live[row] = going[first]
            yield from map(self._ended, ended)

    def _put_back(self, samples: Sequence[_Sample]) -> None:
        """Memory ran out: these begin again later, to say the same, and fewer are under way from now on."""
        group = samples[0].group
        group.pending += sorted((sample.index for sample in samples), reverse=True)
        if group not in self.ready:
            self.ready.append(group)
        self.most = max(1, sum(map(len, self.live.values())))

    def _admit(self) -> list[_Group]:
        """Prompts to compute in this pass, so that the next finds a sample for every free place."""
        n = self.params.n
        wanted = self.free + _AHEAD - sum(len(group.pending) for group in self.ready)
        new: list[_Group] = []
        tokens = 0
        while self.waiting and len(new) < self.cache.free_prefixes and wanted > 0:
            tokens += len(self.waiting[-1].prefix.ids)
            if new and tokens > _PROMPT_TOKENS:
                break
            new.append(self.waiting.pop())
            wanted -= n
        return new

    def _draw(self, logits: Any, samples: Sequence[list[_Sample]]) -> list[list[int]]:
        """The next token of each sample; `samples` has those that share a row of `logits`, row by row."""
        flat = [sample for members in samples for sample in members]
        sizes = [len(members) for members in samples]
        keys = np.array([sample.key for sample in flat], np.uint64)
        steps = np.array([sample.stream.tokens for sample in flat], np.uint64)
        owners = np.repeat(np.arange(len(sizes)), sizes)
        params = self.params
        tokens, logprobs = choose(logits, uniforms(keys, steps), params.temperature, params.top_p, owners)
        for sample, logprob in zip(flat, logprobs, strict=True):
            sample.logprob += logprob
        self.progress(len(tokens))
        ends = np.cumsum(sizes).tolist()
        return [tokens[end - size : end] for size, end in zip(sizes, ends, strict=True)]

    def _ended(self, sample: _Sample) -> Completion:
        group, stream = sample.group, sample.stream
        group.ended += 1
        if group.ended == self.params.n:
            self.cache.release(group.prefix)
            group.logits = None
        finish = stream.finish or "length"
        return Completion(group.prompt, sample.index, stream.text, sample.logprob, stream.tokens, finish)


def _push(
    samples: Sequence[_Sample], tokens: Sequence[int]
) -> tuple[list[_Sample], dict[int, list[_Sample]]]:
    """Each sample takes its token: those that end with it, and those that go on, by token."""
    ended: list[_Sample] = []
    going: dict[int, list[_Sample]] = {}
    for sample, token in zip(samples, tokens, strict=True):
        if sample.stream.push(token):
            ended.append(sample)
        else:
            going.setdefault(token, []).append(sample)
    return ended, going


def _cache_bytes(net: Any) -> int:
    if net.device.type == "cuda":
        return int(0.6 * torch.cuda.mem_get_info(net.device)[0])
    weights = sum(int(parameter.nbytes) for parameter in net.parameters())
    with Path("/proc/meminfo").open() as file:
        free = next(int(line.split()[1]) * 1024 for line in file if line.startswith("MemAvailable"))
    return min(max(2 * 2**30, weights), free // 2)
