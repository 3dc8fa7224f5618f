"""Engines and sessions: one writer at a time, no lock that reaches the user, no password in a message."""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import contextmanager, suppress
from enum import Enum, auto
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, OperationalError
from sqlalchemy.orm import Session

from sbcdark.catalog.errors import SbcdarkError, SchemaError, UnreachableError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy.engine.interfaces import DBAPIConnection, DBAPICursor

HEAD = "0004"
"""The revision that this program reads and writes; a test holds that it is Alembic's head."""

BUSY_TIMEOUT_MS = 60_000
"""How long a writer waits for another one on SQLite."""

_CONNECT_TIMEOUT_S = "10"
"""How long a server may take to answer, where the URL does not say."""

WRITER_LOCK = 0x5BC_DA4C
"""The advisory lock that makes writers take turns on PostgreSQL, as SQLite's own lock does."""


def default_url() -> str:
    """Return the catalog's URL: `SBCDARK_DB`, else SQLite in the user's data folder."""
    named = os.environ.get("SBCDARK_DB")
    if named:
        return named
    from platformdirs import user_data_path  # noqa: PLC0415  only where no catalog is named

    return sqlite_url(user_data_path("sbcdark") / "catalog.db")


def sqlite_url(path: str | Path) -> str:
    """Return the URL of a SQLite file, whatever characters its path holds."""
    return sa.URL.create("sqlite", database=str(path)).render_as_string()


def redacted(url: str) -> str:
    """Return a database URL as it may be shown: as the user gave it, without its password."""
    try:
        parsed = sa.make_url(url)
    except (ArgumentError, ValueError):  # the second where the port is no number
        return "(not a database URL)"
    hidden = {key for key in parsed.query if "password" in key.lower()}
    if parsed.query.get("connect_timeout") == _CONNECT_TIMEOUT_S:
        hidden.add("connect_timeout")
    plain = parsed.set(drivername=parsed.drivername.partition("+")[0]).difference_update_query(hidden)
    return plain.render_as_string(hide_password=True)


def make_engine(url: str, *, create: bool = False) -> sa.Engine:
    """Return an engine for a catalog.

    Parameters
    ----------
    url : str
        ``sqlite:///path`` or ``postgresql://…`` (psycopg 3).
    create : bool
        Whether a SQLite file that is not there yet may be made.

    Raises
    ------
    UsageError
        The URL is none, or names another kind of database.
    UnreachableError
        There is no such SQLite file.
    """
    try:
        parsed = sa.make_url(url)
        backend = parsed.get_backend_name()
    except (ArgumentError, NoSuchModuleError, ValueError):  # the last where the port is no number
        raise UsageError(
            "The catalog's URL cannot be read.", "Give --db sqlite:///path/catalog.db or --db postgresql://host/name."
        ) from None
    if backend == "sqlite":
        return _sqlite_engine(parsed, create=create)
    if backend == "postgresql":
        parsed = parsed.set(drivername="postgresql+psycopg")
        if "connect_timeout" not in parsed.query:
            parsed = parsed.update_query_dict({"connect_timeout": _CONNECT_TIMEOUT_S})
        # No pool: a command opens few sessions, and none must outlive it or go along into another process.
        return sa.create_engine(parsed, poolclass=sa.NullPool, connect_args={"application_name": "sbcdark"})
    raise UsageError(
        f"A catalog lives in SQLite or PostgreSQL, not in {backend}.",
        "Give --db sqlite:///path/catalog.db or --db postgresql://host/name.",
    )


