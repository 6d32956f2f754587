import stat

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from ilf.annotate.database import Database
from ilf.annotate.schema import Base
from ilf.annotate.store import Store
from ilf.errors import DataError, RunFolderError


def test_migrations_make_the_tables_the_code_expects(tmp_path):
    database = Database(f"sqlite:///{tmp_path / 'a.db'}")
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"render_as_batch": True})
        assert compare_metadata(context, Base.metadata) == []
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2  # FULL: survives a power cut


def test_only_the_owner_of_the_file_can_read_it(tmp_path):
    Database(f"sqlite:///{tmp_path / 'a.db'}")
    assert stat.S_IMODE((tmp_path / "a.db").stat().st_mode) == 0o600


def test_opening_again_keeps_everything(store, tmp_path):
    assert Store(tmp_path / "annotations.db").progress().items == 3


@pytest.mark.parametrize("url", ["nonsense", "mysql://x/y", "sqlite:////nowhere/at/all/x.db", "://"])
def test_bad_addresses_are_one_line_errors(url):
    with pytest.raises(DataError) as caught:
        Store(url if "://" in url else url + "://x")
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_database(tmp_path):
    (tmp_path / "a.db").write_text("hello, this is certainly not a database file at all" * 20)
    with pytest.raises(DataError, match="not a database"):
        Store(tmp_path / "a.db")


def test_a_newer_database_is_refused(tmp_path):
    database = Database(f"sqlite:///{tmp_path / 'a.db'}")
    with database.write() as session:
        session.connection().exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    database.close()
    with pytest.raises(RunFolderError, match="newer"):
        Database(f"sqlite:///{tmp_path / 'a.db'}")


def test_a_failed_change_leaves_nothing(store):
    with pytest.raises(ZeroDivisionError), store.write() as change:
        change.log(None, "x", "y", None, None)
        1 / 0  # noqa: B018
    with store.read() as session:
        assert (
            session.connection().exec_driver_sql("SELECT count(*) FROM history WHERE subject='y'").scalar()
            == 0
        )
