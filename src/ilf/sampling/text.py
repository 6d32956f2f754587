"""Between text and tokens, for engines that hold the model themselves: prompts in, stop strings out."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, Literal

from ilf.errors import ModelError, PromptTooLong
from ilf.prompts import Prompt
from ilf.sampling import SamplingParams

# Tokens of the prompt that a completion's decoding starts from: a token's text may depend on what stands
# before it (the space that some tokenizers drop at the start of a text).
_CONTEXT = 4


def encode(
    tokenizer: Any, prompts: Sequence[Prompt], params: SamplingParams, context: int
) -> list[list[int]]:
    """The token ids of each prompt.

    Raises:
        ModelError: a prompt is empty.
        PromptTooLong: with `max_tokens` after it a prompt is longer than `context` positions.
    """
    if not prompts:
        return []
    ids: list[list[int]] = tokenizer(
        [prompt.text for prompt in prompts], add_special_tokens=False, return_attention_mask=False
    ).input_ids
    for index, row in enumerate(ids):
        if not row:
            raise ModelError(f"prompt {index} is empty: a model needs at least one token to go on from")
        if len(row) + params.max_tokens > context:
            raise PromptTooLong(
                f"prompt {index} has {len(row)} tokens; with max_tokens = {params.max_tokens} after it that"
                f" is more than the model's context of {context}: shorten the prompt or lower max_tokens",
                index,
            )
    return ids


def sample_key(seed: int, prompt: str, occurrence: int, index: int) -> int:
    """A 64-bit key for one sample's random numbers: it depends on nothing else in the batch.

    Args:
        seed: the run's.
        prompt: the prompt's text.
        occurrence: how many prompts of the same text stand before it.
        index: which of the n samples.
    """
    text = f"{seed}\n{occurrence}\n{index}\n{prompt}".encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.sha256(text).digest()[:8], "little")


def cut(text: str, stop: Sequence[str], start: int = 0) -> str:
    """`text` up to the stop string that is complete first, looked for from `start` on.

    That is where a sample ends that is read as it grows: of "b" and "abc" in "abc" it is "b".
    """
    found = [(at + len(part), at) for part in stop if (at := text.find(part, start)) >= 0]
    return text[: min(found)[1]] if found else text


class TextStream:
    """One sample as it grows: decodes its tokens one by one and ends it at an end token or a stop string."""

    def __init__(
        self, tokenizer: Any, prompt: Sequence[int], params: SamplingParams, end: Sequence[int]
    ) -> None:
        self.text = ""
        """What is decoded so far, cut before the stop string once it ended there."""
        self.tokens = 0
        """Number of sampled tokens, the end token included."""
        self.finish: Literal["stop", "length"] | None = None
        self._tokenizer, self._end = tokenizer, frozenset(end)
        self._stop, self._max_tokens = params.stop, params.max_tokens
        self._longest = max(map(len, params.stop), default=0)
        self._ids = list(prompt[-_CONTEXT:])
        # ids[start:read] is text already; ids[start:] is decoded again with each token.
        self._start, self._read = 0, len(self._ids)
        self._known = self._decode(self._ids)

    def push(self, token: int) -> bool:
        """Take the next sampled token; True when the sample has ended with it."""
        self.tokens += 1
        if token in self._end:
            return self._close("stop")
        self._ids.append(token)
        window = self._decode(self._ids[self._start :])
        if len(window) > len(self._known) and not window.endswith("\ufffd"):  # no character is half here
            searched = len(self.text)
            self.text += window[len(self._known) :]
            self._start, self._read = self._read, len(self._ids)
            self._known = self._decode(self._ids[self._start : self._read])
            if self._cut(max(0, searched - self._longest + 1)):
                self.finish = "stop"
                return True
        return self.tokens >= self._max_tokens and self._close("length")

    def _close(self, finish: Literal["stop", "length"]) -> bool:
        """End the sample here; a last character of which some bytes are missing shows as U+FFFD."""
        self.text += self._decode(self._ids[self._start :])[len(self._known) :]
        self.finish = "stop" if self._cut(0) else finish
        return True

    def _cut(self, start: int) -> bool:
        before = len(self.text)
        self.text = cut(self.text, self._stop, start)
        return len(self.text) < before

    def _decode(self, ids: list[int]) -> str:
        return str(self._tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False))
