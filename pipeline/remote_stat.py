"""What a server says of a file, and drawing an answer: what HTTP and S3 have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from sbcdark.pipeline.fits_input import LARGEST_FILE, UnsoundError
from sbcdark.pipeline.remote_faults import BrokenOffError, RemoteRefusedError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import datetime

CONNECT_S = 10.0
"""A host that does not take a connection for so long is not there, s."""

SILENCE_S = 30.0
"""A server that sends nothing for so long is given up, s."""

LARGEST_INTEGER = 2**62
"""What is said to be larger is kept as this: databases have 64 bits."""

_CHUNK = 2**18

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class RemoteStat:
    """What a server says of a file without sending it.

    Attributes
    ----------
    size_byte : int or None
        None where it does not say.
    mtime_ns : int
        Last-Modified, nanoseconds since 1970; 0 where it does not say.
    etag : str or None
        The server's mark of this content.
    ranges : bool
        False where the server says that it gives no parts.
    """

    size_byte: int | None
    mtime_ns: int
    etag: str | None
    ranges: bool = True

    @property
    def marked(self) -> bool:
        """Whether a change of the content would show."""
        return self.etag is not None or self.mtime_ns > 0

    def is_same(self, size_byte: int | None, mtime_ns: int, etag: str | None) -> bool:
        """Tell whether this is the content that had a size, a time and an ETag.

        Servers that share their load may differ in the time that they tell, but not in their mark of the content.
        """
        if self.size_byte not in {None, size_byte}:
            return False
        return self.etag == etag if self.etag and etag else self.mtime_ns == mtime_ns


def require_bounded(found: RemoteStat) -> None:
    """Refuse a file that is larger than any of an SBC exposure.

    Raises
    ------
    UnsoundError
        It has more than `LARGEST_FILE` bytes.
    """
    if found.size_byte is not None and found.size_byte > LARGEST_FILE:
        raise UnsoundError(f"{found.size_byte} bytes, where an SBC file has at most {LARGEST_FILE}")


def on_loop(files: Any, coroutine: Callable[..., Awaitable[_T]], *arguments: Any) -> _T:
    """Return what a coroutine returns that is run on the event loop of one of fsspec's file systems."""
    from fsspec.asyn import sync  # noqa: PLC0415  only remote files need it

    result: _T = sync(files.loop, coroutine, *arguments)
    return result


async def drawn(read: Callable[[int], Awaitable[bytes]], wanted: int | None, found: RemoteStat) -> bytes:
    """Draw the body of an answer, never more than was asked for; `wanted` is None for a whole file."""
    limit = LARGEST_FILE if wanted is None else wanted
    content = bytearray()
    while chunk := await read(_CHUNK):
        content += chunk
        if len(content) > limit:
            raise RemoteRefusedError(f"the server sends more than {limit} bytes")
    if len(content) < (wanted if wanted is not None else found.size_byte or 0):
        raise BrokenOffError
    return bytes(content)


def nanoseconds(time_utc: datetime | None) -> int:
    """Return nanoseconds since 1970; 0 for None and for what is out of range."""
    try:
        seconds = 0.0 if time_utc is None else time_utc.timestamp()
    except (ValueError, OverflowError):
        return 0
    return round(seconds) * 10**9 if 0 < seconds < LARGEST_INTEGER / 10**9 else 0
