"""What `ilf annotate` does: open or make the store, fill it, move files in and out, serve it."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from ilf.errors import DataError, MissingDependency, RunFolderError, SandboxUnavailable, UserError, missing
from ilf.formats.programs import Programs
from ilf.listening import LOCAL, listen
from ilf.progress import progress, say
from ilf.records import Program, Rows, Task, Verdict, describe, read_jsonl
from ilf.runfolder import RunFolder, write_text

if TYPE_CHECKING:
    from ilf.annotate.checker import Checker
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
        unsafe: run programs without isolation.

    Raises:
        UserError: an option is wrong; the message says what would be right.
    """
    try:
        from ilf.annotate import exchange, worth
    except ModuleNotFoundError as error:
        raise missing(error.name or "sqlalchemy", "annotate") from None
    if no_accounts and host not in LOCAL:
        raise UserError(f"--no-accounts makes everyone the owner: it works on 127.0.0.1 only, not on {host}")
    known: Format | None = next((name for name in exchange.FORMATS if name == format), None)
    if known is None:
        raise UserError(f"--format: {format!r} is not one of {', '.join(exchange.FORMATS)}")
    for name, number, low, high in (("--overlap", overlap, 1, 20), ("--idle", idle_minutes, 1, 1440)):
        if number is not None and not low <= number <= high:
            raise UserError(f"{name}: {number:g} is not between {low} and {high}")
    if demo:
        _demo(run, host, port, unsafe, browser)
        return
    if run is None:
        raise UserError("which run? ilf annotate RUN (or ilf annotate --demo, to try the page)")
    folder = _folder(run, tasks)
    store = _open(folder, database)
    try:
        changes = {"overlap": overlap, "review": review, "idle_minutes": idle_minutes}
        store.configure(
            title=folder.path.resolve().name,
            **{name: value for name, value in changes.items() if value is not None},
        )
        settings = _verify_settings(store, folder, unsafe)
        if programs is not None:
            _fill_from_files(store, tasks, programs, verdicts, round, settings)
        elif import_file is None and store.progress().items == 0:
            _fill_from_run(store, folder, round)
        if import_file is not None:
            _import(store, folder, import_file, tasks, round, settings)
        worth.look_at(store)
        if export_file is not None:
            _export(store, export_file, known)
        if import_file is None and export_file is None:
            _serve(store, host, port, url, trusted_proxies, not no_accounts, settings, opens=browser is True)
    finally:
        store.close()


def _demo(run: Path | None, host: str, port: int, unsafe: bool, browser: bool | None) -> None:
    """Serve a made-up queue: whoever opens it is its owner."""
    if run is not None:
        raise UserError(f"--demo has a queue of its own: leave out {run}")
    if host not in LOCAL:
        raise UserError(f"--demo lets in everyone: it works on 127.0.0.1 only, not on {host}")
    from ilf.annotate import demo, worth
    from ilf.annotate.store import Store
    from ilf.config import VerifyConfig

    settings = VerifyConfig(unsafe=unsafe)
    with tempfile.TemporaryDirectory(prefix="ilf-demo-") as place:
        store = Store(Path(place) / "annotations.db")
        try:
            demo.fill(store, settings)
            worth.look_at(store)
            say("a made-up queue, to try the page; it is gone when the server stops")
            _serve(store, host, port, None, (), False, settings, opens=browser is not False)
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


def _open(folder: RunFolder, database: str | None) -> Store:
    """The run's store; the URL of a database given once is remembered beside the run."""
    from ilf.annotate.store import Store

    note = folder.path / "annotations.url"
    if database is None:
        return Store(note.read_text(encoding="utf-8").strip() if note.is_file() else folder.annotations)
    store = Store(database)
    note.touch(mode=0o600)  # it may hold a password
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


def _import(
    store: Store, folder: RunFolder, path: Path, source: str | None, round: int, settings: VerifyConfig
) -> None:
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


def _export(store: Store, path: Path, format: Format) -> None:
    from ilf.annotate import exchange

    if str(path) == "-":
        import sys

        for part in exchange.export(store, format):
            sys.stdout.write(part)
        return
    write_text(path, "".join(exchange.export(store, format)))
    say(f"{path}: {store.progress().accepted} accepted items")
    if format in exchange.SETTINGS:
        name, text = exchange.SETTINGS[format]
        beside = path.with_name(path.stem + name)
        write_text(beside, text)
        say(f"{beside}: the labelling set-up that these rows belong to")


def make_checker(settings: VerifyConfig) -> Checker:
    """The sandbox for a server; where there is none, pages say so and nothing runs."""
    from ilf.annotate.checker import Checker
    from ilf.kinds.function import verifier_of

    try:
        verifier = verifier_of(settings)
    except SandboxUnavailable as error:
        say(f"tests cannot run on the pages: {error}")
        return Checker(None, str(error))
    return Checker(verifier, at_once=max(2, verifier.workers))


def _serve(
    store: Store,
    host: str,
    port: int,
    url: str | None,
    proxies: Sequence[str],
    accounts: bool,
    settings: VerifyConfig,
    *,
    opens: bool,
) -> None:
    try:
        import uvicorn

        from ilf.annotate.accounts import owner_link
        from ilf.annotate.app import create_app
        from ilf.annotate.web import STATIC, Options
        from ilf.browser import open_page
    except ModuleNotFoundError as error:
        raise MissingDependency(f"{error.name} is not installed: pip install 'ilf[annotate]'") from None
    listening = listen(host, port)
    port = listening.getsockname()[1]
    shown = f"[{host}]" if ":" in host else host
    address = (url or f"http://{shown}:{port}").rstrip("/")
    local = host in LOCAL
    # A server for this machine answers to its own names only; a wider one to any, unless it has a URL.
    hosts = frozenset({shown}) if local or url else frozenset()
    checker = make_checker(settings)
    app = create_app(store, checker, Options(url=address, accounts=accounts, hosts=hosts))
    now = store.progress()
    say(f"{now.items} tasks, {now.done} done, {now.accepted} accepted. Everything is kept in {store.place}")
    if not (STATIC / "bundle" / "app.js").is_file():
        say("the editor is not built (make bundle): pages have plain text areas")
    if not local:
        say(f"listening on {host}: use https in front of it for people outside this network")
    link = f"{address}/join/{owner_link(store)}" if accounts else address
    say(f"owner: {link}" if accounts else f"open {link}")
    if opens:
        # The socket listens already: whoever comes early waits a moment.
        threading.Thread(target=open_page, args=(link if accounts else f"{link}/work",), daemon=True).start()
    say("Ctrl-C stops the server; nothing is lost")
    config = uvicorn.Config(
        app, log_level="warning", access_log=False, timeout_graceful_shutdown=5, server_header=False,
        # Longer than browsers, proxies and clients keep a connection: whoever closes it first must not be
        # us, as a request may be on its way.
        timeout_keep_alive=620,
        proxy_headers=bool(proxies), forwarded_allow_ips=list(proxies),
    )  # fmt: skip
    server = uvicorn.Server(config)
    try:
        server.run(sockets=[listening])
    finally:
        checker.close()
        listening.close()
