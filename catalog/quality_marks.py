"""The quality of exposures in the catalog: the input of the outlier test, and setting it with a reason."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from sbcdark.catalog import models
from sbcdark.catalog.records import RunDark

if TYPE_CHECKING:
    from sqlalchemy.orm import Session


def darks_of_runs(session: Session) -> list[RunDark]:
    """Return every measured dark in order of time."""
    table = models.Exposure
    query = (
        sa.select(
            table.rootname,
            table.start_mjd,
            table.temperature_mean_c,
            table.box_rate_count_s_pix,
            table.box_rate_err_count_s_pix,
            table.quiet_rate_count_s_pix,
            table.quiet_rate_err_count_s_pix,
            table.quality,
            table.quality_by_hand,
            table.hot_pixels,
        )
        .where(table.kind == "dark", table.contrast_count_s_pix.is_not(None))
        .order_by(table.start_mjd, table.rootname)
    )
    rows: list[tuple[Any, ...]] = [tuple(row) for row in session.execute(query)]
    return [RunDark(*row) for row in rows if None not in row[:-1]]  # some files have no count of hot pixels


def quality_notes(session: Session, rootname: str) -> list[dict[str, Any]]:
    """Return every change of an exposure's quality, oldest first: time, quality, reason, whether by hand."""
    query = (
        sa.select(models.QualityNote)
        .join(models.Exposure, models.Exposure.id == models.QualityNote.exposure_id)
        .where(models.Exposure.rootname == rootname)
        .order_by(models.QualityNote.id)
    )
    return [
        {"created_utc": row.created_utc, "quality": row.quality, "reason": row.reason, "by_hand": row.by_hand}
        for row in session.scalars(query)
    ]


def set_quality(session: Session, rootname: str, quality: str, reason: str, *, by_hand: bool, run_id: int) -> None:
    """Set an exposure's quality and store the reason; `run_id` advances the catalog's revision."""
    row = session.scalars(sa.select(models.Exposure).where(models.Exposure.rootname == rootname)).one()
    row.quality, row.quality_by_hand = quality, by_hand
    row.quality_reason = None if quality == "good" else reason
    session.add(
        models.QualityNote(
            exposure_id=row.id,
            ingest_run_id=run_id,
            quality=quality,
            reason=reason,
            by_hand=by_hand,
            created_utc=datetime.now(UTC),
        )
    )
    session.flush()
