"""Science exposures and their flats as the estimate of a dark reads them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from sbcdark.catalog import queries
from sbcdark.catalog.errors import BadFileError, UsageError
from sbcdark.catalog.records import is_divided
from sbcdark.pipeline.archive.cache import path_of, record_to_match
from sbcdark.pipeline.frames.flats import another_flat, find_flat, missing_flat, read_flat
from sbcdark.pipeline.frames.frame_counts import MOST_NEGATIVE, negative_share
from sbcdark.pipeline.frames.pixels import read_science, usable
from sbcdark.pipeline.model.combination import Exposure
from sbcdark.pipeline.selection.file_state import with_current_file

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from sqlalchemy.orm import Session

    from sbcdark.catalog.records import FileRecord, MatchValues
    from sbcdark.pipeline.drizzling.footprints import NativeWeights
    from sbcdark.pipeline.frames.flats import Flat
    from sbcdark.pipeline.frames.pixels import ScienceFrame

_WHOLE_FLT = (
    "Get the FLT from the archive, or calibrate it again with DARKCORR OMIT. If the catalog has another copy, move "
    "this one away and run: sbcdark verify"
)

_WHOLE = (slice(None), slice(None))


@dataclass(frozen=True, slots=True, eq=False)
class ScienceInput:
    """One science exposure with everything that was read from it.

    Attributes
    ----------
    values : MatchValues
        Its values in the catalog.
    file : FileRecord
        The file that was read.
    frame : ScienceFrame
        Its pixels.
    flat : Flat or None
        The flat that divided it, if found.
    good : ndarray of bool, shape (1024, 1024)
        The pixels that are used in the science product, the dark and the weights.
    """

    values: MatchValues
    file: FileRecord
    frame: ScienceFrame
    flat: Flat | None
    good: NDArray[np.bool_]

    @property
    def flat_pixels(self) -> NDArray[np.float64] | None:
        """The flat's pixels, shape (1024, 1024), or None."""
        return None if self.flat is None else self.flat.pixels

    @property
    def rate(self) -> NDArray[np.float64]:
        """Flat-fielded count/s/pixel, shape (1024, 1024); 0 on pixels that are not good."""
        return np.where(self.good, self.frame.science, np.float64(0.0)) / self.values.exptime_s

    @property
    def counts(self) -> NDArray[np.float64]:
        """Raw counts (FLT x flat), shape (1024, 1024), non-negative; 0 on pixels that are not good."""
        return self.counts_in(_WHOLE)

    def counts_in(self, part: tuple[slice, slice]) -> NDArray[np.float64]:
        """Return the `counts` of a part of the detector (y, x)."""
        counts = self.frame.science[part] * (np.float64(1.0) if self.flat is None else self.flat.pixels[part])
        counts = np.maximum(counts, 0.0, out=counts)
        counts[~self.good[part]] = 0.0
        return counts

    def flat_fielded(self, image: NDArray[np.float64], part: tuple[slice, slice] = _WHOLE) -> NDArray[np.float64]:
        """Return an image divided by the flat; 0 on pixels that are not good.

        Parameters
        ----------
        image : ndarray of float64
            Of the shape of the part.
        part : (slice, slice), optional
            A part of the detector (y, x); all of it by default.
        """
        divided = image / (1.0 if self.flat is None else self.flat.pixels[part])
        divided[~self.good[part]] = 0.0
        return divided

    def detector_weights(self, footprint: NativeWeights) -> NDArray[np.float64]:
        """Return a footprint's weights on detector rates (1024, 1024): divided by the flat, if it is known."""
        return replace(footprint, values=self.flat_fielded(footprint.values, footprint.where)).full()


def science_values(session: Session, rootname: str) -> MatchValues:
    """Return the catalog's values of a science exposure whose FLT is present.

    Raises
    ------
    UsageError
        It has no FLT in the catalog, is a dark, or its dark is already subtracted.
    """
    values = queries.match_values(session, rootname)
    if values is None or values.file is None:
        raise UsageError(f"{rootname} has no FLT in the catalog.", "Ingest it: sbcdark ingest PATH")
    if values.kind != "science":
        raise UsageError(f"{rootname} is a dark.", "Name an association or science exposures.")
    values = with_current_file(session, values)
    if values.file is not None and (values.file.mean_dark_count or 0.0) > 0:
        raise UsageError(f"{rootname}: the dark is already subtracted (DARKCORR, MEANDARK).", _WHOLE_FLT)
    return values


class FlatShelf:
    """The flats of a build."""

    def __init__(self, given: Path | None) -> None:
        self._given = given

    def flat_of(self, values: MatchValues, warnings: list[str]) -> Flat | None:
        """Return the flat that divided an exposure; if it is not found, return None.

        A flat that is not found, another than that of PFLTFILE, and a FLATCORR that is still to be performed give a
        warning.

        Raises
        ------
        BadFileError
            The flat cannot be read.
        """
        assert values.file is not None  # noqa: S101  ensured by science_values
        if not is_divided(values.file.flat_correction):
            if values.file.flat_correction == "PERFORM":
                warnings.append(
                    f"{values.rootname}: FLATCORR is PERFORM, so its FLT is taken for one that no flat divided; "
                    "calibrate it again"
                )
            return None
        path = find_flat(values.file.flat_file, self._given)
        if path is None:
            warnings.append(f"{values.rootname}: {missing_flat(values.file.flat_file)}")
            return None
        flat = read_flat(path)
        if (other := another_flat(flat, values.file.flat_file, values.filter)) is not None:
            warnings.append(f"{values.rootname}: {other}")
        return flat


def read_input(values: MatchValues, flat: Flat | None, *, drizzled: bool = True) -> ScienceInput:
    """Read a science exposure.

    Parameters
    ----------
    drizzled : bool
        Whether it will be drizzled; the FLT must then have everything that AstroDrizzle needs.

    Raises
    ------
    BadFileError
        The FLT cannot be read, is not the file that was ingested, or something was subtracted from its pixels,
        whatever its header says: the counts of the model are Poisson counts.
    """
    assert values.file is not None  # noqa: S101  ensured by science_values
    frame = read_science(path_of(values.file), record_to_match(values.file), drizzled=drizzled)
    if (share := negative_share(frame.science)) > MOST_NEGATIVE:
        raise BadFileError(
            f"{values.rootname}: {share:.0%} of the pixels of its FLT are negative, so a dark or a sky is already "
            "subtracted.",
            _WHOLE_FLT,
        )
    good = usable(frame, None if flat is None else flat.pixels)
    return ScienceInput(values, values.file, frame, flat, good)


def exposure_to_fit(one: ScienceInput, number: int, footprints: Sequence[Sequence[NativeWeights]]) -> Exposure:
    """Return an exposure for the fit, without the pixels in apertures and in regions that the user masked."""
    good = one.good.copy()
    for footprint in footprints:
        weights = footprint[number]
        good[weights.where] &= ~weights.touched
    # A blocked filter lets no light through.
    sky = not (one.values.filter or "").startswith("BLOCK")
    values = one.values
    return Exposure(
        values.rootname, one.counts, values.exptime_s, good, one.flat_pixels, sky, values.start_mjd,
        values.read_temperature_c,
    )  # fmt: skip


def is_dark_subtracted(values: MatchValues) -> bool:
    """Whether the dark is already subtracted from an exposure's FLT (DARKCORR, MEANDARK)."""
    file = values.file
    return file is not None and (file.dark_correction == "COMPLETE" or (file.mean_dark_count or 0.0) > 0)
