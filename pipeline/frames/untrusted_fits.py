"""Opening files that are not trusted: bounded in memory, whatever is wrong told as one reason.

With `frames` and `pixels` this is the only place where FITS files are read.
"""

from __future__ import annotations

import hashlib
import io
import os
import shlex
import stat
import warnings
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO
from urllib.parse import unquote_to_bytes, urlsplit

from sbcdark.catalog.errors import BadFileError, SbcdarkError
from sbcdark.pipeline.frames.compression import BROKEN, PACKINGS
from sbcdark.pipeline.frames.fits_structure import StructureError, check_structure

if TYPE_CHECKING:
    from collections.abc import Iterator

    from astropy.io.fits import HDUList

    from sbcdark.catalog.records import FileRecord

LARGEST_FILE = 64 * 2**20
"""Bytes; an FLT with all its extensions is 10.5 MB. More is refused, packed or unpacked."""


_PIECE = 2**16
"""Bytes that are packed or unpacked at a time."""

_MOST_STREAMS = 2000
"""Parts of a gzip file: `bgzip` makes one of every 64 kB."""


class NotOursError(Exception):
    """The file is sound, or may be, but is none that the catalog keeps."""


class UnsoundError(Exception):
    """The file claims to be one of ours and cannot be trusted."""


def open_regular(path: Path) -> BinaryIO:
    """Open a file for reading, if it is one: a FIFO would block, a device never end.

    Raises
    ------
    OSError
        It cannot be opened.
    UnsoundError
        It is a FIFO, a device or a folder.
    """
    # Looked at when it is open: what stood at the path before may have been another thing.
    file = os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb")
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise UnsoundError("no regular file")
    return file


def modified_ns(status: os.stat_result) -> int:
    """Return when a file was changed, in nanoseconds since 1970, within the 64 bits that a database holds."""
    return max(-(2**63), min(2**63 - 1, status.st_mtime_ns))


