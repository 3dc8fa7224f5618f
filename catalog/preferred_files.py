"""The preferred file of an exposure, and the values that the exposure takes from it."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from sbcdark.catalog import models
from sbcdark.catalog.chunks import chunks, rows_among
from sbcdark.catalog.queries import copies_in_order, file_record
from sbcdark.catalog.rate_blocks import block_of
from sbcdark.catalog.times import utc_of_mjd

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy.orm import Session

    from sbcdark.catalog.records import FileRecord, RegionMeasurement


def _preferred_file(kind: Any) -> tuple[Any, ...]:
    """Return the ORDER BY that puts the preferred file first.

    Present files come before missing ones. A dark prefers its RAW (never flat-fielded), a science exposure its FLT.
    """
    file = models.File
    wanted = sa.case((kind == "dark", "RAW"), else_="FLT")
    present = sa.case((file.state == "present", 0), else_=1)
    return present, sa.case((file.kind == wanted, 0), else_=1), *copies_in_order(file)


def preferred_files(session: Session, exposure_ids: Iterable[int]) -> dict[int, int]:
    """Return the id of the preferred file of each exposure that has a file that is not superseded."""
    preferred: dict[int, int] = {}
    query = (
        sa.select(models.Exposure.id, models.File.id)
        .join(models.File, models.File.exposure_id == models.Exposure.id)
        .where(models.File.state != "changed")
        .order_by(models.Exposure.id, *_preferred_file(models.Exposure.kind))
    )
    for exposure_id, file_id in rows_among(session, query, models.Exposure.id, sorted(exposure_ids)):
        preferred.setdefault(exposure_id, file_id)
    return preferred


def _note_raws(session: Session, exposure_ids: Sequence[int]) -> None:
    file, table = models.File, models.Exposure
    there = sa.exists().where(file.exposure_id == table.id, file.kind == "RAW", file.state == "present")
    for chunk in chunks(exposure_ids):
        update = sa.update(table).where(table.id.in_(chunk), table.has_raw != there).values(has_raw=there)
        session.execute(update, execution_options={"synchronize_session": False})


def _take_facts(session: Session, preferred: dict[int, int]) -> None:
    file = models.File
    query = sa.select(file.exposure_id, file.exposure_facts).where(file.exposure_facts.is_not(None))
    updates = [
        exposure_columns(facts) | {"id": exposure_id}
        for exposure_id, facts in rows_among(session, query, file.id, sorted(preferred.values()))
    ]
    if updates:
        session.execute(sa.update(models.Exposure), updates)


def exposure_columns(facts: dict[str, Any]) -> dict[str, Any]:
    """Return the columns of `exposures` computed from a file's header facts (`models.EXPOSURE_FACTS`)."""
    # Rows of earlier releases lack the newer facts: they are unknown, whatever another file says.
    return {name: facts.get(name) for name in models.EXPOSURE_FACTS} | {
        "start_utc": utc_of_mjd(facts["start_mjd"]),
        "temperature_mean_c": mean_temperature_c(facts["temperature_start_c"], facts["temperature_end_c"]),
    }


def measured_columns(
    box: models.Measurement | RegionMeasurement, quiet: models.Measurement | RegionMeasurement
) -> dict[str, Any]:
    """Return the columns of `exposures` computed from the measurements of the box and of the quiet rows."""
    contrast = box.rate_count_s_pix - quiet.rate_count_s_pix
    return {
        "box_count": box.counts,
        "box_rate_count_s_pix": box.rate_count_s_pix,
        "box_rate_err_count_s_pix": box.rate_err_count_s_pix,
        "quiet_rate_count_s_pix": quiet.rate_count_s_pix,
        "quiet_rate_err_count_s_pix": quiet.rate_err_count_s_pix,
        "contrast_count_s_pix": contrast,
        "contrast_err_count_s_pix": (box.rate_err_count_s_pix**2 + quiet.rate_err_count_s_pix**2) ** 0.5,
        "contrast_block": block_of(contrast),
        "box_rate_block": block_of(box.rate_count_s_pix),
    }


MEASURED = (
    "box_count",
    "box_rate_count_s_pix",
    "box_rate_err_count_s_pix",
    "quiet_rate_count_s_pix",
    "quiet_rate_err_count_s_pix",
    "contrast_count_s_pix",
    "contrast_err_count_s_pix",
    "contrast_block",
    "box_rate_block",
)
"""The columns of `exposures` that come from measurements."""

_REAL_C = 5.0
"""A temperature of exactly 0.0 is missing if the sum exceeds this: within an exposure it changes by 2 C."""


def mean_temperature_c(start: float, end: float) -> float:
    """Return the mean of two temperatures (deg C), or the only valid one.

    MDECODT1 or MDECODT2 is exactly 0.0 if the telemetry is missing.
    """
    if 0.0 in (start, end) and abs(start + end) > _REAL_C:
        return start + end
    return 0.5 * (start + end)


def refresh_exposures(session: Session, exposure_ids: Iterable[int]) -> None:
    """Update each exposure with the facts and measurements of its preferred file, and whether it has a RAW."""
    ids = sorted(exposure_ids)
    preferred = preferred_files(session, ids)
    _note_raws(session, ids)
    _take_facts(session, preferred)
    measured: dict[int, dict[str, Any]] = {}
    query = (
        sa.select(models.Measurement, models.Region.name)
        .join(models.Region, models.Region.id == models.Measurement.region_id)
        .where(models.Region.name.in_(("box", "quiet")))
        .order_by(models.Region.version)
    )
    for row, name in rows_among(session, query, models.Measurement.file_id, sorted(preferred.values())):
        measured.setdefault(row.file_id, {})[name] = row
    updates = []
    for exposure_id, file_id in preferred.items():
        box, quiet = measured.get(file_id, {}).get("box"), measured.get(file_id, {}).get("quiet")
        if box is None or quiet is None:
            continue
        updates.append({"id": exposure_id} | measured_columns(box, quiet))
    if updates:
        session.execute(sa.update(models.Exposure), updates)


def as_new_as(session: Session, rootname: str, file: FileRecord) -> list[FileRecord]:
    """Return the present files of an exposure with the kind and PROCTIME of one of them, but another sha256."""
    if file.sha256 is None:
        return []
    values = {"rootname": rootname, "kind": file.kind, "sha256": file.sha256, "processed": file.processed_mjd}
    return [file_record(row) for row in session.scalars(_as_new_as(), values)]


@lru_cache
def _as_new_as() -> sa.Select[models.File]:
    table = models.File
    named = {name: sa.bindparam(name, type_=sa.String()) for name in ("rootname", "kind", "sha256")}
    return (
        sa.select(table)
        .join(models.Exposure, models.Exposure.id == table.exposure_id)
        .where(
            models.Exposure.rootname == named["rootname"],
            table.kind == named["kind"],
            table.state == "present",
            table.sha256 != named["sha256"],
            table.processed_mjd.is_not_distinct_from(sa.bindparam("processed", type_=sa.Double())),
        )
        .order_by(table.id.desc())
    )
