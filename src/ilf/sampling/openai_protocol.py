"""Engine `openai`: what a request says and how an answer is read, for both endpoints."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ilf.prompts import Prompt
from ilf.sampling import Completion, SamplingParams
from ilf.sampling.text import cut

Api = Literal["auto", "completions", "chat"]
FEW_STOPS = 4
"""What OpenAI's own servers take of stop strings."""
OPTIONAL = ("logprobs", "n", "seed")
"""Fields that can be left out where a server does not take them."""
_OPENING_FENCE = re.compile(r"\A(?:.*?\n)?```[\w+-]*\r?\n", re.DOTALL)


@dataclass(frozen=True)
class Request:
    """Samples of one prompt that are asked for together."""

    place: int
    prompt: Prompt
    indices: range
    seed: int

    def tokens(self, n: int, params: SamplingParams) -> int:
        """What n of its samples take at most, for a budget: the prompt counts a token for three bytes."""
        return len(self.prompt.text.encode("utf-8", "surrogatepass")) // 3 + n * params.max_tokens


@dataclass(frozen=True)
class Protocol:
    """How a model is asked: see the arguments of `openai_engine.open`."""

    model: str
    api: Api
    prefill: bool
    extra_body: Mapping[str, Any]

    def send(
        self, client: Any, prompt: Prompt, n: int, seed: int, params: SamplingParams, refused: set[str]
    ) -> Any:
        """Ask for n samples, without the fields that the server refuses, and return its answer."""
        chat = self._chats(prompt)
        fields: dict[str, Any] = {
            "model": self.model,
            "max_tokens": params.max_tokens,
            "temperature": params.temperature,
            "top_p": params.top_p,
            "n": n,
            "seed": seed,
            "logprobs": True if chat else 1,
            "extra_body": self.extra_body,
        }
        if params.stop and (self.prefill or not chat):
            fields["stop"] = list(params.stop[:FEW_STOPS] if "stop" in refused else params.stop)
        fields = {name: value for name, value in fields.items() if name == "stop" or name not in refused}
        if not chat:
            return client.completions.create(prompt=prompt.text, **fields)
        messages = [{"role": "user", "content": prompt.user or prompt.text}]
        if self.prefill and prompt.prefill:
            messages.append({"role": "assistant", "content": prompt.prefill})
        return client.chat.completions.create(messages=messages, **fields)

    def _chats(self, prompt: Prompt) -> bool:
        return self.api == "chat" or (self.api == "auto" and prompt.user is not None)

    def read(
        self, request: Request, index: int, choice: Any, usage: Any, params: SamplingParams
    ) -> Completion:
        """One sample of an answer; `usage` is the answer's where it has this sample alone."""
        chat = self._chats(request.prompt)
        whole = (choice.message.content if chat else choice.text) or ""
        text = _continued(whole, request.prompt.prefill, begun=self.prefill) if chat else whole
        logprobs = getattr(choice, "logprobs", None)
        if chat:
            tokens = [(t.token, t.logprob) for t in getattr(logprobs, "content", None) or []]
        else:
            texts, values = getattr(logprobs, "tokens", None), getattr(logprobs, "token_logprobs", None) or []
            tokens = [
                (t, v) for t, v in zip(texts or [""] * len(values), values, strict=False) if v is not None
            ]
        kept = cut(text, params.stop)
        if kept != text:  # the server went on behind a stop string it was not told of
            last = min(len(part) for part in params.stop if text.startswith(part, len(kept))) - 1
            tokens = _until(tokens, whole, len(whole) - len(text) + len(kept) + last)
        listed = [value for _, value in tokens]
        ended = "length" if choice.finish_reason == "length" and kept == text else "stop"
        return Completion(
            request.place,
            index,
            kept,
            sum(listed) if listed else None,
            len(listed) or (getattr(usage, "completion_tokens", None) if kept == text else None),
            "length" if ended == "length" else "stop",
        )


def _until(tokens: list[tuple[str, float]], text: str, end: int) -> list[tuple[str, float]]:
    """The tokens of `text` up to the one in which character `end` stands; none where they spell another."""
    if not text.startswith("".join(token for token, _ in tokens)[: len(text)]):
        return []
    kept, length = [], 0
    for token in tokens:
        kept.append(token)
        length += len(token[0])
        if length > end:
            break
    return kept


def _continued(text: str, prefill: str, *, begun: bool) -> str:
    """What follows `prefill` in a chat server's answer, which may repeat it."""
    if begun:
        return text.removeprefix(prefill)
    text = _OPENING_FENCE.sub("", text, count=1)
    return text.removeprefix(_OPENING_FENCE.sub("", prefill, count=1))
