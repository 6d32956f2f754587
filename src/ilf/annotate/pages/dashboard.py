"""The dashboard: how far the team is, how good its work is, exports, and the run that waits for it."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from ilf.annotate import exchange, statistics, suggestions
from ilf.annotate.pages import web_of
from ilf.annotate.store import Refused
from ilf.annotate.web import Web

router = APIRouter(include_in_schema=False)
_SILENT_SECONDS = 15.0
"""A waiting run says so every few seconds; after this long it is taken to be gone."""


@router.get("/dashboard")
def dashboard(request: Request) -> Response:
    """Everything, for reviewers and owners."""
    web = web_of(request)
    caller = web.caller(request, "reviewer")
    part = "_live.html" if request.headers.get("hx-request") else "dashboard.html"
    return web.page(
        request, part, caller=caller, figures=statistics.dashboard(web.store), now=web.store.progress(),
        suggestions=suggestions.shares(web.store), run=run_state(web), formats=exchange.FORMATS,
        paper_categories=statistics.PAPER_CATEGORIES, paper_words=statistics.PAPER_WORDS,
        paper_bugs=statistics.PAPER_BUGS,
    )  # fmt: skip


def run_state(web: Web) -> dict[str, Any] | None:
    """The run that waits for feedback, or waited last; None where there never was one."""
    state = web.store.state("run")
    if state is None:
        return None
    waiting = state["state"] == "waiting" and web.store.clock() - state["seen"] < _SILENT_SECONDS
    # The run counts the items of its own round.
    ready = state["accepted"] if state["state"] == "done" else web.store.progress(state["round"]).ready
    return {**state, "waiting": waiting, "accepted": ready}


@router.get("/export/{format}")
def export(request: Request, format: str) -> Response:
    """Download the answers."""
    web = web_of(request)
    web.caller(request, "reviewer")
    known = next((name for name in exchange.FORMATS if name == format), None)
    if known is None:
        raise Refused(f"unknown format; allowed: {', '.join(exchange.FORMATS)}", status=404)
    name = f"feedback-{known}.{exchange.SUFFIX[known]}"
    return StreamingResponse(
        (part.encode("utf-8", "replace") for part in exchange.export(web.store, known)),
        media_type=exchange.MEDIA[known],
        headers={"content-disposition": f'attachment; filename="{name}"'},
    )
