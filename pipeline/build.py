"""Building a masterdark: the dark of each exposure of an association, drizzled onto the science product's own grid."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from sbcdark.catalog import queries
from sbcdark.catalog.engine import reading
from sbcdark.catalog.errors import NothingMatchedError, UsageError
from sbcdark.pipeline import select
from sbcdark.pipeline.advice import advice_in
from sbcdark.pipeline.built import Built, Masterdark, Member, ScienceInput
from sbcdark.pipeline.cache import fetch_ahead, keeping_files
from sbcdark.pipeline.combining import DarkEstimate, Exposure, ExposureDark, combine_darks
from sbcdark.pipeline.footprints import NativeFrame, NativeWeights, native_weights
from sbcdark.pipeline.frame_writer import annotate, write_science_copy
from sbcdark.pipeline.inputs import exposure_to_fit, read_dark_frame, read_input, science_values
from sbcdark.pipeline.matching import Combine, Requirements
from sbcdark.pipeline.pixels import Product, read_product
from sbcdark.pipeline.version import SOFTWARE_VERSION

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import sqlalchemy as sa
    from sqlalchemy.orm import Session

    from sbcdark.catalog.records import Match, MatchValues, ScoredDark
    from sbcdark.pipeline.apertures import ApertureSpec, PixelEllipse
    from sbcdark.pipeline.drizzle import Drizzler
    from sbcdark.pipeline.options import BuildOptions
    from sbcdark.pipeline.select import Target
    from sbcdark.pipeline.templates import DarkFrame

_SPARE = 5
"""So many more are asked for, to take the place of darks whose file is gone."""


@keeping_files()
def build(
    engine: sa.Engine,
    target: Target,
    work: Path,
    folder: Path,
    options: BuildOptions,
    apertures: Sequence[ApertureSpec],
    drizzler: Drizzler,
    stored: Sequence[Match] | None = None,
) -> Built:
    """Make the science product, the masterdark and its error map of one target in a workspace.

    Parameters
    ----------
    work : Path
        The workspace: the products are made there, to be published when all of the job is done.
    folder : Path
        Where they will be; the log is written there at once.
    stored : sequence of Match, optional
        Choices to be made again: then nothing is chosen.

    Raises
    ------
    UsageError
        An exposure has no FLT in the catalog, or a name is unknown.
    NothingMatchedError
        No dark fits an exposure.
    SbcdarkError
        A file could not be read or written, or AstroDrizzle failed.
    """
    if not target.exposures:
        raise UsageError(
            f"None of the exposures of {target.name} is in the catalog: {', '.join(target.absent) or 'it names none'}.",
            "Ingest their FLT files: sbcdark ingest PATH",
        )
    warnings = [f"{name} belongs to {target.name} and is not in the catalog: it is left out" for name in target.absent]
    with reading(engine) as session:
        values = [science_values(session, rootname) for rootname in target.exposures]
        matches = _matched(session, values, options) if stored is None else list(stored)
        revision = queries.catalog_revision(session)
    inputs = tuple(read_input(one, options.flat, warnings) for one in values)
    matches, chosen = _read_darks(matches, options, warnings)
    return _made(target, folder, options, apertures, drizzler, work, inputs, matches, chosen, revision, warnings)


def _made(
    target: Target,
    folder: Path,
    options: BuildOptions,
    apertures: Sequence[ApertureSpec],
    drizzler: Drizzler,
    work: Path,
    inputs: tuple[ScienceInput, ...],
    matches: list[Match],
    chosen: list[list[DarkFrame]],
    revision: int,
    warnings: list[str],
) -> Built:
    log = folder / f"{target.name}_drizzle.log"
    log.unlink(missing_ok=True)
    science_path = folder / f"{target.name}_drz.fits"
    drizzler.drizzle([one.path for one in inputs], work / science_path.name, working_folder=work, log=log)
    product = read_product(work / science_path.name)
    ellipses, footprints = _footprints(product, inputs, apertures, warnings)
    _, masks = _footprints(product, inputs, options.mask, [])
    exposures = [exposure_to_fit(one, number, (*footprints, *masks)) for number, one in enumerate(inputs)]
    if options.combine is Combine.MODEL:
        warnings += _little_left(inputs, exposures)
    estimate = combine_darks(options.combine, exposures, chosen)
    if options.combine is Combine.MODEL:
        warnings += _degraded(estimate)
    paths = {
        "masterdark": folder / f"{target.name}_masterdark.fits",
        "error": folder / f"{target.name}_masterdark_err.fits",
    }
    for kind, path in paths.items():
        copies = _copies(work / kind, kind, inputs, estimate)
        drizzler.drizzle(copies, work / path.name, working_folder=work, log=log, reference=work / science_path.name)
    dark_product, error_product = (read_product(work / path.name) for path in paths.values())
    cards = _provenance(options, matches, estimate, revision)
    for path in (science_path, *paths.values()):
        annotate(work / path.name, cards)
    members = tuple(
        _member(one, match, dark) for one, match, dark in zip(inputs, matches, estimate.exposures, strict=True)
    )
    masterdark = Masterdark(
        target.name,
        options.combine.value,
        science_path,
        paths["masterdark"],
        paths["error"],
        members,
        tuple(dict.fromkeys([*warnings, *(f"{one.exposure}: {text}" for one in matches for text in one.warnings)])),
    )
    return Built(
        masterdark,
        inputs,
        estimate,
        ellipses,
        footprints,
        product,
        dark_product,
        error_product,
        tuple(matches),
        tuple(apertures),
    )


def _degraded(estimate: DarkEstimate) -> list[str]:
    """Say where the darks allowed less than the model, and what that means."""
    told = []
    for dark in estimate.exposures:
        if dark.method != "model":
            lack = "there is one dark only" if len(estimate.darks) == 1 else "the darks show no glow that varies"
            told.append(
                f"{dark.rootname}: the dark is a {dark.method}, since {lack}: it has their shape, and its error does "
                "not hold that this exposure's glow may be another; ingest cold and warm darks"
            )
        elif dark.fit is not None and dark.fit.uses_prior:
            told.append(
                f"{dark.rootname}: too little of it is free of sources to fit the dark to; what other darks have on "
                "average stands in for it, with their scatter as the error"
            )
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


def _matched(session: Session, exposures: Sequence[MatchValues], options: BuildOptions) -> list[Match]:
    """Choose each exposure's darks, with some to spare for those whose file turns out to be gone."""
    wanted = Requirements(
        options.top or select.TOP[options.combine], options.max_sigma, options.max_days, options.min_exptime_s
    )
    free = [one.rootname for one in exposures if one.rootname not in options.use]
    found = select.choose_for(session, free, options.combine, options.rule, wanted, spare=_SPARE)
    for match in found:
        if not match.darks:
            reasons = "; ".join(f"{rejected.dark}: {rejected.reason}" for rejected in match.nearest_rejected)
            raise NothingMatchedError(
                f"No dark fits {match.exposure}" + (f" ({reasons})." if reasons else ": the catalog has none."),
                advice_in(session, [match.exposure]),
            )
    found += [select.forced_match(session, rootname, darks, wanted) for rootname, darks in options.use.items()]
    by_name = {match.exposure: match for match in found}
    return [by_name[one.rootname] for one in exposures]


