"""Opening untrusted files: in bounded memory, with one reason for anything that is wrong.

Together with `exposure_files` and `pixels`, the only place that reads FITS files.
"""

from __future__ import annotations

import hashlib
import io
import os
import shlex
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, BinaryIO

from sbcdark.catalog.errors import BadFileError, SbcdarkError
from sbcdark.catalog.roots import is_local, path_of
from sbcdark.pipeline.frames.compression import BROKEN, PACKINGS
from sbcdark.pipeline.frames.fits_structure import StructureError, check_structure
from sbcdark.pipeline.frames.plain_headers import PlainHeader
from sbcdark.pipeline.frames.strict_warnings import STRICT_WARNINGS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from astropy.io.fits import HDUList

    from sbcdark.catalog.records import FileRecord
    from sbcdark.pipeline.frames.fits_structure import Part

LARGEST_FILE = 64 * 2**20
"""Bytes; an FLT with all its extensions has 10.5 MB. Larger files are refused, compressed or not."""


_PIECE = 2**16
"""Bytes read or decompressed at a time."""

_MOST_STREAMS = 2000
"""Streams in one gzip file: `bgzip` makes one per 64 kB."""


class NotOursError(Exception):
    """The file is not one that the catalog stores; it may be a good file."""


class UnsoundError(Exception):
    """The file claims to be an SBC product and is bad."""


def open_regular(path: Path) -> BinaryIO:
    """Open a regular file for reading: a FIFO would block, a device never end.

    Raises
    ------
    OSError
        The file cannot be opened.
    UnsoundError
        The path is a FIFO, a device or a folder.
    """
    # Check after opening: before, the path may have pointed to another file.
    file = os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb")
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise UnsoundError("not a regular file")
    return file


def modified_ns(status: os.stat_result) -> int:
    """Return the modification time in nanoseconds since 1970, limited to the 64 bits of a database integer."""
    return max(-(2**63), min(2**63 - 1, status.st_mtime_ns))


