"""What the annotation server's pages and its API share: who asks, templates, limits."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from fastapi import Path as InPath
from fastapi import Query
from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse

from ilf.annotate import accounts, markdown, show
from ilf.annotate.checker import Checker
from ilf.annotate.schema import Person, utc
from ilf.annotate.security import NotSignedIn, RateLimit, Sessions, same_origin
from ilf.annotate.settings import Progress
from ilf.annotate.signon import signed_on
from ilf.annotate.store import Refused, Store
from ilf.notes import covering

LARGEST = 2**31 - 1
"""Of a row's number, whatever the database."""
Id = Annotated[int, InPath(ge=1, le=LARGEST)]
"""A row's number in an address; another one is no page (404), and no request that the API describes (422)."""
Told = Annotated[int | None, Query(ge=1, le=LARGEST)]
"""A row's number after a question mark."""
STATIC = Path(__file__).parent / "static"
_LARGE = 2000
"""Items from which counting them all after each answer would hold up everyone."""
_FRESH_SECONDS = 1.0
"""How old the progress shown in a page's head may be."""


@dataclass(frozen=True)
class Options:
    """How the server is reached."""

    url: str = "http://127.0.0.1:8765"
    """What people type; links begin with it. With https, cookies are sent over https only."""
    accounts: bool = True
    """False: whoever reaches the server is its owner (only for 127.0.0.1)."""
    hosts: frozenset[str] = frozenset()
    """Names the server answers to, besides the one in `url` and this machine's own; empty: any."""
    runs_per_minute: float = 60.0
    """Test runs a person."""
    logins_per_minute: float = 10.0
    """Failed sign-ins an address."""

    @property
    def base(self) -> str:
        """The path of `url` that everything is below, without a slash at its end; mostly none."""
        return urlsplit(self.url).path.rstrip("/")


@dataclass(frozen=True)
class Caller:
    """Who asks."""

    person: Person
    csrf: str

    @property
    def id(self) -> int:
        """Of the person."""
        return self.person.id

    def can(self, role: accounts.Role) -> bool:
        """Whether the person has a role, or one above it."""
        return accounts.ROLES.index(role) <= [*accounts.ROLES].index(self.person.role)  # type: ignore[arg-type]


class Web:
    """What every request needs."""

    def __init__(self, store: Store, checker: Checker, options: Options) -> None:
        self.store = store
        self.checker = checker
        self.options = options
        self.sessions = Sessions(store, secure=options.url.startswith("https:"), path=options.base or "/")
        self.logins = RateLimit(options.logins_per_minute, int(options.logins_per_minute))
        self.runs = RateLimit(options.runs_per_minute, max(1, int(options.runs_per_minute / 2)))
        self.templates = Environment(
            loader=PackageLoader("ilf.annotate"), autoescape=True, undefined=StrictUndefined,
            trim_blocks=True, lstrip_blocks=True,
        )  # fmt: skip
        self.templates.filters.update(
            plain=show.plain,
            cut=show.cut,
            duration=show.duration,
            utc=utc,
            fold=show.fold,
            when=show.when,
            covering=covering,
            md=markdown.markdown,
            md_guide=markdown.guide,
        )
        self.templates.globals.update(
            code_lines=show.code_lines,
            diff_lines=show.diff_lines,
            word_diff=show.word_diff,
            base=options.base,
        )
        self.assets = {name: _versioned(name, options.base) for name in ("app.css", "bundle/app.js")}
        self._owner: int | None = None
        self._progress: tuple[float, Progress] | None = None
        self._lock = threading.Lock()

    def progress(self) -> Progress:
        """How far people are, at most a second old."""
        with self._lock:
            now = time.monotonic()
            if self._progress is None or now - self._progress[0] > _FRESH_SECONDS:
                self._progress = (now, self.store.progress())
            return self._progress[1]

    def stale(self) -> None:
        """Something changed: look again (a large queue, which takes long to count, after a second)."""
        known = self._progress
        if known is not None and known[1].items <= _LARGE:
            self._progress = None

    # Who asks -------------------------------------------------------------------------------------

    def caller(self, request: Request, role: accounts.Role = "annotator") -> Caller:
        """The person behind a request.

        Raises:
            NotSignedIn: nobody is signed in.
            Refused: the person may not do this (403).
        """
        if self.options.accounts:
            caller = self._signed_in(request)
        else:
            if self._owner is None:
                self._owner = accounts.named(self.store, accounts.OWNER, "owner")
            owner = accounts.person(self.store, self._owner)
            assert owner is not None
            caller = Caller(owner, self.sessions.csrf("local"))
        if not caller.can(role):
            raise Refused(f"this needs the role {role!r}; yours is {caller.person.role!r}", status=403)
        return caller

    def _signed_in(self, request: Request) -> Caller:
        told = getattr(request.state, "signed_on", None)
        if told is not None:
            person = signed_on(self.store, told)
            return Caller(person, self.sessions.csrf(f"signed on:{person.id}:{person.epoch}"))
        found = self.sessions.read(request)
        if found is None:
            raise NotSignedIn
        return Caller(*found)

    def acting(self, request: Request, form: Mapping[str, Any], role: accounts.Role = "annotator") -> Caller:
        """The person behind a request that changes something: it has to come from one of our own pages.

        Raises:
            Refused: its CSRF token is missing or wrong (403).
        """
        caller = self.caller(request, role)
        token = str(request.headers.get("x-csrf-token") or form.get("csrf") or "")
        if not same_origin(request, self.options.url) or not _equal(token, caller.csrf):
            raise Refused("this page is out of date: reload it and try again (your text is kept)", status=403)
        return caller

    # Answers --------------------------------------------------------------------------------------

    def page(self, request: Request, template: str, status: int = 200, **context: Any) -> HTMLResponse:
        """A rendered template; templates starting with `_` are parts of a page."""
        caller = context.get("caller")
        if not template.startswith("_"):
            context = {
                "title": self.store.settings.title,
                "progress": self.progress() if caller else None,
                "assets": self.assets,
                "nonce": request.state.nonce,
                "theme": request.cookies.get("theme")
                if request.cookies.get("theme") in ("light", "dark")
                else "",
                "path": request.url.path,
                "accounts": self.options.accounts,
                "caller": None,
                **context,
            }
        text = self.templates.get_template(template).render(context)
        # A model's program may hold half a surrogate pair, which no encoding has.
        return HTMLResponse(text.encode("utf-8", "replace"), status_code=status)


def _versioned(name: str, base: str) -> str | None:
    """The address of a static file with a hash of its content, or None where it was not built."""
    path = STATIC / name
    if not path.is_file():
        return None
    return f"{base}/static/{name}?v={hashlib.sha256(path.read_bytes()).hexdigest()[:12]}"


def _equal(a: str, b: str) -> bool:
    import hmac

    return hmac.compare_digest(a.encode(), b.encode())


def wants_json(request: Request) -> bool:
    """Does a script of ours, or a program, ask?"""
    return request.url.path.startswith("/api/") or "application/json" in request.headers.get("accept", "")


def back_to(path: str) -> RedirectResponse:
    """Go on at `path` after something was done."""
    return RedirectResponse(path, status_code=303)
