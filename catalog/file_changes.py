"""The life of a file in the catalog: what is superseded, what is gone, what has moved, and what rests on it.

Every function that writes works inside a session of `engine.writing` and never commits.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy.orm import aliased

from sbcdark.catalog import models
from sbcdark.catalog.chunks import chunks
from sbcdark.catalog.preferred_files import preferred_files, refresh_exposures
from sbcdark.catalog.records import StoredFile, Superseded

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy.orm import Session

    from sbcdark.catalog.records import FileChange


def outranked(session: Session, before: dict[int, int]) -> set[int]:
    """Return the files that an exposure took its values from and that a copy with other content has now outranked.

    Parameters
    ----------
    before : dict of int to int
        The preferred file of each exposure as it was.
    """
    now = preferred_files(session, before)
    pairs = [(old, now[exposure]) for exposure, old in before.items() if now.get(exposure, old) != old]
    checksums: dict[int, str | None] = {}
    for chunk in chunks([identity for pair in pairs for identity in pair]):
        query = sa.select(models.File.id, models.File.sha256).where(models.File.id.in_(chunk))
        checksums.update(session.execute(query).all())
    return {old for old, new in pairs if checksums[old] is None or checksums[old] != checksums[new]}


def superseded_files(session: Session, file_ids: Iterable[int]) -> list[Superseded]:
    """Return what is to be said of files whose measurements no longer count, by root name and URI."""
    found = []
    ids = sorted(file_ids)
    resting = selections_resting_on(session, ids)
    for chunk in chunks(ids):
        query = (
            sa.select(models.File, models.Exposure.rootname)
            .join(models.Exposure, models.Exposure.id == models.File.exposure_id)
            .where(models.File.id.in_(chunk))
        )
        rows = [(file, rootname) for file, rootname in session.execute(query)]
        now = preferred_files(session, {file.exposure_id for file, _ in rows if file.exposure_id is not None})
        places = _places(session, now.values())
        for file, rootname in rows:
            by = None if file.exposure_id is None else places.get(now.get(file.exposure_id, -1))
            found.append(Superseded(rootname, file.uri, by, tuple(resting.get(file.id, ()))))
    return sorted(found, key=lambda one: (one.exposure or "", one.uri))


def _places(session: Session, file_ids: Iterable[int]) -> dict[int, str]:
    places: dict[int, str] = {}
    for chunk in chunks(sorted(set(file_ids))):
        query = sa.select(models.File.id, models.File.uri).where(models.File.id.in_(chunk))
        places.update(session.execute(query).all())
    return places


def selections_resting_on(session: Session, file_ids: Sequence[int]) -> dict[int, list[int]]:
    """Return the numbers of the stored selections that used each file, as a dark or as the science exposure."""
    resting: dict[int, set[int]] = {}
    for chunk in chunks(file_ids):
        as_dark = session.execute(
            sa.select(models.SelectionDark.file_id, models.SelectionDark.selection_id).where(
                models.SelectionDark.file_id.in_(chunk)
            )
        )
        as_science = session.execute(
            sa.select(models.Selection.file_id, models.Selection.id).where(models.Selection.file_id.in_(chunk))
        )
        for file_id, selection_id in chain(as_dark, as_science):
            if file_id is not None:
                resting.setdefault(file_id, set()).add(selection_id)
    return {file_id: sorted(selections) for file_id, selections in resting.items()}


def files_after(
    session: Session, after: int, limit: int, names: Sequence[str] | None = None, *, superseded: bool = False
) -> list[StoredFile]:
    """Return a page of the files to be looked at, by number: what stands at each URI, or stood there last.

    Parameters
    ----------
    after : int
        The last number of the page before; 0 for the first.
    names : sequence of str, optional
        Root names and associations; every file where none is given.
    superseded : bool
        Whether older contents of a URI are returned too.
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
    """Return how many files the catalog has rows for."""
    return session.scalar(sa.select(sa.func.count()).select_from(models.File)) or 0


def files_with_checksum(session: Session, sha256: str) -> list[StoredFile]:
    """Return the files whose content had a checksum, whatever their state, by number."""
    query = _named_files().where(models.File.sha256 == sha256).order_by(models.File.id)
    return [_stored_file(*row) for row in session.execute(query)]


def _named_files() -> sa.Select[models.File, str | None, str | None]:
    return (
        sa.select(models.File, models.Exposure.rootname, models.Association.name)
        .outerjoin(models.Exposure, models.Exposure.id == models.File.exposure_id)
        .outerjoin(models.Association, models.Association.id == models.File.association_id)
    )


def _stored_file(file: models.File, rootname: str | None, association: str | None) -> StoredFile:
    return StoredFile(
        file.id,
        rootname or association or "",
        file.kind,
        file.uri,
        file.size_byte,
        file.mtime_ns,
        file.sha256,
        file.etag,
        file.state,
    )


def set_states(session: Session, changes: Sequence[FileChange]) -> set[int]:
    """Write what was found of files, and let their exposures take the values of the file that is preferred now.

    Returns
    -------
    set of int
        The files that were written: one that another process has changed meanwhile is left to it.
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
        if change.state != "changed" and is_known(session, change.uri, but=row.id):
            continue
        row.state, row.uri, row.size_byte, row.mtime_ns = change.state, change.uri, change.size_byte, change.mtime_ns
        session.flush()
        written.add(row.id)
        if row.exposure_id is not None:
            touched.add(row.exposure_id)
    refresh_exposures(session, touched)
    return written


def is_known(session: Session, uri: str, *, but: int = 0) -> bool:
    """Tell whether a row of the catalog (but for one) says what stands at a URI."""
    query = sa.select(models.File.id).where(
        models.File.uri == uri, models.File.state != "changed", models.File.id != but
    )
    return session.scalar(query) is not None
