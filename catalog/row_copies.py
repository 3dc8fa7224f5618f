"""Copying a whole catalog row by row from one database to another, on either engine."""

from __future__ import annotations

import sqlite3
from functools import partial
from typing import TYPE_CHECKING

import sqlalchemy as sa

from sbcdark.catalog import schema
from sbcdark.catalog.engine import make_engine, sqlite_url, user_errors, writing
from sbcdark.catalog.errors import SbcdarkError, UsageError
from sbcdark.catalog.models import Base

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

_ROWS = 1000
"""Rows in memory at a time."""


def write_snapshot(engine: sa.Engine, path: Path) -> dict[str, int]:
    """Copy a catalog, as it is at one moment, to a new SQLite file.

    Other processes may continue to write; later commits are not in the copy.

    Parameters
    ----------
    path : Path
        A file that does not exist yet.

    Returns
    -------
    dict of str to int
        Number of rows by table.

    Raises
    ------
    SbcdarkError
        The copy cannot be written, or is inconsistent.
    """
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


def read_snapshot(path: Path, engine: sa.Engine) -> dict[str, int]:
    """Copy every row of a snapshot to an empty catalog, in one transaction.

    Returns
    -------
    dict of str to int
        Number of rows by table.

    Raises
    ------
    SchemaError
        The file is not a catalog, or has another revision.
    UsageError
        The catalog is not empty.
    """
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
