"""Building a masterdark: the dark of each exposure of an association, drizzled onto the science product's own grid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sbcdark.catalog import queries
from sbcdark.catalog.engine import reading
from sbcdark.catalog.errors import NothingMatchedError, SbcdarkError, UsageError
from sbcdark.pipeline.archive.cache import keeping_files
from sbcdark.pipeline.frames.pixels import drizzle_input
from sbcdark.pipeline.model.combination import DarkEstimate, Exposure, ExposureDark, combine_darks
from sbcdark.pipeline.products import compatibility
from sbcdark.pipeline.products.footprints import NativeWeights, check_weights, native_weights
from sbcdark.pipeline.products.input_frames import FlatShelf, exposure_to_fit, read_darks, read_input, science_values
from sbcdark.pipeline.products.net import net_error, variance_planes
from sbcdark.pipeline.products.product_files import ProductFiles, inputs_key, require_free
from sbcdark.pipeline.products.records import Built, Masterdark, Member, ScienceInput
from sbcdark.pipeline.products.sky import parse_sky
from sbcdark.pipeline.selection import choice
from sbcdark.pipeline.selection.rules import Combine, Requirements
from sbcdark.pipeline.selection.suggestions import advice_in

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import sqlalchemy as sa
    from numpy.typing import NDArray
    from sqlalchemy.orm import Session

    from sbcdark.catalog.records import Match, MatchValues
    from sbcdark.pipeline.products.apertures import ApertureSpec, PixelEllipse
    from sbcdark.pipeline.products.drizzle import Drizzler
    from sbcdark.pipeline.products.drizzled_product import DrizzledProduct
    from sbcdark.pipeline.products.job import Job
    from sbcdark.pipeline.products.options import BuildOptions
    from sbcdark.pipeline.products.records import Flat
    from sbcdark.pipeline.selection.names import Target

_SPARE = 5
"""So many more are asked for, to take the place of darks whose file is gone."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a build rests on, known before any pixel is read.

    Attributes
    ----------
    values : tuple of MatchValues
        The exposures.
    matches : tuple of Match
        The darks chosen for each.
    revision : int
        The catalog's revision when they were chosen.
    flats : tuple of Flat or None
        Each exposure's flat.
    apertures : tuple of ApertureSpec
        What is measured and left out of the fit.
    inputs_key : str
        Of `product_files.inputs_key`.
    warnings : tuple of str
        What the user should know.
    """

    values: tuple[MatchValues, ...]
    matches: tuple[Match, ...]
    revision: int
    flats: tuple[Flat | None, ...]
    apertures: tuple[ApertureSpec, ...]
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
) -> Built:
    """Make the science product, the masterdark and its error map of one target in memory.

    Parameters
    ----------
    work : Path
        A folder for AstroDrizzle's copies.
    stored : sequence of Match, optional
        Choices to be made again: then nothing is chosen.

    Raises
    ------
    UsageError
        An exposure has no FLT in the catalog, a name is unknown, the exposures do not belong together, or products of
        other inputs are in the folder.
    NothingMatchedError
        No dark fits an exposure.
    SbcdarkError
        A file could not be read, AstroDrizzle failed, or a product does not equal the sum of its pixels.
    """
    plan = _planned(engine, target, job, stored)
    return _made(target, plan, job, drizzler, work)


def _planned(engine: sa.Engine, target: Target, job: Job, stored: Sequence[Match] | None) -> Plan:
    if not target.exposures:
        raise UsageError(
            f"None of the exposures of {target.name} is in the catalog: {', '.join(target.absent) or 'it names none'}.",
            "Ingest their FLT files: sbcdark ingest PATH",
        )
    warnings = [f"{name} belongs to {target.name} and is not in the catalog: it is left out" for name in target.absent]
    with reading(engine) as session:
        revision = queries.catalog_revision(session)
        values = tuple(science_values(session, rootname) for rootname in target.exposures)
        compatibility.require_one_filter(values, mixed=job.options.mixed)
        matches = tuple(matches_of(session, values, job.options) if stored is None else stored)
    shelf = FlatShelf(job.options.flat)
    flats = tuple(shelf.flat_of(one, warnings) for one in values)
    key = inputs_key(values, matches, job.options, [None if flat is None else flat.sha256 for flat in flats])
    files = ProductFiles(job.folder, target.name)
    apertures = require_free(files, key, job.apertures, overwrite=job.overwrite)
    return Plan(values, matches, revision, flats, apertures, key, tuple(warnings))


def _made(target: Target, plan: Plan, job: Job, drizzler: Drizzler, work: Path) -> Built:
    options, warnings = job.options, list(plan.warnings)
    inputs = tuple(read_input(one, flat) for one, flat in zip(plan.values, plan.flats, strict=True))
    compatibility.require_one_field(inputs, mixed=options.mixed)
    warnings += [f"{target.name}: {text}" for text in compatibility.differences(inputs)]
    matches, chosen = read_darks(plan.matches, options, warnings)
    files = ProductFiles(job.folder, target.name)
    # Not in the workspace: where AstroDrizzle fails, the log stays.
    log = files.log
    product = drizzle_inputs(inputs, drizzler, work, log)
    ellipses, footprints = _footprints(product, plan.apertures, warnings)
    sky = job.sky or parse_sky(None, options.combine)
    circles = [ring for ellipse in ellipses if (ring := sky.ring(ellipse, product.wcs)) is not None]
    rings = tuple(native_weights(ring, product) for ring in circles)
    masks = _masks(product, options.mask, warnings)
    rates = [one.rate for one in inputs]
    probes, probe_weights = _probes(product)
    checked = ((*ellipses, *probes), (*footprints, *probe_weights))
    _check(product.science, rates, "the science product", *checked)
    exposures = [exposure_to_fit(one, number, (*footprints, *rings, *masks)) for number, one in enumerate(inputs)]
    if options.combine is Combine.MODEL:
        warnings += _little_left(inputs, exposures)
    estimate = combine_darks(options.combine, exposures, chosen)
    if options.combine is Combine.MODEL:
        warnings += _degraded(estimate)
    darks = [one.flat_fielded(dark.rate) for one, dark in zip(inputs, estimate.exposures, strict=True)]
    errors = [one.flat_fielded(dark.rate_error) for one, dark in zip(inputs, estimate.exposures, strict=True)]
    times = [one.values.exptime_s for one in inputs]
    planes = [[rate * time for rate, time in zip(plane, times, strict=True)] for plane in (darks, errors)]
    planes.append(variance_planes(inputs))
    dark, dark_error, variance = drizzler.resample(planes, folder=work, log=log)
    _check(dark, darks, "the masterdark", *checked)
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
    net, error = product.science - dark, net_error(variance, dark_error, product)
    return Built(
        masterdark, inputs, estimate, ellipses, footprints, sky, rings, product, dark, dark_error, net, error,
        tuple(matches), plan.apertures, plan.revision, plan.inputs_key, options.mixed,
    )  # fmt: skip


def drizzle_inputs(inputs: Sequence[ScienceInput], drizzler: Drizzler, work: Path, log: Path) -> DrizzledProduct:
    """Drizzle exposures, their bad pixels flagged.

    Raises
    ------
    SbcdarkError
        AstroDrizzle failed, or gave other weights than these pixels have.
    """
    copies = []
    for one in inputs:
        # The root name is letters and digits alone: what a user calls a file does not reach AstroDrizzle.
        copies.append(work / f"{one.values.rootname}_flt.fits")
        drizzle_input(one.frame, ~one.good, copies[-1])
    product = drizzler.drizzle(copies, folder=work, log=log)
    _require_one_mask(inputs, product)
    return product


def _require_one_mask(inputs: Sequence[ScienceInput], product: DrizzledProduct) -> None:
    """Require that AstroDrizzle gave weight to the very pixels that count here, by their exposure time."""
    for one, mapping in zip(inputs, product.frames, strict=True):
        expected = np.where(one.good, np.float32(one.values.exptime_s), np.float32(0.0))
        if not np.array_equal(mapping.weight, expected):
            off = int(np.count_nonzero(mapping.weight != expected))
            raise SbcdarkError(
                f"AstroDrizzle weighted {off} pixels of {one.values.rootname} otherwise than by their exposure time.",
                "Report this with the log of the drizzle.",
            )


_PROBE_RADIUS_PIX = 60.0


def _probes(product: DrizzledProduct) -> tuple[list[PixelEllipse], list[tuple[NativeWeights, ...]]]:
    """Return a circle at the centre of each frame, with its weights: what is checked beside the apertures."""
    from sbcdark.pipeline.products.apertures import PixelEllipse  # noqa: PLC0415  slow to import

    probes = []
    for mapping in product.frames:
        middle = tuple(side // 2 for side in mapping.weight.shape)
        x, y = float(mapping.corner_x[middle]), float(mapping.corner_y[middle])
        probes.append(PixelEllipse(x, y, _PROBE_RADIUS_PIX, _PROBE_RADIUS_PIX, 0.0, "a circle at a frame's centre"))
    return probes, [native_weights(probe, product) for probe in probes]


def _check(
    image: NDArray[np.float32],
    rates: Sequence[NDArray[np.float64]],
    what: str,
    ellipses: Sequence[PixelEllipse],
    footprints: Sequence[Sequence[NativeWeights]],
) -> None:
    """Check an image on the product's pixels against its native pixels, in every ellipse."""
    from sbcdark.pipeline.products.apertures import aperture_sum  # noqa: PLC0415  slow to import

    for ellipse, footprint in zip(ellipses, footprints, strict=True):
        check_weights(aperture_sum(image, ellipse).total, footprint, rates, f"{ellipse.label} of {what}")