def require_unchanged(file: BinaryIO, before: os.stat_result) -> None:
    """Refuse a file that was written to during the read: the content may be a mixture.

    Raises
    ------
    UnsoundError
    """
    after = os.fstat(file.fileno())
    if (after.st_size, after.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
        raise UnsoundError("changed while it was read")


def bounded(file: BinaryIO, size: int) -> bytes:
    """Return the bytes of a file.

    Raises
    ------
    UnsoundError
        The file is larger than `LARGEST_FILE`.
    """
    if size > LARGEST_FILE:
        raise UnsoundError(f"{size} bytes; an SBC file has at most {LARGEST_FILE}")
    # One byte more than its size: a file that grows during the read is not read without end.
    return file.read(size + 1)


def unpacked(content: bytes) -> bytes:
    """Return bytes decompressed from gzip, bzip2 or xz, or unchanged if they are not compressed.

    Raises
    ------
    UnsoundError
        The stream is broken, or decompresses to more than `LARGEST_FILE`.
    """
    name = next((name for name, (magic, _) in PACKINGS.items() if content.startswith(magic)), None)
    if name is None:
        return content
    # Not a list to be joined: twice the memory would be given back to the system and asked for again with every file.
    plain = io.BytesIO()
    place = 0
    # Not the `gzip` module and the like: they read headers byte by byte in Python, so an endless header or millions of
    # empty streams in sequence keep them busy for half a minute.
    for _ in range(_MOST_STREAMS):
        stream = PACKINGS[name][1]()
        while not stream.eof:
            packed = content[place : place + _PIECE]
            if not packed:
                raise UnsoundError(f"{name} stream is broken: it ends too early")
            place += len(packed)
            try:
                for piece in stream.pieces(packed):
                    plain.write(piece)
                    if plain.tell() > LARGEST_FILE:
                        raise UnsoundError(f"decompresses to more than {LARGEST_FILE} bytes")
            except BROKEN as error:
                raise UnsoundError(f"{name} stream is broken: {error}") from error
        place -= len(stream.unused_data)
        # Parallel compression writes streams one after another; tapes pad with zeros.
        if place == len(content) or (content[place] == 0 and content.count(0, place) == len(content) - place):
            return plain.getvalue()
    raise UnsoundError(f"{name} stream is broken: more than {_MOST_STREAMS} parts")


@contextmanager
def reasons() -> Iterator[None]:
    """Convert any exception or warning of astropy about a broken file inside the block to one `UnsoundError`."""
    try:
        with STRICT_WARNINGS:
            yield
    except (NotOursError, UnsoundError, SbcdarkError):
        raise
    except Exception as error:
        # Damaged headers make astropy raise errors of every kind, including AssertionError.
        reason = clean(" ".join(str(error)[:1000].split()))[:200] or type(error).__name__
        raise UnsoundError(f"FITS structure is broken: {reason}") from error


def open_content(content: bytes | io.RawIOBase) -> HDUList:
    """Return the HDUs of FITS content, with all headers read and the promised number of extensions.

    Parameters
    ----------
    content : bytes or binary file
        A complete FITS file, uncompressed; from a file, only what is needed is read.

    Raises
    ------
    UnsoundError
        The content is not a valid FITS file.
    """
    from astropy.io import fits  # noqa: PLC0415  needed only to read files

    file = io.BytesIO(content) if isinstance(content, bytes) else content
    structure_of(file)
    file.seek(0)
    with reasons():
        # A compressed image is not an HST product, and can decompress to any size.
        hdus = fits.open(file, memmap=False, disable_image_compression=True)
        require_promised(len(hdus) - 1, card_value(hdus[0].header, "NEXTEND"))
        return hdus


def structure_of(content: bytes | BinaryIO | io.RawIOBase) -> list[Part]:
    """Return the headers of FITS content, whose structure is checked.

    Raises
    ------
    UnsoundError
        The content does not begin as a FITS file, or its structure is broken.
    """
    file = io.BytesIO(content) if isinstance(content, bytes) else content
    if file.read(9) != b"SIMPLE  =":
        raise UnsoundError("not a FITS file (it does not begin with SIMPLE)")
    try:
        return check_structure(file)
    except StructureError as error:
        raise UnsoundError(str(error)) from error


def require_promised(extensions: int, promised: Any) -> None:
    """Refuse a file with fewer extensions than its primary header promises by NEXTEND.

    Raises
    ------
    UnsoundError
    """
    if isinstance(promised, int) and extensions < promised:
        raise UnsoundError(f"truncated: has {extensions} of {promised} extensions")


def clean(text: str) -> str:
    """Remove surrounding blanks and all characters that could control a terminal."""
    return "".join(letter for letter in text if letter.isprintable()).strip()


def local_path(uri: str) -> Path:
    """Return the path of a `file:` or `root:` URI.

    Raises
    ------
    BadFileError
        The URI is of another kind.
    UsageError
        This machine does not know its root.
    """
    if not is_local(uri):
        raise BadFileError(f"{uri} is not on this machine.", "Ingest a local copy.")
    return path_of(uri)


def card_value(header: Any, keyword: str) -> Any:
    """Return the value of a header card; None if the card is missing or unreadable."""
    if isinstance(header, PlainHeader):
        return header.get(keyword)
    from astropy.io.fits import VerifyError  # noqa: PLC0415  needed only to read files

    try:
        return header.get(keyword)
    except VerifyError:
        return None


def drop_broken_cards(hdus: HDUList) -> list[str]:
    """Remove the cards that astropy cannot read; return their keywords.

    A writer would quote their text, and an unreadable number would come back as text.
    """
    from astropy.io.fits import VerifyError  # noqa: PLC0415  needed only to read files

    broken: list[str] = []
    for hdu in hdus:
        for place in reversed(range(len(hdu.header.cards))):
            card = hdu.header.cards[place]
            try:
                _ = card.value
            except VerifyError:
                broken.append(card.keyword)
                del hdu.header[place]
    return broken


def read_content(path: Path, known: FileRecord | None = None) -> bytes:
    """Return the bytes of a file, uncompressed; the file is opened once.

    Parameters
    ----------
    path : Path
        A FITS file, plain or compressed by gzip, bzip2 or xz.
    known : FileRecord, optional
        The file as ingested. The file on disk must be the same: equal in size, and in time or else in the sha256 of
        the returned bytes. The cache sets its own times on files of a server, so only their size and sha256 are
        compared.

    Raises
    ------
    BadFileError
        The file is missing, unreadable, changes during the read, or changed after it was ingested.
    """
    try:
        with open_regular(path) as file:
            status = os.fstat(file.fileno())
            content = bounded(file, status.st_size)
            require_unchanged(file, status)
        if known is not None:
            _require_ingested(path, modified_ns(status), content, known)
        return unpacked(content)
    except OSError as error:
        reason = error.strerror or str(error)
        raise BadFileError(
            f"{path} cannot be read: {reason}.", "Restore it, or ingest the folder where it is now."
        ) from error
    except UnsoundError as error:
        raise _not_trusted(path, error) from error


def _require_ingested(path: Path, mtime_ns: int, content: bytes, known: FileRecord) -> None:
    local = is_local(known.uri)
    differs = ""
    if len(content) != known.size_byte:
        differs = f"size differs ({len(content)} bytes, not {known.size_byte})"
    elif local and mtime_ns == known.mtime_ns:
        return
    elif known.sha256 is None:
        differs = "time differs, and its checksum is unknown" if local else ""
    elif hashlib.sha256(content).hexdigest() != known.sha256:
        differs = "content differs"
    if differs:
        what = f"{path} changed after it was ingested: its {differs}."
        raise BadFileError(what, f"Ingest it again: sbcdark ingest {shlex.quote(str(path))}")


def _not_trusted(path: Path, error: UnsoundError) -> BadFileError:
    return BadFileError(f"{path} is not usable: {error}.", "Get the file again and ingest it.")


@contextmanager
def trusted(path: Path) -> Iterator[None]:
    """Convert any exception about a broken file inside the block to one `BadFileError` that names the file."""
    try:
        with reasons():
            yield
    except UnsoundError as error:
        raise _not_trusted(path, error) from error


@contextmanager
def opened(path: Path, known: FileRecord | None = None) -> Iterator[HDUList]:
    """Open a FITS file, plain or compressed, in memory, with every array read; unreadable cards are removed.

    Parameters
    ----------
    path : Path
        The file.
    known : FileRecord, optional
        The file as ingested; the file on disk must be the same (see `read_content`).

    Raises
    ------
    BadFileError
        The file is missing, broken, or not the ingested one.
    """
    content = read_content(path, known)
    with trusted(path):
        hdus = open_content(content)
        for hdu in hdus:
            _ = hdu.data
        drop_broken_cards(hdus)
    with hdus:
        yield hdus


@contextmanager
def opened_product(path: Path) -> Iterator[HDUList]:
    """Open a product of this program; it may have any size and is read lazily.

    Raises
    ------
    BadFileError
        The file is missing or broken.
    """
    from astropy.io import fits  # noqa: PLC0415  needed only to read files

    try:
        file = open_regular(path)
    except OSError as error:
        raise BadFileError(f"{path} cannot be read: {error.strerror or error}.", "Make it again.") from error
    except UnsoundError as error:
        raise _not_trusted(path, error) from error
    with file:
        with trusted(path):
            hdus = fits.open(file, memmap=False, lazy_load_hdus=False)
        with hdus:
            yield hdus


def file_sha256(path: Path) -> str:
    """Return the sha256 of a file as stored on disk."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def require_whole(path: Path, rootname: str) -> None:
    """Check that a file is a complete FITS file, with every extension and pixel, of the exposure `rootname`.

    Raises
    ------
    BadFileError
        The check fails; the error gives the reason.
    """
    with opened(path) as hdus:
        named = card_value(hdus[0].header, "ROOTNAME")
    if not isinstance(named, str) or named.strip().lower() != rootname:
        raise BadFileError(f"ROOTNAME is {clean(str(named))[:20]!r}")
