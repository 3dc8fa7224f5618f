"""Writing of FITS files: each file is written under a temporary name and renamed once it is complete."""

from __future__ import annotations

import errno
import math
import re
import textwrap
import uuid
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from sbcdark.catalog.errors import SbcdarkError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from astropy.io.fits import BinTableHDU, HDUList
    from numpy.typing import NDArray

    from sbcdark.pipeline.frames.pixels import Product


HeaderValue = str | int | float | bool | None
"""Values of a provenance card; None (and NaN, which FITS cannot hold) gives a card without a value."""

MAX_TEXT = 1000
"""Longest provenance value in characters: a value may come from another file's header, which is untrusted."""

_STANDARD_KEYWORD = re.compile(r"[A-Z0-9_-]{1,8}")
_LONG_KEYWORD = re.compile(r"[A-Z0-9_-]+( [A-Z0-9_-]+)*")
_STRUCTURE = re.compile(r"SIMPLE|XTENSION|BITPIX|NAXIS\d*|EXTEND|PCOUNT|GCOUNT|END|COMMENT|HISTORY|CONTINUE")


ERROR_COMMENT = (
    "Error of each single pixel. Neighbouring pixels are correlated, since they share native counts: the error of a "
    "sum is not the root of the sum of squares. Use the aperture errors of the photometry."
)
"""What the header of an ERR extension says."""


def write_science_product(
    target: Path,
    drizzled: HDUList,
    science: NDArray[np.float32],
    cards: Mapping[str, HeaderValue],
    history: Sequence[str] = (),
) -> None:
    """Write a drizzled product: SCI (count/s, NaN without weight) and WHT (s), with AstroDrizzle's headers.

    Parameters
    ----------
    target : Path
        The file; it appears once it is complete.
    drizzled : HDUList
        The product as AstroDrizzle wrote it.
    science : ndarray of float32, shape (ny, nx)
        count/s, NaN without weight.
    cards : mapping
        Provenance cards for the primary header, values by keyword. Keywords of more than 8 characters become
        HIERARCH cards. Characters that a header cannot hold are removed, and text is cut to `MAX_TEXT` characters (to
        one card after a HIERARCH keyword).
    history : sequence of str
        Sentences for HISTORY cards of the primary header.

    Raises
    ------
    ValueError
        A keyword is not a FITS keyword, or describes the structure of the file.
    SbcdarkError
        The file cannot be written.
    """
    from astropy.io import fits  # noqa: PLC0415  costly, and light commands import this module

    with quiet_astropy():
        # AstroDrizzle leaves an empty CTX extension even without a context image.
        hdus = fits.HDUList([fits.PrimaryHDU(header=drizzled[0].header.copy())])
        hdus += [hdu for hdu in drizzled[1:] if not (hdu.name == "CTX" and hdu.shape == ())]
        hdus["SCI", 1].data = science
        _write_with_cards(hdus, target, cards, history)


def write_dark_product(
    target: Path,
    drizzled: HDUList,
    dark: NDArray[np.float32],
    error: NDArray[np.float32],
    cards: Mapping[str, HeaderValue],
    history: Sequence[str] = (),
    tables: Sequence[BinTableHDU] = (),
) -> None:
    """Write the masterdark on the grid of a science product: SCI and ERR, count/s, with that product's headers.

    Parameters
    ----------
    target, drizzled, cards, history
        As for `write_science_product`.
    dark, error : ndarray of float32, shape (ny, nx)
        count/s.
    tables : sequence of BinTableHDU
        Tables to append: the exposures and their darks.

    Raises
    ------
    ValueError, SbcdarkError
        As for `write_science_product`.
    """
    _write_on_grid(target, drizzled, dark, error, cards, history, tables)


def write_net_product(
    target: Path,
    drizzled: HDUList,
    net: NDArray[np.float32],
    error: NDArray[np.float32],
    cards: Mapping[str, HeaderValue],
    history: Sequence[str] = (),
    tables: Sequence[BinTableHDU] = (),
) -> None:
    """Write the dark-subtracted product: SCI and ERR, count/s, and WHT, s, with the science product's headers.

    Parameters
    ----------
    target, drizzled, cards, history, tables
        As for `write_dark_product`.
    net, error : ndarray of float32, shape (ny, nx)
        count/s.

    Raises
    ------
    ValueError, SbcdarkError
        As for `write_science_product`.
    """
    _write_on_grid(target, drizzled, net, error, cards, history, [drizzled["WHT", 1].copy(), *tables])


