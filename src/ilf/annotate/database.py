"""Opening the database: SQLite in WAL mode, or PostgreSQL by URL, brought to the newest schema."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DatabaseError, NoSuchModuleError, OperationalError
from sqlalchemy.orm import Session

from ilf.errors import DataError, RunFolderError, missing

BUSY_SECONDS = 30
"""How long a writer waits for another process's short write (SQLite)."""
_LOCK = 5_001_977
"""Any number: PostgreSQL's advisory lock that writers share."""


class Database:
    """A database at `url` whose tables are at the newest version."""

    def __init__(self, url: str) -> None:
        """Open, create or migrate.

        Raises:
            DataError: the URL is wrong, the file is no database, or the server does not answer.
            MissingDependency: the driver for the URL is not installed.
            RunFolderError: the database was written by a newer version.
        """
        self.url = url
        try:
            parsed = make_url(url)
            if parsed.drivername in ("postgresql", "postgres"):
                parsed = parsed.set(drivername="postgresql+psycopg")
            if parsed.get_backend_name() not in ("sqlite", "postgresql"):
                raise ArgumentError
            self.sqlite = parsed.get_backend_name() == "sqlite"
            self.engine = self._engine(parsed)
        except (ArgumentError, NoSuchModuleError):
            raise DataError(
                f"{url}: not a database URL; allowed: sqlite:///PATH and postgresql://USER:PASSWORD@HOST/NAME"
            ) from None
        except ModuleNotFoundError as error:
            raise missing(error.name or "the database driver", "annotate-postgres") from None
        self._writer = self.engine.execution_options(write=True)
        # One writer at a time in this process: threads queue here, not in SQLite's sleeping retries.
        self._writing = threading.Lock()
        try:
            self._migrate()
        except (DatabaseError, OperationalError) as error:
            raise DataError(f"{parsed.render_as_string()}: {str(error.orig).splitlines()[0]}") from None

    def _engine(self, url: Any) -> Engine:
        if not self.sqlite:
            return create_engine(url, pool_size=20, max_overflow=20, pool_pre_ping=True)
        if url.database and url.database != ":memory:":
            # The store holds sessions' signing secret: nobody else on the machine may read it.
            path = Path(url.database)
            if not path.parent.is_dir():
                raise DataError(f"{path.parent}: no such folder")
            if not path.exists():
                os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        engine = create_engine(url, connect_args={"timeout": BUSY_SECONDS}, pool_size=20, max_overflow=40)

        @event.listens_for(engine, "connect")
        def connected(connection: Any, _record: Any) -> None:
            connection.isolation_level = None  # BEGIN is ours, below
            for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
                connection.execute(f"PRAGMA {pragma}")

        @event.listens_for(engine, "begin")
        def begun(connection: Connection) -> None:
            # A reader that turns into a writer could find its snapshot outdated; writers lock from the start.
            mode = "IMMEDIATE" if connection.get_execution_options().get("write") else "DEFERRED"
            connection.exec_driver_sql(f"BEGIN {mode}")

        return engine

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A session that changes nothing."""
        with Session(self.engine, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """A session in one transaction: all of it is on disk when the block ends, or none of it."""
        if not self.sqlite:
            with Session(self.engine, expire_on_commit=False) as session, session.begin():
                # One writer at a time, as in SQLite: what a claim read is still so when it writes.
                session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
                yield session
            return
        with self._writing, Session(self._writer, expire_on_commit=False) as session, session.begin():
            yield session

    def _migrate(self) -> None:
        config = Config()
        config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
        scripts = ScriptDirectory.from_config(config)
        with (self._writer if self.sqlite else self.engine).connect() as connection:
            current = MigrationContext.configure(connection).get_current_revision()
            if current == scripts.get_current_head():
                return
            if current is not None and current not in {
                script.revision for script in scripts.walk_revisions()
            }:
                raise RunFolderError(
                    f"{self.engine.url.render_as_string()}: written by a newer ilf; please update"
                )
            connection.rollback()
            if not self.sqlite:
                # Of this transaction, as the migration is: it goes with it, however that ends.
                connection.execute(text(f"SELECT pg_advisory_xact_lock({_LOCK})"))
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
            connection.commit()

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()
