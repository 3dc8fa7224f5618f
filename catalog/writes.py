"""What changes the catalog. Every function works inside a session of `engine.writing` and never commits."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from sbcdark.catalog import models
from sbcdark.catalog.queries import copies_in_order

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy.orm import Session

    from sbcdark.catalog.records import (
        AssociationFacts,
        ExposureFacts,
        FileReading,
        Refusal,
    )

_CHUNK = 500
"""How many values go into one IN (...): SQLite takes 32,766 parameters, older builds 999."""

_EXPOSURE_COLUMNS = (
    "kind",
    "program",
    "target",
    "filter",
    "association",
    "start_utc",
    "start_mjd",
    "exptime_s",
    "temperature_start_c",
    "temperature_end_c",
    "exposure_flag",
)
_FILE_COLUMNS = (
    "processed_mjd",
    "calibration_version",
    "dark_correction",
    "mean_dark_count",
    "flat_correction",
    "flat_file",
    "photflam_erg_s_cm2_a",
    "photplam_a",
)


@dataclass(frozen=True, slots=True)
class BatchCounts:
    """What one batch changed, in files."""

    added: int
    updated: int
    unchanged: int
    rejected: int


def start_run(session: Session, action: str, software_version: str) -> int:
    """Open a row of `ingest_runs`, by whose id everything written next is known, and return that id."""
    run = models.IngestRun(action=action, software_version=software_version, started_utc=datetime.now(UTC))
    session.add(run)
    session.flush()
    return run.id


def finish_run(session: Session, run_id: int) -> None:
    """Note that a run came to its end."""
    session.execute(
        sa.update(models.IngestRun).where(models.IngestRun.id == run_id).values(finished_utc=datetime.now(UTC))
    )


def region_ids(session: Session, regions: Iterable[dict[str, Any]]) -> dict[tuple[str, int], int]:
    """Return the ids of regions by (name, version), adding those that are not there yet."""
    known = {(row.name, row.version): row.id for row in session.scalars(sa.select(models.Region))}
    for region in regions:
        key = (region["name"], region["version"])
        if key not in known:
            row = models.Region(**region)
            session.add(row)
            session.flush()
            known[key] = row.id
    return known


def write_batch(
    session: Session,
    readings: Sequence[FileReading],
    refusals: Sequence[Refusal],
    regions: Iterable[dict[str, Any]],
    *,
    run_id: int | None,
    action: str,
    software_version: str,
) -> tuple[BatchCounts, int | None]:
    """Write what was read of a batch of files, in bulk.

    Readings whose content is already known at their URI (another process was quicker, or only the file's time
    changed) count as unchanged. Where nothing changes, no row of `ingest_runs` is made.

    Returns
    -------
    (BatchCounts, int or None)
        The counts, and the run's id once there is one.
    """
    readings = _last_by_uri(readings)
    current = {
        row.uri: row
        for chunk in _chunks([r.uri for r in readings])
        for row in session.scalars(
            sa.select(models.File).where(models.File.uri.in_(chunk), models.File.state != "changed")
        )
    }
    new: list[FileReading] = []
    updated = unchanged = 0
    touched: set[int] = set()
    for reading in readings:
        row = current.get(reading.uri)
        if row is not None and reading.sha256 is not None and row.sha256 == reading.sha256:
            row.size_byte, row.mtime_ns = reading.size_byte, reading.mtime_ns
            if row.state != "present":
                row.state = "present"
                updated += 1
                if row.exposure_id is not None:
                    touched.add(row.exposure_id)
            else:
                unchanged += 1
            continue
        if row is not None:
            row.state = "changed"
            if row.exposure_id is not None:
                touched.add(row.exposure_id)
            updated += 1
        new.append(reading)
    touched |= _mark_broken(session, refusals)
    changed_refusals = _new_refusals(session, refusals)
    counts = BatchCounts(len(new) - _replaced(new, current), updated, unchanged, len(refusals))
    if not new and not touched and not changed_refusals:
        session.flush()
        return counts, run_id
    if run_id is None:
        run_id = start_run(session, action, software_version)
    session.flush()
    _write_refusals(session, changed_refusals, run_id)
    _forget_refusals(session, [reading.uri for reading in readings])
    touched |= _write_files(session, new, region_ids(session, regions), run_id)
    refresh_exposures(session, touched)
    session.execute(
        sa.update(models.IngestRun)
        .where(models.IngestRun.id == run_id)
        .values(
            added=models.IngestRun.added + counts.added,
            updated=models.IngestRun.updated + counts.updated,
            rejected=models.IngestRun.rejected + len(changed_refusals),
        )
    )
    return counts, run_id


def _chunks(values: Sequence[Any]) -> Iterable[Sequence[Any]]:
    return (values[start : start + _CHUNK] for start in range(0, len(values), _CHUNK))


def _last_by_uri(readings: Sequence[FileReading]) -> list[FileReading]:
    return list({reading.uri: reading for reading in readings}.values())


def _replaced(new: Sequence[FileReading], current: dict[str, models.File]) -> int:
    return sum(reading.uri in current for reading in new)


def _write_files(
    session: Session, readings: Sequence[FileReading], regions: dict[tuple[str, int], int], run_id: int
) -> set[int]:
    exposures = _exposure_ids(session, [r.exposure for r in readings if r.exposure is not None])
    associations = _write_associations(session, [r.association for r in readings if r.association is not None])
    rows = []
    for reading in readings:
        row = models.File(
            ingest_run_id=run_id,
            kind=reading.kind,
            uri=reading.uri,
            size_byte=reading.size_byte,
            mtime_ns=reading.mtime_ns,
            sha256=reading.sha256,
            state="present",
        )
        if reading.exposure is not None:
            row.exposure_id = exposures[reading.exposure.rootname]
            for column in _FILE_COLUMNS:
                setattr(row, column, getattr(reading.exposure, column))
        elif reading.association is not None:
            row.association_id = associations[reading.association.name]
        rows.append(row)
    session.add_all(rows)
    session.flush()
    measurements = [
        {
            "file_id": row.id,
            "region_id": regions[measured.region, measured.version],
            "counts": measured.counts,
            "good_pixels": measured.good_pixels,
            "rate_count_s_pix": measured.rate_count_s_pix,
            "rate_err_count_s_pix": measured.rate_err_count_s_pix,
        }
        for row, reading in zip(rows, readings, strict=True)
        if reading.exposure is not None
        for measured in reading.exposure.measurements
    ]
    if measurements:
        session.execute(sa.insert(models.Measurement), measurements)
    _adopt_facts(
        session,
        {row.id: reading.exposure for row, reading in zip(rows, readings, strict=True) if reading.exposure is not None},
    )
    return set(exposures.values())


def _exposure_ids(session: Session, facts: Sequence[ExposureFacts]) -> dict[str, int]:
    by_name = {fact.rootname: fact for fact in facts}
    known: dict[str, int] = {}
    for chunk in _chunks(list(by_name)):
        query = sa.select(models.Exposure.rootname, models.Exposure.id).where(models.Exposure.rootname.in_(chunk))
        known.update(session.execute(query).all())
    fresh = [
        models.Exposure(
            rootname=rootname,
            temperature_mean_c=0.5 * (fact.temperature_start_c + fact.temperature_end_c),
            **{column: getattr(fact, column) for column in _EXPOSURE_COLUMNS},
        )
        for rootname, fact in by_name.items()
        if rootname not in known
    ]
    session.add_all(fresh)
    session.flush()
    return known | {row.rootname: row.id for row in fresh}


def _write_associations(session: Session, facts: Sequence[AssociationFacts]) -> dict[str, int]:
    ids: dict[str, int] = {}
    for fact in facts:
        row = session.scalar(sa.select(models.Association).where(models.Association.name == fact.name))
        if row is None:
            row = models.Association(name=fact.name)
            session.add(row)
        row.program, row.target = fact.program, fact.target
        session.flush()
        session.execute(sa.delete(models.AssociationMember).where(models.AssociationMember.association_id == row.id))
        session.add_all(
            models.AssociationMember(association_id=row.id, position=position, rootname=rootname, member_type=kind)
            for position, (rootname, kind) in enumerate(fact.members)
        )
        session.flush()
        ids[fact.name] = row.id
    return ids


def _preferred_file(kind: Any) -> tuple[Any, ...]:
    """Return the ORDER BY that puts the file first whose values an exposure takes.

    What is present comes before what is missing, a dark's RAW (never flat-fielded) and a science exposure's FLT before
    the other kind.
    """
    file = models.File
    wanted = sa.case((kind == "dark", "RAW"), else_="FLT")
    present = sa.case((file.state == "present", 0), else_=1)
    return present, sa.case((file.kind == wanted, 0), else_=1), *copies_in_order(file)


def preferred_files(session: Session, exposure_ids: Iterable[int]) -> dict[int, int]:
    """Return the preferred file's id of each exposure that has a file that is not superseded."""
    preferred: dict[int, int] = {}
    for chunk in _chunks(sorted(exposure_ids)):
        query = (
            sa.select(models.Exposure.id, models.File.id)
            .join(models.File, models.File.exposure_id == models.Exposure.id)
            .where(models.Exposure.id.in_(chunk), models.File.state != "changed")
            .order_by(models.Exposure.id, *_preferred_file(models.Exposure.kind))
        )
        for exposure_id, file_id in session.execute(query):
            preferred.setdefault(exposure_id, file_id)
    return preferred


