"""Writing of dark-subtracted FLTs, and of darks in detector pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sbcdark.pipeline.frames.fits_output import add_cards, add_text, quiet_astropy, write_whole
from sbcdark.pipeline.frames.flt_checks import constant_of
from sbcdark.pipeline.frames.untrusted_fits import drop_broken_cards, open_content, trusted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from astropy.io.fits import BinTableHDU
    from numpy.typing import NDArray

    from sbcdark.pipeline.frames.fits_output import HeaderValue


DARK_ERROR_COMMENT = (
    "Error of each single pixel. The errors of all pixels are correlated, since they come from one fit and from "
    "smooth templates: do not add them in quadrature."
)
"""What the header of the ERR extension of a dark says."""


def write_subtracted(
    target: Path,
    content: bytes,
    counts: NDArray[np.float64],
    error: NDArray[np.float64],
    cards: Mapping[str, HeaderValue],
    history: Sequence[str] = (),
    *,
    mean_dark: float,
) -> None:
    """Write a copy of an FLT with a background subtracted from SCI and its error added to ERR in quadrature.

    Parameters
    ----------
    target : Path
        The file; it appears once it is complete.
    content : bytes
        The FLT as read.
    counts, error : ndarray of float64, shape (1024, 1024)
        The background and its error, flat-fielded counts.
    cards : mapping
        Cards of the primary header: DARKCORR, DARKFILE, the provenance.
    history : sequence of str
        Sentences for HISTORY cards of the primary header.
    mean_dark : float
        MEANDARK of the SCI header, counts/pixel.

    Raises
    ------
    BadFileError, SbcdarkError
        The FLT cannot be read, or the copy cannot be written.
    """
    with trusted(target), open_content(content) as hdus:
        drop_broken_cards(hdus)
        science = hdus[1]
        science.data = (science.data.astype(np.float64) - counts).astype(np.float32)
        science.header["MEANDARK"] = mean_dark
        if ("ERR", 1) in hdus:
            errors = hdus["ERR", 1]
            before = _values(errors)
            errors.data = np.hypot(before, error).astype(np.float32)
            for keyword in ("NPIX1", "NPIX2", "PIXVALUE"):
                errors.header.remove(keyword, ignore_missing=True)
        for hdu in hdus:
            for keyword in ("CHECKSUM", "DATASUM"):
                hdu.header.remove(keyword, ignore_missing=True)
        add_cards(hdus[0].header, {**cards, "FILENAME": target.name})
        add_text(hdus[0].header, "HISTORY", history)
        write_whole(hdus, target)


def _values(hdu: Any) -> NDArray[np.float64]:
    """Return an image, or the constant that the header gives instead of an array."""
    value = constant_of(hdu.header)
    return np.asarray(hdu.data if value is None else value, dtype=np.float64)


def write_dark(
    target: Path,
    rate: NDArray[np.float64],
    error: NDArray[np.float64],
    data_quality: NDArray[np.int16],
    cards: Mapping[str, HeaderValue],
    history: Sequence[str] = (),
    tables: Sequence[BinTableHDU] = (),
) -> None:
    """Write the dark of an exposure in detector pixels: SCI and ERR, count/s/pixel, and DQ.

    Parameters
    ----------
    target : Path
        The file; it appears once it is complete.
    rate, error : ndarray of float64, shape (1024, 1024)
        As the detector recorded it, not divided by the flat; neighbouring pixels share their errors.
    data_quality : ndarray of int16, shape (1024, 1024)
        DQ of the exposure.
    cards : mapping
        Cards of the primary header.
    history : sequence of str
        Sentences for HISTORY cards of the primary header.
    tables : sequence of BinTableHDU
        Tables to append: the exposure and its darks.

    Raises
    ------
    SbcdarkError
        The file cannot be written.
    """
    from astropy.io import fits  # noqa: PLC0415  costly, and light commands import this module

    with quiet_astropy():
        primary = fits.PrimaryHDU()
        add_cards(primary.header, {"TELESCOP": "HST", "INSTRUME": "ACS", "DETECTOR": "SBC", **cards})
        add_cards(primary.header, {"FILENAME": target.name, "NEXTEND": 3 + len(tables)})
        add_text(primary.header, "HISTORY", history)
        images = [
            fits.ImageHDU(rate.astype(np.float32), name="SCI"),
            fits.ImageHDU(error.astype(np.float32), name="ERR"),
            fits.ImageHDU(data_quality, name="DQ"),
        ]
        for image in images:
            image.header["EXTVER"] = 1
        for image in images[:2]:
            image.header["BUNIT"] = "COUNTS/S"
        add_text(images[1].header, "COMMENT", [DARK_ERROR_COMMENT])
        write_whole(fits.HDUList([primary, *images, *tables]), target)
