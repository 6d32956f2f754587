"""What `ilf annotate` does: open or make the store, fill it, move files in and out, serve it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from ilf.errors import DataError, RunFolderError, SandboxUnavailable, UserError, missing
from ilf.formats.programs import Programs
from ilf.listening import LOCAL
from ilf.output import answer, machines
from ilf.progress import progress, say
from ilf.records import Feedback, Program, Rows, Task, Verdict, describe, read_jsonl
from ilf.runfolder import RunFolder, write_text

if TYPE_CHECKING:
    from ilf.annotate.exchange import Format
    from ilf.annotate.store import Store
    from ilf.config import VerifyConfig


def annotate(
    run: Path | None,
    *,
    demo: bool = False,
    browser: bool | None = None,
    host: str = "127.0.0.1",
    port: int = 8765,
    url: str | None = None,
    trusted_proxies: Sequence[str] = (),
    sign_on_header: str | None = None,
    owner: str | None = None,
    database: str | None = None,
    no_accounts: bool = False,
    overlap: int | None = None,
    review: bool | None = None,
    idle_minutes: float | None = None,
    tasks: str | None = None,
    programs: Path | None = None,
    verdicts: Path | None = None,
    round: int = 1,
    import_file: Path | None = None,
    export_file: Path | None = None,
    format: str = "ilf",
    backup_file: Path | None = None,
    audit_file: Path | None = None,
    forget: str | None = None,
    with_answers: bool = False,
    keep_days: float | None = None,
    unsafe: bool = False,
) -> None:
    """Serve the annotation store of a run, or import into or export from it.

    Args:
        run: the run folder; with `tasks` it may be new; none with `demo`.
        demo: a made-up queue instead, which is gone at the end.
        browser: open the page in a browser of this machine; by default with `demo` only.
        host: address to listen on.
        port: to listen on; 0 takes a free one.
        url: what people type, where it is not `http://HOST:PORT` (behind a proxy, say).
        trusted_proxies: addresses whose word on who asks is taken (X-Forwarded-For).
        sign_on_header: in which a trusted proxy says who asks.
        owner: a person who becomes an owner.
        database: a PostgreSQL URL to use instead of the file `annotations.db` in the run folder.
        no_accounts: whoever reaches the server is its owner; only on this machine's own address.
        overlap: people an item; as before by default, 1 at first.
        review: whether only what a reviewer accepts counts; as before by default, off at first.
        idle_minutes: after which an idle item comes back; as before by default, 30 at first.
        tasks: where tasks come from, for a store without a run and for imports.
        programs: the model's programs (JSONL), for a store without a run.
        verdicts: their verdicts (JSONL); without them the programs are verified first.
        round: which round of the run.
        import_file: feedback to add (the paper's file or our JSONL), then leave.
        export_file: where to write the answers, then leave; `-` is standard output.
        format: of the export: `ilf`, `csv`, `labelstudio` or `argilla`.
        backup_file: where to copy the store to, then leave.
        audit_file: where to write every change, then leave.
        forget: whose data to delete, then leave.
        with_answers: delete their answers as well.
        keep_days: forget the content of older changes; 0: never; as before by default, never at first.
        unsafe: run programs without isolation.

    Raises:
        UserError: an option is wrong; the message says what would be right.
    """
    try:
        from ilf.annotate import accounts, exchange, serving, upkeep
    except ModuleNotFoundError as error:
        raise missing(error.name or "sqlalchemy", "annotate") from None
    if no_accounts and host not in LOCAL:
        raise UserError(f"--no-accounts makes everyone the owner: it works on 127.0.0.1 only, not on {host}")
    known: Format | None = next((name for name in exchange.FORMATS if name == format), None)
    if known is None:
        raise UserError(f"--format: {format!r} is not one of {', '.join(exchange.FORMATS)}")
    if sign_on_header is not None and (not trusted_proxies or "*" in trusted_proxies or no_accounts):
        raise UserError(
            "--sign-on-header needs --trusted-proxy ADDRESS: the header is believed from there only"
        )
    bounds = (
        ("--overlap", overlap, 1, 20), ("--idle", idle_minutes, 1, 1440), ("--keep-days", keep_days, 0, 36500)
    )  # fmt: skip
    for name, number, low, high in bounds:
        if number is not None and not low <= number <= high:
            raise UserError(f"{name}: {number:g} is not between {low} and {high}")
    if demo:
        serving.serve_demo(run, host, port, unsafe, browser)
        return
    if run is None:
        raise UserError("which run? ilf annotate RUN (or ilf annotate --demo, to try the page)")
    folder = _folder(run, tasks)
    store = open_store(folder, database)
    try:
        if upkeep.chores(store, backup_file, audit_file, forget, with_answers):
            return
        changes = {
            "overlap": overlap, "review": review, "idle_minutes": idle_minutes, "keep_days": keep_days
        }  # fmt: skip
        store.configure(
            title=folder.path.resolve().name,
            **{name: value for name, value in changes.items() if value is not None},
        )
        settings = _verify_settings(store, folder, unsafe)
        if programs is not None:
            _fill_from_files(store, tasks, programs, verdicts, round, settings)
        elif import_file is None and store.progress().items == 0:
            _fill_from_run(store, folder, round)
        done: dict[str, object] = {}
        if import_file is not None:
            done |= _import(store, folder, import_file, tasks, round, settings)
        if owner is not None:
            accounts.make_owner(store, owner)
        if store.settings.keep_days:
            upkeep.retain(store, store.settings.keep_days)
        if export_file is not None:
            done |= _export(store, export_file, known)
        if done:
            answer(done)
        else:
            _remember_drafts(store, folder, round)
            serving.serve(
                store, host, port, url, trusted_proxies, not no_accounts, settings,
                opens=browser is True, sign_on=sign_on_header,
            )  # fmt: skip
    finally:
        store.close()


def _folder(run: Path, tasks: str | None) -> RunFolder:
    if not run.is_dir():
        if tasks is None or run.exists():
            raise RunFolderError(
                f"{run}: not a run folder; a new one needs --tasks and --programs (or --import)"
            )
        run.mkdir(parents=True)
    return RunFolder(run)


def open_store(folder: RunFolder, database: str | None) -> Store:
    """The run's store; the URL of a database given once is remembered beside the run."""
    from ilf.annotate.store import Store

    note = folder.path / "annotations.url"
    if database is None:
        return Store(note.read_text(encoding="utf-8").strip() if note.is_file() else folder.annotations)
    store = Store(database)
    note.touch(mode=0o600)  # it may hold a password
    note.chmod(0o600)
    note.write_text(database + "\n", encoding="utf-8")
    return store


def _verify_settings(store: Store, folder: RunFolder, unsafe: bool) -> VerifyConfig:
    """How the run verifies programs, so that people see the verdicts that it would give."""
    from ilf.config import VerifyConfig, load_config

    kept = store.state("verify")
    if kept is not None:
        settings = VerifyConfig.model_validate(kept)
    elif folder.config.is_file():
        settings = load_config(folder.config).verify
    else:
        settings = VerifyConfig()
    return settings.model_copy(update={"unsafe": True}) if unsafe else settings


def _load_tasks(source: str | None, folder: RunFolder) -> dict[str, Task]:
    from ilf.tasks import load_tasks

    if source is not None:
        return {task.task_id: task for task in load_tasks(source)}
    if folder.config.is_file():
        from ilf.config import load_config
        from ilf.preparation import load_source

        return {task.task_id: task for task in load_source(load_config(folder.config))}
    return {}


def _fill_from_files(
    store: Store, tasks: str | None, programs: Path, verdicts: Path | None, round: int, settings: VerifyConfig
) -> None:
    from ilf.tasks import load_tasks

    if tasks is None:
        raise UserError("--programs needs --tasks: which tasks are they for?")
    known = {task.task_id: task for task in load_tasks(tasks)}
    given = Programs(programs, known)
    rows = [_program(f"{programs}, line {number}", row) for number, row in given]
    if given.says is not None:
        say(f"{programs}: read as {given.says}: {len(rows)} programs")
    unknown = next((row.task_id for row in rows if row.task_id not in known), None)
    if unknown is not None:
        raise DataError(f"{programs}: task {unknown!r} is not among the tasks of {tasks}")
    if verdicts is None:
        found = _verify(known, rows, settings)
    else:
        found = read_jsonl(verdicts, Verdict, prepare=_verdict_row)
    asked = {row.task_id for row in rows}
    new = store.fill([task for task in known.values() if task.task_id in asked], rows, found, round=round)
    say(f"{new} tasks are new in the queue")


def _program(place: str, row: dict[str, object]) -> Program:
    """Only what a program needs: files of other tools have more fields."""
    try:
        return Program.model_validate({name: row[name] for name in Program.model_fields if name in row})
    except ValidationError as error:
        raise DataError(f"{place}: {describe(error)}") from None


def _verdict_row(row: dict[str, object]) -> dict[str, object]:
    """A row of a run folder's verdicts as it is; of `ilf verify`, less the fields that it handed through."""
    if "program_id" in row or not isinstance(row.get("code"), str):
        return row
    program = Program.model_validate({"task_id": row.get("task_id"), "code": row["code"]})
    verdict: dict[str, object] = {"task_id": program.task_id, "program_id": program.program_id}
    return verdict | {name: row[name] for name in ("status", "detail", "shared") if name in row}


def _verify(tasks: dict[str, Task], rows: Sequence[Program], settings: VerifyConfig) -> list[Verdict]:
    from ilf import kinds

    with progress("verifying", len(rows)) as bar:
        return list(kinds.verify(tasks, rows, settings, bar))


def _fill_from_run(store: Store, folder: RunFolder, round: int) -> None:
    """Queue what a run that has sampled and verified failed, whatever its own source of feedback is."""
    files = folder.round(round)
    if not (folder.config.is_file() and files.programs.is_file() and files.verdicts.is_file()):
        return
    from ilf.annotate.store import MOST
    from ilf.config import load_config
    from ilf.feedback import candidates
    from ilf.preparation import load_splits

    config = load_config(folder.config)
    splits = load_splits(config)
    tasks = [task for name in ("refine", "train") for task in splits.get(name, [])]
    wrong = candidates(
        Rows(files.programs, Program), Rows(files.verdicts, Verdict),
        only_unsolved=config.feedback.only_unsolved, most=MOST,
    )  # fmt: skip
    new = store.queue(tasks, wrong, round)
    say(f"{new} tasks of round {round} are queued")


def _remember_drafts(store: Store, folder: RunFolder, round: int) -> None:
    """Where the run has feedback that a model wrote, people can be offered it as drafts."""
    from ilf.annotate.suggestions import remember_drafts

    written = folder.round(round).feedback
    if written.is_file():
        count = remember_drafts(store, read_jsonl(written, Feedback))
        if count and store.settings.suggest:
            say(f"{count} drafts by a model are offered")


def _import(
    store: Store, folder: RunFolder, path: Path, source: str | None, round: int, settings: VerifyConfig
) -> dict[str, object]:
    from ilf.annotate.exchange import import_feedback
    from ilf.feedback import recorded

    tasks = _load_tasks(source, folder)
    rows = recorded.read(path, tasks, strict=False)
    written = {
        Program(task_id=row.task_id, code=code) for row in rows for code in (row.code, row.refinement) if code
    }
    programs = [
        program for program in sorted(written, key=lambda p: p.program_id) if program.task_id in tasks
    ]
    try:
        verdicts = {v.program_id: v for v in _verify(tasks, programs, settings)} if programs else {}
    except SandboxUnavailable as error:
        say(f"programs are imported without verdicts: {error}")
        verdicts = {}
    done = import_feedback(store, rows, tasks, round, verdicts)
    say(f"{done.added} items were imported, {done.known} were there already")
    return {"imported": done.added, "known": done.known}


def _export(store: Store, path: Path, format: Format) -> dict[str, object]:
    from ilf.annotate import exchange

    if str(path) == "-":
        if machines():
            raise UserError("--json: rows of --export - are standard output already; name a file")
        import sys

        for part in exchange.export(store, format):
            sys.stdout.write(part)
        return {"out": "-"}
    write_text(path, "".join(exchange.export(store, format)))
    accepted = store.progress().accepted
    say(f"{path}: {accepted} accepted items")
    if format in exchange.SETTINGS:
        name, text = exchange.SETTINGS[format]
        beside = path.with_name(path.stem + name)
        write_text(beside, text)
        say(f"{beside}: the labelling set-up that these rows belong to")
    return {"out": path, "accepted": accepted}
