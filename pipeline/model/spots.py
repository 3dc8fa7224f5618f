"""Bright spots in dark frames: a source, a reflection or persistence that is in one dark and not in the others.

Each dark is compared with what the other darks predict for it at the same place, as the templates do: with
base x L + amplitude x G, L and G from the other darks alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sbcdark.pipeline.detector.regions import DETECTOR_SHAPE
from sbcdark.pipeline.model.sources import SCALES, evidence, kernel_sums
from sbcdark.pipeline.model.templates import SHAPE_SCATTER, build_templates

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sbcdark.pipeline.detector.defects import Image, Mask
    from sbcdark.pipeline.model.templates import DarkFrame, Templates

FALSE_ALARM = 1e-3
"""Maximum chance that a set of darks without spots has one: the sum of the chances of all blocks of all darks."""

_RADIUS = 3.0  # sigma of the Gaussian that finds a spot: 99 % of one as wide
_NOISIEST = 8.0
# Variance of a prediction over that of the dark's own counts: a spot must then be 3 times as bright as with many darks.
_SATURATED = 300.0  # largest value of `evidence`
_COUNT = 16 / 9  # counts under a Gaussian that scatter like one Poisson count (`evidence`, skewed)
_BAND = 2**15  # blocks at a time, so that the sums of all darks fit into the processor's cache


class Spot(NamedTuple):
    """A place of a dark with more counts than the other darks predict.

    Attributes
    ----------
    dark : str
        Root name.
    x, y : int
        Position, 0-based pixels.
    radius_pix : int
        Radius of the circle around it that `counts` and `expected` are sums over.
    counts, expected : float
        Counts, and what the other darks predict.
    sigma : float
        Significance of the counts under the Gaussian that finds the spot.
    """

    dark: str
    x: int
    y: int
    radius_pix: int
    counts: float
    expected: float
    sigma: float


class Comparison(NamedTuple):
    """A set of darks compared with each other.

    Attributes
    ----------
    spots : tuple of Spot
        The brightest spot of each dark that has some. The darks without are the set to use.
    alone : tuple of str
        The darks without a spot whose dark the others do not predict: too few have a glow like theirs.
    """

    spots: tuple[Spot, ...]
    alone: tuple[str, ...]


def compare_darks(darks: Sequence[DarkFrame], templates: Templates) -> Comparison:
    """Find the darks with a spot.

    The counts of a dark under Gaussians of 4, 12 and 32 pixels are compared with a linear combination of those of the
    other darks: the generalised least squares solution without that dark. Its variance is that of their counts, and of
    the drift of the shape of each dark (`Templates.shape_scatter`, at least `SHAPE_SCATTER`). The errors of base and
    amplitude add less than a twentieth to it. A place is a spot if the chance of its counts, times the number of all
    blocks of all darks, is below `FALSE_ALARM`. The dark with the most significant spot is left out, and the others are
    compared again, until none has a spot: a spot raises what is expected of the other darks, and may lower it where
    that dark is subtracted.

    Parameters
    ----------
    darks : sequence of DarkFrame
        The darks.
    templates : Templates
        From `build_templates` of these darks.
    """
    left, spots = list(darks), list[Spot]()
    while True:
        spot, alone = _brightest(left, templates)
        if spot is None:
            return Comparison(tuple(spots), alone)
        spots.append(spot)
        left = [one for one in left if one.rootname != spot.dark]
        templates = build_templates(left)


def _predictors(darks: Sequence[DarkFrame], templates: Templates, usable: Mask) -> tuple[Image, Image]:
    """Return the share of each dark in the counts predicted for each other one (n, n), and the noise of that (n,).

    The noise is the variance of the prediction over that of the dark's own counts, infinite if there is none.
    """
    times = np.array([one.exptime_s for one in darks])
    sums = np.array([float(np.sum(one.counts, where=usable, dtype=np.float64)) for one in darks])
    parameters = np.stack([templates.bases, templates.amplitudes], axis=1)[:, : 1 + templates.glow]
    weighted = parameters * (times**2 / sums)[:, None]
    hat = parameters @ np.linalg.solve(weighted.T @ parameters, weighted.T)
    # The residual of a dark that is left out is its residual over 1 - h (Cook & Weisberg 1982).
    free = 1 - np.diagonal(hat)
    known = free > 1e-6
    shares = np.where(known[:, None], hat / np.where(known, free, 1.0)[:, None], 0.0) * times[:, None] / times
    np.fill_diagonal(shares, 0.0)
    return shares, np.where(known, shares**2 @ sums / sums, np.inf)


def _brightest(darks: Sequence[DarkFrame], templates: Templates) -> tuple[Spot | None, tuple[str, ...]]:
    """Return the most significant spot, and the darks that the others do not predict."""
    usable = np.ones(DETECTOR_SHAPE, dtype=bool)
    # Lines with another response are the same in all darks, and a bright spot looks like some.
    usable[templates.hot.y, templates.hot.x] = False
    shares, noise = _predictors(darks, templates, usable)
    tested = np.flatnonzero(noise <= _NOISIEST)
    alone = tuple(dark.rootname for dark, one in zip(darks, noise, strict=True) if one > _NOISIEST)
    if not len(tested):
        return None, alone
    scales: list[list[Image]] = [[] for _ in SCALES]
    for dark in darks:
        for planes, plane in zip(scales, kernel_sums(dark.counts * usable), strict=True):
            planes.append(plane.ravel().astype(np.float32))
    drift = max(templates.shape_scatter, SHAPE_SCATTER) ** 2
    largest = np.abs(shares[tested]).max(axis=1)[:, None]
    blocks = len(tested) * sum(planes[0].size for planes in scales)
    best = (float(-np.log10(FALSE_ALARM / blocks)), -1, 0, 0)  # evidence, dark, scale, block
    for scale, planes in enumerate(scales):
        for first in range(0, planes[0].size, _BAND):
            seen = np.array([plane[first : first + _BAND] for plane in planes], dtype=np.float64)
            mean = shares[tested] @ seen
            variance = shares[tested] ** 2 @ (seen + drift * seen**2) + drift * mean**2
            # One more count in the dark with the largest share: with one other dark, the exact test of two counts.
            mean += _COUNT * largest
            variance += _COUNT * largest**2
            # A mean that noise makes negative is known to be below its error.
            mean = np.maximum(mean, np.sqrt(variance))
            found = evidence(seen[tested], mean, variance, skewed=True)
            beyond = found >= _SATURATED
            found[beyond] += ((seen[tested] - mean) / np.sqrt(mean + variance))[beyond]
            number, block = np.unravel_index(found.argmax(), found.shape)
            if found[number, block] > best[0]:
                best = (float(found[number, block]), int(tested[number]), scale, first + int(block))
    if best[1] < 0:
        return None, alone
    return _spot(darks, shares[best[1]], *best), alone


def _spot(  # what was found, and where
    darks: Sequence[DarkFrame], shares: Image, found: float, number: int, scale: int, block: int
) -> Spot:
    from scipy.special import ndtri  # noqa: PLC0415  costly to import

    sigma, size = SCALES[scale]
    row, column = divmod(block, DETECTOR_SHAPE[1] // size)
    y, x, radius = row * size + size // 2, column * size + size // 2, round(_RADIUS * sigma)
    rows, columns = np.ogrid[: DETECTOR_SHAPE[0], : DETECTOR_SHAPE[1]]
    # With the pixels that the spot itself makes hot.
    inside = (rows - y) ** 2 + (columns - x) ** 2 <= radius**2
    sums = np.array([float(dark.counts[inside].sum()) for dark in darks])
    significance = found - _SATURATED if found >= _SATURATED else float(-ndtri(10**-found))
    return Spot(darks[number].rootname, x, y, radius, float(sums[number]), float(shares @ sums), significance)
