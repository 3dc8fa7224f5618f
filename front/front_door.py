"""The catalog as a notebook and the command line use it: one class, whose methods are the jobs of sbcdark."""

from __future__ import annotations

from sbcdark.arguments import checked
from sbcdark.choosing import ChoosingCatalog
from sbcdark.filling import FillingCatalog
from sbcdark.keeping import KeepingCatalog
from sbcdark.making import MakingCatalog
from sbcdark.showing import ShowingCatalog


@checked
class Catalog(FillingCatalog, ChoosingCatalog, MakingCatalog, ShowingCatalog, KeepingCatalog):
    """A catalog of SBC exposures, and the jobs that use it.

    Nothing is opened before the first call. `ingest` and `fetch` create the catalog if it does not exist.

    Parameters
    ----------
    catalog : str, Path or Engine, optional
        Path of a SQLite file, URL (``sqlite:///path``, ``postgresql://host/name``), or SQLAlchemy engine. By default
        the catalog of the environment variable ``SBCDARK_DB``, else the one in the user's data folder.

    Raises
    ------
    TypeError
        `catalog` is none of these.

    Notes
    -----
    Every method raises an `sbcdark.catalog.errors.SbcdarkError`, which says what happened, why, and what to do:
    `UnreachableError` if the catalog cannot be reached, `SchemaError` if its schema is not this release's,
    `UsageError` for an unknown name or a bad option. An argument that is unknown, missing or of the wrong type is an
    `ArgumentError`, which is a `TypeError`, too.
    """
