"""Relocation: moved files are found by their content, and their new place is stored."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sbcdark.catalog import file_changes, writes
from sbcdark.catalog.engine import reading, writing
from sbcdark.catalog.opening import as_engine
from sbcdark.catalog.records import FileChange
from sbcdark.catalog.roots import uri_of
from sbcdark.catalog.version import SOFTWARE_VERSION
from sbcdark.pipeline.frames.untrusted_fits import file_sha256, modified_ns
from sbcdark.pipeline.ingest.discovery import discover, existing
from sbcdark.pipeline.ingest.report import IngestReport
from sbcdark.pipeline.ingest.verification import _PAGE, _pages
from sbcdark.pipeline.selection.file_state import exists

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    import sqlalchemy as sa

    from sbcdark.catalog.progress import Progress
    from sbcdark.catalog.records import StoredFile


@dataclass(frozen=True, slots=True)
class Relocated:
    """A file found at another place."""

    name: str
    kind: str
    uri_before: str
    uri: str


@dataclass(slots=True)
class Relocation:
    """The files found, and the number still missing; `unknown` ones are missing and have no checksum."""

    relocated: list[Relocated] = field(default_factory=list)
    still_missing: int = 0
    unknown: int = 0


def relocate(
    catalog: sa.Engine | str | Path, folders: Iterable[str | Path], *, progress: Progress | None = None
) -> Relocation:
    """Find missing files below some folders by their sha256, and store their new place.

    The measurements and the stored selections stay with the file. Content that was superseded at its old place is
    found too.

    Raises
    ------
    UsageError
        A folder does not exist.
    """
    engine = as_engine(catalog)
    report = Relocation()
    folders = [existing(folder) for folder in folders]
    gone = _gone(engine, report)
    if not gone:
        return report
    sizes = {file.size_byte for file in gone.values()}
    paths = discover(folders, IngestReport())
    found: list[FileChange] = []
    run_id: int | None = None
    for number, path in enumerate(paths, 1):
        change = _recognised(engine, path, sizes, gone)
        if change is not None:
            found.append(change)
            gone.pop(change.file.id, None)
        if found and (len(found) == _PAGE or number == len(paths)):
            with writing(engine) as session:
                if run_id is None:
                    run_id = writes.start_run(session, "relocate", SOFTWARE_VERSION)
                written = file_changes.set_states(session, found)
            report.relocated += [
                Relocated(one.file.name, one.file.kind, one.file.uri, one.uri)
                for one in found
                if one.file.id in written
            ]
            found = []
        if progress is not None:
            progress(number, len(paths))
    report.still_missing = sum(file.state != "changed" for file in gone.values())
    return report


def _gone(engine: sa.Engine, report: Relocation) -> dict[int, StoredFile]:
    """Return the files with a checksum whose content is not at its place, by id."""
    gone: dict[int, StoredFile] = {}
    for page in _pages(engine, superseded=True):
        for file in page:
            if file.state != "changed" and exists(file.uri):
                continue
            if file.sha256 is not None:
                gone[file.id] = file
            elif file.state != "changed":
                report.unknown += 1
    return gone


def _recognised(engine: sa.Engine, path: Path, sizes: set[int], gone: dict[int, StoredFile]) -> FileChange | None:
    try:
        status = path.stat()
        if status.st_size not in sizes:
            return None
        digest = file_sha256(path)
    except OSError:
        return None
    uri = uri_of(path)
    with reading(engine) as session:
        known = file_changes.files_with_checksum(session, digest)
        if file_changes.is_known(session, uri):
            return None
    # The current content of a file comes before superseded content.
    candidates = sorted((file for file in known if file.id in gone), key=lambda file: file.state == "changed")
    there = {file.name for file in known if file.id not in gone and file.state != "changed"}
    for file in candidates:
        if file.state == "changed" and file.name in there:
            continue
        return FileChange(file, "present", uri, status.st_size, modified_ns(status))
    return None
