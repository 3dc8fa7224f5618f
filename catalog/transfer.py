"""Export of a catalog to one SQLite file, and import into either engine, row by row."""

from __future__ import annotations

import sqlite3
from functools import partial
from typing import TYPE_CHECKING

import sqlalchemy as sa

from sbcdark.catalog import schema
from sbcdark.catalog.engine import make_engine, sqlite_url, user_errors, writing
from sbcdark.catalog.errors import SbcdarkError, UsageError
from sbcdark.catalog.models import Base
from sbcdark.catalog.opening import as_engine, open_catalog
from sbcdark.catalog.workspace import publish, workspace

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

_ROWS = 1000
"""Rows in memory at a time."""


def export(catalog: sa.Engine | str | Path, path: Path, *, overwrite: bool = False) -> dict[str, int]:
    """Export a catalog, as it is at one moment, to one SQLite file, which is itself a catalog.

    Parameters
    ----------
    path : Path
        The file; it appears once it is complete.
    overwrite : bool
        Whether to replace an existing file.

    Returns
    -------
    dict of str to int
        Number of rows by table.

    Raises
    ------
    UsageError
        The file exists, or is the catalog itself.
    SbcdarkError
        The file cannot be written.
    """
    engine = as_engine(catalog)
    own = engine.url.database if engine.dialect.name == "sqlite" else None
    if own is not None and path.exists() and path.samefile(own):
        raise UsageError(f"{path} is the catalog itself.", "Give another file.")
    if path.exists() and not (overwrite and path.is_file()):
        raise UsageError(f"{path} already exists.", "Give another file, or --overwrite.")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with workspace(path.parent) as work:
            rows = _write_snapshot(engine, work / path.name)
            publish(work, path.parent, [path.name], [f"{path.name}-wal", f"{path.name}-shm"])
    except OSError as error:
        raise SbcdarkError(
            f"Cannot write {path}: {error.strerror or error}.", "Free some disk space there, or give another path."
        ) from error
    return rows


def import_(url: str | Path, path: Path) -> dict[str, int]:
    """Import an exported file into an empty or new catalog, on either engine.

    Returns
    -------
    dict of str to int
        Number of rows by table.

    Raises
    ------
    UsageError
        The file does not exist, or the catalog is not empty.
    SchemaError
        The file is not a catalog of this revision.
    """
    if not path.is_file():
        raise UsageError(f"There is no file {path}.", "Give a file that `sbcdark db export` wrote.")
    engine = open_catalog(url, create=True)
    try:
        return _read_snapshot(path, engine)
    finally:
        engine.dispose()


def _write_snapshot(engine: sa.Engine, path: Path) -> dict[str, int]:
    """Copy a catalog, as it is at one moment, to a new SQLite file; later commits are not in the copy."""
    copy = make_engine(sqlite_url(path), create=True)
    try:
        schema.upgrade(copy)
        with _at_one_moment(engine) as source:
            rows = _copy(source, copy)
        with user_errors(copy), copy.connect() as connection:
            broken = connection.exec_driver_sql("PRAGMA integrity_check").scalars().all()
            if broken != ["ok"] or connection.exec_driver_sql("PRAGMA foreign_key_check").first() is not None:
                raise SbcdarkError("The copy is inconsistent and was removed.", "Check the disk, then try again.")
        # A single file, readable on a read-only disk.
        with user_errors(copy), copy.connect() as connection:
            driver_connection: sqlite3.Connection = connection.connection.driver_connection  # type: ignore[assignment]
            driver_connection.execute("PRAGMA journal_mode = DELETE")
    finally:
        copy.dispose()
    return rows


def _read_snapshot(path: Path, engine: sa.Engine) -> dict[str, int]:
    """Copy every row of a snapshot to an empty catalog, in one transaction."""
    source = sa.create_engine("sqlite://", creator=partial(_connect_reading, path), poolclass=sa.NullPool)
    source.url = sa.make_url(sqlite_url(path))  # for messages
    try:
        schema.require_current(source)
        with _at_one_moment(source) as reader:
            return _copy(reader, engine)
    finally:
        source.dispose()


def _connect_reading(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, check_same_thread=False)


def _at_one_moment(engine: sa.Engine) -> AbstractContextManager[sa.Connection]:
    connection = engine.connect()
    if engine.dialect.name == "postgresql":
        # Every statement sees the commits before the first one; a SQLite transaction does so anyway.
        connection = connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
    return connection


def _copy(source: sa.Connection, target: sa.Engine) -> dict[str, int]:
    copied = {}
    with user_errors(source.engine), writing(target) as session:
        connection = session.connection()
        for table in Base.metadata.sorted_tables:
            if connection.scalar(sa.select(sa.exists().select_from(table))):
                raise UsageError(
                    "The target catalog is not empty.", "Name a new one with --db: catalogs cannot be merged."
                )
        for table in Base.metadata.sorted_tables:
            copied[table.name] = 0
            for rows in _pages(source, table):
                connection.execute(sa.insert(table), rows)
                copied[table.name] += len(rows)
            _advance_sequence(connection, table)
    return copied


def _pages(source: sa.Connection, table: sa.Table) -> Iterator[list[dict[str, object]]]:
    query = sa.select(table).order_by(*table.primary_key.columns)
    result = source.execution_options(yield_per=_ROWS).execute(query)
    for page in result.mappings().partitions():
        yield [dict(row) for row in page]


def _advance_sequence(connection: sa.Connection, table: sa.Table) -> None:
    """Set the sequence so that the next id follows the last copied one; SQLite does so itself."""
    if connection.dialect.name != "postgresql" or "id" not in table.columns:
        return
    last = connection.scalar(sa.select(sa.func.max(table.columns.id)))
    if last is not None:
        sequence = sa.func.pg_get_serial_sequence(table.name, "id")
        connection.execute(sa.select(sa.func.setval(sequence, last)))
