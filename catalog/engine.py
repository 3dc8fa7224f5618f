"""Engines and sessions: one writer at a time, errors as user messages, no password in a message."""

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
from sqlalchemy.exc import ArgumentError, DBAPIError, DisconnectionError, NoSuchModuleError, OperationalError
from sqlalchemy.orm import Session

from sbcdark.catalog.errors import SbcdarkError, SchemaError, UnreachableError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy.engine.interfaces import DBAPIConnection, DBAPICursor

HEAD = "0008"
"""The schema revision of this program; a test checks that it is Alembic's head."""

BUSY_TIMEOUT_MS = 60_000
"""How long a writer on SQLite waits for another writer."""

_CONNECT_TIMEOUT_S = "10"
"""Connection timeout of a server, unless the URL sets one."""

WRITER_LOCK = 0x5BC_DA4C
"""Advisory lock that serializes writers on PostgreSQL, as SQLite's own lock does."""


def default_url() -> str:
    """Return the URL of the catalog: `SBCDARK_DB`, else SQLite in the user's data folder."""
    named = os.environ.get("SBCDARK_DB")
    if named:
        return named
    from platformdirs import user_data_path  # noqa: PLC0415  needed only if no catalog is named

    return sqlite_url(user_data_path("sbcdark") / "catalog.db")


def sqlite_url(path: str | Path) -> str:
    """Return the URL of a SQLite file; the path may hold any characters."""
    return sa.URL.create("sqlite", database=str(path)).render_as_string()


def redacted(url: str) -> str:
    """Return a database URL for display: as given, without its password."""
    try:
        parsed = sa.make_url(url)
    except (ArgumentError, ValueError):  # ValueError: the port is not a number
        return "(invalid database URL)"
    hidden = {key for key in parsed.query if "password" in key.lower()}
    if parsed.query.get("connect_timeout") == _CONNECT_TIMEOUT_S:
        hidden.add("connect_timeout")
    plain = parsed.set(drivername=parsed.drivername.partition("+")[0]).difference_update_query(hidden)
    return plain.render_as_string(hide_password=True)


def make_engine(url: str, *, create: bool = False, pooled: bool = False) -> sa.Engine:
    """Return an engine for a catalog.

    Parameters
    ----------
    url : str
        ``sqlite:///path`` or ``postgresql://…`` (psycopg 3).
    create : bool
        Whether a missing SQLite file may be created.
    pooled : bool
        Whether connections to a server stay open until the engine is disposed of: a new one takes longer than a match.

    Raises
    ------
    UsageError
        The URL is invalid or names an unsupported database.
    UnreachableError
        The SQLite file does not exist.
    """
    try:
        parsed = sa.make_url(url)
        backend = parsed.get_backend_name()
    except (ArgumentError, NoSuchModuleError, ValueError):  # ValueError: the port is not a number
        raise UsageError(
            "The catalog's URL is invalid.", "Give --db sqlite:///path/catalog.db or --db postgresql://host/name."
        ) from None
    if backend == "sqlite":
        return _sqlite_engine(parsed, create=create)
    if backend == "postgresql":
        parsed = parsed.set(drivername="postgresql+psycopg")
        if "connect_timeout" not in parsed.query:
            parsed = parsed.update_query_dict({"connect_timeout": _CONNECT_TIMEOUT_S})
        how = {"pool_pre_ping": True} if pooled else {"poolclass": sa.NullPool}
        engine = sa.create_engine(
            parsed, connect_args={"application_name": "sbcdark", "client_encoding": "utf8"}, **how
        )
        _set_up_connections(engine)
        return engine
    raise UsageError(
        f"A catalog is stored in SQLite or PostgreSQL, not in {backend}.",
        "Give --db sqlite:///path/catalog.db or --db postgresql://host/name.",
    )


