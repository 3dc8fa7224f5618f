"""The exposures close in time to those of a product, read as far as their amplitudes are needed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sbcdark.catalog import neighbours
from sbcdark.catalog.engine import reading
from sbcdark.catalog.errors import BadFileError
from sbcdark.pipeline.detector.regions import DETECTOR_SHAPE
from sbcdark.pipeline.estimation.chosen_darks import read_dark_file
from sbcdark.pipeline.estimation.science_frames import FlatShelf, exposure_to_fit, is_dark_subtracted, read_input
from sbcdark.pipeline.model.combination import ALONE, Exposure, Surroundings
from sbcdark.pipeline.model.priors import NEIGHBOUR_DAYS
from sbcdark.pipeline.selection.file_state import with_current_file
from sbcdark.pipeline.selection.rules import Combine

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import sqlalchemy as sa

    from sbcdark.catalog.records import MatchValues

_MOST = 3
"""Exposures that are tried on each side."""


def surroundings_of(engine: sa.Engine, flats: FlatShelf, combine: Combine) -> Surroundings:
    """Return what the catalog knows around the exposures of a product.

    Parameters
    ----------
    engine : Engine
        The catalog.
    flats : FlatShelf
        The flats of the build.
    combine : Combine
        Only the model needs them; for the others the catalog is not asked.
    """
    if combine is not Combine.MODEL:
        return ALONE
    with reading(engine) as session:
        scatter = neighbours.base_scatter(session)

    def near(exposure: Exposure) -> tuple[Iterator[Exposure], Iterator[Exposure]]:
        with reading(engine) as session:
            found = neighbours.exposures_near(session, exposure.rootname, exposure.mjd, NEIGHBOUR_DAYS)
            found = [with_current_file(session, one) for one in found]
        before = [one for one in reversed(found) if one.start_mjd <= exposure.mjd]
        after = [one for one in found if one.start_mjd > exposure.mjd]
        return _read(before, flats), _read(after, flats)

    return Surroundings(near, 1.0 if scatter is None else scatter)


def _read(candidates: Sequence[MatchValues], flats: FlatShelf) -> Iterator[Exposure]:
    """Yield the exposures that can be read, the nearest first."""
    for values in [one for one in candidates if one.is_present and not is_dark_subtracted(one)][:_MOST]:
        try:
            yield _exposure(values, flats)
        except BadFileError:
            continue  # the next one serves as well


def _exposure(values: MatchValues, flats: FlatShelf) -> Exposure:
    assert values.file is not None  # noqa: S101  it is present
    if values.kind == "science":
        return exposure_to_fit(read_input(values, flats.flat_of(values, []), drizzled=False), 0, ())
    counts = read_dark_file(values.rootname, values.file, values.exptime_s).counts
    everywhere = np.ones(DETECTOR_SHAPE, dtype=bool)
    return Exposure(
        values.rootname, counts, values.exptime_s, everywhere, None, False, values.start_mjd, values.read_temperature_c
    )
