"""Detection of sources above dark and sky in a science exposure, to mask them in the fit of the dark."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sbcdark.pipeline.detector.defects import block_sum, block_sum_of_bands, smooth
from sbcdark.pipeline.detector.regions import DETECTOR_SHAPE
from sbcdark.pipeline.model.dark_error import variance_of_rows
from sbcdark.pipeline.model.dark_fit import NO_PRIOR, fit_dark, spikes_of
from sbcdark.pipeline.model.priors import base_variance
from sbcdark.pipeline.model.templates import BIN

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from sbcdark.pipeline.detector.defects import Image, Mask
    from sbcdark.pipeline.model.dark_fit import DarkFit
    from sbcdark.pipeline.model.priors import Prior
    from sbcdark.pipeline.model.templates import Templates

SCALES = ((4.0, 2), (12.0, 4), (32.0, 8))
"""Sigma and side of the blocks (pixels) of the Gaussians of a search: a compact source, a galaxy, its halo."""

_MASK_CHANCE = 1e-5  # 2^20 / (4 pi 4^2) = 5200 independent cells in all: 0.05 false ones per frame

_FAINTEST = 0.1

_ROUNDS = 10  # a mask converges after 2 or 3


def _chance(counts: Image, mean: Image, variance: Image) -> Image:
    """Chance of `counts` or more: Poisson with a mean that is itself uncertain, Gamma with that variance.

    That is the upper tail of a negative binomial with r = mean^2 / variance, I_p(counts, r) with
    p = mean / (mean + r) (Abramowitz & Stegun 26.5.26), which approaches Poisson's for large r.
    """
    from scipy.special import betainc  # noqa: PLC0415  costly to import

    # A relative variance of 1e-9 is Poisson's within rounding for any counts here.
    shape = 1 / np.maximum(variance / mean**2, 1e-9)
    return np.where(counts > 0, betainc(np.maximum(counts, 1e-9), shape, mean / (mean + shape)), 1.0)


def evidence(seen: Image, mean: Image, variance: Image, *, skewed: bool = False) -> Image:
    """Return -log10 of the chance of as many counts under a Gaussian (`kernel_sums`), up to 300; 0 below 3 sigma.

    Parameters
    ----------
    seen, mean, variance : ndarray, all of one shape
        Counts, what is expected, and the variance of that expectation.
    skewed : bool
        Whether the chance includes the skewness of a Gaussian's sums, which is 4/3 of Poisson's. Without it a chance of
        1e-5 is up to 4 times too small, which the masks of sources allow for; one of 1e-10 is up to 100 times too
        small. With it both hold within a factor of 2 for means from 0.1 to 1000.
    """
    found = np.zeros(seen.shape)
    # The upper Poisson tail is heavier than a Gaussian's: below 3 sigma the chance is at least 1e-3.
    likely = seen > mean + 3 * np.sqrt(mean + variance)
    counts, expected, spread = seen[likely], mean[likely], variance[likely]
    if skewed:  # a multiple of Poisson counts plus a constant, with the same mean, variance and skewness
        counts, expected, spread = (counts - expected / 4) * 3 / 4, expected * 9 / 16, spread * 9 / 16
    found[likely] = -np.log10(np.maximum(_chance(counts, expected, spread), 1e-300))
    return found


def source_mask(
    counts: NDArray[np.generic],
    expected: Image,
    good: Mask | None = None,
    error: Image | None = None,
) -> Mask:
    """Detect sources where smoothed counts exceed dark plus sky, with the error of the model included.

    Gaussians of 4, 12 and 32 pixels sum the counts of 200, 1,800 and 12,900 pixels (4 pi sigma^2); the chance of as
    many counts is that of a negative binomial: Poisson's with the error of the model. Segments with a chance under 1e-5
    are grown by sigma (a barely detected Gaussian source extends about that far beyond them).

    Parameters
    ----------
    counts : ndarray, shape (1024, 1024)
        Raw counts.
    expected : ndarray of float64, shape (1024, 1024)
        Expected counts without sources.
    good : ndarray of bool, shape (1024, 1024), optional
        False on excluded pixels: hot pixels, defective lines.
    error : ndarray of float64, shape (1024, 1024), optional
        Error of `expected`, counts, common to the pixels under a kernel; none by default.

    Returns
    -------
    ndarray of bool, shape (1024, 1024)
        True on sources.
    """
    return _Search(counts, good).mask(lambda rows: expected[rows], None if error is None else lambda rows: error[rows])


class _Search:
    """The search for sources in one exposure, for several expectations.

    Parameters
    ----------
    counts, good
        As for `source_mask`.
    """

    def __init__(self, counts: NDArray[np.generic], good: Mask | None) -> None:
        self._use = np.ones(DETECTOR_SHAPE) if good is None else good.astype(np.float64)
        image = np.where(self._use > 0, counts, 0).astype(np.float64)
        self._seen = kernel_sums(image)

    def mask(self, expected: Callable[[slice], Image], error: Callable[[slice], Image] | None) -> Mask:
        """Return `source_mask`; the expectation and its error are given as functions of a band of rows."""
        from scipy.ndimage import distance_transform_edt  # noqa: PLC0415  costly to import

        mask = np.zeros(DETECTOR_SHAPE, dtype=bool)
        model = self._sums(expected)
        spread = [np.zeros_like(one) for one in model] if error is None else self._sums(error)
        for (sigma, size), seen, expects, common in zip(SCALES, self._seen, model, spread, strict=True):
            segments = evidence(seen, np.maximum(expects, 1e-3), common**2) > -np.log10(_MASK_CHANCE)
            if segments.any():
                near = distance_transform_edt(~segments) <= sigma / size
                mask |= near.repeat(size, axis=0).repeat(size, axis=1)
        return mask

    def _sums(self, rows_of: Callable[[slice], Image]) -> list[Image]:
        return _smoothed(block_sum_of_bands(lambda rows: rows_of(rows) * self._use[rows], SCALES[0][1]))


def kernel_sums(image: NDArray[np.generic]) -> list[Image]:
    """Return the sums of an image (1024, 1024) under the Gaussians of `SCALES`, each on its blocks.

    They are normalised so that the variance of Poisson counts equals their mean: counts of 4 pi sigma^2 pixels.
    """
    return _smoothed(block_sum(image, SCALES[0][1]))


def _smoothed(blocks: Image) -> list[Image]:
    """Return `kernel_sums` of an image from its sums over the smallest blocks."""
    found: list[Image] = []
    side = SCALES[0][1]
    for sigma, size in SCALES:
        if size > side:
            blocks, side = block_sum(blocks, size // side), size
        found.append(smooth(blocks, sigma / size) * (4 * np.pi * (sigma / size) ** 2))
    return found


def sources_above(
    counts: NDArray[np.generic],
    exptime_s: float,
    templates: Templates,
    good: Mask,
    prior: Prior,
    flat: Image | None = None,
) -> Mask:
    """Detect sources above the dark that the neighbours predict, where a fit to the whole frame takes them for a glow.

    A planet over half of the frame is fitted as a huge glow. It stands out above the dark of the neighbours and the sky
    of the faintest tenth of the 32 x 32-pixel bins.

    Parameters
    ----------
    counts, exptime_s, templates, good, flat
        As for `fit_dark`.
    prior : Prior
        With an amplitude.

    Returns
    -------
    ndarray of bool, shape (1024, 1024)
        True on sources.
    """
    use = templates.good & good
    transmission = np.ones(DETECTOR_SHAPE) if flat is None else np.where(np.isfinite(flat), flat, 0.0)
    base, amplitude = float(templates.bases.mean()), max(prior.amplitude or 0.0, 0.0)
    dark = np.maximum(base * templates.base_map + amplitude * templates.glow_map, 0.0) * exptime_s
    seen, expected, area = (block_sum(np.where(use, image, 0), BIN) for image in (counts, dark, transmission))
    # A bin of a quarter of its pixels or more has counts enough for its tenth of the bins.
    filled = area > 0.25 * BIN**2
    sky = max(float(np.quantile((seen - expected)[filled] / area[filled], _FAINTEST)), 0.0) if filled.any() else 0.0
    error = (
        np.hypot(
            np.sqrt(base_variance(templates, amplitude)) * np.abs(templates.base_map),
            (prior.amplitude_error or 0.0) * np.abs(templates.glow_map),
        )
        * exptime_s
    )
    return source_mask(counts, dark + sky * transmission, use, error)


def fit_dark_with_sources(
    counts: NDArray[np.generic],
    exptime_s: float,
    templates: Templates,
    good: Mask | None = None,
    *,
    flat: Image | None = None,
    sky: bool = False,
    prior: Prior = NO_PRIOR,
    known: Mask | None = None,
) -> tuple[DarkFit, Mask]:
    """Fit the dark and mask sources in turns until the mask converges: a bright source hides the wings of a faint one.

    Each round detects the sources again, so false sources of a poor first fit are released.

    Parameters
    ----------
    counts, exptime_s, templates, good, flat, sky, prior
        As for `fit_dark`.
    known : ndarray of bool, shape (1024, 1024), optional
        Sources to begin with; none by default.

    Returns
    -------
    fit : DarkFit
        Fitted outside the sources.
    sources : ndarray of bool, shape (1024, 1024)
        True on sources.
    """
    start = templates.good if good is None else templates.good & good
    spikes = spikes_of(counts, exptime_s, templates)
    search = _Search(counts, start)
    transmission = None if flat is None else np.where(np.isfinite(flat), flat, 0.0)

    def outside(sources: Mask) -> DarkFit:
        use = start & ~sources
        return fit_dark(counts, exptime_s, templates, use, flat=flat, sky=sky, prior=prior, spikes=spikes)

    sources = np.zeros(DETECTOR_SHAPE, dtype=bool) if known is None else known
    fit = outside(sources)
    seen: list[Mask] = []
    for _ in range(_ROUNDS):
        found = search.mask(*_expectation(fit, templates, transmission))
        if np.array_equal(found, sources):
            break
        if any(np.array_equal(found, earlier) for earlier in seen):
            # The rounds alternate: exclude the sources of both from the fit, and stop.
            sources |= found
            fit = outside(sources)
            break
        seen.append(sources)
        sources = found
        fit = outside(sources)
    return fit, sources


def _expectation(
    fit: DarkFit, templates: Templates, transmission: Image | None
) -> tuple[Callable[[slice], Image], Callable[[slice], Image]]:
    """Return the counts of dark and sky that a fit expects, and their error, as functions of a band of rows."""
    variance = variance_of_rows(fit, templates, include_sky=True)

    def expected(rows: slice) -> Image:
        rate = fit.base * templates.base_map[rows] + fit.amplitude * templates.glow_map[rows]
        if fit.sky is not None:
            rate += fit.sky * (1.0 if transmission is None else transmission[rows])
        return np.asarray(np.maximum(rate, 0.0) * fit.exptime_s)

    return expected, lambda rows: np.sqrt(variance(rows)) * fit.exptime_s
