"""Decompression of gzip, bzip2 and xz streams in chunks."""

from __future__ import annotations

import bz2
import lzma
import zlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

BROKEN = (zlib.error, OSError, lzma.LZMAError)
"""Exceptions of a broken stream."""

_PIECE = 2**16
"""Bytes decompressed at a time."""

_LARGEST_DICTIONARY = 80 * 2**20
"""Memory in bytes for the dictionary of an xz stream."""


class _GzipStream:
    """One stream of a gzip file."""

    def __init__(self) -> None:
        self._stream = zlib.decompressobj(wbits=31)

    @property
    def eof(self) -> bool:
        return self._stream.eof

    @property
    def unused_data(self) -> bytes:
        return self._stream.unused_data

    def pieces(self, packed: bytes) -> Iterator[bytes]:
        while packed and not self.eof:
            yield self._stream.decompress(packed, _PIECE)
            packed = self._stream.unconsumed_tail


class _Stream:
    """One stream of a bzip2 or xz file."""

    def __init__(self, stream: bz2.BZ2Decompressor | lzma.LZMADecompressor) -> None:
        self._stream = stream

    @property
    def eof(self) -> bool:
        return self._stream.eof

    @property
    def unused_data(self) -> bytes:
        return self._stream.unused_data

    def pieces(self, packed: bytes) -> Iterator[bytes]:
        yield self._stream.decompress(packed, _PIECE)
        while not self._stream.eof and not self._stream.needs_input:
            yield self._stream.decompress(b"", _PIECE)


PACKINGS: dict[str, tuple[bytes, Callable[[], _GzipStream | _Stream]]] = {
    "gzip": (b"\x1f\x8b", _GzipStream),
    "bzip2": (b"BZh", lambda: _Stream(bz2.BZ2Decompressor())),
    # The dictionary of a stream is in memory; `xz -9` needs 65 MB.
    "xz": (b"\xfd7zXZ\x00", lambda: _Stream(lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_LARGEST_DICTIONARY))),
}
"""The first bytes of a compressed file, and the reader of one of its streams."""
