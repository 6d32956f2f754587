"""The routes. Whatever a client sends, it gets its answer or one line that says why not."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response, StreamingResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ilf import __version__
from ilf.counting import MEDIA
from ilf.records import Task
from ilf.serve import fusion, wire
from ilf.serve.engine import Broken, Engine, Group, Result
from ilf.serve.keys import Keys
from ilf.serve.metrics import Metrics
from ilf.serve.queue import FairQueue, Full, Item
from ilf.serve.settings import Settings
from ilf.serve.wire import Refused

REPEATED = 504
"""What a full queue says to SandboxFusion's clients: verl's repeats a request on this status and no other."""


class Service:
    """What the routes share; of one server."""

    def __init__(self, settings: Settings, keys: Keys, tasks: Mapping[str, Task]) -> None:
        self.settings, self.keys, self.tasks = settings, keys, tasks
        self.queue = FairQueue(settings.queue, settings.client_queue, settings.workers)
        self.metrics = Metrics(self.queue, settings.workers)
        self.engine = Engine(self.queue, settings, self.metrics.program)
        self.bytes = 0
        self.draining = False

    def client(self, request: Request) -> str:
        """Who asks.

        Raises:
            Refused: nobody that is known (401), or the server is stopping (503).
        """
        name = self.keys.client(request.headers)
        if name is None:
            raise Refused(401, "a key is needed: Authorization: Bearer KEY (or X-API-Key, or Basic)")
        request.state.client = name
        if self.draining:
            raise Refused(503, "the server is stopping; ask another one, or this one later", 10)
        return name

    async def body(self, request: Request) -> bytes:
        """A request's body, which counts in `bytes` until `release`.

        Raises:
            Refused: it is too large (413), too slow (408), or there are too many of them (503).
        """
        most = int(self.settings.body_mb * (1 << 20))
        too_large = Refused(413, f"the body is larger than {self.settings.body_mb:g} MiB")
        declared = request.headers.get("content-length", "0")
        if declared.isdigit() and int(declared) > most:
            raise too_large
        parts: list[bytes] = []
        size = 0
        request.state.size = 0
        try:
            async with asyncio.timeout(self.settings.read_seconds):
                async for part in request.stream():
                    size += len(part)
                    if size > most:
                        raise too_large
                    if self.bytes + len(part) > self.settings.all_bodies_mb * (1 << 20):
                        raise Refused(503, "too many requests are under way", 5)
                    self.bytes += len(part)
                    request.state.size = size
                    parts.append(part)
        except TimeoutError:
            raise Refused(408, f"the body took more than {self.settings.read_seconds:g} s") from None
        return b"".join(parts)

    def release(self, request: Request) -> None:
        """A request is answered."""
        self.bytes -= getattr(request.state, "size", 0)
        request.state.size = 0

    def start(self, client: str, group: Group, works: Sequence[Any]) -> Answers:
        """Queue the programs of a request.

        Raises:
            Refused: there is no room: 429 for this client, 503 for all.
        """
        answers = Answers(self.queue, client, len(works))
        items = [
            Item(client, group, work, answers.taker(number), answers.is_dropped)
            for number, work in enumerate(works)
        ]
        try:
            self.queue.put(items)
        except Full as full:
            self.metrics.refused.labels(client).inc(len(items))
            whose = "you have" if full.client else "the server has"
            raise Refused(
                429 if full.client else 503, f"{whose} too many programs in the queue", full.wait
            ) from None
        return answers


class Answers:
    """The results of one request, as they come."""

    def __init__(self, queue: FairQueue, client: str, count: int) -> None:
        self.queue, self.name, self.left = queue, client, count
        self.dropped = False
        self._loop = asyncio.get_running_loop()
        self._results: asyncio.Queue[tuple[int, Result]] = asyncio.Queue()

    def is_dropped(self) -> bool:
        """Whether nobody waits any more."""
        return self.dropped

    def taker(self, number: int) -> Callable[[Result], None]:
        """What takes the result of an item, in whatever thread."""

        def take(result: Result) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended: nobody waits
                self._loop.call_soon_threadsafe(self._results.put_nowait, (number, result))

        return take

    async def each(self) -> AsyncIterator[tuple[int, Result]]:
        """Results, with the index of their items."""
        try:
            while self.left:
                found = await self._results.get()
                self.left -= 1
                self.queue.taken(self.name, 1)
                yield found
        finally:
            self.drop()

    async def only(self, request: Request) -> Result:
        """The result of the one item there is; the item is dropped where the client has gone."""
        gone = asyncio.create_task(_gone(request))
        result = asyncio.create_task(self._results.get())
        try:
            await asyncio.wait({gone, result}, return_when=asyncio.FIRST_COMPLETED)
            if not result.done():
                raise Refused(499, "the client has gone")
            return result.result()[1]
        finally:
            gone.cancel()
            result.cancel()
            self.drop()

    def drop(self) -> None:
        """Nobody waits for what is left."""
        self.dropped = True
        if self.left:
            self.queue.taken(self.name, self.left)
            self.left = 0


async def _gone(request: Request) -> None:
    while not await request.is_disconnected():
        await asyncio.sleep(0.5)


def _json(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """JSON in ASCII: what programs print and clients send may hold lone surrogates."""
    return Response(wire.line_of(value), status, headers, "application/json")


class _Stream(StreamingResponse):
    """Lines as they come; `done` is called at the end, also where the client has gone before the first."""

    def __init__(self, lines: AsyncIterator[bytes], done: Callable[[], None]) -> None:
        super().__init__(lines, media_type="application/x-ndjson")
        self._done = done

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._done()


class _Counted:
    """Counts requests by their path and status."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self.app, self.service = app, service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def counting(message: Message) -> None:
            if message["type"] == "http.response.start":
                path = getattr(scope.get("route"), "path", "other")
                client = scope.get("state", {}).get("client") or "-"
                self.service.metrics.requests.labels(path, client, str(message["status"])).inc()
            await send(message)

        await self.app(scope, receive, counting if scope["type"] == "http" else send)


