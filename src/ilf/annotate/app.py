"""The annotation server: pages for people (`pages/`) and an API for programs (`api`) over one store."""

from __future__ import annotations

import errno
from typing import Any
from urllib.parse import urlsplit

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import DBAPIError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.staticfiles import StaticFiles

from ilf import __version__
from ilf.annotate import api, health
from ilf.annotate.checker import Checker
from ilf.annotate.pages import account, dashboard, lists, reviewing, talking, team, work
from ilf.annotate.security import Guard, NotSignedIn
from ilf.annotate.store import Refused, Store
from ilf.annotate.subpath import SubPath
from ilf.annotate.web import STATIC, Options, Web, wants_json

FULL = "the server's disk is full: nothing of this was saved. Keep your text, tell the owner, and try again"


class _Static(StaticFiles):
    """Static files that browsers may keep: their addresses change with their content."""

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        response = super().file_response(*args, **kwargs)
        response.headers["cache-control"] = "public, max-age=31536000, immutable"
        return response


def create_app(store: Store, checker: Checker, options: Options | None = None) -> FastAPI:
    """The server for a store.

    Args:
        store: what it serves.
        checker: where programs run.
        options: how it is reached.
    """
    options = options or Options()
    web = Web(store, checker, options)
    app = FastAPI(
        title="ilf annotate",
        version=__version__,
        summary="Fetch tasks that a model failed, submit feedback on its wrong programs.",
        description=api.DESCRIPTION,
        docs_url=None,  # the usual viewers load scripts from other hosts
        redoc_url=None,
        openapi_url="/api/openapi.json",
        servers=[{"url": options.base}] if options.base else None,
    )
    app.state.web = web
    hosts = options.hosts
    if hosts:
        hosts |= {urlsplit(options.url).hostname or "", "127.0.0.1", "localhost", "[::1]"}
    app.state.metrics = health.Metrics(web)
    app.add_middleware(Guard, hosts=hosts)
    app.add_middleware(health.Counted, metrics=app.state.metrics)
    app.add_middleware(SubPath, base=options.base)  # outside of the others: it is added last
    for module in (health, account, work, lists, reviewing, talking, team, dashboard, api):
        app.include_router(module.router)
    app.mount("/static", _Static(directory=STATIC), name="static")

    @app.exception_handler(Refused)
    def refused(request: Request, error: Refused) -> Response:
        if wants_json(request):
            return JSONResponse({"error": str(error)}, status_code=error.status)
        if isinstance(error, NotSignedIn):
            return web.page(request, "signed_out.html", status=401)
        try:
            caller = web.caller(request)
        except Refused:
            caller = None
        return web.page(request, "message.html", status=error.status, caller=caller, message=str(error))

    @app.exception_handler(HTTPException)
    def http_error(request: Request, error: HTTPException) -> Response:
        said = "there is no such page" if error.status_code == 404 else str(error.detail)
        response = refused(request, Refused(said, status=error.status_code))
        response.headers.update(error.headers or {})
        return response

    @app.exception_handler(RequestValidationError)
    def invalid(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        if first["loc"][0] == "path" and not wants_json(request):
            return refused(request, Refused("there is no such page", status=404))
        where = ".".join(str(part) for part in first["loc"][1:]) or str(first["loc"][0])
        return refused(request, Refused(f"{where}: {first['msg']}", status=422))

    @app.exception_handler(OSError)
    def no_room(request: Request, error: OSError) -> Response:
        if error.errno != errno.ENOSPC:
            raise error
        return refused(request, Refused(FULL, status=507))

    @app.exception_handler(DBAPIError)
    def database_error(request: Request, error: DBAPIError) -> Response:
        said = str(error.orig)
        if "disk is full" in said or "No space left" in said:
            return refused(request, Refused(FULL, status=507))
        raise error

    return app
