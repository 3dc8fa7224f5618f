"""What to type if no dark fits. The archive is not contacted: the last listing in the catalog counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sbcdark.catalog import archive_listings, queries
from sbcdark.catalog.engine import reading

if TYPE_CHECKING:
    from collections.abc import Sequence

    import sqlalchemy as sa
    from sqlalchemy.orm import Session

_LOOSEN = "Loosen --max-sigma, --max-days or --min-exptime"


def advice(engine: sa.Engine, exposures: Sequence[str]) -> str:
    """Return what to type if no dark fits: the command that gets the nearest darks."""
    with reading(engine) as session:
        return advice_in(session, exposures)


def advice_in(session: Session, exposures: Sequence[str]) -> str:
    """Return the same within a session."""
    if not archive_listings.has_archive_listing(session):
        return f"{_LOOSEN}, or see which darks the archive has: sbcdark programs --near {exposures[0]}"
    best: archive_listings.NearestProgram | None = None
    for name in exposures:
        values = queries.find_exposure(session, name)
        nearest = [] if values is None else archive_listings.nearest_by_program(session, values.start_mjd, absent=True)
        if nearest and (best is None or nearest[0].distance_days < best.distance_days):
            best = nearest[0]
    if best is None:
        return f"{_LOOSEN}: every dark in the last archive listing is in the catalog. List it again: sbcdark programs"
    return (
        f"{_LOOSEN}, or get the nearest darks not in the catalog ({best.dark}, {best.distance_days:.1f} days away): "
        f"sbcdark fetch --program {best.program} --darks"
    )
