"""The only writer of FITS files: each file is written under a temporary name and renamed when it is whole."""

from __future__ import annotations

import errno
import math
import re
import uuid
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from sbcdark.catalog.errors import BadFileError, SbcdarkError
from sbcdark.pipeline.fits_input import opened

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from sbcdark.pipeline.simulated_darks import SimulatedFile
    from sbcdark.pipeline.simulated_headers import Card

HeaderValue = str | int | float | bool | None
"""What a provenance card may hold; None (and NaN, which FITS cannot hold) makes a card without value."""

MAX_TEXT = 1000
"""Characters of a provenance value that are kept: a value may come from another file's header, which is not trusted."""

_STANDARD_KEYWORD = re.compile(r"[A-Z0-9_-]{1,8}")
_LONG_KEYWORD = re.compile(r"[A-Z0-9_-]+( [A-Z0-9_-]+)*")
_STRUCTURE = re.compile(r"SIMPLE|XTENSION|BITPIX|NAXIS\d*|EXTEND|PCOUNT|GCOUNT|END|COMMENT|HISTORY|CONTINUE")


def write_science_copy(
    source: Path,
    target: Path,
    science: NDArray[Any],
    error: NDArray[Any] | None = None,
    extra: Mapping[str, HeaderValue] | None = None,
) -> None:
    """Copy an FLT with another image in it: same WCS, distortion, data quality and header, other counts.

    Parameters
    ----------
    source : Path
        An FLT, plain or gzipped.
    target : Path
        The copy, plain FITS; an older file of that name is replaced.
    science : ndarray, shape (ny, nx)
        The new SCI array in counts, stored as float32.
    error : ndarray, shape (ny, nx), optional
        The new ERR array in counts, stored as float32; without it the source's ERR stays.
    extra : mapping, optional
        Cards for the primary header, as for `annotate`.

    Raises
    ------
    BadFileError
        The source cannot be read, or has no SCI (or ERR) array of the same shape.
    SbcdarkError
        The copy cannot be written.
    """
    with _contained(), opened(source, unscaled=True) as hdus:
        for name, pixels in (("SCI", science), ("ERR", error)):
            if pixels is None:
                continue
            hdu = _extension(hdus, name, source)
            if hdu.shape != pixels.shape:
                what = f"The {name} array of {source} has shape {hdu.shape}, the image to put there {pixels.shape}."
                raise BadFileError(what, "Only full SBC frames can be processed.")
            hdu.data = np.asarray(pixels, dtype=np.float32)
            # The new pixels are neither scaled nor what the old checksum was made of.
            for keyword in ("BSCALE", "BZERO", "BLANK", "CHECKSUM", "DATASUM"):
                hdu.header.remove(keyword, ignore_missing=True)
        _add_cards(hdus[0].header, {**(extra or {}), "FILENAME": target.name})
        _write(hdus, target)


def annotate(path: Path, cards: Mapping[str, HeaderValue]) -> None:
    """Add provenance cards to the primary header of a file, replacing those of the same keyword.

    Parameters
    ----------
    path : Path
        A plain FITS file; it is replaced by its annotated copy in one step.
    cards : mapping
        Values by keyword. Keywords of over 8 characters become HIERARCH cards. Text is freed of what a header
        cannot hold and cut to `MAX_TEXT` characters (to what one card holds after a HIERARCH keyword).

    Raises
    ------
    ValueError
        A keyword is no FITS keyword, or describes the file's structure.
    BadFileError
        The file cannot be read.
    SbcdarkError
        The file cannot be written.
    """
    with _contained(), opened(path, unscaled=True) as hdus:
        _add_cards(hdus[0].header, cards)
        _write(hdus, path)