def _read_darks(
    matches: Sequence[Match], options: BuildOptions, warnings: list[str]
) -> tuple[list[Match], list[list[DarkFrame]]]:
    """Read each chosen dark once; one that is gone or broken is left out, and the next best takes its place."""
    frames: dict[str, DarkFrame | None] = {}
    kept, chosen = [], []
    for match in matches:
        limit = len(match.darks)
        if options.combine is not Combine.MODEL and match.exposure not in options.use:
            limit = options.top or select.TOP[options.combine]
        fetch_ahead([dark.file for dark in match.darks[:limit] if dark.file is not None])
        used: list[ScoredDark] = []
        for dark in match.darks:
            if len(used) == limit:
                break
            if dark.dark not in frames:
                frames[dark.dark] = read_dark_frame(dark, warnings)
            if frames[dark.dark] is not None:
                used.append(dark)
        if not used:
            raise NothingMatchedError(
                f"None of the darks for {match.exposure} can be read any more.", "Ingest them from where they are now."
            )
        total = sum(dark.exptime_s for dark in used)
        ranked = tuple(replace(dark, rank=rank, weight=dark.exptime_s / total) for rank, dark in enumerate(used, 1))
        kept.append(replace(match, darks=ranked))
        chosen.append([frame for dark in used if (frame := frames[dark.dark]) is not None])
    return kept, chosen


