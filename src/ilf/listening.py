"""The socket of a server of ours: the annotation page, the verifier."""

from __future__ import annotations

import socket

from ilf.errors import UserError

LOCAL = ("127.0.0.1", "localhost", "::1")
"""Hosts that only this machine reaches."""


def listen(host: str, port: int) -> socket.socket:
    """A listening socket.

    Args:
        host: a name or address of this machine.
        port: 0 takes a free one.

    Raises:
        UserError: it cannot be had; the message says why.
    """
    if not 0 <= port <= 65535:  # getaddrinfo would take the rest of a division
        raise UserError(f"--port: {port} is not between 0 and 65535")
    try:
        family, kind, protocol, _, target = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        # With the protocol's number: without it asyncio leaves Nagle's algorithm on, 40 ms for each reply.
        listening = socket.socket(family, kind, protocol)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(target)
        listening.listen(512)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UserError(
            f"cannot listen on {host}:{port}: {reason}; choose another with --host and --port"
        ) from None
    return listening
