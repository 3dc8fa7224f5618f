"""A folder with copies of remote files; a size limit removes the least recently used ones.

fsspec's caches have no size limit and do not know other processes. A copy's name contains a hash of the URI, size, time
and ETag in the catalog, so that it belongs to one content. Copies in use are locked, and stay; a copy is written by one
process at a time, which never replaces a whole one.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
from contextlib import ExitStack, contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING

from sbcdark.catalog.errors import BadFileError, SbcdarkError, UsageError
from sbcdark.pipeline.archive.concurrency import few_at_once
from sbcdark.pipeline.archive.urls import file_name, is_remote
from sbcdark.pipeline.frames.untrusted_fits import UnsoundError, local_path

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sbcdark.catalog.records import FileRecord

DEFAULT_LIMIT_MB = 2000
"""190 FLTs, or 900 RAW darks."""

_COPY = re.compile(r"[0-9a-f]{32}[_/]")
"""The path of a copy in the cache folder; the user may keep other files there, which are never removed."""

_locked: ContextVar[ExitStack | None] = ContextVar("_locked", default=None)
"""The open and locked copies of the innermost `keeping_files`."""


def record_to_match(file: FileRecord) -> FileRecord | None:
    """Return the record that a local file must match; the cache has checked a copy of a remote file."""
    return None if is_remote(file.uri) else file


def path_of(file: FileRecord) -> Path:
    """Return the local path of a file of the catalog; fetch the file into the cache if it is remote.

    Raises
    ------
    BadFileError
        The file no longer exists, or changed since it was ingested.
    SbcdarkError
        The cache folder cannot be used, or `SBCDARK_CACHE_LIMIT` is not a number.
    UnreachableError
        The server cannot be reached.
    """
    if not is_remote(file.uri):
        return local_path(file.uri)
    folder = cache_folder("files")
    content_id = f"{file.uri}\n{file.size_byte}\n{file.mtime_ns}\n{file.etag}"
    name = re.sub(r"[^A-Za-z0-9_.-]", "_", file_name(file.uri))[-80:]
    copy = folder / f"{hashlib.sha256(content_id.encode()).hexdigest()[:32]}_{name}"
    try:
        while not _lock(copy, file.size_byte):
            _store(_content(file), copy)
    except OSError as error:
        raise SbcdarkError(
            f"The cache folder {folder} cannot be used: {error.strerror or error}.",
            "Free some space there, or name another folder with the environment variable SBCDARK_CACHE.",
        ) from error
    return copy


def fetch_ahead(files: Sequence[FileRecord]) -> None:
    """Fetch the remote ones among some files, a few at a time; `path_of` reports those that cannot be had."""
    remote = {file.uri: file for file in files if is_remote(file.uri)}
    if not remote or sum(file.size_byte for file in remote.values()) > _limit_byte():
        return

    def fetch(file: FileRecord) -> None:
        with suppress(BadFileError):
            path_of(file)

    with few_at_once() as pool:
        list(pool.map(fetch, remote.values()))


@contextmanager
def keeping_files() -> Iterator[None]:
    """Keep the copies that are used inside the block until its end, even above the limit."""
    with ExitStack() as locked:
        token = _locked.set(locked)
        try:
            yield
        finally:
            _locked.reset(token)
            locked.close()
            with suppress(OSError, SbcdarkError):
                _make_room(cache_folder("files"), 0)


def cache_folder(kind: str) -> Path:
    """Return the folder of one kind of things that are kept: ``files`` or ``templates``."""
    named = os.environ.get("SBCDARK_CACHE")
    if named:
        folder = Path(named).expanduser().absolute()
        return folder if kind == "files" else folder / kind
    from platformdirs import user_cache_path  # noqa: PLC0415  only remote files and templates need it

    return user_cache_path("sbcdark") / kind


def limit_byte(variable: str, default_mb: int, todo: str) -> int:
    """Return the limit in bytes of an environment variable in megabytes.

    Raises
    ------
    UsageError
        It is not a number.
    """
    text = os.environ.get(variable) or str(default_mb)
    if not (text.isascii() and text.isdigit()):
        raise UsageError(f"{variable} = {text!r} is not a number of megabytes.", todo)
    return int(text) * 10**6


def _limit_byte() -> int:
    return limit_byte("SBCDARK_CACHE_LIMIT", DEFAULT_LIMIT_MB, "Set it to 2000, for instance.")


def _content(file: FileRecord) -> bytes:
    from sbcdark.pipeline.archive import remote_files  # noqa: PLC0415  requests is slow to import

    again = f"Ingest it again: sbcdark ingest {file.uri}"
    try:
        found = remote_files.stat(file.uri)
        if found is None:
            raise BadFileError(f"{file.uri} no longer exists.", "Ingest a copy of it.")
        same = found.is_same(file.size_byte, file.mtime_ns, file.etag)
        content = remote_files.read(file.uri, found) if same else b""
    except UnsoundError as error:
        raise BadFileError(f"{file.uri} cannot be fetched: {error}.", again) from error
    if not same or len(content) != file.size_byte:
        raise BadFileError(f"{file.uri} changed since it was ingested.", again)
    return content


def _lock(copy: Path, size_byte: int) -> bool:
    """Mark a copy as used and lock it until `keeping_files` ends; return False if there is no whole copy."""
    with suppress(FileNotFoundError), ExitStack() as opened:
        file = opened.enter_context(copy.open("rb"))
        fcntl.flock(file, fcntl.LOCK_SH)
        os.utime(copy)
        status = copy.stat()
        # Another process may have removed it before it was locked; a power cut may have left it short.
        if os.path.samestat(os.fstat(file.fileno()), status) and status.st_size == size_byte:
            locked = _locked.get()
            if locked is not None:
                locked.enter_context(opened.pop_all())
            return True
    return False


def _store(content: bytes, copy: Path) -> None:
    """Write a copy to a temporary name and rename it, unless another process was faster."""
    folder, part = copy.parent, copy.parent / ".sbcdark.part"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".sbcdark.lock").open("wb") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        if copy.is_file() and copy.stat().st_size == len(content):
            return
        _make_room(folder, len(content))
        try:
            part.write_bytes(content)
            part.replace(copy)
        finally:
            part.unlink(missing_ok=True)


def _make_room(folder: Path, needed_byte: int) -> None:
    """Remove the least recently used copies until the limit leaves room for more bytes; locked copies stay."""
    copies = []
    for path in (*folder.glob("*_*"), *folder.glob("*/*")):  # earlier releases had a folder for each copy
        if _COPY.match(path.relative_to(folder).as_posix()):
            with suppress(OSError):
                status = path.stat()
                copies.append((status.st_mtime_ns, status.st_size, path))
    excess_byte = needed_byte + sum(size for _, size, _ in copies) - _limit_byte()
    for _, size, path in sorted(copies):
        if excess_byte <= 0:
            return
        with suppress(OSError), path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()
            excess_byte -= size
