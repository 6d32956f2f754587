"""Lists to search in: one's own items, and the queue, where reviewers say who answers what."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from ilf.annotate import bulk, own_work, search, threads
from ilf.annotate.checks import CATEGORIES
from ilf.annotate.pages import Fields, Form, web_of
from ilf.annotate.store import Refused
from ilf.annotate.web import LARGEST, Caller, Id, Web, back_to

router = APIRouter(include_in_schema=False)
_LONGEST = 200
"""Characters of a field of the filter."""


def filter_of(asked: Mapping[str, str], state: str = "") -> search.Filter:
    """The filter that an address or a form names; what is no number there asks for nothing.

    Args:
        asked: its fields.
        state: where none is named; `any` names all of them.
    """
    wanted = asked.get("state", state)[:_LONGEST]
    return search.Filter(
        state="" if wanted == "any" else wanted,
        category=asked.get("category", "")[:_LONGEST],
        person=_number(asked.get("person", "")),
        text=asked.get("text", "").replace("\0", "")[:_LONGEST],
        page=_number(asked.get("page", "")) or 1,
    )


def _number(text: str) -> int | None:
    small = text.isascii() and text.isdigit() and len(text) <= 10 and 1 <= int(text) <= LARGEST
    return int(text) if small else None


def marked(form: Fields) -> list[int]:
    """The rows that are marked on a page."""
    return [number for text in form.many("row") if (number := _number(text)) is not None]


def batch_of(request: Request, web: Web, caller: Caller) -> bulk.Told | None:
    """What was done just now, if the address says so."""
    return bulk.told(web.store, caller.id, _number(request.query_params.get("batch", "")))


@router.get("/mine")
def mine(request: Request) -> Response:
    """One's own earlier items."""
    web = web_of(request)
    caller = web.caller(request)
    found = search.own(web.store, caller.id, replace(filter_of(request.query_params), person=None))
    return web.page(
        request, "mine.html", caller=caller, found=found, mine=own_work.my_progress(web.store, caller.id),
        states=search.OWN, tags=CATEGORIES, kinds=search.categories(web.store),
        said=threads.counts(web.store, [answer.id for answer, _ in found.rows]),
    )  # fmt: skip


@router.get("/queue")
def queue(request: Request) -> Response:
    """All tasks, for reviewers: what kind of failure, what is expected of it, who has it."""
    web = web_of(request)
    caller = web.caller(request, "reviewer")
    found = search.items(web.store, filter_of(request.query_params))
    return web.page(
        request, "queue.html", caller=caller, found=found, states=search.ITEMS,
        kinds=search.categories(web.store), people=search.people(web.store),
        beside=search.beside(web.store, [item.id for item in found.rows]),
        order=web.store.settings.order, batch=batch_of(request, web, caller),
    )  # fmt: skip


@router.post("/queue/assign")
def assign(request: Request, form: Form) -> Response:
    """Give the marked tasks, or all that match, to a person, or to anybody."""
    web = web_of(request)
    caller = web.acting(request, form, "reviewer")
    asked = filter_of(form)
    if form.get("scope") == "matching":
        numbers = [item.id for item in search.items(web.store, replace(asked, page=1), bulk.MOST + 1).rows]
    else:
        numbers = marked(form)
    how = form.get("how")
    if how not in ("only", "also", "anybody"):
        raise Refused("how: only, also or anybody", status=422)
    batch = bulk.assign(web.store, caller.id, numbers, form.number("to"), how)  # type: ignore[arg-type]
    web.stale()
    return back_to(f"/queue?{asked.query(batch=batch)}")


@router.post("/batches/{batch_id}/undo")
def undo(request: Request, batch_id: Id, form: Form) -> Response:
    """Take back what was done to many at once."""
    web = web_of(request)
    told = bulk.told(web.store, web.caller(request).id, batch_id)
    noted = told is not None and told.action == "apply"  # which annotators may do, and undo
    caller = web.acting(request, form, "annotator" if noted else "reviewer")
    bulk.undo(web.store, caller.id, batch_id)
    web.stale()
    place = form.get("back", "")
    known = place in ("queue", "review") or re.fullmatch(r"alike/[0-9]{1,10}", place)
    return back_to(f"/{place if known else 'mine'}?batch={batch_id}")
