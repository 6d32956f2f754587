"""The HTTP API (`/api/v1`, OpenAPI at `/api/openapi.json`): for annotation vendors and scripts."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Query, Request, Response, Security
from fastapi.security import HTTPBearer
from pydantic import BaseModel, ConfigDict, Field

from ilf.annotate import accounts, exchange, queue, review
from ilf.annotate.answers import Draft, LongText, Work, clean, program, verdict
from ilf.annotate.checks import CATEGORIES
from ilf.annotate.pages import web_of
from ilf.annotate.pages.work import checked_refinement, hints_for
from ilf.annotate.queue import REASONS
from ilf.annotate.store import Refused
from ilf.annotate.web import Caller, Id, Web
from ilf.notes import LineNote, complete

DESCRIPTION = """\
Authenticate with `Authorization: Bearer KEY`; the owner makes keys on the team page. A key acts for its
person. Where several people work behind one key, name the worker in the header `X-Worker`: each worker
is somebody of their own for leases, overlap and statistics.

Fetch a task with `POST /api/v1/claim`: it is yours until nothing was heard for the idle time. Submit with an
`Idempotency-Key`: the same request can then be sent again without harm.
"""
Key = Annotated[
    str | None, Header(alias="Idempotency-Key", max_length=200, description="Any text, new for each request.")
]
_bearer = HTTPBearer(auto_error=False, description="A key from the team page.")
Worker = Annotated[
    str | None, Header(alias="X-Worker", max_length=60, description="Who of your people this is.")
]


class Problem(BaseModel):
    """What went wrong."""

    error: str


_ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": Problem, "description": text}
    for status, text in {
        400: "The request could not be read.",
        401: "The key is missing or not valid.",
        403: "The key's role does not allow it.",
        404: "There is no such thing, or it was not given to you.",
        409: "The state does not allow it (someone else has the task, or it changed meanwhile).",
        413: "The request is too large.",
        422: "A value is not allowed.",
        429: "Too many requests: wait a minute.",
    }.items()
}
router = APIRouter(prefix="/api/v1", responses=_ERRORS, tags=["annotation"], dependencies=[Security(_bearer)])


class CandidateOut(BaseModel):
    """One of the model's wrong programs, the easiest to fix first."""

    id: int
    code: str
    status: str | None = Field(description="Its verdict; null where it was never run here.")
    tests: list[bool | None] = Field(default=[], description="Per test: passed, failed, or never ran.")
    call: str | None = None
    expected: str | None = None
    actual: str | None = None
    error: str | None = None
    line: int | None = None


class ItemOut(BaseModel):
    """A task to write feedback for."""

    item: int
    task_id: str
    description: str
    entry_point: str
    signature: str
    example: str
    tests: list[str]
    candidates: list[CandidateOut]
    state: str = Field(description="Of your answer.")
    version: int
    lease_until: float | None = Field(description="Seconds since 1970.")
    comment: str | None = Field(description="The reviewer's, where the answer was returned.")
    draft: Draft


