"""The sky to subtract: fitted with the dark, measured in an annulus, or none."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from sbcdark.catalog.errors import UsageError
from sbcdark.pipeline.apertures.pixel_shapes import PixelEllipse, PixelRing
from sbcdark.pipeline.selection.rules import Combine

if TYPE_CHECKING:
    from sbcdark.pipeline.apertures.pixel_shapes import PixelShape

_ANNULUS = re.compile(r"annulus([:@])([0-9.eE+-]+),([0-9.eE+-]+)")
_LARGEST = 2048.0
_TODO = "Write --sky fit, --sky none, --sky annulus:R_IN,R_OUT (product pixels) or annulus@R_IN,R_OUT (arcsec)."


@dataclass(frozen=True, slots=True)
class Sky:
    """The method for the sky in an aperture.

    Attributes
    ----------
    method : {"fit", "annulus", "none"}
        ``fit``: the uniform sky that is fitted with the dark; ``annulus``: the mean of the dark-subtracted data in a
        ring around the aperture's centre; ``none``: no sky is subtracted.
    inner, outer : float
        Radii of the annulus, product pixels or arcsec.
    unit : {"pixel", "arcsec"}
        Unit of the radii.
    """

    method: Literal["fit", "annulus", "none"]
    inner: float = 0.0
    outer: float = 0.0
    unit: Literal["pixel", "arcsec"] = "pixel"

    @property
    def text(self) -> str:
        """The text that `parse_sky` reads back as the same sky."""
        if self.method != "annulus":
            return self.method
        return f"annulus{':' if self.unit == 'pixel' else '@'}{self.inner:g},{self.outer:g}"

    def ring(self, aperture: PixelShape, wcs: Any) -> PixelRing | None:
        """Return the annulus around an aperture in product pixels, or None if there is none.

        Parameters
        ----------
        aperture : PixelShape
            The aperture.
        wcs : astropy.wcs.WCS
            Of the product.
        """
        if self.method != "annulus":
            return None
        scale = 1.0
        if self.unit == "arcsec":
            from astropy.wcs.utils import proj_plane_pixel_scales  # noqa: PLC0415  slow to import

            scale = 1.0 / (3600.0 * float(proj_plane_pixel_scales(wcs).mean()))
        label = f"the sky of {aperture.label}"
        inner, outer = (
            PixelEllipse(aperture.x, aperture.y, radius * scale, radius * scale, 0.0, label)
            for radius in (self.inner, self.outer)
        )
        return PixelRing(inner if self.inner > 0 else None, outer, label)


def parse_sky(text: str | None, combine: Combine) -> Sky:
    """Parse the option --sky.

    Parameters
    ----------
    text : str or None
        ``fit``, ``none``, ``annulus:R_IN,R_OUT`` or ``annulus@R_IN,R_OUT``; None is ``fit`` with the model and ``none``
        with the other ways to combine darks, which fit nothing.

    Raises
    ------
    UsageError
        The text is not valid, or requests a fit without the model.
    """
    if text is None:
        return Sky("fit" if combine is Combine.MODEL else "none")
    wanted = text.strip().lower()
    if wanted == "none":
        return Sky("none")
    if wanted == "fit":
        if combine is not Combine.MODEL:
            raise UsageError(f"--combine {combine.value} fits no sky.", "Use --sky annulus:R_IN,R_OUT or --sky none.")
        return Sky("fit")
    match = _ANNULUS.fullmatch(wanted)
    if match is None:
        raise UsageError(f"--sky {text!r} is not a valid sky.", _TODO)
    try:
        inner, outer = float(match[2]), float(match[3])
    except ValueError:
        raise UsageError(f"--sky {text!r} needs two radii.", _TODO) from None
    if not (math.isfinite(outer) and 0 <= inner < outer <= _LARGEST):
        raise UsageError(f"--sky {text!r} needs 0 <= R_IN < R_OUT <= {_LARGEST:g}.", _TODO)
    return Sky("annulus", inner, outer, "pixel" if match[1] == ":" else "arcsec")
