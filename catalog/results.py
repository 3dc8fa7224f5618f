"""Storing results: selections, products, photometry. Results are never updated; a new run makes new rows.

Every function works inside a session of `engine.writing` and never commits.
"""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import sqlalchemy as sa

from sbcdark.catalog import models
from sbcdark.catalog.queries import catalog_revision
from sbcdark.catalog.writes import preferred_files

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy.orm import Session

    from sbcdark.catalog.records import Match, NewProduct, PhotometryRecord


def write_selection(session: Session, match: Match, software_version: str) -> int:
    """Store a selection with its darks and return its id."""
    science = session.scalars(sa.select(models.Exposure).where(models.Exposure.rootname == match.exposure)).one()
    names = [dark.dark for dark in match.darks]
    ids = dict(
        session.execute(
            sa.select(models.Exposure.rootname, models.Exposure.id).where(models.Exposure.rootname.in_(names))
        )
        .tuples()
        .all()
    )
    row = models.Selection(
        exposure_id=science.id,
        file_id=preferred_files(session, [science.id]).get(science.id),
        rule=match.rule,
        tier=match.tier,
        parameters=match.parameters,
        warnings=list(match.warnings),
        catalog_revision=catalog_revision(session),
        software_version=software_version,
        created_utc=datetime.now(UTC),
    )
    session.add(row)
    session.flush()
    session.add_all(
        models.SelectionDark(
            selection_id=row.id,
            rank=dark.rank,
            dark_id=ids[dark.dark],
            file_id=dark.file_id,
            score=dark.score,
            weight=dark.weight,
            delta_sigma=dark.delta_sigma,
            delta_box_rate_count_s_pix=dark.delta_box_rate_count_s_pix,
            delta_contrast_count_s_pix=dark.delta_contrast_count_s_pix,
            delta_temperature_c=dark.delta_temperature_c,
            delta_days=dark.delta_days,
        )
        for dark in match.darks
    )
    session.flush()
    return row.id


def write_product(session: Session, product: NewProduct, software_version: str) -> int:
    """Store a product with the selections that it rests on and return its id."""
    row = models.Product(
        name=product.name,
        kind=product.kind,
        uri=product.uri,
        sha256=product.sha256,
        parameters=product.parameters,
        catalog_revision=catalog_revision(session),
        software_version=software_version,
        created_utc=datetime.now(UTC),
    )
    session.add(row)
    session.flush()
    session.add_all(
        models.ProductSelection(product_id=row.id, selection_id=selection_id, fit=fit)
        for selection_id, fit in product.fits.items()
    )
    session.flush()
    return row.id


def write_photometry(
    session: Session, records: Iterable[PhotometryRecord], science_product_id: int, dark_product_id: int
) -> None:
    """Store photometry with the two products that it was measured on."""
    session.add_all(
        models.Photometry(science_product_id=science_product_id, dark_product_id=dark_product_id, **asdict(record))
        for record in records
    )
    session.flush()
