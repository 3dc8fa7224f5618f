"""Ingest of remote files: only the headers and the rows of two regions of a RAW or FLT are read, by byte ranges."""

from __future__ import annotations

import hashlib
from functools import partial
from typing import TYPE_CHECKING

from sbcdark.catalog import queries
from sbcdark.catalog.engine import reading
from sbcdark.catalog.errors import SbcdarkError, UsageError
from sbcdark.catalog.records import FileReading, Refusal
from sbcdark.pipeline.archive.concurrency import few_at_once
from sbcdark.pipeline.archive.urls import file_name, names_folder, remote_uri
from sbcdark.pipeline.detector.regions import BOX, QUIET
from sbcdark.pipeline.frames import exposure_files
from sbcdark.pipeline.frames.flats import flat_has_come
from sbcdark.pipeline.frames.untrusted_fits import NotOursError, UnsoundError, clean, unpacked

if TYPE_CHECKING:
    import io
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    import sqlalchemy as sa

    from sbcdark.catalog.records import KnownFile
    from sbcdark.pipeline.archive.remote_files import RemoteStat
    from sbcdark.pipeline.ingest.report import IngestReport

REMOTE_REGIONS = (BOX, QUIET)
"""The regions measured in a partly read file: those that the rules rank by."""

_BATCH = 36
"""Files per transaction: fewer than for local files, since remote ones take longer."""

_AHEAD = 4 * 2880
"""Bytes read ahead: the headers before the pixels of a RAW take 8 blocks, each of those after them 2."""

_MOST_READS = 48
"""Maximum reads per file: an FLT has eight headers and eight small tables."""


def split(paths: Iterable[str | Path]) -> tuple[list[str | Path], list[str]]:
    """Split paths into local paths and remote URIs, each in order.

    Raises
    ------
    UsageError
        An address is not accepted.
    """
    local: list[str | Path] = []
    uris = []
    for path in paths:
        uri = remote_uri(path) if isinstance(path, str) else None
        if uri is None:
            local.append(path)
        else:
            uris.append(uri)
    return local, uris


def discover_remote(uris: Iterable[str], report: IngestReport) -> dict[str, RemoteStat | None]:
    """Return the files to read, in order, each with its entry in a listing or None; report the others.

    Raises
    ------
    UsageError
        An address names no file, or holds no files.
    UnreachableError
        A server cannot be reached.
    """
    found: dict[str, RemoteStat | None] = {}
    for uri in uris:
        listed: Mapping[str, RemoteStat | None] = {uri: None}
        if names_folder(uri):
            from sbcdark.pipeline.archive.remote_files import list_objects  # noqa: PLC0415  requests is slow to import

            listed = list_objects(uri)
            if not listed:
                raise UsageError(f"{uri} holds no files.", "Name a prefix such as s3://bucket/folder/.")
        elif not file_name(uri):
            raise UsageError(
                f"{uri} names no file.", "Give the address of each file, or a folder as s3://bucket/folder/."
            )
        for key, entry in listed.items():
            name = file_name(key)
            if not name:
                continue  # some tools store an empty object for a folder
            if exposure_files.product_kind(name) is None:
                report.ignore(clean(key), exposure_files.why_ignored(name))
            elif not _is_accepted(key):
                report.reject(clean(key), "key has characters that are not supported")
            elif found.get(key) is None:
                found[key] = entry
    return found


def _is_accepted(uri: str) -> bool:
    try:
        return remote_uri(uri) == uri
    except UsageError:
        return False


def read_batches(
    engine: sa.Engine | None, files: Mapping[str, RemoteStat | None], *, checksum: bool, flat: Path | None = None
) -> Iterator[list[FileReading | Refusal | None]]:
    """Read files in order, batch by batch; None stands for a file that has not changed.

    Raises
    ------
    UnreachableError
        A server cannot be reached; the files read before are yielded first.
    """
    uris = list(files)
    with few_at_once() as pool:
        for start in range(0, len(uris), _BATCH):
            batch = uris[start : start + _BATCH]
            known = {}
            if engine is not None:
                with reading(engine) as session:
                    known = queries.known_files(session, batch)
            read = partial(read_remote, checksum=checksum, flat=flat)
            waiting = [pool.submit(read, uri, known.get(uri), files[uri]) for uri in batch]
            done = []
            try:
                for future in waiting:
                    done.append(future.result())  # noqa: PERF401  the results before an error are needed
            except SbcdarkError:
                yield done
                raise
            yield done