def write_grid(target: Path, product: Product) -> None:
    """Write an empty image with the linear WCS and the shape of a product, as a reference image for AstroDrizzle."""
    from astropy.io import fits  # noqa: PLC0415  costly, and light commands import this module

    header = product.wcs.to_header()
    for (row, column), value in np.ndenumerate(product.wcs.pixel_scale_matrix):
        header[f"CD{row + 1}_{column + 1}"] = value
    for keyword in ("PC1_1", "PC1_2", "PC2_1", "PC2_2", "CDELT1", "CDELT2"):
        header.remove(keyword, ignore_missing=True)
    image = fits.ImageHDU(np.zeros(product.science.shape, np.int16), header=header, name="SCI")
    image.header["EXTVER"] = 1
    write_whole(fits.HDUList([fits.PrimaryHDU(), image]), target)


def _write_on_grid(
    target: Path,
    drizzled: HDUList,
    image: NDArray[np.float32],
    error: NDArray[np.float32],
    cards: Mapping[str, HeaderValue],
    history: Sequence[str],
    more: Sequence[Any],
) -> None:
    """Write an image and its error with the headers of the product whose grid they are on, and more HDUs."""
    from astropy.io import fits  # noqa: PLC0415  costly, and light commands import this module

    with quiet_astropy():
        header = drizzled["SCI", 1].header
        hdus = fits.HDUList(
            [
                fits.PrimaryHDU(header=drizzled[0].header.copy()),
                fits.ImageHDU(image, header=header, name="SCI"),
                fits.ImageHDU(error, header=header, name="ERR"),
                *more,
            ]
        )
        add_text(hdus["ERR"].header, "COMMENT", [ERROR_COMMENT])
        _write_with_cards(hdus, target, cards, history)


def _write_with_cards(hdus: Any, target: Path, cards: Mapping[str, HeaderValue], history: Sequence[str]) -> None:
    hdus[0].header["NEXTEND"] = len(hdus) - 1
    add_cards(hdus[0].header, {**cards, "FILENAME": target.name})
    add_text(hdus[0].header, "HISTORY", history)
    # AstroDrizzle has verified its headers, and astropy what was added: all again would take as long as the writing.
    write_whole(hdus, target, verify="ignore")


def add_text(header: Any, keyword: str, sentences: Sequence[str]) -> None:
    """Add sentences as HISTORY or COMMENT cards, broken between words, before those that are there."""
    lines = [line for text in sentences for line in textwrap.wrap(str(_header_safe(text, None)), 72)]
    place = header.index(keyword) if keyword in header else len(header)
    for number, line in enumerate(lines):
        header.insert(place + number, (keyword, line))


def read_cards(path: Path) -> dict[str, Any]:
    """Return the cards of a file's primary header; an empty dict if the file is not readable as FITS."""
    from astropy.io import fits  # noqa: PLC0415  costly, and light commands import this module

    with quiet_astropy():
        try:
            header = fits.getheader(path, 0)
            return {card.keyword: card.value for card in header.cards if card.keyword.startswith("DRK")}
        except (OSError, fits.VerifyError, ValueError):
            return {}


def add_cards(header: Any, cards: Mapping[str, HeaderValue]) -> None:
    """Set cards of a header, with values that FITS can hold.

    Raises
    ------
    ValueError
        A keyword is not a FITS keyword, or describes the structure of the file.
    """
    for name, value in cards.items():
        keyword = name.upper()
        if _STRUCTURE.fullmatch(keyword) or not _LONG_KEYWORD.fullmatch(keyword) or len(keyword) > 40:
            raise ValueError(f"{name!r} is not allowed as the keyword of a provenance card.")
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
        # A HIERARCH card cannot continue on the next one: 80 characters hold keyword, text and doubled quotes.
        room = 80 - len(f"HIERARCH {long_keyword} = ''")
        while len(text.replace("'", "''")) > room:
            text = text[:-1]
    return text


@contextmanager
def quiet_astropy() -> Iterator[None]:
    """Suppress astropy's warnings about headers of other people's files."""
    from astropy.utils.exceptions import AstropyWarning  # noqa: PLC0415  costly, and light commands import this module

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AstropyWarning)
        yield


def write_whole(hdus: Any, target: Path, verify: str = "silentfix+ignore") -> None:
    """Write to a temporary name in the folder of the target, then rename; `verify` is astropy's `output_verify`."""
    temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex}.part")
    try:
        hdus.writeto(temporary, output_verify=verify)
        temporary.replace(target)
    except OSError as problem:
        # astropy reports a full disk without an error number.
        full = problem.errno in (None, errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        todo = f"Free some space on the disk of {target.parent}, " if full else f"Make {target.parent} writable, "
        reason = problem.strerror or ("the disk is full" if problem.errno is None else problem)
        raise SbcdarkError(f"Cannot write {target}: {reason}.", f"{todo}or give another folder with -o.") from problem
    finally:
        temporary.unlink(missing_ok=True)