def _degraded(estimate: DarkEstimate) -> list[str]:
    """Say where the darks allowed less than the model, and what is unusual about a fit."""
    told = []
    for dark in estimate.exposures:
        if dark.method != "model":
            lack = "there is one dark only" if len(estimate.darks) == 1 else "the darks show no glow that varies"
            told.append(
                f"{dark.rootname}: the dark is a {dark.method}, since {lack}: it has their shape, and its error does "
                "not hold that this exposure's glow may be another; ingest cold and warm darks"
            )
        told += [f"{dark.rootname}: {text}" for text in dark.cautions]
    return told


_ENOUGH_LEFT = 0.5
"""Share of an exposure's good pixels: with less than that left by apertures and masks, the fit loses by it."""


def _little_left(inputs: Sequence[ScienceInput], exposures: Sequence[Exposure]) -> list[str]:
    """Say where apertures and masks leave little of an exposure to fit the dark to."""
    told = []
    for one, exposure in zip(inputs, exposures, strict=True):
        left = float(exposure.good.mean()) / max(float(one.good.mean()), 1e-6)
        if left < _ENOUGH_LEFT:
            told.append(
                f"{exposure.rootname}: apertures and masks leave {left:.0%} of it to fit the dark to, which costs "
                "precision in all of them; measure the largest in a run of their own"
            )
    return told


