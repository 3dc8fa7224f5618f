"""What the catalog is asked. Every function reads inside a session and returns records that leave it."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.orm import aliased

from sbcdark.catalog import models
from sbcdark.catalog.chunks import chunks
from sbcdark.catalog.records import (
    AssociationRecord,
    ExposureRecord,
    FileRecord,
    KnownFile,
    MatchValues,
    RegionMeasurement,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from sqlalchemy.orm import Session

_PAGE = 64
"""How many darks are read at a time while walking outward from a value."""

SORT_KEYS = tuple(column.name for column in fields(ExposureRecord))
"""What a listing can be sorted by."""

_FILE_FIELDS = tuple(column.name for column in fields(FileRecord))
_MATCH_FIELDS = tuple(column.name for column in fields(MatchValues) if column.name != "file")


@dataclass(frozen=True, slots=True)
class ExposureFilter:
    """What a listing is narrowed to; None means anything.

    Attributes
    ----------
    temperature_c : tuple of (float or None, float or None)
        Inclusive range of the mean temperature in deg C.
    since, until : datetime
        Inclusive range of the start, UTC.
    hot : bool
        Only exposures whose mean temperature is above 25 C.
    """

    kind: str | None = None
    program: int | None = None
    filter: str | None = None
    temperature_c: tuple[float | None, float | None] = (None, None)
    since: datetime | None = None
    until: datetime | None = None
    hot: bool = False


HOT_ABOVE_C = 25.0
"""Above this mean temperature the glow can appear (ISR ACS 2024-04)."""


@dataclass(frozen=True, slots=True)
class Gates:
    """What a dark must be before any score counts.

    Attributes
    ----------
    min_exptime_s : float
        Shorter darks hold too few counts to be told apart: their large errors would make them fit everything.
    max_days : float or None
        Largest distance in time from the science exposure, in days.
    temperature_c : tuple of (float or None, float or None)
        Range of the mean temperature, deg C.
    """

    min_exptime_s: float
    max_days: float | None = None
    temperature_c: tuple[float | None, float | None] = (None, None)


def catalog_revision(session: Session) -> int:
    """Return the number that grows with everything that changes what could be chosen; 0 for an empty catalog."""
    return session.scalar(sa.select(sa.func.coalesce(sa.func.max(models.IngestRun.id), 0))) or 0


def known_files(session: Session, uris: Sequence[str]) -> dict[str, KnownFile]:
    """Return what stands in the catalog for the files at these URIs."""
    known: dict[str, KnownFile] = {}
    for chunk in chunks(uris):
        query = sa.select(models.File).where(models.File.uri.in_(chunk), models.File.state != "changed")
        for row in session.scalars(query):
            known[row.uri] = KnownFile(row.size_byte, row.mtime_ns, row.sha256, row.state, row.etag)
    return known


def _exposure_record(row: models.Exposure) -> ExposureRecord:
    return ExposureRecord(**{name: getattr(row, name) for name in SORT_KEYS})


def list_exposures(
    session: Session, wanted: ExposureFilter, *, sort: str = "start_mjd", descending: bool = False
) -> list[ExposureRecord]:
    """Return the exposures that pass a filter, sorted by one of `SORT_KEYS`, all of them."""
    table = models.Exposure
    query = sa.select(table)
    if wanted.kind is not None:
        query = query.where(table.kind == wanted.kind)
    if wanted.program is not None:
        query = query.where(table.program == wanted.program)
    if wanted.filter is not None:
        query = query.where(table.filter == wanted.filter.upper())
    low, high = wanted.temperature_c
    if low is not None:
        query = query.where(table.temperature_mean_c >= low)
    if high is not None:
        query = query.where(table.temperature_mean_c <= high)
    if wanted.since is not None:
        query = query.where(table.start_utc >= wanted.since)
    if wanted.until is not None:
        query = query.where(table.start_utc <= wanted.until)
    if wanted.hot:
        query = query.where(table.temperature_mean_c > HOT_ABOVE_C)
    column = getattr(table, sort)
    # NULLs last on both engines, whichever way is sorted.
    order = column.desc() if descending else column.asc()
    query = query.order_by(sa.case((column.is_(None), 1), else_=0), order, table.rootname)
    return [_exposure_record(row) for row in session.scalars(query)]


def find_exposure(session: Session, rootname: str) -> ExposureRecord | None:
    """Return one exposure, or None."""
    row = session.scalar(sa.select(models.Exposure).where(models.Exposure.rootname == rootname))
    return None if row is None else _exposure_record(row)


def similar_rootnames(session: Session, rootname: str, limit: int = 3) -> list[str]:
    """Return root names and associations that begin as this one does, for "did you mean"."""
    for length in (8, 6, 4):
        start = rootname[:length].replace("\\", "").replace("%", "").replace("_", "")
        if not start:
            return []
        names = session.scalars(
            sa.select(models.Exposure.rootname)
            .where(models.Exposure.rootname.like(f"{start}%"))
            .order_by(models.Exposure.rootname)
            .limit(limit)
        ).all()
        if names:
            return list(names)
    return []


def exposure_names_of_program(session: Session, program: int) -> list[str]:
    """Return the science exposures of a program in order of time."""
    query = (
        sa.select(models.Exposure.rootname)
        .where(models.Exposure.program == program, models.Exposure.kind == "science")
        .order_by(models.Exposure.start_mjd, models.Exposure.rootname)
    )
    return list(session.scalars(query))


def find_association(session: Session, name: str) -> AssociationRecord | None:
    """Return an association with the exposures that it names, present and absent, or None."""
    row = session.scalar(sa.select(models.Association).where(models.Association.name == name))
    if row is None:
        return None
    query = (
        sa.select(models.AssociationMember.rootname, models.Exposure.id)
        .outerjoin(models.Exposure, models.Exposure.rootname == models.AssociationMember.rootname)
        .where(
            models.AssociationMember.association_id == row.id,
            models.AssociationMember.member_type.like("EXP%"),
        )
        .order_by(models.AssociationMember.position)
    )
    # An exposure may be named under two types of member.
    found = list(dict.fromkeys((rootname, identity) for rootname, identity in session.execute(query)))
    members = tuple(rootname for rootname, _ in found)
    absent = tuple(rootname for rootname, identity in found if identity is None)
    return AssociationRecord(row.name, row.program, row.target, members, absent)


def file_record(row: models.File) -> FileRecord:
    """Return the record of a file's row."""
    return FileRecord(**{name: getattr(row, name) for name in _FILE_FIELDS})