def _adopt_facts(session: Session, facts: dict[int, ExposureFacts]) -> None:
    """Let each exposure take the header facts of its preferred file, where that is among those just written."""
    by_file = dict(
        session.execute(sa.select(models.File.id, models.File.exposure_id).where(models.File.id.in_(list(facts)))).all()
    )
    preferred = preferred_files(session, {identity for identity in by_file.values() if identity is not None})
    updates = [
        {
            "id": exposure_id,
            "temperature_mean_c": 0.5 * (fact.temperature_start_c + fact.temperature_end_c),
            **{column: getattr(fact, column) for column in _EXPOSURE_COLUMNS},
        }
        for exposure_id, file_id in preferred.items()
        if (fact := facts.get(file_id)) is not None
    ]
    if updates:
        session.execute(sa.update(models.Exposure), updates)


def refresh_exposures(session: Session, exposure_ids: Iterable[int]) -> None:
    """Bring the measured values that stand in `exposures` (where the rules rank by them) up to date."""
    preferred = preferred_files(session, exposure_ids)
    measured: dict[int, dict[str, Any]] = {}
    for chunk in _chunks(sorted(preferred.values())):
        query = (
            sa.select(models.Measurement, models.Region.name)
            .join(models.Region, models.Region.id == models.Measurement.region_id)
            .where(models.Measurement.file_id.in_(chunk), models.Region.name.in_(("box", "quiet")))
            .order_by(models.Region.version)
        )
        for row, name in session.execute(query):
            measured.setdefault(row.file_id, {})[name] = row
    updates = []
    for exposure_id, file_id in preferred.items():
        box, quiet = measured.get(file_id, {}).get("box"), measured.get(file_id, {}).get("quiet")
        if box is None or quiet is None:
            continue
        updates.append(
            {
                "id": exposure_id,
                "box_count": box.counts,
                "box_rate_count_s_pix": box.rate_count_s_pix,
                "box_rate_err_count_s_pix": box.rate_err_count_s_pix,
                "quiet_rate_count_s_pix": quiet.rate_count_s_pix,
                "quiet_rate_err_count_s_pix": quiet.rate_err_count_s_pix,
                "contrast_count_s_pix": box.rate_count_s_pix - quiet.rate_count_s_pix,
                "contrast_err_count_s_pix": (box.rate_err_count_s_pix**2 + quiet.rate_err_count_s_pix**2) ** 0.5,
            }
        )
    if updates:
        session.execute(sa.update(models.Exposure), updates)


