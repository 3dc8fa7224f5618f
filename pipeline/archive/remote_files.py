"""Remote files: size, time and ETag of one, its bytes, and the objects below an S3 prefix.

Public S3 objects need no signature, so they are read as plain HTTP files. Every answer is compared with what the server
said before, so that two versions of a file are never mixed.
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
from sbcdark.pipeline.archive.http import (
    BrokenAnswerError,
    ChangedError,
    NoRangesError,
    ask,
    is_gone,
    read_body,
    require_ok,
    whole_number,
    with_retries,
)
from sbcdark.pipeline.archive.urls import bucket_and_key, host_of
from sbcdark.pipeline.frames.untrusted_fits import UnsoundError, clean

if TYPE_CHECKING:
    import requests

LARGEST_LISTING = 100_000
"""Objects below an S3 prefix; one program has a few thousand."""

_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)")
_HEAD_REFUSED = {400, 403, 405, 501}  # some servers refuse HEAD and answer GET


@dataclass(frozen=True, slots=True)
class RemoteStat:
    """Size, time and ETag of a remote file.

    Attributes
    ----------
    size_byte : int or None
        None if the server does not say.
    mtime_ns : int
        Last-Modified, nanoseconds since 1970; 0 if the server does not say.
    etag : str or None
        The server's identifier of this content.
    """

    size_byte: int | None
    mtime_ns: int
    etag: str | None

    @property
    def shows_changes(self) -> bool:
        """Whether the server identifies the content by an ETag or a time."""
        return self.etag is not None or self.mtime_ns > 0

    def is_same(self, size_byte: int | None, mtime_ns: int, etag: str | None) -> bool:
        """Return whether this is the content of a size, time and ETag; mirrors of a file may differ in time alone."""
        if self.size_byte not in {None, size_byte}:
            return False
        return self.etag == etag if self.etag and etag else self.mtime_ns == mtime_ns


def stat(uri: str) -> RemoteStat | None:
    """Return size, time and ETag of a remote file; None if it does not exist.

    Parameters
    ----------
    uri : str
        As `urls.remote_uri` returns it.

    Raises
    ------
    UnreachableError
        The server cannot be reached.
    UnsoundError
        The server refuses.
    """
    return with_retries(host_of(uri), _stat_once, uri, "HEAD", {})


def _stat_once(uri: str, method: str, headers: dict[str, str]) -> RemoteStat | None:
    with ask(method, _address(uri), host_of(uri), headers) as answer:
        if is_gone(answer):
            return None
        if method == "HEAD" and answer.status_code in _HEAD_REFUSED:
            return _stat_once(uri, "GET", {"Range": "bytes=0-0"})
        require_ok(answer)
        return _stat_of(answer)


def read(uri: str, found: RemoteStat, start: int = 0, stop: int | None = None) -> bytes:
    """Return the bytes of a remote file from `start` to before `stop`, or all of them.

    Parameters
    ----------
    found : RemoteStat
        The file's size, time and ETag, as `stat` returned them.

    Raises
    ------
    NoRangesError
        The server sends the whole file instead; nothing is read.
    ChangedError
        The file is not the one that was found.
    UnsoundError
        The server refuses, or the file is too large.
    UnreachableError
        The server cannot be reached.
    """
    return with_retries(host_of(uri), _read_once, uri, found, start, stop)


def _read_once(uri: str, found: RemoteStat, start: int, stop: int | None) -> bytes:
    headers = {} if stop is None else {"Range": f"bytes={start}-{stop - 1}"}
    with ask("GET", _address(uri), host_of(uri), headers) as answer:
        require_ok(answer)
        size_byte = found.size_byte if stop is None else stop - start
        if stop is None and _is_encoded(answer) and not uri.endswith(".gz"):
            raise UnsoundError("the server sends it compressed")
        if stop is not None and not answer.headers.get("Content-Range", "").startswith(f"bytes {start}-{stop - 1}/"):
            raise NoRangesError("the server sends whole files only")
        now = _stat_of(answer)
        # What the server leaves out is not a change.
        pairs = ((found.etag, now.etag), (found.mtime_ns, now.mtime_ns), (found.size_byte, now.size_byte))
        if any(before != after for before, after in pairs if before and after):
            raise ChangedError("it changed while it was read")
        content = b"".join(read_body(answer))
    if size_byte is not None and len(content) != size_byte:
        raise BrokenAnswerError(f"connection dropped after {len(content):,} bytes")
    return content


def list_objects(prefix: str) -> dict[str, RemoteStat]:
    """Return the objects below an ``s3://`` prefix by URI, in the server's order.

    The keys are the server's: a caller drops those that `urls.remote_uri` refuses.

    Raises
    ------
    UsageError
        The bucket cannot be listed, or has more than `LARGEST_LISTING` objects below the prefix.
    UnreachableError
        The server cannot be reached.
    """
    bucket, key = bucket_and_key(prefix if prefix.endswith("/") else f"{prefix}/")
    found: dict[str, RemoteStat] = {}
    query: dict[str, str] | None = {"list-type": "2", "encoding-type": "url", "prefix": key}
    while query is not None:
        try:
            query = with_retries(host_of(prefix), _list_page, bucket, query, found)
        except UnsoundError as error:
            raise UsageError(
                f"{prefix} cannot be listed: {error}.", "Name a public bucket, such as s3://stpubdata."
            ) from error
        if len(found) > LARGEST_LISTING:
            raise UsageError(
                f"There are more than {LARGEST_LISTING} objects below {prefix}.",
                "Name a narrower prefix, such as s3://stpubdata/hst/public/jcrx/.",
            )
    return found


def _list_page(bucket: str, query: dict[str, str], found: dict[str, RemoteStat]) -> dict[str, str] | None:
    """Add one page of a listing to what was found and return the query for the next one."""
    with ask("GET", _bucket_address(bucket), f"s3://{bucket}", params=query) as answer:
        require_ok(answer)
        content = b"".join(read_body(answer))
    try:
        page = ET.fromstring(content)  # noqa: S314  expat bounds the growth of entities
    except ET.ParseError as error:
        raise BrokenAnswerError("its listing is not XML") from error
    for entry in page.findall("{*}Contents"):
        texts = {name: entry.findtext(f"{{*}}{name}") or "" for name in ("Key", "Size", "ETag", "LastModified")}
        try:
            modified = _nanoseconds(datetime.fromisoformat(texts["LastModified"]))
        except ValueError:
            modified = 0
        stat = RemoteStat(whole_number(texts["Size"]), modified, clean(texts["ETag"])[:200] or None)
        found[f"s3://{bucket}/{unquote_plus(texts['Key'])}"] = stat
    token = page.findtext("{*}NextContinuationToken")
    return query | {"continuation-token": token} if token else None


def _address(uri: str) -> str:
    if not uri.startswith("s3://"):
        return uri
    bucket, key = bucket_and_key(uri)
    return f"{_bucket_address(bucket)}/{quote(key)}"


def _bucket_address(bucket: str) -> str:
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    if endpoint:
        return f"{endpoint.rstrip('/')}/{bucket}"
    # The wildcard of Amazon's certificate covers no bucket with a dot.
    return f"https://s3.amazonaws.com/{bucket}" if "." in bucket else f"https://{bucket}.s3.amazonaws.com"


def _stat_of(answer: requests.Response) -> RemoteStat:
    headers = answer.headers
    found = _CONTENT_RANGE.fullmatch(headers.get("Content-Range", "")) if answer.status_code == 206 else None
    size_byte = whole_number(found[3] if found else headers.get("Content-Length"))
    try:
        modified = _nanoseconds(parsedate_to_datetime(headers.get("Last-Modified", "")))
    except ValueError:
        modified = 0
    etag = clean(headers.get("ETag", ""))[:200] or None
    return RemoteStat(None if _is_encoded(answer) else size_byte, modified, etag)


def _is_encoded(answer: requests.Response) -> bool:
    return answer.headers.get("Content-Encoding", "identity") not in {"identity", ""}


def _nanoseconds(time_utc: datetime) -> int:
    """Return nanoseconds since 1970; 0 before then, and from 2242 on."""
    seconds = round(time_utc.timestamp())
    return seconds * 10**9 if 0 < seconds < 2**33 else 0
