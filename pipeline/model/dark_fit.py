"""The dark of one exposure: fitted to its own counts, predicted for every pixel, with errors for any aperture.

The tiers, from the most to the least demanding:

`model`
    base x L + amplitude x G, if the darks show a varying glow (see `templates.build_templates`).
`model with neighbours`
    The same with a prior on the amplitude from exposures close in time, where few pixels are free.
`scaled mean`
    One template, the mean shape of the darks, times one fitted scale, if they do not.
`scaled nearest`
    The same with a single dark.

If fewer than `BINS_ENOUGH` bins' worth of good pixels remain (a source over the frame), the fit uses the mean and the
scatter of the (base, amplitude) of the darks as a prior, or the amplitude of exposures close in time (`priors`); with
no pixels left the result is the prior. Then `DarkFit.uses_prior` is True, and the covariance includes the prior.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from sbcdark.catalog.errors import UsageError
from sbcdark.pipeline.detector.defects import block_sum, block_sum_of_bands, find_spikes, hot_values, spike_values
from sbcdark.pipeline.detector.regions import DETECTOR_SHAPE
from sbcdark.pipeline.model.likelihood import Drift, estimate, least_mean
from sbcdark.pipeline.model.priors import Prior, prior_of
from sbcdark.pipeline.model.templates import BIN, BLOCK

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sbcdark.pipeline.detector.defects import Image, Mask
    from sbcdark.pipeline.model.templates import Templates

Tier = Literal["model", "model with neighbours", "scaled mean", "scaled nearest"]

BINS_ENOUGH = 32
"""Bins' worth of good pixels for a fit without a prior: 250 counts of a cold 1000 s dark, which fix its base to
6 %, no better than the 8 % to which other darks predict it."""

GRADIENT_SCATTER = 0.025
"""Relative change of a dark from the detector's centre to its edge, against the templates: 2.6 % in x and 1.5 % in y
beyond Poisson noise in the darks of program 13961, where it wanders slowly within the run."""

EXTRAPOLATION_FREE = 1.5
"""Amplitude relative to that of the hottest template dark up to which the shape of the glow is assumed to hold."""

EXTRAPOLATION_SCATTER = 0.18
"""Relative error of the glow's shape for the amplitude beyond that: the rms misfit, beyond the templates' noise, of 30
hotter darks of program 13961 against templates from the 10 to 13 coolest (tests/benchmarks/extrapolation.py)."""

MISFIT_SIGMA = 3.0
"""A chi-square above this many sigma, which one in 700 good frames has by chance, counts as misfit."""

NO_PRIOR = Prior()

_SIDE = DETECTOR_SHAPE[0] // BIN
_GRADIENTS = (2 * np.indices((_SIDE, _SIDE)) + 1) / _SIDE - 1  # (2, 32, 32): from -1 to 1 along y, and along x


@dataclass(frozen=True, slots=True, eq=False)
class DarkFit:
    """The dark of one exposure.

    Attributes
    ----------
    base, amplitude : float
        count/s/pixel, in the gauge of `templates.Templates`.
    sky : float or None
        Uniform sky in front of the flat, count/s/pixel; None if it was not fitted. It may be negative within its
        error: clipping it would bias the base.
    covariance : ndarray, shape (2, 2) or (3, 3)
        Of (base, amplitude[, sky]), (count/s/pixel)^2; zero for an amplitude that is not fitted.
    chi2_per_dof : float
        Pearson's chi-square of the bins per degree of freedom; NaN without degrees of freedom.
    bins : int
        Number of bins used.
    tier : str
        `model`, `model with neighbours`, `scaled mean` or `scaled nearest`.
    uses_prior : bool
        Whether the darks, or exposures close in time, are a prior because few pixels are good.
    neighbours : tuple of str
        The exposures close in time whose amplitude is the prior.
    free_fraction : float
        Fraction of the detector that the fit uses.
    exptime_s : float
        Exposure time, s.
    hot_y, hot_x : ndarray of int, shape (n,)
        Hot pixels: those of the templates, then the `new_hot` of this exposure, whose counts no dark explains.
    new_hot : int
        Number of hot pixels that the templates do not know.
    hot_rate, hot_error : ndarray, shape (n,)
        Excess of each hot pixel, count/s, and its error.
    hot_own : ndarray of bool, shape (n,)
        Whether that excess is the exposure's own, which removes the pixel from the photometry (error 0: its own counts
        are subtracted).
    influence : ndarray, shape (k, 32, 32)
        Change of each parameter for one more count in each bin, (count/s/pixel)/count.
    block_pixels : ndarray, shape (128, 128)
        Number of pixels used in each 8 x 8 block.
    flat : ndarray, shape (1024, 1024), or None
        The flat used for the fit of the sky.
    extrapolation : float
        Amplitude relative to that of the hottest template dark; 0 if the templates have no glow.
    misfit : float
        Relative error of the shape from the frame's own bins: s of chi2 = dof + s^2 sum(mean), with dof raised by
        `MISFIT_SIGMA` of its own scatter sqrt(2 dof); 0 for a frame that fits.
    beyond : float
        Amplitude outside those of the darks (beyond `EXTRAPOLATION_FREE` times the hottest dark's, or below the
        coldest's), count/s/pixel, else 0.
    """

    base: float
    amplitude: float
    sky: float | None
    covariance: Image
    chi2_per_dof: float
    bins: int
    tier: Tier
    uses_prior: bool
    neighbours: tuple[str, ...]
    free_fraction: float
    exptime_s: float
    hot_y: NDArray[np.intp]
    hot_x: NDArray[np.intp]
    new_hot: int
    hot_rate: Image
    hot_error: Image
    hot_own: Mask
    influence: Image
    block_pixels: Image
    flat: Image | None
    extrapolation: float = 0.0
    beyond: float = 0.0
    misfit: float = 0.0


def _tier(templates: Templates, prior: Prior) -> Tier:
    if templates.glow:
        return "model with neighbours" if prior.neighbours else "model"
    return "scaled mean" if len(templates.darks) > 1 else "scaled nearest"


def fit_dark(
    counts: NDArray[np.generic],
    exptime_s: float,
    templates: Templates,
    good: Mask | None = None,
    *,
    flat: Image | None = None,
    sky: bool = False,
    prior: Prior = NO_PRIOR,
    spikes: Mask | None = None,
) -> DarkFit:
    """Fit base, amplitude and sky of the dark of one exposure.

    Poisson maximum likelihood on 32 x 32-pixel bins; a bin that is partly masked counts with its good pixels. The mean
    is (base L + amplitude G + sky x flat) x exptime, the flat acting on the sky alone. A uniform sky looks nearly like
    the base; with `sky` the base therefore has a Gaussian prior, which the darks predict. All of a fitted sky may be a
    base that has risen since the darks: its size is a further error of both, though not of their sum.
    The difference between the two is as small as the drift of the dark, so with `sky` the dark may also have a
    gradient of `GRADIENT_SCATTER` in y and in x: a nuisance parameter that widens the covariance and is not predicted.
    The dark is never negative: base >= 0, and the amplitude, which may be slightly negative, is kept where
    base L + amplitude G >= 0 in every pixel (a limit at zero would bias the cold frames).

    Parameters
    ----------
    counts : ndarray, shape (1024, 1024)
        Raw counts: an FLT times its flat, or a RAW.
    exptime_s : float
        Exposure time, s.
    templates : Templates
        From `templates.build_templates`.
    good : ndarray of bool, shape (1024, 1024), optional
        False on sources, bad pixels, the aperture. Hot pixels and defective lines are left out anyway.
    flat : ndarray of float64, shape (1024, 1024), optional
        Flat field, about 1; matters with `sky` only.
    sky : bool
        Fit a uniform sky.
    prior : Prior
        What is known beyond the darks: the amplitude of exposures close in time, the scatter of the base between runs.
    spikes : ndarray of bool, shape (1024, 1024), optional
        From `spikes_of`, if they are known already.

    Returns
    -------
    DarkFit

    Raises
    ------
    UsageError
        An array is not a full frame, good pixels hold negative or non-finite counts, or exptime is not positive.
    """
    spikes = spikes_of(counts, exptime_s, templates) if spikes is None else spikes
    use = (templates.good if good is None else templates.good & good) & ~spikes
    if flat is not None:
        use = use & np.isfinite(flat)
    image = np.where(use, counts, 0).astype(np.float64, copy=False)
    if not np.all(np.isfinite(image)) or image.min() < 0:
        raise UsageError("Good pixels hold negative or non-finite counts.", "Mask them, or give raw counts.")

    sums = [block_sum_of_bands(lambda rows: templates.base_map[rows] * use[rows], BIN)]
    if templates.glow:
        sums.append(block_sum_of_bands(lambda rows: templates.glow_map[rows] * use[rows], BIN))
    fitted = [0, 1] if templates.glow else [0]
    if sky:
        sums.append(block_sum(np.where(use, 1.0 if flat is None else flat, 0.0), BIN))
        fitted.append(2)
    binned = np.array(sums) * exptime_s
    filled = block_sum(use, BIN) > 0
    scarce = bool(use.sum() < BINS_ENOUGH * BIN**2)
    design, seen = binned[:, filled], block_sum(image, BIN)[filled]
    amplitude = float(templates.amplitudes.mean()) if prior.amplitude is None else prior.amplitude
    for _ in range(2):  # the error of the expected base depends on the amplitude
        mean, precision = prior_of(templates, prior, amplitude, (sky or scarce, scarce))
        if scarce and sky:
            # So few pixels cannot separate sky and dark: the prior limits the sky to the size of the dark.
            precision[2, 2] = (mean[0] + mean[1]) ** -2
        drift = Drift(_GRADIENTS[:, filled], GRADIENT_SCATTER, max(float(mean[0]), 1e-9)) if sky else None
        full, covariance, influence = estimate(seen, design, fitted, templates, precision, mean, drift)
        amplitude = float(full[1])
    expected = np.maximum(full[fitted] @ design, least_mean(seen, design))
    freedom = int(seen.size) - len(fitted)
    chi2 = float(((seen - expected) ** 2 / expected).sum()) / freedom if freedom > 0 else np.nan
    excess = (chi2 - 1) * freedom - MISFIT_SIGMA * np.sqrt(2 * freedom) if freedom > 0 else 0.0
    misfit = float(np.sqrt(excess / expected.sum())) if excess > 0 else 0.0
    size = 3 if sky else 2
    smooth_rate = full[0] * templates.base_map + full[1] * templates.glow_map
    pixels = np.asarray(counts, dtype=np.float64)
    hot = hot_values(pixels, exptime_s, smooth_rate, templates.hot, templates.good)
    new_y, new_x = np.nonzero(spikes)
    new = np.zeros(0)
    if len(new_y):
        smooth_counts = smooth_rate * exptime_s
        if sky:
            smooth_counts = smooth_counts + full[2] * exptime_s * (1.0 if flat is None else np.nan_to_num(flat))
        new = spike_values(pixels, smooth_counts, spikes)
    hottest = float(templates.amplitudes.max()) if templates.glow else 0.0
    extrapolation = float(full[1]) / hottest if hottest > 0 else 0.0
    if sky:
        rise = min(max(float(full[2]), 0.0), prior.base_scatter * float(mean[0]))
        covariance = _uncertain_base(full, covariance, precision[0, 0] * rise, templates)
    return DarkFit(
        float(full[0]), float(full[1]), float(full[2]) if sky else None, covariance[:size, :size], chi2,
        int(seen.size), _tier(templates, prior), scarce or bool(prior.neighbours), prior.neighbours,
        float(use.mean()), exptime_s, np.append(templates.hot.y, new_y), np.append(templates.hot.x, new_x), len(new_y),
        np.append(hot[0], new / exptime_s), np.append(hot[1], np.zeros(len(new_y))),
        np.append(hot[2], np.ones(len(new_y), dtype=bool)), _spread(influence[:size], filled),
        block_sum(use, BLOCK), flat if sky else None, extrapolation, max(_outside(templates, float(full[1]))), misfit,
    )  # fmt: skip


def spikes_of(counts: NDArray[np.generic], exptime_s: float, templates: Templates) -> Mask:
    """Return the pixels of an exposure that are hot though the darks do not show it, shape (1024, 1024).

    Raises
    ------
    UsageError
        `counts` is not a full frame, or exptime is not positive.
    """
    if np.shape(counts) != DETECTOR_SHAPE or not exptime_s > 0:
        raise UsageError(f"A dark fit needs a full frame of {DETECTOR_SHAPE} pixels and an exposure time.")
    return find_spikes(counts, templates.good)


def _uncertain_base(parameters: Image, covariance: Image, rise: float, templates: Templates) -> Image:
    """Add what is not known of the base to the covariance (3, 3) of a fit with sky.

    The estimate moves by covariance[:, 0] x precision for a change of the expected base; `rise` is that precision times
    the 1-sigma rise of the base since the darks. A frame with less glow than every dark is predicted by warm darks
    that are subtracted from each other, which does not tell base and sky apart, whatever their noise says.
    """
    moved = covariance[:, 0] * rise
    wider = covariance + np.outer(moved, moved)
    if _outside(templates, float(parameters[1]))[1] > 0:
        along = covariance[:, 2] / covariance[2, 2] * parameters[2]
        wider += np.outer(along, along)
    return wider


def _outside(templates: Templates, amplitude: float) -> tuple[float, float]:
    """Return the parts of an amplitude above and below those of the darks, where the shape of the glow is not known.

    Above, `EXTRAPOLATION_FREE` times the hottest dark's is free; below, 3 sigma of the coldest dark's own.
    """
    if not templates.glow:
        return 0.0, 0.0
    least = int(templates.amplitudes.argmin())
    lowest = float(templates.amplitudes[least] - 3 * np.sqrt(templates.covariances[least, 1, 1]))
    return max(amplitude - EXTRAPOLATION_FREE * float(templates.amplitudes.max()), 0.0), max(lowest - amplitude, 0.0)


def _spread(values: Image, filled: Mask) -> Image:
    """Put values (k, m) of the filled bins back in their places (k, ny, nx)."""
    places = np.zeros((len(values), *filled.shape))
    places[:, filled] = values
    return places


def dark_rate(fit: DarkFit, templates: Templates) -> Image:
    """Predict the dark of every pixel, hot pixels and dead rows included.

    Parameters
    ----------
    fit : DarkFit
        From `fit_dark` with these templates.
    templates : Templates
        The templates.

    Returns
    -------
    ndarray of float64, shape (1024, 1024)
        count/s/pixel, as in raw counts: divide by the flat to subtract it from an FLT. Never negative.
    """
    rate = fit.base * templates.base_map + fit.amplitude * templates.glow_map
    rate[fit.hot_y, fit.hot_x] += fit.hot_rate
    return np.asarray(np.maximum(rate, 0.0))
