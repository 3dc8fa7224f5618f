"""Photometry on drizzled products: science minus dark minus sky, with errors from native counts."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sbcdark.catalog.result_records import PhotometryRecord
from sbcdark.catalog.times import utc_of_mjd
from sbcdark.pipeline.apertures.pixel_shapes import aperture_sum, scale_arcsec, sky_position
from sbcdark.pipeline.drizzling.footprints import poisson_error
from sbcdark.pipeline.estimation.compatibility import last_calibrated
from sbcdark.pipeline.model.halos import HALO_RADII
from sbcdark.pipeline.model.poisson_source import source_counts
from sbcdark.pipeline.products.halos import halo_error, halo_leaks, has_halo

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from sbcdark.catalog.records import FileRecord
    from sbcdark.pipeline.apertures.pixel_shapes import ApertureSum
    from sbcdark.pipeline.drizzling.footprints import NativeWeights
    from sbcdark.pipeline.products.records import Built, PlacedAperture

_MAGNITUDE = 2.5 / math.log(10.0)


def st_magnitude(flux: float) -> float:
    """Return the ST magnitude of a flux in erg/s/cm2/A: -2.5 log10(flux) - 21.10 (ACS Data Handbook, section 5.1)."""
    return -2.5 * math.log10(flux) - 21.10


def ab_magnitude(flux: float, photplam_a: float) -> float:
    """Return the AB magnitude: STMAG - 5 log10(PHOTPLAM) + 18.6921 (ACS Data Handbook, section 5.1).

    Parameters
    ----------
    flux : float
        erg/s/cm2/A, above 0.
    photplam_a : float
        Pivot wavelength, Angstrom.
    """
    return st_magnitude(flux) - 5.0 * math.log10(photplam_a) + 18.6921


@dataclass(frozen=True, slots=True)
class _Background:
    """Dark and sky in one aperture, drizzled count/s."""

    dark: float
    dark_error: float
    sky: float | None
    sky_error: float | None
    error: float


@dataclass(frozen=True, slots=True)
class GrowthPoint:
    """One aperture of a curve of growth.

    Attributes
    ----------
    aperture : str
        Label of the aperture whose curve it is.
    radius_pix, radius_arcsec : float
        Radius, or semi-major axis; product pixels and arcsec.
    record : PhotometryRecord
        Its photometry.
    """

    aperture: str
    radius_pix: float
    radius_arcsec: float
    record: PhotometryRecord


@dataclass(frozen=True, slots=True)
class _Common:
    """What all apertures of a build share."""

    built: Built
    file: FileRecord | None
    counts: list[NDArray[np.float64]]
    taken: list[NDArray[np.bool_]]
    arcsec_per_pix: float


def measure(built: Built) -> tuple[list[PhotometryRecord], list[GrowthPoint], list[str]]:
    """Measure every aperture of a build, and its curve of growth if one is wanted.

    The errors come from native counts in the apertures' footprints on the detector, never from the square root of
    drizzled counts. Science and background are independent: the fit of the dark excludes apertures and annuli. The
    errors of dark and fitted sky are correlated: the error of their sum includes the covariance.

    Returns
    -------
    records : list of PhotometryRecord
        One per aperture that lies on data, fully or partly.
    growth : list of GrowthPoint
        The curves of growth, in the order of the apertures and of the radii.
    warnings : list of str
        Names the apertures that do not, or only partly.
    """
    name = built.masterdark.association
    common = _Common(
        built,
        None if built.mixed else last_calibrated([one.file for one in built.inputs]),
        _error_counts(built),
        _taken(built),
        scale_arcsec(built.product.wcs),
    )
    records, growth, warnings = [], [], []
    for one in built.placed:
        leaks = halo_leaks(built, one.shape)
        record = _measured(common, one, leaks)
        if record is None:
            warnings.append(f"{name}: {one.spec.label} lies outside the data; it is not measured")
            continue
        records.append(record)
        warnings += record.warnings
        for wider in one.growth:
            point = _measured(common, wider, leaks)
            if point is not None:
                radius = wider.semi_major_pix
                growth.append(GrowthPoint(one.spec.label, radius, radius * common.arcsec_per_pix, point))
    if records and common.file is None:
        why = "the exposures are mixed" if built.mixed else "PHOTFLAM is missing or 0"
        warnings.append(f"{name}: {why}, so no flux is given")
    elif records and common.file is not None and common.file.photplam_a is None:
        warnings.append(f"{name}: PHOTPLAM is missing or 0, so no AB magnitude is given")
    return records, growth, warnings


def _measured(
    common: _Common, one: PlacedAperture, leaks: Sequence[NDArray[np.float64] | None]
) -> PhotometryRecord | None:
    """Measure an aperture; return None if it lies outside the data."""
    built, counts, label = common.built, common.counts, one.spec.label
    name = built.masterdark.association
    total = aperture_sum(built.product.science, one.shape)
    if total.covered_pix == 0:
        return None
    notes = []
    if total.covered_pix < 0.999 * total.area_pix:
        notes.append(f"{name}: only {total.covered_pix / total.area_pix:.0%} of {label} lies on data")
    ring = None if one.sky_weights is None else _free_ring(one.sky_weights, common.taken)
    free = None if ring is None else _free_share(one.sky_weights or (), ring)
    if free == 0:
        notes.append(f"{name}: the annulus of {label} has no source-free pixels, so no sky is subtracted")
        ring = None
    elif free is not None and free < _ENOUGH_FREE:
        notes.append(f"{name}: only {free:.0%} of the annulus of {label} is free of sources and apertures")
    background = _background(built, one, ring, counts, leaks)
    if has_halo(one.shape) and any(leak is not None for leak in leaks):
        notes.append(
            f"{name}: {label} is large, so the fit leaves out {HALO_RADII:g} of its radii; the error includes the "
            "light beyond"
        )
    science_error = _science_error(built, one.weights, counts)
    of_one_count = _rate_of_one_count(built, one.weights, counts)
    return _record(common, one, total, background, science_error, of_one_count, tuple(notes))


def _record(
    common: _Common,
    one: PlacedAperture,
    total: ApertureSum,
    background: _Background,
    science_error: float,
    of_one_count: tuple[float, float],
    warnings: tuple[str, ...],
) -> PhotometryRecord:
    built, file = common.built, common.file
    net = total.total - background.dark
    source, error = net - (background.sky or 0.0), math.hypot(science_error, background.error)
    per_count, own = of_one_count
    native = source_counts(
        max((total.total - own) / per_count, 0.0),
        (total.total - own - source) / per_count,
        background.error / per_count,
    )
    flam = None if file is None else file.photflam_erg_s_cm2_a
    plam = None if file is None else file.photplam_a
    flux = None if flam is None else source * flam
    limit = None if flam is None or native.detected else native.upper_limit * per_count * flam
    seen = flux if native.detected and flux is not None and flux > 0 else None
    ra, dec = sky_position(one.shape, built.product.wcs)
    radius = math.sqrt(total.area_pix / math.pi)
    exposures = [exposure.values for exposure in built.inputs]
    return PhotometryRecord(
        association=built.masterdark.association,
        target=_joined(exposure.target for exposure in exposures),
        filter=_joined(exposure.filter for exposure in exposures),
        start_utc=utc_of_mjd(min(exposure.start_mjd for exposure in exposures)),
        exptime_s=sum(exposure.exptime_s for exposure in exposures),
        aperture=one.spec.label,
        shape=one.spec.own_text,
        x_pix=one.shape.x,
        y_pix=one.shape.y,
        ra_deg=ra,
        dec_deg=dec,
        area_pix=total.area_pix,
        effective_radius_pix=radius,
        effective_radius_arcsec=radius * common.arcsec_per_pix,
        coverage=total.covered_pix / total.area_pix,
        science_count_s=total.total,
        science_err_count_s=science_error,
        dark_count_s=background.dark,
        dark_err_count_s=background.dark_error,
        net_count_s=net,
        net_err_count_s=math.hypot(science_error, background.dark_error),
        sky_count_s=background.sky,
        sky_err_count_s=background.sky_error,
        source_count_s=source,
        source_err_count_s=error,
        dark_fraction=background.dark / total.total if total.total > 0 else None,
        flux_erg_s_cm2_a=flux,
        ab_mag=None if seen is None or plam is None else ab_magnitude(seen, plam),
        ab_mag_err=None if seen is None or plam is None else _MAGNITUDE * error / source,
        flux_err_erg_s_cm2_a=None if flam is None else error * flam,
        flux_limit_erg_s_cm2_a=limit,
        ab_mag_limit=None if not limit or plam is None else ab_magnitude(limit, plam),
        st_mag=None if seen is None else st_magnitude(seen),
        st_mag_err=None if seen is None else _MAGNITUDE * error / source,
        st_mag_limit=None if not limit else st_magnitude(limit),
        source_low_count_s=native.low * per_count,
        source_high_count_s=native.high * per_count,
        significance_sigma=native.significance if math.isfinite(native.significance) else None,
        native_count=max(total.total / per_count, 0.0),
        native_background_count=(total.total - source) / per_count,
        native_background_err_count=background.error / per_count,
        sky_method=one.sky_method if background.sky is not None else "none",
        warnings=warnings,
    )


def _joined(names: Iterable[str | None]) -> str | None:
    """Return the different names of some exposures, joined by ``+``."""
    return "+".join(dict.fromkeys(name for name in names if name)) or None


def _error_counts(built: Built) -> list[NDArray[np.float64]]:
    """Return each exposure's counts, without hot pixels that are subtracted from themselves.

    They cancel in science minus dark, so they do not contribute to its error.
    """
    found = []
    for one, dark in zip(built.inputs, built.estimate.exposures, strict=True):
        counts = one.counts
        if dark.fit is not None:
            counts[dark.fit.hot_y[dark.fit.hot_own], dark.fit.hot_x[dark.fit.hot_own]] = 0.0
        found.append(counts)
    return found


def _science_error(built: Built, footprints: Sequence[NativeWeights], counts: Sequence[NDArray[np.float64]]) -> float:
    flats = [flat for one in built.inputs if (flat := one.flat_pixels) is not None]
    times = [one.values.exptime_s for one in built.inputs]
    return poisson_error(footprints, counts, times, flats if len(flats) == len(built.inputs) else None)


def _rate_of_one_count(
    built: Built, footprints: Sequence[NativeWeights], counts: Sequence[NDArray[np.float64]]
) -> tuple[float, float]:
    """Return the contribution of one native count to an aperture's sum, and the sum of the hot pixels that cancel.

    The weights of the counts, V / (flat t), vary little inside an aperture and fall to 0 at its edge. Their mean,
    weighted by the expected counts of a uniform rate and by themselves, is the weight for which a sum of weighted
    Poisson counts has the mean and variance of that many unweighted counts.
    """
    once = squared = own = 0.0
    for one, footprint, kept in zip(built.inputs, footprints, counts, strict=True):
        weights, time = footprint.values, one.values.exptime_s
        flat = one.flat_fielded(np.ones(weights.shape), footprint.where)  # 1 / flat
        once += float(weights.sum())
        squared += float((weights**2 * flat).sum()) / time
        own += float((weights * flat * (one.counts_in(footprint.where) - kept[footprint.where])).sum()) / time
    return squared / once, own


def _background(
    built: Built,
    aperture: PlacedAperture,
    ring: Sequence[NDArray[np.float64]] | None,
    counts: Sequence[NDArray[np.float64]],
    leaks: Sequence[NDArray[np.float64] | None],
) -> _Background:
    footprints = aperture.weights
    dark = aperture_sum(built.dark, aperture.shape).total
    weights = [one.detector_weights(print_) for one, print_ in zip(built.inputs, footprints, strict=True)]
    halo = halo_error(built, leaks, weights, include_sky=False)
    dark_error = math.hypot(built.estimate.aperture_error(weights), halo)
    if ring is not None:
        return _with_ring(built, footprints, ring, counts, dark, dark_error)
    fits = [one.fit for one in built.estimate.exposures]
    if built.sky.method != "fit" or all(fit is None or fit.sky is None for fit in fits):
        return _Background(dark, dark_error, None, None, dark_error)
    # A uniform sky in front of the flat is uniform in the flat-fielded frame.
    sky = sum(
        (fit.sky or 0.0) * float(print_.values.sum())
        for fit, print_ in zip(fits, footprints, strict=True)
        if fit is not None
    )
    sky_error = built.estimate.aperture_error(weights, include_sky=True, include_dark=False)
    halo = halo_error(built, leaks, weights, include_sky=True)
    both = math.hypot(built.estimate.aperture_error(weights, include_sky=True), halo)
    return _Background(dark, dark_error, sky, sky_error, both)


def _with_ring(
    built: Built,
    footprints: Sequence[NativeWeights],
    ring: Sequence[NDArray[np.float64]],
    counts: Sequence[NDArray[np.float64]],
    dark: float,
    dark_error: float,
) -> _Background:
    """Return the background with the sky of an annulus: the mean of science minus dark there, scaled to the aperture.

    Aperture and annulus share one dark: its error is that of their difference, in which the base nearly cancels.
    """
    scale = sum(float(print_.values.sum()) for print_ in footprints) / sum(float(weights.sum()) for weights in ring)
    sky = noise = 0.0
    joint, alone = [], []
    for one, print_, weights, dark_of_one, kept in zip(
        built.inputs, footprints, ring, built.estimate.exposures, counts, strict=True
    ):
        scaled = scale * weights
        sky += float((scaled * np.where(weights > 0, one.rate - one.flat_fielded(dark_of_one.rate), 0.0)).sum())
        native = one.flat_fielded(scaled)
        noise += float((native**2 * np.where(weights > 0, kept, 0.0)).sum()) / one.values.exptime_s**2
        alone.append(native)
        joint.append(one.detector_weights(print_) - native)
    error = built.estimate.aperture_error(joint)
    sky_error = math.hypot(math.sqrt(noise), built.estimate.aperture_error(alone))
    return _Background(dark, dark_error, sky, sky_error, math.hypot(math.sqrt(noise), error))


def _taken(built: Built) -> list[NDArray[np.bool_]]:
    """Return the pixels of each exposure that hold a source: those in an aperture or detected by the fit."""
    taken = []
    for number, dark in enumerate(built.estimate.exposures):
        mask = np.zeros(dark.rate.shape, dtype=bool) if dark.sources is None else dark.sources.copy()
        for one in built.placed:
            mask[one.weights[number].where] |= one.weights[number].touched
        taken.append(mask)
    return taken


_ENOUGH_FREE = 0.5
"""Fraction of an annulus without sources, below which there is a warning."""


def _free_share(ring: Sequence[NativeWeights], free: Sequence[NDArray[np.float64]]) -> float:
    whole = sum(float(one.values.sum()) for one in ring)
    return sum(float(one.sum()) for one in free) / whole if whole > 0 else 0.0


def _free_ring(ring: Sequence[NativeWeights], taken: Sequence[NDArray[np.bool_]]) -> list[NDArray[np.float64]]:
    """Return the weights of an annulus on each exposure, 0 where a source lies."""
    return [np.where(mask, 0.0, one.full()) for one, mask in zip(ring, taken, strict=True)]
