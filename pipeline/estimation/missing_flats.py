"""Flats that a job needs and does not find, said before the work begins."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sbcdark.catalog import queries
from sbcdark.catalog.engine import reading
from sbcdark.catalog.opening import as_engine
from sbcdark.catalog.records import is_divided
from sbcdark.pipeline.frames.flats import find_flat, missing_flat
from sbcdark.pipeline.selection.names import named_exposures

if TYPE_CHECKING:
    from pathlib import Path

    import sqlalchemy as sa

    from sbcdark.pipeline.selection.names import Selector


def missing_flats(catalog: sa.Engine | str | Path, selector: Selector, flat: Path | None) -> list[str]:
    """Return a warning for each science exposure whose flat is not found.

    Parameters
    ----------
    selector : Selector
        The exposures.
    flat : Path or None
        A flat, or a folder of flats; by default the folder of the environment variable `jref`.

    Raises
    ------
    UsageError
        A name is not in the catalog.
    """
    found = []
    with reading(as_engine(catalog)) as session:
        for rootname in named_exposures(session, selector):
            values = queries.match_values(session, rootname)
            file = None if values is None or values.kind != "science" else values.file
            if file is None or file.kind != "FLT" or not is_divided(file.flat_correction):
                continue
            if find_flat(file.flat_file, flat) is None:
                found.append(f"{rootname}: {missing_flat(file.flat_file)}")
    return found
