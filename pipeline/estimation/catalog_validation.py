"""The leave-one-out test on the darks of a catalog."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING

from sbcdark.catalog import queries
from sbcdark.catalog.engine import reading
from sbcdark.catalog.errors import BadFileError, UsageError
from sbcdark.pipeline.archive.cache import fetch_ahead, keeping_files
from sbcdark.pipeline.estimation.chosen_darks import about_spot, read_dark_file
from sbcdark.pipeline.estimation.template_cache import comparison_of
from sbcdark.pipeline.frames.notebook_forms import ShownWithTable
from sbcdark.pipeline.model.validation import Validation, ValidationRow, validate
from sbcdark.pipeline.selection.names import Selector, names_of
from sbcdark.pipeline.selection.rules import MIN_EXPTIME_S

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import sqlalchemy as sa
    from astropy.table import QTable

_MOST = 100
"""Maximum number of darks: all are held in memory (2 MB each), and each is predicted from all others."""


@dataclass(frozen=True, slots=True, repr=False)
class CatalogValidation(ShownWithTable, Validation):
    """A leave-one-out test of the darks of a catalog."""

    def __repr__(self) -> str:
        """Give the verdict; `table` has the rows."""
        return f"<{type(self).__name__}: {self.verdict}>"

    @property
    def table(self) -> QTable:
        """One row per method, frames and level of sky, with units."""
        from sbcdark.pipeline.frames.tables import to_qtable  # noqa: PLC0415  astropy is slow to import

        return to_qtable([asdict(row) for row in self.rows], [column.name for column in fields(ValidationRow)])


def validate_catalog(
    engine: sa.Engine,
    *,
    selector: Selector | None = None,
    skies: Sequence[float] = (0.0,),
    apertures: int = 40,
    seed: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[CatalogValidation, tuple[str, ...]]:
    """Predict each good dark of a catalog from the others and compare with its own counts.

    If the darks span several years, those of each year are predicted from the other years.

    Parameters
    ----------
    engine : Engine
        The catalog.
    selector : Selector, optional
        Only the darks among these exposures.
    skies, apertures, seed, progress
        As for `model.validation.validate`.

    Returns
    -------
    validation : CatalogValidation
    warnings : tuple of str
        Which darks were left out, and why.

    Raises
    ------
    UsageError
        There are fewer than 3 darks, or more than one test can take.
    """
    with reading(engine) as session:
        wanted = queries.ExposureFilter("dark", quality=("good",), names=names_of(session, selector))
        records = [one for one in queries.list_exposures(session, wanted) if one.exptime_s >= MIN_EXPTIME_S]
        if len(records) > _MOST:
            raise UsageError(
                f"{len(records)} darks are too many: one test takes at most {_MOST}.",
                "Name a program: sbcdark validate --program N",
            )
        known = [queries.match_values(session, one.rootname) for one in records]
    files = [(one, one.file) for one in known if one is not None and one.file is not None]
    warnings, darks = [], []
    with keeping_files():
        fetch_ahead([file for _, file in files])
        for one, file in files:
            try:
                darks.append(read_dark_file(one.rootname, file, one.exptime_s))
            except BadFileError as error:
                warnings.append(f"dark {one.rootname} is left out: {error.what}")
    if darks:
        spotted = {spot.dark: about_spot(spot) for spot in comparison_of(darks).spots}
        warnings += spotted.values()
        darks = [one for one in darks if one.rootname not in spotted]
    years = {one.rootname: str(one.start_utc.year) for one in records}
    found = validate(darks, skies=skies, apertures=apertures, seed=seed, groups=years, progress=progress)
    tested = CatalogValidation(**{column.name: getattr(found, column.name) for column in fields(found)})
    return tested, tuple(warnings)
