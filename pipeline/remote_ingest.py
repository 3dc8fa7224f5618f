"""Ingest of files that stay remote: what is to be read, and reading it, a few files at a time."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from sbcdark.catalog import queries
from sbcdark.catalog.engine import reading
from sbcdark.catalog.errors import SbcdarkError, UsageError
from sbcdark.pipeline import frames, remote
from sbcdark.pipeline.fits_input import clean
from sbcdark.pipeline.remote_frames import read_remote
from sbcdark.pipeline.remote_names import file_name, names_folder, remote_uri
from sbcdark.pipeline.remote_threads import threads

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    import sqlalchemy as sa

    from sbcdark.catalog.records import FileReading, Refusal
    from sbcdark.pipeline.ingest import IngestReport
    from sbcdark.pipeline.remote_stat import RemoteStat

_BATCH = 36
"""Files to a transaction: fewer than of local ones, since they take longer."""


def split(paths: Iterable[str | Path]) -> tuple[list[str | Path], list[str]]:
    """Return the local paths and the remote URIs among what was given, each in order.

    Raises
    ------
    UsageError
        An address is not taken.
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
    """Return the files to be read, in order, with what a listing says of each; what is none goes into the report.

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
            listed = remote.list_objects(uri)
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
    if frames.product_kind(name) is None:
        report.ignore(clean(uri), frames.why_ignored(name))
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
    with threads() as pool:
        for start in range(0, len(uris), _BATCH):
            batch = uris[start : start + _BATCH]
            known = {}
            if engine is not None:
                with reading(engine) as session:
                    known = queries.known_files(session, batch)
            waiting = [
                pool.submit(partial(read_remote, uri, known.get(uri), files[uri], checksum=checksum)) for uri in batch
            ]
            done = []
            try:
                for future in waiting:
                    done.append(future.result())  # noqa: PERF401  what came before an error is needed
            except SbcdarkError:
                yield done
                raise
            yield done
