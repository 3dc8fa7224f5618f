"""Whether files still match the catalog, checked just before they are selected."""

from __future__ import annotations

import stat
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING

from sbcdark.catalog import queries
from sbcdark.catalog.errors import BadFileError
from sbcdark.catalog.preferred_files import as_new_as
from sbcdark.pipeline.frames.untrusted_fits import file_sha256, local_path, modified_ns

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy.orm import Session

    from sbcdark.catalog.records import FileRecord, MatchValues


def exists(uri: str) -> bool:
    """Return whether a file exists. Files on a server are assumed to exist: checking costs a request."""
    try:
        path = local_path(uri)
    except BadFileError:
        return True
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        # It may exist: reading it will show the error.
        return True
    return True


def file_state(file: FileRecord) -> str:
    """Return whether a file is the ingested one: ``present``, ``missing`` or ``changed``.

    Size and time decide; if only the time differs, a known sha256 decides. Files on a server, and files that cannot be
    checked, are assumed to be present: reading them shows the error.
    """
    try:
        path = local_path(file.uri)
    except BadFileError:
        return "present"
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode) or status.st_size != file.size_byte:
            return "changed"
        if modified_ns(status) == file.mtime_ns:
            return "present"
        same = file.sha256 is not None and _sha256(path, status.st_size, modified_ns(status)) == file.sha256
    except (FileNotFoundError, NotADirectoryError):
        return "missing"
    except OSError:
        return "present"
    return "present" if same else "changed"


@lru_cache(maxsize=4096)
def _sha256(path: Path, _size_byte: int, _mtime_ns: int) -> str:
    """Return the sha256 of a file; it is read once for each size and time."""
    return file_sha256(path)


def rival_of(session: Session, values: MatchValues) -> str | None:
    """Return the warning about an exposure with two files between which nothing but the checksum decides.

    calacs leaves PROCTIME as it is, so that a file that the user calibrated is as new as that of the archive. Copies
    with the same counts and calibration, such as a compressed one, are no rivals.
    """
    file = values.file
    if file is None or file.state != "present":
        return None
    for other in as_new_as(session, values.rootname, file):
        differs = _calibration(other) != _calibration(file) or (
            other.multiplied_by == file.multiplied_by
            and queries.measurements_of(session, other.id) != queries.measurements_of(session, file.id)
        )
        if differs and file_state(other) == "present":
            return (
                f"two of its {file.kind} files differ and have the same PROCTIME: {file.uri} is used, not {other.uri}; "
                "to use the other, move the first away and run sbcdark verify"
            )
    return None


def _calibration(file: FileRecord) -> tuple[object, ...]:
    return (
        file.calibration_version,
        file.dark_correction,
        file.mean_dark_count,
        file.flat_correction,
        file.flat_file,
        file.photflam_erg_s_cm2_a,
        file.photplam_a,
    )


def with_current_file(session: Session, values: MatchValues) -> MatchValues:
    """Return an exposure with a file that is as it was ingested.

    If the preferred file is missing or changed, a copy with the same content replaces it; without a copy, the state in
    the record is ``missing`` or ``changed``. The catalog itself is not changed: `sbcdark verify` and `sbcdark ingest`
    do that.
    """
    file = values.file
    if file is None:
        return values
    state = file_state(file)
    if state == "present":
        return values
    for copy in queries.files_of(session, values.rootname):
        same = copy.kind == file.kind and copy.sha256 is not None and copy.sha256 == file.sha256
        if same and copy.state != "changed" and copy.id != file.id and file_state(copy) == "present":
            # The catalog may still list it as missing.
            return replace(values, file=replace(copy, state="present"))
    return replace(values, file=replace(file, state=state))
