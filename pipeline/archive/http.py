"""Asking servers by HTTP: one session, one retry policy, one set of time limits, one set of words for faults."""

from __future__ import annotations

import time
from contextlib import contextmanager
from functools import lru_cache
from http import HTTPStatus
from http.cookiejar import DefaultCookiePolicy
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urljoin, urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3 import exceptions as urllib3_errors
from urllib3.util import Retry

from sbcdark.catalog.errors import SbcdarkError, UnreachableError
from sbcdark.catalog.version import SOFTWARE_VERSION
from sbcdark.pipeline.archive.urls import is_loopback
from sbcdark.pipeline.frames.untrusted_fits import UnsoundError, clean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CONNECT_S, SILENCE_S, WHOLE_ANSWER_S = 10.0, 30.0, 900.0
"""Longest wait for a connection, longest silence, and longest answer: 64 MB at 600 kbit/s."""

TRIES = 3
BACK_OFF_S = 0.5
"""A request that fails for what may pass is made so often; the waits double."""

_MAY_PASS = (408, 425, 429, 500, 502, 503, 504)
_CHUNK = 2**16
_T = TypeVar("_T")


class RefusedError(UnsoundError):
    """The server answers, and does not give this file."""


class GoneError(RefusedError):
    """The server has no such file."""


class BrokenError(RefusedError):
    """The answer is incomplete or unusable; another request may help. `silent` where the server stopped sending."""

    silent = False


class ChangedError(UnsoundError):
    """The file is not the one that was looked up."""


class NoRangesError(SbcdarkError):
    """The server sends files whole only."""


class Adapter(HTTPAdapter):
    """A transport with the retry policy, and time limits that a caller cannot forget."""

    def __init__(self, silence_s: float) -> None:
        self._limits = (CONNECT_S, silence_s)
        # A silent server is asked once more only. Retry-After is not obeyed: it may name any time.
        retry = Retry(
            total=TRIES - 1,
            read=1,
            redirect=False,
            allowed_methods=None,
            status_forcelist=_MAY_PASS,
            backoff_factor=BACK_OFF_S,
            raise_on_status=False,
            respect_retry_after_header=False,
        )
        super().__init__(max_retries=retry, pool_maxsize=10)

    def send(self, *arguments: Any, **options: Any) -> requests.Response:
        """Send a request within the time limits."""
        return super().send(*arguments, **options | {"timeout": self._limits})


class _Session(requests.Session):
    """Sends no cookie and no login of `.netrc`, and leaves https for no other scheme."""

    def __init__(self) -> None:
        super().__init__()
        self.auth = lambda request: request  # requests looks into .netrc where there is none
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=()))
        self.max_redirects = 5
        self.headers.update({"User-Agent": f"sbcdark/{SOFTWARE_VERSION}", "Accept-Encoding": "identity"})
        for scheme in ("https://", "http://"):
            self.mount(scheme, Adapter(SILENCE_S))

    def rebuild_auth(self, *_: Any) -> None:
        """Add no login after a redirection."""

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        target = super().get_redirect_target(resp)
        try:
            parts = None if target is None else urlsplit(urljoin(resp.url, target))
            here = parts is not None and resp.url.startswith("http://") and is_loopback(parts.hostname or "")
        except ValueError as error:
            resp.close()
            raise RefusedError("redirected to a malformed address") from error
        if parts is not None and parts.scheme != "https" and not (here and parts.scheme == "http"):
            resp.close()
            raise RefusedError("redirected to a non-HTTPS address")
        return target


@lru_cache(maxsize=1)
def session() -> requests.Session:
    """Return the session of this process."""
    return _Session()


@contextmanager
def ask(
    method: str, url: str, host: str, headers: dict[str, str] | None = None, params: dict[str, str] | None = None
) -> Iterator[requests.Response]:
    """Send a request and give its answer, whatever its status; the body is not read yet.

    Parameters
    ----------
    host : str
        How messages name the server.

    Raises
    ------
    UnreachableError
        No connection is made, or nothing is answered.
    RefusedError
        The answer is no HTTP, or redirects where nobody should follow.
    """
    try:
        response = session().request(method, url, headers=headers, params=params, stream=True, allow_redirects=True)
    except (requests.RequestException, urllib3_errors.HTTPError, ValueError) as error:
        if isinstance(error, requests.Timeout) or _is_in(error, urllib3_errors.ReadTimeoutError):
            raise unreachable(host, "does not answer") from error
        lost = (urllib3_errors.NewConnectionError, urllib3_errors.ConnectTimeoutError)
        if isinstance(error, requests.exceptions.ProxyError | requests.exceptions.SSLError) or _is_in(error, *lost):
            raise unreachable(host, f"cannot be reached: {why(error)}") from error
        raise BrokenError(why(error)) from error
    with response:
        yield response