def _sqlite_engine(url: sa.URL, *, create: bool) -> sa.Engine:
    if not url.database or url.database == ":memory:" or url.host:
        raise UsageError("A catalog needs a file to live in.", "Give --db sqlite:///path/catalog.db.")
    if url.query:
        raise UsageError("A SQLite URL takes no options.", "Give --db sqlite:///path/catalog.db.")
    path = Path(url.database)
    with suppress(RuntimeError):  # of a user whom the system does not know: then it is a name like any other
        path = path.expanduser()
    url = url.set(database=str(path))
    if path.is_dir():
        raise UsageError(f"{path} is a folder.", f"Give --db sqlite:///{path / 'catalog.db'}.")
    if not path.exists():
        if not create:
            raise UnreachableError(
                f"There is no catalog at {path}.", "Make one with: sbcdark ingest PATH (or give --db another URL)."
            )
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UnreachableError(
                f"The catalog's folder {path.parent} cannot be made: {error.strerror}.", "Give --db another place."
            ) from error
    how: dict[str, Any] = {"connect_args": {"timeout": BUSY_TIMEOUT_MS / 1000}}
    if _lies_still(path):
        how = {"creator": partial(_connect_still, path)}
    engine = sa.create_engine(url.set(drivername="sqlite"), poolclass=sa.NullPool, **how)

    @sa.event.listens_for(engine, "connect")
    def _connect(connection: DBAPIConnection, _record: Any) -> None:
        # By default sqlite3 commits before DDL, so that a failed migration would leave its tables: we say BEGIN.
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
        _prefer_wal(cursor)
        # What a command says is stored survives a power cut: a sync a transaction costs little at 128 files each.
        cursor.execute("PRAGMA synchronous = FULL")
        cursor.close()

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        # A transaction that reads first and writes later can be refused at once; one that means to write says so.
        writes = connection.get_execution_options().get("sbcdark_writes", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _lies_still(path: Path) -> bool:
    """Tell whether a SQLite file can only be read as it lies there.

    WAL needs a file beside the catalog even to read it; in a folder that may not be written to there can be none, and
    nobody is writing as long as there is none.
    """
    return path.exists() and not os.access(path.parent, os.W_OK) and not path.with_name(f"{path.name}-wal").exists()


def _connect_still(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True, check_same_thread=False)


def _prefer_wal(cursor: DBAPICursor) -> None:
    """Turn WAL on, which lets readers go on while one writes; the file keeps it.

    It cannot work on network file systems, nor be turned on in a file that may only be read; SQLite then keeps the
    rollback journal, which is slower but right.
    """
    end = time.monotonic() + BUSY_TIMEOUT_MS / 1000
    while True:
        try:
            cursor.execute("PRAGMA journal_mode")
            if cursor.fetchone() != ("wal",):
                cursor.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            # The busy timeout does not hold here: the switch fails at once where another process is writing.
            if _primary_code(error) == sqlite3.SQLITE_READONLY:
                return
            if _primary_code(error) != sqlite3.SQLITE_BUSY or time.monotonic() > end:
                raise
            time.sleep(0.02)
        else:
            return


def _primary_code(error: sqlite3.Error) -> int | None:
    # The upper bits say more closely what happened; an error of the module itself has no code.
    code = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF


def _told(error: DBAPIError, engine: sa.Engine) -> SbcdarkError:
    """Turn a driver's error into what a user can act on, without SQL, parameters or passwords."""
    place = redacted(engine.url.render_as_string(hide_password=False))
    reason = str(error.orig).strip().splitlines()
    first = reason[0] if reason else type(error).__name__
    password = engine.url.password
    if password:
        first = first.replace(str(password), "***")
    kind = _kind_of(error.orig)
    if kind is _Trouble.FULL:
        return SbcdarkError(f"The catalog {place} could not be written: {first}.", "Make room, then run again.")
    if kind is _Trouble.PROTECTED:
        return SbcdarkError(
            f"The catalog {place} may not be written: {first}.", "Give --db a catalog that you may write to."
        )
    if kind is _Trouble.DISK:
        return SbcdarkError(
            f"The catalog {place} could not be read or written: {first}.",
            "Check its disk (is there room? is it mounted?), then run again.",
        )
    if kind is _Trouble.BUSY:
        return UnreachableError(
            f"The catalog {place} was kept busy by another process for over {BUSY_TIMEOUT_MS // 1000} s: {first}.",
            "Wait until that one is done, then run again.",
        )
    if kind is _Trouble.NO_DATABASE:
        return UnreachableError(f"{place} is no SQLite database.", "Give --db the catalog's own file.")
    if isinstance(error, OperationalError):
        return UnreachableError(
            f"The catalog {place} cannot be reached: {first}.", "Check --db (or SBCDARK_DB) and that the server runs."
        )
    return SbcdarkError(f"The catalog {place} refused a statement: {first}.", "Try: sbcdark db status")


def journal(engine: sa.Engine) -> str | None:
    """Return how a SQLite catalog keeps its journal; None on PostgreSQL.

    ``wal`` lets readers go on while one writes; ``delete``, SQLite's way on network file systems, does not.
    """
    if engine.dialect.name != "sqlite":
        return None
    with told_errors(engine), engine.connect() as connection:
        return str(connection.exec_driver_sql("PRAGMA journal_mode").scalar())


class _Trouble(Enum):
    FULL = auto()
    PROTECTED = auto()
    DISK = auto()
    BUSY = auto()
    NO_DATABASE = auto()


_TROUBLES: dict[int | str, _Trouble] = {
    sqlite3.SQLITE_FULL: _Trouble.FULL,
    sqlite3.SQLITE_READONLY: _Trouble.PROTECTED,
    sqlite3.SQLITE_IOERR: _Trouble.DISK,
    sqlite3.SQLITE_BUSY: _Trouble.BUSY,
    sqlite3.SQLITE_NOTADB: _Trouble.NO_DATABASE,
    "53100": _Trouble.FULL,
    "25006": _Trouble.PROTECTED,  # a standby server, or a transaction that may only read
    "42501": _Trouble.PROTECTED,
}
"""What went wrong, by SQLite's result codes and by PostgreSQL's SQLSTATE."""


def _kind_of(error: BaseException | None) -> _Trouble | None:
    code = _primary_code(error) if isinstance(error, sqlite3.Error) else getattr(error, "sqlstate", None)
    if code is None and "No space left on device" in str(error):
        # A server whose disk is full may let nobody in; the refusal of a connection has no code.
        return _Trouble.FULL
    return None if code is None else _TROUBLES.get(code)


@contextmanager
def told_errors(engine: sa.Engine) -> Iterator[None]:
    """Turn errors of the driver inside the block into errors that tell the user what to do."""
    try:
        yield
    except DBAPIError as error:
        raise _told(error, engine) from error


def wrong_revision(engine: sa.Engine, revision: str) -> SchemaError:
    """Return the refusal of a catalog whose revision is not this program's, with the command to run."""
    place = redacted(engine.url.render_as_string(hide_password=False))
    # Revisions are counted 0001, 0002 and so on, so that an older program knows a newer catalog.
    if revision < HEAD:
        return SchemaError(
            f"The catalog {place} is older (revision {revision}) than this program ({HEAD}).",
            "Back it up, then run: sbcdark db upgrade",
        )
    return SchemaError(
        f"The catalog {place} is newer (revision {revision}) than this program ({HEAD}).",
        "Upgrade the program: pip install --upgrade sbcdark",
    )


@contextmanager
def reading(engine: sa.Engine) -> Iterator[Session]:
    """Open a session that only reads."""
    with told_errors(engine), Session(engine, expire_on_commit=False) as session:
        yield session


@contextmanager
def writing(engine: sa.Engine) -> Iterator[Session]:
    """Open a session that writes, alone: writers take turns on both engines. Commits at the end of the block.

    Raises
    ------
    SchemaError
        The catalog was migrated since it was opened.
    """
    with (
        told_errors(engine),
        engine.connect().execution_options(sbcdark_writes=True) as connection,
        connection.begin(),
        Session(connection, expire_on_commit=False, join_transaction_mode="create_savepoint") as session,
    ):
        if engine.dialect.name == "postgresql":
            session.execute(sa.select(sa.func.pg_advisory_xact_lock(WRITER_LOCK)))
        # Looked at under the lock: another process may have migrated since this one opened the catalog.
        revision = session.scalar(sa.text("SELECT version_num FROM alembic_version"))
        if revision != HEAD:
            raise wrong_revision(engine, str(revision))
        yield session
        session.commit()