def files_of(session: Session, rootname: str) -> list[FileRecord]:
    """Return every file of an exposure, superseded ones too, newest first."""
    query = (
        sa.select(models.File)
        .join(models.Exposure, models.Exposure.id == models.File.exposure_id)
        .where(models.Exposure.rootname == rootname)
        .order_by(models.File.id.desc())
    )
    return [file_record(row) for row in session.scalars(query)]


def measurements_of(session: Session, file_id: int) -> list[RegionMeasurement]:
    """Return the measured regions of a file."""
    query = (
        sa.select(models.Measurement, models.Region)
        .join(models.Region, models.Region.id == models.Measurement.region_id)
        .where(models.Measurement.file_id == file_id)
        .order_by(models.Region.id)
    )
    return [
        RegionMeasurement(
            region.name,
            region.version,
            measured.counts,
            measured.good_pixels,
            measured.rate_count_s_pix,
            measured.rate_err_count_s_pix,
        )
        for measured, region in session.execute(query)
    ]


def copies_in_order(file: Any) -> tuple[Any, ...]:
    """Return the ORDER BY among copies of one exposure's file: what was processed last comes first.

    Between equals a copy that was read whole comes before one that stays remote and would have to be fetched, and then
    the checksum or the place decides, so that the order of ingest never does.
    """
    whole = sa.case((file.sha256.is_(None), 1), else_=0)
    processed = sa.func.coalesce(file.processed_mjd, -1.0).desc()
    return processed, whole, sa.func.coalesce(file.sha256, ""), file.uri, file.id


def _best_file(kind: str) -> Any:
    """Return a subquery: the id of the present file of a kind that an exposure's pixels are read from."""
    file = aliased(models.File)
    return (
        sa.select(file.id)
        .where(file.exposure_id == models.Exposure.id, file.kind == kind, file.state == "present")
        .order_by(*copies_in_order(file))
        .limit(1)
        .correlate(models.Exposure)
        .scalar_subquery()
    )


def _match_values(row: models.Exposure, file: models.File | None) -> MatchValues:
    values = {name: getattr(row, name) for name in _MATCH_FIELDS}
    return MatchValues(**values, file=None if file is None else file_record(file))


def match_values(session: Session, rootname: str) -> MatchValues | None:
    """Return what a rule compares of one exposure, with the file its pixels come from (FLT for science), or None."""
    kind = session.scalar(sa.select(models.Exposure.kind).where(models.Exposure.rootname == rootname))
    if kind is None:
        return None
    query = (
        sa.select(models.Exposure, models.File)
        .outerjoin(models.File, models.File.id == _best_file("RAW" if kind == "dark" else "FLT"))
        .where(models.Exposure.rootname == rootname)
    )
    row, file = session.execute(query).one()
    return _match_values(row, file)


