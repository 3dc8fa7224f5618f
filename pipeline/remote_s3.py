"""Reading objects from S3, anonymously, by s3fs."""

from __future__ import annotations

import os
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from sbcdark.pipeline import remote_stat
from sbcdark.pipeline.fits_input import clean
from sbcdark.pipeline.remote_faults import NoRangesError
from sbcdark.pipeline.remote_names import bucket_and_key
from sbcdark.pipeline.remote_stat import LARGEST_INTEGER, RemoteStat, drawn, nanoseconds, on_loop

if TYPE_CHECKING:
    from collections.abc import Mapping


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
            "connect_timeout": remote_stat.CONNECT_S,
            "read_timeout": remote_stat.SILENCE_S,
            "retries": {"total_max_attempts": 1},
        },
    )
    files.retries = 1  # they are made in one place, above
    return files


def s3_stat(uri: str) -> RemoteStat:
    """Return what S3 says of an object; raises what botocore and s3fs raise."""
    bucket, key = bucket_and_key(uri)
    answer = _s3().call_s3("head_object", Bucket=bucket, Key=key)
    return s3_found(answer, answer["ContentLength"])


def s3_found(entry: Mapping[str, Any], size: int) -> RemoteStat:
    """Return what an answer or an entry of a listing says of an object of `size` bytes."""
    etag = clean(str(entry.get("ETag") or ""))[:200] or None
    return RemoteStat(min(size, LARGEST_INTEGER), nanoseconds(entry.get("LastModified")), etag)


def s3_get(uri: str, found: RemoteStat, part: tuple[int, int] | None) -> bytes:
    """Return a part of an object, from its first byte to before its last; the whole for None."""
    bucket, key = bucket_and_key(uri)
    wanted = {} if part is None else {"Range": f"bytes={part[0]}-{part[1] - 1}"}
    same = {} if found.etag is None else {"IfMatch": found.etag}
    answer = _s3().call_s3("get_object", Bucket=bucket, Key=key, **wanted, **same)
    return on_loop(_s3(), _s3_drawn, answer, found, part)


async def _s3_drawn(answer: Mapping[str, Any], found: RemoteStat, part: tuple[int, int] | None) -> bytes:
    body = answer["Body"]
    try:
        if part is not None and answer["ResponseMetadata"]["HTTPStatusCode"] != 206:
            raise NoRangesError("The server gives no parts of files.")
        return await drawn(body.read, None if part is None else part[1] - part[0], found)
    finally:
        body.close()


def s3_page(bucket: str, prefix: str, more: Mapping[str, str]) -> dict[str, Any]:
    """Return a page of a listing, the one that `more` names."""
    page: dict[str, Any] = _s3().call_s3("list_objects_v2", Bucket=bucket, Prefix=prefix, **more)
    return page


def forget_s3() -> None:
    """Close the clients: the next request makes one with the settings and time limits of then."""
    _s3_of.cache_clear()
