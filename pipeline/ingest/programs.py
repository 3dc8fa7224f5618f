"""All SBC darks of the archive: their programs, which of them the catalog has, and an update with the new ones."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sbcdark.catalog import archive_listings, queries, writes
from sbcdark.catalog.engine import reading, writing
from sbcdark.catalog.errors import UnreachableError
from sbcdark.catalog.text import number
from sbcdark.catalog.times import mjd_of_utc, utc_of_mjd
from sbcdark.catalog.version import SOFTWARE_VERSION
from sbcdark.pipeline.archive.mast import Archive
from sbcdark.pipeline.ingest.fetch import Job, UpdateReport, default_folder
from sbcdark.pipeline.selection.choice import resolve_exposure

if TYPE_CHECKING:
    from collections.abc import Iterable

    import sqlalchemy as sa

    from sbcdark.pipeline.archive.mast import Dataset
    from sbcdark.pipeline.ingest.fetch import FetchReport, Wish


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
            {}
            if start_mjd is None
            else {one.program: one for one in archive_listings.nearest_by_program(session, start_mjd)}
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
            for one in archive_listings.archived_programs(session)
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
        archive_listings.record_listing(
            session,
            [
                archive_listings.ArchivedExposure(dark.name, dark.program, dark.start_mjd, dark.exptime_s)
                for dark in listed
            ],
            now,
        )
        if baseline and archive_listings.baseline(session) is None:
            writes.start_run(session, archive_listings.UPDATE_ACTION, SOFTWARE_VERSION)
        return archive_listings.baseline(session) or now


def fetch_update(engine: sa.Engine | None, wish: Wish, *, since: datetime | None = None) -> FetchReport:
    """Get the darks that came to the archive since this catalog's first update, and ingest them.

    The first update of a catalog only notes what the archive has: its baseline. Later ones get what was first seen
    after that and is not in the catalog, so that what failed once is tried again. With `renew` the darks of the catalog
    are compared with the archive's, too.

    Parameters
    ----------
    engine : Engine or None
        The catalog; None (with a dry run) stands for one that does not exist yet.
    since : datetime, optional
        Get also what started at or after this time (UTC) and is not in the catalog.

    Raises
    ------
    UnreachableError
        The archive cannot be asked, or gave not one file.
    """
    archive = Archive()
    listed = list_darks(archive)
    now = datetime.now(UTC)
    seen: dict[str, datetime] = {}
    in_catalog: set[str] = set()
    begun: datetime | None = None
    if engine is not None:
        with reading(engine) as session:
            seen, begun = archive_listings.first_seen(session), archive_listings.baseline(session)
            present = archive_listings.present_products(session, [dark.name for dark in listed])
            in_catalog = {name for name, kind in present if kind == "RAW"}
    is_baseline = begun is None
    if engine is not None and not wish.dry_run:
        begun = record_darks(engine, listed, now, baseline=is_baseline)
    since_mjd = None if since is None else mjd_of_utc(since)

    def is_wanted(dark: Dataset) -> bool:
        if dark.name in in_catalog:
            return wish.renew
        is_new = not is_baseline and begun is not None and seen.get(dark.name, now) > begun
        return is_new or (since_mjd is not None and dark.start_mjd >= since_mjd)

    update = UpdateReport(
        darks_at_archive=len(listed),
        darks_in_catalog=len(in_catalog),
        first_seen_now=sum(dark.name not in seen for dark in listed),
        baseline_utc=begun or now,
        is_baseline=is_baseline,
    )
    _say_update(wish, update)
    where = wish.folder if wish.folder is not None else default_folder()
    wanted = [dark for dark in listed if is_wanted(dark)]
    names = {dark.name for dark in wanted}
    offered = [file for file in archive.files(wanted) if file.kind == "RAW" and file.rootname in names]
    without = len(names - {file.rootname for file in offered})
    if without:
        has = "dark has" if without == 1 else "darks have"
        wish.talk.say(f"{without} {has} no RAW at the archive yet; the next update asks again")
    report = Job(engine, archive.server, wish).run(
        [(file, where / str(file.dataset.program) / file.name) for file in offered]
    )
    report.update = update
    return report


def _say_update(wish: Wish, update: UpdateReport) -> None:
    are = "is" if update.darks_in_catalog == 1 else "are"
    state = (
        f"The archive has {number(update.darks_at_archive, 'SBC dark')}; "
        f"{update.darks_in_catalog} of them {are} in the catalog."
    )
    if update.is_baseline:
        makes = "would make" if wish.dry_run else "makes"
        wish.talk.say(
            f"{state} This first update {makes} the baseline: later ones get what is new from now on. "
            "Get older darks with: sbcdark fetch --program N --darks, or sbcdark fetch --update --since DATE"
        )
    else:
        wish.talk.say(f"{state} {update.first_seen_now} new since {update.baseline_utc:%Y-%m-%d %H:%M} UTC.")