def largest_error(session: Session, error_column: str, min_exptime_s: float) -> float:
    """Return the largest error of a value among the darks that are long enough (a look at one end of an index)."""
    column = getattr(models.Exposure, error_column)
    query = (
        sa.select(column)
        .where(models.Exposure.kind == "dark", column.is_not(None), models.Exposure.exptime_s >= min_exptime_s)
        .order_by(column.desc())
        .limit(1)
    )
    return session.scalar(query) or 0.0


def darks_outward(
    session: Session, column: str, value: float, near_mjd: float, gates: Gates | None
) -> Iterator[MatchValues]:
    """Walk through the darks by the distance of one column from a value, nearest first.

    Two index scans, one upward and one downward, a page at a time; nothing farther than what the caller consumes
    is read.

    Parameters
    ----------
    column : str
        One of the indexed columns of `exposures`.
    gates : Gates or None
        What to leave out in SQL; None walks through every dark.
    """
    up = _walk(session, column, value, near_mjd, gates, upward=True)
    down = _walk(session, column, value, near_mjd, gates, upward=False)
    return heapq.merge(up, down, key=lambda dark: (abs(getattr(dark, column) - value), dark.rootname))


def outward_page(
    column: str, value: float, near_mjd: float, gates: Gates | None, *, upward: bool, after: int | None
) -> sa.Select[models.Exposure, models.File]:
    """Return the query for one page of a walk: the next darks beyond (value, id) in one direction."""
    table = models.Exposure
    metric = getattr(table, column)
    query = (
        sa.select(table, models.File)
        .outerjoin(models.File, models.File.id == _best_file("RAW"))
        .where(table.kind == "dark")
        .limit(_PAGE)
    )
    if after is None:
        query = query.where(metric >= value if upward else metric < value)
    elif upward:
        query = query.where(sa.tuple_(metric, table.id) > sa.tuple_(sa.literal(value), sa.literal(after)))
    else:
        query = query.where(sa.tuple_(metric, table.id) < sa.tuple_(sa.literal(value), sa.literal(after)))
    query = query.order_by(metric.asc(), table.id.asc()) if upward else query.order_by(metric.desc(), table.id.desc())
    if gates is not None:
        query = query.where(
            table.quality == "good",
            table.exptime_s >= gates.min_exptime_s,
            models.File.id.is_not(None),
            table.contrast_count_s_pix.is_not(None),
        )
        low, high = gates.temperature_c
        if low is not None:
            query = query.where(table.temperature_mean_c >= low)
        if high is not None:
            query = query.where(table.temperature_mean_c <= high)
        if gates.max_days is not None:
            query = query.where(table.start_mjd.between(near_mjd - gates.max_days, near_mjd + gates.max_days))
    return query


def _walk(
    session: Session, column: str, value: float, near_mjd: float, gates: Gates | None, *, upward: bool
) -> Iterator[MatchValues]:
    after: int | None = None
    start = value
    while True:
        page = session.execute(outward_page(column, start, near_mjd, gates, upward=upward, after=after)).all()
        for row, file in page:
            yield _match_values(row, file)
        if len(page) < _PAGE:
            return
        last = page[-1][0]
        start, after = getattr(last, column), last.id


def count_darks(session: Session) -> int:
    """Return how many darks the catalog holds."""
    return (
        session.scalar(sa.select(sa.func.count()).select_from(models.Exposure).where(models.Exposure.kind == "dark"))
        or 0
    )


def selections_of(session: Session, rootname: str) -> list[dict[str, Any]]:
    """Return the stored selections of an exposure, newest first: id, rule, tier, time and darks."""
    dark = aliased(models.Exposure)
    query = (
        sa.select(models.Selection, models.SelectionDark.rank, dark.rootname)
        .join(models.Exposure, models.Exposure.id == models.Selection.exposure_id)
        .outerjoin(models.SelectionDark, models.SelectionDark.selection_id == models.Selection.id)
        .outerjoin(dark, dark.id == models.SelectionDark.dark_id)
        .where(models.Exposure.rootname == rootname)
        .order_by(models.Selection.id.desc(), models.SelectionDark.rank)
    )
    stored: dict[int, dict[str, Any]] = {}
    for selection, _rank, name in session.execute(query):
        entry = stored.setdefault(
            selection.id,
            {
                "selection": selection.id,
                "rule": selection.rule,
                "tier": selection.tier,
                "created_utc": selection.created_utc,
                "catalog_revision": selection.catalog_revision,
                "software_version": selection.software_version,
                "darks": [],
            },
        )
        if name is not None:
            entry["darks"].append(name)
    return list(stored.values())