class AnswerIn(Draft):
    """Feedback on one of an item's programs, or the word that the item's tests are wrong."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "example": {
                "candidate": 1,
                "text": "The loop stops one element early; let it run to the end of the list.",
                "notes": [{"first": 4, "last": 4, "text": "len(items) - 1 leaves the last one out."}],
                "tags": ["logic"],
                "bugs": 1,
            }
        },
    )
    version: int | None = Field(
        default=None, ge=0, le=2**31 - 1, description="The version you read; omit to overwrite."
    )
    seconds: float | None = Field(default=None, ge=0, le=10**7, description="Time spent on the item so far.")
    notes: list[LineNote] = Field(
        default=[], max_length=1000,
        description="What is said of single lines of the program; put before the text if it is not there.",
    )  # fmt: skip

    def draft(self) -> Draft:
        """Without version and time, the notes in the text."""
        parts = self.model_dump(exclude={"version", "seconds", "notes"})
        return Draft.model_validate({**parts, "text": complete(self.text, self.notes)})


class Warned(BaseModel):
    """A warning: it is recorded, it stops nothing."""

    code: str
    text: str


class AnswerOut(BaseModel):
    """What became of an answer."""

    item: int
    answer: int
    state: str
    version: int
    warnings: list[Warned] = []
    passes: bool | None = Field(
        default=None, description="Whether the refinement passes its tests, where known."
    )


class SavedOut(BaseModel):
    """What became of a draft."""

    version: int
    held: bool = Field(description="False: the item went to someone else meanwhile; the draft is kept.")


class SkipIn(BaseModel):
    """Why an item is given back."""

    model_config = ConfigDict(extra="forbid")
    reason: Literal["ambiguous", "too hard", "later", "other"] = Field(
        description="; ".join(f"{k}: {v}" for k, v in REASONS.items())
    )
    note: LongText = ""


class RunIn(BaseModel):
    """A program to run in the sandbox."""

    model_config = ConfigDict(extra="forbid")
    code: LongText
    expression: Annotated[LongText, Field(max_length=10_000)] | None = Field(
        default=None, description="Evaluate this instead of running the tests."
    )


class RunOut(BaseModel):
    """What came of it."""

    status: str
    tests: list[bool | None] = []
    call: str | None = None
    expected: str | None = None
    actual: str | None = None
    error: str | None = None
    line: int | None = None
    stdout: str | None = None
    value: str | None = None


class ProgressOut(BaseModel):
    """How far people are."""

    items: int
    done: int
    accepted: int
    ready: int = Field(description="Tasks with as many accepted answers as asked for.")
    waiting: int
    returned: int
    held: int
    questioned: int
    removed: int
    left: int
    median_seconds: float | None


class ReviewIn(BaseModel):
    """A reviewer's judgement."""

    model_config = ConfigDict(extra="forbid")
    action: Literal["accept", "return", "reassign"]
    comment: LongText = Field(default="", description="Goes with a returned answer.")
    version: int | None = Field(default=None, ge=0, le=2**31 - 1)


def _caller(request: Request, worker: str | None, role: accounts.Role = "annotator") -> tuple[Web, Caller]:
    web = web_of(request)
    scheme, _, token = (request.headers.get("authorization") or "").partition(" ")
    person = accounts.key_holder(web.store, token.strip()) if scheme.lower() == "bearer" else None
    if person is None:
        if token:  # only failures cost: one address may stand for a whole office
            web.logins.spend(request.client.host if request.client else "?")
        raise Refused("a valid key is needed: Authorization: Bearer KEY", status=401)
    if worker:
        person = accounts.worker(web.store, person, clean(worker))
    caller = Caller(person, "")
    if not caller.can(role):
        raise Refused(f"this needs the role {role!r}; the key's is {person.role!r}", status=403)
    return web, caller


def _item(work: Work) -> ItemOut:
    candidates = []
    for row in work.candidates:
        found = verdict(row)
        known = (
            {} if found is None else found.model_dump(include={"call", "expected", "actual", "error", "line"})
        )
        status, tests = (None, []) if found is None else (found.status, list(found.tests))
        code = clean(program(row).code)
        candidates.append(CandidateOut(id=row.id, code=code, status=status, tests=tests, **known))
    task, answer = work.task, work.answer
    return ItemOut(
        item=work.item.id, task_id=task.task_id, description=task.description, entry_point=task.entry_point,
        signature=task.prefix, example=task.shown, tests=list(task.tests), candidates=candidates,
        state=answer.state, version=answer.version, lease_until=answer.lease_until, comment=answer.comment,
        draft=work.draft,
    )  # fmt: skip


@router.post("/claim", response_model=ItemOut, responses={204: {"description": "Nothing is left for you."}})
def claim(request: Request, worker: Worker = None) -> Any:
    """The task to work on now: the one in hand, or the next of the queue."""
    web, caller = _caller(request, worker)
    item = queue.claim(web.store, caller.id)
    return Response(status_code=204) if item is None else _item(queue.look(web.store, caller.id, item))


@router.get("/items/{item_id}")
def item(request: Request, item_id: Id, worker: Worker = None) -> ItemOut:
    """A task that was given to you."""
    web, caller = _caller(request, worker)
    return _item(queue.look(web.store, caller.id, item_id))


@router.put("/items/{item_id}/draft")
def draft(request: Request, item_id: Id, body: AnswerIn, worker: Worker = None) -> SavedOut:
    """Save work in progress; this also keeps the task yours."""
    web, caller = _caller(request, worker)
    saved = queue.save_draft(web.store, caller.id, item_id, body.version, body.draft(), body.seconds)
    return SavedOut(version=saved.version, held=saved.held)


