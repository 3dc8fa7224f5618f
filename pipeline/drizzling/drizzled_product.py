"""Records of an AstroDrizzle product and of the mapping of each frame onto it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def mean_sides(corner_x: NDArray[np.float64], corner_y: NDArray[np.float64], stride: int = 1) -> tuple[float, float]:
    """Return the mean lengths of the sides along x and y between corners, both of shape (ny, nx).

    Parameters
    ----------
    corner_x, corner_y : ndarray of float64, shape (ny, nx)
        Positions of the corners.
    stride : int
        2 if every second length is a gap between drops.
    """
    sides = []
    for axis, own in ((1, np.s_[:, ::stride]), (0, np.s_[::stride])):
        # A quarter of the time of np.hypot; lengths of about 1 do not overflow.
        squares = np.diff(corner_x, axis=axis)[own] ** 2
        squares += np.diff(corner_y, axis=axis)[own] ** 2
        sides.append(float(np.sqrt(squares, out=squares).mean()))
    return sides[0], sides[1]


@dataclass(frozen=True, slots=True, eq=False)
class FrameMapping:
    """The mapping of one frame onto an AstroDrizzle product.

    Attributes
    ----------
    weight : ndarray of float32, shape (1024, 1024)
        Weight of each native pixel, s: the exposure time, 0 on excluded pixels.
    corner_x, corner_y : ndarray of float64
        Corners of the drops of the native pixels on the product, 0-based product pixels. Shape (1025, 1025) if the
        drops are the whole pixels: pixel (y, x) lies between the corners (y, x) and (y + 1, x + 1). Shape (2048, 2048)
        for smaller drops: between (2 y, 2 x) and (2 y + 1, 2 x + 1). Shape (1024, 1024) for points.
    rate_scale : float
        Factor from a native rate to its value on the product: 1 on the scale of the IDCTAB.
    native_x, native_y : float
        Mean sides of a native pixel, product pixels.
    """

    weight: NDArray[np.float32]
    corner_x: NDArray[np.float64]
    corner_y: NDArray[np.float64]
    rate_scale: float
    native_x: float
    native_y: float

    @property
    def stride(self) -> int:
        """Corners per native pixel and axis."""
        return 2 if self.corner_x.shape[0] == 2 * self.weight.shape[0] else 1

    def drop_sides(self) -> tuple[float, float]:
        """Return the mean sides of a drop in x and y, product pixels; 0 for points."""
        if self.corner_x.shape == self.weight.shape:
            return 0.0, 0.0
        if self.stride == 1:  # the drops are the pixels
            return self.native_x, self.native_y
        return mean_sides(self.corner_x, self.corner_y, self.stride)


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
