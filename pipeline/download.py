"""Getting one file over HTTP: whole or not at all, resumed where it was broken off, tried again where that can help.

The bytes go to a `.part` beside the file's final name. What the server said of them (`.part.json`) lets a later run ask
for the rest alone, and only of the same content. The part is locked while it is written; when it has its full length
and is a whole FITS file of the exposure that was asked for, it takes the final name.
"""

from __future__ import annotations

import fcntl
import json
import os
import random
import re
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from sbcdark.catalog.errors import BadFileError, SbcdarkError
from sbcdark.pipeline.connection import PASSING, why
from sbcdark.pipeline.fits_input import LARGEST_FILE, require_whole

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import requests

_CHUNK = 2**14
"""Bytes that are written at a time, and the most that a killed run has to ask for again."""

_RANGE = re.compile(r"bytes (\d{1,15})-(\d{1,15})/(\d{1,15})")

_MARK = re.compile(r"[!-~](?:[ -~]{0,200}[!-~])?")

_MOST_REQUESTS = 60
"""For one file in one run, however many bytes each brings."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a download is tried.

    Attributes
    ----------
    tries : int
        Requests that end in nothing new before the file is given up; one that brought bytes does not count.
    first_wait_s, longest_wait_s : float
        The wait after a failure, doubled each time.
    connect_s, read_s : float
        The longest silence of the server.
    lock_s : float
        How long to wait for another process that gets the same file.
    """

    tries: int = 6
    first_wait_s: float = 0.5
    longest_wait_s: float = 20.0
    connect_s: float = 10.0
    read_s: float = 60.0
    lock_s: float = 600.0


class DownloadError(SbcdarkError):
    """One file could not be had; `lost` where the server could not even be reached."""

    def __init__(self, what: str, *, lost: bool = False) -> None:
        super().__init__(what)
        self.lost = lost


class StoppedError(SbcdarkError):
    """The download was told to stop."""


class _AgainError(Exception):
    """A request came to nothing; another one may not."""

    def __init__(self, reason: str, *, wait_s: float = 0.0, lost: bool = False) -> None:
        super().__init__(reason)
        self.wait_s = wait_s
        self.lost = lost


@dataclass(frozen=True, slots=True)
class _Said:
    """What the server said of the content that a part holds the beginning of."""

    etag: str | None
    last_modified: str | None
    length_byte: int | None

    @property
    def validator(self) -> str | None:
        """What the rest can be asked for by; a weak tag does not promise the same bytes."""
        if self.etag and not self.etag.startswith("W/"):
            return self.etag
        return self.last_modified


def download(
    session: requests.Session,
    url: str,
    target: Path,
    *,
    patience: Patience,
    arrived: Callable[[int], None],
    stop: threading.Event,
) -> int:
    """Get a FITS file whose name begins with its root name.

    Parameters
    ----------
    session : Session
        Of the thread that calls.
    target : Path
        The file's final name; its folder is there.
    arrived : callable
        Is told how many bytes of the file are here, again and again.
    stop : Event
        Set where the download shall end soon; the part stays for another run.

    Returns
    -------
    int
        Bytes that travelled; 0 where all was here already.

    Raises
    ------
    DownloadError
        The file cannot be had.
    StoppedError
        `stop` was set.
    """
    with _locked(target, patience, stop) as part:
        if part is None:
            return 0
        one = _Download(session, url, target, part, patience, arrived, stop)
        return one.run()


def part_of(target: Path) -> Path:
    """Return where the bytes of a file stand until it is whole."""
    return target.with_name(f"{target.name}.part")


def is_whole(target: Path) -> bool:
    """Tell whether a file stands there that is a whole one of the exposure that its name begins with."""
    if not target.is_file():
        return False
    try:
        require_whole(target, target.name[:9])
    except BadFileError:
        return False
    return True


