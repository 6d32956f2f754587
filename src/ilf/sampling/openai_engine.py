"""Engine `openai`: servers of OpenAI's protocol (vLLM, llama.cpp, SGLang, `transformers serve` …).

Prompts of style `completion` go to the completions endpoint as they are. Those of style `chat` go to the chat
endpoint: the user's message, and the opening of the answer as the last message for the server to continue.
Where a server does not continue it, set `prefill = false`: then the first code block of its answer is taken.

What a server refuses by name (several samples a request, log-probabilities, a seed) is left out from then on.
A server that refuses the stop strings (OpenAI's own takes four at most) gets the first four from then on. A
text is cut at the others here, and what was sampled behind the cut is no part of its log-probability.

Which of several servers gets a request, and when, is `servers.py`.
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
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from ilf.errors import ConfigError, ModelError, missing
from ilf.prompts import Prompt
from ilf.sampling import Completion, SamplingParams
from ilf.sampling.openai_protocol import FEW_STOPS, OPTIONAL, Api, Protocol, Request
from ilf.sampling.servers import Budget, Kind, NoServer, Pool, Server, Ticket, pause
from ilf.sampling.text import sample_key

log = logging.getLogger(__name__)

_START, _MOST = 8, 64
_CONNECT_SECONDS = 10.0
_LONGEST_PAUSE = 8.0
_OVERLOAD = (429, 503, 529)
_AGAIN = (408, 409, 425)
_SAMPLES_EACH = 30
"""Samples that a request is thought to ask for: how many requests a long step has to hand over at once."""


def open(
    model: str,
    *,
    base_url: str | Sequence[str] | None = None,
    api: Api = "auto",
    api_key_env: str = "OPENAI_API_KEY",
    concurrency: int | None = None,
    samples_per_request: int | None = None,
    requests_per_minute: int | None = None,
    tokens_per_minute: int | None = None,
    timeout: float = 300.0,
    retries: int = 6,
    patience: float = 300.0,
    prefill: bool = True,
    extra_body: Mapping[str, Any] | None = None,
) -> OpenAISampler:
    """Connect to servers.

    Args:
        model: the name that the servers know the model by.
        base_url: such as `http://localhost:8000/v1`, or a list of several servers of the same weights; None
            means the variable OPENAI_BASE_URL, else OpenAI's.
        api: the endpoint; `auto` goes by the prompts' style.
        api_key_env: the environment variable that holds the key; servers of one's own often need none.
        concurrency: requests at once at each server at most; None begins with 8 and finds out, up to 64.
        samples_per_request: at most so many of a prompt's n samples are asked for at once; None is all.
        requests_per_minute: in any 60 seconds, at all servers together; None is any number.
        tokens_per_minute: as above, of prompts and answers; a request counts with the most it may take until
            its answer says what it took.
        timeout: seconds for one request.
        retries: of a request that is refused for load (429, 503), fails on the server (5xx) or gets no
            answer; the pause doubles each time, from half a second to eight. Refusals for load count only
            while no other request is answered.
        patience: seconds for which no server may be there, once one has answered, before that is an error.
        prefill: chat endpoint: the server continues an answer that was begun.
        extra_body: more fields for each request, as the server documents them.

    Raises:
        ConfigError: an option has a wrong value.
        MissingDependency: the package `openai` is not installed.
    """
    if api not in ("auto", "completions", "chat"):
        raise ConfigError(f"sampling engine 'openai': api = {api!r}; choose auto, completions or chat")
    for name, value in (
        ("concurrency", concurrency), ("samples_per_request", samples_per_request),
        ("requests_per_minute", requests_per_minute), ("tokens_per_minute", tokens_per_minute),
    ):  # fmt: skip
        if value is not None and (type(value) is not int or value < 1):
            raise ConfigError(
                f"sampling engine 'openai': {name} = {value!r}; it must be a number, at least 1"
            )
    for name, number, least in (("timeout", timeout, "above 0"), ("patience", patience, "0 or more"),
                                ("retries", retries, "0 or more")):  # fmt: skip
        if type(number) not in (int, float) or number < 0 or (number == 0 and least == "above 0"):
            raise ConfigError(f"sampling engine 'openai': {name} = {number!r}; it must be a number, {least}")
    urls = _urls(base_url)
    try:
        import openai
    except ImportError:
        raise missing("openai", "openai") from None
    clients = [
        openai.OpenAI(
            base_url=url,
            api_key=os.environ.get(api_key_env) or "none",
            timeout=openai.Timeout(timeout, connect=min(timeout, _CONNECT_SECONDS)),
            max_retries=0,  # a request may be better off at another server
        )
        for url in urls
    ]
    most = concurrency or _MOST
    servers = [Server(client, min(most, concurrency or _START), most) for client in clients]
    pool = Pool(servers, Budget(requests_per_minute, tokens_per_minute), int(retries), patience)
    return OpenAISampler(
        pool, Protocol(model, api, prefill, dict(extra_body or {})), samples_per_request, int(retries)
    )


def _urls(base_url: str | Sequence[str] | None) -> list[str | None]:
    """The servers' addresses; [None] leaves the one to the environment."""
    if base_url is None:
        return [None]
    urls = list(base_url) if isinstance(base_url, Sequence) and not isinstance(base_url, str) else [base_url]
    wrong = [url for url in urls if not isinstance(url, str) or not re.match(r"https?://[^/\s]+", url)]
    if wrong or not urls:
        said = f"{wrong[0]!r}" if wrong else "[]"
        raise ConfigError(
            f"sampling engine 'openai': base_url: {said}; it must be addresses such as http://localhost:8000/v1"
        )
    if len({url.rstrip("/") for url in urls}) < len(urls):
        raise ConfigError("sampling engine 'openai': base_url names a server twice")
    return list(urls)


