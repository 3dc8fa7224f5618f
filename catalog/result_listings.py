"""Listings of stored results and of marks, as the pages of a catalog show them."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.orm import aliased

from sbcdark.catalog import models
from sbcdark.catalog.queries import exposure_record, find_association
from sbcdark.catalog.result_records import ListedProduct, PhotometryRecord
from sbcdark.catalog.results import product_values

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.orm import Session

    from sbcdark.catalog.records import AssociationRecord, ExposureRecord

_PHOTOMETRY = tuple(column.name for column in fields(PhotometryRecord))


def latest_products(session: Session, name: str) -> list[ListedProduct]:
    """Return the last product of each kind of an association (or of the first exposure of a list)."""
    table = models.Product
    last = sa.select(sa.func.max(table.id)).where(table.name == name).group_by(table.kind)
    query = sa.select(table).where(table.id.in_(last)).order_by(table.id)
    return [ListedProduct(**product_values(row)) for row in session.scalars(query)]


def science_of(products: Sequence[ListedProduct]) -> ListedProduct | None:
    """Return the science product among those of a name."""
    return next((one for one in products if one.kind == "science"), None)


def product_names(session: Session) -> list[str]:
    """Return the names that have products."""
    return list(session.scalars(sa.select(models.Product.name).distinct().order_by(models.Product.name)))


def fits_of(session: Session, product_id: int) -> dict[int, dict[str, Any]]:
    """Return the fit of each exposure of a product by the id of its selection."""
    table = models.ProductSelection
    query = sa.select(table.selection_id, table.fit).where(table.product_id == product_id).order_by(table.selection_id)
    return dict(session.execute(query).all())


def photometry_of(session: Session, science_product_id: int) -> list[PhotometryRecord]:
    """Return the photometry on a product, in the order of its apertures; old rows lack some values."""
    query = (
        sa.select(models.Photometry)
        .where(models.Photometry.science_product_id == science_product_id)
        .order_by(models.Photometry.id)
    )
    found = []
    for row in session.scalars(query):
        values: dict[str, Any] = {key: getattr(row, key, None) for key in _PHOTOMETRY}
        values["warnings"] = tuple(row.warnings or ())
        found.append(PhotometryRecord(**values))
    return found


def list_associations(session: Session) -> list[AssociationRecord]:
    """Return all associations by name."""
    names = session.scalars(sa.select(models.Association.name).order_by(models.Association.name)).all()
    return [found for name in names if (found := find_association(session, name)) is not None]


def newest_rows(session: Session) -> tuple[int, ...]:
    """Return numbers that change with whatever changes the catalog or adds a stored result."""
    tables = (models.IngestRun, models.Selection, models.Product, models.Photometry)
    newest = [sa.select(sa.func.coalesce(sa.func.max(table.id), 0)).scalar_subquery() for table in tables]
    return tuple(session.execute(sa.select(*newest)).one())


def files_of_last_ingest(session: Session) -> tuple[int | None, list[ExposureRecord]]:
    """Return the last run that read files, and the exposures whose files it read."""
    last = session.scalar(sa.select(sa.func.max(models.File.ingest_run_id)))
    if last is None:
        return None, []
    read = sa.select(models.File.exposure_id).where(models.File.ingest_run_id == last)
    query = sa.select(models.Exposure).where(models.Exposure.id.in_(read)).order_by(models.Exposure.start_mjd)
    return last, [exposure_record(row) for row in session.scalars(query)]


def exposures_that_use(session: Session, dark: str) -> Sequence[str]:
    """Return the exposures with a stored selection that holds a dark."""
    exposure, chosen = sa.orm.aliased(models.Exposure), sa.orm.aliased(models.Exposure)
    query = (
        sa.select(exposure.rootname)
        .distinct()
        .join(models.Selection, models.Selection.exposure_id == exposure.id)
        .join(models.SelectionDark, models.SelectionDark.selection_id == models.Selection.id)
        .join(chosen, chosen.id == models.SelectionDark.dark_id)
        .where(chosen.rootname == dark)
        .order_by(exposure.rootname)
    )
    return session.scalars(query).all()


def selections_of(session: Session, rootname: str) -> list[dict[str, Any]]:
    """Return the stored selections of an exposure, newest first: id, rule, tier, time and darks."""
    dark = aliased(models.Exposure)
    query = (
        sa.select(models.Selection, models.SelectionDark.rank, dark.rootname)
        .join(models.Exposure, models.Exposure.id == models.Selection.exposure_id)
        .outerjoin(models.SelectionDark, models.SelectionDark.selection_id == models.Selection.id)
        .outerjoin(dark, dark.id == models.SelectionDark.dark_id)
        .where(models.Exposure.rootname == rootname)
        .order_by(models.Selection.id.desc(), models.SelectionDark.rank)
    )
    stored: dict[int, dict[str, Any]] = {}
    for selection, _rank, name in session.execute(query):
        entry = stored.setdefault(
            selection.id,
            {
                "selection": selection.id,
                "rule": selection.rule,
                "tier": selection.tier,
                "created_utc": selection.created_utc,
                "catalog_revision": selection.catalog_revision,
                "software_version": selection.software_version,
                "darks": [],
            },
        )
        if name is not None:
            entry["darks"].append(name)
    return list(stored.values())
