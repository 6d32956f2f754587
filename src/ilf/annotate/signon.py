"""Single sign-on: a trusted proxy says in a header who asks.

The header is believed from the addresses of `--trusted-proxy` only, which is decided before X-Forwarded-For
puts the reader's address in the place of the proxy's; from anybody else it is taken out of the request.
"""

from __future__ import annotations

from collections.abc import Sequence

from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from ilf.annotate import accounts
from ilf.annotate.schema import Person
from ilf.annotate.store import Refused, Store


class SignOn:
    """ASGI middleware, the outermost: `scope["state"]["signed_on"]` is the name that a trusted proxy told."""

    def __init__(self, app: ASGIApp, header: str, proxies: Sequence[str]) -> None:
        """Wrap an app.

        Args:
            app: what to wrap; it sees the addresses that the proxies forward.
            header: name of the header.
            proxies: their addresses or networks.
        """
        self._app = ProxyHeadersMiddleware(app, trusted_hosts=list(proxies))  # type: ignore[arg-type]
        self._header = header.lower().encode("ascii")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] == "http":
            told = [value for name, value in scope["headers"] if name.lower() == self._header]
            scope["headers"] = [pair for pair in scope["headers"] if pair[0].lower() != self._header]
            peer = (scope.get("client") or ("", 0))[0]
            # Two values: one of them was not the proxy's.
            if len(told) == 1 and peer in self._app.trusted_hosts:
                scope.setdefault("state", {})["signed_on"] = told[0].decode("utf-8", "replace")
        await self._app(scope, receive, send)  # type: ignore[arg-type]


def signed_on(store: Store, told: str) -> Person:
    """The account of whom a proxy names, made as an annotator's when it is first seen.

    Raises:
        Refused: the account is closed, or the name is kept for something else.
    """
    name = accounts.clean_name(told)
    if name == accounts.OWNER or "/" in name:  # the store's own account, and workers behind a key
        raise Refused(f"nobody signs on as {name!r}: this name is kept", status=403)
    person = accounts.by_name(store, name)
    if person is None:
        person = accounts.person(store, accounts.named(store, name))
    assert person is not None
    if not person.active:
        raise Refused("this account is closed", status=403)
    return person
