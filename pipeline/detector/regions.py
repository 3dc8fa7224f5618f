"""Named detector regions, hot pixels and dead rows of the SBC. Indices are 0-based, arrays are (ny, nx)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

DETECTOR_SHAPE = (1024, 1024)
"""(ny, nx) of every full SBC frame."""

HOT_PIXELS_XY = ((55, 281), (56, 281), (55, 282), (56, 282), (842, 81), (420, 699))
"""Hot pixels (x, y): these six have 13 % of all counts in the 20 darks of program 13961."""

DEAD_ROWS = slice(599, 605)
"""Rows y = 599 to 603 record nothing and row 604 reads high (measured on the darks of program 13961)."""


@dataclass(frozen=True, slots=True)
class Region:
    """A rectangle of detector pixels with a name and a version.

    Attributes
    ----------
    name : str
        Name in the catalog.
    version : int
        Increased whenever the pixels change, so old and new measurements never mix.
    y0, y1, x0, x1 : int
        Half-open pixel ranges, as in ``image[y0:y1, x0:x1]``.
    masked : bool
        Whether hot pixels and dead rows are excluded.
    """

    name: str
    version: int
    y0: int
    y1: int
    x0: int
    x1: int
    masked: bool = True

    @property
    def slices(self) -> tuple[slice, slice]:
        """The region as numpy slices (y, x)."""
        return slice(self.y0, self.y1), slice(self.x0, self.x1)


BOX = Region("box", 1, 650, 850, 580, 780, masked=False)
QUIET = Region("quiet", 1, 0, 128, 0, 1024)
LODARK = Region("lodark", 1, 84, 284, 74, 274)
FRAME = Region("frame", 1, 0, 1024, 0, 1024)

REGIONS = (BOX, QUIET, LODARK, FRAME)
"""All regions that an ingest measures."""


def good_pixels() -> NDArray[np.bool_]:
    """Return the good pixels of the detector.

    Returns
    -------
    ndarray of bool, shape (1024, 1024)
        False on `HOT_PIXELS_XY` and `DEAD_ROWS`.
    """
    good = np.ones(DETECTOR_SHAPE, dtype=bool)
    good[DEAD_ROWS] = False
    for x, y in HOT_PIXELS_XY:
        good[y, x] = False
    return good