def _footprints(
    product: Product, inputs: Sequence[ScienceInput], apertures: Sequence[ApertureSpec], warnings: list[str]
) -> tuple[tuple[PixelEllipse, ...], tuple[tuple[NativeWeights, ...], ...]]:
    from sbcdark.pipeline.apertures import to_pixels  # noqa: PLC0415  astropy's coordinates are slow to import

    ellipses = []
    for aperture in apertures:
        try:
            ellipses.append(to_pixels(aperture, product.wcs))
        except UsageError as error:
            warnings.append(f"{aperture.label} is not measured: {error.what}")
    frames = [NativeFrame(one.frame.wcs, one.good, one.values.exptime_s) for one in inputs]
    return tuple(ellipses), tuple(tuple(native_weights(ellipse, product.wcs, frames)) for ellipse in ellipses)


def _copies(folder: Path, kind: str, inputs: Sequence[ScienceInput], estimate: DarkEstimate) -> list[Path]:
    """Write each science FLT with its dark (or the dark's error) in place of its counts."""
    folder.mkdir()
    copies = []
    for one, dark in zip(inputs, estimate.exposures, strict=True):
        counts = (dark.rate if kind == "masterdark" else dark.rate_error) * one.values.exptime_s
        if one.flat is not None:
            counts = np.nan_to_num(counts / one.flat)
        copy = folder / f"{one.values.rootname}_flt.fits"
        write_science_copy(one.path, copy, counts)
        copies.append(copy)
    return copies


def _provenance(
    options: BuildOptions, matches: Sequence[Match], estimate: DarkEstimate, revision: int
) -> dict[str, str | int | float | bool]:
    """Return what a product was made of, as cards of its header (docs/guide.md)."""
    cards: dict[str, str | int | float | bool] = {
        "DRKVERS": SOFTWARE_VERSION,
        "DRKCOMB": options.combine.value,
        "DRKCATRV": revision,
    }
    for number, (match, dark) in enumerate(zip(matches, estimate.exposures, strict=True), 1):
        exposure = f"DK{number:02d}"
        cards[f"{exposure}EXP"] = match.exposure
        cards[f"{exposure}RUL"] = match.rule
        cards[f"{exposure}TIE"] = match.tier
        cards[f"{exposure}PAR"] = json.dumps({k: v for k, v in match.parameters.items() if k != "exposures"})
        cards[f"{exposure}MET"] = dark.method
        if dark.fit is not None:
            cards[f"{exposure}BAS"] = dark.fit.base
            cards[f"{exposure}AMP"] = dark.fit.amplitude
            if dark.fit.sky is not None:
                cards[f"{exposure}SKY"] = dark.fit.sky
        for entry in match.darks:
            terms = (
                entry.delta_sigma,
                entry.delta_contrast_count_s_pix,
                entry.delta_box_rate_count_s_pix,
                entry.delta_temperature_c,
                entry.delta_days,
            )
            told = " ".join("-" if term is None else f"{term:.4g}" for term in terms)
            cards[f"{exposure}D{entry.rank:03d}"] = f"{entry.dark} {dark.weights.get(entry.dark, 0.0):.6f} {told}"
    return cards


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
        flat=None if one.flat_path is None else one.flat_path.name,
        rule=match.rule,
        tier=match.tier,
        selection=None,
    )
