"""Constants of the SBC and its products: the pixel scale, and the DQ flags that exclude a pixel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

SCALE_ARCSEC = 0.025
"""Side of a product pixel in arcsec: the SCALE of the SBC's IDCTAB, at which PHOTFLAM is defined."""

HOT_PIXEL_DQ = 16
"""The flag of a hot pixel."""

RESET_DQ = 4096
"""AstroDrizzle's cosmic-ray flag. A MAMA records no cosmic rays, so a set flag is an artifact and is cleared."""

EXCLUDED_DQ = 0xFFFF & ~RESET_DQ
"""DQ bits that exclude a pixel: all others. One hot pixel (16) would add more dark counts than a whole aperture, and a
dead row (4) or a blemish (32, 1024) would count sky that it cannot record. The frame that carries the dark has the same
DQ array, so science and dark exclude the same pixels."""


def is_prism(filter_name: str | None) -> bool:
    """Return whether an exposure was taken with a prism (PR110L, PR130L): its frames are spectra, not drizzled."""
    return (filter_name or "").upper().startswith("PR")


def flagged(dq: NDArray[np.integer[Any]]) -> NDArray[np.bool_]:
    """Return which native pixels have no weight in a product.

    Parameters
    ----------
    dq : ndarray of int, shape (ny, nx)
        DQ array of a frame.

    Returns
    -------
    ndarray of bool, shape (ny, nx)
        True where any bit of `EXCLUDED_DQ` is set.
    """
    return np.asarray((dq.astype(np.int32) & EXCLUDED_DQ) != 0)
