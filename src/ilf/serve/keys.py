"""Who asks: keys of clients, as `Authorization` or `X-API-Key` bring them."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Mapping
from pathlib import Path

from ilf.errors import DataError

SHORTEST = 16
"""Characters of a key."""
ANYONE = "anyone"
"""The one client of a server without keys."""
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")


class Keys:
    """Key → client. Only hashes are kept: the time of a look-up says nothing about a key."""

    def __init__(self, keys: Mapping[str, str] | None) -> None:
        self._names = None if keys is None else {_hash(key): name for key, name in keys.items()}

    @property
    def needed(self) -> bool:
        """Whether a client must show a key."""
        return self._names is not None

    def client(self, headers: Mapping[str, str]) -> str | None:
        """The name of who asks; None where the key is missing or unknown.

        `Authorization: Bearer KEY`, `X-API-Key: KEY`, or `Authorization: Basic` with the key as the password,
        which is what a URL `http://any:KEY@host/` makes of clients that know no keys.
        """
        if self._names is None:
            return ANYONE
        key = headers.get("x-api-key", "")
        scheme, _, rest = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            key = rest.strip()
        elif scheme.lower() == "basic":
            try:
                key = base64.b64decode(rest, validate=True).decode().partition(":")[2]
            except (binascii.Error, ValueError):
                return None
        return self._names.get(_hash(key))


def _hash(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()


def read_keys(path: Path) -> Keys:
    """The keys of a file: a line `NAME KEY` each; a name may have several keys, `#` begins a comment.

    Raises:
        DataError: no such file, or a line is not of that form; the key itself is never in the message.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: {getattr(error, 'strerror', None) or 'not UTF-8 text'}") from None
    keys: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        if len(words) != 2 or not _NAME.fullmatch(words[0]):
            raise DataError(f"{path}, line {number}: NAME KEY was expected (a name of A-Z a-z 0-9 _ . -)")
        if len(words[1]) < SHORTEST:
            raise DataError(f"{path}, line {number}: a key has at least {SHORTEST} characters")
        if words[1] in keys:
            raise DataError(f"{path}, line {number}: the key of an earlier line again")
        keys[words[1]] = words[0]
    if not keys:
        raise DataError(f"{path}: no keys; a line is NAME KEY")
    return Keys(keys)
