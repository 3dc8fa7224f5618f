"""Opening a catalog by URL, by path, or from an engine."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa

from sbcdark.catalog import schema
from sbcdark.catalog.engine import make_engine, sqlite_url
from sbcdark.catalog.errors import UnreachableError


def open_catalog(url: str | Path, *, create: bool = False, pooled: bool = False) -> sa.Engine:
    """Return the engine of a catalog with a current schema.

    Parameters
    ----------
    url : str or Path
        ``sqlite:///path`` or ``postgresql://…``; a plain path is a SQLite file.
    create : bool
        Whether to make an empty or missing database into a catalog.
    pooled : bool
        Whether connections to a server stay open until the engine is disposed of.

    Raises
    ------
    UsageError, UnreachableError, SchemaError
    """
    engine = make_engine(url_of(url), create=create, pooled=pooled)
    try:
        if create and schema.status(engine)[0] is schema.State.EMPTY:
            schema.upgrade(engine)
        schema.require_current(engine)
    except BaseException:
        engine.dispose()
        raise
    return engine


def catalog_if_any(url: str | Path) -> sa.Engine | None:
    """Return the engine of a catalog with a current schema, or None if there is no catalog yet.

    Raises
    ------
    UsageError, UnreachableError, SchemaError
    """
    try:
        engine = make_engine(url_of(url))
    except UnreachableError:  # no such SQLite file; a server is contacted only below
        return None
    if schema.status(engine)[0] is schema.State.EMPTY:
        engine.dispose()
        return None
    schema.require_current(engine)
    return engine


def url_of(catalog: str | Path) -> str:
    """Return the URL of a catalog given by URL or by the path of a SQLite file."""
    return sqlite_url(catalog) if isinstance(catalog, Path) or ":" not in catalog else catalog


def as_engine(catalog: sa.Engine | str | Path) -> sa.Engine:
    """Return the engine of a catalog given as an engine, a URL or a path.

    Raises
    ------
    UsageError, UnreachableError, SchemaError
    """
    return catalog if isinstance(catalog, sa.Engine) else open_catalog(catalog)
