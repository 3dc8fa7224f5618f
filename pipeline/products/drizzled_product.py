"""Records of an AstroDrizzle product and of the mapping of each frame onto it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class FrameMapping:
    """The mapping of one frame onto an AstroDrizzle product.

    Attributes
    ----------
    weight : ndarray of float32, shape (1024, 1024)
        Weight of each native pixel, s: the exposure time, 0 on excluded pixels.
    corner_x, corner_y : ndarray of float64, shape (1025, 1025)
        Corners of the native pixels on the product, 0-based product pixels; pixel (y, x) lies between the corners
        (y, x) and (y + 1, x + 1).
    rate_scale : float
        Factor from a native rate to its value on the product: 1 on the scale of the IDCTAB.
    """

    weight: NDArray[np.float32]
    corner_x: NDArray[np.float64]
    corner_y: NDArray[np.float64]
    rate_scale: float


@dataclass(frozen=True, slots=True, eq=False)
class DrizzledProduct:
    """A product of AstroDrizzle.

    Attributes
    ----------
    science : ndarray of float32, shape (ny, nx)
        count/s, NaN where no pixel has weight.
    weight : ndarray of float32, shape (ny, nx)
        Weight, s.
    wcs : astropy.wcs.WCS
        WCS of the product.
    hdus : astropy.io.fits.HDUList
        The product as AstroDrizzle wrote it, in memory: primary header, SCI, WHT.
    frames : tuple of FrameMapping
        One per frame, in order.
    drizzlepac : str
        The version of drizzlepac that made it.
    """

    science: NDArray[np.float32]
    weight: NDArray[np.float32]
    wcs: Any
    hdus: Any
    frames: tuple[FrameMapping, ...]
    drizzlepac: str
