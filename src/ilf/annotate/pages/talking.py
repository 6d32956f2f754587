"""Where people talk about an answer, and where a reviewer holds two answers against each other."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from ilf.annotate import alike, bulk, review, threads
from ilf.annotate.answers import clean, program, verdict
from ilf.annotate.pages import Form, web_of
from ilf.annotate.pages.lists import batch_of, marked
from ilf.annotate.store import Refused
from ilf.annotate.web import Id, Told, back_to
from ilf.records import Task, Verdict

router = APIRouter(include_in_schema=False)


@router.get("/answers/{answer_id}")
def talk(request: Request, answer_id: Id) -> Response:
    """What was said about one's own answer; reviewers have it beside the answer."""
    web = web_of(request)
    caller = web.caller(request)
    answer, said = threads.talk(web.store, caller.id, answer_id)
    _, item, author, _ = review.look(web.store, answer_id)
    return web.page(request, "talk.html", caller=caller, answer=answer, item=item, author=author, talk=said)


@router.post("/answers/{answer_id}/comment")
def comment(request: Request, answer_id: Id, form: Form) -> Response:
    """Say something about an answer."""
    web = web_of(request)
    caller = web.acting(request, form)
    threads.say(web.store, caller.id, answer_id, form.get("comment", ""))
    return back_to(f"/review/{answer_id}" if form.get("back") == "review" else f"/answers/{answer_id}")


@router.get("/alike/{answer_id}")
def same(request: Request, answer_id: Id) -> Response:
    """Other programs with the same kind of failure as one that a note is about."""
    web = web_of(request)
    caller = web.caller(request)
    answer, item, author, found = alike.look(web.store, caller.id, answer_id)
    rows = [
        {
            "item": one.item, "task": Task.model_validate(one.item.task), "likeness": one.likeness,
            "code": clean(program(one.candidate).code), "verdict": verdict(one.candidate),
        }
        for one in found
    ]  # fmt: skip
    return web.page(
        request, "alike.html", caller=caller, answer=answer, item=item, author=author, rows=rows,
        batch=batch_of(request, web, caller),
    )  # fmt: skip


@router.post("/alike/{answer_id}")
def say_there(request: Request, answer_id: Id, form: Form) -> Response:
    """Say the note about the programs for which it was confirmed."""
    web = web_of(request)
    caller = web.acting(request, form)
    texts = {number: form.get(f"text{number}", "") for number in marked(form)}
    batch = alike.apply(web.store, caller.id, answer_id, texts)
    web.stale()
    return back_to(f"/alike/{answer_id}?batch={batch}")


@router.get("/compare/{item_id}")
def compare(request: Request, item_id: Id, a: Told = None, b: Told = None) -> Response:
    """Two answers to one task, with what differs between them."""
    web = web_of(request)
    caller = web.caller(request, "reviewer")
    item, candidates, answers = review.rivals(web.store, item_id)
    if len(answers) < 2:
        raise Refused("this task has no two answers to compare", status=404)
    by_id = {answer.id: (answer, person) for answer, person in answers}
    one = by_id.get(a or 0) or answers[0]
    two = by_id.get(b or 0) or next(pair for pair in answers if pair[0].id != one[0].id)
    codes = {row.id: clean(program(row).code) for row in candidates}
    verdicts = {row.id: verdict(row) for row in candidates}
    sides = [
        {
            "answer": answer, "person": person, "code": codes.get(answer.candidate_id or 0, ""),
            "wrong": verdicts.get(answer.candidate_id or 0),
            "checked": None if answer.verdict is None else Verdict.model_validate(answer.verdict),
        }
        for answer, person in (one, two)
    ]  # fmt: skip
    return web.page(
        request, "compare.html", caller=caller, item=item, task=Task.model_validate(item.task), sides=sides,
        answers=answers, batch=batch_of(request, web, caller),
    )  # fmt: skip


@router.post("/compare/{item_id}/choose")
def choose(request: Request, item_id: Id, form: Form) -> Response:
    """Let one answer stand for the task."""
    web = web_of(request)
    caller = web.acting(request, form, "reviewer")
    answer = form.number("answer")
    if answer is None or answer < 1:
        raise Refused("answer: which one?", status=422)
    if review.look(web.store, answer)[1].id != item_id:
        raise Refused("this answer is about another task", status=422)
    batch = bulk.choose(web.store, caller.id, answer)
    web.stale()
    return back_to(f"/compare/{item_id}?batch={batch}")
