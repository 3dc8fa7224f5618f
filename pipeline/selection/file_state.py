"""Whether files are where and what the catalog knows, looked at when they are about to be chosen."""

from __future__ import annotations

import stat
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING

from sbcdark.catalog import queries
from sbcdark.catalog.errors import BadFileError
from sbcdark.pipeline.frames.untrusted_fits import file_sha256, local_path, modified_ns

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy.orm import Session

    from sbcdark.catalog.records import FileRecord, MatchValues


def is_there(uri: str) -> bool:
    """Tell whether a file is at its place. What lies on a server is taken to be there: asking costs a request."""
    try:
        path = local_path(uri)
    except BadFileError:
        return True
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        # It may be there: reading it will tell what is wrong.
        return True
    return True


def file_state(file: FileRecord) -> str:
    """Return whether a file is the one that was ingested: ``present``, ``missing`` or ``changed``.

    Size and time decide. Where the time alone differs, the content does, if its sha256 is known. What lies on a server
    is taken to be present, and so is what cannot be looked at: reading it tells what is wrong.
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
    """Return the sha256 of a file, read once for each size and time that it has."""
    return file_sha256(path)


def looked_up(session: Session, values: MatchValues) -> MatchValues:
    """Return an exposure with a file that is as it was ingested.

    Where the preferred file is gone or changed, a copy of the same content takes its place; where there is none, the
    file's state in the record is ``missing`` or ``changed``. The catalog itself is not changed: `sbcdark verify` and
    `sbcdark ingest` do that.
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
            # The catalog may know it as missing still.
            return replace(values, file=replace(copy, state="present"))
    return replace(values, file=replace(file, state=state))
