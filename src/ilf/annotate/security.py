"""Sessions, cross-site protection, response headers and rate limits of the annotation server."""

from __future__ import annotations

import hmac
import secrets
import threading
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from itsdangerous import BadSignature, URLSafeTimedSerializer
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ilf.annotate import accounts
from ilf.annotate.schema import Person
from ilf.annotate.store import Refused, Store

COOKIE = "ilf_session"
SESSION_DAYS = 30
MOST_BODY = 12 * 1024 * 1024
"""Bytes of a request: 1 MB of text in a form can take nine times as much on the wire."""


class NotSignedIn(Refused):
    """There is no valid session."""

    def __init__(self) -> None:
        super().__init__("please sign in: open your invitation or ask for a new sign-in link", status=401)


class Sessions:
    """Signed session cookies: who, which sign-out epoch, and a random part that CSRF tokens hang on."""

    def __init__(self, store: Store, secure: bool, path: str = "/") -> None:
        self._store, self._path = store, path
        self._secret = accounts.secret(store)
        self._serializer = URLSafeTimedSerializer(self._secret, salt="ilf-annotate-session")
        self._secure = secure

    def start(self, response: Response, person: Person) -> None:
        """Sign someone in."""
        value = self._serializer.dumps({"p": person.id, "e": person.epoch, "s": secrets.token_urlsafe(12)})
        response.set_cookie(
            COOKIE,
            str(value),
            max_age=SESSION_DAYS * 86400,
            path=self._path,
            httponly=True,
            samesite="lax",  # strict would look signed out after following a link from a chat
            secure=self._secure,
        )

    def end(self, response: Response) -> None:
        """Forget who was signed in in this browser."""
        response.delete_cookie(COOKIE, path=self._path)

    def read(self, request: Request) -> tuple[Person, str] | None:
        """Who is signed in, and their CSRF token; None where nobody is."""
        cookie = request.cookies.get(COOKIE)
        if not cookie:
            return None
        try:
            data = self._serializer.loads(cookie, max_age=SESSION_DAYS * 86400)
            person_id, epoch, random = int(data["p"]), int(data["e"]), str(data["s"])
        except (BadSignature, KeyError, TypeError, ValueError):
            return None
        person = accounts.person(self._store, person_id)
        if person is None or not person.active or person.epoch != epoch:
            return None
        return person, self.csrf(f"{person_id}:{epoch}:{random}")

    def csrf(self, session: str) -> str:
        """The token that forms of a session carry."""
        return hmac.new(self._secret.encode(), b"csrf:" + session.encode(), "sha256").hexdigest()


def same_origin(request: Request, url: str) -> bool:
    """Does the request come from one of our own pages, as far as the browser says?

    Args:
        request: what came.
        url: what people type; a proxy may pass on another host name than that.
    """
    site = request.headers.get("sec-fetch-site")
    if site is not None and site not in ("same-origin", "none"):
        return False
    origin = request.headers.get("origin")
    if origin is None:
        return True
    return urlsplit(origin).netloc in (request.headers.get("host"), urlsplit(url).netloc)


class RateLimit:
    """A token bucket a key: `burst` at once, then `per_minute`."""

    def __init__(self, per_minute: float, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate, self._burst, self._clock = per_minute / 60, float(burst), clock
        self._buckets: dict[str, tuple[float, float]] = {}
        self._lock = threading.Lock()

    def _level(self, key: str, now: float) -> float:
        level, then = self._buckets.get(key, (self._burst, now))
        return min(self._burst, level + (now - then) * self._rate)

    def spend(self, key: str) -> None:
        """Take one token.

        Raises:
            Refused: there is none (HTTP status 429).
        """
        with self._lock:
            now = self._clock()
            level = self._level(key, now)
            if len(self._buckets) > 10_000:  # forget the full ones
                self._buckets = {k: v for k, v in self._buckets.items() if self._level(k, now) < self._burst}
            self._buckets[key] = (max(level - 1, 0.0) if level >= 1 else level, now)
        if level < 1:
            raise Refused("too many tries: wait a minute, then go on", status=429)


class Guard:
    """ASGI middleware: security headers on every response, bounded request bodies, known host names only."""

    def __init__(self, app: ASGIApp, hosts: frozenset[str]) -> None:
        self._app = app
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        nonce = secrets.token_urlsafe(16)
        scope.setdefault("state", {})["nonce"] = nonce
        headers = Headers(scope=scope)

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                _add_headers(MutableHeaders(scope=message), scope["path"], nonce)
            await send(message)

        # A page of another site must not reach a server on this machine through a name it controls.
        host = headers.get("host", "")
        name = host.rsplit(":", 1)[0] if not host.endswith("]") else host
        if self._hosts and name not in self._hosts:
            text = "this server does not go by that name (start it with --url)"
            await PlainTextResponse(text, status_code=400)(scope, receive, answer)
            return
        length = headers.get("content-length", "0")
        if not length.isdigit() or int(length) > MOST_BODY:
            text = f"a request may have at most {MOST_BODY:,} bytes"
            await PlainTextResponse(text, status_code=413)(scope, receive, answer)
            return
        received = 0

        async def limited() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > MOST_BODY:
                raise Refused(f"a request may have at most {MOST_BODY:,} bytes", status=413)
            return message

        await self._app(scope, limited, answer)


def _add_headers(headers: MutableHeaders, path: str, nonce: str) -> None:
    rules: dict[str, Any] = {
        # CodeMirror writes its style sheet at run time: it may, by nonce. Nothing else is inline.
        "content-security-policy": "default-src 'none'; script-src 'self'; "
        f"style-src 'self' 'nonce-{nonce}'; img-src 'self' data:; font-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
        "x-content-type-options": "nosniff",
        "x-frame-options": "DENY",
        "referrer-policy": "same-origin",  # links hold secrets
        "cross-origin-opener-policy": "same-origin",
        "cross-origin-resource-policy": "same-origin",
        "permissions-policy": "camera=(), microphone=(), geolocation=()",
    }
    if not path.startswith("/static/"):
        rules["cache-control"] = "no-store"
    for name, value in rules.items():
        headers.setdefault(name, value)
