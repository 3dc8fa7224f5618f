"""Files that stay remote: what a server says of one, its bytes, and what lies below an S3 prefix.

Public objects of S3 are asked for by its REST interface, which needs no signature: HTTP like any other. Each answer is
checked to be of the file as it was looked up, so that no two versions are mixed.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote_plus
from xml.etree import ElementTree as ET

from sbcdark.catalog.errors import UsageError
from sbcdark.pipeline.archive.urls import bucket_and_key, host_of
from sbcdark.pipeline.frames.untrusted_fits import LARGEST_FILE, UnsoundError, clean

if TYPE_CHECKING:
    from collections.abc import Mapping

AT_ONCE = 4
"""Requests at a time: enough to hide the latency, few enough to be no burden to a server."""

LARGEST_LISTING = 100_000
"""Objects below an S3 prefix; one program has a few thousand."""

_LARGEST_PAGE = 2**24
_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)")
_HEAD_UNKNOWN = {400, 403, 405, 501}  # some servers refuse HEAD for what they give by GET


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
        False where the server says that it sends files whole only.
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

        Servers that share their load may differ in the time, but not in their mark of the content.
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
    RefusedError
        It refuses this file.
    """
    from sbcdark.pipeline.archive.http import GoneError, ask, require_ok, with_retries  # noqa: PLC0415  takes a while

    def look() -> RemoteStat:
        with ask("HEAD", _address(uri), host_of(uri)) as answer:
            if answer.status_code not in _HEAD_UNKNOWN:
                require_ok(answer)
                return _found(answer.headers, answer.headers.get("Content-Length"))
        with ask("GET", _address(uri), host_of(uri), {"Range": "bytes=0-0"}) as answer:
            require_ok(answer)
            whole = _content_range(answer.headers)[2] if answer.status_code == 206 else None
            return _found(answer.headers, whole or answer.headers.get("Content-Length"))

    try:
        return with_retries(host_of(uri), look)
    except GoneError:
        return None


def read_range(uri: str, found: RemoteStat, start: int, stop: int) -> bytes:
    """Return the bytes from `start` to before `stop` of a file as it was found.

    Raises
    ------
    NoRangesError
        The server sends the whole file instead; it was not drawn.
    ChangedError
        The file is not the one that was found.
    RefusedError, UnreachableError
    """
    return _read(uri, found, (start, stop))


def read_whole(uri: str, found: RemoteStat) -> bytes:
    """Return all bytes of a file as it was found.

    Raises
    ------
    UnsoundError
        There are more than `LARGEST_FILE`.
    ChangedError
        The file is not the one that was found.
    RefusedError, UnreachableError
    """
    require_bounded(found)
    return _read(uri, found, None)


def require_bounded(found: RemoteStat) -> None:
    """Refuse a file that is larger than any of an SBC exposure.

    Raises
    ------
    UnsoundError
        It has more than `LARGEST_FILE` bytes.
    """
    if found.size_byte is not None and found.size_byte > LARGEST_FILE:
        raise UnsoundError(f"it has {found.size_byte:,} bytes; an SBC file has at most {LARGEST_FILE:,}")


def list_objects(prefix: str) -> dict[str, RemoteStat]:
    """Return what lies below an ``s3://`` prefix, by its URI, in order.

    Keys come from the server: the caller drops those that `remote_names.remote_uri` refuses.

    Raises
    ------
    UsageError
        The bucket cannot be listed, or more than `LARGEST_LISTING` objects lie there.
    UnreachableError
        The service cannot be reached.
    """
    from sbcdark.pipeline.archive.http import with_retries  # noqa: PLC0415  takes a while

    bucket, key = bucket_and_key(prefix if prefix.endswith("/") else f"{prefix}/")
    found: dict[str, RemoteStat] = {}
    more: dict[str, str] | None = {"list-type": "2", "encoding-type": "url", "prefix": key}
    while more is not None:
        try:
            more = with_retries(host_of(prefix), _list_page, bucket, more, found)
        except UnsoundError as error:
            raise UsageError(
                f"{prefix} cannot be listed: {error}.", "Name a public bucket, such as s3://stpubdata."
            ) from error
        if len(found) > LARGEST_LISTING:
            raise UsageError(
                f"More than {LARGEST_LISTING} objects lie below {prefix}.",
                "Name a narrower prefix, such as s3://stpubdata/hst/public/jcrx/.",
            )
    return found


