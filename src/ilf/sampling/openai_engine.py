"""Engine `openai`: any server of OpenAI's protocol (vLLM, llama.cpp, SGLang, `transformers serve` …).

Prompts of style `completion` go to the completions endpoint as they are. Those of style `chat` go to the chat
endpoint: the user's message, and the opening of the answer as the last message for the server to continue.
Where a server does not continue it, set `prefill = false`: then the first code block of its answer is taken.

What a server refuses by name (several samples a request, log-probabilities, a seed) is left out from then on.
A server that refuses the stop strings (OpenAI's own takes four at most) gets the first four from then on. A
text is cut at the others here, and what was sampled behind the cut is no part of its log-probability.
"""

from __future__ import annotations

import hashlib
import logging
import os
import queue
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ilf.errors import ConfigError, ModelError, missing
from ilf.prompts import Prompt
from ilf.sampling import Completion, SamplingParams
from ilf.sampling.text import cut, sample_key

log = logging.getLogger(__name__)

Api = Literal["auto", "completions", "chat"]
_OPTIONAL = ("logprobs", "n", "seed")
_FEW_STOPS = 4
"""What OpenAI's own servers take of stop strings."""
_OPENING_FENCE = re.compile(r"\A(?:.*?\n)?```[\w+-]*\r?\n", re.DOTALL)


def open(
    model: str,
    *,
    base_url: str | None = None,
    api: Api = "auto",
    api_key_env: str = "OPENAI_API_KEY",
    concurrency: int = 8,
    samples_per_request: int | None = None,
    timeout: float = 300.0,
    retries: int = 6,
    prefill: bool = True,
    extra_body: Mapping[str, Any] | None = None,
) -> OpenAISampler:
    """Connect to a server.

    Args:
        model: the name that the server knows the model by.
        base_url: such as `http://localhost:8000/v1`; None means the variable OPENAI_BASE_URL, else OpenAI's.
        api: the endpoint; `auto` goes by the prompts' style.
        api_key_env: the environment variable that holds the key; servers of one's own often need none.
        concurrency: requests at once.
        samples_per_request: at most so many of a prompt's n samples are asked for at once; None is all.
        timeout: seconds for one request.
        retries: of a request that is refused for load (429), fails on the server (5xx) or gets no answer; the
            pause doubles each time, from half a second to eight.
        prefill: chat endpoint: the server continues an answer that was begun.
        extra_body: more fields for each request, as the server documents them.

    Raises:
        ConfigError: an option has a wrong value.
        MissingDependency: the package `openai` is not installed.
    """
    if api not in ("auto", "completions", "chat"):
        raise ConfigError(f"sampling engine 'openai': api = {api!r}; choose auto, completions or chat")
    if concurrency < 1 or (samples_per_request or 1) < 1:
        raise ConfigError("sampling engine 'openai': concurrency and samples_per_request must be at least 1")
    try:
        import openai
    except ImportError:
        raise missing("openai", "openai") from None
    client = openai.OpenAI(
        base_url=base_url,
        api_key=os.environ.get(api_key_env) or "none",
        timeout=timeout,
        max_retries=retries,
    )
    return OpenAISampler(
        client, model, api, concurrency, samples_per_request, prefill, dict(extra_body or {})
    )


@dataclass(frozen=True)
class _Request:
    """Samples of one prompt that are asked for together."""

    place: int
    prompt: Prompt
    indices: range
    seed: int


