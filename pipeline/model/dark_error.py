"""The error of a fitted dark: in a pixel, and in an aperture over one or several exposures."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from sbcdark.catalog.errors import UsageError
from sbcdark.pipeline.detector.defects import BANDS, block_sum, smooth
from sbcdark.pipeline.detector.regions import DETECTOR_SHAPE
from sbcdark.pipeline.model.dark_fit import EXTRAPOLATION_SCATTER, DarkFit
from sbcdark.pipeline.model.templates import BIN, BLOCK

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sbcdark.pipeline.detector.defects import Image
    from sbcdark.pipeline.model.templates import Templates


@dataclass(frozen=True, slots=True)
class ApertureDark:
    """The dark in an aperture, count/s, with its 1-sigma error and the parts of the error (added in quadrature)."""

    rate: float
    error: float
    fit_error: float
    template_error: float
    shape_error: float
    hot_error: float


def dark_rate_error(fit: DarkFit, templates: Templates) -> Image:
    """Return the 1-sigma error of `dark_rate` in every pixel: fit, templates, drift of the shape, hot pixels.

    Errors of neighbouring pixels are correlated and do not add in quadrature; for an aperture use `aperture_dark`.

    Parameters
    ----------
    fit : DarkFit
        From `fit_dark` with these templates.
    templates : Templates
        The templates.

    Returns
    -------
    ndarray of float64, shape (1024, 1024)
        count/s/pixel.
    """
    variance = smooth_variance(fit, templates)
    variance[fit.hot_y, fit.hot_x] += fit.hot_error**2
    return np.asarray(np.sqrt(np.maximum(variance, 0.0)))


def smooth_variance(fit: DarkFit, templates: Templates, *, include_sky: bool = False) -> Image:
    """Return the variance of the smooth dark in every pixel: fit, templates, drift of the shape, extrapolation.

    Parameters
    ----------
    fit : DarkFit
        From `fit_dark` with these templates.
    templates : Templates
        The templates.
    include_sky : bool
        Return the variance of dark plus fitted sky, with their covariance.

    Returns
    -------
    ndarray of float64, shape (1024, 1024)
        (count/s/pixel)^2.
    """
    rows_of = variance_of_rows(fit, templates, include_sky=include_sky)
    return np.concatenate([rows_of(rows) for rows in BANDS])


def variance_of_rows(fit: DarkFit, templates: Templates, *, include_sky: bool = False) -> Callable[[slice], Image]:
    """Return a function that gives `smooth_variance` in some rows (a slice of a multiple of `BLOCK`)."""
    theta = (fit.base, fit.amplitude)
    noise = np.zeros_like(templates.block_good)
    for i, j, factor in ((0, 0, 1), (0, 1, 2), (1, 1, 1)):
        covariance, norm = _smoothed_noise(templates, i, j)
        noise += factor * theta[i] * theta[j] * covariance / norm
    return lambda rows: _variance_in(rows, fit, templates, noise, include_sky=include_sky)


def _variance_in(rows: slice, fit: DarkFit, templates: Templates, noise: Image, *, include_sky: bool) -> Image:
    """Return `smooth_variance` in some rows; `noise` is that of the templates in blocks."""
    base, glow = templates.base_map[rows], templates.glow_map[rows]
    # The errors of the shape that are proportional to the rate have the form of a covariance of base and amplitude.
    theta = np.array([fit.base, fit.amplitude])
    cov = fit.covariance[:2, :2] + (templates.shape_scatter**2 + fit.misfit**2) * np.outer(theta, theta)
    variance = base * (cov[0, 0] * base + 2 * cov[0, 1] * glow) + cov[1, 1] * glow**2
    beyond = EXTRAPOLATION_SCATTER * fit.beyond
    if beyond > 0:  # it adds to the scatter of the shape, not in quadrature
        rate = fit.base * base + fit.amplitude * glow
        variance += beyond * (2 * templates.shape_scatter * np.abs(rate * glow) + beyond * glow**2)
    if include_sky and fit.sky is not None:
        flat = np.ones(base.shape) if fit.flat is None else fit.flat[rows]
        sky = np.where(np.isfinite(flat), flat, 0.0)
        with_sky = fit.covariance[2]
        variance += sky * (2 * with_sky[0] * base + 2 * with_sky[1] * glow + with_sky[2] * sky)
    blocks = np.maximum(noise[rows.start // BLOCK : rows.stop // BLOCK], 0.0).repeat(BLOCK, axis=1)
    blocks *= templates.column_response**2
    variance += templates.row_response[rows, None] ** 2 * blocks.repeat(BLOCK, axis=0)
    return np.asarray(np.maximum(variance, 0.0))


def template_errors(templates: Templates) -> tuple[Image, Image]:
    """Return the 1-sigma Poisson errors of L and of G in blocks of 8 x 8 pixels; neighbours are correlated.

    Returns
    -------
    base_error, glow_error : ndarray of float64, shape (128, 128)
        Dimensionless, as `Templates.base_map` and `Templates.glow_map`; NaN where no pixel is good.
    """
    errors = []
    for which in (0, 1):
        covariance, norm = _smoothed_noise(templates, which, which)
        errors.append(np.where(templates.block_good > 0, np.sqrt(np.maximum(covariance / norm, 0.0)), np.nan))
    return errors[0], errors[1]


@lru_cache(maxsize=3)  # each round of a fit asks for the three of its templates
def _smoothed_noise(templates: Templates, first: int, second: int) -> tuple[Image, Image]:
    """Return the covariance of two smoothed templates (0: L, 1: G) in blocks, and the norm to divide it by."""
    sigmas = np.array(templates.smoothing) / BLOCK
    norms = [_convolve(templates.block_good, sigmas[which]) for which in (first, second)]
    covariance = _convolve_product(templates.noise[first + second], sigmas[first], sigmas[second])
    return covariance, np.maximum(norms[0] * norms[1], 1e-12)


def _convolve(blocks: Image, sigma: float) -> Image:
    """Smooth by a sigma in blocks, or not at all."""
    return smooth(blocks, sigma) if sigma > 0 else blocks


def _convolve_product(blocks: Image, first: float, second: float) -> Image:
    """Convolve with the product of two normalised Gaussians: a Gaussian of their harmonic sigma times a factor."""
    if first == 0 or second == 0:
        return blocks * (1.0 if first == second else 1 / (2 * np.pi * max(first, second) ** 2))
    narrow = first * second / np.hypot(first, second)
    return np.asarray(smooth(blocks, narrow) * narrow**2 / (2 * np.pi * first**2 * second**2))


def aperture_dark(
    exposures: Sequence[tuple[DarkFit, Image]],
    templates: Templates,
    *,
    include_sky: bool = False,
    include_dark: bool = True,
) -> ApertureDark:
    """Predict the dark in an aperture over one or several exposures that share their templates.

    The rate is sum_e sum_p W_ep rate_ep. Its error has four parts. The fit error is independent between
    exposures, T' C T with T = sum_p W_p (L, G[, flat])_p. The template error is common: each prediction is a linear
    combination sum_j c_j K N_j of the darks' counts N_j (K the smoothing), so the coefficients add over the
    exposures before they are squared, var = sum_q (sum_e c_ej K' (W_e - H_e))_q^2 N_jq, where H_e is the effect of
    the same template error through the fit of exposure e (its linear influence). The error of the hot pixels is
    independent. The slow drift of the dark's shape, `Templates.shape_scatter` times the rate, is treated as common to
    the exposures and to the whole aperture: it persists over some frames and over 256 pixels. The same holds for the
    error of the shape of a glow far beyond that of the darks, `EXTRAPOLATION_SCATTER` times the excess, and for the
    error from the misfit of the frame itself (`DarkFit.misfit`).

    Parameters
    ----------
    exposures : sequence of (DarkFit, ndarray of float64, shape (1024, 1024))
        Fits and native weight images W of the aperture; divided by the flat for the rate in an FLT.
    templates : Templates
        The templates that every fit was made with.
    include_sky : bool
        Add the fitted sky, sum_p W_p flat_p sky, with its covariance: base and sky are each less certain than
        their sum.
    include_dark : bool
        False, with `include_sky`, gives the sky alone.

    Returns
    -------
    ApertureDark
        count/s.

    Raises
    ------
    UsageError
        A weight image is not a full frame.
    """
    rate = fit_variance = shape_error = hot_variance = 0.0
    blocks = np.zeros((2, *templates.block_good.shape))
    response = np.outer(templates.row_response, templates.column_response)
    for fit, weights in exposures:
        if weights.shape != DETECTOR_SHAPE:
            raise UsageError(f"An aperture's weights must be a full frame of {DETECTOR_SHAPE} pixels.")
        sums = np.zeros(len(fit.covariance))
        if include_dark:
            sums[0], sums[1] = (weights * templates.base_map).sum(), (weights * templates.glow_map).sum()
        smooth_rate = fit.base * float(sums[0]) + fit.amplitude * float(sums[1])
        at_hot = weights[fit.hot_y, fit.hot_x] * include_dark
        rate += smooth_rate + float((at_hot * fit.hot_rate).sum())
        shape = templates.shape_scatter * abs(smooth_rate)
        shape += EXTRAPOLATION_SCATTER * fit.beyond * abs(float(sums[1]))
        shape_error += float(np.hypot(shape, fit.misfit * smooth_rate))
        if include_sky and fit.sky is not None:
            sums[2] = weights.sum() if fit.flat is None else (weights * np.where(weights != 0, fit.flat, 0.0)).sum()
            rate += float(sums[2]) * fit.sky
        fit_variance += float(sums @ fit.covariance @ sums)
        through_fit = np.kron(np.tensordot(sums, fit.influence, 1), np.ones((BIN // BLOCK, BIN // BLOCK)))
        direct = block_sum(weights * response, BLOCK) * include_dark - through_fit * fit.block_pixels * fit.exptime_s
        blocks += np.array([fit.base, fit.amplitude])[:, None, None] * direct
        hot_variance += float(((at_hot * fit.hot_error) ** 2).sum())
    back = []
    for block, sigma in zip(blocks, templates.smoothing, strict=True):
        norm = np.maximum(_convolve(templates.block_good, sigma / BLOCK), 1e-12)
        back.append(_convolve(block / norm, sigma / BLOCK))
    noise = templates.noise
    template_variance = float(
        (back[0] ** 2 * noise[0] + 2 * back[0] * back[1] * noise[1] + back[1] ** 2 * noise[2]).sum()
    )
    parts = (fit_variance**0.5, max(template_variance, 0.0) ** 0.5, shape_error, hot_variance**0.5)
    return ApertureDark(rate, float(np.linalg.norm(parts)), *parts)