def require_ok(response: requests.Response) -> None:
    """Refuse an answer without content.

    Raises
    ------
    GoneError, ChangedError, RefusedError
    """
    status = response.status_code
    if status in {404, 410}:
        raise GoneError(f"it does not exist: the server answers {status}")
    if status in {412, 416}:
        raise ChangedError("it changed while it was read")
    if status not in {200, 206}:
        phrase = f" ({HTTPStatus(status).phrase})" if status in set(HTTPStatus) else ""
        raise RefusedError(f"the server answers {status}{phrase}")


def read_body(response: requests.Response, limit: int, length: int | None) -> Iterator[bytes]:
    """Give the body of an answer as it was sent, piece by piece.

    Parameters
    ----------
    limit : int
        More bytes are refused.
    length : int or None
        The bytes that are expected.

    Raises
    ------
    BrokenError
        The body ends early.
    RefusedError
        It is too long.
    """
    count, deadline = 0, time.monotonic() + WHOLE_ANSWER_S
    try:
        for chunk in response.raw.stream(_CHUNK, decode_content=False):
            count += len(chunk)
            if count > limit:
                raise RefusedError(f"the server sends more than {limit:,} bytes")
            yield chunk
            if time.monotonic() > deadline:
                raise RefusedError(f"the server sent {count:,} bytes in {WHOLE_ANSWER_S:.0f} s")
    except (urllib3_errors.HTTPError, ValueError) as error:
        broken = BrokenError(f"connection dropped after {count:,} bytes")
        broken.silent = isinstance(error, urllib3_errors.ReadTimeoutError)
        raise broken from error
    if length is not None and count < length:
        raise BrokenError(f"connection dropped after {count:,} bytes")


def with_retries(host: str, call: Callable[..., _T], *arguments: Any) -> _T:
    """Return what a call returns, made again where its answer is broken: urllib3 retries only what has no answer yet.

    Raises
    ------
    BrokenError
        The last answer is broken, too.
    UnreachableError
        The server stops sending each time.
    """
    for number in range(TRIES):
        try:
            return call(*arguments)
        except BrokenError as error:
            if number == TRIES - 1:
                if error.silent:
                    raise unreachable(host, "does not answer") from error
                raise
            time.sleep(BACK_OFF_S * 2**number)
    raise AssertionError  # pragma: no cover  the last round returns or raises


def unreachable(host: str, what: str) -> UnreachableError:
    """Return the error of a server that cannot be used."""
    return UnreachableError(
        f"{host} {what}.",
        "Check the network, the address (and https_proxy, if it is set), then run it again: finished files are kept.",
    )


def whole_number(text: str | None) -> int | None:
    """Return the value of a header that is a count of bytes; None for anything else."""
    return int(text) if text is not None and text.isascii() and text.isdigit() and len(text) < 19 else None


def why(error: BaseException) -> str:
    """Return in a few words why a server cannot be asked; the texts of libraries may hold addresses."""
    response = getattr(error, "response", None)
    if isinstance(error, requests.HTTPError) and response is not None:
        return f"it answers {response.status_code} {clean(str(response.reason))[:60]}"
    text = " ".join(repr(one) for one in _chain(error))
    known = (
        ("ProxyError", "the proxy refuses"),
        ("NameResolutionError", "its name cannot be resolved"),
        ("Connection refused", "Connection refused"),
        ("unreachable", "Network is unreachable"),
        ("No route to host", "No route to host"),
        ("CERTIFICATE_VERIFY_FAILED", "its certificate cannot be verified"),
        ("timed out", "the connection timed out"),
        ("JSONDecodeError", "its answer is not JSON"),
        ("Connection aborted", "connection dropped"),
        ("Connection broken", "connection dropped"),
    )
    return next((words for sign, words in known if sign in text), f"its answer is unusable ({type(error).__name__})")


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Give an error, what it wraps and what it came from."""
    waiting, seen = [error], set[int]()
    while waiting:
        one = waiting.pop()
        if id(one) not in seen:
            seen.add(id(one))
            yield one
            inner = (one.__cause__, one.__context__, getattr(one, "reason", None), *one.args)
            waiting += [step for step in inner if isinstance(step, BaseException)]


def _is_in(error: BaseException, *kinds: type[BaseException]) -> bool:
    return any(isinstance(one, kinds) for one in _chain(error))