def require_unchanged(file: BinaryIO, before: os.stat_result) -> None:
    """Refuse a file that was written to while it was read: what was read may be half of each.

    Raises
    ------
    UnsoundError
    """
    after = os.fstat(file.fileno())
    if (after.st_size, after.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
        raise UnsoundError("it changed while it was read")


def bounded(file: BinaryIO, size: int) -> bytes:
    """Return a file's bytes.

    Raises
    ------
    UnsoundError
        There are more than `LARGEST_FILE`.
    """
    if size > LARGEST_FILE:
        raise UnsoundError(f"{size} bytes, where an SBC file has at most {LARGEST_FILE}")
    # One more than it had: a file that grows while it is read is never read without end.
    return file.read(size + 1)


def unpacked(content: bytes) -> bytes:
    """Return bytes freed of gzip, bzip2 or xz, if they are packed so.

    Raises
    ------
    UnsoundError
        The stream is broken, or unpacks to more than `LARGEST_FILE`.
    """
    name = next((name for name, (magic, _) in PACKINGS.items() if content.startswith(magic)), None)
    if name is None:
        return content
    pieces: list[bytes] = []
    place = size = 0
    # Not `gzip` and its like: they read headers byte by byte in Python, so that an endless one, or millions of empty
    # streams one after the other, keep them busy for half a minute.
    for _ in range(_MOST_STREAMS):
        stream = PACKINGS[name][1]()
        while not stream.eof:
            packed = content[place : place + _PIECE]
            if not packed:
                raise UnsoundError(f"its {name} stream is broken: it ends too early")
            place += len(packed)
            try:
                for piece in stream.pieces(packed):
                    pieces.append(piece)
                    size += len(piece)
                    if size > LARGEST_FILE:
                        raise UnsoundError(f"it unpacks to more than {LARGEST_FILE} bytes")
            except BROKEN as error:
                raise UnsoundError(f"its {name} stream is broken: {error}") from error
        place -= len(stream.unused_data)
        # Streams follow one another in files that were packed in parallel; tapes pad with zeros.
        if place == len(content) or (content[place] == 0 and content.count(0, place) == len(content) - place):
            return b"".join(pieces)
    raise UnsoundError(f"its {name} stream is broken: it has more than {_MOST_STREAMS} parts")


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
    except (NotOursError, UnsoundError, SbcdarkError):
        raise
    except Exception as error:
        # Damaged headers bring astropy to raise errors of every kind, AssertionError among them.
        reason = clean(" ".join(str(error)[:1000].split()))[:200] or type(error).__name__
        raise UnsoundError(f"its FITS structure is broken: {reason}") from error


def open_content(content: bytes | io.RawIOBase) -> HDUList:
    """Return the HDUs of FITS content, all headers found and as many extensions there as the first one promises.

    Parameters
    ----------
    content : bytes or binary file
        A whole FITS file, unpacked; of a file only what is asked for is read.

    Raises
    ------
    UnsoundError
        It is no sound FITS file.
    """
    from astropy.io import fits  # noqa: PLC0415  the commands that read no file need not wait for it

    file = io.BytesIO(content) if isinstance(content, bytes) else content
    if file.read(9) != b"SIMPLE  =":
        raise UnsoundError("no FITS file (it does not begin with SIMPLE)")
    try:
        check_structure(file)
    except StructureError as error:
        raise UnsoundError(str(error)) from error
    file.seek(0)
    with reasons():
        # A compressed image is no HST product, and unpacks to as much as it likes.
        hdus = fits.open(file, memmap=False, disable_image_compression=True)
        extensions, promised = len(hdus) - 1, card_value(hdus[0].header, "NEXTEND")
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


def card_value(header: Any, keyword: str) -> Any:
    """Return the value of a header's card; None where there is no such card, or none that can be read."""
    from astropy.io.fits import VerifyError  # noqa: PLC0415  the commands that read no file need not wait for it

    try:
        return header.get(keyword)
    except VerifyError:
        return None


def drop_broken_cards(hdus: HDUList) -> list[str]:
    """Take out the cards that astropy cannot read; return their keywords.

    A writer would put their text in quotes, and a number that cannot be read would come back as text.
    """
    from astropy.io.fits import VerifyError  # noqa: PLC0415  the commands that read no file need not wait for it

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
    """Return the bytes of a file, unpacked; it is opened once.

    Parameters
    ----------
    path : Path
        A FITS file, plain or packed by gzip, bzip2 or xz.
    known : FileRecord, optional
        What the ingest found. The file on disk has to be that one: the same size, and the same time or else the same
        sha256 of the very bytes that are returned. The cache has its own times for files of a server, so that their
        size and sha256 alone are compared.

    Raises
    ------
    BadFileError
        It is gone, cannot be read, changes while it is read, or changed after it was ingested.
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
            f"{path} cannot be read: {reason}.", "Bring it back, or ingest the folder where it is now."
        ) from error
    except UnsoundError as error:
        raise _not_trusted(path, error) from error


def _require_ingested(path: Path, mtime_ns: int, content: bytes, known: FileRecord) -> None:
    local = urlsplit(known.uri).scheme == "file"
    differs = ""
    if len(content) != known.size_byte:
        differs = f"size differs ({len(content)} bytes, not {known.size_byte})"
    elif local and mtime_ns == known.mtime_ns:
        return
    elif known.sha256 is None:
        differs = "time differs, and its checksum is not known" if local else ""
    elif hashlib.sha256(content).hexdigest() != known.sha256:
        differs = "content differs"
    if differs:
        what = f"{path} changed after it was ingested: its {differs}."
        raise BadFileError(what, f"Ingest it again: sbcdark ingest {shlex.quote(str(path))}")


def _not_trusted(path: Path, error: UnsoundError) -> BadFileError:
    return BadFileError(f"{path} cannot be trusted: {error}.", "Get the file again and ingest it.")


@contextmanager
def trusted(path: Path) -> Iterator[None]:
    """Turn whatever a broken file raises inside the block into one `BadFileError` that names the file."""
    try:
        with reasons():
            yield
    except UnsoundError as error:
        raise _not_trusted(path, error) from error


@contextmanager
def opened(path: Path, known: FileRecord | None = None) -> Iterator[HDUList]:
    """Open a FITS file, plain or packed, from memory, every array read; cards that cannot be read are left out.

    Parameters
    ----------
    path : Path
        The file.
    known : FileRecord, optional
        What the ingest found; the file has to be that one (see `read_content`).

    Raises
    ------
    BadFileError
        It is gone, broken, or not the file that was ingested.
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
    """Open a product that this program made itself: it may be of any size, and is read as it is asked for.

    Raises
    ------
    BadFileError
        It is gone or broken.
    """
    from astropy.io import fits  # noqa: PLC0415  the commands that read no file need not wait for it

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
    """Return the sha256 of a file as it lies on disk."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def require_whole(path: Path, rootname: str) -> None:
    """Check that a file is a whole FITS file, every extension and pixel there, of the exposure that it is said to be.

    Raises
    ------
    BadFileError
        It is not; the error says in what.
    """
    with opened(path) as hdus:
        named = card_value(hdus[0].header, "ROOTNAME")
    if not isinstance(named, str) or named.strip().lower() != rootname:
        raise BadFileError(f"it is of {clean(str(named))[:20]!r}")