def read_remote(
    uri: str,
    known: KnownFile | None = None,
    found: RemoteStat | None = None,
    *,
    checksum: bool = True,
    flat: Path | None = None,
) -> FileReading | Refusal | None:
    """Read headers and regions of a remote file, unless it is unchanged since it was ingested.

    Parameters
    ----------
    uri : str
        URI of a RAW, FLT or ASN, plain or gzipped, as returned by `urls.remote_uri`.
    known : KnownFile, optional
        The file in the catalog.
    found : RemoteStat, optional
        The file in a listing; by default the server is queried.
    checksum : bool
        Compute the sha256 of a file that must be read whole; other files have none.
    flat : Path or None
        A flat, or a folder of flats, see `flats.find_flat`.

    Returns
    -------
    FileReading, Refusal or None
        None if size, time and ETag match the catalog.

    Raises
    ------
    UnreachableError
        The server cannot be reached.
    """
    from sbcdark.pipeline.archive import remote_files  # noqa: PLC0415  requests is slow to import
    from sbcdark.pipeline.archive.http import ChangedError  # noqa: PLC0415

    try:
        kind = exposure_files.kind_of_ours(file_name(uri))
        found = found or remote_files.stat(uri)
        if found is not None and known is not None and _unchanged(known, found, flat):
            return None
        try:
            return _read(uri, kind, found, flat, checksum=checksum)
        except ChangedError:
            found = remote_files.stat(uri)
            return _read(uri, kind, found, flat, checksum=checksum)
    except (NotOursError, UnsoundError) as error:
        ignored = isinstance(error, NotOursError)
        return Refusal(uri, str(error), ignored, (found and found.size_byte) or 0, found.mtime_ns if found else 0)


def _read(uri: str, kind: str, found: RemoteStat | None, flat: Path | None, *, checksum: bool) -> FileReading:
    from sbcdark.pipeline.archive import remote_files  # noqa: PLC0415  requests is slow to import
    from sbcdark.pipeline.archive.http import NoRangesError, require_size  # noqa: PLC0415

    if found is None:
        raise UnsoundError("does not exist: the server answers 404")
    size = found.size_byte
    require_size(size)
    # If the server does not report changes, only the checksum of the whole file does.
    if size is not None and found.shows_changes and kind != "ASN" and not uri.endswith(".gz"):
        try:
            exposure, association = exposure_files.parse(_open_remote(uri, found), kind, REMOTE_REGIONS, flat)
            return FileReading(uri, kind, size, found.mtime_ns, None, exposure, association, found.etag)
        except NoRangesError:
            pass
    content = remote_files.read(uri, found)
    digest = hashlib.sha256(content).hexdigest() if checksum else None
    exposure, association = exposure_files.parse(unpacked(content), kind, flat=flat)
    return FileReading(uri, kind, len(content), found.mtime_ns, digest, exposure, association, found.etag)


def _unchanged(known: KnownFile, found: RemoteStat, flat: Path | None) -> bool:
    return (
        known.complete
        and known.state == "present"
        and found.shows_changes
        and (known.mtime_ns, known.etag) == (found.mtime_ns, found.etag)
        and found.size_byte in {None, known.size_byte}
        and not flat_has_come(known.divided_by, flat)
    )


def _open_remote(uri: str, found: RemoteStat) -> io.RawIOBase:
    """Return a binary file with fsspec's read-ahead that downloads only the parts that are used."""
    from fsspec.spec import AbstractBufferedFile  # noqa: PLC0415  only remote files need it

    from sbcdark.pipeline.archive import remote_files  # noqa: PLC0415

    class RemoteFile(AbstractBufferedFile):  # type: ignore[misc]
        reads = 0

        def _fetch_range(self, start: int, end: int) -> bytes:
            self.reads += 1
            if self.reads > _MOST_READS:
                raise UnsoundError("headers are longer than those of an SBC file")
            return remote_files.read(uri, found, start, end)

    file: io.RawIOBase = RemoteFile(None, uri, block_size=_AHEAD, cache_type="readahead", size=found.size_byte)
    return file
