"""HTTP requests: one session, one retry policy, one set of time limits and of error messages."""

from __future__ import annotations

import time
from contextlib import contextmanager
from functools import lru_cache
from http.client import responses
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urljoin, urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3 import exceptions as urllib3_errors
from urllib3.util import Retry

from sbcdark.catalog.errors import UnreachableError
from sbcdark.catalog.version import SOFTWARE_VERSION
from sbcdark.pipeline.archive.urls import is_loopback
from sbcdark.pipeline.frames.untrusted_fits import LARGEST_FILE, UnsoundError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CONNECT_S, SILENCE_S, TOTAL_S = 10.0, 30.0, 900.0
"""Longest waits: for a connection, for the next bytes, and for a whole answer (64 MB at 600 kbit/s)."""

TRIES, BACK_OFF_S = 3, 0.5
"""Attempts for a request that may succeed later, and the wait after the first one; it doubles with each attempt."""

GONE = {404, 410}
_TEMPORARY = (408, 425, 429, 500, 502, 503, 504)

_NO_CONNECTION = {
    "ProxyError": "cannot be reached: the proxy refuses the connection",
    "NameResolutionError": "cannot be reached: its name cannot be resolved",
    "Connection refused": "cannot be reached: Connection refused",
    "unreachable": "cannot be reached: Network is unreachable",
    "No route to host": "cannot be reached: No route to host",
    "CERTIFICATE_VERIFY_FAILED": "cannot be reached: its certificate cannot be verified",
    "SSLError": "cannot be reached: no TLS connection can be made",
    "ConnectTimeout": "cannot be reached: the connection timed out",
    "Timeout": "does not answer",
    "timed out": "does not answer",
}
"""What the text of an exception says about the server, and how a message says it."""

_T = TypeVar("_T")


class BrokenAnswerError(UnsoundError):
    """The answer is incomplete or unusable; another request may succeed."""


class ChangedError(UnsoundError):
    """The file changed after its size, time and ETag were read."""


class NoRangesError(UnsoundError):
    """The server sends whole files only."""


class Adapter(HTTPAdapter):
    """A transport that repeats failed requests and always has time limits."""

    def __init__(self, silence_s: float) -> None:
        self._limits = (CONNECT_S, silence_s)
        # Retry-After is ignored, since it may name any time.
        retry = Retry(
            total=TRIES - 1,
            read=1,
            redirect=False,
            allowed_methods=None,
            status_forcelist=_TEMPORARY,
            backoff_factor=BACK_OFF_S,
            raise_on_status=False,
            respect_retry_after_header=False,
        )
        super().__init__(max_retries=retry, pool_maxsize=10)

    def send(self, *arguments: Any, **options: Any) -> requests.Response:
        """Send a request within the time limits."""
        return super().send(*arguments, **options | {"timeout": self._limits})


class _Session(requests.Session):
    """A session without the logins of .netrc, whose redirections stay on https."""

    def __init__(self) -> None:
        super().__init__()
        self.auth = lambda request: request  # without any, requests reads .netrc
        self.max_redirects = 5
        self.headers.update({"User-Agent": f"sbcdark/{SOFTWARE_VERSION}", "Accept-Encoding": "identity"})
        for scheme in ("https://", "http://"):
            self.mount(scheme, Adapter(SILENCE_S))

    def rebuild_auth(self, *_: Any) -> None:
        """Add no login after a redirection; requests would take one from .netrc."""

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        target = super().get_redirect_target(resp)
        if target is not None:
            parts = urlsplit(urljoin(resp.url, target))
            local = parts.scheme == "http" and resp.url.startswith("http:") and is_loopback(parts.hostname or "")
            if parts.scheme != "https" and not local:
                resp.close()
                raise UnsoundError("redirected to a non-HTTPS address")
        return target


@lru_cache(maxsize=1)
def session() -> requests.Session:
    """Return the session of this process."""
    return _Session()


