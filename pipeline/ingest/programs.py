"""The SBC darks of the archive: their programs, how many are in the catalog, and the update with new ones."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sbcdark.catalog import archive_listings, queries, writes
from sbcdark.catalog.engine import reading, writing
from sbcdark.catalog.errors import UnreachableError, UsageError
from sbcdark.catalog.text import number
from sbcdark.catalog.times import mjd_of_utc
from sbcdark.catalog.version import SOFTWARE_VERSION
from sbcdark.pipeline.archive.mast import Archive
from sbcdark.pipeline.ingest.fetch import Fetch, UpdateReport, default_folder
from sbcdark.pipeline.selection.names import resolve_exposure

if TYPE_CHECKING:
    from collections.abc import Iterable

    import sqlalchemy as sa

    from sbcdark.catalog.archive_listings import DarkProgram
    from sbcdark.pipeline.archive.mast import Dataset
    from sbcdark.pipeline.ingest.fetch import FetchOptions, FetchReport


def programs(engine: sa.Engine, *, near: str | None = None) -> list[DarkProgram]:
    """Return the programs of all SBC darks at the archive, and store the listing in the catalog.

    Parameters
    ----------
    near : str, optional
        An exposure of the catalog: sort the programs by distance in time from it; by default by their first dark.

    Raises
    ------
    UsageError
        The catalog has no such exposure.
    UnreachableError
        The archive cannot be reached.
    """
    start_mjd = None
    if near is not None:
        with reading(engine) as session:
            record = queries.find_exposure(session, resolve_exposure(session, near))
        if record is None:
            raise UsageError(f"{near} is no longer in the catalog.")
        start_mjd = record.start_mjd
    _record(engine, _list_darks(Archive()), datetime.now(UTC))
    with reading(engine) as session:
        found = {one.program: one for one in archive_listings.archived_programs(session)}
        if start_mjd is None:
            return list(found.values())
        return [
            replace(found[one.program], nearest_dark=one.dark, distance_days=one.distance_days)
            for one in archive_listings.nearest_by_program(session, start_mjd)
        ]


def _list_darks(archive: Archive) -> list[Dataset]:
    """Return every SBC dark at the archive; raise `UnreachableError` if the list is empty."""
    darks = archive.darks()
    if not darks:
        raise UnreachableError(
            f"The archive {archive.server} lists no SBC darks.",
            "Try again later. If it does not help, its interface has changed and sbcdark needs an update.",
        )
    return darks


def _record(engine: sa.Engine, darks: Iterable[Dataset], now: datetime, *, baseline: bool = False) -> datetime:
    """Store a listing of all darks in the catalog, and on request the baseline; return the time of the baseline."""
    exposures = [
        archive_listings.ArchivedExposure(dark.name, dark.program, dark.start_mjd, dark.exptime_s) for dark in darks
    ]
    with writing(engine) as session:
        archive_listings.record_listing(session, exposures, now)
        if baseline and archive_listings.baseline(session) is None:
            writes.start_run(session, archive_listings.UPDATE_ACTION, SOFTWARE_VERSION)
        return archive_listings.baseline(session) or now


def fetch_update(engine: sa.Engine | None, options: FetchOptions, *, since: datetime | None = None) -> FetchReport:
    """Fetch the darks that are new at the archive since this catalog's first update, and ingest them.

    The first update of a catalog only records the archive's darks: its baseline. Later ones fetch the darks that were
    first seen after the baseline and are not in the catalog, so a failed download is repeated. With `renew` they
    also compare the darks of the catalog with the archive's.

    Parameters
    ----------
    engine : Engine or None
        The catalog; None (in a dry run) if it does not exist yet.
    since : datetime, optional
        Also fetch darks that started at or after this time (UTC) and are not in the catalog.

    Raises
    ------
    UnreachableError
        The archive cannot be reached.
    """
    archive = Archive()
    listed = _list_darks(archive)
    now = datetime.now(UTC)
    seen: dict[str, datetime] = {}
    in_catalog: set[str] = set()
    baseline_utc: datetime | None = None
    if engine is not None:
        with reading(engine) as session:
            seen, baseline_utc = archive_listings.first_seen(session), archive_listings.baseline(session)
            present = archive_listings.present_products(session, [dark.name for dark in listed])
            in_catalog = {name for name, kind in present if kind == "RAW"}
    is_baseline = baseline_utc is None
    if engine is not None and not options.dry_run:
        baseline_utc = _record(engine, listed, now, baseline=is_baseline)
    since_mjd = None if since is None else mjd_of_utc(since)

    def is_wanted(dark: Dataset) -> bool:
        if dark.name in in_catalog:
            return options.renew
        is_new = not is_baseline and baseline_utc is not None and seen.get(dark.name, now) > baseline_utc
        return is_new or (since_mjd is not None and dark.start_mjd >= since_mjd)

    update = UpdateReport(
        darks_at_archive=len(listed),
        darks_in_catalog=len(in_catalog),
        first_seen_now=sum(dark.name not in seen for dark in listed),
        baseline_utc=baseline_utc or now,
        is_baseline=is_baseline,
    )
    _say_update(options, update)
    folder = options.folder if options.folder is not None else default_folder()
    wanted = [dark for dark in listed if is_wanted(dark)]
    names = {dark.name for dark in wanted}
    offered = [file for file in archive.files(wanted) if file.kind == "RAW" and file.rootname in names]
    without = len(names - {file.rootname for file in offered})
    if without:
        options.talk.say(f"{number(without, 'dark')} without a RAW at the archive; the next update tries again")
    report = Fetch(engine, options).run([(file, folder / str(file.dataset.program) / file.name) for file in offered])
    report.update = update
    return report


def _say_update(options: FetchOptions, update: UpdateReport) -> None:
    are = "is" if update.darks_in_catalog == 1 else "are"
    state = (
        f"The archive has {number(update.darks_at_archive, 'SBC dark')}; "
        f"{update.darks_in_catalog} of them {are} in the catalog."
    )
    if update.is_baseline:
        sets = "would set" if options.dry_run else "sets"
        options.talk.say(
            f"{state} This first update {sets} the baseline: later ones fetch the darks that are new from now on. "
            "Get older darks with: sbcdark fetch --program N --darks, or sbcdark fetch --update --since DATE"
        )
    else:
        options.talk.say(f"{state} {update.first_seen_now} new since {update.baseline_utc:%Y-%m-%d %H:%M} UTC.")
