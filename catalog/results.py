"""Stored results: selections, products, photometry. Results are never updated; a new run adds new rows.

Every function that writes runs inside a session of `engine.writing` and never commits.
"""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.orm import aliased

from sbcdark.catalog import models
from sbcdark.catalog.queries import catalog_revision, exposure_ids, file_record
from sbcdark.catalog.records import ScoredDark
from sbcdark.catalog.result_records import ListedProduct, StoredProduct, StoredSelection

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy.orm import Session

    from sbcdark.catalog.records import Match
    from sbcdark.catalog.result_records import NewProduct, PhotometryRecord


def write_selection(session: Session, match: Match, software_version: str) -> int:
    """Store a selection with its darks and return its id; an equal stored selection is reused."""
    science = session.scalars(sa.select(models.Exposure).where(models.Exposure.rootname == match.exposure)).one()
    roles = {dark.dark: dark.role for dark in match.darks if dark.role is not None}
    ids = exposure_ids(session, [dark.dark for dark in match.darks])
    row = models.Selection(
        exposure_id=science.id,
        file_id=match.file_id,
        rule=match.rule,
        tier=match.tier,
        parameters=match.parameters | ({_ROLES: roles} if roles else {}),
        warnings=list(match.warnings),
        catalog_revision=catalog_revision(session) if match.catalog_revision is None else match.catalog_revision,
        software_version=software_version,
        created_utc=datetime.now(UTC),
    )
    darks = [{"dark_id": ids[dark.dark], **{name: getattr(dark, name) for name in _TERMS}} for dark in match.darks]
    equal = _equal_selection(session, row, darks)
    if equal is not None:
        return equal
    session.add(row)
    session.flush()
    session.add_all(models.SelectionDark(selection_id=row.id, **dark) for dark in darks)
    session.flush()
    return row.id


_ROLES = "roles"
"""Key of the stored parameters under which the roles of a model's templates are, which no term of theirs tells."""

_TERMS = tuple(
    column.name for column in models.SelectionDark.__table__.columns if column.name not in {"selection_id", "dark_id"}
)
"""The columns of `selection_darks` that come from a `ScoredDark`."""


def _equal_selection(session: Session, row: models.Selection, darks: list[dict[str, Any]]) -> int | None:
    """Return the id of a stored selection that is equal except for its time."""
    table = models.Selection
    alike = (
        sa.select(table)
        .where(
            table.exposure_id == row.exposure_id,
            table.file_id == row.file_id,
            table.rule == row.rule,
            table.tier == row.tier,
            table.catalog_revision == row.catalog_revision,
            table.software_version == row.software_version,
        )
        .order_by(table.id)
    )
    for stored in session.scalars(alike):
        # The engines compare JSON and text differently, or not at all.
        if json.loads(json.dumps(row.parameters)) != stored.parameters or row.warnings != stored.warnings:
            continue
        chosen = session.scalars(
            sa.select(models.SelectionDark)
            .where(models.SelectionDark.selection_id == stored.id)
            .order_by(models.SelectionDark.rank)
        )
        if [{name: getattr(one, name) for name in ("dark_id", *_TERMS)} for one in chosen] == darks:
            return stored.id
    return None


def write_product(session: Session, product: NewProduct, software_version: str, *, revision: int) -> int:
    """Store a product with the selections that it uses, and return its id.

    Parameters
    ----------
    revision : int
        Revision of the catalog when its darks were selected.
    """
    row = models.Product(
        **{column.name: getattr(product, column.name) for column in fields(product) if column.name != "fits"},
        catalog_revision=revision,
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
        models.Photometry(
            science_product_id=science_product_id,
            dark_product_id=dark_product_id,
            **asdict(record),
        )
        for record in records
    )
    session.flush()


def stored_selections(session: Session, ids: Iterable[int] | None = None) -> list[StoredSelection]:
    """Return stored selections by id: the requested ones, or all."""
    science, dark = aliased(models.Exposure), aliased(models.Exposure)
    query = (
        sa.select(models.Selection, science.rootname, models.SelectionDark, dark, models.File)
        .join(science, science.id == models.Selection.exposure_id)
        .join(models.SelectionDark, models.SelectionDark.selection_id == models.Selection.id)
        .join(dark, dark.id == models.SelectionDark.dark_id)
        .join(models.File, models.File.id == models.SelectionDark.file_id)
        .order_by(models.Selection.id, models.SelectionDark.rank)
    )
    if ids is not None:
        query = query.where(models.Selection.id.in_(list(ids)))
    found: dict[int, tuple[models.Selection, str, list[ScoredDark], list[str]]] = {}
    for selection, rootname, chosen, exposure, file in session.execute(query):
        _, _, darks, states = found.setdefault(selection.id, (selection, rootname, [], []))
        darks.append(_scored_dark(chosen, exposure, file, selection.parameters.get(_ROLES, {}).get(exposure.rootname)))
        states.append(file.state)
    return [
        StoredSelection(
            selection.id,
            rootname,
            selection.rule,
            selection.tier,
            {key: value for key, value in selection.parameters.items() if key != _ROLES},
            tuple(darks),
            tuple(states),
            selection.catalog_revision,
            selection.software_version,
            selection.created_utc,
            tuple(selection.warnings),
        )
        for selection, rootname, darks, states in found.values()
    ]


def _scored_dark(
    chosen: models.SelectionDark, exposure: models.Exposure, file: models.File, role: str | None
) -> ScoredDark:
    return ScoredDark(
        dark=exposure.rootname,
        program=exposure.program,
        exptime_s=exposure.exptime_s,
        uri=file.uri,
        file=file_record(file),
        role=role,
        **{name: getattr(chosen, name) for name in _TERMS},
    )


def has_product(session: Session, uri: str) -> bool:
    """Return whether a product at this place is stored."""
    return session.scalar(sa.select(models.Product.id).where(models.Product.uri == uri).limit(1)) is not None


def newest_product(session: Session, uri: str, kind: str) -> ListedProduct | None:
    """Return the last stored product of a kind at a place, or None."""
    table = models.Product
    query = sa.select(table).where(table.uri == uri, table.kind == kind).order_by(table.id.desc()).limit(1)
    row = session.scalars(query).one_or_none()
    return None if row is None else ListedProduct(**product_values(row))


def product_values(row: models.Product) -> dict[str, Any]:
    """Return the values of a `ListedProduct` from a product's row."""
    return {column.name: getattr(row, column.name) for column in fields(ListedProduct)}


def products_of_selection(session: Session, selection_id: int) -> list[StoredProduct]:
    """Return the products that use a selection, by id."""
    query = (
        sa.select(models.Product)
        .join(models.ProductSelection, models.ProductSelection.product_id == models.Product.id)
        .where(models.ProductSelection.selection_id == selection_id)
        .order_by(models.Product.id)
    )
    rows = session.scalars(query).all()
    return [StoredProduct(**product_values(row), selection_ids=selections_of_product(session, row.id)) for row in rows]


def selections_of_product(session: Session, product_id: int) -> tuple[int, ...]:
    """Return the ids of the selections that a product uses, in order."""
    table = models.ProductSelection
    query = sa.select(table.selection_id).where(table.product_id == product_id).order_by(table.selection_id)
    return tuple(session.scalars(query))