@contextmanager
def ask(
    method: str, url: str, host: str, headers: dict[str, str] | None = None, params: dict[str, str] | None = None
) -> Iterator[requests.Response]:
    """Send a request and give the answer, whatever its status, before its body is read; messages name the `host`.

    Raises
    ------
    UnreachableError
        There is no connection or no answer.
    BrokenAnswerError
        The answer is not HTTP.
    UnsoundError
        The server redirects to a non-HTTPS address.
    """
    try:
        response = session().request(method, url, headers=headers, params=params, stream=True, allow_redirects=True)
    except (requests.RequestException, urllib3_errors.HTTPError, ValueError) as error:
        raise user_error(host, error) from error
    with response:
        yield response


def require_ok(response: requests.Response) -> None:
    """Raise an `UnsoundError` for an answer without content (a `ChangedError` if the file is shorter than before)."""
    status = response.status_code
    if status in GONE:
        raise UnsoundError(f"does not exist: the server answers {status}")
    if status == 416:
        raise ChangedError("changed while it was read")
    if status not in {200, 206}:
        raise UnsoundError(f"the server answers {_phrase(status)}")


def read_body(response: requests.Response) -> Iterator[bytes]:
    """Give the body of an answer as it was sent, piece by piece.

    Raises
    ------
    BrokenAnswerError
        The connection drops.
    UnsoundError
        The body is larger than `LARGEST_FILE`, or takes longer than `TOTAL_S`.
    """
    count, deadline = 0, time.monotonic() + TOTAL_S
    require_size(whole_number(response.headers.get("Content-Length")))
    try:
        for chunk in response.raw.stream(2**16, decode_content=False):
            count += len(chunk)
            require_size(count)
            yield chunk
            if time.monotonic() > deadline:
                raise UnsoundError(f"the server sent only {count:,} bytes in {TOTAL_S:.0f} s")
    except (urllib3_errors.HTTPError, ValueError) as error:
        raise BrokenAnswerError(f"connection dropped after {count:,} bytes") from error


def require_size(count: int | None) -> None:
    """Raise an `UnsoundError` for a number of bytes that no file of an SBC exposure has."""
    if count is not None and count > LARGEST_FILE:
        raise UnsoundError(f"has more than {LARGEST_FILE:,} bytes; an SBC file has at most 10.5 MB")


def with_retries(host: str, call: Callable[..., _T], *arguments: Any) -> _T:
    """Return what a call returns; repeat it after a broken answer, since urllib3 repeats only what has no answer.

    The last `BrokenAnswerError` stands; it becomes an `UnreachableError` if the server stopped sending.
    """
    for number in range(TRIES):
        try:
            return call(*arguments)
        except BrokenAnswerError as error:
            if number == TRIES - 1:
                if isinstance(error.__cause__, urllib3_errors.ReadTimeoutError):
                    raise unreachable(host, "does not answer") from error
                raise
            time.sleep(BACK_OFF_S * 2**number)
    raise AssertionError  # pragma: no cover  the last attempt returns or raises


def unreachable(host: str, what: str) -> UnreachableError:
    """Return the error for a server that cannot be used."""
    return UnreachableError(
        f"{host} {what}.",
        "Check the network, the address (and https_proxy, if it is set), then run it again: finished files are kept.",
    )


def user_error(host: str, error: Exception) -> UnreachableError | BrokenAnswerError:
    """Return the error for an exception of requests, urllib3 or astroquery, whose own text may hold an address."""
    if isinstance(error, requests.HTTPError) and error.response is not None:
        return unreachable(host, f"answers {_phrase(error.response.status_code)}")
    text = f"{type(error).__name__} {error}"
    for sign, what in _NO_CONNECTION.items():
        if sign in text:
            return unreachable(host, what)
    if "Connection aborted" in text or "Connection broken" in text:
        return BrokenAnswerError("connection dropped")
    return BrokenAnswerError(f"unusable answer ({type(error).__name__})")


def _phrase(status: int) -> str:
    return f"{status} ({responses[status]})" if status in responses else str(status)


def whole_number(text: str | None) -> int | None:
    """Return the value of a header that counts bytes; None if it is not a number."""
    return int(text) if text is not None and text.isascii() and text.isdigit() and len(text) < 19 else None