def publish_drizzled(source: Path, target: Path) -> tuple[int, int]:
    """Bring a product of AstroDrizzle to its final place, with NaN in every pixel that has no weight.

    Where all input pixels are flagged, AstroDrizzle leaves the flagged pixel's own value in SCI (a hot pixel in full)
    with WHT = 0, and NaN only where nothing falls.

    Parameters
    ----------
    source : Path
        A multi-extension product with SCI and WHT, perhaps on another file system.
    target : Path
        The final name; it appears when the file is whole.

    Returns
    -------
    tuple of int
        Shape (ny, nx) of the product.

    Raises
    ------
    BadFileError
        The product has no SCI or WHT, or no pixel of it has weight.
    SbcdarkError
        The product cannot be written.
    """
    with _contained(), opened(source, unscaled=True) as hdus:
        science, weight = (_extension(hdus, name, source) for name in ("SCI", "WHT"))
        weighted = weight.data > 0
        if not weighted.any():
            raise BadFileError(f"No good pixel of the frames falls on {target.name}.", "Check that they overlap.")
        science.data = np.where(weighted, science.data, np.float32(np.nan))
        for hdu in [hdu for hdu in hdus if hdu.name == "CTX" and hdu.shape == ()]:
            hdus.remove(hdu)  # an empty extension: no context image is asked for
        hdus[0].header["NEXTEND"] = len(hdus) - 1
        _add_cards(hdus[0].header, {"FILENAME": target.name})
        _write(hdus, target)
        ny, nx = science.shape
    return int(ny), int(nx)


def write_simulated(target: Path, file: SimulatedFile) -> None:
    """Write one file of the simulated archive.

    Parameters
    ----------
    target : Path
        Its name, in a folder that exists.
    file : SimulatedFile
        Cards and arrays.

    Raises
    ------
    SbcdarkError
        The file cannot be written.
    """
    from astropy.io import fits  # noqa: PLC0415  costly, and light commands import this module

    with _contained():
        hdus = fits.HDUList([fits.PrimaryHDU(header=_header(file.cards))])
        for extension in file.extensions:
            header = _header(extension.cards)
            table = extension.data is not None and extension.data.dtype.names is not None
            hdu = (fits.BinTableHDU if table else fits.ImageHDU)(extension.data, header)
            hdus.append(hdu)
        _write(hdus, target)


def _header(cards: tuple[Card, ...]) -> Any:
    from astropy.io import fits  # noqa: PLC0415  costly, and light commands import this module

    return fits.Header([fits.Card(*card) for card in cards])


def _add_cards(header: Any, cards: Mapping[str, HeaderValue]) -> None:
    for name, value in cards.items():
        keyword = name.upper()
        if _STRUCTURE.fullmatch(keyword) or not _LONG_KEYWORD.fullmatch(keyword) or len(keyword) > 40:
            raise ValueError(f"{name!r} cannot be the keyword of a provenance card.")
        standard = _STANDARD_KEYWORD.fullmatch(keyword) is not None
        header.remove("CHECKSUM", ignore_missing=True)
        header[keyword if standard else f"HIERARCH {keyword}"] = _header_safe(value, None if standard else keyword)


def _header_safe(value: HeaderValue, long_keyword: str | None) -> HeaderValue:
    """Return a value that a card can hold: printable ASCII of bounded length, finite numbers."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if not isinstance(value, str):
        return value
    text = "".join(c if c.isascii() else "?" for c in value if c.isprintable())[:MAX_TEXT]
    if long_keyword is not None:
        # A HIERARCH card cannot be continued on the next: 80 characters hold keyword, text and doubled quotes.
        room = 80 - len(f"HIERARCH {long_keyword} = ''")
        while len(text.replace("'", "''")) > room:
            text = text[:-1]
    return text


def _extension(hdus: Any, name: str, source: Path) -> Any:
    try:
        hdu = hdus[name, 1]
    except KeyError:
        raise BadFileError(f"{source} has no {name} extension.", "Get the file again.") from None
    if not getattr(hdu, "shape", ()):
        raise BadFileError(f"The {name} extension of {source} holds no array.", "Use an FLT, not a RAW file.")
    return hdu


@contextmanager
def _contained() -> Iterator[None]:
    """Keep astropy's remarks on other people's headers from the user."""
    from astropy.utils.exceptions import AstropyWarning  # noqa: PLC0415  costly, and light commands import this module

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AstropyWarning)
        yield


def _write(hdus: Any, target: Path) -> None:
    """Write to a temporary name in the target's folder, then rename."""
    temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex}.part")
    try:
        hdus.writeto(temporary, output_verify="silentfix+ignore")
        temporary.replace(target)
    except OSError as problem:
        # astropy tells of a full disk without a number.
        full = problem.errno in (None, errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        todo = f"Free some space on the disk of {target.parent}, " if full else f"Make {target.parent} writable, "
        reason = problem.strerror or ("the disk is full" if problem.errno is None else problem)
        raise SbcdarkError(
            f"{target} could not be written: {reason}.", f"{todo}or name another folder with -o."
        ) from problem
    finally:
        temporary.unlink(missing_ok=True)