class OpenAISampler:
    """Samples from servers, as many requests at once as they take."""

    def __init__(self, pool: Pool, protocol: Protocol, most: int | None, retries: int) -> None:
        urls = "\n".join(sorted(server.url for server in pool.servers))
        self.model = hashlib.sha256(f"{urls}\n{protocol.model}".encode()).hexdigest()
        """Hash of the servers' addresses and the model's name: the weights are out of sight."""
        self._pool, self._protocol, self._most, self._retries = pool, protocol, most, retries
        self._threads = sum(server.most for server in pool.servers)
        self.at_once = self._threads * min(most or _SAMPLES_EACH, _SAMPLES_EACH)
        """Samples that keep all servers busy."""

    def sample(
        self,
        prompts: Sequence[Prompt],
        params: SamplingParams,
        progress: Callable[[int], None] | None = None,
    ) -> Iterator[Completion]:
        """See `Sampler.sample`. How far a seed decides the samples is up to the server.

        Raises:
            ModelError: no server can be reached, one refuses a request (a prompt too long …), or answers with
                something else than completions.
        """
        seen: Counter[str] = Counter()
        requests = []
        # Some servers, vLLM among them, refuse several greedy samples in one request.
        most = min(params.n, self._most or params.n) if params.temperature else 1
        for place, prompt in enumerate(prompts):
            for first in range(0, params.n, most):
                key = sample_key(params.seed, prompt.text, seen[prompt.text], first)
                indices = range(first, min(first + most, params.n))
                requests.append(Request(place, prompt, indices, key % 2**31))
            seen[prompt.text] += 1
        for completion in self._in_parallel(requests, params):
            if progress is not None:
                progress(completion.tokens or 0)
            yield completion

    def check(self, prompts: Sequence[Prompt], params: SamplingParams) -> None:
        """See `Sampler.check`; the servers alone know their context."""

    def _in_parallel(self, requests: list[Request], params: SamplingParams) -> Iterator[Completion]:
        """Completions as they arrive, from threads that a Ctrl-C does not wait for."""
        todo: queue.SimpleQueue[Request] = queue.SimpleQueue()
        done: queue.SimpleQueue[Completion | Exception] = queue.SimpleQueue()
        stopped = threading.Event()

        def work() -> None:
            while not stopped.is_set():
                try:
                    request = todo.get_nowait()
                except queue.Empty:
                    return
                try:
                    for completion in self._complete(request, params, stopped):
                        done.put(completion)
                except Exception as error:  # handed to the caller's thread
                    done.put(error)

        for request in requests:
            todo.put(request)
        for _ in range(min(self._threads, len(requests))):
            threading.Thread(target=work, daemon=True).start()
        try:
            for _ in range(sum(len(request.indices) for request in requests)):
                result = done.get()
                if isinstance(result, Exception):
                    raise result
                yield result
        finally:
            stopped.set()
            self._pool.wake()

    def _complete(
        self, request: Request, params: SamplingParams, stopped: threading.Event
    ) -> Iterator[Completion]:
        """One request's samples, in as many calls as the server needs."""
        done = 0
        while done < len(request.indices):
            left = request.indices[done:]
            found = self._call(request, len(left), (request.seed + done) % 2**31, params, stopped)
            if found is None:
                return
            server, answer = found
            choices = getattr(answer, "choices", None)
            if not choices:
                raise ModelError(f"{server.url} answered without choices: {str(answer)[:200]}")
            for index, choice in zip(left, choices, strict=False):
                only = getattr(answer, "usage", None) if len(choices) == 1 else None
                yield self._protocol.read(request, index, choice, only, params)
            done += min(len(left), len(choices))

    def _call(
        self, request: Request, n: int, seed: int, params: SamplingParams, stopped: threading.Event
    ) -> tuple[Server, Any] | None:
        """An answer and who gave it, from whichever server and however often it takes; None once stopped."""
        import openai

        tries, answers, tokens = 0, self._pool.answers, request.tokens(n, params)
        while True:
            ticket = self._ticket(request, tokens, stopped)
            if ticket is None:
                return None
            server, refused = ticket.server, set(ticket.server.refused)
            try:
                answer = self._protocol.send(server.client, request.prompt, n, seed, params, refused)
            except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
                # Where it names a field we can do without, go on without it. Else it is a real refusal.
                self._pool.refused(ticket)
                said = error.response.text
                droppable = (*OPTIONAL, "stop") if len(params.stop) > FEW_STOPS else OPTIONAL
                named = {
                    field for field in droppable if re.search(rf"['\"`](?:body\.)?{field}\W", said)
                } - refused
                if not named:
                    raise self._refusal(server, request, error) from None
                log.info("%s does not take %s as sent", server.url, ", ".join(sorted(named)))
                server.refused |= named
            except (openai.OpenAIError, ValueError) as error:  # ValueError: the answer is not JSON
                kind = _kind(error)
                if kind is None:
                    self._pool.refused(ticket)
                    raise self._refusal(server, request, error) from None
                wait = _retry_after(error)
                self._pool.failed(ticket, kind, error, wait)
                # Others are served: waiting is all that this takes.
                tries = 1 if kind == "overload" and self._pool.answers > answers else tries + 1
                answers = self._pool.answers
                if tries > self._retries:
                    raise self._refusal(server, request, error) from None
                if kind == "failed":
                    stopped.wait(pause(tries, _LONGEST_PAUSE) if wait is None else wait)
            except BaseException:
                self._pool.refused(ticket)
                raise
            else:
                self._pool.done(ticket, getattr(getattr(answer, "usage", None), "total_tokens", None))
                return server, answer

    def _ticket(self, request: Request, tokens: int, stopped: threading.Event) -> Ticket | None:
        try:
            return self._pool.acquire(tokens, stopped)
        except NoServer as error:
            server = self._pool.servers[0]
            others = f" (and {len(self._pool.servers) - 1} others)" if len(self._pool.servers) > 1 else ""
            problem = self._refusal(server, request, server.problem or error)
            raise ModelError(f"{problem}: the server{others} {error}") from None

    def _refusal(self, server: Server, request: Request, error: Exception) -> ModelError:
        answer = getattr(error, "response", None)
        text = " ".join(f"{error} {answer.text if answer is not None else ''}".split())[:300]
        return ModelError(
            f"{server.url}, model {self._protocol.model!r}, prompt {request.place}: "
            f"{type(error).__name__}: {text}"
        )


def _kind(error: Exception) -> Kind | None:
    """How a request failed; None where trying again is of no use."""
    import openai

    if isinstance(error, openai.APITimeoutError):
        return "unreachable" if type(error.__cause__).__name__ == "ConnectTimeout" else "failed"
    if isinstance(error, openai.APIConnectionError):
        return "unreachable"
    if not isinstance(error, openai.APIStatusError) or error.code == "insufficient_quota":
        return None
    if error.status_code in _OVERLOAD:
        return "overload"
    return "failed" if error.status_code >= 500 or error.status_code in _AGAIN else None


def _retry_after(error: Exception) -> float | None:
    """Seconds of an answer's `Retry-After`: a number or a date (RFC 9110, section 10.2.3)."""
    headers = getattr(getattr(error, "response", None), "headers", {})
    said = headers.get("retry-after", "")
    try:
        if "retry-after-ms" in headers:
            return max(0.0, float(headers["retry-after-ms"]) / 1000)
        if re.fullmatch(r"\d+(\.\d+)?", said):
            return float(said)
        return max(0.0, (parsedate_to_datetime(said) - datetime.now(UTC)).total_seconds()) if said else None
    except (ValueError, TypeError):  # neither, or a date without its zone
        return None
