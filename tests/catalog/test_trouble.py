"""What goes wrong with a database is told as what it is, with what to do; and waiting helps where it can."""

from __future__ import annotations

import os
import sqlite3
import tempfile
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest
import sqlalchemy as sa
from helpers import insert_science

from sbcdark.catalog import engine as engines
from sbcdark.catalog.engine import make_engine, user_errors, writing
from sbcdark.catalog.errors import SbcdarkError, UnreachableError
from sbcdark.catalog.opening import open_catalog
from sbcdark.pipeline.views.listings import exposures

if TYPE_CHECKING:
    from collections.abc import Iterator

NOBODY = 65_534


def execute(engine: sa.Engine, *statements: str) -> None:
    with writing(engine) as session:
        for statement in statements:
            session.execute(sa.text(statement))


def test_full_disk_is_told_as_one(empty_catalog: sa.Engine) -> None:
    # SQLite is held to the pages that it has; PostgreSQL raises the error that a full disk brings it to raise.
    statements = (
        ("PRAGMA max_page_count = 1", "CREATE TABLE more AS SELECT randomblob(1000000)")
        if empty_catalog.dialect.name == "sqlite"
        else ("DO $$ BEGIN RAISE EXCEPTION 'could not extend file' USING ERRCODE = 'disk_full'; END $$",)
    )
    with pytest.raises(SbcdarkError, match=r"Cannot write the catalog .*Free some disk space"):
        execute(empty_catalog, *statements)


def test_server_that_is_too_full_to_let_anybody_in_is_told_as_full(empty_catalog: sa.Engine) -> None:
    refusal = psycopg.OperationalError("connection failed: FATAL:  could not write init file: No space left on device")
    with (
        pytest.raises(SbcdarkError, match="Free some disk space, then run again") as caught,
        user_errors(empty_catalog),
    ):
        raise sa.exc.OperationalError(None, None, refusal)
    assert not isinstance(caught.value, UnreachableError)


def test_protected_catalog_is_told_as_one(empty_catalog: sa.Engine) -> None:
    statement = "PRAGMA query_only = ON" if empty_catalog.dialect.name == "sqlite" else "SET TRANSACTION READ ONLY"
    with pytest.raises(SbcdarkError, match=r"No permission to write .*can write to"):
        execute(empty_catalog, statement, "DELETE FROM regions")


def test_catalog_that_stays_busy_is_told_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "BUSY_TIMEOUT_MS", 50)
    engine = open_catalog(tmp_path / "catalog.db", create=True)
    message = r"Another process kept .*Wait until that process is done"
    with writing(engine), pytest.raises(UnreachableError, match=message), writing(engine):
        pass
    engine.dispose()


def test_wal_is_turned_on_as_soon_as_another_writer_is_done(tmp_path: Path) -> None:
    path = tmp_path / "catalog.db"
    writer = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    writer.execute("CREATE TABLE one (x)")
    writer.execute("BEGIN IMMEDIATE")
    done = threading.Timer(0.3, writer.execute, ["COMMIT"])
    done.start()
    engine = make_engine(f"sqlite:///{path}")
    with engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
    done.join()
    writer.close()
    engine.dispose()


@contextmanager
def somebody_else() -> Iterator[None]:
    """Be a user whom the file system's permissions bind, where this is root."""
    root = os.getuid() == 0
    if root:
        os.setresuid(NOBODY, NOBODY, 0)
    try:
        yield
    finally:
        if root:
            os.setresuid(0, 0, 0)


def test_catalog_in_a_folder_that_may_not_be_written_to_is_read() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = folder / "who? 100%.db"
        engine = open_catalog(path, create=True)
        insert_science(engine, "jcmc11e6q")
        engine.dispose()
        path.chmod(0o444)
        folder.chmod(0o555)
        try:
            with somebody_else():
                engine = open_catalog(path)
                assert [one.rootname for one in exposures(engine)] == ["jcmc11e6q"]
                with pytest.raises(SbcdarkError, match=r"No permission to write .*can write to"):
                    insert_science(engine, "jcmc11ctq")
                engine.dispose()
            assert [entry.name for entry in folder.iterdir()] == [path.name]
        finally:
            folder.chmod(0o755)