def _mark_broken(session: Session, refusals: Sequence[Refusal]) -> set[int]:
    """Mark what stood at URIs whose content is refused now as `changed`, and return the exposures that it was of."""
    now = {refusal.uri: (refusal.size_byte, refusal.mtime_ns) for refusal in refusals if refusal.size_byte}
    touched = set()
    for chunk in _chunks(list(now)):
        query = sa.select(models.File).where(models.File.uri.in_(chunk), models.File.state != "changed")
        for row in session.scalars(query):
            # A file that could not be read this once is left as it is known.
            if (row.size_byte, row.mtime_ns) != now[row.uri]:
                row.state = "changed"
                if row.exposure_id is not None:
                    touched.add(row.exposure_id)
    return touched


def _new_refusals(session: Session, refusals: Sequence[Refusal]) -> list[Refusal]:
    """Return the refusals that the catalog does not hold word for word yet."""
    known = {
        row.uri: (row.size_byte, row.mtime_ns, row.reason)
        for chunk in _chunks([refusal.uri for refusal in refusals])
        for row in session.scalars(sa.select(models.RejectedFile).where(models.RejectedFile.uri.in_(chunk)))
    }
    return [r for r in refusals if known.get(r.uri) != (r.size_byte, r.mtime_ns, r.reason)]


def _write_refusals(session: Session, refusals: Sequence[Refusal], run_id: int) -> None:
    _forget_refusals(session, [refusal.uri for refusal in refusals])
    session.add_all(
        models.RejectedFile(
            uri=refusal.uri,
            size_byte=refusal.size_byte,
            mtime_ns=refusal.mtime_ns,
            reason=refusal.reason,
            ingest_run_id=run_id,
        )
        for refusal in refusals
    )
    session.flush()


def _forget_refusals(session: Session, uris: Sequence[str]) -> None:
    for chunk in _chunks(uris):
        session.execute(sa.delete(models.RejectedFile).where(models.RejectedFile.uri.in_(chunk)))
