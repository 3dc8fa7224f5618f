"""Building a masterdark: the dark of each exposure of an association, drizzled onto the grid of the science product."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from sbcdark.catalog import queries
from sbcdark.catalog.engine import reading
from sbcdark.catalog.errors import SbcdarkError, UsageError
from sbcdark.catalog.text import number
from sbcdark.pipeline.apertures.sky import parse_sky
from sbcdark.pipeline.archive.cache import keeping_files
from sbcdark.pipeline.estimation import compatibility
from sbcdark.pipeline.estimation.chosen_darks import matches_of, read_darks
from sbcdark.pipeline.estimation.science_frames import (
    FlatShelf,
    ScienceInput,
    exposure_to_fit,
    read_input,
    science_values,
)
from sbcdark.pipeline.estimation.surroundings import surroundings_of
from sbcdark.pipeline.estimation.template_cache import templates_are_kept, templates_of
from sbcdark.pipeline.frames.pixels import drizzle_input
from sbcdark.pipeline.model.combination import DarkEstimate, Exposure, ExposureDark, combine_darks, shared_darks
from sbcdark.pipeline.products.halos import without_halos
from sbcdark.pipeline.products.net import net_error, variance_planes
from sbcdark.pipeline.products.other_inputs import other_inputs
from sbcdark.pipeline.products.placement import check_product, masked_regions, placed_apertures, probes
from sbcdark.pipeline.products.product_files import ProductFiles, inputs_key, require_free
from sbcdark.pipeline.products.records import Built, Masterdark, Member
from sbcdark.pipeline.selection.rules import Combine

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import sqlalchemy as sa
    from numpy.typing import NDArray

    from sbcdark.catalog.records import Match, MatchValues
    from sbcdark.pipeline.apertures.apertures import ApertureSpec
    from sbcdark.pipeline.apertures.pixel_shapes import PixelShape
    from sbcdark.pipeline.drizzling.drizzle import Drizzler
    from sbcdark.pipeline.drizzling.drizzled_product import DrizzledProduct
    from sbcdark.pipeline.drizzling.footprints import NativeWeights
    from sbcdark.pipeline.drizzling.grid import Grid
    from sbcdark.pipeline.frames.flats import Flat
    from sbcdark.pipeline.products.job import Job
    from sbcdark.pipeline.selection.names import Target


@dataclass(frozen=True, slots=True)
class Plan:
    """The inputs of a build, known before any pixel is read.

    Attributes
    ----------
    values : tuple of MatchValues
        The exposures.
    matches : tuple of Match
        The darks chosen for each.
    revision : int
        The catalog revision of the choice.
    flats : tuple of Flat or None
        Each exposure's flat.
    apertures : tuple of ApertureSpec
        Apertures to measure; they are excluded from the fit.
    growth : tuple of float
        Radii of the curves of growth; they are excluded, too.
    inputs_key : str
        From `product_files.inputs_key`.
    warnings : tuple of str
        Warnings for the user.
    """

    values: tuple[MatchValues, ...]
    matches: tuple[Match, ...]
    revision: int
    flats: tuple[Flat | None, ...]
    apertures: tuple[ApertureSpec, ...]
    growth: tuple[float, ...]
    inputs_key: str
    warnings: tuple[str, ...]


@keeping_files()
def build(
    engine: sa.Engine,
    target: Target,
    work: Path,
    job: Job,
    drizzler: Drizzler,
    stored: Sequence[Match] | None = None,
    plan: Plan | None = None,
) -> Built:
    """Make the science product, the masterdark and its error map of one target in memory.

    Parameters
    ----------
    work : Path
        Folder for the copies that AstroDrizzle works on.
    stored : sequence of Match, optional
        Stored choices to use again instead of choosing darks.
    plan : Plan, optional
        From `plan_build`, if it is made already.

    Raises
    ------
    UsageError
        An exposure has no FLT in the catalog, a name is unknown, the exposures do not belong together, or the folder
        holds products of other inputs.
    NothingMatchedError
        No dark fits an exposure.
    SbcdarkError
        A file could not be read, AstroDrizzle failed, or a product does not equal the sum of its pixels.
    """
    return _made(engine, target, plan or plan_build(engine, target, job, stored), job, drizzler, work)


@keeping_files()
def prepare(plan: Plan, job: Job) -> None:
    """Put the templates of a target into the cache, for a `build` with the model in another process.

    Raises
    ------
    NothingMatchedError, SbcdarkError
        As for `build`.
    """
    if templates_are_kept():
        templates_of(shared_darks(read_darks(plan.matches, job.options, [])[1]))


def plan_build(engine: sa.Engine, target: Target, job: Job, stored: Sequence[Match] | None = None) -> Plan:
    """Choose the darks of a target and find its flats, without reading pixels.

    Raises
    ------
    UsageError, NothingMatchedError
        As for `build`.
    """
    if not target.exposures:
        raise UsageError(
            f"None of the exposures of {target.name} is in the catalog: {', '.join(target.absent) or 'it lists none'}.",
            "Ingest their FLT files: sbcdark ingest PATH",
        )
    warnings = [f"{name}, a member of {target.name}, is not in the catalog and is left out" for name in target.absent]
    with reading(engine) as session:
        revision = queries.catalog_revision(session)
        unlisted = queries.unlisted_members(session, target.name, (*target.exposures, *target.absent))
        values = tuple(science_values(session, rootname) for rootname in target.exposures)
        compatibility.require_one_filter(values, mixed=job.options.mixed)
        matches = tuple(matches_of(session, values, job.options) if stored is None else stored)
    warnings += [f"{name} names {target.name}, which does not list it as a member: it is left out" for name in unlisted]
    shelf = FlatShelf(job.options.flat)
    flats = tuple(shelf.flat_of(one, warnings) for one in values)
    key = inputs_key(values, matches, job.options, [None if flat is None else flat.sha256 for flat in flats])
    files = ProductFiles(job.folder, target.name)
    apertures, growth = require_free(
        files,
        key,
        job.apertures,
        job.growth,
        overwrite=job.overwrite,
        differ=lambda: other_inputs(engine, files.science, target.exposures, matches, job.options, flats),
    )
    if growth and len({one.frame for one in apertures}) > 1:
        own = {one.text for one in job.apertures}
        todo = (
            "" if own == {one.text for one in apertures} else "; --overwrite measures only the apertures that you give"
        )
        warnings.append(f"the radii of growth are pixels around some apertures and arcsec around others{todo}")
    return Plan(values, matches, revision, flats, apertures, growth, key, tuple(warnings))


def _made(engine: sa.Engine, target: Target, plan: Plan, job: Job, drizzler: Drizzler, work: Path) -> Built:
    options, warnings = job.options, list(plan.warnings)
    inputs = tuple(read_input(one, flat) for one, flat in zip(plan.values, plan.flats, strict=True))
    compatibility.require_one_field(inputs, mixed=options.mixed)
    warnings += [f"{target.name}: {text}" for text in compatibility.differences(inputs)]
    matches, chosen = read_darks(plan.matches, options, warnings)
    files = ProductFiles(job.folder, target.name)
    # Not in the workspace, so that the log stays if AstroDrizzle fails.
    log = files.log
    product = drizzle_inputs(inputs, drizzler, work, log, options.grid)
    # The files as read are not needed any more; they take as much memory as the pixels.
    inputs = tuple(replace(one, frame=replace(one.frame, content=b"")) for one in inputs)
    sky = job.sky or parse_sky(None, options.combine)
    placed = placed_apertures(product, plan.apertures, sky, warnings, plan.growth)
    masks = masked_regions(product, options.mask, warnings)
    checked = [(each.shape, each.weights) for one in placed for each in (one, *one.growth)] + probes(product)
    check_product(product.science, [one.rate for one in inputs], "the science product", checked)
    left_out = [weights for one in placed for weights in one.left_out]
    exposures = [exposure_to_fit(one, number, (*left_out, *masks)) for number, one in enumerate(inputs)]
    exposures = without_halos(exposures, placed, product)
    if options.combine is Combine.MODEL:
        warnings += _little_left(inputs, exposures)
    around = surroundings_of(engine, FlatShelf(options.flat), options.combine)
    estimate = combine_darks(options.combine, exposures, chosen, around, templates_of)
    if options.combine is Combine.MODEL:
        warnings += _degraded(estimate)
        # Only the first dark of each exposure is shown; all of them take as much memory as the products.
        shown = {match.darks[0].dark for match in matches}
        estimate = replace(estimate, darks=tuple(one for one in estimate.darks if one.rootname in shown))
    del exposures, chosen
    dark, dark_error, net, error = _on_product(inputs, estimate, product, drizzler, work, log, checked)
    members = tuple(
        _member(one, match, modelled) for one, match, modelled in zip(inputs, matches, estimate.exposures, strict=True)
    )
    masterdark = Masterdark(
        target.name,
        options.combine.value,
        files.science,
        files.dark,
        files.net,
        members,
        tuple(dict.fromkeys([*warnings, *(f"{one.exposure}: {text}" for one in matches for text in one.warnings)])),
    )
    return Built(
        masterdark, inputs, estimate, placed, tuple(masks), sky, product, dark, dark_error, net, error,
        tuple(matches), plan.apertures, plan.growth, plan.revision, plan.inputs_key, options.mixed,
    )  # fmt: skip


def _on_product(
    inputs: Sequence[ScienceInput],
    estimate: DarkEstimate,
    product: DrizzledProduct,
    drizzler: Drizzler,
    work: Path,
    log: Path,
    checked: Sequence[tuple[PixelShape, Sequence[NativeWeights]]],
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Return the dark, its error, the net rate and its error on the pixels of the product, count/s."""
    variances = [variance.astype(np.float32) for variance in variance_planes(inputs)]
    fitted = tuple(zip(inputs, estimate.exposures, strict=True))
    counts = [_in_exposure(one, dark.rate) for one, dark in fitted]
    errors = [_in_exposure(one, dark.rate_error) for one, dark in fitted]
    on_product, error, variance = drizzler.resample([counts], pair=(errors, variances), folder=work, log=log)
    del variances, counts, errors
    check_product(on_product, [one.flat_fielded(dark.rate) for one, dark in fitted], "the masterdark", checked)
    return on_product, error, product.science - on_product, net_error(variance, error, product)


