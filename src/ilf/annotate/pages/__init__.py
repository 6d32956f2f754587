"""Pages for people. Every one works without scripts; `frontend/` makes them comfortable."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import Depends
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.requests import Request

from ilf.annotate.store import Refused
from ilf.annotate.web import Web


class Fields(Mapping[str, str]):
    """A form's fields: the last value of each, or all values by `many`."""

    def __init__(self, data: FormData) -> None:
        self._data = [(name, value) for name, value in data.multi_items() if isinstance(value, str)]

    def __getitem__(self, name: str) -> str:
        for known, value in reversed(self._data):
            if known == name:
                return value
        raise KeyError(name)

    def __iter__(self) -> Any:
        return iter({name for name, _ in self._data})

    def __len__(self) -> int:
        return len({name for name, _ in self._data})

    def many(self, name: str) -> list[str]:
        """All values of a field."""
        return [value for known, value in self._data if known == name]

    def number(self, name: str) -> int | None:
        """A field's whole number, None where it is empty.

        Raises:
            Refused: it is no number.
        """
        text = self.get(name, "").strip()
        if not text:
            return None
        try:
            value = int(text)
        except ValueError:
            raise Refused(f"{name}: {text[:40]!r} is not a whole number", status=422) from None
        if abs(value) > 2**31 - 1:
            raise Refused(f"{name}: the number is too large", status=422)
        return value


async def read_fields(request: Request) -> Fields:
    """The form that a page was sent with."""
    try:
        # Starlette limits a multipart field to 1 MB by default; the whole request is limited elsewhere.
        data = await request.form(max_files=0, max_part_size=12 * 1024 * 1024)
    except HTTPException:
        raise Refused("the form could not be read", status=400) from None
    return Fields(data)


def web_of(request: Request) -> Web:
    """The server's state."""
    web: Web = request.app.state.web
    return web


Form = Annotated[Fields, Depends(read_fields)]
