"""A catalog as one SQLite file: written from either engine, and read back into either."""

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
    """Write a catalog, as it is at one moment, to one SQLite file, which is a catalog itself.

    Parameters
    ----------
    path : Path
        The file; it appears when it is whole.
    overwrite : bool
        Whether a file that is there is replaced.

    Returns
    -------
    dict of str to int
        Rows, by table.

    Raises
    ------
    UsageError
        The file is there already, or is the catalog itself.
    SbcdarkError
        The file cannot be written.
    """
    engine = as_engine(catalog)
    own = engine.url.database if engine.dialect.name == "sqlite" else None
    if own is not None and path.exists() and path.samefile(own):
        raise UsageError(f"{path} is the catalog itself.", "Name another file.")
    if path.exists() and not (overwrite and path.is_file()):
        raise UsageError(f"{path} is there already.", "Name another file, or give --overwrite.")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with workspace(path.parent) as work:
            rows = row_copies.write_snapshot(engine, work / path.name)
            publish(work, path.parent, [path.name], [f"{path.name}-wal", f"{path.name}-shm"])
    except OSError as error:
        raise SbcdarkError(
            f"{path} cannot be written: {error.strerror or error}.", "Make room there, or name another place."
        ) from error
    return rows


def import_(url: str | Path, path: Path) -> dict[str, int]:
    """Read an exported file into a catalog that is empty or not there yet, on either engine.

    Returns
    -------
    dict of str to int
        Rows, by table.

    Raises
    ------
    UsageError
        There is no such file, or the catalog is not empty.
    SchemaError
        The file is no catalog of this program.
    """
    if not path.is_file():
        raise UsageError(f"There is no file {path}.", "Give one that `sbcdark db export` wrote.")
    engine = open_catalog(url, create=True)
    try:
        return row_copies.read_snapshot(path, engine)
    finally:
        engine.dispose()
