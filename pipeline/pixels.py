"""Reading pixels: the frames that a dark is made of or subtracted from, drizzled products, flats."""

from __future__ import annotations

import math
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sbcdark.catalog.errors import BadFileError
from sbcdark.pipeline.drizzle import SCALE_ARCSEC, dropped
from sbcdark.pipeline.fits_input import UnsoundError, clean, opened, opened_content, read_content, reasons
from sbcdark.pipeline.rates import unwrapped_counts
from sbcdark.pipeline.regions import DETECTOR_SHAPE

if TYPE_CHECKING:
    from astropy.io.fits import HDUList
    from numpy.typing import NDArray

    from sbcdark.catalog.records import FileRecord

_GEOMETRY = ("CRVAL1", "CRVAL2", "CD1_1", "CD1_2", "CD2_1", "CD2_2", "IDCSCALE", "OCX10", "OCX11", "OCY10", "OCY11")
"""What a drizzle needs of an SCI header beside the SIP polynomials."""

_ORDERS = ("A_ORDER", "B_ORDER", "AP_ORDER", "BP_ORDER")

_HIGHEST_ORDER = 9
"""Of a SIP polynomial; HST has 4 or 5. A reader would take memory for the square of whatever is said."""

_SAME_SCALE = 1e-6  # arcsec

_REFERENCE = re.compile(r"jref\$([A-Za-z0-9_]{1,40}\.fits)")


@dataclass(frozen=True, slots=True, eq=False)
class ScienceFrame:
    """One FLT.

    Attributes
    ----------
    science : ndarray of float64, shape (1024, 1024)
        Flat-fielded counts.
    data_quality : ndarray of int16, shape (1024, 1024)
    wcs : astropy.wcs.WCS
        Of the SCI extension, distortion included.
    wcs_name : str or None
        WCSNAME.
    moving_target : bool
        Whether MTFLAG says so: AstroDrizzle aligns such frames on the first one's pointing.
    content : bytes
        The file as it was read, unpacked.
    """

    science: NDArray[np.float64]
    data_quality: NDArray[np.int16]
    wcs: Any
    wcs_name: str | None
    moving_target: bool
    content: bytes


@dataclass(frozen=True, slots=True, eq=False)
class Product:
    """The SCI array (ny, nx) of a drizzled product in count/s, NaN where nothing falls, and its WCS."""

    science: NDArray[np.float64]
    wcs: Any


def _full_frame(hdus: HDUList, path: Path) -> NDArray[np.generic]:
    science = hdus[1].data if len(hdus) > 1 else None
    if not isinstance(science, np.ndarray) or science.shape != DETECTOR_SHAPE:
        raise BadFileError(f"{path} has no 1024 x 1024 pixels in SCI.", "Give a full SBC frame.")
    counts = unwrapped_counts(science)
    return counts.astype(counts.dtype.newbyteorder("="))


def read_dark(path: Path, known: FileRecord | None = None) -> NDArray[np.generic]:
    """Return the counts of a RAW dark, shape (1024, 1024), unwrapped.

    Raises
    ------
    BadFileError
        The file is gone, broken, or not the `known` one.
    """
    with opened(path, known) as hdus:
        return _full_frame(hdus, path)


def read_science(path: Path, known: FileRecord | None = None) -> ScienceFrame:
    """Return the pixels and the WCS of an FLT.

    Raises
    ------
    BadFileError
        The file is gone, broken, or not the `known` one.
    """
    content = read_content(path, known)
    with opened_content(content, path) as hdus:
        science = _full_frame(hdus, path).astype(np.float64)
        quality = _data_quality(hdus)
        if quality is None:
            raise BadFileError(f"{path} has no DQ array, without which AstroDrizzle cannot work.", "Get the FLT again.")
        _require_geometry(hdus[1].header, path)
        flag, name = hdus[0].header.get("MTFLAG"), hdus[1].header.get("WCSNAME")
        return ScienceFrame(
            science,
            quality,
            _wcs(hdus, 1, path),
            clean(name)[:80] if isinstance(name, str) else None,
            flag is True or (isinstance(flag, str) and "T" in flag),
            content,
        )


def _data_quality(hdus: HDUList) -> NDArray[np.int16] | None:
    if ("DQ", 1) not in hdus:
        return None
    hdu = hdus["DQ", 1]
    if hdu.data is None and hdu.header.get("NAXIS") == 0:
        # A null array: one value for all pixels.
        value, ny, nx = (hdu.header.get(keyword) for keyword in ("PIXVALUE", "NPIX2", "NPIX1"))
        constant = isinstance(value, int) and (ny, nx) == DETECTOR_SHAPE
        return np.full(DETECTOR_SHAPE, value, dtype=np.int16) if constant else None
    return hdu.data.astype(np.int16) if hdu.data is not None and hdu.data.shape == DETECTOR_SHAPE else None


_FLAT_RANGE = (0.01, 100.0)

_LEAST_COUNT = -0.5
"""Counts are whole: what lies lower is no count of which a dark of some 0.01 to 0.1 was subtracted."""


