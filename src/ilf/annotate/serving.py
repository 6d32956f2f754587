"""Serving an annotation store: `ilf annotate RUN`, and the made-up queue of `ilf annotate --demo`."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ilf.errors import MissingDependency, SandboxUnavailable, UserError
from ilf.listening import LOCAL, listen
from ilf.output import answer
from ilf.progress import say

if TYPE_CHECKING:
    from ilf.annotate.checker import Checker
    from ilf.annotate.store import Store
    from ilf.config import VerifyConfig


def make_checker(settings: VerifyConfig) -> Checker:
    """The sandbox for a server; where there is none, pages say so and nothing runs."""
    from ilf.annotate.checker import Checker
    from ilf.kinds.function import verifier_of

    try:
        verifier = verifier_of(settings)
    except SandboxUnavailable as error:
        say(f"tests cannot run on the pages: {error}")
        return Checker(None, str(error))
    return Checker(verifier, at_once=max(2, verifier.workers), settings=settings)


def serve(
    store: Store,
    host: str,
    port: int,
    url: str | None,
    proxies: Sequence[str],
    accounts: bool,
    settings: VerifyConfig,
    *,
    opens: bool,
    sign_on: str | None = None,
) -> None:
    """Serve a store until Ctrl-C.

    Args:
        store: what is served.
        host: address to listen on.
        port: to listen on; 0 takes a free one.
        url: what people type, where it is another one.
        proxies: addresses whose word on who asks is taken.
        accounts: False: whoever reaches the server is its owner.
        settings: how programs run.
        opens: open the page in a browser here.
        sign_on: header in which a proxy says who asks.
    """
    try:
        import uvicorn

        from ilf.annotate import worth
        from ilf.annotate.accounts import owner_link
        from ilf.annotate.app import create_app
        from ilf.annotate.signon import SignOn
        from ilf.annotate.web import STATIC, Options
        from ilf.browser import open_page
    except ModuleNotFoundError as error:
        raise MissingDependency(f"{error.name} is not installed: pip install 'ilf[annotate]'") from None
    listening = listen(host, port)
    port = listening.getsockname()[1]
    shown = f"[{host}]" if ":" in host else host
    address = (url or f"http://{shown}:{port}").rstrip("/")
    local = host in LOCAL
    # A server for this machine answers to its own names only; a wider one to any, unless it has a URL.
    hosts = frozenset({shown}) if local or url else frozenset()
    checker = make_checker(settings)
    app = create_app(store, checker, Options(url=address, accounts=accounts, hosts=hosts))
    now = store.progress()
    say(f"{now.items} tasks, {now.done} done, {now.accepted} accepted. Everything is kept in {store.place}")
    if not (STATIC / "bundle" / "app.js").is_file():
        say("the editor is not built (make bundle): pages have plain text areas")
    if not local:
        say(f"listening on {host}: use https in front of it for people outside this network")
    link = f"{address}/join/{owner_link(store)}" if accounts else address
    say(f"owner: {link}" if accounts else f"open {link}")
    # Thousands of new tasks take a while to look at: people need not wait for it.
    threading.Thread(target=worth.look_at, args=(store,), daemon=True).start()
    if opens:
        # The socket listens already: whoever comes early waits a moment.
        threading.Thread(target=open_page, args=(link if accounts else f"{link}/work",), daemon=True).start()
    answer({"url": address, "owner": link if accounts else None, "tasks": now.items, "done": now.done,
            "accepted": now.accepted})  # fmt: skip
    say("Ctrl-C stops the server; nothing is lost")
    served: Any = app
    if sign_on is not None:
        served = SignOn(app, sign_on, proxies)
        say(f"{sign_on} says who asks, where {', '.join(proxies)} passes it on")
    config = uvicorn.Config(
        served, log_level="warning", access_log=False, timeout_graceful_shutdown=5, server_header=False,
        # Longer than browsers, proxies and clients keep a connection: whoever closes it first must not be
        # us, as a request may be on its way.
        timeout_keep_alive=620,
        proxy_headers=bool(proxies) and sign_on is None, forwarded_allow_ips=list(proxies),
    )  # fmt: skip
    server = uvicorn.Server(config)
    try:
        server.run(sockets=[listening])
    finally:
        checker.close()
        listening.close()


def serve_demo(run: Path | None, host: str, port: int, unsafe: bool, browser: bool | None) -> None:
    """Serve a made-up queue: whoever opens it is its owner."""
    if run is not None:
        raise UserError(f"--demo has a queue of its own: leave out {run}")
    if host not in LOCAL:
        raise UserError(f"--demo lets in everyone: it works on 127.0.0.1 only, not on {host}")
    from ilf.annotate import demo
    from ilf.annotate.store import Store
    from ilf.config import VerifyConfig

    settings = VerifyConfig(unsafe=unsafe)
    with tempfile.TemporaryDirectory(prefix="ilf-demo-") as place:
        store = Store(Path(place) / "annotations.db")
        try:
            demo.fill(store, settings)
            say("a made-up queue, to try the page; it is gone when the server stops")
            serve(store, host, port, None, (), False, settings, opens=browser is not False)
        finally:
            store.close()
