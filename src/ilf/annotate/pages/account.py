"""Coming in: invitations, sign-in links, sign-out; the guide; the choice of light or dark."""

from __future__ import annotations

from functools import cache
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from ilf.annotate import accounts
from ilf.annotate.answers import clean
from ilf.annotate.checks import MOST_TEXT
from ilf.annotate.pages import Form, web_of
from ilf.annotate.schema import Link
from ilf.annotate.security import same_origin
from ilf.annotate.store import Refused
from ilf.annotate.web import back_to
from ilf.feedback.tagger import MEANINGS

router = APIRouter(include_in_schema=False)


@router.get("/")
def home(request: Request) -> Response:
    """Owners start at the dashboard, reviewers with what waits, annotators with the next task."""
    role = web_of(request).caller(request).person.role
    return back_to({"owner": "/dashboard", "reviewer": "/review"}.get(role, "/work"))


@router.get("/join/{token}")
def join(request: Request, token: str) -> Response:
    """Show what a link is for; only the button uses it up (chats fetch links to preview them)."""
    web = web_of(request)
    link = _known_link(request, token)
    person = None if link.person_id is None else accounts.person(web.store, link.person_id)
    return web.page(request, "join.html", link=link, person=person, message="", name="")


def _known_link(request: Request, token: str) -> Link:
    web = web_of(request)
    link = accounts.peek(web.store, token)
    if link is None:
        # Only failures cost: a whole office may join from one address.
        web.logins.spend(request.client.host if request.client else "?")
        raise Refused(
            "this link was used already, has run out or was withdrawn: ask for a new one", status=403
        )
    return link


@router.post("/join/{token}")
def joined(request: Request, token: str, form: Form) -> Response:
    """Use a link: make the account or open it."""
    web = web_of(request)
    if not same_origin(request, web.options.url):
        raise Refused("open the link itself and press its button", status=403)
    link = _known_link(request, token)
    try:
        person = accounts.use_link(web.store, token, form.get("name", ""))
    except Refused as error:
        if error.status in (409, 422):
            return web.page(
                request, "join.html", status=error.status, link=link, person=None, message=str(error),
                name=form.get("name", ""),
            )  # fmt: skip
        raise
    # Whoever is new reads first what good feedback is.
    response = back_to("/guide?new=1" if link.person_id is None and person.role == "annotator" else "/")
    web.sessions.start(response, person)
    return response


@router.post("/sign-out")
def sign_out(request: Request, form: Form) -> Response:
    """End one's sessions, everywhere."""
    web = web_of(request)
    accounts.sign_out(web.store, web.acting(request, form).id)
    response = web.page(request, "signed_out.html")
    web.sessions.end(response)
    return response


@router.post("/theme")
def theme(request: Request, form: Form) -> Response:
    """Light, dark, or as the system has it."""
    response = back_to(_local(form.get("back", "/")))
    chosen = form.get("theme", "")
    if chosen in ("light", "dark"):
        response.set_cookie(
            "theme", chosen, max_age=365 * 86400, samesite="lax", path=web_of(request).options.base or "/"
        )
    else:
        response.delete_cookie("theme", path=web_of(request).options.base or "/")
    return response


def _local(path: str) -> str:
    """A path of this server, whatever the form says."""
    plain = path.startswith("/") and not path.startswith("//") and "\\" not in path
    return path if plain and path.isprintable() and path.isascii() else "/"


@router.get("/guide")
def guide(request: Request, new: str = "") -> Response:
    """What good feedback is."""
    web = web_of(request)
    return web.page(
        request,
        "guide.html",
        caller=web.caller(request),
        new=bool(new),
        examples=_examples(),
        explained=MEANINGS,
        own=web.store.settings.guide,
    )


@router.post("/guide")
def write_guide(request: Request, form: Form) -> Response:
    """The owner's own words on top of the guide."""
    web = web_of(request)
    caller = web.acting(request, form, "owner")
    text = clean(form.get("guide", "")).strip()
    if len(text) > MOST_TEXT:
        raise Refused(
            f"the guide has {len(text):,} characters; at most {MOST_TEXT:,} can be kept", status=422
        )
    web.store.configure(caller.id, guide=text)
    return back_to("/guide")


@cache
def _examples() -> list[dict[str, Any]]:
    """A few items of the starter suite: their wrong program, its feedback and the refinement."""
    from ilf.feedback import recorded
    from ilf.tasks import STARTER, load_tasks

    tasks = {task.task_id: task for task in load_tasks("starter")}
    rows = recorded.read(STARTER / "feedback.jsonl")
    short = [
        row
        for row in rows
        if row.task_id in tasks
        and row.refinement
        and row.code.count("\n") <= 16
        and 25 <= len(row.text.split()) <= 70
    ]
    # One of each kind of bug first: the guide shows different ones.
    chosen, kinds = [], set()
    for row in short:
        kind = row.tags[0] if row.tags else ""
        if kind not in kinds:
            kinds.add(kind)
            chosen.append({"task": tasks[row.task_id], "feedback": row})
    return chosen[:3]