def usable(frame: ScienceFrame, flat: NDArray[np.float64] | None) -> NDArray[np.bool_]:
    """Return which pixels of a frame count, shape (1024, 1024).

    They carry no DQ flag, hold a finite number that is not negative beyond noise, and the flat, where it is given, is
    finite and within 0.01 to 100.

    Parameters
    ----------
    frame : ScienceFrame
        The frame.
    flat : ndarray, shape (1024, 1024), or None
        Its flat.
    """
    good = ~dropped(frame.data_quality) & np.isfinite(frame.science) & (frame.science > _LEAST_COUNT)
    if flat is not None:
        low, high = _FLAT_RANGE
        good &= np.isfinite(flat) & (flat >= low) & (flat <= high)
    return np.asarray(good)


def drizzle_input(frame: ScienceFrame, bad: NDArray[np.bool_], target: Path) -> None:
    """Write a copy of a frame for AstroDrizzle, in which bad pixels are flagged.

    Parameters
    ----------
    frame : ScienceFrame
        The frame.
    bad : ndarray of bool, shape (1024, 1024)
        Pixels that do not count.
    target : Path
        The copy, plain FITS.
    """
    new = bad & ~dropped(frame.data_quality)
    if not new.any():
        target.write_bytes(frame.content)
        return
    with opened_content(frame.content, target) as hdus:
        hdus[1].data[new] = 0
        hdus["DQ", 1].data[new] = 512
        hdus.writeto(target, output_verify="silentfix+ignore")


def _require_geometry(header: Any, path: Path) -> None:
    """Refuse an FLT from which AstroDrizzle would take another scale, or none, without a word."""
    missing = [keyword for keyword in _GEOMETRY if not _is_finite(header.get(keyword))]
    if missing:
        raise BadFileError(
            f"{path} lacks {', '.join(missing)} in its SCI header, so that its distortion and scale are not known.",
            "Get the FLT again, or run stwcs.updatewcs on it.",
        )
    orders = [header.get(keyword, 0) for keyword in _ORDERS]
    if not all(isinstance(order, int) and 0 <= order <= _HIGHEST_ORDER for order in orders):
        raise BadFileError(
            f"{path} has a distortion polynomial of an order that cannot be.",
            "Get the FLT again, or run stwcs.updatewcs on it.",
        )
    # astropy applies the polynomials all the same, and says so on stdout.
    if any(orders) and not all(str(header.get(keyword)).endswith("-SIP") for keyword in ("CTYPE1", "CTYPE2")):
        raise BadFileError(
            f"{path} has SIP polynomials of which its CTYPE says nothing.",
            "Get the FLT again, or run stwcs.updatewcs on it.",
        )
    if abs(header["IDCSCALE"] - SCALE_ARCSEC) > _SAME_SCALE:
        raise BadFileError(
            f"{path} has an IDCSCALE of {header['IDCSCALE']:g}, where the SBC's is {SCALE_ARCSEC:g}.",
            "Get the FLT again, or run stwcs.updatewcs on it with the SBC's IDCTAB.",
        )


def read_product(path: Path, name: str = "SCI") -> Product:
    """Return an image and the WCS of a product that this program made.

    Raises
    ------
    BadFileError
        The file is gone, or no product.
    """
    from astropy.io import fits  # noqa: PLC0415  costly, and light commands import this module

    try:
        # Our own files are trusted: a mosaic is larger than any file of the archive may be.
        with fits.open(path, memmap=False) as hdus, reasons():
            return Product(hdus[name, 1].data.astype(np.float64), _wcs(hdus, (name, 1), path))
    except (OSError, UnsoundError) as error:
        raise BadFileError(f"{path} cannot be read as a drizzled product: {error}.", "Make it again.") from error


def _wcs(hdus: HDUList, extension: Any, path: Path) -> Any:
    from astropy.wcs import WCS  # noqa: PLC0415  slow to import, needed only where pixels are

    try:
        with reasons():
            return WCS(hdus[extension].header, hdus)
    except UnsoundError as error:
        raise BadFileError(f"{path} has no WCS that can be read: {error}.", "Get the file again.") from error


def _is_finite(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def find_flat(name: str | None, given: Path | None) -> Path | None:
    """Return where a science frame's own flat is, or None.

    Parameters
    ----------
    name : str or None
        PFLTFILE of the header, e.g. ``jref$x1234567j_pfl.fits``; header text is not trusted, so that anything but a
        plain file name is left alone.
    given : Path or None
        A flat, or a folder of flats, that the user named; else the folder of the environment variable `jref`.
    """
    if given is not None and given.is_file():
        return given
    found = _REFERENCE.fullmatch(name or "")
    folder = given or (Path(os.environ["jref"]) if os.environ.get("jref") else None)  # noqa: SIM112  its name at STScI
    if found is None or folder is None:
        return None
    for candidate in (folder / found.group(1), folder / f"{found.group(1)}.gz"):
        if candidate.is_file():
            return candidate
    return None


def read_flat(path: Path) -> NDArray[np.float64]:
    """Return a flat, shape (1024, 1024); NaN where it is not above 0.

    Raises
    ------
    BadFileError
        The file is gone, broken, or no flat of a full SBC frame.
    """
    with opened(path) as hdus:
        flat = _full_frame(hdus, path).astype(np.float64)
    valid = np.isfinite(flat) & (flat > 0)
    if not valid.any():
        raise BadFileError(f"{path} is no flat: nothing in it is above 0.", "Give the right one with --flat.")
    return np.where(valid, flat, np.nan)
