"""Stored products as a run would make them again, and the products of an exposure in memory."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sbcdark.catalog import results
from sbcdark.catalog.engine import reading
from sbcdark.catalog.result_listings import selections_of
from sbcdark.catalog.workspace import workspace
from sbcdark.pipeline.apertures.apertures import parse_aperture
from sbcdark.pipeline.apertures.sky import parse_sky
from sbcdark.pipeline.drizzling.drizzle import Drizzler
from sbcdark.pipeline.drizzling.grid import Grid
from sbcdark.pipeline.products.job import Job
from sbcdark.pipeline.products.masterdark import build
from sbcdark.pipeline.selection.names import Target, product_target

if TYPE_CHECKING:
    from collections.abc import Sequence

    import sqlalchemy as sa
    from sqlalchemy.orm import Session

    from sbcdark.catalog.result_records import ListedProduct, StoredProduct
    from sbcdark.pipeline.apertures.apertures import ApertureSpec
    from sbcdark.pipeline.estimation.options import BuildOptions
    from sbcdark.pipeline.products.records import Built


def products_of(session: Session, selection: int) -> list[StoredProduct]:
    """Return the products of the last run that used a selection: one of each kind, or none."""
    newest = {one.kind: one for one in results.products_of_selection(session, selection)}
    return list(newest.values())


def repeated(stored: ListedProduct, job: Job) -> tuple[Target, Job]:
    """Return the target of a stored product, and a job with its apertures, masks, sky and grid; a given flat stays."""
    given: dict[str, Any] = stored.parameters
    grid = given.get("grid", {})
    options = replace(
        job.options,
        flat=job.options.flat or (None if given["flat"] is None else Path(given["flat"])),
        mask=tuple(parse_aperture(text) for text in given["mask"]),
        mixed=given.get("mixed", False),
        grid=Grid(**{**grid, "reference": Path(grid["reference"])} if "reference" in grid else grid),
    )
    again = replace(
        job,
        options=options,
        apertures=tuple(parse_aperture(text) for text in given["apertures"]),
        growth=tuple(given.get("growth", ())),
        sky=parse_sky(given.get("sky"), options.combine),
    )
    return Target(stored.name, tuple(given["exposures"])), again


def run_of_exposure(
    engine: sa.Engine, rootname: str, options: BuildOptions, apertures: Sequence[ApertureSpec] | None
) -> tuple[Target, Job] | None:
    """Return the run whose fit of an exposure leaves out apertures or masks; None if there are none.

    Parameters
    ----------
    rootname : str
        A science exposure. Pixels of the apertures are those of the product of its association.
    options : BuildOptions
        How the dark is made, and the masks.
    apertures : sequence of ApertureSpec or None
        None without masks: those of the last stored product that has some.
    """
    with reading(engine) as session:
        if apertures is not None or options.mask:
            wanted = Job(Path(), options, tuple(apertures or ()))
            return (product_target(session, rootname), wanted) if apertures or options.mask else None
        made = [
            product for one in selections_of(session, rootname) for product in products_of(session, one["selection"])
        ]
    measured = [one for one in made if one.parameters.get("apertures") or one.parameters.get("mask")]
    return repeated(max(measured, key=lambda one: one.id), Job(Path(), options)) if measured else None


def built_in_memory(engine: sa.Engine, target: Target, job: Job) -> Built:
    """Make the products of a run without writing or recording them.

    Raises
    ------
    UsageError, NothingMatchedError, SbcdarkError
        As for `masterdark.build`.
    """
    with workspace(Path(tempfile.gettempdir())) as work, Drizzler() as drizzler:
        return build(engine, target, work, replace(job, folder=work), drizzler)