@contextmanager
def _locked(target: Path, patience: Patience, stop: threading.Event) -> Iterator[int | None]:
    """Give the descriptor of the file's part, locked; None where another process got the file meanwhile."""
    part, deadline = part_of(target), time.monotonic() + patience.lock_s
    while True:
        descriptor = os.open(part, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                mine = False
            else:
                # The part that was opened may have got its final name (or been taken away) before it was locked.
                mine = _same_file(descriptor, part)
                if mine and is_whole(target):
                    part.unlink()
                    mine = False
                if mine:
                    try:
                        yield descriptor
                    finally:
                        if os.fstat(descriptor).st_size == 0 and _same_file(descriptor, part):
                            part.unlink()
                    return
        finally:
            os.close(descriptor)
        if is_whole(target):
            yield None
            return
        if time.monotonic() > deadline:
            raise DownloadError("another process has been getting it for too long")
        if stop.wait(0.1):
            raise StoppedError("Stopped.")


def _same_file(descriptor: int, path: Path) -> bool:
    try:
        there, held = path.stat(), os.fstat(descriptor)
    except FileNotFoundError:
        return False
    return (there.st_dev, there.st_ino) == (held.st_dev, held.st_ino)


class _Download:
    """One file, while its part is locked."""

    def __init__(
        self,
        session: requests.Session,
        url: str,
        target: Path,
        part: int,
        patience: Patience,
        arrived: Callable[[int], None],
        stop: threading.Event,
    ) -> None:
        self._session = session
        self._url = url
        self._target = target
        self._part = part
        self._patience = patience
        self._arrived = arrived
        self._stop = stop
        self._notes = target.with_name(f"{target.name}.part.json")
        self._travelled = 0

    def run(self) -> int:
        fruitless = 0
        for _ in range(_MOST_REQUESTS):
            before = self._have()
            try:
                self._request()
                self._finish()
            except _AgainError as error:
                fruitless = fruitless + 1 if self._have() <= before else 1
                if fruitless >= self._patience.tries:
                    raise DownloadError(str(error), lost=error.lost) from error
                wait = min(self._patience.first_wait_s * 2 ** (fruitless - 1), self._patience.longest_wait_s)
                # Several files that failed together shall not all come back together.
                wait = max(wait * random.uniform(0.8, 1.2), min(error.wait_s, self._patience.longest_wait_s))  # noqa: S311
                if self._stop.wait(wait):
                    raise StoppedError("Stopped.") from error
            else:
                return self._travelled
        raise DownloadError(f"the server breaks off again and again; {self._have()} bytes are here")

    def _have(self) -> int:
        return os.fstat(self._part).st_size

    def _request(self) -> None:
        """Ask for what is not here yet, unless all is."""
        import requests  # noqa: PLC0415  only where something is downloaded
        from urllib3.exceptions import MaxRetryError  # noqa: PLC0415

        said, have = self._known(), self._have()
        if have and said is not None and have == said.length_byte:
            return
        headers = {"Accept-Encoding": "identity"}
        if have and said is not None and said.validator is not None:
            headers |= {"Range": f"bytes={have}-", "If-Range": said.validator}
        elif have:
            self._forget()
        limits = (self._patience.connect_s, self._patience.read_s)
        try:
            with self._session.get(self._url, headers=headers, stream=True, timeout=limits) as response:
                self._take(response, said)
        except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError) as error:
            # Only where no connection came about at all does urllib3 speak of retries.
            lost = bool(error.args) and isinstance(error.args[0], MaxRetryError)
            raise _AgainError(why(error), lost=lost) from error
        except requests.RequestException as error:
            raise DownloadError(f"it cannot be asked for ({type(error).__name__})") from error

    def _take(self, response: requests.Response, said: _Said | None) -> None:
        """Write the body of an answer behind what is here, or in its place."""
        status = response.status_code
        if status == 206:
            length: int | None = self._continued(response, said)
        elif status == 200:
            self._forget()
            encoded = response.headers.get("Content-Encoding", "identity").lower() != "identity"
            length = None if encoded else _whole_number(response.headers.get("Content-Length"))
            if length is not None and length > LARGEST_FILE:
                raise DownloadError(f"it has {length} bytes, where an SBC file has at most {LARGEST_FILE}")
            marks = {} if encoded else response.headers
            self._remember(_Said(_mark(marks.get("ETag")), _mark(marks.get("Last-Modified")), length))
        elif status == 416:
            self._forget()
            raise _AgainError("the server has less of it than is here")
        elif status in PASSING:
            wait = _whole_number(response.headers.get("Retry-After")) or 0
            raise _AgainError(f"the server answers {status}", wait_s=float(wait))
        else:
            raise DownloadError(f"the server answers {status}")
        self._write(response)
        if length is not None and self._have() != length:
            raise _AgainError(f"{self._have()} of {length} bytes came")

    def _continued(self, response: requests.Response, said: _Said | None) -> int:
        """Check that a partial answer is the rest of what is here, and return the whole length."""
        found = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
        start, _, length = (int(group) for group in found.groups()) if found else (-1, -1, -1)
        wrong = start != self._have() or (said is not None and said.length_byte not in {None, length})
        if wrong or length > LARGEST_FILE:
            self._forget()
            raise _AgainError("the server sent another part than was asked for")
        return length

    def _write(self, response: requests.Response) -> None:
        position = os.lseek(self._part, 0, os.SEEK_END)
        for chunk in response.iter_content(_CHUNK):
            if not position and not chunk.startswith(b"SIMPLE  ="[: len(chunk)]):
                raise _AgainError("the server sent no FITS file")
            rest = memoryview(chunk)
            while rest:
                rest = rest[os.write(self._part, rest) :]
            position += len(chunk)
            self._travelled += len(chunk)
            self._arrived(position)
            if position > LARGEST_FILE:
                self._forget()
                raise DownloadError(f"it has more than {LARGEST_FILE} bytes")
            if self._stop.is_set():
                raise StoppedError("Stopped.")

    def _finish(self) -> None:
        """Give the part its final name, if it is a whole FITS file of this exposure."""
        part = part_of(self._target)
        try:
            require_whole(part, self._target.name[:9])
        except BadFileError as error:
            self._forget()
            raise _AgainError(f"what came is no whole file of {self._target.name[:9]}: {error.what}") from error
        os.fsync(self._part)
        part.replace(self._target)
        self._notes.unlink(missing_ok=True)

    def _known(self) -> _Said | None:
        try:
            said = json.loads(self._notes.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        if not isinstance(said, dict) or said.get("url") != self._url:
            return None
        length = said.get("length_byte")
        return _Said(
            _mark(said.get("etag")), _mark(said.get("last_modified")), length if isinstance(length, int) else None
        )

    def _remember(self, said: _Said) -> None:
        """Write down what the server said, before the first byte of it."""
        fresh = self._notes.with_name(f"{self._notes.name}.new")
        note: dict[str, Any] = asdict(said) | {"url": self._url}
        fresh.write_text(json.dumps(note), encoding="utf-8")
        fresh.replace(self._notes)

    def _forget(self) -> None:
        """Begin anew: what is here is of no use."""
        os.ftruncate(self._part, 0)
        self._notes.unlink(missing_ok=True)
        self._arrived(0)


def _mark(text: object) -> str | None:
    """Return a server's mark of a content if it can be sent back in a header as it is."""
    return text if isinstance(text, str) and _MARK.fullmatch(text) else None


def _whole_number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isascii() and text.isdigit() and len(text) < 16 else None
