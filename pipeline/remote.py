"""Reading files that stay remote, whole or by byte ranges: the way to HTTP servers and to S3.

Each answer is checked to be of the file as it was looked up, so that no two versions are mixed; what passes is tried
again, and what does not becomes one error.
"""

from __future__ import annotations

from sbcdark.catalog.errors import UsageError
from sbcdark.pipeline.fits_input import UnsoundError
from sbcdark.pipeline.remote_faults import GoneError, persistently
from sbcdark.pipeline.remote_http import forget_http, http_get, http_stat
from sbcdark.pipeline.remote_names import bucket_and_key
from sbcdark.pipeline.remote_s3 import forget_s3, s3_found, s3_get, s3_page, s3_stat
from sbcdark.pipeline.remote_stat import RemoteStat, require_bounded

LARGEST_LISTING = 100_000
"""Objects below an S3 prefix; one program has a few thousand."""


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
        return persistently(uri, s3_stat if uri.startswith("s3://") else http_stat, uri)
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
    return persistently(uri, s3_get if uri.startswith("s3://") else http_get, uri, found, (start, stop))


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
    return persistently(uri, s3_get if uri.startswith("s3://") else http_get, uri, found, None)


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
            page = persistently(prefix, s3_page, bucket, key, more)
        except UnsoundError as error:
            raise UsageError(
                f"{prefix} cannot be listed: {error}.", "Name a public bucket, such as s3://stpubdata."
            ) from error
        for entry in page.get("Contents", []):
            found[f"s3://{bucket}/{entry['Key']}"] = s3_found(entry, entry["Size"])
        if len(found) > LARGEST_LISTING:
            raise UsageError(
                f"More than {LARGEST_LISTING} objects lie below {prefix}.",
                "Name a narrower prefix, such as s3://stpubdata/hst/public/jcrx/.",
            )
        if not page.get("IsTruncated"):
            return found
        more = {"ContinuationToken": page["NextContinuationToken"]}


def forget_connections() -> None:
    """Close what is open: the next request is made with the settings and time limits of then."""
    forget_http()
    forget_s3()
