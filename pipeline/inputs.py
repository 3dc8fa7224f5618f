"""Reading what a dark is estimated from: science exposures with their flats, and the darks chosen for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sbcdark.catalog import queries
from sbcdark.catalog.errors import BadFileError, UsageError
from sbcdark.pipeline.built import ScienceInput
from sbcdark.pipeline.cache import keeping_files, path_of
from sbcdark.pipeline.combining import Exposure
from sbcdark.pipeline.fits_input import local_path
from sbcdark.pipeline.pixels import find_flat, read_dark, read_flat, read_science
from sbcdark.pipeline.presence import looked_up
from sbcdark.pipeline.templates import DarkFrame

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from sqlalchemy.orm import Session

    from sbcdark.catalog.records import MatchValues, ScoredDark
    from sbcdark.pipeline.footprints import NativeWeights


def science_values(session: Session, rootname: str) -> MatchValues:
    """Return what the catalog knows of a science exposure whose FLT is present.

    Raises
    ------
    UsageError
        It has no FLT in the catalog, or is a dark.
    """
    values = queries.match_values(session, rootname)
    if values is None or values.file is None:
        raise UsageError(f"{rootname} has no FLT in the catalog.", "Ingest it: sbcdark ingest PATH")
    if values.kind != "science":
        raise UsageError(f"{rootname} is a dark.", "Name an association or science exposures.")
    return looked_up(session, values)


def read_input(values: MatchValues, flat: Path | None, warnings: list[str]) -> ScienceInput:
    """Read a science exposure and the flat that divided it.

    Parameters
    ----------
    flat : Path or None
        A flat, or a folder of flats, that the user named.
    warnings : list of str
        Is told where the flat is not found.

    Raises
    ------
    BadFileError
        The FLT or the flat cannot be read.
    """
    assert values.file is not None  # noqa: S101  science_values saw to it
    path = path_of(values.file)
    frame = read_science(path)
    # What calacs has not divided by a flat saw the dark as the detector did.
    divided = values.file.flat_correction in {None, "COMPLETE"}
    flat_path = find_flat(values.file.flat_file, flat) if divided else None
    if flat_path is None and divided:
        name = values.file.flat_file or "PFLTFILE is missing"
        warnings.append(
            f"{values.rootname}: its flat ({name}) is not found, so the dark is not divided by it; "
            "point --flat or the environment variable jref to the folder that holds it"
        )
    pixels = None if flat_path is None else read_flat(flat_path)
    return ScienceInput(values, path, frame, pixels, flat_path)


def read_dark_frame(dark: ScoredDark, warnings: list[str]) -> DarkFrame | None:
    """Read a chosen dark; None, and a warning, where it is gone or broken."""
    try:
        with keeping_files():
            counts: Any = read_dark(path_of(dark.file) if dark.file is not None else local_path(dark.uri or ""))
    except BadFileError as error:
        warnings.append(f"dark {dark.dark} is left out: {error.what}")
        return None
    return DarkFrame(dark.dark, counts, dark.exptime_s)


def exposure_to_fit(one: ScienceInput, number: int, footprints: Sequence[Sequence[NativeWeights]]) -> Exposure:
    """Return an exposure for the fit: what lies in an aperture or in a region that the user masked is no dark."""
    good = one.good.copy()
    for footprint in footprints:
        weights = footprint[number]
        good[weights.where] &= weights.values == 0
    # No light falls on the detector behind a blocked filter.
    sky = not (one.values.filter or "").startswith("BLOCK")
    return Exposure(one.values.rootname, one.counts, one.values.exptime_s, good, one.flat, sky)
