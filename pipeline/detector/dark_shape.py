"""The typical shape of the dark: base, glow and sensitivity of the rows, as in the darks of program 13961.

The dark model does not use it: its templates are made of the darks of a catalog.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from sbcdark.pipeline.detector.regions import BOX, DETECTOR_SHAPE

if TYPE_CHECKING:
    from numpy.typing import NDArray

ROW_SENSITIVITY = {599: 0.5, 600: 0.1, 601: 0.0, 602: 0.0, 603: 0.15, 604: 1.6}
"""Sensitivity of the dead rows and the row above them (program 13961)."""


def row_sensitivity() -> NDArray[np.float64]:
    """Return the sensitivity of each row, shape (1024, 1), see `ROW_SENSITIVITY`."""
    rows = np.ones((DETECTOR_SHAPE[0], 1))
    for row, share in ROW_SENSITIVITY.items():
        rows[row] = share
    return rows


@lru_cache(maxsize=1)
def base_map() -> NDArray[np.float64]:
    """Return L, shape (1024, 1024): the shape of the base, 0.83 at the left edge to 1.17 at the right on live rows."""
    x = np.arange(DETECTOR_SHAPE[1])
    rising = (1.0 + 0.17 * (x - 511.5) / 512.0)[None, :] * row_sensitivity()
    rising.flags.writeable = False
    return rising


@lru_cache(maxsize=1)
def glow_map() -> NDArray[np.float64]:
    """Return G, shape (1024, 1024): the shape of the glow, with mean 1 over the box.

    It peaks at (x, y) = (558, 654) and falls as exp(-|dx/w|^2.75 - |dy/w|^2.55), with w = 275 and 352 pixels to
    the left and right, 369 and 250 to the bottom and top: a fit to the growth in the darks of program 13961.
    """
    y, x = np.ogrid[: DETECTOR_SHAPE[0], : DETECTOR_SHAPE[1]]
    across = np.abs(x - 558.0) / np.where(x < 558, 275.0, 352.0)
    along = np.abs(y - 654.0) / np.where(y < 654, 369.0, 250.0)
    glow = np.exp(-(across**2.75) - along**2.55) * row_sensitivity()
    glow /= glow[BOX.slices].mean()
    glow.flags.writeable = False
    return np.asarray(glow)
