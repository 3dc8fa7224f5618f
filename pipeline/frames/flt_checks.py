"""What AstroDrizzle needs in the headers of an FLT: checked when a file is ingested and when it is used."""

from __future__ import annotations

import math
from string import ascii_uppercase
from typing import TYPE_CHECKING, Any

from sbcdark.pipeline.detector.constants import EXCLUDED_DQ, SCALE_ARCSEC
from sbcdark.pipeline.detector.regions import DETECTOR_SHAPE
from sbcdark.pipeline.frames.untrusted_fits import UnsoundError, card_value, reasons

if TYPE_CHECKING:
    from astropy.io.fits import HDUList

_NUMBERS = (
    *("CRPIX1", "CRPIX2", "CRVAL1", "CRVAL2", "CD1_1", "CD1_2", "CD2_1", "CD2_2"),
    *("IDCSCALE", "IDCV2REF", "IDCV3REF", "OCX10", "OCX11", "OCY10", "OCY11"),
)
"""Required cards of an SCI header, besides the SIP polynomials."""

_ORDERS = ("A_ORDER", "B_ORDER", "AP_ORDER", "BP_ORDER")

_HIGHEST_ORDER = 9
"""Of a SIP polynomial; HST has 4 or 5. A reader would allocate memory for the square of any value."""

_SAME_SCALE = 1e-6  # arcsec


def why_unfit(hdus: HDUList) -> str | None:
    """Return why AstroDrizzle cannot use an FLT, or would silently use another scale; None if it can.

    Parameters
    ----------
    hdus : HDUList
        The FLT. Only headers and the small distortion tables are read.
    """
    header = hdus[1].header
    missing = [keyword for keyword in _NUMBERS if not is_finite(card_value(header, keyword))]
    if missing:
        return f"SCI header lacks {', '.join(missing)}, so the distortion and scale are unknown"
    half = [key for key in ascii_uppercase if (f"CTYPE1{key}" in header) != (f"CTYPE2{key}" in header)]
    if half:
        return f"WCS {half[0]} has only one axis"
    if not is_finite(card_value(hdus[0].header, "PA_V3")):
        return "primary header lacks PA_V3"
    orders = [card_value(header, keyword) if keyword in header else 0 for keyword in _ORDERS]
    if not all(
        isinstance(order, int) and not isinstance(order, bool) and 0 <= order <= _HIGHEST_ORDER for order in orders
    ):
        return "distortion polynomial has an invalid order"
    # astropy applies the polynomials anyway, and prints a note on stdout.
    if any(orders) and not all(str(card_value(header, name)).endswith("-SIP") for name in ("CTYPE1", "CTYPE2")):
        return "has SIP polynomials, but CTYPE does not say so"
    if abs(header["IDCSCALE"] - SCALE_ARCSEC) > _SAME_SCALE:
        return f"IDCSCALE is {header['IDCSCALE']:g}, not the SBC's {SCALE_ARCSEC:g}"
    return _why_no_quality(hdus) or _why_no_wcs(hdus)


def _why_no_quality(hdus: HDUList) -> str | None:
    if ("ERR", 1) not in hdus:
        return "ERR extension is missing, which AstroDrizzle needs"
    if ("DQ", 1) not in hdus:
        return "DQ array is missing, which AstroDrizzle needs"
    header = hdus["DQ", 1].header
    if header.get("NAXIS") == 0:
        value = constant_of(header)
        if value is None:
            return "DQ is neither an array nor a constant of 1024 x 1024 pixels"
        if value & EXCLUDED_DQ:
            return f"DQ flags every pixel ({value})"
    elif (header.get("NAXIS"), header.get("NAXIS2"), header.get("NAXIS1")) != (2, *DETECTOR_SHAPE):
        return "DQ array does not have 1024 x 1024 pixels"
    elif header.get("BITPIX") not in {8, 16, 32}:
        return "DQ array does not have an integer type"
    return None


def _why_no_wcs(hdus: HDUList) -> str | None:
    try:
        wcs_of(hdus, 1)
    except UnsoundError as error:
        return f"WCS is unreadable: {error}"
    return None


def wcs_of(hdus: HDUList, extension: Any) -> Any:
    """Return the WCS (astropy) of an extension, including distortion.

    Raises
    ------
    UnsoundError
        The header does not give a valid WCS.
    """
    from astropy.wcs import WCS  # noqa: PLC0415  slow to import, needed only for pixels

    with reasons():
        header = hdus[extension].header.copy()
        for keyword in [keyword for keyword in header if keyword and card_value(header, keyword) is None]:
            header.remove(keyword, ignore_missing=True)
        return WCS(header, hdus)


def constant_of(header: Any) -> int | None:
    """Return the pixel value of a null array (NAXIS = 0 with NPIX1, NPIX2 and PIXVALUE).

    None if the header does not describe a full SBC frame. A missing PIXVALUE is 0, as calacs reads it.
    """
    if (card_value(header, "NPIX2"), card_value(header, "NPIX1")) != DETECTOR_SHAPE:
        return None
    value = card_value(header, "PIXVALUE") if "PIXVALUE" in header else 0
    if not is_finite(value) or value != int(value) or not 0 <= value <= 0xFFFF:
        return None
    return int(value)


def is_finite(value: Any) -> bool:
    """Return whether a card's value is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