def _set_up_connections(engine: sa.Engine) -> None:
    """Set what each connection to a server needs, and keep it to the process that opened it."""

    @sa.event.listens_for(engine, "connect")
    def _connect(connection: DBAPIConnection, record: Any) -> None:
        record.info["process"] = os.getpid()
        cursor = connection.cursor()
        # A statement takes milliseconds here; to compile it, or to start processes for it, would take longer.
        cursor.execute("SET jit = off; SET max_parallel_workers_per_gather = 0")
        # What a server, a database or a role may set otherwise: dates would not be read, and digits of numbers be lost.
        cursor.execute("SET datestyle = 'ISO'; SET extra_float_digits = 1; SET standard_conforming_strings = on")
        cursor.close()
        connection.commit()

    @sa.event.listens_for(engine, "checkout")
    def _checkout(_connection: DBAPIConnection, record: Any, proxy: Any) -> None:
        # Two processes that share a connection would mix their messages: a forked one opens its own.
        if record.info["process"] != os.getpid():
            record.dbapi_connection = proxy.dbapi_connection = None
            raise DisconnectionError("another process opened this connection")


def _sqlite_engine(url: sa.URL, *, create: bool) -> sa.Engine:
    if not url.database or url.database == ":memory:" or url.host:
        raise UsageError("A catalog needs a file.", "Give --db sqlite:///path/catalog.db.")
    if url.query:
        raise UsageError("A SQLite URL takes no options.", "Give --db sqlite:///path/catalog.db.")
    path = Path(url.database)
    with suppress(RuntimeError):  # ~NAME of an unknown user: an ordinary file name
        path = path.expanduser()
    url = url.set(database=str(path))
    if path.is_dir():
        raise UsageError(f"{path} is a folder.", f"Give --db sqlite:///{path / 'catalog.db'}.")
    if not path.exists():
        if not create:
            raise UnreachableError(
                f"There is no catalog at {path}.", "Create one: sbcdark ingest PATH (or give --db another URL)."
            )
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UnreachableError(
                f"Cannot create the catalog's folder {path.parent}: {error.strerror}.", "Give --db another path."
            ) from error
    how: dict[str, Any] = {"connect_args": {"timeout": BUSY_TIMEOUT_MS / 1000}}
    if _needs_immutable(path):
        how = {"creator": partial(_connect_immutable, path)}
    engine = sa.create_engine(url.set(drivername="sqlite"), poolclass=sa.NullPool, **how)

    @sa.event.listens_for(engine, "connect")
    def _connect(connection: DBAPIConnection, _record: Any) -> None:
        # By default sqlite3 commits before DDL, and a failed migration would leave its tables. Send BEGIN ourselves.
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
        # 64 MB at most: a rank among a million darks looks up 10,000 rows, which 2 MB cannot hold.
        cursor.execute("PRAGMA cache_size = -65536")
        _prefer_wal(cursor)
        # A committed transaction survives a power cut. With 128 files per transaction, one sync costs little.
        cursor.execute("PRAGMA synchronous = FULL")
        cursor.close()

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        # A read transaction that later writes can fail at once, so writers lock at the start.
        writes = connection.get_execution_options().get("sbcdark_writes", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _needs_immutable(path: Path) -> bool:
    """Return whether a SQLite file can be read only without a WAL file.

    Even reading in WAL mode needs a file beside the catalog. A read-only folder cannot hold one; while there is none,
    nobody is writing.
    """
    return path.exists() and not os.access(path.parent, os.W_OK) and not path.with_name(f"{path.name}-wal").exists()


def _connect_immutable(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True, check_same_thread=False)


def _prefer_wal(cursor: DBAPICursor) -> None:
    """Turn on WAL, which lets others read during a write; the setting stays in the file.

    WAL does not work on network file systems and cannot be turned on in a read-only file. SQLite then keeps the
    rollback journal, which is slower but correct.
    """
    end = time.monotonic() + BUSY_TIMEOUT_MS / 1000
    while True:
        try:
            cursor.execute("PRAGMA journal_mode")
            if cursor.fetchone() != ("wal",):
                cursor.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            # The busy timeout does not apply here: the switch fails at once if another process is writing.
            if _primary_code(error) == sqlite3.SQLITE_READONLY:
                return
            if _primary_code(error) != sqlite3.SQLITE_BUSY or time.monotonic() > end:
                raise
            time.sleep(0.02)
        else:
            return


def _primary_code(error: sqlite3.Error) -> int | None:
    # The upper bits hold the extended code. Errors of the sqlite3 module itself have no code.
    code = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF


def _user_error(error: DBAPIError, engine: sa.Engine) -> SbcdarkError:
    """Convert a driver's error to a user error without SQL, parameters or passwords."""
    place = redacted(engine.url.render_as_string(hide_password=False))
    reason = str(error.orig).strip().splitlines()
    first = reason[0] if reason else type(error).__name__
    password = engine.url.password
    if password:
        first = first.replace(str(password), "***")
    kind = _kind_of(error.orig)
    if kind is _Trouble.FULL:
        return SbcdarkError(f"Cannot write the catalog {place}: {first}.", "Free some disk space, then run again.")
    if kind is _Trouble.PROTECTED:
        return SbcdarkError(
            f"No permission to write the catalog {place}: {first}.", "Give --db a catalog that you can write to."
        )
    if kind is _Trouble.DISK:
        return SbcdarkError(
            f"Cannot read or write the catalog {place}: {first}.",
            "Check its disk (free space, mount), then run again.",
        )
    if kind is _Trouble.BUSY:
        return UnreachableError(
            f"Another process kept the catalog {place} busy for over {BUSY_TIMEOUT_MS // 1000} s: {first}.",
            "Wait until that process is done, then run again.",
        )
    if kind is _Trouble.NO_DATABASE:
        return UnreachableError(f"{place} is not a SQLite database.", "Give --db the file of the catalog.")
    if isinstance(error, OperationalError):
        return UnreachableError(
            f"The catalog {place} cannot be reached: {first}.", "Check --db (or SBCDARK_DB) and that the server runs."
        )
    return SbcdarkError(f"The catalog {place} refused a statement: {first}.", "Run: sbcdark db status")


def journal(engine: sa.Engine) -> str | None:
    """Return the journal mode of a SQLite catalog; None on PostgreSQL.

    ``wal`` lets others read during a write; ``delete``, the mode on network file systems, does not.
    """
    if engine.dialect.name != "sqlite":
        return None
    with user_errors(engine), engine.connect() as connection:
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
    "25006": _Trouble.PROTECTED,  # a standby server or a read-only transaction
    "42501": _Trouble.PROTECTED,
}
"""Kinds of failure by SQLite result code and PostgreSQL SQLSTATE."""