@router.post("/items/{item_id}/answer")
def answer(
    request: Request,
    item_id: Id,
    body: AnswerIn,
    key: Key = None,
    worker: Worker = None,
) -> AnswerOut:
    """Submit feedback, or submit a better version of it."""
    web, caller = _caller(request, worker)
    work, new = queue.look(web.store, caller.id, item_id), body.draft()
    checked = checked_refinement(web, caller, work, new)
    hints = hints_for(web, work, new, checked)
    reply = queue.submit(
        web.store, caller.id, item_id, new, body.version, body.seconds, checked=checked, hints=hints, key=key
    )
    web.stale()
    return AnswerOut(
        **reply,
        warnings=[Warned(code=hint.code, text=hint.text) for hint in hints],
        passes=None if checked is None else checked.passed,
    )


@router.post("/items/{item_id}/skip")
def skip(
    request: Request,
    item_id: Id,
    body: SkipIn,
    key: Key = None,
    worker: Worker = None,
) -> AnswerOut:
    """Give a task back with a reason; you do not get it again by itself."""
    web, caller = _caller(request, worker)
    reply = queue.skip(web.store, caller.id, item_id, body.reason, body.note, key)
    web.stale()
    return AnswerOut(**reply)


@router.post("/items/{item_id}/undo")
def undo(request: Request, item_id: Id, worker: Worker = None) -> ItemOut:
    """Take back your answer or skip: the task is open again."""
    web, caller = _caller(request, worker)
    queue.undo(web.store, caller.id, item_id)
    web.stale()
    return _item(queue.look(web.store, caller.id, item_id))


@router.post(
    "/items/{item_id}/run", responses={503: {"model": Problem, "description": "Programs cannot run here."}}
)
def run(request: Request, item_id: Id, body: RunIn, worker: Worker = None) -> RunOut:
    """Run a program's tests, or an expression with it, in the sandbox."""
    web, caller = _caller(request, worker)
    work = queue.look(web.store, caller.id, item_id)
    web.runs.spend(str(caller.id))
    if body.expression:
        tried = web.checker.expression(work.task, body.code, body.expression, caller.id)
        if tried is not None:
            status = "error" if tried.error else "ok"
            return RunOut(
                status=status, value=tried.value, error=tried.error, line=tried.line, stdout=tried.stdout
            )
    else:
        found = web.checker.tests(work.task, body.code, caller.id)
        if found is not None:
            return RunOut.model_validate(
                found.model_dump(
                    include={"status", "tests", "call", "expected", "actual", "error", "line", "stdout"}
                )
            )
    raise Refused(f"programs cannot run here: {web.checker.problem}", status=503)


@router.get("/progress")
def progress(request: Request, worker: Worker = None) -> ProgressOut:
    """How far the team is."""
    web, _ = _caller(request, worker)
    return ProgressOut.model_validate(vars(web.store.progress()))


@router.get("/categories")
def categories(request: Request, worker: Worker = None) -> list[str]:
    """The kinds of bug that `tags` may name."""
    _caller(request, worker)
    return list(CATEGORIES)


@router.get("/answers")
def answers(
    request: Request,
    format: Annotated[exchange.Format, Query()] = "ilf",
    worker: Worker = None,
) -> Response:
    """All accepted feedback: `ilf` is one JSON object a line (reviewers and owners)."""
    web, _ = _caller(request, worker, "reviewer")
    text = "".join(exchange.export(web.store, format))
    return Response(text.encode("utf-8", "replace"), media_type=exchange.MEDIA[format])


@router.get("/review")
def waiting(request: Request, worker: Worker = None) -> list[dict[str, Any]]:
    """Answers that wait for a reviewer."""
    web, _ = _caller(request, worker, "reviewer")
    return [
        {**review.as_dict(answer), "task_id": item.task_id, "author": person.name}
        for answer, item, person in review.waiting(web.store)
    ]


@router.post("/answers/{answer_id}/review")
def judge(request: Request, answer_id: Id, body: ReviewIn, worker: Worker = None) -> dict[str, Any]:
    """Accept an answer, return it to its author with a comment, or give its task to someone else."""
    web, caller = _caller(request, worker, "reviewer")
    if body.action == "accept":
        review.accept(web.store, caller.id, answer_id, body.version)
    elif body.action == "return":
        review.send_back(web.store, caller.id, answer_id, body.comment, body.version)
    else:
        review.reassign(web.store, caller.id, answer_id, body.version)
    web.stale()
    return review.as_dict(review.look(web.store, answer_id)[0])
