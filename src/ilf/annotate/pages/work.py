"""The annotator's pages: the next task, writing, running, submitting, one's own earlier work."""

from __future__ import annotations

import json
import secrets
from typing import Any

from fastapi import APIRouter
from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ilf import notes
from ilf.annotate import own_work, queue
from ilf.annotate.answers import Draft, Work, clean, program, verdict
from ilf.annotate.checks import CATEGORIES, Hint, check, edits
from ilf.annotate.pages import Fields, Form, web_of
from ilf.annotate.queue import REASONS
from ilf.annotate.store import Conflict, Refused
from ilf.annotate.suggestions import earlier, kind_of, offered
from ilf.annotate.web import Caller, Id, Told, Web, back_to, wants_json
from ilf.feedback.tagger import MEANINGS
from ilf.records import Verdict, describe

router = APIRouter(include_in_schema=False)


def draft_of(form: Fields) -> Draft:
    """What a form says."""
    try:
        return Draft(
            kind="tests_wrong" if form.get("kind") == "tests_wrong" else "feedback",
            candidate=form.number("candidate"),
            text=form.get("text", ""),
            tags=list(dict.fromkeys(form.many("tags"))),
            bugs=form.number("bugs"),
            refinement=form.get("refinement"),
            suggested=suggested_in(form),
        )
    except ValidationError as error:
        raise Refused(describe(error), status=422) from None


def suggested_in(form: Fields) -> list[Any]:
    """What the page says it suggested; a page without scripts suggests nothing."""
    try:
        found = json.loads(form.get("suggested", "") or "[]")
    except ValueError:
        found = None
    if not isinstance(found, list):
        raise Refused("suggested: it is not a list", status=422)
    return found


def seconds_of(form: Fields) -> float | None:
    """The time that the page counted; None where no script runs."""
    try:
        value = float(form.get("seconds", ""))
    except ValueError:
        return None
    return value if 0 <= value < 10**7 else None


def hints_for(web: Web, work: Work, draft: Draft, checked: Verdict | None) -> list[Hint]:
    """The warnings that a draft earns."""
    if draft.kind == "tests_wrong":
        return []
    wrong = clean(program(work.chosen(draft)).code)
    refinement = draft.refinement if draft.refinement and draft.refinement != wrong else None
    return check(
        work.task,
        wrong,
        draft.text,
        refinement,
        passes=None if checked is None else checked.passed,
        seen_elsewhere=queue.seen_elsewhere(web.store, work.item.id, draft.text),
    )


def checked_refinement(web: Web, caller: Caller, work: Work, draft: Draft) -> Verdict | None:
    """The verdict on a draft's refinement, where it has one and programs can run."""
    wrong = clean(program(work.chosen(draft)).code)
    if draft.kind == "tests_wrong" or not (draft.refinement or "").strip() or draft.refinement == wrong:
        return None
    web.runs.spend(str(caller.id))
    return web.checker.tests(work.task, draft.refinement or "", caller.id)


@router.get("/work")
def next_task(request: Request, done: Told = None, skipped: Told = None) -> Response:
    """Go to the task in hand or the next one."""
    web = web_of(request)
    caller = web.caller(request)
    item = queue.claim(web.store, caller.id)
    said = f"?done={done}" if done is not None else f"?skipped={skipped}" if skipped is not None else ""
    if item is not None:
        return back_to(f"/items/{item}{said}")
    mine = own_work.my_progress(web.store, caller.id)
    return web.page(request, "empty.html", caller=caller, mine=mine, done=done, skipped=skipped)


@router.get("/items/{item_id}")
def item(request: Request, item_id: Id, done: Told = None, skipped: Told = None) -> Response:
    """The page on which feedback is written."""
    web = web_of(request)
    caller = web.caller(request)
    work = queue.look(web.store, caller.id, item_id)
    if work.answer.state == "skipped":
        queue.reopen(web.store, caller.id, item_id)
        work = queue.look(web.store, caller.id, item_id)
    return _page(request, web, caller, work, work.draft, done=done, skipped=skipped)


