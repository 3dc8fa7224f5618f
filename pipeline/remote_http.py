"""Reading files from HTTP servers, on fsspec's session and event loop.

Nothing is sent but what is asked for: no cookie, no credential. fsspec's own readers look at an answer after they have
drawn all of it; here its status and headers come first.
"""

from __future__ import annotations

import base64
import re
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.request import getproxies, proxy_bypass

from sbcdark.pipeline import remote_stat
from sbcdark.pipeline.fits_input import clean
from sbcdark.pipeline.remote_faults import ChangedError, NoRangesError, RemoteRefusedError
from sbcdark.pipeline.remote_names import is_loopback
from sbcdark.pipeline.remote_stat import LARGEST_INTEGER, RemoteStat, drawn, nanoseconds, on_loop
from sbcdark.pipeline.version import SOFTWARE_VERSION

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

_WHOLE_ANSWER_S = 900.0
"""No answer may take longer, s: the largest file at 600 kbit/s."""

_CONTENT_RANGE = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19}|\*)")
_HEAD_UNKNOWN = {400, 403, 405, 501}  # some servers refuse HEAD for what they give by GET


@lru_cache(maxsize=1)
def _http() -> Any:
    import aiohttp  # noqa: PLC0415  only remote files need it
    import fsspec  # noqa: PLC0415  only remote files need it

    timeout = aiohttp.ClientTimeout(
        total=_WHOLE_ANSWER_S,
        connect=remote_stat.CONNECT_S + remote_stat.SILENCE_S,
        sock_connect=remote_stat.CONNECT_S,
        sock_read=remote_stat.SILENCE_S,
    )
    session = {
        "timeout": timeout,
        "auto_decompress": False,  # a file that is packed stays so
        "headers": {"Accept-Encoding": "identity", "User-Agent": f"sbcdark/{SOFTWARE_VERSION}"},
    }
    return fsspec.filesystem("https", skip_instance_cache=True, client_kwargs=session, get_client=_session)


async def _session(**settings: Any) -> Any:
    import aiohttp  # noqa: PLC0415  only remote files need it

    watch = aiohttp.TraceConfig()
    watch.on_request_redirect.append(_require_safe)
    return aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar(), trace_configs=[watch], **settings)


async def _require_safe(_session: Any, _context: Any, hop: Any) -> None:
    """Refuse to be led from https, or away from this machine, to plain http."""
    import yarl  # noqa: PLC0415  only remote files need it

    headers = hop.response.headers
    try:
        target = hop.url.join(yarl.URL(headers.get("Location") or headers.get("URI") or ""))
    except ValueError as error:
        hop.response.close()
        raise RemoteRefusedError("the server leads on to what is no address") from error
    if target.scheme != "https" and not (hop.url.scheme == "http" and is_loopback(target.host or "")):
        hop.response.close()
        raise RemoteRefusedError("the server leads on to an address without https")


def _proxy(url: Any) -> dict[str, Any]:
    """Return the proxy that the environment names: aiohttp's own look at it would send what stands in .netrc too."""
    import yarl  # noqa: PLC0415  only remote files need it

    named = getproxies().get(url.scheme)
    if not named or proxy_bypass(url.authority):
        return {}
    proxy = yarl.URL(named)
    if proxy.user is None:
        return {"proxy": proxy}
    login = base64.b64encode(f"{proxy.user}:{proxy.password or ''}".encode()).decode()
    return {"proxy": proxy.with_user(None), "proxy_headers": {"Proxy-Authorization": f"Basic {login}"}}


async def _asked(method: str, uri: str, headers: Mapping[str, str]) -> Any:
    import yarl  # noqa: PLC0415  only remote files need it

    session = await _http().set_session()
    url = yarl.URL(uri, encoded=True)
    return await session.request(method, url, headers=headers, allow_redirects=True, max_redirects=5, **_proxy(url))


def http_stat(uri: str) -> RemoteStat:
    """Return what a server says of a file; raises what aiohttp raises."""
    return on_loop(_http(), _http_stat_on_loop, uri)


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
        min(int(size or 0), LARGEST_INTEGER) if known else None,
        nanoseconds(_date(headers.get("Last-Modified"))),
        clean(headers.get("ETag", ""))[:200] or None,
        headers.get("Accept-Ranges", "").lower() != "none",
    )


def http_get(uri: str, found: RemoteStat, part: tuple[int, int] | None) -> bytes:
    """Return a part of a file, from its first byte to before its last; the whole for None."""
    return on_loop(_http(), _http_get_on_loop, uri, found, part)


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
        return await drawn(answer.content.read, None if part is None else part[1] - part[0], found)


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


def _date(text: str | None) -> datetime | None:
    try:
        return None if text is None else parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None


def forget_http() -> None:
    """Close the session: the next request makes one with the settings and time limits of then."""
    _http.cache_clear()
