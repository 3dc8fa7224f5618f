"""Detector defects in summed counts: hot pixels, and rows and columns with a different response."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sbcdark.pipeline.detector.regions import DETECTOR_SHAPE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    Image = NDArray[np.float64]
    Mask = NDArray[np.bool_]

BAND = 64
"""Rows that are computed at a time: what is computed in between then fits into the processor's cache."""

BANDS = tuple(slice(first, first + BAND) for first in range(0, DETECTOR_SHAPE[0], BAND))

_PIXEL_CHANCE = 1e-9  # Poisson probability of a false hot pixel: 0.001 expected on 2^20 pixels
_LINE_SIGMA = 5.0  # 2048 lines: 0.001 false ones expected
_SHARPEST = 5.0  # a source's central pixel over the mean of its 8 neighbours; a PSF of FWHM 2 pixels gives 2.7

_CENTRAL = 0.25  # the central pixel's share of the 3 x 3 pixels of a PSF with a FWHM of 2 pixels
_SPIKE_CHANCE = 2e-4
_FEWEST = 3  # counts of a pixel without neighbours that reach neither chance


@dataclass(frozen=True, slots=True, eq=False)
class HotPixels:
    """Pixels with counts that a smooth dark does not explain.

    Attributes
    ----------
    y, x : ndarray of int, shape (n,)
        Positions, 0-based.
    rate : ndarray, shape (n,)
        Mean excess over the smooth dark, count/s.
    scatter : ndarray, shape (n,)
        Scatter of the excess between darks beyond Poisson noise, count/s; for one dark, the rate itself.
    error : ndarray, shape (n,)
        Standard error of the mean excess, count/s.
    """

    y: NDArray[np.intp]
    x: NDArray[np.intp]
    rate: Image
    scatter: Image
    error: Image


