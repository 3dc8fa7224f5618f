"""Asking again what may pass, and one error for what does not: whose fault it is, without the texts of libraries."""

from __future__ import annotations

import os
import socket
import time
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, TypeVar

from sbcdark.catalog.errors import SbcdarkError, UnreachableError
from sbcdark.pipeline.connection import PASSING
from sbcdark.pipeline.fits_input import UnsoundError
from sbcdark.pipeline.remote_names import host_of

if TYPE_CHECKING:
    from collections.abc import Callable

BACK_OFF_S = (0.5, 2.0)
"""What passes (a reset, a silence, a server that is busy) is tried again after these times, s."""

_T = TypeVar("_T")


class RemoteRefusedError(UnsoundError):
    """The server is there, and does not give this file."""


class GoneError(RemoteRefusedError):
    """There is no such file, or no longer."""


class ChangedError(UnsoundError):
    """The file is another one than when it was looked up."""


class NoRangesError(SbcdarkError):
    """The server gives a file whole or not at all."""


class BrokenOffError(Exception):
    """An answer ended before its end."""


def persistently(uri: str, call: Callable[..., _T], *arguments: Any) -> _T:
    """Return what a call returns, made again where it failed for what may pass.

    Parameters
    ----------
    uri : str
        Of what is asked; messages name its host.
    call : callable
        May raise whatever aiohttp, botocore, s3fs and sockets raise.

    Raises
    ------
    GoneError, RemoteRefusedError
        The host is there, and has or gives no such file.
    UnreachableError
        It cannot be reached.
    """
    for wait in (*BACK_OFF_S, None):
        try:
            return call(*arguments)
        except (UnsoundError, SbcdarkError):
            raise
        except Exception as error:
            told, passes = _told(error, host_of(uri))
            if told is error:
                raise
            if wait is None or not passes:
                raise told from error
            time.sleep(wait)
    raise AssertionError  # pragma: no cover  the last round returns or raises


def _told(error: Exception, host: str) -> tuple[Exception, bool]:
    """Return the error to be told for one of a library's (whose text may hold addresses), and whether it may pass.

    An error that is not known comes back as it is.
    """
    status = _status(error)
    if status is None:
        return _connection_told(error, host)
    if status in {404, 410}:
        return GoneError(f"the server answers {status} ({_phrase(status)}): it is not there"), False
    if status == 412:
        return ChangedError("it changes while it is read"), False
    return RemoteRefusedError(f"the server answers {status} ({_phrase(status)})"), status in PASSING


def _connection_told(error: Exception, host: str) -> tuple[Exception, bool]:
    import aiohttp  # noqa: PLC0415  only remote files need it
    import botocore.exceptions as botocore  # noqa: PLC0415  only remote files need it

    hint = "Look after the network and the address, then run it again: what was read before is kept."
    if isinstance(error, aiohttp.ClientSSLError):
        return UnreachableError(f"{host} cannot be trusted: its certificate is not valid.", hint), False
    if isinstance(error, TimeoutError | botocore.ReadTimeoutError | botocore.ConnectTimeoutError):
        return UnreachableError(f"{host} does not answer.", hint), True
    if isinstance(error, BrokenOffError | aiohttp.ClientPayloadError):
        return RemoteRefusedError("the server breaks off in the middle of it"), True
    if isinstance(error, aiohttp.ClientConnectionError | botocore.ConnectionError | botocore.HTTPClientError | OSError):
        return UnreachableError(f"{host} cannot be reached{_reason(error)}.", hint), True
    if isinstance(error, botocore.BotoCoreError):
        settings = "Look after the settings of AWS (the AWS_… variables and ~/.aws/config)."
        return SbcdarkError(f"{host} cannot be asked: {type(error).__name__}.", settings), False
    if isinstance(error, aiohttp.ClientError | ValueError):
        return RemoteRefusedError(f"the server's answer cannot be used ({type(error).__name__})"), False
    return error, False


def _reason(error: Exception) -> str:
    cause = getattr(error, "os_error", None)
    if isinstance(cause, socket.gaierror):
        return ": its name is not known"
    return f": {os.strerror(cause.errno)}" if isinstance(cause, OSError) and cause.errno else ""


def _status(error: BaseException) -> int | None:
    """Return the HTTP status that an error of aiohttp, botocore or s3fs stands for."""
    for one in (error, error.__cause__):
        answer = getattr(one, "response", None)
        status = answer.get("ResponseMetadata", {}).get("HTTPStatusCode") if isinstance(answer, dict) else None
        status = status if status is not None else getattr(one, "status", None)
        if isinstance(status, int) and status >= 300:
            return status
    if isinstance(error, FileNotFoundError):
        return 404
    return 403 if isinstance(error, PermissionError) else None


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "unknown"