def _page(
    request: Request, web: Web, caller: Caller, work: Work, draft: Draft, status: int = 200, **more: Any
) -> Response:
    candidates = [
        {
            "id": row.id,
            "number": number,
            "program": program(row),
            "verdict": verdict(row),
            "code": clean(program(row).code),
        }
        for number, row in enumerate(work.candidates, start=1)
    ]
    chosen = work.chosen(draft)
    context: dict[str, Any] = {
        "caller": caller,
        "work": work,
        "task": work.task,
        "draft": draft,
        "chosen": chosen.id,
        "candidates": candidates,
        "refinement": clean(program(chosen).code) if draft.refinement is None else draft.refinement,
        "refined": bool(draft.refinement) and draft.refinement != clean(program(chosen).code),
        "notes": notes.parse(draft.text)[0],
        "offered": {
            str(row.id): [
                one.model_dump() for one in offered(web.store, work.task, program(row), verdict(row))
            ]
            for row in work.candidates
        },
        "before": own_work.earlier_on_task(web.store, work.item),
        "suggest": web.store.settings.suggest,
        "originals": {str(c["id"]): c["code"] for c in candidates},
        "categories": CATEGORIES,
        "explained": MEANINGS,
        "reasons": REASONS,
        "key": secrets.token_urlsafe(12),
        "mine": own_work.my_progress(web.store, caller.id),
        "sandbox": web.checker,
        "hints": [],
        "seen": [],
        "problem": "",
        "conflict": None,
        "result": None,
        "tried": None,
        "done": None,
        "skipped": None,
        **more,
    }
    return web.page(request, "work.html", status=status, **context)


@router.post("/items/{item_id}/draft")
def draft(request: Request, item_id: Id, form: Form) -> Response:
    """Save what is being typed; the reply carries the new version and the warnings so far."""
    web = web_of(request)
    caller = web.acting(request, form)
    new = draft_of(form)
    try:
        saved = queue.save_draft(web.store, caller.id, item_id, form.number("version"), new, seconds_of(form))
    except Conflict as error:
        return _conflict(request, web, caller, item_id, new, error)
    if not wants_json(request):
        return back_to(f"/items/{item_id}")
    work = queue.look(web.store, caller.id, item_id)
    wrong = clean(program(work.chosen(new)).code)
    hints = hints_for(web, work, new, None)
    return JSONResponse(
        {
            "version": saved.version,
            "held": saved.held,
            # "There is no feedback yet" is no news to someone who has just begun.
            "hints": [{"code": h.code, "text": h.text} for h in hints if h.code != "empty"],
            "distance": edits(wrong, new.refinement) if new.refinement else 0,
        }
    )


def _conflict(
    request: Request, web: Web, caller: Caller, item_id: int, mine: Draft, error: Conflict
) -> Response:
    """Another tab was faster: show both, let the person choose; nothing is overwritten."""
    work = queue.look(web.store, caller.id, item_id)
    if wants_json(request):
        other = {"version": work.answer.version, "draft": work.draft.model_dump(mode="json")}
        return JSONResponse({"error": str(error), "conflict": other}, status_code=409)
    return _page(request, web, caller, work, mine, status=409, conflict=work.draft, problem=str(error))


@router.get("/items/{item_id}/earlier")
def earlier_notes(request: Request, item_id: Id, q: str = "", candidate: Told = None) -> Response:
    """What this person wrote before, for the search as one types."""
    web = web_of(request)
    caller = web.caller(request)
    work = queue.look(web.store, caller.id, item_id)
    if not web.store.settings.suggest:
        return JSONResponse([])
    chosen = next((row for row in work.candidates if row.id == candidate), work.candidates[0])
    return JSONResponse(earlier(web.store, caller.id, q[:200], kind_of(chosen.verdict)))