def block_sum(image: NDArray[np.generic], size: int) -> Image:
    """Sum an image (ny, nx) over square blocks of `size` pixels (a divisor of both): shape (ny // size, nx // size)."""
    ny, nx = image.shape
    rows = image.reshape(ny // size, size, nx).sum(axis=1, dtype=np.float64)
    if size < 8:  # numpy adds so few in the same order, but three times as slowly
        total = rows[:, ::size].copy()
        for column in range(1, size):
            total += rows[:, column::size]
        return np.asarray(total)
    return np.asarray(rows.reshape(ny // size, nx // size, size).sum(axis=2))


def block_sum_of_bands(rows_of: Callable[[slice], NDArray[np.generic]], size: int) -> Image:
    """Return `block_sum` of a frame that is computed in bands of rows, which fit into the processor's cache.

    Parameters
    ----------
    rows_of : callable
        Returns some rows of the frame, shape (n, 1024).
    size : int
        Side of the blocks in pixels, a divisor of `BAND`.

    Returns
    -------
    ndarray of float64, shape (1024 // size, 1024 // size)
    """
    return np.concatenate([block_sum(rows_of(rows), size) for rows in BANDS])


def smooth(image: Image, sigma: float) -> Image:
    """Convolve an image (ny, nx) with a Gaussian truncated at 4 sigma (in pixels), with zeros outside."""
    from scipy.ndimage import gaussian_filter  # noqa: PLC0415  slow to import

    return np.asarray(gaussian_filter(image, sigma, mode="constant", truncate=4.0))


def poisson_chance(counts: Image, expected: Image) -> Image:
    """Return the Poisson probability of `counts` or more for the mean `expected`; both of the same shape.

    Counts may be real numbers (effective counts of a smoothed image); the incomplete gamma function continues the
    Poisson sum.
    """
    from scipy.special import gammainc  # noqa: PLC0415  slow to import

    return np.where(counts > 0, gammainc(np.maximum(counts, 1e-9), expected), 1.0)


def _line_response(total: Image, good: Mask, axis: int) -> Image:
    """Return the response of each row (axis 1) or column (axis 0) relative to its neighbours; 1 if within 5 sigma."""
    from scipy.ndimage import gaussian_filter1d  # noqa: PLC0415  slow to import

    counts, pixels = (total * good).sum(axis=axis), good.sum(axis=axis, dtype=np.float64)
    normal = np.ones(len(counts), dtype=bool)
    for _ in range(5):
        weights = gaussian_filter1d(np.where(normal, pixels, 0.0), 8.0, mode="constant")
        expected = gaussian_filter1d(np.where(normal, counts, 0.0), 8.0, mode="constant")
        expected = np.maximum(pixels * expected / np.maximum(weights, 1e-12), 1.0)
        now = np.abs(counts - expected) <= _LINE_SIGMA * np.sqrt(expected)
        if np.array_equal(now, normal):
            break
        normal = now
    return np.where(normal, 1.0, counts / expected)


def find_defects(total: Image) -> tuple[Mask, Image, Image]:
    """Return hot pixels, and the response of rows and columns, in summed counts; each hides the other, so iterate."""
    hot, row, column = np.zeros(DETECTOR_SHAPE, dtype=bool), np.ones(1024), np.ones(1024)
    for _ in range(6):
        clean = ~hot & (row == 1)[:, None] & (column == 1)
        expected = smooth(total * clean, 8.0) / np.maximum(smooth(clean.astype(np.float64), 8.0), 1e-12)
        expected *= np.maximum(np.outer(row, column), 1e-3)
        now = np.zeros_like(hot)
        candidates = total > expected + 3 * np.sqrt(expected) + 1
        now[candidates] = poisson_chance(total[candidates], expected[candidates]) < _PIXEL_CHANCE
        row, column = _line_response(total, ~now, 1), _line_response(total, ~now, 0)
        if np.array_equal(now, hot):
            break
        hot = now
    return hot, row, column


def measure_hot(mask: Mask, counts: Sequence[NDArray[np.generic]], smooth_rates: Image, times: Image) -> HotPixels:
    """Measure the excess of each hot pixel over the smooth dark (n darks, n pixels): mean, scatter, error."""
    y, x = np.nonzero(mask)
    seen = np.array([c[y, x] for c in counts], dtype=np.float64).reshape(len(counts), len(y))
    excess = seen / times[:, None] - smooth_rates
    rate = np.maximum((excess * times[:, None]).sum(axis=0) / times.sum(), 0.0)
    poisson = seen.sum(axis=0) / times.sum() ** 2
    if len(times) == 1:
        scatter = rate.copy()
    else:
        scatter = np.sqrt(np.maximum(excess.var(axis=0, ddof=1) - (seen / times[:, None] ** 2).mean(axis=0), 0.0))
    return HotPixels(y, x, rate, scatter, np.sqrt(poisson + scatter**2 / len(times)))


def hot_values(
    counts: Image, exptime_s: float, smooth_rate: Image, hot: HotPixels, good: Mask
) -> tuple[Image, Image, Mask]:
    """Return the excess of each hot pixel, its error, and whether it comes from the exposure itself.

    The exposure's own value is used where the other darks predict it worse than Poisson noise (their scatter in this
    time exceeds the square root of the counts), and where it stands out from its neighbours more than any source could
    (above `_SHARPEST` times their mean excess, taken 3 sigma high) or lies below the mean of the darks, to which a
    source could only add. The mean excess of the neighbours stays in the frame, like a source interpolated across the
    pixel. A star on a hot pixel shows in the neighbours, so it is not subtracted.
    """
    rate, error = hot.rate.copy(), np.hypot(hot.scatter, hot.error)
    own = np.zeros(len(rate), dtype=bool)
    for i, (y, x) in enumerate(zip(hot.y, hot.x, strict=True)):
        if not np.isfinite(counts[y, x]) or hot.scatter[i] * exptime_s <= np.sqrt(max(counts[y, x], 1.0)):
            continue
        ring = (slice(max(y - 1, 0), y + 2), slice(max(x - 1, 0), x + 2))
        clean = good[ring] & np.isfinite(counts[ring])
        if clean.sum() < 3:  # of 8 neighbours: within a cluster of hot pixels, use a wider ring
            ring = (slice(max(y - 2, 0), y + 3), slice(max(x - 2, 0), x + 3))
            clean = good[ring] & np.isfinite(counts[ring])
        if not clean.any():
            continue
        seen = float(counts[ring][clean].sum())
        expected = float(smooth_rate[ring][clean].sum()) * exptime_s
        source = max(seen - expected, 0.0) / clean.sum()
        highest = (max(seen - expected, 0.0) + 3 * np.sqrt(seen + 1)) / clean.sum()
        excess = counts[y, x] - smooth_rate[y, x] * exptime_s
        if excess > _SHARPEST * highest or excess < hot.rate[i] * exptime_s:
            rate[i], error[i], own[i] = max(excess - source, 0.0) / exptime_s, 0.0, True
    return rate, error, own


def find_spikes(counts: NDArray[np.generic], good: Mask) -> Mask:
    """Find pixels of one exposure that are hot though the darks do not show it.

    Their counts have a Poisson chance below 1e-9 for the mean of the surrounding 8 x 8 blocks, and a chance below 2e-4
    to lie in one of 3 x 3 pixels if a point source gave them: the central pixel of a PSF with a FWHM of 2 pixels holds
    a quarter, that of the SBC's less. One star in 5,000 is mistaken for a spike at most.

    Parameters
    ----------
    counts : ndarray, shape (1024, 1024)
        Raw counts; 0 or NaN on pixels without data.
    good : ndarray of bool, shape (1024, 1024)
        False on hot pixels and defective lines that the darks show.

    Returns
    -------
    ndarray of bool, shape (1024, 1024)
    """
    from scipy.special import betainc  # noqa: PLC0415  slow to import

    image = np.where(good & np.isfinite(counts), counts, 0)
    spikes = np.zeros(image.shape, dtype=bool)
    y, x = np.nonzero(image > _FEWEST)
    if not len(y):
        return spikes
    level = smooth(block_sum(image, 8), 1.0) / np.maximum(smooth(block_sum(good, 8), 1.0), 1e-12)
    mean = level[y // 8, x // 8]
    likely = poisson_chance(image[y, x].astype(np.float64), mean) < _PIXEL_CHANCE
    for row, column in zip(y[likely], x[likely], strict=True):
        number, others = float(image[row, column]), _neighbours(image, good, row, column)[0]
        # The upper tail of the binomial distribution (Abramowitz & Stegun 26.5.24).
        spikes[row, column] = betainc(number, others + 1, _CENTRAL) < _SPIKE_CHANCE
    return spikes


def spike_values(counts: Image, smooth_counts: Image, spikes: Mask) -> Image:
    """Return the excess counts (n,) of each spike over its neighbours' mean excess and the smooth background (ny, nx).

    What remains is the neighbours' mean, like a source interpolated across the pixel.
    """
    excess, elsewhere = counts - smooth_counts, ~spikes
    found = []
    for row, column in zip(*np.nonzero(spikes), strict=True):
        others, known = _neighbours(excess, elsewhere, row, column)
        source = max(others, 0.0) / max(known, 1)
        found.append(max(float(excess[row, column]) - source, 0.0))
    return np.array(found, dtype=np.float64)


def _neighbours(image: Image, good: Mask, row: int, column: int) -> tuple[float, int]:
    """Sum of the good neighbours of a pixel, and their number."""
    ring = (slice(max(row - 1, 0), row + 2), slice(max(column - 1, 0), column + 2))
    use = good[ring] & np.isfinite(image[ring])
    use[row - ring[0].start, column - ring[1].start] = False
    return float(image[ring][use].sum()), int(use.sum())
