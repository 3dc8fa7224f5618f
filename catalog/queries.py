"""Queries of the catalog. Every function reads inside a session and returns records that outlive it."""

from __future__ import annotations

from dataclasses import dataclass, fields
from difflib import SequenceMatcher
from functools import lru_cache
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from sbcdark.catalog import models
from sbcdark.catalog.chunks import LARGEST_IN, chunks, rows_among
from sbcdark.catalog.records import (
    AssociationRecord,
    ExposureRecord,
    FileRecord,
    KnownFile,
    MatchValues,
    RegionMeasurement,
    flat_fielded,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from datetime import datetime

    from sqlalchemy.orm import Session

_COMPARED = 200
"""Names with the same beginning that are compared with an unknown name."""

SORT_KEYS = tuple(column.name for column in fields(ExposureRecord))
"""Sort keys of a listing."""

_FILE_FIELDS = tuple(column.name for column in fields(FileRecord))
MATCH_COLUMNS = tuple(column.name for column in fields(MatchValues) if column.name != "file")
"""The first columns of `values_query`."""


QUALITIES = ("good", "suspect", "untested", "retired")


@dataclass(frozen=True, slots=True)
class ExposureFilter:
    """Filter of a listing; None matches anything.

    Attributes
    ----------
    temperature_c : tuple of (float or None, float or None)
        Inclusive range of the mean temperature in deg C.
    since, until : datetime
        Inclusive range of the start, UTC.
    hot : bool
        Only exposures whose mean temperature is above 25 C.
    quality : tuple of str
        good, suspect, untested or retired; any by default.
    program, filter, target, association : tuple
        Numbers of programs; filters, TARGNAMEs and names of associations, in upper or lower case; any by default.
    names : frozenset of str
        Root names; any by default.
    """

    kind: str | None = None
    program: tuple[int, ...] = ()
    filter: tuple[str, ...] = ()
    temperature_c: tuple[float | None, float | None] = (None, None)
    since: datetime | None = None
    until: datetime | None = None
    hot: bool = False
    quality: tuple[str, ...] = ()
    target: tuple[str, ...] = ()
    association: tuple[str, ...] = ()
    names: frozenset[str] | None = None


HOT_ABOVE_C = 25.0
"""Above this mean temperature the glow can appear (ISR ACS 2024-04)."""


def catalog_revision(session: Session) -> int:
    """Return the number that grows with every change that can affect a selection; 0 for an empty catalog."""
    return session.scalar(sa.select(sa.func.coalesce(sa.func.max(models.IngestRun.id), 0))) or 0


def known_files(session: Session, uris: Sequence[str]) -> dict[str, KnownFile]:
    """Return what the catalog knows of the files at these URIs."""
    known: dict[str, KnownFile] = {}
    table = models.File.__table__.c
    query = sa.select(
        *(table.uri, table.kind, table.size_byte, table.mtime_ns, table.sha256, table.state, table.etag),
        *(table.exposure_id, table.exposure_facts, table.flat_correction, table.flat_file, table.multiplied_by),
    )
    for row in rows_among(session, query.where(table.state != "changed"), table.uri, uris):
        known[row.uri] = KnownFile(
            row.size_byte,
            row.mtime_ns,
            row.sha256,
            row.state,
            row.etag,
            models.facts_are_complete(row),
            row.multiplied_by,
            row.flat_file if flat_fielded(row.kind, row.flat_correction, row.multiplied_by) else None,
        )
    return known


def exposure_ids(session: Session, rootnames: Iterable[str]) -> dict[str, int]:
    """Return the ids of those of some exposures that the catalog has, by root name."""
    table = models.Exposure
    return dict(rows_among(session, sa.select(table.rootname, table.id), table.rootname, rootnames))


def present_files(session: Session, names: Iterable[str]) -> Iterator[sa.Row[str, str, str, str, int, int]]:
    """Yield the present files of exposures and associations.

    Yields
    ------
    (str, str, str, str, int, int)
        The name, what it names (dark, science or association), the file's kind, its URI, size in bytes, and time in
        nanoseconds since 1970.
    """
    file, wanted = models.File, sorted(set(names))
    for owner, name, kind in (
        (models.Exposure, models.Exposure.rootname, models.Exposure.kind),
        (models.Association, models.Association.name, sa.literal("association")),
    ):
        query = sa.select(name, kind, file.kind, file.uri, file.size_byte, file.mtime_ns).join_from(owner, file)
        yield from rows_among(session, query.where(file.state == "present"), name, wanted)


def exposure_record(row: models.Exposure) -> ExposureRecord:
    """Return the record of an exposure's row."""
    return ExposureRecord(**{name: getattr(row, name) for name in SORT_KEYS})


def list_exposures(
    session: Session, wanted: ExposureFilter, *, sort: str = "start_mjd", descending: bool = False
) -> list[ExposureRecord]:
    """Return all exposures that pass a filter, sorted by one of `SORT_KEYS`."""
    table = models.Exposure
    query = sa.select(table).where(*_conditions(wanted))
    column = getattr(table, sort)
    # NULLs last on both engines, in either direction.
    order = column.desc() if descending else column.asc()
    query = query.order_by(sa.case((column.is_(None), 1), else_=0), order, table.rootname)
    found = (exposure_record(row) for row in session.scalars(query))
    return [record for record in found if wanted.names is None or record.rootname in wanted.names]


def _conditions(wanted: ExposureFilter) -> list[sa.ColumnElement[bool]]:
    """Return a filter as conditions; many names are left to the caller, since one statement cannot take them."""
    table = models.Exposure
    low, high = wanted.temperature_c
    names = wanted.names if wanted.names is not None and len(wanted.names) <= LARGEST_IN else None
    conditions: tuple[tuple[Any, Callable[[Any], sa.ColumnElement[bool]]], ...] = (
        (wanted.kind, lambda kind: table.kind == kind),
        (wanted.program or None, table.program.in_),
        (wanted.filter or None, lambda names: table.filter.in_([name.strip().upper() for name in names])),
        (low, lambda limit: table.temperature_mean_c >= limit),
        (high, lambda limit: table.temperature_mean_c <= limit),
        (wanted.since, lambda moment: table.start_utc >= moment),
        (wanted.until, lambda moment: table.start_utc <= moment),
        (wanted.hot or None, lambda _: table.temperature_mean_c > HOT_ABOVE_C),
        (wanted.quality or None, table.quality.in_),
        (wanted.target or None, lambda names: sa.func.lower(table.target).in_(_lowered(names))),
        (wanted.association or None, lambda names: table.association.in_(_lowered(names))),
        (names, lambda chosen: table.rootname.in_(sorted(chosen))),
    )
    return [condition(value) for value, condition in conditions if value is not None]


def _lowered(names: Sequence[str]) -> list[str]:
    return [name.strip().lower() for name in names]


def find_exposure(session: Session, rootname: str) -> ExposureRecord | None:
    """Return one exposure, or None."""
    row = session.scalar(sa.select(models.Exposure).where(models.Exposure.rootname == rootname))
    return None if row is None else exposure_record(row)


def completions(session: Session, start: str) -> list[str]:
    """Return the first few root names with this beginning."""
    table = models.Exposure
    query = sa.select(table.rootname).where(table.rootname.startswith(start, autoescape=True))
    return list(session.scalars(query.order_by(table.rootname).limit(3)))


def similar_names(session: Session, name: str) -> list[str]:
    """Return the three root names and associations most similar to a name, for "did you mean".

    They share its first 8 characters; if none does, its first 6 or 4.
    """
    for length in (8, 6, 4):
        start = name[:length]
        if not start:
            return []
        names = [
            found
            for column in (models.Exposure.rootname, models.Association.name)
            for found in session.scalars(
                sa.select(column).where(column.startswith(start, autoescape=True)).order_by(column).limit(_COMPARED)
            )
        ]
        if names:
            return sorted(set(names), key=lambda one: (-SequenceMatcher(None, name, one).ratio(), one))[:3]
    return []


def target_names(session: Session) -> list[str]:
    """Return the targets of the science exposures."""
    table = models.Exposure
    query = sa.select(table.target).where(table.kind == "science", table.target.is_not(None)).distinct()
    return sorted(name for name in session.scalars(query) if name)


KNOWN_KEYS = ("program", "filter", "target", "association")
"""The keys of an exposure by which exposures are chosen: see `known_values`."""


def known_values(session: Session, key: str) -> set[tuple[Any, str]]:
    """Return the values of one of `KNOWN_KEYS` of the exposures, each with a kind that has it."""
    column = getattr(models.Exposure, key)
    query = sa.select(column, models.Exposure.kind).where(column.is_not(None)).distinct()
    return {(value, kind) for value, kind in session.execute(query)}


def associations_of(session: Session, *, programs: Sequence[int], targets: Sequence[str]) -> list[str]:
    """Return the associations of some programs, targets or both; none if neither is given."""
    if not programs and not targets:
        return []
    table = models.Association
    query = sa.select(table.name)
    if programs:
        query = query.where(table.program.in_(programs))
    if targets:
        query = query.where(sa.func.lower(table.target).in_(_lowered(targets)))
    return list(session.scalars(query.order_by(table.name)))


def association_members(session: Session, name: str) -> list[str]:
    """Return the exposures of an association that are in the catalog, in the order of its table, else of time.

    Darks name their association in the header; the archive does not ship its table.
    """
    if not name.isalnum():
        return []
    found = find_association(session, name)
    if found is not None:
        return list(found.present)
    table = models.Exposure
    query = sa.select(table.rootname).where(table.association == name).order_by(table.start_mjd, table.rootname)
    return list(session.scalars(query))


def unlisted_members(session: Session, name: str, listed: Iterable[str]) -> list[str]:
    """Return the science exposures whose header names an association that does not list them, sorted by root name."""
    table = models.Exposure
    query = sa.select(table.rootname).where(table.association == name, table.kind == "science")
    return sorted(set(session.scalars(query)) - set(listed))


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
    # An exposure can be listed under two member types.
    found = list(dict.fromkeys((rootname, identity) for rootname, identity in session.execute(query)))
    members = tuple(rootname for rootname, _ in found)
    absent = tuple(rootname for rootname, identity in found if identity is None)
    return AssociationRecord(row.name, row.program, row.target, members, absent)


def file_record(row: models.File) -> FileRecord:
    """Return the record of a file's row."""
    return FileRecord(**{name: getattr(row, name) for name in _FILE_FIELDS})


def files_of(session: Session, rootname: str) -> list[FileRecord]:
    """Return every file of an exposure, including superseded ones, newest first."""
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
    """Return the ORDER BY among copies of one exposure's file: the last processed copy comes first.

    Between equals, a copy that was read in full comes before a remote one that would have to be fetched; then the
    checksum or the URI decides, so the order of ingest never matters.
    """
    whole = sa.case((file.sha256.is_(None), 1), else_=0)
    processed = sa.func.coalesce(file.processed_mjd, -1.0).desc()
    return processed, whole, sa.func.coalesce(file.sha256, ""), file.uri, file.id


def values_query(kind: Any) -> sa.Select[Any]:
    """Return the query for the values that a rule compares, with the present file of one kind; see `values_of`.

    Parameters
    ----------
    kind : str or SQL expression
        Kind of the file that the pixels are read from.
    """
    exposures, files = models.Exposure.__table__, models.File.__table__
    file, copy = files.alias("best"), files.alias()
    best = (
        sa.select(copy.c.id)
        .where(copy.c.exposure_id == exposures.c.id, copy.c.kind == kind, copy.c.state == "present")
        .order_by(*copies_in_order(copy.c))
        .limit(1)
        .correlate(exposures)
        .scalar_subquery()
    )
    return sa.select(
        *(exposures.c[name] for name in MATCH_COLUMNS), *(file.c[name].label(f"file_{name}") for name in _FILE_FIELDS)
    ).select_from(exposures.outerjoin(file, file.c.id == best))


def values_of(row: Any) -> MatchValues:
    """Return the values that a rule compares, from a row of `values_query`."""
    count = len(MATCH_COLUMNS)
    file = dict(zip(_FILE_FIELDS, row[count:], strict=False))
    return MatchValues(
        **dict(zip(MATCH_COLUMNS, row, strict=False)), file=None if file["id"] is None else FileRecord(**file)
    )


def match_values(session: Session, rootname: str) -> MatchValues | None:
    """Return the values that a rule compares, with the file of the pixels (FLT for science), or None."""
    return next(iter(match_values_of(session, [rootname])), None)


@lru_cache
def _values_by_names() -> sa.Select[Any]:
    table = models.Exposure.__table__.c
    query = values_query(sa.case((table.kind == "dark", "RAW"), else_="FLT"))
    return query.where(table.rootname.in_(sa.bindparam("rootnames", expanding=True, type_=sa.String())))


def match_values_of(session: Session, rootnames: Sequence[str]) -> list[MatchValues]:
    """Return what `match_values` does for some exposures, sorted by root name; unknown ones are left out."""
    found = [
        values_of(row)
        for chunk in chunks(rootnames)
        for row in session.execute(_values_by_names(), {"rootnames": list(chunk)})
    ]
    return sorted(found, key=attrgetter("rootname"))


@lru_cache
def _name_exists() -> sa.Select[int]:
    table = models.Exposure.__table__.c
    return sa.select(table.id).where(table.rootname == sa.bindparam("rootname", type_=sa.String()))


def has_exposure(session: Session, rootname: str) -> bool:
    """Return whether the catalog has an exposure."""
    return session.scalar(_name_exists(), {"rootname": rootname}) is not None
