"""Opening files that are not trusted: bounded in memory, whatever is wrong told as one reason.

With `frames` and `pixels` this is the only place where FITS files are read.
"""

from __future__ import annotations

import gzip
import io
import os
import warnings
import zlib
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO
from urllib.parse import unquote_to_bytes, urlsplit

from sbcdark.catalog.errors import BadFileError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from astropy.io.fits import HDUList

LARGEST_FILE = 64 * 2**20
"""Bytes; an FLT with all its extensions is 10.5 MB. More is refused, packed or unpacked."""


class NotOursError(Exception):
    """The file is sound, or may be, but is none that the catalog keeps."""


class UnsoundError(Exception):
    """The file claims to be one of ours and cannot be trusted."""


def bounded(file: BinaryIO, size: int) -> bytes:
    """Return a file's bytes.

    Raises
    ------
    UnsoundError
        There are more than `LARGEST_FILE`.
    """
    if size > LARGEST_FILE:
        raise UnsoundError(f"{size} bytes, where an SBC file has at most {LARGEST_FILE}")
    # A file that grows while it is read has another size at the next ingest, and is read again then.
    return file.read(size + 1)


def unpacked(content: bytes) -> bytes:
    """Return bytes freed of gzip, if they are packed so.

    Raises
    ------
    UnsoundError
        The stream is broken, or unpacks to more than `LARGEST_FILE`.
    """
    if content[:2] != b"\x1f\x8b":
        return content
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(content)) as packed:
            unpacked = packed.read(LARGEST_FILE + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise UnsoundError(f"its gzip stream is broken: {error}") from error
    if len(unpacked) > LARGEST_FILE:
        raise UnsoundError(f"it unpacks to more than {LARGEST_FILE} bytes")
    return unpacked


@contextmanager
def reasons() -> Iterator[None]:
    """Turn whatever astropy raises or warns of a broken file inside the block into one `UnsoundError`."""
    from astropy.utils.exceptions import AstropyUserWarning  # noqa: PLC0415  the commands that read no file need not wait

    try:
        with warnings.catch_warnings():
            # "File may have been truncated" is a warning to astropy and a reason to us; other remarks on style
            # (a card that could be written better) are none.
            warnings.simplefilter("ignore")
            warnings.filterwarnings("error", message="(?s).*truncated.*", category=AstropyUserWarning)
            warnings.filterwarnings("error", message="(?s).*Error validating header.*", category=AstropyUserWarning)
            yield
    except (NotOursError, UnsoundError):
        raise
    except Exception as error:
        # Damaged headers bring astropy to raise errors of every kind, AssertionError among them.
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise UnsoundError(f"its FITS structure is broken: {clean(reason)}") from error


def open_content(content: bytes, *, unscaled: bool = False) -> HDUList:
    """Return the HDUs of FITS content, all headers found and as many extensions there as the first one promises.

    Parameters
    ----------
    content : bytes
        A whole FITS file, unpacked.
    unscaled : bool
        Leave the pixels as they lie in the file, so that they are written back byte for byte.

    Raises
    ------
    UnsoundError
        It is no sound FITS file.
    """
    from astropy.io import fits  # noqa: PLC0415  the commands that read no file need not wait for it

    if not content.startswith(b"SIMPLE  ="):
        raise UnsoundError("no FITS file (it does not begin with SIMPLE)")
    with reasons():
        hdus = fits.open(io.BytesIO(content), memmap=False, do_not_scale_image_data=unscaled)
        extensions, promised = len(hdus) - 1, hdus[0].header.get("NEXTEND", 0)
        if isinstance(promised, int) and extensions < promised:
            raise UnsoundError(f"truncated: {extensions} of {promised} extensions are there")
        return hdus


def clean(text: str) -> str:
    """Strip blanks and everything that could act on a terminal."""
    return "".join(letter for letter in text if letter.isprintable()).strip()


def local_path(uri: str) -> Path:
    """Return the path of a `file:` URI.

    Raises
    ------
    BadFileError
        It is another kind of URI.
    """
    parts = urlsplit(uri)
    if parts.scheme != "file":
        raise BadFileError(f"{uri} is not on this machine.", "Ingest a local copy.")
    return Path(os.fsdecode(unquote_to_bytes(parts.path)))


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return unpacked(bounded(file, os.fstat(file.fileno()).st_size))
    except OSError as error:
        reason = error.strerror or str(error)
        raise BadFileError(
            f"{path} cannot be read: {reason}.", "Bring it back, or ingest the folder where it is now."
        ) from error
    except UnsoundError as error:
        raise BadFileError(f"{path} cannot be trusted: {error}.", "Get the file again and ingest it.") from error


@contextmanager
def opened(path: Path, *, unscaled: bool = False) -> Iterator[HDUList]:
    """Open a FITS file, plain or gzipped, from memory, every array read.

    Parameters
    ----------
    path : Path
        The file.
    unscaled : bool
        Leave the pixels as they lie in the file, so that they are written back byte for byte.

    Raises
    ------
    BadFileError
        It is gone or broken.
    """
    content = _content(path)
    try:
        hdus = open_content(content, unscaled=unscaled)
        with reasons():
            for hdu in hdus:
                _ = hdu.data
    except UnsoundError as error:
        raise BadFileError(f"{path} cannot be trusted: {error}.", "Get the file again and ingest it.") from error
    with hdus:
        yield hdus


def require_whole(path: Path, rootname: str) -> None:
    """Check that a file is a whole FITS file, every extension and pixel there, of the exposure that it is said to be.

    Raises
    ------
    BadFileError
        It is not; the error says in what.
    """
    with opened(path) as hdus:
        named = hdus[0].header.get("ROOTNAME")
    if not isinstance(named, str) or named.strip().lower() != rootname:
        raise BadFileError(f"it is of {clean(str(named))[:20]!r}")
