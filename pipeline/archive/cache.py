"""Copies of remote files whose pixels are needed, in a folder with a size limit: the least recently used go first.

fsspec's caches have no size limit and know no other process, so this one is our own. A copy that is in use is locked
and stays. Copies belong to one content: its size, time and ETag, as the catalog knows them, are part of their place.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING

from sbcdark.catalog.errors import BadFileError, SbcdarkError, UsageError
from sbcdark.pipeline.archive import remote_files
from sbcdark.pipeline.archive.remote_files import AT_ONCE, RemoteStat
from sbcdark.pipeline.archive.urls import file_name, is_remote
from sbcdark.pipeline.frames.untrusted_fits import UnsoundError, local_path

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sbcdark.catalog.records import FileRecord

DEFAULT_LIMIT_MB = 2000
"""190 FLTs, or 900 RAW darks."""

_STALE_S = 86_400.0
"""What a killed process left half written is removed after so long, s."""

_in_use: ContextVar[ExitStack | None] = ContextVar("_in_use", default=None)
"""Open copies with a shared lock, of the innermost `keeping_files`."""


def path_of(file: FileRecord) -> Path:
    """Return where the bytes of a file of the catalog are on this machine; a remote file is fetched if need be.

    Two processes that want the same file may both fetch it: each writes a file of its own, and either is right.

    Raises
    ------
    BadFileError
        It is gone, or is not the file that was ingested.
    SbcdarkError
        The cache folder cannot be written, or `SBCDARK_CACHE_LIMIT` is not a number.
    UnreachableError
        Its host cannot be reached.
    """
    if not is_remote(file.uri):
        return local_path(file.uri)
    folder, known = _folder(), RemoteStat(file.size_byte, file.mtime_ns, file.etag)
    key = hashlib.sha256(f"{file.uri}\n{known.size_byte}\n{known.mtime_ns}\n{known.etag}".encode()).hexdigest()[:32]
    place = folder / key / re.sub(r"[^A-Za-z0-9_.-]", "_", file_name(file.uri))[-80:]
    try:
        if not _taken(place, file.size_byte):
            content = _content(file.uri, known)
            _make_room(folder, len(content))
            _store(folder, place, content)
    except OSError as error:
        raise SbcdarkError(
            f"The cache folder {folder} cannot be used: {error.strerror or error}.",
            "Make room there, or name another folder with the environment variable SBCDARK_CACHE.",
        ) from error
    return place


def fetch_ahead(files: Sequence[FileRecord]) -> None:
    """Fetch the remote ones among some files, a few at a time; one that is gone is left to whoever asks for it.

    Raises
    ------
    SbcdarkError
        The cache folder cannot be written.
    UnreachableError
        A host cannot be reached.
    """
    wanted = {file.uri: file for file in files if is_remote(file.uri)}
    if not wanted or sum(file.size_byte for file in wanted.values()) > _limit_byte():
        return

    def fetch(file: FileRecord) -> None:
        with suppress(BadFileError):
            path_of(file)

    pool = ThreadPoolExecutor(AT_ONCE)
    try:
        list(pool.map(fetch, wanted.values()))
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


@contextmanager
def keeping_files() -> Iterator[None]:
    """Keep what is fetched inside the block until its end, whatever the limit says; then the limit holds again."""
    with ExitStack() as held:
        token = _in_use.set(held)
        try:
            yield
        finally:
            _in_use.reset(token)
            held.close()
            with suppress(OSError, SbcdarkError):
                _make_room(_folder(), 0)


def _folder() -> Path:
    named = os.environ.get("SBCDARK_CACHE")
    if named:
        return Path(named).expanduser().absolute()
    from platformdirs import user_cache_path  # noqa: PLC0415  only remote files need it

    return user_cache_path("sbcdark") / "files"


def _limit_byte() -> int:
    text = os.environ.get("SBCDARK_CACHE_LIMIT") or str(DEFAULT_LIMIT_MB)
    if not (text.isascii() and text.isdigit()):
        raise UsageError(
            f"SBCDARK_CACHE_LIMIT = {text!r} is not a number of megabytes.", "Set it to 2000, for instance."
        )
    return int(text) * 10**6


def _content(uri: str, known: RemoteStat) -> bytes:
    again = f"Ingest it again: sbcdark ingest {uri}"
    try:
        found = remote_files.stat(uri)
        if found is None:
            raise BadFileError(f"{uri} does not exist any more (404).", "Ingest a copy of it.")
        if not found.is_same(known.size_byte, known.mtime_ns, known.etag):
            raise BadFileError(f"{uri} changed since it was ingested.", again)
        content = remote_files.read_whole(uri, found)
    except UnsoundError as error:
        raise BadFileError(f"{uri} cannot be fetched: {error}.", again) from error
    if len(content) != known.size_byte:
        raise BadFileError(f"{uri} has {len(content):,} bytes; {known.size_byte:,} were ingested.", again)
    return content


def _taken(place: Path, size_byte: int) -> bool:
    """Lock a copy and mark it as used now, if it exists and is whole."""
    with suppress(FileNotFoundError), ExitStack() as opened:
        file = opened.enter_context(place.open("rb"))
        fcntl.flock(file, fcntl.LOCK_SH)
        os.utime(place)
        # Another process may have removed it before it was locked; a power cut may have left it short.
        if os.path.samestat(os.fstat(file.fileno()), place.stat()) and place.stat().st_size == size_byte:
            _keep(opened)
            return True
    return False


def _keep(opened: ExitStack) -> None:
    """Hand an open copy, and so its lock, over to the innermost `keeping_files`."""
    held = _in_use.get()
    if held is not None:
        held.enter_context(opened.pop_all())


def _store(folder: Path, place: Path, content: bytes) -> None:
    """Write a copy under another name and rename it when it is whole; it is locked before others can see it."""
    place.parent.mkdir(parents=True, exist_ok=True)
    written = folder / f"{uuid.uuid4().hex}.part"
    try:
        with ExitStack() as opened:
            file = opened.enter_context(written.open("xb"))
            fcntl.flock(file, fcntl.LOCK_SH)
            file.write(content)
            file.flush()
            place.parent.mkdir(exist_ok=True)  # another process may have removed an empty one
            written.replace(place)
            _keep(opened)
    finally:
        written.unlink(missing_ok=True)


def _make_room(folder: Path, needed_byte: int) -> None:
    """Remove the least recently used copies that nobody uses until so many bytes more are within the limit."""
    limit = _limit_byte()
    for part in folder.glob("*.part"):
        with suppress(OSError):
            if time.time() - part.stat().st_mtime > _STALE_S:
                part.unlink()
    copies = []
    for place in folder.glob("*/*"):
        with suppress(OSError):
            status = place.stat()
            copies.append((status.st_mtime_ns, status.st_size, place))
    total = needed_byte + sum(size for _, size, _ in copies)
    for _, size, place in sorted(copies):
        if total <= limit:
            return
        with suppress(OSError), place.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            place.unlink()
            total -= size
            place.parent.rmdir()
