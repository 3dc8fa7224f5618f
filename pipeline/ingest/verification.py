"""Verification: whether files are still the ones that were measured."""

from __future__ import annotations

import stat
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sbcdark.catalog import file_changes, queries, writes
from sbcdark.catalog.engine import reading, writing
from sbcdark.catalog.errors import BadFileError, UnreachableError
from sbcdark.catalog.opening import as_engine
from sbcdark.catalog.records import FileChange
from sbcdark.catalog.version import SOFTWARE_VERSION
from sbcdark.pipeline.archive.urls import host_of, is_remote
from sbcdark.pipeline.frames.untrusted_fits import UnsoundError, file_sha256, local_path, modified_ns
from sbcdark.pipeline.selection.names import as_root_name, selected_exposures, selector_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import sqlalchemy as sa

    from sbcdark.catalog.progress import Progress
    from sbcdark.catalog.records import StoredFile
    from sbcdark.pipeline.selection.names import Selector

_PAGE = 256
"""Files checked between two writes."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A file whose state changed or is not present, and the stored selections that use it.

    Attributes
    ----------
    name : str
        Name of its exposure or association.
    state, was : str
        present, missing or changed: now, and in the catalog before; equal if nothing is new.
    """

    name: str
    kind: str
    uri: str
    state: str
    was: str
    reason: str
    selections: tuple[int, ...]


@dataclass(slots=True)
class Verification:
    """The result of a verification, in files.

    `unchecked` files cannot be checked (a server, a folder without permission) or have no checksum to compare with;
    their state is kept.
    """

    present: int = 0
    missing: int = 0
    changed: int = 0
    unchecked: int = 0
    findings: list[Finding] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Look:
    """The result of checking one file; `state` is None if it cannot be checked."""

    state: str | None
    reason: str = ""
    size_byte: int = 0
    mtime_ns: int = 0


def verify(
    catalog: sa.Engine | str | Path,
    names: Selector | Sequence[str] = (),
    *,
    checksum: bool = False,
    progress: Progress | None = None,
) -> Verification:
    """Check whether files are where and what the catalog says, and store the differences.

    Files are compared by size and time; if only the time changed, by sha256. Missing and changed files are no longer
    selected; their measurements are kept for the stored selections that use them. For a remote file, the server is
    asked for its size, time and ETag.

    Parameters
    ----------
    names : Selector or sequence of str
        Exposures, darks among them, and associations; empty for every file.
    checksum : bool
        Read every file in full and compare its sha256.
    progress : callable, optional
        Called with the number of files checked.

    Raises
    ------
    UsageError
        A name is not in the catalog.
    """
    engine = as_engine(catalog)
    report = Verification()
    run_id: int | None = None
    done = 0
    silent: set[str] = set()
    with reading(engine) as session:
        total = file_changes.count_files(session)
    for page in _pages(engine, _named(engine, names)):
        looks = [(file, _look(file, silent, checksum=checksum)) for file in page]
        changes = [
            FileChange(file, look.state, file.uri, look.size_byte or file.size_byte, look.mtime_ns or file.mtime_ns)
            for file, look in looks
            if look.state is not None and _is_news(file, look)
        ]
        if changes:
            with writing(engine) as session:
                if run_id is None and any(change.state != change.file.state for change in changes):
                    run_id = writes.start_run(session, "verify", SOFTWARE_VERSION)
                file_changes.set_states(session, changes)
        with reading(engine) as session:
            resting = file_changes.selections_using(session, [file.id for file in page])
        for file, look in looks:
            _count(report, file, look, tuple(resting.get(file.id, ())))
        done += len(page)
        if progress is not None:
            progress(done, max(done, total))
    return report


def _is_news(file: StoredFile, look: _Look) -> bool:
    touched = look.state == "present" and (look.size_byte, look.mtime_ns) != (file.size_byte, file.mtime_ns)
    return look.state != file.state or touched


def _count(report: Verification, file: StoredFile, look: _Look, selections: tuple[int, ...]) -> None:
    match look.state:
        case "present":
            report.present += 1
        case "missing":
            report.missing += 1
        case "changed":
            report.changed += 1
        case _:
            report.unchecked += 1
    if look.reason or look.state != file.state:
        reason = look.reason or "found at its place again"
        state = look.state or file.state
        report.findings.append(Finding(file.name, file.kind, file.uri, state, file.state, reason, selections))


def _named(engine: sa.Engine, names: Selector | Sequence[str]) -> list[str] | None:
    """Return the names of exposures and of associations, which have files of their own; None for all."""
    wanted = selector_of(names)
    if wanted.is_empty:
        return None
    given = [as_root_name(name) for name in [*wanted.names, *wanted.association]]
    with reading(engine) as session:
        exposures = selected_exposures(session, wanted)
        of = queries.associations_of(session, programs=wanted.program, targets=wanted.target)
    return list(dict.fromkeys([*given, *of, *exposures]))


def _pages(
    engine: sa.Engine, names: list[str] | None = None, *, superseded: bool = False
) -> Iterator[list[StoredFile]]:
    after = 0
    while True:
        with reading(engine) as session:
            page = file_changes.files_after(session, after, _PAGE, names, superseded=superseded)
        if not page:
            return
        yield page
        after = page[-1].id


def _look(file: StoredFile, silent: set[str], *, checksum: bool) -> _Look:
    if is_remote(file.uri):
        return _check_remote(file, silent)
    try:
        return _check_local(file, local_path(file.uri), checksum=checksum)
    except BadFileError:
        return _Look(None, "not on this machine")
    except (FileNotFoundError, NotADirectoryError):
        return _Look("missing", "does not exist")
    except OSError as error:
        return _Look(None, f"cannot be read: {error.strerror or type(error).__name__}")


def _check_remote(file: StoredFile, silent: set[str]) -> _Look:
    """Ask the server about a file, unless the server did not answer before; nothing is downloaded."""
    from sbcdark.pipeline.archive import remote_files  # noqa: PLC0415  requests is slow to import

    host = host_of(file.uri)
    if host in silent:
        return _Look(None, f"{host} cannot be reached")
    try:
        found = remote_files.stat(file.uri)
    except UnreachableError as error:
        silent.add(host)
        return _Look(None, error.what.removesuffix("."))
    except UnsoundError as error:
        return _Look(None, str(error))
    if found is None:
        return _Look("missing", "does not exist on the server")
    if not found.is_same(file.size_byte, file.mtime_ns, file.etag):
        return _Look("changed", "size, time or ETag differs")
    return _Look("present", "", file.size_byte, file.mtime_ns)


def _check_local(file: StoredFile, path: Path, *, checksum: bool) -> _Look:
    status = path.stat()
    same_time = modified_ns(status) == file.mtime_ns
    if not stat.S_ISREG(status.st_mode):
        return _Look("changed", "no longer a regular file")
    if status.st_size != file.size_byte:
        return _Look("changed", f"has {status.st_size} bytes, had {file.size_byte}")
    if checksum or not same_time:
        if file.sha256 is None:
            what = "the catalog has no checksum to compare with"
            return _Look(None, what) if same_time else _Look("changed", f"time differs, and {what}")
        if file_sha256(path) != file.sha256:
            return _Look("changed", "content differs")
    return _Look("present", "", status.st_size, modified_ns(status))
