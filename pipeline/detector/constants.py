"""Constants of the SBC and of its products: the pixel scale, and which DQ flags cost a pixel its weight."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

SCALE_ARCSEC = 0.025
"""Side of a product pixel, arcsec: the SCALE of the SBC's IDCTAB, at which PHOTFLAM holds."""

RESET_DQ = 4096
"""AstroDrizzle's flag of a cosmic ray. A MAMA sees none, so a set flag is an earlier run's mistake, and is cleared."""

DROPPED_DQ = 0xFFFF & ~RESET_DQ
"""DQ bits of pixels that get no weight: every one. A hot pixel (16) alone would bring more dark counts than a whole
aperture, and a dead row (4) or a blemish (32, 1024) would count sky that it cannot see. The same DQ array rides in the
copy that carries the dark, so that science and dark lose the same pixels."""


def is_prism(filter_name: str | None) -> bool:
    """Tell whether an exposure was taken through a prism (PR110L, PR130L): its frames are spectra, not drizzled."""
    return (filter_name or "").upper().startswith("PR")


def flagged(dq: NDArray[np.integer[Any]]) -> NDArray[np.bool_]:
    """Return which native pixels get no weight in a product.

    Parameters
    ----------
    dq : ndarray of int, shape (ny, nx)
        A frame's DQ array.

    Returns
    -------
    ndarray of bool, shape (ny, nx)
        True where a bit of `DROPPED_DQ` is set.
    """
    return np.asarray((dq.astype(np.int32) & DROPPED_DQ) != 0)
