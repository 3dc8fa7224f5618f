"""Export of a catalog to one SQLite file, and import into either engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sbcdark.catalog import row_copies
from sbcdark.catalog.errors import SbcdarkError, UsageError
from sbcdark.catalog.opening import as_engine, open_catalog
from sbcdark.catalog.workspace import publish, workspace

if TYPE_CHECKING:
    from pathlib import Path

    import sqlalchemy as sa


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
            rows = row_copies.write_snapshot(engine, work / path.name)
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
        return row_copies.read_snapshot(path, engine)
    finally:
        engine.dispose()
