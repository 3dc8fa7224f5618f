"""Addresses of files that stay remote: which are taken, in what form they are kept, and what file they name."""

from __future__ import annotations

import ipaddress
import posixpath
import re
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from sbcdark.catalog.errors import UsageError

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]{0,30})://")
_HOST = re.compile(r"[a-z0-9._-]{1,253}|[0-9a-f:.]{2,45}")
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_KEY = re.compile(r"[A-Za-z0-9!_.*'()/=+,@&:$~-]{0,1024}")
_MAST_PRODUCT = re.compile(r"mast:HST/product/[A-Za-z0-9_.-]{1,100}")
_LONGEST = 2048 // 3
"""Characters: each may become three, and PostgreSQL cannot keep more than 2704 bytes in an index."""

_UNRESERVED = "/%:@!$&'()*+,;=~"
_DEFAULT_PORTS = {"http": 80, "https": 443}


def is_remote(uri: str) -> bool:
    """Tell whether a URI of the catalog is that of a file that stays remote."""
    return uri.startswith(("https://", "http://", "s3://"))


def remote_uri(text: str) -> str | None:
    """Return the form in which an address is kept; None for what is a local path.

    One file has one form: the host in lower case, no default port, no fragment. What could hold a password or a token
    is refused, since the address goes into the catalog, into tables and into messages.

    Parameters
    ----------
    text : str
        ``https://…`` (a file), ``s3://bucket/prefix/`` (all below it), ``s3://bucket/key``, or a path.

    Raises
    ------
    UsageError
        It is an address that is not taken.
    """
    found = _SCHEME.match(text)
    if found is None:
        return None
    if len(text) > _LONGEST:
        raise UsageError(f"An address has more than {_LONGEST} characters.", "Give a shorter one.")
    scheme = found.group(1).lower()
    if scheme not in {"https", "http", "s3"}:
        raise UsageError(f"Addresses that begin with {scheme}:// are not read.", "Give https://…, s3://… or a path.")
    try:
        parts = urlsplit(text)
        host, port = (parts.hostname or "").lower(), parts.port
    except ValueError as error:
        raise UsageError("An address is malformed (its host or port).", "Give it as https://host/path.") from error
    if "@" in parts.netloc:
        raise UsageError(
            "An address with a user name or a password in it is not taken, since it would be stored.",
            "Give the address of a public file.",
        )
    if scheme == "s3":
        return _s3(text, parts.netloc, parts.path)
    if not _HOST.fullmatch(host):
        raise UsageError("An address has no host, or one that cannot be.", "Give it as https://host/path.")
    if scheme == "http" and not is_loopback(host):
        raise UsageError(f"{host} is asked for by plain http, which anyone on the way can change.", "Use https://…")
    place = f"[{host}]" if ":" in host else host
    if port is not None and port != _DEFAULT_PORTS[scheme]:
        place += f":{port}"
    return f"{scheme}://{place}{_path(parts.path)}{_query(parts.query)}"


def _s3(text: str, bucket: str, path: str) -> str:
    key = path.removeprefix("/")
    if "?" in text or "#" in text or not _BUCKET.fullmatch(bucket) or not _KEY.fullmatch(key):
        raise UsageError("An s3:// address is malformed.", "Give it as s3://bucket/key or s3://bucket/prefix/.")
    return f"s3://{bucket}/{key}"


def _path(path: str) -> str:
    if {".", ".."} & set(path.split("/")):
        path = posixpath.normpath(path) + ("/" if path.endswith("/") else "")
    return quote(path or "/", safe=_UNRESERVED)


def _query(query: str) -> str:
    if not query:
        return ""
    fields = parse_qsl(query, keep_blank_values=True)
    if len(fields) == 1 and fields[0][0] == "uri" and _MAST_PRODUCT.fullmatch(fields[0][1]):
        return f"?uri={fields[0][1]}"
    raise UsageError(
        "An address with a query (what follows the ?) is not taken: it may hold a token, and would be stored.",
        "Only ?uri=mast:HST/product/NAME is kept; give the address of a public file.",
    )


def is_loopback(host: str) -> bool:
    """Tell whether a host is this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def names_folder(uri: str) -> bool:
    """Tell whether a URI stands for all below it: an S3 prefix, with or without its last slash."""
    return uri.startswith("s3://") and "." not in file_name(uri)


def file_name(uri: str) -> str:
    """Return the name of the file at a remote URI: its last component, or that of its ``?uri=mast:…``."""
    parts = urlsplit(uri)
    return unquote((parts.query or parts.path).rpartition("/")[2])


def bucket_and_key(uri: str) -> tuple[str, str]:
    """Return the bucket and the key of an ``s3://`` URI."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return bucket, key


def host_of(uri: str) -> str:
    """Return whom a URI is asked of, as it is told in messages: host and port, or the bucket."""
    return f"s3://{bucket_and_key(uri)[0]}" if uri.startswith("s3://") else urlsplit(uri).netloc
