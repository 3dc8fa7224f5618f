"""What an ingest needs of a file that stays remote: its headers and the rows of two regions, by byte ranges."""

from __future__ import annotations

import hashlib
import io
import os
from bisect import insort
from functools import partial
from typing import TYPE_CHECKING, Any

from sbcdark.catalog.records import FileReading, Refusal
from sbcdark.pipeline import frames, remote
from sbcdark.pipeline.fits_input import NotOursError, UnsoundError, unpacked
from sbcdark.pipeline.regions import BOX, QUIET
from sbcdark.pipeline.remote_faults import ChangedError, NoRangesError, RemoteRefusedError
from sbcdark.pipeline.remote_names import file_name
from sbcdark.pipeline.remote_stat import require_bounded

if TYPE_CHECKING:
    from collections.abc import Callable

    from sbcdark.catalog.records import KnownFile
    from sbcdark.pipeline.remote_stat import RemoteStat

REMOTE_REGIONS = (BOX, QUIET)
"""What is measured of a file that is not read whole: what the rules rank by."""

_FIRST = 20 * 2880
"""Bytes drawn first: the headers of SCI and before it, in a RAW 8 blocks. The quiet rows follow at once."""

_AHEAD = 4 * 2880
"""Least bytes drawn later: the headers of the ERR and DQ extensions of a RAW, which end the file."""

_MOST_PARTS = 64
"""An FLT has eight headers and as many small tables: what asks for more is not read on."""

_TRIES = 2
"""So often a file that changes while it is read is begun with."""


def read_remote(
    uri: str, known: KnownFile | None = None, found: RemoteStat | None = None, *, checksum: bool = True
) -> FileReading | Refusal | None:
    """Read headers and regions of one remote file, if it is not known as it is now.

    Parameters
    ----------
    uri : str
        As `remote_names.remote_uri` returns it, of a RAW, FLT or ASN, plain or gzipped.
    known : KnownFile, optional
        What the catalog knows of it.
    found : RemoteStat, optional
        What a listing said of it just now; else the server is asked.
    checksum : bool
        Whether the sha256 is taken of what has to be read whole. There is none of what is not.

    Returns
    -------
    FileReading, Refusal or None
        A refusal has a reason in words; None where the file is known, and unchanged by size, time and ETag.

    Raises
    ------
    UnreachableError
        The host cannot be reached.
    """
    try:
        return _read(uri, known, found, checksum=checksum)
    except NotOursError as error:
        return Refusal(uri, str(error), ignored=True)
    except UnsoundError as error:
        return Refusal(uri, str(error), ignored=False)


def _read(
    uri: str, known: KnownFile | None, found: RemoteStat | None, *, checksum: bool
) -> FileReading | Refusal | None:
    kind = frames.kind_of_ours(file_name(uri))
    for tries_left in reversed(range(_TRIES)):
        found = found or remote.stat(uri)
        if found is None:
            raise UnsoundError("it is not there, the server says")
        if known is not None and _unchanged(known, found):
            return None
        try:
            return _read_found(uri, kind, found, checksum=checksum)
        except ChangedError:
            if not tries_left:
                raise
            found = None
    raise AssertionError  # pragma: no cover  the last round returns or raises


def _unchanged(known: KnownFile, found: RemoteStat) -> bool:
    return (
        known.state == "present"
        and found.marked
        and (known.mtime_ns, known.etag) == (found.mtime_ns, found.etag)
        and found.size_byte in {None, known.size_byte}
    )


def _read_found(uri: str, kind: str, found: RemoteStat, *, checksum: bool) -> FileReading | Refusal:
    size = found.size_byte
    try:
        require_bounded(found)
        # Where a change would not show, only the checksum of the whole file tells whether it is known.
        if size is not None and found.ranges and found.marked and kind != "ASN" and not uri.endswith(".gz"):
            try:
                parts = _Parts(size, partial(remote.read_range, uri, found))
                exposure, association = frames.parse(parts, kind, REMOTE_REGIONS)
                return FileReading(uri, kind, size, found.mtime_ns, None, exposure, association, found.etag)
            except NoRangesError:
                pass
        content = remote.read_whole(uri, found)
        digest = hashlib.sha256(content).hexdigest() if checksum else None
        exposure, association = frames.parse(unpacked(content), kind)
        return FileReading(uri, kind, len(content), found.mtime_ns, digest, exposure, association, found.etag)
    except (ChangedError, RemoteRefusedError):
        raise
    except (NotOursError, UnsoundError) as error:
        return Refusal(uri, str(error), isinstance(error, NotOursError), size or 0, found.mtime_ns)


class _Parts(io.RawIOBase):
    """A binary file of which only the parts that are read are drawn, each once."""

    def __init__(self, size: int, draw: Callable[[int, int], bytes]) -> None:
        super().__init__()
        self._size = size
        self._draw = draw
        self._held: list[tuple[int, bytes]] = []
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        self._at = max(0, start + offset)
        return self._at

    def readinto(self, buffer: Any) -> int:
        start, stop = self._at, max(self._at, min(self._at + len(buffer), self._size))
        for gap_start, gap_stop in self._gaps(start, stop):
            insort(self._held, (gap_start, self._draw(gap_start, gap_stop)))
            if len(self._held) > _MOST_PARTS:
                raise UnsoundError("its headers do not end where those of an SBC file do")
        for begin, content in self._held:
            first, last = max(start, begin), min(stop, begin + len(content))
            if first < last:
                buffer[first - start : last - start] = content[first - begin : last - begin]
        self._at = stop
        return stop - start

    def _gaps(self, start: int, stop: int) -> list[tuple[int, int]]:
        """Return the parts of a stretch that are not held, the last one with what is likely to be read next."""
        gaps = []
        ends = [(begin, begin + len(content)) for begin, content in self._held]
        for begin, end in [*ends, (self._size, self._size)]:
            if start >= stop:
                break
            if start < begin:
                ahead = start + (_AHEAD if self._held else _FIRST)
                gaps.append((start, min(begin, max(stop, ahead))))
            start = max(start, end)
        return gaps
