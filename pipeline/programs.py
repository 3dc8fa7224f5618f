"""The programs whose darks the archive has: which are in the catalog, and which is nearest to an exposure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sbcdark.catalog import archived, queries, writes
from sbcdark.catalog.engine import reading, writing
from sbcdark.catalog.errors import UnreachableError
from sbcdark.catalog.times import utc_of_mjd
from sbcdark.pipeline.mast import Archive
from sbcdark.pipeline.select import resolve_exposure
from sbcdark.pipeline.version import SOFTWARE_VERSION

if TYPE_CHECKING:
    from collections.abc import Iterable

    import sqlalchemy as sa

    from sbcdark.pipeline.mast import Dataset


@dataclass(frozen=True, slots=True)
class DarkProgram:
    """A program with SBC darks at the archive; field names are the JSON keys.

    Attributes
    ----------
    first_start_utc, last_start_utc : datetime
        Start of its first and of its last dark.
    frames, frames_in_catalog : int
        Darks at the archive, and those of them whose RAW the catalog has.
    nearest_dark : str or None
        The dark nearest in time to the exposure that was named.
    distance_days : float or None
        How far that one is from it, in days.
    """

    program: int
    first_start_utc: datetime
    last_start_utc: datetime
    frames: int
    frames_in_catalog: int
    nearest_dark: str | None = None
    distance_days: float | None = None


def programs(engine: sa.Engine, *, near: str | None = None) -> list[DarkProgram]:
    """Ask the archive for all SBC darks, write the listing down, and return their programs.

    Parameters
    ----------
    engine : Engine
        The catalog.
    near : str, optional
        An exposure of the catalog; the programs are then in order of their distance in time from it, else in order of
        their first dark.

    Raises
    ------
    UsageError
        The catalog has no such exposure.
    UnreachableError
        The archive cannot be asked.
    """
    start_mjd = None if near is None else _start_mjd(engine, near)
    record_darks(engine, list_darks(Archive()), datetime.now(UTC))
    with reading(engine) as session:
        nearest = (
            {} if start_mjd is None else {one.program: one for one in archived.nearest_by_program(session, start_mjd)}
        )
        found = [
            DarkProgram(
                one.program,
                utc_of_mjd(one.first_start_mjd),
                utc_of_mjd(one.last_start_mjd),
                one.frames,
                one.frames_in_catalog,
                nearest[one.program].dark if nearest else None,
                nearest[one.program].distance_days if nearest else None,
            )
            for one in archived.archived_programs(session)
        ]
    return sorted(found, key=lambda one: one.distance_days or 0.0) if nearest else found


def _start_mjd(engine: sa.Engine, name: str) -> float:
    with reading(engine) as session:
        record = queries.find_exposure(session, resolve_exposure(session, name))
        if record is None:  # resolve_exposure just found it: only a concurrent delete leads here
            message = f"{name} vanished while it was read"
            raise LookupError(message)
        return record.start_mjd


def list_darks(archive: Archive) -> list[Dataset]:
    """Return every SBC dark at the archive.

    Raises
    ------
    UnreachableError
        It lists none: such an answer must not pass for the state of the archive.
    """
    listed = archive.darks()
    if not listed:
        raise UnreachableError(
            f"The archive {archive.server} lists no SBC dark at all.",
            "Try again later. If it stays so, its interface has changed and sbcdark needs an update.",
        )
    return listed


def record_darks(engine: sa.Engine, listed: Iterable[Dataset], now: datetime, *, baseline: bool = False) -> datetime:
    """Write a listing of all darks into the catalog and return the time of the catalog's baseline, made if wanted."""
    with writing(engine) as session:
        archived.record_listing(
            session,
            [archived.ArchivedExposure(dark.name, dark.program, dark.start_mjd, dark.exptime_s) for dark in listed],
            now,
        )
        if baseline and archived.baseline(session) is None:
            writes.start_run(session, archived.UPDATE_ACTION, SOFTWARE_VERSION)
        return archived.baseline(session) or now
