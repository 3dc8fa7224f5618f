"""Changes to files in the catalog: superseded, missing or moved, and the selections that use them.

Every function that writes runs inside a session of `engine.writing` and never commits.
"""

from __future__ import annotations

from dataclasses import asdict
from itertools import chain
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy.orm import aliased

from sbcdark.catalog import models
from sbcdark.catalog.chunks import rows_among
from sbcdark.catalog.preferred_files import preferred_files, refresh_exposures
from sbcdark.catalog.queries import file_record
from sbcdark.catalog.records import StoredFile, Superseded

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy.orm import Session

    from sbcdark.catalog.records import FileChange


def outranked(session: Session, before: dict[int, int]) -> set[int]:
    """Return the formerly preferred files that a copy with other content now outranks.

    Parameters
    ----------
    before : dict of int to int
        The previous preferred file of each exposure.
    """
    now = preferred_files(session, before)
    pairs = [(old, now[exposure]) for exposure, old in before.items() if now.get(exposure, old) != old]
    query = sa.select(models.File.id, models.File.sha256)
    checksums = dict(rows_among(session, query, models.File.id, chain.from_iterable(pairs)))
    return {old for old, new in pairs if checksums[old] is None or checksums[old] != checksums[new]}


def superseded_files(session: Session, file_ids: Iterable[int]) -> list[Superseded]:
    """Return the report entries of files whose measurements no longer count, by root name and URI."""
    ids = sorted(file_ids)
    resting = selections_using(session, ids)
    query = sa.select(models.File, models.Exposure.rootname).join(models.Exposure)
    rows = list(rows_among(session, query, models.File.id, ids))
    now = preferred_files(session, {file.exposure_id for file, _ in rows if file.exposure_id is not None})
    places = dict(rows_among(session, sa.select(models.File.id, models.File.uri), models.File.id, now.values()))
    found = []
    for file, rootname in rows:
        by = None if file.exposure_id is None else places.get(now.get(file.exposure_id, -1))
        found.append(Superseded(rootname, file.uri, by, tuple(resting.get(file.id, ()))))
    return sorted(found, key=lambda one: (one.exposure or "", one.uri))


def selections_using(session: Session, file_ids: Sequence[int]) -> dict[int, list[int]]:
    """Return the ids of the stored selections that used each file, as a dark or as the science exposure."""
    resting: dict[int, set[int]] = {}
    dark, science = models.SelectionDark, models.Selection
    as_dark = rows_among(session, sa.select(dark.file_id, dark.selection_id), dark.file_id, file_ids)
    as_science = rows_among(session, sa.select(science.file_id, science.id), science.file_id, file_ids)
    for file_id, selection_id in chain(as_dark, as_science):
        if file_id is not None:
            resting.setdefault(file_id, set()).add(selection_id)
    return {file_id: sorted(selections) for file_id, selections in resting.items()}


def files_after(
    session: Session, after: int, limit: int, names: Sequence[str] | None = None, *, superseded: bool = False
) -> list[StoredFile]:
    """Return a page of the files to check, by id: the current or last content of each URI.

    Parameters
    ----------
    after : int
        The last id of the previous page; 0 for the first page.
    names : sequence of str, optional
        Root names and associations; empty for every file.
    superseded : bool
        Whether older contents of a URI are included.
    """
    query = _named_files().where(models.File.id > after).order_by(models.File.id).limit(limit)
    if not superseded:
        newer = aliased(models.File)
        later = (newer.id > models.File.id) | (newer.state != "changed")
        query = query.where((models.File.state != "changed") | ~sa.exists().where(newer.uri == models.File.uri, later))
    if names is not None:
        query = query.where(models.Exposure.rootname.in_(names) | models.Association.name.in_(names))
    return [_stored_file(*row) for row in session.execute(query)]


def count_files(session: Session) -> int:
    """Return the number of file rows in the catalog."""
    return session.scalar(sa.select(sa.func.count()).select_from(models.File)) or 0


def files_with_checksum(session: Session, sha256: str) -> list[StoredFile]:
    """Return the files whose content has a checksum, in any state, by id."""
    query = _named_files().where(models.File.sha256 == sha256).order_by(models.File.id)
    return [_stored_file(*row) for row in session.execute(query)]


def _named_files() -> sa.Select[models.File, str | None, str | None]:
    return (
        sa.select(models.File, models.Exposure.rootname, models.Association.name)
        .outerjoin(models.Exposure, models.Exposure.id == models.File.exposure_id)
        .outerjoin(models.Association, models.Association.id == models.File.association_id)
    )


def _stored_file(file: models.File, rootname: str | None, association: str | None) -> StoredFile:
    return StoredFile(**asdict(file_record(file)), name=rootname or association or "")


def set_states(session: Session, changes: Sequence[FileChange]) -> set[int]:
    """Store what was found about files, and update their exposures from the files that are now preferred.

    Returns
    -------
    set of int
        Ids of the written files. A file that another process has changed meanwhile is skipped.
    """
    written, touched = set(), set()
    for change in changes:
        row, seen = session.get(models.File, change.file.id), change.file
        if row is None or (row.state, row.uri, row.size_byte, row.mtime_ns) != (
            seen.state,
            seen.uri,
            seen.size_byte,
            seen.mtime_ns,
        ):
            continue
        if change.state != "changed" and is_known(session, change.uri, except_id=row.id):
            continue
        row.state, row.uri, row.size_byte, row.mtime_ns = change.state, change.uri, change.size_byte, change.mtime_ns
        session.flush()
        written.add(row.id)
        if row.exposure_id is not None:
            touched.add(row.exposure_id)
    refresh_exposures(session, touched)
    return written


def is_known(session: Session, uri: str, *, except_id: int = 0) -> bool:
    """Return whether the catalog has a current row for a URI, other than the row `except_id`."""
    query = sa.select(models.File.id).where(
        models.File.uri == uri, models.File.state != "changed", models.File.id != except_id
    )
    return session.scalar(query) is not None
