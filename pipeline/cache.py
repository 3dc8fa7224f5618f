"""Copies of remote files whose pixels are needed, in a folder with a size limit: the least recently used go first.

A copy that is in use is locked, by this process or another, and stays. Copies belong to one content: its size, time and
ETag, as the catalog knows them, are part of their place.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import time
import uuid
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING

from sbcdark.catalog.errors import BadFileError, SbcdarkError, UsageError
from sbcdark.pipeline import remote
from sbcdark.pipeline.fits_input import UnsoundError, local_path
from sbcdark.pipeline.remote_names import file_name, is_remote
from sbcdark.pipeline.remote_stat import RemoteStat
from sbcdark.pipeline.remote_threads import threads

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sbcdark.catalog.records import FileRecord

DEFAULT_LIMIT_MB = 2000
"""190 FLTs, or 900 RAW darks."""

_STALE_S = 86_400.0
"""What a killed process left half written is taken away after so long, s."""

_LOCKS = "locks"

_in_use: ContextVar[list[int] | None] = ContextVar("_in_use", default=None)
"""Open descriptors with a shared lock, of the innermost `keeping_files`."""


def path_of(file: FileRecord) -> Path:
    """Return where the bytes of a file of the catalog are, once they are on this machine.

    Raises
    ------
    BadFileError
        It is gone, or is another one than was ingested.
    SbcdarkError
        The cache folder cannot be written.
    UnreachableError
        Its host cannot be reached.
    """
    if not is_remote(file.uri):
        return local_path(file.uri)
    return fetch_to_cache(file.uri, _known(file))


def _known(file: FileRecord) -> RemoteStat:
    return RemoteStat(file.size_byte, file.mtime_ns, file.etag)


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
            fetch_to_cache(file.uri, _known(file))

    with threads() as pool:
        list(pool.results(fetch, wanted.values()))


@contextmanager
def keeping_files() -> Iterator[None]:
    """Keep what is fetched inside the block until its end, whatever the limit says; then the limit holds again."""
    held: list[int] = []
    token = _in_use.set(held)
    try:
        yield
    finally:
        _in_use.reset(token)
        for descriptor in held:
            os.close(descriptor)
        if held:
            with suppress(OSError, SbcdarkError):
                _make_room(_folder(), 0)


def fetch_to_cache(uri: str, known: RemoteStat) -> Path:
    """Return the copy of a remote file, fetched if it is not there yet; processes that want the same one take turns.

    Parameters
    ----------
    uri : str
        As `remote_names.remote_uri` returns it.
    known : RemoteStat
        The content that is wanted: another one is refused.

    Returns
    -------
    Path
        Its last component is the file's own name. Outside of `keeping_files` the next fetch may take it away.

    Raises
    ------
    BadFileError
        It is gone, or is another one.
    SbcdarkError
        The folder cannot be written, or `SBCDARK_CACHE_LIMIT` is no number.
    UnreachableError
        Its host cannot be reached.
    """
    folder = _folder()
    key = hashlib.sha256(f"{uri}\n{known.size_byte}\n{known.mtime_ns}\n{known.etag}".encode()).hexdigest()[:32]
    place = folder / key / re.sub(r"[^A-Za-z0-9_.-]", "_", file_name(uri))[-80:]
    try:
        if _taken(place, known):
            return place
        with _turn(folder / _LOCKS / key[:2]):
            if not _taken(place, known):
                content = _content(uri, known)
                _make_room(folder, len(content))
                _store(folder, place, content)
    except OSError as error:
        raise SbcdarkError(
            f"The cache folder {folder} cannot be used: {error.strerror or error}.",
            "Make room there, or name another folder with the environment variable SBCDARK_CACHE.",
        ) from error
    return place


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
            f"SBCDARK_CACHE_LIMIT is {text!r}, which is no number of megabytes.", "Set it to 2000, for instance."
        )
    return int(text) * 10**6


def _content(uri: str, known: RemoteStat) -> bytes:
    again = f"Ingest it again: sbcdark ingest {uri}"
    try:
        found = remote.stat(uri)
        if found is None:
            raise BadFileError(f"{uri} is not there any more (404).", "Ingest a copy of it.")
        if not found.is_same(known.size_byte, known.mtime_ns, known.etag):
            raise BadFileError(f"{uri} is another file than was ingested.", again)
        content = remote.read_whole(uri, found)
    except UnsoundError as error:
        raise BadFileError(f"{uri} cannot be fetched: {error}.", again) from error
    if len(content) != known.size_byte:
        raise BadFileError(f"{uri} came with {len(content)} bytes, where {known.size_byte} were ingested.", again)
    return content


def _taken(place: Path, known: RemoteStat) -> bool:
    """Mark a copy as in use, and as used now, if it is there and whole."""
    try:
        descriptor = os.open(place, os.O_RDONLY)
    except FileNotFoundError:
        return False
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    try:
        os.utime(place)
        status = os.fstat(descriptor)
        # Another process may have taken it away before it was locked; a power cut may have left it short.
        good = os.path.samestat(status, place.stat()) and known.size_byte in {None, status.st_size}
    except FileNotFoundError:
        good = False
    if not good:
        os.close(descriptor)
        return False
    _keep(descriptor)
    return True


def _keep(descriptor: int) -> None:
    held = _in_use.get()
    if held is None:
        os.close(descriptor)
    else:
        held.append(descriptor)


@contextmanager
def _turn(lock: Path) -> Iterator[None]:
    """Hold a lock file; the kernel lets go of it where a process dies."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _store(folder: Path, place: Path, content: bytes) -> None:
    """Write a copy under another name and rename it when it is whole; it is locked before others can see it."""
    written = folder / f"{uuid.uuid4().hex}.part"
    descriptor = os.open(written, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        with os.fdopen(os.dup(descriptor), "wb") as file:
            file.write(content)
        _rename(written, place)
    except BaseException:
        os.close(descriptor)
        written.unlink(missing_ok=True)
        raise
    _keep(descriptor)


def _rename(written: Path, place: Path) -> None:
    for tries_left in (2, 1, 0):
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            written.replace(place)
        except FileNotFoundError:  # another process has just taken away what was in this folder, and the folder
            if not tries_left:
                raise
        else:
            return


def _make_room(folder: Path, needed_byte: int) -> None:
    """Take away the least recently used copies that nobody uses until so many bytes more are within the limit."""
    limit = _limit_byte()
    for part in folder.glob("*.part"):
        with suppress(OSError):
            if time.time() - part.stat().st_mtime > _STALE_S:
                part.unlink()
    copies = []
    for place in folder.glob("*/*"):
        if place.parent.name != _LOCKS:
            with suppress(OSError):
                status = place.stat()
                copies.append((status.st_mtime_ns, status.st_size, place))
    total = needed_byte + sum(size for _, size, _ in copies)
    for _, size, place in sorted(copies):
        if total <= limit:
            return
        if _removed(place):
            total -= size


def _removed(place: Path) -> bool:
    try:
        descriptor = os.open(place, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        place.unlink()
        place.parent.rmdir()
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True
