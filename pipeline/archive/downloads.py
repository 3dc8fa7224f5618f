"""Downloads: each file whole or not at all, a few at a time.

A file is written to a temporary name, checked to be a whole FITS file of the exposure, and renamed. A download that
breaks off starts over, since a file has 2 to 10 MB.
"""

from __future__ import annotations

import os
import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, wait
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import urlsplit

from sbcdark.catalog.errors import BadFileError, UnreachableError
from sbcdark.pipeline.archive.concurrency import AT_ONCE, few_at_once
from sbcdark.pipeline.archive.http import BrokenAnswerError, ask, read_body, require_ok, with_retries
from sbcdark.pipeline.frames.untrusted_fits import UnsoundError, require_whole

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sbcdark.pipeline.archive.mast import ArchiveFile

_STALE_S = 86_400.0
"""Age at which the temporary file of a killed process is removed, s."""


ByteProgress: TypeAlias = Callable[[int, int], None]
"""A function that shows how many bytes have arrived, and how many are expected."""


def is_whole(path: Path) -> bool:
    """Return whether a file exists and is a whole one of the exposure that its name begins with."""
    try:
        require_whole(path, path.name[:9])
    except BadFileError:
        return False
    return True


def download(url: str, target: Path, arrived: Callable[[int], None] = lambda _count: None) -> int:
    """Download a FITS file, replace what is at its target, and return its size in bytes.

    Parameters
    ----------
    target : Path
        The file's final path: its folder exists, its name begins with the root name.
    arrived : callable
        Receives the number of bytes that have arrived.

    Raises
    ------
    UnsoundError
        The server does not send this file.
    UnreachableError, OSError
        The server cannot be reached; the file cannot be written.
    """
    for left in target.parent.glob(f"{target.name}.*.part"):
        with suppress(OSError):
            if time.time() - left.stat().st_mtime > _STALE_S:
                left.unlink()
    part = target.with_name(f"{target.name}.{uuid.uuid4().hex}.part")
    host = urlsplit(url).netloc
    try:
        return with_retries(host, _download_once, url, host, part, target, arrived)
    finally:
        part.unlink(missing_ok=True)


def _download_once(url: str, host: str, part: Path, target: Path, arrived: Callable[[int], None]) -> int:
    count = 0
    with ask("GET", url, host) as answer, part.open("wb") as file:
        require_ok(answer)
        for chunk in read_body(answer):
            file.write(chunk)
            count += len(chunk)
            arrived(count)
        file.flush()
        os.fsync(file.fileno())
    try:
        require_whole(part, target.name[:9])
    except BadFileError as error:
        raise BrokenAnswerError(f"not a whole file of {target.name[:9]}: {error.what}") from error
    part.replace(target)
    return count


def download_all(
    files: Sequence[tuple[ArchiveFile, Path]], progress: ByteProgress | None = None
) -> Iterator[tuple[Path, int | Exception]]:
    """Download files, a few at a time, and give each as it is finished.

    After `AT_ONCE` failures to reach the archive in a row the others are not tried.

    Parameters
    ----------
    files : sequence of (ArchiveFile, Path)
        Each file and its final path; the folders exist.

    Yields
    ------
    (Path, int or Exception)
        The final path, and the size in bytes or the error: `UnreachableError` if the archive cannot be reached.
    """
    stopped, arrived, unreached = threading.Event(), dict[Path, int](), 0
    total = sum(file.size_byte or 0 for file, _ in files)

    def get(file: ArchiveFile, target: Path) -> int | Exception:
        nonlocal unreached
        if unreached >= AT_ONCE:
            return UnreachableError("not tried: the archive cannot be reached")

        def count_bytes(count: int) -> None:
            if stopped.is_set():
                raise UnsoundError("stopped")
            arrived[target] = count

        try:
            size_byte = download(file.url, target, count_bytes)
        except (UnreachableError, UnsoundError, OSError) as error:
            unreached = unreached + 1 if isinstance(error, UnreachableError) else 0
            return error
        unreached = 0
        return size_byte

    try:
        with few_at_once() as pool:
            waiting = {pool.submit(get, file, target): target for file, target in files}
            while waiting:
                for future in wait(waiting, timeout=0.2, return_when=FIRST_COMPLETED).done:
                    yield waiting.pop(future), future.result()
                if progress is not None:
                    progress(sum(list(arrived.values())), total)
    finally:
        stopped.set()
