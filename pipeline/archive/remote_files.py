"""Remote files: size, time and ETag of one, its bytes, and the objects below an S3 prefix.

Public S3 objects need no signature, so they are read as plain HTTP files. Every answer is compared with what the server
said before, so that two versions of a file are never mixed. Functions raise `UnreachableError` if the server cannot be
reached, `UnsoundError` if it refuses.
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
from sbcdark.pipeline.archive import http
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

    What the server does not say is None; of the time (nanoseconds since 1970) it is 0. The ETag identifies the content.
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
    """Return size, time and ETag of a file at a URI of `urls.remote_uri`; None if it does not exist."""
    return http.with_retries(host_of(uri), _stat_once, uri, "HEAD", {})


def _stat_once(uri: str, method: str, headers: dict[str, str]) -> RemoteStat | None:
    with http.ask(method, _address(uri), host_of(uri), headers) as answer:
        if answer.status_code in http.GONE:
            return None
        if method == "HEAD" and answer.status_code in _HEAD_REFUSED:
            return _stat_once(uri, "GET", {"Range": "bytes=0-0"})
        http.require_ok(answer)
        return _stat_of(answer)


def read(uri: str, found: RemoteStat, start: int = 0, stop: int | None = None) -> bytes:
    """Return the bytes of a remote file, which `stat` found, from `start` to before `stop`, or all of them.

    Raises
    ------
    NoRangesError
        The server sends the whole file instead; nothing is read.
    ChangedError
        The file is not the one that was found.
    """
    return http.with_retries(host_of(uri), _read_once, uri, found, start, stop)


def _read_once(uri: str, found: RemoteStat, start: int, stop: int | None) -> bytes:
    headers = {} if stop is None else {"Range": f"bytes={start}-{stop - 1}"}
    with http.ask("GET", _address(uri), host_of(uri), headers) as answer:
        http.require_ok(answer)
        size_byte = found.size_byte if stop is None else stop - start
        if stop is None and _is_encoded(answer) and not uri.endswith(".gz"):
            raise UnsoundError("the server sends it compressed")
        if stop is not None and not answer.headers.get("Content-Range", "").startswith(f"bytes {start}-{stop - 1}/"):
            raise http.NoRangesError("the server sends whole files only")
        now = _stat_of(answer)
        # What the server leaves out is not a change.
        pairs = ((found.etag, now.etag), (found.mtime_ns, now.mtime_ns), (found.size_byte, now.size_byte))
        if any(before != after for before, after in pairs if before and after):
            raise http.ChangedError("changed while it was read")
        content = b"".join(http.read_body(answer))
    if size_byte is not None and len(content) != size_byte:
        raise http.BrokenAnswerError(f"connection dropped after {len(content):,} bytes")
    return content


def list_objects(prefix: str) -> dict[str, RemoteStat]:
    """Return the objects below an ``s3://`` prefix by URI, in the server's order.

    The keys are the server's: a caller drops those that `urls.remote_uri` refuses.

    Raises
    ------
    UsageError
        The bucket cannot be listed, or has more than `LARGEST_LISTING` objects below the prefix.
    """
    bucket, key = bucket_and_key(prefix if prefix.endswith("/") else f"{prefix}/")
    found: dict[str, RemoteStat] = {}
    query: dict[str, str] | None = {"list-type": "2", "encoding-type": "url", "prefix": key}
    while query is not None:
        try:
            query = http.with_retries(host_of(prefix), _list_page, bucket, query, found)
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
    with http.ask("GET", _bucket_address(bucket), f"s3://{bucket}", params=query) as answer:
        http.require_ok(answer)
        content = b"".join(http.read_body(answer))
    try:
        page = ET.fromstring(content)  # noqa: S314  expat bounds the growth of entities
    except ET.ParseError as error:
        raise http.BrokenAnswerError("the listing is not XML") from error
    for entry in page.findall("{*}Contents"):
        texts = {name: entry.findtext(f"{{*}}{name}") or "" for name in ("Key", "Size", "ETag", "LastModified")}
        try:
            modified = _nanoseconds(datetime.fromisoformat(texts["LastModified"]))
        except ValueError:
            modified = 0
        stat = RemoteStat(http.whole_number(texts["Size"]), modified, clean(texts["ETag"])[:200] or None)
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
    size_byte = http.whole_number(found[3] if found else headers.get("Content-Length"))
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
