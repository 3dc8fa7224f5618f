"""Products that are in the folder already, with the same inputs, apertures and sky: nothing has to be made again."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from sbcdark.catalog import result_listings, results
from sbcdark.catalog.engine import reading
from sbcdark.catalog.roots import uri_of
from sbcdark.pipeline.apertures.sky import parse_sky
from sbcdark.pipeline.frames.fits_output import read_cards
from sbcdark.pipeline.frames.tables import PHOTOMETRY_KEYS, photometry_records, read_photometry
from sbcdark.pipeline.products.photometry import GrowthPoint
from sbcdark.pipeline.products.product_files import KEY_CARD
from sbcdark.pipeline.products.records import Masterdark, Member

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import sqlalchemy as sa

    from sbcdark.catalog.result_records import PhotometryRecord, StoredSelection
    from sbcdark.pipeline.products.job import Job
    from sbcdark.pipeline.products.masterdark import Plan
    from sbcdark.pipeline.products.product_files import ProductFiles


@dataclass(frozen=True, slots=True)
class EarlierProducts:
    """Products of an earlier run, as their table tells.

    Attributes
    ----------
    masterdark : Masterdark
        The members have no selection where a table tells them.
    photometry : tuple of PhotometryRecord
    growth : tuple of GrowthPoint
    pictures : tuple of Path
    """

    masterdark: Masterdark
    photometry: tuple[PhotometryRecord, ...]
    growth: tuple[GrowthPoint, ...]
    pictures: tuple[Path, ...]


def earlier_products(engine: sa.Engine, plan: Plan, job: Job, files: ProductFiles) -> EarlierProducts | None:
    """Return the products in the folder if a run would make the same again, else None.

    With a new aperture they are not the same: the fit of the dark leaves it out, so that the dark changes a little in
    all apertures.

    Parameters
    ----------
    plan : Plan
        What a run would use: its key identifies exposures, darks, flats, masks, method and version.
    job : Job
        The settings of the run.
    files : ProductFiles
        The products of the target.
    """
    if job.overwrite:
        return None
    if not plan.apertures:
        return _unmeasured(engine, plan, job, files)
    if not files.photometry.exists():
        return None
    table = read_photometry(files.photometry)
    records = None if table is None else photometry_records(table)
    if table is None or records is None or not is_same(table.meta, plan, job):
        return None
    products = (files.science, files.dark, files.net)
    if not _are_of(plan, products):
        return None
    growth = _growth(files, plan) if plan.growth else ()
    pictures = _pictures(files, plan, job)
    if growth is None or pictures is None:
        return None
    with reading(engine) as session:
        if not all(results.has_product(session, uri_of(path.resolve())) for path in products):
            return None
    made = Masterdark(
        files.name, job.options.combine.value, *products, _members(table.meta), tuple(table.meta["warnings"])
    )
    return EarlierProducts(made, tuple(records), growth, pictures)


def _are_of(plan: Plan, products: Sequence[Path]) -> bool:
    """Return whether products are there, and from the inputs of a plan."""
    return all(path.exists() and read_cards(path).get(KEY_CARD) == plan.inputs_key for path in products)


def _unmeasured(engine: sa.Engine, plan: Plan, job: Job, files: ProductFiles) -> EarlierProducts | None:
    """Return products without apertures, which have no table: the catalog tells what they are."""
    products = (files.science, files.dark, files.net)
    pictures = _pictures(files, plan, job)
    if pictures is None or not _are_of(plan, products):
        return None
    with reading(engine) as session:
        stored = results.newest_product(session, uri_of(files.science.resolve()), "science")
        if stored is None or stored.catalog_revision != plan.revision or stored.parameters.get("apertures"):
            return None
        fits = result_listings.fits_of(session, stored.id)
        selections = {one.exposure: one for one in results.stored_selections(session, fits)}
    if set(selections) != {one.rootname for one in plan.values}:
        return None
    flats = stored.parameters["flats"]
    members = tuple(
        _member(selections[one.rootname], fits[selections[one.rootname].id], flats[one.rootname]) for one in plan.values
    )
    warnings = tuple(stored.parameters["warnings"])
    made = Masterdark(files.name, job.options.combine.value, *products, members, warnings)
    return EarlierProducts(made, (), (), pictures)


def _member(stored: StoredSelection, fit: dict[str, Any], flat: dict[str, str] | None) -> Member:
    """Return the dark of an exposure from its stored selection and fit."""
    covariance = fit["covariance"]
    errors = [] if covariance is None else [math.sqrt(row[place]) for place, row in enumerate(covariance)]
    base_err, amplitude_err, sky_err = [*errors, None, None, None][:3]
    return Member(
        exposure=stored.exposure,
        darks=tuple(dark.dark for dark in stored.darks),
        weights=tuple(dark.weight for dark in stored.darks),
        method=fit["method"],
        base=fit["base_count_s_pix"],
        base_err=base_err,
        amplitude=fit["amplitude_count_s_pix"],
        amplitude_err=amplitude_err,
        sky=fit["sky_count_s_pix"],
        sky_err=sky_err,
        chi2_per_dof=fit["chi2_per_dof"],
        flat=None if flat is None else flat["name"],
        rule=stored.rule,
        tier=stored.tier,
        selection=stored.id,
    )


def is_same(meta: dict[str, Any], plan: Plan, job: Job) -> bool:
    """Return whether a table was made with the inputs, apertures and sky of a plan, from the same catalog.

    The exposures near in time, which may tell the glow of a covered frame, are not in the key of the inputs.
    """
    options = meta.get("options", {})
    sky = job.sky or parse_sky(None, job.options.combine)
    return (
        meta.get("inputs_key") == plan.inputs_key
        and meta.get("catalog_revision") == plan.revision
        and options.get("sky") == sky.text
        and options.get("growth") == list(plan.growth)
        and options.get("apertures") == [{"text": one.text, "label": one.label} for one in plan.apertures]
    )


def _growth(files: ProductFiles, plan: Plan) -> tuple[GrowthPoint, ...] | None:
    table = read_photometry(files.growth)
    if table is None or table.meta.get("inputs_key") != plan.inputs_key:
        return None
    labels, pixels, arcsec = (table[name].tolist() for name in ("aperture", "radius_pix", "radius_arcsec"))
    records = photometry_records(table[list(PHOTOMETRY_KEYS)])
    if records is None:
        return None
    return tuple(
        GrowthPoint(label, pix, sec, replace(record, aperture=record.shape))
        for label, pix, sec, record in zip(labels, pixels, arcsec, records, strict=True)
    )


def _pictures(files: ProductFiles, plan: Plan, job: Job) -> tuple[Path, ...] | None:
    """Return the pictures of the products; None if one has to be drawn."""
    pictures = []
    if job.pictures:
        needed = [files.exposure_picture(one.rootname) for one in plan.values]
        fits = [path for one in plan.values if (path := files.fit_picture(one.rootname)).exists()]
        pictures += [*needed, *fits, files.picture]
    if plan.growth:
        pictures.append(files.growth_picture)
    return tuple(pictures) if all(path.exists() for path in pictures) else None


def _members(meta: dict[str, Any]) -> tuple[Member, ...]:
    found = []
    for one in meta["exposures"]:
        values: dict[str, Any] = {each.name: one[each.name] for each in fields(Member)}
        found.append(Member(**values | {"darks": tuple(one["darks"]), "weights": tuple(one["weights"])}))
    return tuple(found)
