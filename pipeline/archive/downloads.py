"""Getting files from the archive: each whole or not at all, a few at a time.

A file goes to a temporary name beside its final one. When its length is right and it opens as a whole FITS file of the
exposure that was asked for, it takes the final name. One that breaks off starts over: it has 2 to 10 MB.
"""

from __future__ import annotations

import os
import threading
import time
import uuid
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

from sbcdark.catalog.errors import BadFileError, UnreachableError
from sbcdark.pipeline.archive.http import (
    BrokenError,
    RefusedError,
    ask,
    read_body,
    require_ok,
    whole_number,
    with_retries,
)
from sbcdark.pipeline.archive.remote_files import AT_ONCE
from sbcdark.pipeline.frames.untrusted_fits import LARGEST_FILE, UnsoundError, require_whole

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from sbcdark.pipeline.archive.mast import ArchiveFile

_STALE_S = 86_400.0
"""What a killed process left half written is removed after so long, s."""

_MOST_LOST = AT_ONCE
"""So many files in a row that cannot be asked for, and the others are not tried: the archive is gone."""


class ByteProgress(Protocol):
    """What a download says while it goes on."""

    def __call__(self, done_byte: int, total_byte: int) -> None:
        """Say that `done_byte` of `total_byte` bytes are here."""


def is_whole(target: Path) -> bool:
    """Tell whether a file exists that is a whole one of the exposure that its name begins with."""
    try:
        require_whole(target, target.name[:9])
    except BadFileError:
        return False
    return True


def download(
    url: str,
    target: Path,
    arrived: Callable[[int], None] = lambda _count: None,
    stop: threading.Event | None = None,
) -> int:
    """Get a FITS file whose name begins with its root name, in place of what is at its final name.

    Parameters
    ----------
    target : Path
        The file's final name; its folder exists.
    arrived : callable
        Receives the number of bytes that are here.
    stop : Event, optional
        Set where the download shall end soon.

    Returns
    -------
    int
        Its bytes.

    Raises
    ------
    UnsoundError
        It cannot be had.
    UnreachableError
        The server cannot be reached.
    OSError
        It cannot be written.
    """
    for left in target.parent.glob(f"{target.name}.*.part"):
        with suppress(OSError):
            if time.time() - left.stat().st_mtime > _STALE_S:
                left.unlink()
    part = target.with_name(f"{target.name}.{uuid.uuid4().hex}.part")
    host = urlsplit(url).netloc
    try:
        return with_retries(host, _download_once, url, host, part, target, arrived, stop or threading.Event())
    finally:
        part.unlink(missing_ok=True)


def _download_once(
    url: str, host: str, part: Path, target: Path, arrived: Callable[[int], None], stop: threading.Event
) -> int:
    count = 0
    with ask("GET", url, host) as answer, part.open("wb") as file:
        require_ok(answer)
        length = whole_number(answer.headers.get("Content-Length"))
        if length is not None and length > LARGEST_FILE:
            raise RefusedError(f"it has {length:,} bytes; an SBC file has at most {LARGEST_FILE:,}")
        for chunk in read_body(answer, LARGEST_FILE, length):
            file.write(chunk)
            count += len(chunk)
            arrived(count)
            if stop.is_set():
                raise RefusedError("stopped")
        file.flush()
        os.fsync(file.fileno())
    try:
        require_whole(part, target.name[:9])
    except BadFileError as error:
        raise BrokenError(f"it is not a whole file of {target.name[:9]}: {error.what}") from error
    part.replace(target)
    return count


def download_all(
    files: Sequence[tuple[ArchiveFile, Path]], progress: ByteProgress | None = None
) -> Iterator[tuple[Path, int | Exception]]:
    """Download files, a few at a time, and give each as it is finished.

    Parameters
    ----------
    files : sequence of (ArchiveFile, Path)
        What to get, and the final name of each; the folders exist.

    Yields
    ------
    (Path, int or Exception)
        The final name, and its bytes or why it could not be had; `UnreachableError` where the archive is lost.
    """
    stop, here, lost = threading.Event(), dict[Path, int](), 0
    total = sum(file.size_byte or 0 for file, _ in files)

    def get(file: ArchiveFile, target: Path) -> int:
        nonlocal lost
        if lost >= _MOST_LOST:
            raise UnreachableError("it is not tried: the archive cannot be reached")
        try:
            count = download(file.url, target, lambda count: here.update({target: count}), stop)
        except UnreachableError:
            lost += 1
            raise
        lost = 0
        return count

    pool = ThreadPoolExecutor(AT_ONCE)
    try:
        waiting = {pool.submit(get, file, target): target for file, target in files}
        while waiting:
            for future in wait(waiting, timeout=0.2, return_when=FIRST_COMPLETED).done:
                error = future.exception()
                if error is not None and not isinstance(error, UnsoundError | UnreachableError | OSError):
                    raise error
                yield waiting.pop(future), error if isinstance(error, Exception) else future.result()
            if progress is not None:
                progress(sum(list(here.values())), total)
    finally:
        stop.set()
        pool.shutdown(wait=False, cancel_futures=True)