class OpenAISampler:
    """Samples from a server, `concurrency` requests at once."""

    def __init__(
        self,
        client: Any,
        model: str,
        api: Api,
        concurrency: int,
        samples_per_request: int | None,
        prefill: bool,
        extra_body: dict[str, Any],
    ) -> None:
        self.model = hashlib.sha256(f"{client.base_url}\n{model}".encode()).hexdigest()
        """Hash of the server's address and the model's name: the weights are out of sight."""
        self._client, self._name, self._api, self._prefill = client, model, api, prefill
        self._concurrency, self._most, self._extra = concurrency, samples_per_request, extra_body
        self._refused: set[str] = set()

    def sample(
        self,
        prompts: Sequence[Prompt],
        params: SamplingParams,
        progress: Callable[[int], None] | None = None,
    ) -> Iterator[Completion]:
        """See `Sampler.sample`. How far a seed decides the samples is up to the server.

        Raises:
            ModelError: the server cannot be reached, refuses a request (a prompt too long …), or answers with
                something else than completions.
        """
        seen: Counter[str] = Counter()
        requests = []
        most = min(params.n, self._most or params.n)
        for place, prompt in enumerate(prompts):
            for first in range(0, params.n, most):
                key = sample_key(params.seed, prompt.text, seen[prompt.text], first)
                indices = range(first, min(first + most, params.n))
                requests.append(_Request(place, prompt, indices, key % 2**31))
            seen[prompt.text] += 1
        for completion in self._in_parallel(requests, params):
            if progress is not None:
                progress(completion.tokens or 0)
            yield completion

    def check(self, prompts: Sequence[Prompt], params: SamplingParams) -> None:
        """See `Sampler.check`; the server alone knows its context."""

    def _in_parallel(self, requests: list[_Request], params: SamplingParams) -> Iterator[Completion]:
        """Completions as they arrive, from threads that a Ctrl-C does not wait for."""
        todo: queue.SimpleQueue[_Request] = queue.SimpleQueue()
        done: queue.SimpleQueue[Completion | Exception] = queue.SimpleQueue()
        stopped = threading.Event()

        def work() -> None:
            while not stopped.is_set():
                try:
                    request = todo.get_nowait()
                except queue.Empty:
                    return
                try:
                    for completion in self._complete(request, params):
                        done.put(completion)
                except Exception as error:  # handed to the caller's thread
                    done.put(error)

        for request in requests:
            todo.put(request)
        for _ in range(min(self._concurrency, len(requests))):
            threading.Thread(target=work, daemon=True).start()
        try:
            for _ in range(sum(len(request.indices) for request in requests)):
                result = done.get()
                if isinstance(result, Exception):
                    raise result
                yield result
        finally:
            stopped.set()

    def _complete(self, request: _Request, params: SamplingParams) -> Iterator[Completion]:
        """One request's samples, in as many calls as the server needs."""
        done = 0
        while done < len(request.indices):
            left = request.indices[done:]
            answer = self._call(request, len(left), (request.seed + done) % 2**31, params)
            choices = getattr(answer, "choices", None)
            if not choices:
                raise ModelError(f"{self._client.base_url} answered without choices: {str(answer)[:200]}")
            for index, choice in zip(left, choices, strict=False):
                only = getattr(answer, "usage", None) if len(choices) == 1 else None
                yield self._read(request, index, choice, only, params)
            done += min(len(left), len(choices))

    def _call(self, request: _Request, n: int, seed: int, params: SamplingParams) -> Any:
        import openai

        while True:
            refused = set(self._refused)
            try:
                return self._send(request.prompt, n, seed, params, refused)
            except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
                # Where it names a field we can do without, go on without it. Else it is a real refusal.
                said = error.response.text
                droppable = (*_OPTIONAL, "stop") if len(params.stop) > _FEW_STOPS else _OPTIONAL
                named = {field for field in droppable if re.search(rf"['\"`]{field}\W", said)} - refused
                if not named:
                    raise self._refusal(request, error) from None
                log.info("%s does not take %s as sent", self._client.base_url, ", ".join(sorted(named)))
                self._refused |= named
            except (openai.OpenAIError, ValueError) as error:  # ValueError: the answer is not JSON
                raise self._refusal(request, error) from None

    def _refusal(self, request: _Request, error: Exception) -> ModelError:
        answer = getattr(error, "response", None)
        text = " ".join(f"{error} {answer.text if answer is not None else ''}".split())[:300]
        return ModelError(
            f"{self._client.base_url}, model {self._name!r}, prompt {request.place}: "
            f"{type(error).__name__}: {text}"
        )

    def _send(self, prompt: Prompt, n: int, seed: int, params: SamplingParams, refused: set[str]) -> Any:
        chat = self._chats(prompt)
        fields: dict[str, Any] = {
            "model": self._name,
            "max_tokens": params.max_tokens,
            "temperature": params.temperature,
            "top_p": params.top_p,
            "n": n,
            "seed": seed,
            "logprobs": True if chat else 1,
            "extra_body": self._extra,
        }
        if params.stop and (self._prefill or not chat):
            fields["stop"] = list(params.stop[:_FEW_STOPS] if "stop" in refused else params.stop)
        fields = {name: value for name, value in fields.items() if name == "stop" or name not in refused}
        if not chat:
            return self._client.completions.create(prompt=prompt.text, **fields)
        messages = [{"role": "user", "content": prompt.user or prompt.text}]
        if self._prefill and prompt.prefill:
            messages.append({"role": "assistant", "content": prompt.prefill})
        return self._client.chat.completions.create(messages=messages, **fields)

    def _chats(self, prompt: Prompt) -> bool:
        return self._api == "chat" or (self._api == "auto" and prompt.user is not None)

    def _read(
        self, request: _Request, index: int, choice: Any, usage: Any, params: SamplingParams
    ) -> Completion:
        chat = self._chats(request.prompt)
        whole = (choice.message.content if chat else choice.text) or ""
        text = _continued(whole, request.prompt.prefill, begun=self._prefill) if chat else whole
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
            tokens = _until(tokens, whole, len(whole) - len(text) + len(kept))
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
