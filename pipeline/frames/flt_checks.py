"""What a drizzle needs of an FLT's headers: judged in one place, when a file is ingested and when it is used."""

from __future__ import annotations

import math
from string import ascii_uppercase
from typing import TYPE_CHECKING, Any

from sbcdark.pipeline.detector.constants import DROPPED_DQ, SCALE_ARCSEC
from sbcdark.pipeline.detector.regions import DETECTOR_SHAPE
from sbcdark.pipeline.frames.untrusted_fits import UnsoundError, card_value, reasons

if TYPE_CHECKING:
    from astropy.io.fits import HDUList

_NUMBERS = (
    *("CRPIX1", "CRPIX2", "CRVAL1", "CRVAL2", "CD1_1", "CD1_2", "CD2_1", "CD2_2"),
    *("IDCSCALE", "IDCV2REF", "IDCV3REF", "OCX10", "OCX11", "OCY10", "OCY11"),
)
"""What a drizzle needs of an SCI header beside the SIP polynomials."""

_ORDERS = ("A_ORDER", "B_ORDER", "AP_ORDER", "BP_ORDER")

_HIGHEST_ORDER = 9
"""Of a SIP polynomial; HST has 4 or 5. A reader would take memory for the square of whatever is said."""

_SAME_SCALE = 1e-6  # arcsec


def why_unfit(hdus: HDUList) -> str | None:
    """Return why AstroDrizzle could not use an FLT, or would take another scale without a word; None where it can.

    Parameters
    ----------
    hdus : HDUList
        The FLT. Only headers and the small tables of its distortion are read.
    """
    header = hdus[1].header
    missing = [keyword for keyword in _NUMBERS if not is_finite(card_value(header, keyword))]
    if missing:
        return f"it lacks {', '.join(missing)} in its SCI header, so that its distortion and scale are not known"
    half = [key for key in ascii_uppercase if (f"CTYPE1{key}" in header) != (f"CTYPE2{key}" in header)]
    if half:
        return f"its WCS {half[0]} has one axis alone"
    if not is_finite(card_value(hdus[0].header, "PA_V3")):
        return "it lacks PA_V3 in its primary header"
    orders = [card_value(header, keyword) if keyword in header else 0 for keyword in _ORDERS]
    if not all(
        isinstance(order, int) and not isinstance(order, bool) and 0 <= order <= _HIGHEST_ORDER for order in orders
    ):
        return "it has a distortion polynomial of an order that cannot be"
    # astropy applies the polynomials all the same, and says so on stdout.
    if any(orders) and not all(str(card_value(header, name)).endswith("-SIP") for name in ("CTYPE1", "CTYPE2")):
        return "it has SIP polynomials of which its CTYPE says nothing"
    if abs(header["IDCSCALE"] - SCALE_ARCSEC) > _SAME_SCALE:
        return f"it has an IDCSCALE of {header['IDCSCALE']:g}, where the SBC's is {SCALE_ARCSEC:g}"
    return _why_no_quality(hdus) or _why_no_wcs(hdus)


def _why_no_quality(hdus: HDUList) -> str | None:
    if ("ERR", 1) not in hdus:
        return "it has no ERR extension, without which AstroDrizzle cannot work"
    if ("DQ", 1) not in hdus:
        return "it has no DQ array, without which AstroDrizzle cannot work"
    header = hdus["DQ", 1].header
    if header.get("NAXIS") == 0:
        value = constant_of(header)
        if value is None:
            return "its DQ is neither an array nor a constant of 1024 x 1024 pixels"
        if value & DROPPED_DQ:
            return f"its DQ flags every pixel ({value})"
    elif (header.get("NAXIS"), header.get("NAXIS2"), header.get("NAXIS1")) != (2, *DETECTOR_SHAPE):
        return "its DQ array has not 1024 x 1024 pixels"
    elif header.get("BITPIX") not in {8, 16, 32}:
        return "its DQ array holds no whole numbers"
    return None


def _why_no_wcs(hdus: HDUList) -> str | None:
    try:
        wcs_of(hdus, 1)
    except UnsoundError as error:
        return f"it has no WCS that can be read: {error}"
    return None


def wcs_of(hdus: HDUList, extension: Any) -> Any:
    """Return the WCS (astropy) of an extension, its distortion included.

    Raises
    ------
    UnsoundError
        astropy cannot make one of the header.
    """
    from astropy.wcs import WCS  # noqa: PLC0415  slow to import, needed only where pixels are

    with reasons():
        header = hdus[extension].header.copy()
        for keyword in [keyword for keyword in header if keyword and card_value(header, keyword) is None]:
            header.remove(keyword, ignore_missing=True)
        return WCS(header, hdus)


def constant_of(header: Any) -> int | None:
    """Return the value of every pixel of a null array (NAXIS = 0 with NPIX1, NPIX2 and PIXVALUE).

    None where the header gives none of a full SBC frame. A PIXVALUE that is missing is 0, as calacs reads it.
    """
    if (card_value(header, "NPIX2"), card_value(header, "NPIX1")) != DETECTOR_SHAPE:
        return None
    value = card_value(header, "PIXVALUE") if "PIXVALUE" in header else 0
    if not is_finite(value) or value != int(value) or not 0 <= value <= 0xFFFF:
        return None
    return int(value)


def is_finite(value: Any) -> bool:
    """Tell whether a card's value is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
