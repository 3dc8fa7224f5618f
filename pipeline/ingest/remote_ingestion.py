"""Ingest of files that stay remote: of a RAW or FLT only its headers and the rows of two regions, by byte ranges."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from sbcdark.catalog import queries
from sbcdark.catalog.engine import reading
from sbcdark.catalog.errors import SbcdarkError, UsageError
from sbcdark.catalog.records import FileReading, Refusal
from sbcdark.pipeline.archive import remote_files
from sbcdark.pipeline.archive.remote_files import AT_ONCE
from sbcdark.pipeline.archive.urls import file_name, names_folder, remote_uri
from sbcdark.pipeline.detector.regions import BOX, QUIET
from sbcdark.pipeline.frames import exposure_files
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
"""What is measured of a file that is not read whole: what the rules rank by."""

_BATCH = 36
"""Files to a transaction: fewer than of local ones, since they take longer."""

_AHEAD = 4 * 2880
"""Bytes read ahead: the headers before the pixels of a RAW have 8 blocks, those that end it 2 each."""

_MOST_READS = 48
"""An FLT has eight headers and as many small tables; what asks for more is not read on."""


def split(paths: Iterable[str | Path]) -> tuple[list[str | Path], list[str]]:
    """Return the local paths and the remote URIs among what was given, each in order.

    Raises
    ------
    UsageError
        An address is refused.
    """
    local: list[str | Path] = []
    uris = []
    for given in paths:
        uri = remote_uri(given) if isinstance(given, str) else None
        if uri is None:
            local.append(given)
        else:
            uris.append(uri)
    return local, uris


def discover_remote(uris: Iterable[str], report: IngestReport) -> dict[str, RemoteStat | None]:
    """Return the files to be read, in order, with what a listing says of each; the others go into the report.

    Raises
    ------
    UsageError
        An address names no file, or nothing lies below it.
    UnreachableError
        A host cannot be reached.
    """
    found: dict[str, RemoteStat | None] = {}
    for uri in uris:
        if names_folder(uri):
            listed = remote_files.list_objects(uri)
            if not listed:
                raise UsageError(f"There is nothing below {uri}.", "Name a prefix such as s3://bucket/folder/.")
            for key, told in listed.items():
                _consider(key, told, found, report)
        elif not file_name(uri):
            raise UsageError(
                f"{uri} names no file.", "Give the address of each file, or a folder as s3://bucket/folder/."
            )
        else:
            _consider(uri, None, found, report)
    return found


def _consider(uri: str, told: RemoteStat | None, found: dict[str, RemoteStat | None], report: IngestReport) -> None:
    name = file_name(uri)
    if not name:
        return  # the mark that some tools leave for a folder
    if exposure_files.product_kind(name) is None:
        report.ignore(clean(uri), exposure_files.why_ignored(name))
    elif not _is_kept(uri):
        report.reject(clean(uri), "its key has characters that an address cannot have")
    elif found.get(uri) is None:
        found[uri] = told


def _is_kept(uri: str) -> bool:
    try:
        return remote_uri(uri) == uri
    except UsageError:
        return False


def read_batches(
    engine: sa.Engine | None, files: Mapping[str, RemoteStat | None], *, checksum: bool
) -> Iterator[list[FileReading | Refusal | None]]:
    """Read files in order, batch by batch; None stands for one that is known as it is now.

    Raises
    ------
    UnreachableError
        A host cannot be reached; what was read before is given first.
    """
    uris = list(files)
    pool = ThreadPoolExecutor(AT_ONCE)
    try:
        for start in range(0, len(uris), _BATCH):
            batch = uris[start : start + _BATCH]
            known = {}
            if engine is not None:
                with reading(engine) as session:
                    known = queries.known_files(session, batch)
            waiting = [pool.submit(read_remote, uri, known.get(uri), files[uri], checksum=checksum) for uri in batch]
            done = []
            try:
                for future in waiting:
                    done.append(future.result())  # noqa: PERF401  what came before an error is needed
            except SbcdarkError:
                yield done
                raise
            yield done
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def read_remote(
    uri: str, known: KnownFile | None = None, found: RemoteStat | None = None, *, checksum: bool = True
) -> FileReading | Refusal | None:
    """Read headers and regions of one remote file, if it is not known as it is now.

    Parameters
    ----------
    uri : str
        As `remote_names.remote_uri` returns it, of a RAW, FLT or ASN, plain or gzipped.
    known : KnownFile, optional
        What the catalog knows of it.
    found : RemoteStat, optional
        What a listing said of it just now; else the server is asked.
    checksum : bool
        Whether the sha256 is taken of what has to be read whole. There is none of what is not.

    Returns
    -------
    FileReading, Refusal or None
        A refusal has a reason in words; None where the file is known, and unchanged by size, time and ETag.

    Raises
    ------
    UnreachableError
        The host cannot be reached.
    """
    from sbcdark.pipeline.archive.http import ChangedError  # noqa: PLC0415  takes a while

    try:
        kind = exposure_files.kind_of_ours(file_name(uri))
        try:
            return _read(uri, kind, known, found, checksum=checksum)
        except ChangedError:
            return _read(uri, kind, known, None, checksum=checksum)
    except (NotOursError, UnsoundError) as error:
        return Refusal(uri, str(error), ignored=isinstance(error, NotOursError))


def _read(
    uri: str, kind: str, known: KnownFile | None, found: RemoteStat | None, *, checksum: bool
) -> FileReading | Refusal | None:
    from sbcdark.pipeline.archive.http import ChangedError, NoRangesError, RefusedError  # noqa: PLC0415  takes a while

    found = found or remote_files.stat(uri)
    if found is None:
        raise UnsoundError("it does not exist: the server answers 404")
    if known is not None and _unchanged(known, found):
        return None
    size = found.size_byte
    try:
        remote_files.require_bounded(found)
        # Where a change would not show, only the checksum of the whole file tells whether it is known.
        if size is not None and found.ranges and found.marked and kind != "ASN" and not uri.endswith(".gz"):
            try:
                exposure, association = exposure_files.parse(_parts(uri, found), kind, REMOTE_REGIONS)
                return FileReading(uri, kind, size, found.mtime_ns, None, exposure, association, found.etag)
            except NoRangesError:
                pass
        content = remote_files.read_whole(uri, found)
        digest = hashlib.sha256(content).hexdigest() if checksum else None
        exposure, association = exposure_files.parse(unpacked(content), kind)
        return FileReading(uri, kind, len(content), found.mtime_ns, digest, exposure, association, found.etag)
    except (ChangedError, RefusedError):
        raise
    except (NotOursError, UnsoundError) as error:
        return Refusal(uri, str(error), isinstance(error, NotOursError), size or 0, found.mtime_ns)


def _unchanged(known: KnownFile, found: RemoteStat) -> bool:
    return (
        known.complete
        and known.state == "present"
        and found.marked
        and (known.mtime_ns, known.etag) == (found.mtime_ns, found.etag)
        and found.size_byte in {None, known.size_byte}
    )


def _parts(uri: str, found: RemoteStat) -> io.RawIOBase:
    """Return a binary file of which only the parts that are read are drawn, on fsspec's read-ahead."""
    from fsspec.spec import AbstractBufferedFile  # noqa: PLC0415  only remote files need it

    class Parts(AbstractBufferedFile):  # type: ignore[misc]
        reads = 0

        def _fetch_range(self, start: int, end: int) -> bytes:
            self.reads += 1
            if self.reads > _MOST_READS:
                raise UnsoundError("its headers do not end where those of an SBC file do")
            return remote_files.read_range(uri, found, start, end)

    parts: io.RawIOBase = Parts(None, uri, block_size=_AHEAD, cache_type="readahead", size=found.size_byte)
    return parts
