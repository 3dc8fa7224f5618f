"""Addresses of remote files: which are accepted, the form in which they are stored, and the files that they name."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from sbcdark.catalog.errors import UsageError

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]{0,30})://")
_HOST = re.compile(r"([a-z0-9._-]{1,253}|\[[0-9a-f:.]{2,45}\])(:\d{1,5})?")
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_KEY = re.compile(r"[A-Za-z0-9!_.*'()/=+,@&:$~-]{0,1024}")
_MAST_PRODUCT = re.compile(r"mast:HST/product/[A-Za-z0-9_.-]{1,100}")
_LONGEST = 2048 // 3
"""Characters: quoting may triple them, and PostgreSQL cannot index more than 2704 bytes."""

_DEFAULT_PORTS = {"http": ":80", "https": ":443"}


def is_remote(uri: str) -> bool:
    """Return whether a URI of the catalog is that of a remote file."""
    return uri.startswith(("https://", "http://", "s3://"))


def remote_uri(text: str) -> str | None:
    """Return the form in which an address is stored; None for a local path.

    A file has one form: host in lower case, no default port, no fragment. An address that may hold a password or a
    token is refused, since it would be stored and printed.

    Parameters
    ----------
    text : str
        ``https://…`` (a file), ``s3://bucket/prefix/`` (all below it), ``s3://bucket/key``, or a path.

    Raises
    ------
    UsageError
        The address is not accepted.
    """
    found = _SCHEME.match(text)
    if found is None:
        return None
    scheme = found[1].lower()
    if scheme not in {"https", "http", "s3"}:
        raise UsageError(f"{scheme}:// addresses are not supported.", "Give https://…, s3://… or a path.")
    if len(text) > _LONGEST:
        raise UsageError(f"An address has more than {_LONGEST} characters.", "Give a shorter one.")
    try:
        parts = urlsplit(text)
        host = parts.hostname or ""
    except ValueError:
        raise UsageError("An address is malformed.", "Give it as https://host/path.") from None
    if "@" in parts.netloc:
        raise UsageError(
            "An address contains a user name or a password, which would be stored.",
            "Give the address of a public file.",
        )
    if scheme == "s3":
        key = parts.path.removeprefix("/")
        if "?" in text or "#" in text or not _BUCKET.fullmatch(parts.netloc) or not _KEY.fullmatch(key):
            raise UsageError("An s3:// address is malformed.", "Give it as s3://bucket/key or s3://bucket/prefix/.")
        return f"s3://{parts.netloc}/{key}"
    place = parts.netloc.lower()
    if not _HOST.fullmatch(place):
        raise UsageError("The host or the port of an address is malformed.", "Give it as https://host/path.")
    if scheme == "http" and not is_loopback(host):
        raise UsageError(f"Plain http to {host} is not safe from changes on the way.", "Use https://…")
    path = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~")
    return f"{scheme}://{place.removesuffix(_DEFAULT_PORTS[scheme])}{path}{_query(parts.query)}"


def _query(query: str) -> str:
    if not query:
        return ""
    fields = parse_qsl(query, keep_blank_values=True)
    if len(fields) == 1 and fields[0][0] == "uri" and _MAST_PRODUCT.fullmatch(fields[0][1]):
        return f"?uri={fields[0][1]}"
    raise UsageError(
        "An address contains a query (the part after ?), which may hold a token and would be stored.",
        "Give the address of a public file; only ?uri=mast:HST/product/NAME is accepted.",
    )


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def names_folder(uri: str) -> bool:
    """Return whether a URI is an S3 prefix, with or without its last slash."""
    return uri.startswith("s3://") and "." not in file_name(uri)


def file_name(uri: str) -> str:
    """Return the file name in a remote URI: its last component, or that of its ``?uri=mast:…``."""
    parts = urlsplit(uri)
    return unquote((parts.query or parts.path).rpartition("/")[2])


def bucket_and_key(uri: str) -> tuple[str, str]:
    """Return the bucket and the key of an ``s3://`` URI."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return bucket, key


def host_of(uri: str) -> str:
    """Return the server of a URI as messages name it: host and port, or the bucket."""
    return f"s3://{bucket_and_key(uri)[0]}" if uri.startswith("s3://") else urlsplit(uri).netloc
