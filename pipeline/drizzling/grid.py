"""The product's grid and the drizzle kernel: the options of AstroDrizzle that a run passes on."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sbcdark.catalog.errors import UsageError
from sbcdark.pipeline.detector.constants import SCALE_ARCSEC

KERNELS = ("square", "turbo", "point")
"""The kernels whose weights on the native pixels are known exactly: a drop of a native pixel is a quadrilateral
(square), a square along the axes of the product (turbo) or a point."""

_REFUSED = ("gaussian", "lanczos2", "lanczos3", "tophat")
_SMALLEST_SCALE, _LARGEST_SCALE = 0.005, 0.2  # arcsec; native pixels are 0.0336 by 0.0297


@dataclass(frozen=True, slots=True)
class Grid:
    """The grid of a product, and how native pixels are dropped onto it.

    Attributes
    ----------
    scale_arcsec : float
        Side of a product pixel.
    rotation_deg : float or None
        Position angle of the product's y axis, east of north; None: as AstroDrizzle chooses.
    pixfrac : float
        Side of a drop over that of a native pixel.
    kernel : str
        One of `KERNELS`.
    reference : Path or None
        A drizzled product whose grid is used, in place of scale and rotation.
    """

    scale_arcsec: float = SCALE_ARCSEC
    rotation_deg: float | None = None
    pixfrac: float = 1.0
    kernel: str = "square"
    reference: Path | None = None

    def changes(self) -> dict[str, Any]:
        """Return what differs from the default, for records; paths as text."""
        found = {name: getattr(self, name) for name in self.__slots__ if getattr(self, name) != getattr(Grid(), name)}
        return {name: str(value) if isinstance(value, Path) else value for name, value in found.items()}


def grid_of(
    *,
    final_scale: float | None = None,
    final_rot: float | None = None,
    final_pixfrac: float | None = None,
    final_kernel: str | None = None,
    final_refimage: str | Path | None = None,
) -> Grid:
    """Return a grid from AstroDrizzle's options; None is the default of a run.

    Raises
    ------
    UsageError
        A value is out of range, the kernel is not supported, or options contradict each other.
    """
    if final_refimage is not None and (final_scale is not None or final_rot is not None):
        raise UsageError(
            "A reference image gives the scale and the rotation itself.", "Leave --final-scale and --final-rot out."
        )
    reference = None if final_refimage is None else Path(final_refimage)
    if reference is not None and not reference.is_file():
        raise UsageError(f"There is no reference image at {reference}.", "Give a drizzled product (FITS).")
    scale = SCALE_ARCSEC if final_scale is None else float(final_scale)
    if not _SMALLEST_SCALE <= scale <= _LARGEST_SCALE:
        raise UsageError(
            f"--final-scale {scale:g} is outside {_SMALLEST_SCALE}-{_LARGEST_SCALE} arcsec.",
            f"The default is {SCALE_ARCSEC} arcsec per pixel.",
        )
    rotation = None if final_rot is None else float(final_rot)
    if rotation is not None and not (math.isfinite(rotation) and abs(rotation) <= 360):
        raise UsageError(f"--final-rot {rotation:g} is outside -360-360 degrees.")
    pixfrac = 1.0 if final_pixfrac is None else float(final_pixfrac)
    if not 0.01 <= pixfrac <= 1:
        raise UsageError(f"--final-pixfrac {pixfrac:g} is outside 0.01-1.", "The default is 1.")
    kernel = (final_kernel or "square").strip().lower()
    if kernel not in KERNELS:
        why = "its weights reach over other pixels and are known only approximately, so errors would be, too"
        raise UsageError(
            f"--final-kernel {kernel!r} is not supported" + (f": {why}." if kernel in _REFUSED else "."),
            f"Use {', '.join(KERNELS[:-1])} or {KERNELS[-1]}.",
        )
    return Grid(scale, rotation, pixfrac, kernel, reference)


_SAME_SIDES = 1e-4
"""Relative difference of the sides of a pixel, and cosine of their angle: products of AstroDrizzle have 1e-9."""


def require_usable(reference: Path, wcs: Any) -> None:
    """Check that a flux is conserved on the grid of a reference image.

    AstroDrizzle takes the first side of a pixel for both: on the pixels of an FLT (0.0336 by 0.0297 arcsec) every sum
    is 13 % high. It also takes any position for right ascension and declination.

    Parameters
    ----------
    reference : Path
        The image, for the message.
    wcs : astropy.wcs.WCS
        Its WCS.

    Raises
    ------
    UsageError
        It has a distortion, pixels that are not squares, or other coordinates than right ascension and declination.
    """
    why = None
    first, second = np.asarray(wcs.pixel_scale_matrix).T
    sides = float(np.linalg.norm(first)), float(np.linalg.norm(second))
    if [str(one)[:4] for one in wcs.wcs.ctype] != ["RA--", "DEC-"]:
        why = "its WCS is not in right ascension and declination"
    elif wcs.has_distortion:
        why = "it is distorted, as an FLT is"
    elif abs(sides[0] / sides[1] - 1) > _SAME_SIDES or abs(first @ second) > _SAME_SIDES * sides[0] * sides[1]:
        why = f"its pixels are not squares ({sides[0] * 3600:.4f} by {sides[1] * 3600:.4f} arcsec)"
    if why is not None:
        raise UsageError(f"{reference} is no grid for a product: {why}.", "Give a drizzled product (FITS).")
