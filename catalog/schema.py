"""The state of the schema, upgrade and downgrade. Alembic is imported only to migrate."""

from __future__ import annotations

from contextlib import contextmanager
from enum import StrEnum
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Literal

import sqlalchemy as sa

from sbcdark.catalog.engine import HEAD, WRITER_LOCK, redacted, user_errors, wrong_revision
from sbcdark.catalog.errors import SbcdarkError, SchemaError
from sbcdark.catalog.text import number

__all__ = ["HEAD", "State", "differences", "downgrade", "require_current", "status", "upgrade"]

if TYPE_CHECKING:
    from collections.abc import Iterator

    from alembic.config import Config

OWN_TABLES = frozenset({"exposures", "files", "measurements", "ingest_runs"})
"""Tables that identify a database as a sbcdark catalog, in every revision."""


class State(StrEnum):
    """The state of a database relative to this program."""

    EMPTY = "empty"
    CURRENT = "current"
    OLDER = "older"
    NEWER = "newer"
    FOREIGN = "foreign"


def _state(connection: sa.Connection) -> tuple[State, str | None]:
    tables = set(sa.inspect(connection).get_table_names())
    if not tables - {"alembic_version"}:
        return State.EMPTY, None
    if "alembic_version" not in tables or not tables >= OWN_TABLES:
        return State.FOREIGN, None
    revision = connection.scalar(sa.text("SELECT version_num FROM alembic_version"))
    if revision is None:
        return State.FOREIGN, None
    if revision == HEAD:
        return State.CURRENT, revision
    # Revisions are numbered 0001, 0002, ..., so an older program recognizes a newer catalog.
    return (State.NEWER if revision > HEAD else State.OLDER), revision


def status(engine: sa.Engine) -> tuple[State, str | None]:
    """Return the state of a database and its revision (None if it has none)."""
    with user_errors(engine), engine.connect() as connection:
        return _state(connection)


def require_current(engine: sa.Engine) -> None:
    """Refuse every database except a catalog with a current schema.

    Raises
    ------
    SchemaError
        It is empty, older, newer or not a catalog; the message gives the command to run.
    """
    state, revision = status(engine)
    if state is not State.CURRENT:
        raise _refusal(engine, state, revision)


def _refusal(engine: sa.Engine, state: State, revision: str | None) -> SchemaError:
    place = redacted(engine.url.render_as_string(hide_password=False))
    if state is State.EMPTY:
        return SchemaError(f"{place} has no catalog yet.", "Create it: sbcdark ingest PATH")
    if state in {State.OLDER, State.NEWER}:
        return wrong_revision(engine, str(revision))
    return SchemaError(f"{place} is a database, but not a sbcdark catalog.", "Give --db another one.")


def _configuration(connection: sa.Connection | None = None) -> Config:
    from alembic.config import Config  # noqa: PLC0415  slow to import, needed only to migrate

    configuration = Config()
    # Alembic's package:folder form fails in an editable install.
    configuration.set_main_option("script_location", str(files("sbcdark.migrations")).replace("%", "%%"))
    configuration.set_main_option("path_separator", "os")
    configuration.attributes["connection"] = connection
    return configuration


@contextmanager
def _migrating(engine: sa.Engine) -> Iterator[sa.Connection]:
    """Open the only migrating connection: one transaction, with foreign keys checked at the end."""
    with user_errors(engine), engine.connect().execution_options(sbcdark_writes=True) as connection:
        sqlite = engine.dialect.name == "sqlite"
        if sqlite:
            # Rebuilding a parent table with foreign keys on deletes every child row, silently.
            driver_connection: Any = connection.connection.driver_connection
            driver_connection.execute("PRAGMA foreign_keys = OFF")
        try:
            with connection.begin():
                if not sqlite:
                    connection.execute(sa.select(sa.func.pg_advisory_xact_lock(WRITER_LOCK)))
                yield connection
                if sqlite:
                    broken = connection.exec_driver_sql("PRAGMA foreign_key_check").fetchall()
                    if broken:
                        raise SbcdarkError(
                            f"The migration would break {number(len(broken), 'reference')}; nothing was changed.",
                            "Report this with the output of: sbcdark db status",
                        )
        finally:
            if sqlite:
                driver_connection.execute("PRAGMA foreign_keys = ON")


def _move(engine: sa.Engine, way: Literal["upgrade", "downgrade"], revision: str) -> None:
    from alembic import command  # noqa: PLC0415  slow to import, needed only to migrate
    from alembic.util import CommandError  # noqa: PLC0415

    with _migrating(engine) as connection:
        # Check under the lock: another process may just have done the same.
        state, current = _state(connection)
        if state in {State.NEWER, State.FOREIGN}:
            raise _refusal(engine, state, current)
        if way == "upgrade" and state is State.CURRENT:
            return
        try:
            getattr(command, way)(_configuration(connection), revision)
        except CommandError as error:
            raise SbcdarkError(f"There is no revision {revision!r}: {error}.", "Run: sbcdark db status") from error


def upgrade(engine: sa.Engine, revision: str = "head") -> None:
    """Upgrade an empty or older database to a revision.

    Raises
    ------
    SchemaError
        The database is newer than this program, or is not a catalog.
    SbcdarkError
        The revision does not exist, or the database has an unknown revision.
    """
    _move(engine, "upgrade", revision)


def downgrade(engine: sa.Engine, revision: str) -> None:
    """Downgrade a catalog to an older revision (``base`` removes every table).

    Raises
    ------
    SchemaError
        The database is newer than this program, or is not a catalog.
    SbcdarkError
        The revision does not exist.
    """
    _move(engine, "downgrade", revision)


def differences(engine: sa.Engine) -> list[str]:
    """Return how the tables differ from the models, as `alembic check` reports it; empty if they agree."""
    from alembic.autogenerate import compare_metadata  # noqa: PLC0415  slow to import
    from alembic.migration import MigrationContext  # noqa: PLC0415

    from sbcdark.catalog.models import Base  # noqa: PLC0415

    with user_errors(engine), engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        return [repr(change) for change in compare_metadata(context, Base.metadata)]
