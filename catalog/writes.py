"""Writes to the catalog. Every function runs inside a session of `engine.writing` and never commits."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from sbcdark.catalog import models
from sbcdark.catalog.chunks import chunks, rows_among
from sbcdark.catalog.file_changes import outranked, superseded_files
from sbcdark.catalog.preferred_files import (
    MEASURED,
    exposure_columns,
    measured_columns,
    preferred_files,
    refresh_exposures,
)
from sbcdark.catalog.queries import exposure_ids

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from sqlalchemy.orm import Session

    from sbcdark.catalog.records import (
        AssociationFacts,
        ExposureFacts,
        FileReading,
        KnownFile,
        Refusal,
        Superseded,
    )

_FILE_COLUMNS = (
    "processed_mjd",
    "calibration_version",
    "dark_correction",
    "mean_dark_count",
    "flat_correction",
    "flat_file",
    "multiplied_by",
    "photflam_erg_s_cm2_a",
    "photplam_a",
)


@dataclass(frozen=True, slots=True)
class BatchCounts:
    """The changes of one batch, in files."""

    added: int
    updated: int
    unchanged: int
    rejected: int
    superseded: tuple[Superseded, ...] = ()


def start_run(session: Session, action: str, software_version: str) -> int:
    """Add a row to `ingest_runs` and return its id, which identifies everything written next."""
    now = datetime.now(UTC)
    run = models.IngestRun(action=action, software_version=software_version, started_utc=now, finished_utc=now)
    session.add(run)
    session.flush()
    return run.id


def region_ids(session: Session, regions: Iterable[dict[str, Any]]) -> dict[tuple[str, int], int]:
    """Return the ids of regions by (name, version); new regions are added."""
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
    """Write the readings of a batch of files, in bulk.

    Readings whose content the catalog already has at their URI (another process was first, or only the file's time
    changed) count as unchanged. If nothing changes, no row is added to `ingest_runs`.

    Returns
    -------
    (BatchCounts, int or None)
        The counts, and the run's id if there is one.
    """
    readings = _last_by_uri(readings)
    known = exposure_ids(session, [r.exposure.rootname for r in readings if r.exposure is not None])
    before = preferred_files(session, known.values())
    current = {row.uri: row for row in _current_files(session, [r.uri for r in readings])}
    new: list[FileReading] = []
    updated = unchanged = 0
    touched: set[int] = set()
    for reading in readings:
        row = current.get(reading.uri)
        if row is not None and same_content(row, reading):
            row.size_byte, row.mtime_ns, row.etag = reading.size_byte, reading.mtime_ns, reading.etag
            row.sha256 = reading.sha256 or row.sha256
            touched |= _complete_facts(row, reading)
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
    replaced = {row.id for row in current.values() if row.state == "changed"}
    broken, exposures_of_broken = _mark_broken(session, refusals)
    touched |= exposures_of_broken
    changed_refusals = _new_refusals(session, refusals)
    counts = BatchCounts(len(new) - len(replaced), updated, unchanged, len(refusals))
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
    outdated = replaced | broken | outranked(session, before)
    counts = replace(counts, superseded=tuple(superseded_files(session, outdated)))
    session.execute(
        sa.update(models.IngestRun)
        .where(models.IngestRun.id == run_id)
        .values(
            added=models.IngestRun.added + counts.added,
            updated=models.IngestRun.updated + counts.updated,
            rejected=models.IngestRun.rejected + len(changed_refusals),
            # With every batch: a killed run then ends with its last write, and no run stays open.
            finished_utc=datetime.now(UTC),
        )
    )
    return counts, run_id


def _current_files(session: Session, uris: Iterable[str]) -> Iterator[models.File]:
    query = sa.select(models.File).where(models.File.state != "changed")
    return (row for (row,) in rows_among(session, query, models.File.uri, uris))


def _last_by_uri(readings: Sequence[FileReading]) -> list[FileReading]:
    return list({reading.uri: reading for reading in readings}.values())


def same_content(row: models.File | KnownFile, reading: FileReading) -> bool:
    """Return whether a reading has the content that the catalog knows, as far as this can be determined.

    An FLT that is read with its flat for the first time is new: its counts are other ones.
    """
    if reading.exposure is not None and reading.exposure.multiplied_by is not None and row.multiplied_by is None:
        return False
    if row.sha256 is not None and reading.sha256 is not None:
        return row.sha256 == reading.sha256
    # Not read in full: size and ETag decide, or else size and time.
    if row.etag is not None and reading.etag is not None:
        return (row.size_byte, row.etag) == (reading.size_byte, reading.etag)
    known = (row.size_byte, row.mtime_ns, row.etag)
    return known == (reading.size_byte, reading.mtime_ns, reading.etag)


def _write_files(
    session: Session, readings: Sequence[FileReading], regions: dict[tuple[str, int], int], run_id: int
) -> set[int]:
    exposures, incomplete = _exposure_ids(session, readings)
    associations = _write_associations(session, [r.association for r in readings if r.association is not None])
    if not readings:
        return incomplete
    added = sa.insert(models.File).returning(models.File.id, sort_by_parameter_order=True)
    ids = session.scalars(added, [_file_row(reading, exposures, associations, run_id) for reading in readings]).all()
    measurements = [
        {
            "file_id": identity,
            "region_id": regions[measured.region, measured.version],
            "counts": measured.counts,
            "good_pixels": measured.good_pixels,
            "rate_count_s_pix": measured.rate_count_s_pix,
            "rate_err_count_s_pix": measured.rate_err_count_s_pix,
        }
        for identity, reading in zip(ids, readings, strict=True)
        if reading.exposure is not None
        for measured in reading.exposure.measurements
    ]
    if measurements:
        session.execute(sa.insert(models.Measurement), measurements)
    return incomplete


def _file_row(
    reading: FileReading, exposures: dict[str, int], associations: dict[str, int], run_id: int
) -> dict[str, Any]:
    exposure, association = reading.exposure, reading.association
    return {
        "exposure_id": None if exposure is None else exposures[exposure.rootname],
        "association_id": None if association is None else associations[association.name],
        "ingest_run_id": run_id,
        "kind": reading.kind,
        "uri": reading.uri,
        "size_byte": reading.size_byte,
        "mtime_ns": reading.mtime_ns,
        "sha256": reading.sha256,
        "etag": reading.etag,
        "state": "present",
        "exposure_facts": None if exposure is None else _facts(exposure),
        **{column: None if exposure is None else getattr(exposure, column) for column in _FILE_COLUMNS},
    }


def _facts(exposure: ExposureFacts) -> dict[str, Any]:
    return {name: getattr(exposure, name) for name in models.EXPOSURE_FACTS}


def _complete_facts(row: models.File, reading: FileReading) -> set[int]:
    """Store facts that an earlier release did not keep; return the ids of the exposures with new facts."""
    if reading.exposure is None or row.exposure_id is None or models.facts_are_complete(row):
        return set()
    row.exposure_facts = _facts(reading.exposure)
    return {row.exposure_id}


def _exposure_ids(session: Session, readings: Sequence[FileReading]) -> tuple[dict[str, int], set[int]]:
    """Return the ids of exposures by root name; new ones are added.

    A new exposure with one file takes its values from that file at once. The second result has the ids of the others:
    those that are to be refreshed once their files are written.
    """
    by_name: dict[str, list[tuple[ExposureFacts, str]]] = {}
    for reading in readings:
        if (fact := reading.exposure) is not None:
            by_name.setdefault(fact.rootname, []).append((fact, reading.kind))
    known = exposure_ids(session, by_name)
    fresh = {name: found for name, found in by_name.items() if name not in known}
    if fresh:
        rows = [_exposure_row(*found[-1]) for found in fresh.values()]
        added = sa.insert(models.Exposure).returning(models.Exposure.id, sort_by_parameter_order=True)
        ids = dict(zip(fresh, session.scalars(added, rows), strict=True))
    else:
        ids = {}
    incomplete = {*known.values(), *(ids[name] for name, found in fresh.items() if len(found) > 1)}
    return known | ids, incomplete


def _exposure_row(facts: ExposureFacts, kind: str) -> dict[str, Any]:
    row = {"rootname": facts.rootname, "has_raw": kind == "RAW", **exposure_columns(_facts(facts))}
    measured = {one.region: one for one in facts.measurements}
    box, quiet = measured.get("box"), measured.get("quiet")
    nothing = dict.fromkeys(MEASURED)
    return row | (measured_columns(box, quiet) if box is not None and quiet is not None else nothing)


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


def _mark_broken(session: Session, refusals: Sequence[Refusal]) -> tuple[set[int], set[int]]:
    """Mark files whose new content is refused as `changed`; return the ids of these files and their exposures."""
    now = {refusal.uri: (refusal.size_byte, refusal.mtime_ns) for refusal in refusals if refusal.size_byte}
    broken, touched = set(), set()
    for row in _current_files(session, now):
        # A file that merely could not be read this time keeps its state.
        if (row.size_byte, row.mtime_ns) != now[row.uri]:
            row.state = "changed"
            broken.add(row.id)
            if row.exposure_id is not None:
                touched.add(row.exposure_id)
    return broken, touched


def _new_refusals(session: Session, refusals: Sequence[Refusal]) -> list[Refusal]:
    """Return the refusals that the catalog does not hold verbatim."""
    known = {
        row.uri: (row.size_byte, row.mtime_ns, row.reason)
        for (row,) in rows_among(
            session, sa.select(models.RejectedFile), models.RejectedFile.uri, [refusal.uri for refusal in refusals]
        )
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
    for chunk in chunks(uris):
        session.execute(sa.delete(models.RejectedFile).where(models.RejectedFile.uri.in_(chunk)))
