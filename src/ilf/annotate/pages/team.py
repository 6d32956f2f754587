"""The owner's page: people, invitations, roles, keys for programs, how the team works."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from ilf.annotate import accounts, worth
from ilf.annotate.pages import Fields, Form, web_of
from ilf.annotate.store import Refused
from ilf.annotate.web import Caller, Id, Web, back_to

router = APIRouter(include_in_schema=False)


@router.get("/team")
def team(request: Request) -> Response:
    """Everyone with an account, and how to add more."""
    web = web_of(request)
    return _page(request, web, web.caller(request, "owner"))


def _page(request: Request, web: Web, caller: Caller, **fresh: Any) -> Response:
    """The page; `fresh` holds a secret that is shown this once."""
    return web.page(
        request, "team.html", caller=caller, members=accounts.team(web.store),
        links=accounts.open_links(web.store),
        roles=accounts.ROLES, settings=web.store.settings, **{"link": None, "key": None, "who": "", **fresh},
    )  # fmt: skip


def _role(form: Fields) -> accounts.Role:
    for role in accounts.ROLES:
        if form.get("role") == role:
            return role
    raise Refused(f"unknown role; allowed: {', '.join(accounts.ROLES)}", status=422)


@router.post("/team/invite")
def invite(request: Request, form: Form) -> Response:
    """Make an invitation link."""
    web = web_of(request)
    caller = web.acting(request, form, "owner")
    role = _role(form)
    note = form.get("note", "").strip()[:80]
    token = accounts.invite(web.store, role, caller.id, note)
    who = f"a new {role} ({note})" if note else f"a new {role}"
    return _page(request, web, caller, link=f"{web.options.url}/join/{token}", who=who)


@router.post("/team/links/{link_id}/withdraw")
def withdraw(request: Request, link_id: Id, form: Form) -> Response:
    """Make an unused invitation useless."""
    web = web_of(request)
    accounts.withdraw_link(web.store, link_id, web.acting(request, form, "owner").id)
    return back_to("/team")


@router.post("/team/keys/{key_id}/revoke")
def revoke(request: Request, key_id: Id, form: Form) -> Response:
    """Make a key useless."""
    web = web_of(request)
    accounts.revoke_key(web.store, key_id, web.acting(request, form, "owner").id)
    return back_to("/team")


@router.post("/team/settings")
def settings(request: Request, form: Form) -> Response:
    """How the team works: overlap, review, idle time."""
    web = web_of(request)
    caller = web.acting(request, form, "owner")
    overlap, idle = form.number("overlap"), form.number("idle_minutes")
    if overlap is None or not 1 <= overlap <= 20:
        raise Refused("people a task: 1 to 20", status=422)
    if idle is None or not 1 <= idle <= 24 * 60:
        raise Refused("minutes until an idle task comes back: 1 to 1440", status=422)
    order = form.get("order", "position")
    if order not in ("position", "gain"):
        raise Refused("order: position or gain", status=422)
    web.store.configure(
        caller.id,
        overlap=overlap,
        idle_minutes=float(idle),
        review="review" in form,
        order=order,
        suggest="suggest" in form,
    )
    worth.look_at(web.store)
    web.stale()
    return back_to("/team")


@router.post("/team/{person_id}/{action}")
def person(request: Request, person_id: Id, action: str, form: Form) -> Response:
    """A new sign-in link, another role, an account closed or opened, a key for a program."""
    web = web_of(request)
    caller = web.acting(request, form, "owner")
    found = accounts.person(web.store, person_id)
    if found is None:
        raise Refused("there is no such person", status=404)
    if action == "link":
        token = accounts.sign_in_link(web.store, person_id, caller.id)
        return _page(request, web, caller, link=f"{web.options.url}/join/{token}", who=found.name)
    if action == "key":
        name = form.get("name", "").strip() or "key"
        return _page(
            request, web, caller, key=accounts.make_key(web.store, person_id, name, caller.id), who=found.name
        )
    if action == "role":
        accounts.change_person(web.store, caller.id, person_id, role=_role(form))
    elif action in ("close", "open"):
        accounts.change_person(web.store, caller.id, person_id, active=action == "open")
    else:
        raise Refused("there is no such page", status=404)
    return back_to("/team")
