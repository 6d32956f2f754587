"""For those who keep the server running: is it well (`/health`), and what does it count (`/metrics`)?"""

from __future__ import annotations

import time
from collections.abc import Iterable

from fastapi import APIRouter
from prometheus_client import Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy import select
from sqlalchemy.exc import DBAPIError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ilf import __version__
from ilf.annotate import accounts
from ilf.annotate.pages import web_of
from ilf.annotate.schema import Item
from ilf.annotate.store import Refused
from ilf.annotate.web import Web
from ilf.counting import MEDIA, SECONDS, Counts

router = APIRouter(include_in_schema=False)
_STATES = (
    "items",
    "done",
    "accepted",
    "ready",
    "waiting",
    "returned",
    "held",
    "questioned",
    "removed",
    "left",
)


class Metrics(Counts):
    """Of one annotation server; how far people are is read when somebody asks."""

    def __init__(self, web: Web) -> None:
        super().__init__("ilf_annotate", ("route", "method", "status"))
        self.took = Histogram(
            "ilf_annotate_request_seconds", "Seconds from a request to the end of its reply.", ("route",),
            buckets=SECONDS, registry=self.registry,
        )  # fmt: skip
        self.registry.register(_Progress(web))


class _Progress(Collector):
    def __init__(self, web: Web) -> None:
        self.web = web

    def describe(self) -> Iterable[Metric]:
        return []

    def collect(self) -> Iterable[Metric]:
        now = self.web.progress()
        for name in _STATES:
            yield GaugeMetricFamily(f"ilf_annotate_{name}", f"Progress: {name}.", getattr(now, name))


class Counted:
    """ASGI middleware: counts requests by route (never by address, which holds numbers and secrets)."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.perf_counter(), 500

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, answer)
        finally:
            route = getattr(scope.get("route"), "path", "") or "none"
            self._metrics.requests.labels(route, scope["method"], str(status)).inc()
            self._metrics.took.labels(route).observe(time.perf_counter() - began)


@router.get("/health")
def health(request: Request) -> Response:
    """Whether the database answers; for anyone who can reach the server, so it says nothing else."""
    try:
        with web_of(request).store.read() as session:
            session.scalar(select(Item.id).limit(1))
    except DBAPIError:
        return JSONResponse({"status": "the database does not answer", "version": __version__}, 503)
    return JSONResponse({"status": "ok", "version": __version__})


@router.get("/metrics")
def metrics(request: Request) -> Response:
    """The counts, with an owner's key (`authorization` in Prometheus' `scrape_config`)."""
    web = web_of(request)
    scheme, _, token = (request.headers.get("authorization") or "").partition(" ")
    person = accounts.key_holder(web.store, token.strip()) if scheme.lower() == "bearer" else None
    if person is None or person.role != "owner":
        if token:
            web.logins.spend(request.client.host if request.client else "?")
        raise Refused("an owner's key is needed: authorization in Prometheus' scrape_config", status=401)
    counts: Metrics = request.app.state.metrics
    return Response(counts.text(), media_type=MEDIA)