def create_app(service: Service) -> FastAPI:
    """The service as an ASGI application; the engine is started and ended by who runs it."""
    app = FastAPI(title="ilf verifier", version=__version__, openapi_url=None, docs_url=None, redoc_url=None)
    app.state.service = service

    async def refused(request: Request, error: Exception) -> Response:
        assert isinstance(error, Refused)
        headers = {} if error.wait is None else {"Retry-After": str(error.wait)}
        if error.status == 401:
            headers["WWW-Authenticate"] = 'Bearer realm="ilf verifier"'
        if error.status in (401, 408, 413, 499, 503):
            headers["Connection"] = "close"  # the rest of the body is not read
        return _json({"error": error.reason}, error.status, headers)

    async def unknown(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return _json({"error": str(error.detail)}, error.status_code, error.headers)

    app.add_exception_handler(Refused, refused)
    app.add_exception_handler(HTTPException, unknown)

    app.add_middleware(_Counted, service=service)

    @app.post("/v1/verify")
    async def verify(request: Request) -> Response:
        client = service.client(request)
        try:
            body = await service.body(request)
            group, pairs = await asyncio.to_thread(wire.work_of, body, service.tasks, service.settings)
            answers = service.start(client, group, pairs)
        except BaseException:
            service.release(request)
            raise

        async def rows() -> AsyncIterator[bytes]:
            errors = 0
            async for index, result in answers.each():
                errors += isinstance(result, Broken)
                yield wire.line_of(wire.row_of(index, result))
            yield wire.line_of({"done": len(pairs), "errors": errors})

        def done() -> None:
            answers.drop()
            service.release(request)

        return _Stream(rows(), done)

    @app.post("/run_code")
    async def run_code(request: Request) -> Response:
        group, script = await _asked(service, request, fusion.script_of, service.settings)
        return _json(fusion.ran(await _one(service, request, group, script)))

    @app.post("/submit")
    async def submit(request: Request) -> Response:
        group, pair, ask = await _asked(
            service, request, fusion.submission_of, service.tasks, service.settings
        )
        return _json(fusion.judged(ask, pair, await _one(service, request, group, pair)))

    @app.get("/metrics")
    async def metrics(request: Request) -> Response:
        request.state.client = service.keys.client(request.headers)
        if request.state.client is None:
            raise Refused(401, "a key is needed: authorization in Prometheus' scrape_config")
        return Response(service.metrics.text(), media_type=MEDIA)

    @app.get("/health")
    async def health(request: Request) -> Response:
        state = (
            "stopping" if service.draining
            else "ok" if service.engine.alive and service.metrics.healthy
            else "the sandbox fails"
        )  # fmt: skip
        told = {
            "status": state, "version": __version__, "workers": service.settings.workers,
            "pending": service.queue.pending,
        }  # fmt: skip
        return _json(told, 200 if state == "ok" else 503)

    return app


async def _asked(service: Service, request: Request, read: Callable[..., Any], *rest: Any) -> Any:
    """A request of SandboxFusion's, read."""
    service.client(request)
    try:
        return await asyncio.to_thread(read, await service.body(request), *rest)
    finally:
        service.release(request)


async def _one(service: Service, request: Request, group: Group, work: Any) -> Result:
    try:
        answers = service.start(request.state.client, group, [work])
    except Refused as error:
        raise Refused(REPEATED, error.reason, error.wait) from None
    return await answers.only(request)