def _kind_of(error: BaseException | None) -> _Trouble | None:
    code = _primary_code(error) if isinstance(error, sqlite3.Error) else getattr(error, "sqlstate", None)
    if code is None and "No space left on device" in str(error):
        # A server with a full disk may refuse connections; that refusal has no code.
        return _Trouble.FULL
    return None if code is None else _TROUBLES.get(code)


@contextmanager
def user_errors(engine: sa.Engine) -> Iterator[None]:
    """Convert driver errors inside the block to user errors."""
    try:
        yield
    except DBAPIError as error:
        raise _user_error(error, engine) from error


def wrong_revision(engine: sa.Engine, revision: str) -> SchemaError:
    """Return the error for a catalog of another revision, with the command to run."""
    place = redacted(engine.url.render_as_string(hide_password=False))
    # Revisions are numbered 0001, 0002, ..., so an older program recognizes a newer catalog.
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
    """Open a read-only session."""
    with user_errors(engine), Session(engine, expire_on_commit=False) as session:
        yield session


@contextmanager
def writing(engine: sa.Engine) -> Iterator[Session]:
    """Open the only writing session; it commits at the end of the block. Writers take turns on both engines.

    Raises
    ------
    SchemaError
        The catalog was migrated after it was opened.
    """
    with (
        user_errors(engine),
        engine.connect().execution_options(sbcdark_writes=True) as connection,
        connection.begin(),
        Session(connection, expire_on_commit=False, join_transaction_mode="create_savepoint") as session,
    ):
        if engine.dialect.name == "postgresql":
            session.execute(sa.select(sa.func.pg_advisory_xact_lock(WRITER_LOCK)))
        # Check under the lock: another process may have migrated the catalog since it was opened.
        revision = session.scalar(sa.text("SELECT version_num FROM alembic_version"))
        if revision != HEAD:
            raise wrong_revision(engine, str(revision))
        yield session
        session.commit()
