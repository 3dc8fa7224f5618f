"""The darks that the archive holds: one row per dark in an archive listing, with the time it was first seen.

Every function that writes runs inside a session of `engine.writing` and never commits.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import sqlalchemy as sa

from sbcdark.catalog import models
from sbcdark.catalog.chunks import rows_among
from sbcdark.catalog.queries import present_files
from sbcdark.catalog.times import utc_of_mjd

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from sqlalchemy.orm import Session

UPDATE_ACTION = "update from archive"
"""The `action` of the row in `ingest_runs` that the first update of a catalog writes: its baseline."""


@dataclass(frozen=True, slots=True)
class ArchivedExposure:
    """A dark in the archive: start in days (UTC), exposure time in s (None if the listing does not give it)."""

    rootname: str
    program: int
    start_mjd: float
    exptime_s: float | None


@dataclass(frozen=True, slots=True)
class DarkProgram:
    """A program with SBC darks at the archive; field names are the JSON keys.

    Attributes
    ----------
    frames, frames_in_catalog : int
        Darks at the archive, and how many of them have their RAW in the catalog.
    nearest_dark, distance_days : str and float, or None
        The dark nearest in time to a given exposure, and its distance in days.
    """

    program: int
    first_start_utc: datetime
    last_start_utc: datetime
    frames: int
    frames_in_catalog: int
    nearest_dark: str | None = None
    distance_days: float | None = None


@dataclass(frozen=True, slots=True)
class NearestProgram:
    """The program of the dark nearest in time to an exposure, and the distance of that dark in days."""

    program: int
    dark: str
    distance_days: float


def first_seen(session: Session) -> dict[str, datetime]:
    """Return every exposure in the archive listings, with the time it was first seen."""
    table = models.ArchiveExposure
    return dict(session.execute(sa.select(table.rootname, table.first_seen_utc)).all())


def record_listing(session: Session, listed: Iterable[ArchivedExposure], now: datetime) -> int:
    """Store the exposures of a listing; known ones keep the time they were first seen.

    Returns
    -------
    int
        Number of new exposures.
    """
    by_name = {exposure.rootname: exposure for exposure in listed}
    table = models.ArchiveExposure
    known = {row.rootname: row for (row,) in rows_among(session, sa.select(table), table.rootname, by_name)}
    for name, row in known.items():
        exposure = by_name[name]
        row.program, row.start_mjd, row.exptime_s = exposure.program, exposure.start_mjd, exposure.exptime_s
    fresh = [exposure for name, exposure in by_name.items() if name not in known]
    session.add_all(table(**asdict(exposure), first_seen_utc=now) for exposure in fresh)
    session.flush()
    return len(fresh)


def baseline(session: Session) -> datetime | None:
    """Return the time of the first update from the archive, or None."""
    return session.scalar(
        sa.select(models.IngestRun.started_utc)
        .where(models.IngestRun.action == UPDATE_ACTION)
        .order_by(models.IngestRun.id)
        .limit(1)
    )


@dataclass(frozen=True, slots=True)
class PresentFile:
    """Where a product is, according to the catalog: URI, size in bytes, time in nanoseconds since 1970."""

    uri: str
    size_byte: int
    mtime_ns: int


def present_products(session: Session, names: Iterable[str]) -> dict[tuple[str, str], list[PresentFile]]:
    """Return the present files of exposures and associations, by (name, kind); the kind is RAW, FLT or ASN."""
    present: dict[tuple[str, str], list[PresentFile]] = {}
    for name, _, kind, uri, size_byte, mtime_ns in present_files(session, names):
        present.setdefault((name, kind), []).append(PresentFile(uri, size_byte, mtime_ns))
    return present


def _is_in_catalog() -> sa.ColumnElement[bool]:
    """Return whether the RAW of an archived dark is present in the catalog."""
    return (
        sa.select(models.File.id)
        .join(models.Exposure, models.Exposure.id == models.File.exposure_id)
        .where(
            models.Exposure.rootname == models.ArchiveExposure.rootname,
            models.File.kind == "RAW",
            models.File.state == "present",
        )
        .correlate(models.ArchiveExposure)
        .exists()
    )


def archived_programs(session: Session) -> list[DarkProgram]:
    """Return the programs of the archived darks, in order of their first dark."""
    table = models.ArchiveExposure
    query = (
        sa.select(
            table.program,
            sa.func.min(table.start_mjd).label("first"),
            sa.func.max(table.start_mjd),
            sa.func.count(),
            sa.func.sum(sa.case((_is_in_catalog(), 1), else_=0)),
        )
        .group_by(table.program)
        .order_by(sa.text("first"), table.program)
    )
    return [
        DarkProgram(program, utc_of_mjd(first), utc_of_mjd(last), int(frames), int(here))
        for program, first, last, frames, here in session.execute(query)
    ]


def nearest_by_program(session: Session, start_mjd: float, *, absent: bool = False) -> list[NearestProgram]:
    """Return the nearest dark of each program in time, nearest program first.

    Parameters
    ----------
    start_mjd : float
        Time in days (UTC).
    absent : bool
        Consider only darks that are not in the catalog.
    """
    table = models.ArchiveExposure
    distance = sa.func.abs(table.start_mjd - start_mjd)
    query = sa.select(table.program, table.rootname, distance).order_by(distance, table.rootname)
    if absent:
        query = query.where(~_is_in_catalog())
    nearest: dict[int, NearestProgram] = {}
    for program, rootname, days in session.execute(query):
        nearest.setdefault(program, NearestProgram(program, rootname, days))
    return list(nearest.values())


def has_archive_listing(session: Session) -> bool:
    """Return whether the catalog holds an archive listing."""
    return session.scalar(sa.select(models.ArchiveExposure.rootname).limit(1)) is not None