@router.post("/items/{item_id}/run")
def run(request: Request, item_id: Id, form: Form) -> Response:
    """Run the tests on the refinement, or an expression with the wrong program or the refinement."""
    web = web_of(request)
    caller = web.acting(request, form)
    work = queue.look(web.store, caller.id, item_id)
    new = draft_of(form)
    wrong = clean(program(work.chosen(new)).code)
    wanted = "wrong" if form.get("do") == "try" and form.get("target") == "wrong" else "refinement"
    code = new.refinement if wanted == "refinement" and (new.refinement or "").strip() else wrong
    assert code is not None
    web.runs.spend(str(caller.id))
    expression = form.get("expression", "").strip()[:10_000] if form.get("do") == "try" else ""
    context: dict[str, Any] = {"sandbox": web.checker, "result": None, "tried": None, "task": work.task}
    if expression:
        context["tried"] = web.checker.expression(work.task, code, expression, caller.id)
    elif form.get("do") != "try":
        context["result"] = web.checker.tests(work.task, code, caller.id)
    context["which"] = "the wrong program" if code == wrong else "your refinement"
    if request.headers.get("hx-request"):
        return web.page(request, "_result.html", **context)
    # Without scripts the whole page comes again, with everything that was typed.
    try:
        queue.save_draft(web.store, caller.id, item_id, form.number("version"), new, seconds_of(form))
    except Conflict as error:
        return _conflict(request, web, caller, item_id, new, error)
    work = queue.look(web.store, caller.id, item_id)
    return _page(
        request, web, caller, work, new, **{k: v for k, v in context.items() if k not in ("sandbox", "task")}
    )


@router.post("/items/{item_id}/submit")
def submit(request: Request, item_id: Id, form: Form) -> Response:
    """Submit; warnings that the person has not seen yet come back first."""
    web = web_of(request)
    caller = web.acting(request, form)
    work = queue.look(web.store, caller.id, item_id)
    new = draft_of(form)
    seen = form.many("seen")
    try:
        checked = checked_refinement(web, caller, work, new)
        hints = hints_for(web, work, new, checked)
        fresh = [hint for hint in hints if hint.code not in seen and hint.code != "empty"]
        if fresh:
            return _warn(request, web, caller, work, new, hints, form)
        queue.submit(
            web.store, caller.id, item_id, new, version=form.number("version"), seconds=seconds_of(form),
            checked=checked, hints=hints, key=form.get("key"),
        )  # fmt: skip
    except Conflict as error:
        return _conflict(request, web, caller, item_id, new, error)
    except Refused as error:
        if wants_json(request):
            raise
        return _page(request, web, caller, work, new, status=error.status, problem=str(error))
    web.stale()
    target = f"/work?done={item_id}"
    return JSONResponse({"next": web.options.base + target}) if wants_json(request) else back_to(target)


def _warn(
    request: Request, web: Web, caller: Caller, work: Work, new: Draft, hints: list[Hint], form: Fields
) -> Response:
    """Show warnings; pressing submit again goes on."""
    if wants_json(request):
        return JSONResponse({"hints": [{"code": h.code, "text": h.text} for h in hints]})
    queue.save_draft(web.store, caller.id, work.item.id, form.number("version"), new, seconds_of(form))
    work = queue.look(web.store, caller.id, work.item.id)
    return _page(request, web, caller, work, new, hints=hints, seen=[hint.code for hint in hints])


@router.post("/items/{item_id}/skip")
def skip(request: Request, item_id: Id, form: Form) -> Response:
    """Give the task back with a reason."""
    web = web_of(request)
    caller = web.acting(request, form)
    if form.get("text", "").strip():  # what was typed is kept, for whoever takes the task up again
        new = draft_of(form)
        try:
            queue.save_draft(web.store, caller.id, item_id, form.number("version"), new, seconds_of(form))
        except Conflict as error:
            return _conflict(request, web, caller, item_id, new, error)
    queue.skip(web.store, caller.id, item_id, form.get("reason", ""), form.get("note", ""), form.get("key"))
    web.stale()
    target = f"/work?skipped={item_id}"
    return JSONResponse({"next": web.options.base + target}) if wants_json(request) else back_to(target)


@router.post("/items/{item_id}/undo")
def undo(request: Request, item_id: Id, form: Form) -> Response:
    """Take back one's last submission or skip."""
    web = web_of(request)
    caller = web.acting(request, form)
    queue.undo(web.store, caller.id, item_id)
    web.stale()
    return back_to(f"/items/{item_id}")