def _list_page(bucket: str, asked: dict[str, str], found: dict[str, RemoteStat]) -> dict[str, str] | None:
    """Add one page of a listing to what was found, and return what asks for the next one."""
    from sbcdark.pipeline.archive.http import BrokenError, ask, read_body, require_ok, whole_number  # noqa: PLC0415

    with ask("GET", _bucket_address(bucket), f"s3://{bucket}", params=asked) as answer:
        require_ok(answer)
        content = b"".join(read_body(answer, _LARGEST_PAGE, None))
    try:
        page = ET.fromstring(content)  # noqa: S314  expat bounds the growth of entities
    except ET.ParseError as error:
        raise BrokenError("its listing is not XML") from error
    for entry in page.findall("{*}Contents"):
        told = {name: entry.findtext(f"{{*}}{name}") or "" for name in ("Key", "Size", "ETag", "LastModified")}
        try:
            modified = _nanoseconds(datetime.fromisoformat(told["LastModified"]))
        except ValueError:
            modified = 0
        etag = clean(told["ETag"])[:200] or None
        found[f"s3://{bucket}/{unquote_plus(told['Key'])}"] = RemoteStat(whole_number(told["Size"]), modified, etag)
    token = page.findtext("{*}NextContinuationToken")
    return asked | {"continuation-token": token} if token else None


def _address(uri: str) -> str:
    if not uri.startswith("s3://"):
        return uri
    bucket, key = bucket_and_key(uri)
    return f"{_bucket_address(bucket)}/{quote(key)}"


def _bucket_address(bucket: str) -> str:
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    if endpoint:
        return f"{endpoint.rstrip('/')}/{bucket}"
    # A certificate's wildcard covers no second dot.
    return f"https://s3.amazonaws.com/{bucket}" if "." in bucket else f"https://{bucket}.s3.amazonaws.com"


def _read(uri: str, found: RemoteStat, part: tuple[int, int] | None) -> bytes:
    from sbcdark.pipeline.archive.http import with_retries  # noqa: PLC0415  takes a while

    return with_retries(host_of(uri), _read_once, uri, found, part)


def _read_once(uri: str, found: RemoteStat, part: tuple[int, int] | None) -> bytes:
    from sbcdark.pipeline.archive.http import (  # noqa: PLC0415  takes a while
        ChangedError,
        NoRangesError,
        RefusedError,
        ask,
        read_body,
        require_ok,
    )

    headers = {} if part is None else {"Range": f"bytes={part[0]}-{part[1] - 1}"}
    with ask("GET", _address(uri), host_of(uri), headers) as answer:
        require_ok(answer)
        size, limit, length = answer.headers.get("Content-Length"), LARGEST_FILE, found.size_byte
        if part is not None:
            first, last, size = _content_range(answer.headers)
            if answer.status_code != 206 or (first, last) != (str(part[0]), str(part[1] - 1)):
                raise NoRangesError("The server sends files whole only.")
            limit = length = part[1] - part[0]
        elif _is_packed(answer.headers) and not uri.endswith(".gz"):
            raise RefusedError("the server sends it compressed")
        now = _found(answer.headers, size)
        # What an answer does not say is not held against it.
        times = (found.mtime_ns or None, now.mtime_ns or None)
        pairs = ((found.etag, now.etag), times, (found.size_byte, now.size_byte))
        if any(before is not None and after is not None and before != after for before, after in pairs):
            raise ChangedError("it changed while it was read")
        return b"".join(read_body(answer, limit, length))


def _found(headers: Mapping[str, str], size: str | None) -> RemoteStat:
    from sbcdark.pipeline.archive.http import whole_number  # noqa: PLC0415  takes a while

    try:
        modified = parsedate_to_datetime(headers["Last-Modified"]) if "Last-Modified" in headers else None
    except (ValueError, OverflowError):
        modified = None
    return RemoteStat(
        None if _is_packed(headers) else whole_number(size),
        _nanoseconds(modified),
        clean(headers.get("ETag", ""))[:200] or None,
        headers.get("Accept-Ranges", "").lower() != "none",
    )


def _is_packed(headers: Mapping[str, str]) -> bool:
    return headers.get("Content-Encoding", "identity") not in {"identity", ""}


def _content_range(headers: Mapping[str, str]) -> tuple[str | None, str | None, str | None]:
    found = _CONTENT_RANGE.fullmatch(headers.get("Content-Range", ""))
    return (found[1], found[2], None if found[3] == "*" else found[3]) if found else (None, None, None)


def _nanoseconds(time_utc: datetime | None) -> int:
    """Return nanoseconds since 1970; 0 for None and for what 64 bits do not hold."""
    try:
        seconds = 0.0 if time_utc is None else time_utc.timestamp()
    except (ValueError, OverflowError):
        return 0
    return round(seconds) * 10**9 if 0 < seconds < 2**62 / 10**9 else 0
