"""A catalog exported from either engine and imported into either is the same, to the last row; and goes on counting."""

from __future__ import annotations

import hashlib
import sqlite3
from pathlib import Path

import pytest
import sqlalchemy as sa
from helpers import counts, dump
from test_schema import fill_every_table

from sbcdark.catalog import transfer
from sbcdark.catalog.engine import sqlite_url, writing
from sbcdark.catalog.errors import SbcdarkError, SchemaError, UnreachableError, UsageError
from sbcdark.catalog.models import Region
from sbcdark.catalog.opening import open_catalog
from sbcdark.catalog.transfer import export, import_
from sbcdark.pipeline.ingest.ingestion import ingest
from sbcdark.pipeline.selection.choice import match
from sbcdark.pipeline.selection.names import Selector
from sbcdark.pipeline.selection.rules import Requirements


@pytest.fixture
def filled(real_catalog: sa.Engine) -> sa.Engine:
    match(real_catalog, Selector(program=(13655,)), save=True)
    return real_catalog


def test_exported_file_is_a_catalog_with_the_same_rows(filled: sa.Engine, tmp_path: Path, shared_data: Path) -> None:
    file = tmp_path / "out" / "snapshot.db"
    rows = export(filled, file)
    assert (rows["exposures"], rows["files"], rows["selections"]) == (28, 32, 8)
    assert [path.name for path in file.parent.iterdir()] == ["snapshot.db"]
    copy = open_catalog(file)
    assert dump(copy) == dump(filled)
    # It goes on as the catalog that it was copied from does.
    assert counts(ingest(copy, [shared_data / "darks_13961"], workers=1)) == (0, 0, 20, 0)
    assert [one.selection_id for one in match(copy, ["jcmc11e6q"], wanted=Requirements(top=1), save=True)] == [9]
    copy.dispose()


def test_import_brings_every_row_back_and_goes_on_counting(
    filled: sa.Engine, tmp_path: Path, other_postgres_url: str
) -> None:
    file = tmp_path / "snapshot.db"
    export(filled, file)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    for url in (other_postgres_url, sqlite_url(tmp_path / "back.db")):
        rows = import_(url, file)
        back = open_catalog(url)
        assert dump(back) == dump(filled)
        assert rows == {name: len(table) for name, table in dump(filled).items()}
        (stored,) = match(back, ["jcmc11e6q"], wanted=Requirements(top=1), save=True)
        assert stored.selection_id == 9
        with pytest.raises(UsageError, match="not empty"):
            import_(url, file)
        back.dispose()
    # A backup is read, and not a byte of it is written.
    assert hashlib.sha256(file.read_bytes()).hexdigest() == digest


def test_every_kind_of_value_is_carried(empty_catalog: sa.Engine, tmp_path: Path, other_postgres_url: str) -> None:
    fill_every_table(empty_catalog)
    export(empty_catalog, tmp_path / "snapshot.db")
    import_(other_postgres_url, tmp_path / "snapshot.db")
    back = open_catalog(other_postgres_url)
    assert dump(back) == dump(empty_catalog)
    back.dispose()


def test_export_sees_one_moment(filled: sa.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = dump(filled)
    pages = transfer._pages

    def pages_while_another_writes(source: sa.Connection, table: sa.Table) -> object:
        if table.name == "regions":
            with writing(filled) as session:
                session.add(Region(name="new", version=1, y0=0, y1=1, x0=0, x1=1, masked=False))
        return pages(source, table)

    # The first table has been read by then, so that the moment is past.
    names = [table.name for table in transfer.Base.metadata.sorted_tables]
    assert names.index("regions") > 0
    monkeypatch.setattr(transfer, "_pages", pages_while_another_writes)
    export(filled, tmp_path / "snapshot.db")
    copy = open_catalog(tmp_path / "snapshot.db")
    assert dump(copy) == before
    assert dump(filled) != before
    copy.dispose()


def test_nothing_that_is_there_is_written_over_unasked(filled: sa.Engine, tmp_path: Path) -> None:
    file = tmp_path / "mine.db"
    file.write_text("mine")
    with pytest.raises(UsageError, match="already exists") as caught:
        export(filled, file)
    assert "--overwrite" in caught.value.todo
    assert file.read_text() == "mine"
    export(filled, file, overwrite=True)
    assert sqlite3.connect(file).execute("SELECT count(*) FROM exposures").fetchone() == (28,)
    with pytest.raises(UsageError, match="already exists"):
        export(filled, tmp_path, overwrite=True)
    if filled.dialect.name == "sqlite":
        with pytest.raises(UsageError, match="the catalog itself"):
            export(filled, Path(str(filled.url.database)), overwrite=True)
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(SbcdarkError, match="Cannot write"):
        export(filled, blocked / "snapshot.db")


def test_what_is_no_snapshot_is_refused_and_nothing_is_made_of_it(empty_catalog: sa.Engine, tmp_path: Path) -> None:
    url = empty_catalog.url.render_as_string(hide_password=False)
    (tmp_path / "text.db").write_text("no database " * 100)
    sqlite3.connect(tmp_path / "other.db").execute("CREATE TABLE t (x)")
    older = open_catalog(tmp_path / "older.db", create=True)
    with older.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '0001'"))
    older.dispose()
    for name, kind, told in (
        ("text.db", UnreachableError, "not a SQLite database"),
        ("other.db", SchemaError, "not a sbcdark catalog"),
        ("older.db", SchemaError, "sbcdark db upgrade"),
        ("none.db", UsageError, "no file"),
    ):
        with pytest.raises(kind, match=told):
            import_(url, tmp_path / name)
    assert not any(dump(empty_catalog).values())