def _in_exposure(one: ScienceInput, rate: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return the flat-fielded counts of a dark in an exposure's time, in the precision of the drizzle."""
    return (one.flat_fielded(rate) * one.values.exptime_s).astype(np.float32)


def drizzle_inputs(
    inputs: Sequence[ScienceInput], drizzler: Drizzler, work: Path, log: Path, grid: Grid | None = None
) -> DrizzledProduct:
    """Drizzle exposures with their bad pixels flagged.

    Raises
    ------
    SbcdarkError
        AstroDrizzle failed, or its weights differ from those of the good pixels.
    """
    copies = []
    for one in inputs:
        # A root name has only letters and digits: AstroDrizzle never sees a file name chosen by the user.
        copies.append(work / f"{one.values.rootname}_flt.fits")
        drizzle_input(one.frame, ~one.good, copies[-1])
    product = drizzler.drizzle(copies, folder=work, log=log, grid=grid)
    _require_one_mask(inputs, product)
    return product


def _require_one_mask(inputs: Sequence[ScienceInput], product: DrizzledProduct) -> None:
    """Check that AstroDrizzle gave the exposure time as weight to the good pixels and to no others."""
    for one, mapping in zip(inputs, product.frames, strict=True):
        expected = np.where(one.good, np.float32(one.values.exptime_s), np.float32(0.0))
        if not np.array_equal(mapping.weight, expected):
            off = int(np.count_nonzero(mapping.weight != expected))
            raise SbcdarkError(
                f"AstroDrizzle's weight of {number(off, 'pixel')} of {one.values.rootname} is not the exposure time.",
                "Report this with the drizzle log.",
            )


def _degraded(estimate: DarkEstimate) -> list[str]:
    """Return warnings about exposures without a full model, and about unusual fits."""
    warnings = []
    for dark in estimate.exposures:
        if dark.method.startswith("scaled"):
            lack = "there is only one dark" if len(estimate.darks) == 1 else "the darks show no varying glow"
            warnings.append(
                f"{dark.rootname}: the dark is a {dark.method} with the shape of the darks, since {lack}; its error "
                "does not include a different glow in this exposure; ingest cold and warm darks"
            )
        warnings += [f"{dark.rootname}: {text}" for text in dark.cautions]
    return warnings


_ENOUGH_LEFT = 0.5
"""Fraction of an exposure's good pixels: the fit is less precise if apertures and masks leave fewer."""


def _little_left(inputs: Sequence[ScienceInput], exposures: Sequence[Exposure]) -> list[str]:
    """Return warnings about exposures of which apertures and masks leave little for the fit of the dark."""
    warnings = []
    for one, exposure in zip(inputs, exposures, strict=True):
        left = float(exposure.good.mean()) / max(float(one.good.mean()), 1e-6)
        if left < _ENOUGH_LEFT:
            warnings.append(
                f"{exposure.rootname}: apertures and masks leave {left:.0%} of it for the fit of the dark, which "
                "makes all apertures less precise; measure the largest in a separate run"
            )
    return warnings


def _member(one: ScienceInput, match: Match, dark: ExposureDark) -> Member:
    fit = dark.fit
    errors = [None, None, None] if fit is None else [*np.sqrt(np.diag(fit.covariance)).tolist(), None][:3]
    chi2 = None if fit is None or not np.isfinite(fit.chi2_per_dof) else fit.chi2_per_dof
    return Member(
        exposure=one.values.rootname,
        darks=tuple(entry.dark for entry in match.darks),
        weights=tuple(dark.weights.get(entry.dark, 0.0) for entry in match.darks),
        method=dark.method,
        base=None if fit is None else fit.base,
        base_err=errors[0],
        amplitude=None if fit is None else fit.amplitude,
        amplitude_err=errors[1],
        sky=None if fit is None else fit.sky,
        sky_err=errors[2] if fit is not None and fit.sky is not None else None,
        chi2_per_dof=chi2,
        flat=None if one.flat is None else one.flat.path.name,
        rule=match.rule,
        tier=match.tier,
        selection=None,
    )
