"""Reading pixels of darks, science frames, drizzled products and flats."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sbcdark.catalog.errors import BadFileError
from sbcdark.pipeline.detector.constants import flagged
from sbcdark.pipeline.detector.rates import unwrapped_counts
from sbcdark.pipeline.detector.regions import DETECTOR_SHAPE
from sbcdark.pipeline.frames.flt_checks import constant_of, is_finite, wcs_of, why_unfit
from sbcdark.pipeline.frames.lost_pixels import lost_pixels, why_not_whole
from sbcdark.pipeline.frames.untrusted_fits import (
    UnsoundError,
    card_value,
    clean,
    drop_broken_cards,
    open_content,
    opened_product,
    read_content,
    trusted,
)

if TYPE_CHECKING:
    from pathlib import Path

    from astropy.io.fits import HDUList
    from numpy.typing import NDArray

    from sbcdark.catalog.records import FileRecord

_BAD_DQ = 512
"""DQ flag of a pixel that is bad for other reasons than its own DQ: calacs' "bad in reference file"."""

_LEAST_FLAT, _LARGEST_FLAT = 0.01, 100.0

_NEGATIVE_COUNT = -0.5
"""Raw counts are integers, so a subtracted dark cannot make a pixel this negative; lower values are damaged."""

_LOWER_CASE = re.compile(rb"\A(?:.{80})*?[A-Za-z0-9_-]*[a-z][A-Za-z0-9_-]* *= ", re.DOTALL)
"""A keyword in lower case: astropy reads it, AstroDrizzle refuses it, and writing converts it to upper case."""


@dataclass(frozen=True, slots=True, eq=False)
class ScienceFrame:
    """One FLT.

    Attributes
    ----------
    science : ndarray of float32 or float64, shape (1024, 1024)
        Flat-fielded counts.
    data_quality : ndarray of int16, shape (1024, 1024)
    wcs : astropy.wcs.WCS or None
        WCS of the SCI extension, including distortion; None for a frame that is not drizzled.
    wcs_name : str or None
        WCSNAME of the SCI extension.
    photometry_mode : str or None
        PHOTMODE of the SCI extension.
    moving_target : bool
        Whether MTFLAG says that the telescope tracked a moving target.
    content : bytes
        The FITS file as read, uncompressed.
    """

    science: NDArray[np.floating]
    data_quality: NDArray[np.int16]
    wcs: Any
    wcs_name: str | None = None
    photometry_mode: str | None = None
    moving_target: bool = False
    content: bytes = b""


@dataclass(frozen=True, slots=True, eq=False)
class Product:
    """The SCI array (ny, nx) of a drizzled product in count/s, NaN without data, and its WCS."""

    science: NDArray[np.float64]
    wcs: Any


def full_frame(hdus: HDUList, path: Path) -> NDArray[np.generic]:
    """Return the pixels of the first extension, shape (1024, 1024), in the byte order of this machine.

    Raises
    ------
    BadFileError
        It is not a full SBC frame.
    """
    science = hdus[1].data if len(hdus) > 1 else None
    if not isinstance(science, np.ndarray) or science.shape != DETECTOR_SHAPE:
        raise BadFileError(f"{path} does not have 1024 x 1024 pixels in SCI.", "Give a full SBC frame.")
    counts = unwrapped_counts(science)
    return counts.astype(counts.dtype.newbyteorder("="))


def read_dark(path: Path, known: FileRecord | None = None) -> NDArray[np.generic]:
    """Return the counts of a RAW dark, shape (1024, 1024), unwrapped.

    Parameters
    ----------
    path : Path
        The RAW, plain or compressed.
    known : FileRecord, optional
        The file as ingested; the file on disk must be the same.

    Raises
    ------
    BadFileError
        The file is missing, broken, not the ingested one, or lacks pixels.
    """
    content = read_content(path, known)
    with trusted(path), open_content(content) as hdus:
        counts = full_frame(hdus, path)
        if (lacks := why_not_whole(counts, lost_pixels(hdus))) is not None:
            todo = "Exclude it from all choices: sbcdark retire NAME --reason 'lost pixels'"
            raise BadFileError(f"{path} {lacks}.", todo)
        return counts


