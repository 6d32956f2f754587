"""Whether engine `torch` computes what a model computes by itself, found out when the model is opened.

Two looks. What the model's config says it does that depends on length and is not computed here is refused at
once. Then short texts are computed both ways. A model with sliding windows is asked once more with all its
windows shrunk to a few tokens, so that the texts are longer than every window however wide it is.

That shows as much as texts of thousands of tokens would, which the larger models cannot be asked on a CPU
(4,100 tokens of 7 billion weights are minutes). In the engine a window is one number, which a layer hands to
its attention with every call; a mask that a model makes by itself is refused, whatever the text's length. So
a window is kept exactly if the number is the model's own, and the engine keeps it. The first is seen by
changing the model's number: each layer that had a window must hand over the new one, and the model by itself
must answer differently than before. The second is a comparison of distances with a number, which texts
within, at the edge of, and behind the window decide, be it 8 or 4,096. What does not follow is refused.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from ilf.pretrained import quiet
from ilf.sampling.attention import Unsupported, own_attention
from ilf.sampling.shared_cache import Prefix, SharedCache, kv_shape

log = logging.getLogger(__name__)

_PROMPTS = ([5, 17, 3, 29, 11, 8, 41, 23, 2], [31, 7, 19, 13, 37])
_NEXT = [12, 43, 6]
# Beyond the first pool of the cache, and with the shorter prompt wholly behind the window.
_NEXT_LONG = [(7 * place) % 44 + 1 for place in range(36)]
_SHRUNK = 8
# A window that all of the texts reach beyond.
_SHORT = 24
_EXACT_LAYERS = {"full_attention", "sliding_attention", "attention"}
# Spans of attention in a config; those that `sliding_window` is about are computed, and probed.
_SPAN = re.compile(r"window|chunk")
_SLIDING = {"sliding_window", "sliding_window_pattern", "_sliding_window_pattern", "max_window_layers"}
# Rotary frequencies that depend on the length of the whole text, and so on the batch.
_ROPE_BY_LENGTH = {"dynamic", "longrope"}

_Windows = dict[int, int | None]
"""See `Pass.windows`."""


class Probe:
    """A model's own answers, to compare with those it gives with the shared cache."""

    def __init__(self, net: Any, context: int) -> None:
        """Compute the answers, before anything about the model is changed.

        Args:
            net: a causal language model of transformers.
            context: most tokens of a prompt and its completion: wider windows never matter.

        Raises:
            Unsupported: the model does something that the engine does not compute.
        """
        self._net, self._context = net, context
        if reason := _by_config(net.config.get_text_config(), context):
            raise Unsupported(reason)
        self._expected = logprobs_alone(net, _PROMPTS, _NEXT)
        self._long: list[Any] | None = None
        self._shrunk: list[Any] | None = None

    def check(self, dtype: torch.dtype) -> None:
        """Compare, in the precision of `dtype`.

        Raises:
            Unsupported: the engine would give something else than the model by itself.
        """
        windows = kept = self._compare(self._expected, _NEXT, dtype)
        if (alike := len(windows)) != (layers := kv_shape(self._net)[0]):
            raise Unsupported(f"{layers - alike} of its {layers} layers are not attention")
        inside = [window for window in windows.values() if window is not None and window < self._context]
        if not inside:
            return
        if self._long is None:
            self._long = logprobs_alone(self._net, _PROMPTS, _NEXT_LONG)
        if max(inside) <= _SHORT:
            self._compare(self._long, _NEXT_LONG, dtype)
            return
        with _shrunk(self._net):
            if self._shrunk is None:
                self._shrunk = logprobs_alone(self._net, _PROMPTS, _NEXT_LONG)
                if all(_close(a, b, dtype) for a, b in zip(self._shrunk, self._long, strict=True)):
                    raise Unsupported("its sliding window could not be tried out on a short text")
            windows = self._compare(self._shrunk, _NEXT_LONG, dtype)
        # Each layer with a window has the new one, and no other layer has got one by it.
        if windows != {layer: window and _SHRUNK for layer, window in kept.items()}:
            raise Unsupported("its sliding window could not be tried out on a short text")

    def _compare(self, expected: list[Any], following: list[int], dtype: torch.dtype) -> _Windows:
        """Raise `Unsupported` where the model does not give `expected`; the windows of its layers."""
        try:
            with quiet():
                found, windows = logprobs_shared(self._net, _PROMPTS, following)
        except Unsupported as reason:
            raise Unsupported(f"its attention asks for {reason}") from None
        except Exception as error:  # an architecture that was not made for this fails in its own way
            log.debug("the shared cache does not fit %s: %r", type(self._net).__name__, error)
            raise Unsupported("it computes attention its own way") from None
        if not all(_close(a, b, dtype) for a, b in zip(found, [*expected, expected[0]], strict=True)):
            raise Unsupported("it computes attention its own way")
        return windows