def matches_of(session: Session, exposures: Sequence[MatchValues], options: BuildOptions) -> list[Match]:
    """Choose each exposure's darks, with some to spare for those whose file turns out to be gone.

    Raises
    ------
    NothingMatchedError
        No dark fits an exposure.
    """
    wanted = Requirements(
        options.top or choice.TOP[options.combine], options.max_sigma, options.max_days, options.min_exptime_s
    )
    free = [one.rootname for one in exposures if one.rootname not in options.use]
    found = choice.choose_for(session, free, options.combine, options.rule, wanted, spare=_SPARE)
    for match in found:
        if not match.darks:
            reasons = "; ".join(f"{rejected.dark}: {rejected.reason}" for rejected in match.nearest_rejected)
            raise NothingMatchedError(
                f"No dark fits {match.exposure}" + (f" ({reasons})." if reasons else ": the catalog has none."),
                advice_in(session, [match.exposure]),
            )
    found += [choice.forced_match(session, rootname, darks, wanted) for rootname, darks in options.use.items()]
    by_name = {match.exposure: match for match in found}
    return [by_name[one.rootname] for one in exposures]


def _footprints(
    product: DrizzledProduct, apertures: Sequence[ApertureSpec], warnings: list[str]
) -> tuple[tuple[PixelEllipse, ...], tuple[tuple[NativeWeights, ...], ...]]:
    from sbcdark.pipeline.products.apertures import to_pixels  # noqa: PLC0415  astropy's coordinates are slow to import

    ellipses = []
    for aperture in apertures:
        try:
            ellipses.append(to_pixels(aperture, product.wcs))
        except UsageError as error:
            warnings.append(f"{aperture.label} is not measured: {error.what}")
    return tuple(ellipses), tuple(native_weights(ellipse, product) for ellipse in ellipses)


def _masks(
    product: DrizzledProduct, specs: Sequence[ApertureSpec], warnings: list[str]
) -> list[tuple[NativeWeights, ...]]:
    """Return the pixels that each region of --mask leaves out, and warn of those that leave out none."""
    masks: list[tuple[NativeWeights, ...]] = []
    for spec in specs:
        _, found = _footprints(product, [spec], [])
        masks += found
        if not any(one.touched.any() for exposures in found for one in exposures):
            warnings.append(f"--mask: {spec.label} lies outside the exposures and masks nothing")
    return masks


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