def read_science(path: Path, known: FileRecord | None = None, *, drizzled: bool = True) -> ScienceFrame:
    """Return the pixels and the WCS of an FLT.

    Parameters
    ----------
    path : Path
        The FLT, plain or compressed.
    known : FileRecord, optional
        The file as ingested; the file on disk must be the same.
    drizzled : bool
        Whether AstroDrizzle uses the frame, so that its WCS and related cards are required.

    Raises
    ------
    BadFileError
        The file is missing, broken, or not the ingested one.
    """
    content = read_content(path, known)
    with trusted(path), open_content(content) as hdus:
        stored = full_frame(hdus, path)
        # As precise as in the file: half the memory of float64 for an FLT of the archive.
        science: NDArray[np.floating] = stored.astype(np.promote_types(stored.dtype.newbyteorder("="), np.float32))
        drop_broken_cards(hdus)
        unfit = why_unfit(hdus) if drizzled else None
        if unfit is not None:
            todo = "Get the FLT again, or run stwcs.updatewcs on it."
            raise BadFileError(f"{path} cannot be drizzled: {unfit}.", todo)
        header = hdus[1].header
        name, mode = header.get("WCSNAME"), card_value(header, "PHOTMODE")
        return ScienceFrame(
            science,
            _data_quality(hdus, path),
            _wcs(hdus, 1, path) if drizzled else None,
            wcs_name=(clean(name)[:80] or None) if isinstance(name, str) else None,
            photometry_mode=clean(mode)[:80] if isinstance(mode, str) else None,
            moving_target=hdus[0].header.get("MTFLAG") in {True, "T"},
            content=content,
        )


def wcs_of_frame(frame: ScienceFrame, path: Path) -> Any:
    """Return the WCS of a frame that was read without.

    Parameters
    ----------
    path : Path
        The FLT, for messages.

    Raises
    ------
    BadFileError
        The header does not give a valid WCS.
    """
    with trusted(path), open_content(frame.content) as hdus:
        drop_broken_cards(hdus)
        return _wcs(hdus, 1, path)


def _data_quality(hdus: HDUList, path: Path) -> NDArray[np.int16]:
    hdu = hdus["DQ", 1]
    value = constant_of(hdu.header)
    quality = hdu.data if value is None else np.full(DETECTOR_SHAPE, value)
    if not isinstance(quality, np.ndarray) or quality.shape != DETECTOR_SHAPE:
        raise BadFileError(f"{path} has no DQ array, which AstroDrizzle needs.", "Get the FLT again.")
    if quality.dtype.itemsize > 2:  # a flag above bit 15 excludes a pixel as well
        quality = np.where(quality >> 16 != 0, quality | _BAD_DQ, quality)
    return quality.astype(np.int16)


def usable(frame: ScienceFrame, flat: NDArray[np.float64] | None) -> NDArray[np.bool_]:
    """Return which native pixels of a frame are good; every sum and drizzle of the frame uses this mask.

    Parameters
    ----------
    frame : ScienceFrame
    flat : ndarray of float64, shape (1024, 1024), optional
        The flat that the frame was divided by.

    Returns
    -------
    ndarray of bool, shape (1024, 1024)
        True where no bit of `EXCLUDED_DQ` is set, SCI is finite and at least -0.5 counts (raw counts are integers; a
        subtracted dark takes less from a pixel), and the flat is between 0.01 and 100.
    """
    counted: NDArray[np.bool_] = np.isfinite(frame.science) & (frame.science >= _NEGATIVE_COUNT)
    good = ~flagged(frame.data_quality) & counted
    if flat is not None:
        good &= np.isfinite(flat) & (flat >= _LEAST_FLAT) & (flat <= _LARGEST_FLAT)
    return good


def drizzle_input(frame: ScienceFrame, bad: NDArray[np.bool_], target: Path) -> None:
    """Write a copy of an FLT for AstroDrizzle, in which bad pixels have no weight.

    Cards that astropy cannot read are removed; keywords and BUNIT are in upper case; missing TELESCOP, EXPEND,
    NPOLFILE, EXPNAME, EXTVER, MEANDARK and NGOODPIX are added; DQ and ERR become arrays, DQ of
    int16, and SCI of integers becomes float32. A bad pixel without a flag gets SCI = 0 and the DQ bit 512; a flagged
    one keeps its finite value, since AstroDrizzle gives it no weight. If nothing changes, the file is copied byte for
    byte.

    Parameters
    ----------
    frame : ScienceFrame
        As returned by `read_science`.
    bad : ndarray of bool, shape (1024, 1024)
        Pixels without weight; see `usable`.
    target : Path
        The copy, plain FITS.

    Raises
    ------
    BadFileError
        The frame cannot be converted to what AstroDrizzle needs.
    OSError
        The copy cannot be written.
    """
    with trusted(target):
        content = _repaired(frame, bad)
    target.write_bytes(content)


