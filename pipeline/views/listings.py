"""Listings of the catalog."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from sbcdark.catalog import quality_marks, queries
from sbcdark.catalog.engine import reading
from sbcdark.catalog.errors import UsageError
from sbcdark.catalog.opening import as_engine
from sbcdark.pipeline.selection.names import as_root_name, resolve_exposure

if TYPE_CHECKING:
    from pathlib import Path

    import sqlalchemy as sa

    from sbcdark.catalog.records import ExposureRecord


def exposures(
    catalog: sa.Engine | str | Path,
    wanted: queries.ExposureFilter | None = None,
    *,
    sort: str = "start_mjd",
    descending: bool = False,
) -> list[ExposureRecord]:
    """Return all exposures of a catalog that pass a filter, sorted by one of `queries.SORT_KEYS`.

    Raises
    ------
    UsageError
        `sort` is not a column.
    """
    if sort not in queries.SORT_KEYS:
        raise UsageError(f"There is no column {sort!r}.", f"Sort by one of: {', '.join(queries.SORT_KEYS)}")
    with reading(as_engine(catalog)) as session:
        return queries.list_exposures(session, wanted or queries.ExposureFilter(), sort=sort, descending=descending)


def is_hot(record: ExposureRecord) -> bool:
    """Return whether the mean temperature of an exposure was above 25 C."""
    return record.temperature_mean_c > queries.HOT_ABOVE_C


def show(catalog: sa.Engine | str | Path, name: str) -> dict[str, Any]:
    """Return everything in the catalog about an exposure (files, measurements, selections) or an association (members).

    Raises
    ------
    UsageError
        The name is not in the catalog.
    """
    with reading(as_engine(catalog)) as session:
        lowered = as_root_name(name)
        association = queries.find_association(session, lowered) if lowered.isalnum() else None
        if association is not None:
            return {
                "association": association.name,
                "program": association.program,
                "target": association.target,
                "members": list(association.members),
                "absent": list(association.absent),
            }
        rootname = resolve_exposure(session, name)
        record = queries.find_exposure(session, rootname)
        values = queries.match_values(session, rootname)
        if record is None or values is None:  # resolve_exposure found it: only a concurrent delete removes it
            message = f"{rootname} was removed during the read"
            raise LookupError(message)
        files = queries.files_of(session, rootname)
        measured = [
            {"file": file.uri, **asdict(measurement)}
            for file in files
            if file.state != "changed"
            for measurement in queries.measurements_of(session, file.id)
        ]
        return asdict(record) | {
            "target": values.target,
            "exposure_flag": values.exposure_flag,
            "observation_quality": values.observation_quality,
            "guide_star_lock": values.guide_star_lock,
            "hot_pixels": values.hot_pixels,
            "quality_reason": values.quality_reason,
            "files": [asdict(file) for file in files],
            "measurements": measured,
            "quality_notes": quality_marks.quality_notes(session, rootname),
            "selections": queries.selections_of(session, rootname),
        }
