"""Whether files are where the catalog knows them, looked at when they are about to be chosen."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from sbcdark.catalog import queries
from sbcdark.catalog.errors import BadFileError
from sbcdark.pipeline.fits_input import local_path

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from sbcdark.catalog.records import MatchValues


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


def looked_up(session: Session, values: MatchValues) -> MatchValues:
    """Return an exposure with a file that is at its place.

    Where the preferred file is gone, a copy of the same content takes its place; where there is none, the file's state
    in the record is ``missing``. The catalog itself is not changed: `sbcdark verify` does that.
    """
    file = values.file
    if file is None or is_there(file.uri):
        return values
    for copy in queries.files_of(session, values.rootname):
        same = copy.kind == file.kind and copy.sha256 is not None and copy.sha256 == file.sha256
        if same and copy.state != "changed" and copy.id != file.id and is_there(copy.uri):
            return replace(values, file=copy)
    return replace(values, file=replace(file, state="missing"))
