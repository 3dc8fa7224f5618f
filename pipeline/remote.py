"""Reading files that stay remote, whole or by byte ranges: the only caller of fsspec, and so of HTTP servers and S3.

Nothing is sent but what is asked for: no cookie, no credential; S3 is asked anonymously. Each answer is checked to be
of the file as it was looked up, so that no two versions are mixed.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar

from sbcdark.catalog.errors import UsageError
from sbcdark.pipeline.fits_input import LARGEST_FILE, UnsoundError, clean
from sbcdark.pipeline.remote_faults import (
    BrokenOffError,
    ChangedError,
    GoneError,
    NoRangesError,
    RemoteRefusedError,
    persistently,
)
from sbcdark.pipeline.remote_names import bucket_and_key, is_loopback

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from datetime import datetime

CONNECT_S = 10.0
"""A host that does not take a connection for so long is not there, s."""

SILENCE_S = 30.0
"""A server that sends nothing for so long is given up, s."""

WHOLE_ANSWER_S = 900.0
"""No answer may take longer, s: the largest file at 600 kbit/s."""

LARGEST_LISTING = 100_000
"""Objects below an S3 prefix; one program has a few thousand."""

_LARGEST_INTEGER = 2**62
_CONTENT_RANGE = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19}|\*)")
_HEAD_UNKNOWN = {400, 403, 405, 501}  # some servers refuse HEAD for what they give by GET
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


def stat(uri: str) -> RemoteStat | None:
    """Ask what is at a URI; nothing of its content is drawn.

    Parameters
    ----------
    uri : str
        As `remote_names.remote_uri` returns it.

    Returns
    -------
    RemoteStat or None
        None where there is nothing (404).

    Raises
    ------
    UnreachableError
        The host cannot be reached.
    RemoteRefusedError
        It refuses this file.
    """
    try:
        return persistently(uri, _s3_stat if uri.startswith("s3://") else _http_stat, uri)
    except GoneError:
        return None


def read_range(uri: str, found: RemoteStat, start: int, stop: int) -> bytes:
    """Return the bytes from `start` to before `stop` of a file as it was found.

    Raises
    ------
    NoRangesError
        The server sends the whole file instead; it was not drawn.
    ChangedError
        The file is another one by now.
    RemoteRefusedError, UnreachableError
    """
    return persistently(uri, _s3_get if uri.startswith("s3://") else _http_get, uri, found, (start, stop))


def read_whole(uri: str, found: RemoteStat) -> bytes:
    """Return all bytes of a file as it was found.

    Raises
    ------
    UnsoundError
        There are more than `LARGEST_FILE`.
    ChangedError
        The file is another one by now.
    RemoteRefusedError, UnreachableError
    """
    require_bounded(found)
    return persistently(uri, _s3_get if uri.startswith("s3://") else _http_get, uri, found, None)


def require_bounded(found: RemoteStat) -> None:
    """Refuse a file that is larger than any of an SBC exposure.

    Raises
    ------
    UnsoundError
        It has more than `LARGEST_FILE` bytes.
    """
    if found.size_byte is not None and found.size_byte > LARGEST_FILE:
        raise UnsoundError(f"{found.size_byte} bytes, where an SBC file has at most {LARGEST_FILE}")


def list_objects(prefix: str) -> dict[str, RemoteStat]:
    """Return what lies below an ``s3://`` prefix, by its URI, in order.

    Keys come from the server: those that `remote_names.remote_uri` would not take are for the caller to drop.

    Raises
    ------
    UsageError
        There is no such bucket, it may not be listed, or more than `LARGEST_LISTING` objects lie there.
    UnreachableError
        The service cannot be reached.
    """
    bucket, key = bucket_and_key(prefix if prefix.endswith("/") else f"{prefix}/")
    found: dict[str, RemoteStat] = {}
    more: dict[str, str] = {}
    while True:
        try:
            page = persistently(prefix, _s3_page, bucket, key, more)
        except UnsoundError as error:
            raise UsageError(
                f"{prefix} cannot be listed: {error}.", "Name a public bucket, such as s3://stpubdata."
            ) from error
        for entry in page.get("Contents", []):
            found[f"s3://{bucket}/{entry['Key']}"] = _s3_found(entry, entry["Size"])
        if len(found) > LARGEST_LISTING:
            raise UsageError(
                f"More than {LARGEST_LISTING} objects lie below {prefix}.",
                "Name a narrower prefix, such as s3://stpubdata/hst/public/jcrx/.",
            )
        if not page.get("IsTruncated"):
            return found
        more = {"ContinuationToken": page["NextContinuationToken"]}


# --- HTTP: fsspec's session, on fsspec's event loop. Its own readers look at an answer after they have drawn all of it.


@lru_cache(maxsize=1)
def _http() -> Any:
    import aiohttp  # noqa: PLC0415  only remote files need it
    import fsspec  # noqa: PLC0415  only remote files need it

    timeout = aiohttp.ClientTimeout(
        total=WHOLE_ANSWER_S, connect=CONNECT_S + SILENCE_S, sock_connect=CONNECT_S, sock_read=SILENCE_S
    )
    session = {
        "timeout": timeout,
        "auto_decompress": False,  # a file that is packed stays so
        "trust_env": True,  # many institutes reach the world by a proxy
    }
    return fsspec.filesystem("https", skip_instance_cache=True, client_kwargs=session, get_client=_session)


async def _session(**settings: Any) -> Any:
    import aiohttp  # noqa: PLC0415  only remote files need it

    return aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar(), **settings)


def forget_connections() -> None:
    """Close what is open: the next request is made with the settings and time limits of then."""
    _http.cache_clear()
    _s3_of.cache_clear()


def _on_loop(files: Any, coroutine: Callable[..., Awaitable[_T]], *arguments: Any) -> _T:
    from fsspec.asyn import sync  # noqa: PLC0415  only remote files need it

    result: _T = sync(files.loop, coroutine, *arguments)
    return result


async def _asked(method: str, uri: str, headers: Mapping[str, str]) -> Any:
    import yarl  # noqa: PLC0415  only remote files need it

    session = await _http().set_session()
    answer = await session.request(
        method,
        yarl.URL(uri, encoded=True),
        headers={"Accept-Encoding": "identity", **headers},
        allow_redirects=True,
        max_redirects=5,
    )
    plain = uri.startswith("http://")
    for hop in (*answer.history, answer):
        if hop.url.scheme != "https" and not (plain and is_loopback(hop.url.host or "")):
            answer.close()
            raise RemoteRefusedError("the server leads on to plain http")
    return answer


def _http_stat(uri: str) -> RemoteStat:
    return _on_loop(_http(), _http_stat_on_loop, uri)


async def _http_stat_on_loop(uri: str) -> RemoteStat:
    async with await _asked("HEAD", uri, {}) as answer:
        if answer.status not in _HEAD_UNKNOWN:
            _require_status(answer, 200)
            return _http_found(answer.headers, answer.headers.get("Content-Length"))
    async with await _asked("GET", uri, {"Range": "bytes=0-0"}) as answer:
        # The body is left where it is.
        _require_status(answer, 200, 206)
        _, _, whole = _content_range(answer.headers)
        return _http_found(answer.headers, whole if answer.status == 206 else answer.headers.get("Content-Length"))


def _http_found(headers: Mapping[str, str], size: str | None) -> RemoteStat:
    packed = headers.get("Content-Encoding", "identity") not in {"identity", ""}
    known = size is not None and size.isascii() and size.isdigit() and not packed
    return RemoteStat(
        min(int(size or 0), _LARGEST_INTEGER) if known else None,
        _nanoseconds(_date(headers.get("Last-Modified"))),
        clean(headers.get("ETag", ""))[:200] or None,
        headers.get("Accept-Ranges", "").lower() != "none",
    )


def _http_get(uri: str, found: RemoteStat, part: tuple[int, int] | None) -> bytes:
    return _on_loop(_http(), _http_get_on_loop, uri, found, part)


async def _http_get_on_loop(uri: str, found: RemoteStat, part: tuple[int, int] | None) -> bytes:
    headers = {} if part is None else {"Range": f"bytes={part[0]}-{part[1] - 1}"}
    async with await _asked("GET", uri, headers) as answer:
        if answer.status == 416:
            raise ChangedError("it changes while it is read: it has become shorter")
        _require_status(answer, 200, 206)
        if part is None:
            now = _http_found(answer.headers, answer.headers.get("Content-Length"))
            if answer.headers.get("Content-Encoding", "identity") not in {"identity", ""} and not uri.endswith(".gz"):
                raise RemoteRefusedError("the server sends it packed, though it was asked for as it is")
        else:
            if answer.status != 206:
                raise NoRangesError("The server gives no parts of files.")
            first, last, whole = _content_range(answer.headers)
            if (first, last) != (str(part[0]), str(part[1] - 1)):
                raise NoRangesError("The server gives other parts of files than it is asked for.")
            now = _http_found(answer.headers, whole)
        _require_same(found, now)
        return await _drawn(answer.content.read, None if part is None else part[1] - part[0], found)


def _require_status(answer: Any, *allowed: int) -> None:
    answer.raise_for_status()
    if answer.status not in allowed:
        raise RemoteRefusedError(f"the server answers {answer.status}")


def _content_range(headers: Mapping[str, str]) -> tuple[str | None, str | None, str | None]:
    found = _CONTENT_RANGE.fullmatch(headers.get("Content-Range", ""))
    return (found[1], found[2], None if found[3] == "*" else found[3]) if found else (None, None, None)


def _require_same(found: RemoteStat, now: RemoteStat) -> None:
    """Refuse an answer that is of another file than was found; what an answer does not say is not held against it."""
    pairs = ((found.etag, now.etag), (found.mtime_ns or None, now.mtime_ns or None), (found.size_byte, now.size_byte))
    if any(before is not None and after is not None and before != after for before, after in pairs):
        raise ChangedError("it changes while it is read")


async def _drawn(read: Callable[[int], Awaitable[bytes]], wanted: int | None, found: RemoteStat) -> bytes:
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


def _date(text: str | None) -> datetime | None:
    try:
        return None if text is None else parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None


def _nanoseconds(time_utc: datetime | None) -> int:
    try:
        seconds = 0.0 if time_utc is None else time_utc.timestamp()
    except (ValueError, OverflowError):
        return 0
    return round(seconds) * 10**9 if 0 < seconds < _LARGEST_INTEGER / 10**9 else 0


# --- S3


def _s3() -> Any:
    # botocore reads these when a client is made.
    return _s3_of(os.environ.get("AWS_ENDPOINT_URL_S3"), os.environ.get("AWS_ENDPOINT_URL"))


@lru_cache(maxsize=4)
def _s3_of(*_endpoints: str | None) -> Any:
    import fsspec  # noqa: PLC0415  only remote files need it

    files = fsspec.filesystem(
        "s3",
        skip_instance_cache=True,
        use_listings_cache=False,
        anon=True,
        config_kwargs={
            "connect_timeout": CONNECT_S,
            "read_timeout": SILENCE_S,
            "retries": {"total_max_attempts": 1},
        },
    )
    files.retries = 1  # they are made in one place, above
    return files


def _s3_stat(uri: str) -> RemoteStat:
    bucket, key = bucket_and_key(uri)
    answer = _s3().call_s3("head_object", Bucket=bucket, Key=key)
    return _s3_found(answer, answer["ContentLength"])


def _s3_found(entry: Mapping[str, Any], size: int) -> RemoteStat:
    etag = clean(str(entry.get("ETag") or ""))[:200] or None
    return RemoteStat(min(size, _LARGEST_INTEGER), _nanoseconds(entry.get("LastModified")), etag)


def _s3_get(uri: str, found: RemoteStat, part: tuple[int, int] | None) -> bytes:
    bucket, key = bucket_and_key(uri)
    wanted = {} if part is None else {"Range": f"bytes={part[0]}-{part[1] - 1}"}
    same = {} if found.etag is None else {"IfMatch": found.etag}
    answer = _s3().call_s3("get_object", Bucket=bucket, Key=key, **wanted, **same)
    return _on_loop(_s3(), _s3_drawn, answer, found, part)


async def _s3_drawn(answer: Mapping[str, Any], found: RemoteStat, part: tuple[int, int] | None) -> bytes:
    body = answer["Body"]
    try:
        if part is not None and answer["ResponseMetadata"]["HTTPStatusCode"] != 206:
            raise NoRangesError("The server gives no parts of files.")
        return await _drawn(body.read, None if part is None else part[1] - part[0], found)
    finally:
        body.close()


def _s3_page(bucket: str, prefix: str, more: Mapping[str, str]) -> dict[str, Any]:
    page: dict[str, Any] = _s3().call_s3("list_objects_v2", Bucket=bucket, Prefix=prefix, **more)
    return page
