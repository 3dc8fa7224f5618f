"""The dark-subtracted product: science minus dark on one grid, and its error in each pixel."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sbcdark.pipeline.detector.defects import smooth

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from sbcdark.pipeline.drizzling.drizzled_product import DrizzledProduct
    from sbcdark.pipeline.estimation.science_frames import ScienceInput


_BAND = 64
"""Rows that are computed at a time, to save memory."""

_SMOOTH_PIX = 3.0
_ENOUGH = 10.0  # counts from which the variance is the count itself


def variance_planes(inputs: Sequence[ScienceInput]) -> list[NDArray[np.float64]]:
    """Return the counting variance of each exposure in the form that `Drizzler.resample` averages over exposures.

    The variance of a native rate r = N / (flat t) is N / (flat t)^2, with the expected counts for N, since a pixel
    without counts still has noise. The expected counts are the counts themselves from 10 on, else their mean under a
    Gaussian of 3 pixels, which is unbiased on a flat background.

    Parameters
    ----------
    inputs : sequence of ScienceInput
        The exposures.

    Returns
    -------
    list of ndarray of float64, shape (1024, 1024)
        Variance of the flat-fielded counts.
    """
    planes: list[NDArray[np.float64]] = []
    norm, good = np.zeros(0), np.zeros(0, dtype=bool)
    for one in inputs:
        counts = one.counts
        if not np.array_equal(one.good, good):  # the exposures of a visit mostly have the same bad pixels
            good = one.good
            norm = np.maximum(smooth(good.astype(np.float64), _SMOOTH_PIX), 1e-3)
        mean = smooth(counts, _SMOOTH_PIX) / norm
        floor = 0.1 * float(counts[one.good].mean()) if one.good.any() else 0.0
        expected = np.where(counts >= _ENOUGH, counts, np.maximum(mean, floor))
        planes.append(one.flat_fielded(one.flat_fielded(expected)))
    return planes


def net_error(
    variance: NDArray[np.float32], dark_error: NDArray[np.float32], product: DrizzledProduct
) -> NDArray[np.float32]:
    """Return the 1-sigma error of science minus dark in each product pixel.

    A product pixel is a weighted mean of the native pixels beneath it. For a product pixel of s times the native
    size along an axis, the mean square of its weights, over all positions of the two grids, is 1 - s / 3 along that
    axis (Fruchter & Hook 2002, PASP 114, 144, section 7) for drops of the native size; `_mean_square` has it for
    others. Neighbouring pixels share native counts: use the aperture errors of the photometry for the error of a sum.

    Parameters
    ----------
    variance : ndarray of float32, shape (ny, nx)
        `variance_planes`, resampled.
    dark_error : ndarray of float32, shape (ny, nx)
        Error of the masterdark, count/s.
    product : DrizzledProduct
        The science product.

    Returns
    -------
    ndarray of float32, shape (ny, nx)
        count/s; NaN where no pixel has weight.
    """
    frame = product.frames[0]
    along_x, along_y = frame.native_x, frame.native_y
    drop_x, drop_y = frame.drop_sides()
    share = _mean_square(along_x, drop_x) * _mean_square(along_y, drop_y)
    scale = frame.rate_scale**2 * share
    error = np.empty_like(dark_error)
    with np.errstate(divide="ignore", invalid="ignore"):
        for first in range(0, len(error), _BAND):
            rows = slice(first, first + _BAND)
            time = product.weight[rows].astype(np.float64) * along_x * along_y
            counting = scale * np.maximum(variance[rows], 0.0) / time
            error[rows] = np.sqrt(counting + dark_error[rows].astype(np.float64) ** 2)
    error[product.weight == 0] = np.nan
    return error


def _mean_square(native: float, drop: float) -> float:
    """Return the mean square of a product pixel's weights along one axis, relative to its weight, over all positions.

    Drops of one frame, `drop` wide and `native` apart (in product pixels), overlap the product pixel by a_i of their
    width; the variance of sum(a_i r_i) / sum(a_i) is that of a native rate times sum(a_i^2) / sum(a_i)^2, and the
    weight of the pixel is sum(a_i).

    Parameters
    ----------
    native, drop : float
        The distance of native pixels and the width of their drops, product pixels; a drop of 0 is a point.
    """
    if drop == native >= 1:
        return 1 - 1 / (3 * native)
    places = native * (np.arange(2000) + 0.5) / 2000
    centres = places[:, None] + native * np.arange(-int(2 / native) - 3, int(2 / native) + 4)
    if drop == 0:
        inside = (np.abs(centres) <= 0.5).astype(np.float64)
    else:
        ends = np.minimum(centres + drop / 2, 0.5) - np.maximum(centres - drop / 2, -0.5)
        inside = np.clip(ends, 0.0, None) / drop
    total = inside.sum(axis=1)
    some = total > 0
    return float(native * ((inside**2).sum(axis=1)[some] / total[some]).mean())