def logprobs_alone(net: Any, prompts: Sequence[list[int]], following: list[int]) -> list[Any]:
    """Log-probabilities that the model by itself gives after each prompt and each token of `following`.

    Returns:
        For each prompt (1 + len(following), vocabulary), float32.
    """
    expected = []
    with torch.inference_mode():
        for ids in prompts:
            row = torch.tensor([[*ids, *following]], device=net.device)
            logits = net(input_ids=row, use_cache=False).logits[0, len(ids) - 1 :]
            expected.append(logits.float().log_softmax(-1))
    return expected


def logprobs_shared(
    net: Any, prompts: Sequence[list[int]], following: list[int]
) -> tuple[list[Any], _Windows]:
    """What `logprobs_alone` gives, token by token with a shared cache, in one batch.

    Returns:
        As there, once more for the first prompt, which has two samples; and the windows of the layers.

    Raises:
        Unsupported: the attention that the model asks for is not computed.
    """
    with own_attention(net):
        cache = SharedCache(net, len(prompts) + 1, len(prompts), max(map(len, prompts)), len(following))
        prefixes = [Prefix(list(ids)) for ids in prompts]
        logits, _ = cache.forward(prefixes)
        samples = [*range(len(prompts)), 0]
        steps = [[logits[prompt]] for prompt in samples]
        rows = {cache.add(prefixes[prompt], 0): place for place, prompt in enumerate(samples)}
        for token in following:
            for row in rows:
                row.token = token
            logits, order = cache.forward([])
            for row, scores in zip(order, logits, strict=True):
                steps[rows[row]].append(scores)
    return [torch.stack(scores).float().log_softmax(-1) for scores in steps], cache.windows


def _by_config(config: Any, context: int) -> str | None:
    """What a model does, by its config, that depends on length and is not computed by the engine."""
    kinds = set(getattr(config, "layer_types", None) or ()) - _EXACT_LAYERS
    if kinds:
        return f"it has layers of the kind {', '.join(sorted(map(str, kinds)))}"
    settings = config.to_dict()
    for name, value in settings.items():
        spans = value if isinstance(value, list | tuple) else [value]
        limits = any(type(span) is int and 0 < span < context for span in spans)
        if limits and _SPAN.search(name) and name not in _SLIDING:
            return f"its config has {name} = {value}"
    if ropes := _rope_types(settings) & _ROPE_BY_LENGTH:
        return f"its positions are of the kind {', '.join(sorted(ropes))}"
    return None


def _rope_types(settings: Any) -> set[str]:
    if not isinstance(settings, dict):
        return set()
    own = {str(settings[name]) for name in ("rope_type", "type") if isinstance(settings.get(name), str)}
    return own.union(*(_rope_types(value) for value in settings.values()))


@contextmanager
def _shrunk(net: Any) -> Iterator[None]:
    """Set every sliding window to `_SHRUNK` tokens, and back."""
    holders = {id(holder): holder for holder in (net.config, net.config.get_text_config(), *net.modules())}
    holders |= {id(module.config): module.config for module in net.modules() if hasattr(module, "config")}
    before = [
        (holder, holder.sliding_window)
        for holder in holders.values()
        if type(getattr(holder, "sliding_window", None)) is int
    ]
    try:
        for holder, _ in before:
            holder.sliding_window = _SHRUNK
        yield
    finally:
        for holder, window in before:
            holder.sliding_window = window


def _close(found: Any, wanted: Any, dtype: torch.dtype) -> bool:
    """Whether log-probabilities (rows, vocabulary) are the same, as far as the weights' type can tell."""
    if dtype == torch.float32:
        return bool((found - wanted).abs().max() < 1e-3)
    # A logit of 20 is rounded to an eighth in bfloat16, so single tokens are off by 0.6 nats in the embedded
    # model, and the distributions by 0.001 to 0.009.
    return bool((wanted.exp() * (wanted - found)).sum(-1).max() < 0.05)
