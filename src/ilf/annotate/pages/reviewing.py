"""The reviewer's pages: what waits, one answer beside its item, decisions."""

from __future__ import annotations

from dataclasses import replace

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from ilf import notes
from ilf.annotate import bulk, own_work, review, search, threads
from ilf.annotate.answers import clean, content, program, verdict
from ilf.annotate.checks import CATEGORIES, HINTS
from ilf.annotate.pages import Form, web_of
from ilf.annotate.pages.lists import batch_of, filter_of, marked
from ilf.annotate.pages.work import draft_of
from ilf.annotate.store import Refused
from ilf.annotate.web import Caller, Id, Web, back_to
from ilf.feedback.tagger import MEANINGS
from ilf.records import Task, Verdict

router = APIRouter(include_in_schema=False)


@router.get("/review")
def waiting(request: Request) -> Response:
    """What a reviewer has to look at."""
    web = web_of(request)
    caller = web.caller(request, "reviewer")
    asked = filter_of(request.query_params, "waiting")
    found = search.answers(web.store, asked)
    # Unasked for, what was judged lately comes below what waits.
    recent = review.recent(web.store) if asked == search.Filter(state="waiting") else []
    numbers = [answer.id for answer, *_ in [*found.rows, *recent]]
    return web.page(
        request, "review.html", caller=caller, found=found, recent=recent, states=search.JUDGED,
        kinds=search.categories(web.store), tags=CATEGORIES, people=search.people(web.store),
        said=threads.counts(web.store, numbers), reviewing=web.store.settings.review,
        batch=batch_of(request, web, caller),
    )  # fmt: skip


@router.post("/review/bulk")
def bulk_action(request: Request, form: Form) -> Response:
    """Accept or return many answers: those that are marked, or all that match the filter."""
    web = web_of(request)
    caller = web.acting(request, form, "reviewer")
    asked = filter_of(form, "waiting")
    if form.get("scope") == "matching":
        rows = search.answers(web.store, replace(asked, page=1), rows=bulk.MOST + 1).rows
        numbers = [answer.id for answer, *_ in rows]
    else:
        numbers = marked(form)
    if form.get("do") == "accept":
        batch = bulk.accept(web.store, caller.id, numbers)
    elif form.get("do") == "return":
        batch = bulk.send_back(web.store, caller.id, numbers, form.get("comment", ""))
    else:
        raise Refused("do: accept or return", status=422)
    web.stale()
    return back_to(f"/review?{asked.query(batch=batch)}")


@router.get("/review/{answer_id}")
def answer(request: Request, answer_id: Id) -> Response:
    """One answer with everything that helps to judge it."""
    web = web_of(request)
    return _page(request, web, web.caller(request, "reviewer"), answer_id)


def _page(
    request: Request, web: Web, caller: Caller, answer_id: int, status: int = 200, problem: str = ""
) -> Response:
    row, item, person, candidates = review.look(web.store, answer_id)
    chosen = next((c for c in candidates if c.id == row.candidate_id), candidates[0])
    return web.page(
        request, "review_item.html", status=status, caller=caller, answer=row, item=item, author=person,
        task=Task.model_validate(item.task), program=program(chosen), verdict=verdict(chosen),
        code=clean(program(chosen).code), draft=content(row), notes=notes.parse(row.text or "")[0],
        checked=None if row.verdict is None else Verdict.model_validate(row.verdict),
        others=review.others(web.store, row),
        talk=threads.talk(web.store, caller.id, row.id)[1],
        log=own_work.history(web.store, f"answers/{row.id}"),
        categories=CATEGORIES, explained=MEANINGS, hint_texts=HINTS, problem=problem,
    )  # fmt: skip


@router.post("/review/{answer_id}/{action}")
def act(request: Request, answer_id: Id, action: str, form: Form) -> Response:
    """Accept, edit, return or reassign an answer."""
    web = web_of(request)
    caller = web.acting(request, form, "reviewer")
    version = form.number("version")
    try:
        if action == "accept":
            review.accept(web.store, caller.id, answer_id, version)
        elif action == "edit":
            _edit(web, caller, answer_id, form, version)
        elif action == "return":
            review.send_back(web.store, caller.id, answer_id, form.get("comment", ""), version)
        elif action == "reassign":
            review.reassign(web.store, caller.id, answer_id, version)
        else:
            raise Refused("there is no such page", status=404)
    except Refused as error:
        if error.status in (404, 403):
            raise
        return _page(request, web, caller, answer_id, status=error.status, problem=str(error))
    web.stale()
    following = review.waiting(web.store)
    return back_to(f"/review/{following[0][0].id}" if following else "/review")


def _edit(web: Web, caller: Caller, answer_id: int, form: Form, version: int | None) -> None:
    row, item, _, _ = review.look(web.store, answer_id)
    new = draft_of(form)
    new = new.model_copy(
        update={
            "suggested": content(row).suggested,
            "candidate": row.candidate_id,
            "refinement": new.refinement or None,
        }
    )
    checked = None
    if new.refinement:
        web.runs.spend(str(caller.id))
        checked = web.checker.tests(Task.model_validate(item.task), new.refinement, caller.id)
    review.edit(web.store, caller.id, answer_id, new, checked, version)


@router.post("/items/{item_id}/decide")
def decide(request: Request, item_id: Id, form: Form) -> Response:
    """Take a questioned task out, or put it back."""
    web = web_of(request)
    caller = web.acting(request, form, "reviewer")
    if form.get("decision") not in ("remove", "keep"):
        raise Refused("decision: remove or keep", status=422)
    review.decide(web.store, caller.id, item_id, form.get("decision") == "remove", form.get("comment", ""))
    web.stale()
    return back_to("/review")