def _repaired(frame: ScienceFrame, bad: NDArray[np.bool_]) -> bytes:
    with open_content(frame.content) as hdus:
        changed = any(_LOWER_CASE.search(frame.content[slice(*_header_of(hdu))]) for hdu in hdus)
        changed |= bool(drop_broken_cards(hdus))
        science = hdus[1]
        unit = science.header.get("BUNIT")
        if unit is None or unit != unit.strip().upper():
            science.header["BUNIT"] = "COUNTS" if unit is None else unit.strip().upper()
            changed = True
        changed |= _add_missing_cards(hdus)
        for name, kind in (("ERR", np.float32), ("DQ", np.int16)):
            changed |= _fill_null_array(hdus, name, kind)
        if science.data.dtype.kind != "f":  # AstroDrizzle divides in place, and reads counts above 32767 as negative
            science.data = frame.science.astype(np.float32)
            changed = True
        if hdus["DQ", 1].data.dtype.newbyteorder("=") != np.int16:
            hdus["DQ", 1].data = frame.data_quality
            changed = True
        newly = bad & ~flagged(frame.data_quality)
        blank = newly | ~np.isfinite(frame.science)
        if blank.any():
            science.data = np.where(blank, 0, science.data)
            hdus["DQ", 1].data = np.where(newly, hdus["DQ", 1].data | _BAD_DQ, hdus["DQ", 1].data)
            changed = True
        if not changed:
            return frame.content
        for hdu in hdus:
            for keyword in ("CHECKSUM", "DATASUM"):
                hdu.header.remove(keyword, ignore_missing=True)
        out = io.BytesIO()
        hdus.writeto(out, output_verify="silentfix+ignore")
        return out.getvalue()


def _header_of(hdu: Any) -> tuple[int, int]:
    """Return where the header of an HDU begins and ends in its file."""
    place = hdu.fileinfo()
    return place["hdrLoc"], place["datLoc"]


def _add_missing_cards(hdus: HDUList) -> bool:
    """Add cards that AstroDrizzle requires and that change no pixel; return whether any was missing."""
    primary, science = hdus[0].header, hdus[1].header
    missing: list[tuple[Any, str, str | float]] = []
    if not isinstance(primary.get("TELESCOP"), str):
        missing.append((primary, "TELESCOP", "HST"))
    if not is_finite(primary.get("EXPEND")):
        missing.append((primary, "EXPEND", primary["EXPSTART"] + primary["EXPTIME"] / 86400))
    if "DGEOFILE" in primary and "NPOLFILE" not in primary:
        # AstroDrizzle would prompt and wait for an answer; the correction itself is already in SCI.
        missing.append((primary, "NPOLFILE", "N/A"))
    if not isinstance(science.get("EXPNAME"), str):
        missing.append((science, "EXPNAME", primary["ROOTNAME"]))
    missing += [
        (science, keyword, value)
        for keyword, value in (("MEANDARK", 0.0), ("NGOODPIX", DETECTOR_SHAPE[0] * DETECTOR_SHAPE[1]))
        if not is_finite(science.get(keyword))
    ]
    missing += [
        (hdus[name, 1].header, "EXTVER", 1)
        for name in ("SCI", "ERR", "DQ")
        if (name, 1) in hdus and "EXTVER" not in hdus[name, 1].header
    ]
    for header, keyword, value in missing:
        header[keyword] = value
    return bool(missing)


def _fill_null_array(hdus: HDUList, name: str, kind: type[np.generic]) -> bool:
    """Replace a null array by a real one; return whether that was needed."""
    if (name, 1) not in hdus or hdus[name, 1].header.get("NAXIS") != 0:
        return False
    hdu = hdus[name, 1]
    value = constant_of(hdu.header) or 0
    for keyword in ("NPIX1", "NPIX2", "PIXVALUE"):
        hdu.header.remove(keyword, ignore_missing=True)
    hdu.data = np.full(DETECTOR_SHAPE, value, dtype=kind)
    return True


def read_product(path: Path, name: str = "SCI") -> Product:
    """Return an image and the WCS of a product of this program, of any size.

    Raises
    ------
    BadFileError
        The file is missing or broken.
    """
    with opened_product(path) as hdus:
        if (name, 1) not in hdus or getattr(hdus[name, 1], "shape", ()) == ():
            raise BadFileError(f"{path} has no {name} image, so it is not a drizzled product.", "Make it again.")
        with trusted(path):
            image = hdus[name, 1].data.astype(np.float64)
        return Product(image, _wcs(hdus, (name, 1), path))


def _wcs(hdus: HDUList, extension: Any, path: Path) -> Any:
    try:
        return wcs_of(hdus, extension)
    except UnsoundError as error:
        raise BadFileError(f"The WCS of {path} is unreadable: {error}.", "Get the file again.") from error
