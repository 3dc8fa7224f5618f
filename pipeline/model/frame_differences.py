"""How far the dark of a science exposure may differ from the darks taken for it, as nearest and mean do."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sbcdark.pipeline.detector.dark_shape import base_map, glow_map
from sbcdark.pipeline.detector.rates import count_error
from sbcdark.pipeline.detector.regions import BOX, QUIET, good_pixels
from sbcdark.pipeline.selection.rules import BASE_SCATTER

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_ENOUGH_PIXELS = 0.02
"""Fraction of the box and of the quiet rows that must be free for a comparison of the glows."""


@dataclass(frozen=True, slots=True)
class FrameDifference:
    """The difference in glow and base of an exposure and the darks taken for it.

    Attributes
    ----------
    glow : float
        Science minus darks in contrast (box minus quiet rows), count/s/pixel; 0 if it is not known.
    glow_err : float
        Its 1-sigma error by the counts of the exposure, count/s/pixel. The counts of the darks have their own error in
        an aperture.
    base_err : float
        1-sigma difference of the bases, count/s/pixel: each scatters by `BASE_SCATTER`.
    """

    glow: float
    glow_err: float
    base_err: float


def frame_difference(
    counts: NDArray[np.generic],
    exptime_s: float,
    good: NDArray[np.bool_],
    darks: NDArray[np.float64],
    number: int,
) -> FrameDifference:
    """Compare an exposure with the darks taken for it.

    Parameters
    ----------
    counts : ndarray, shape (1024, 1024)
        Detector counts of the exposure.
    exptime_s : float
        Exposure time, seconds.
    good : ndarray of bool, shape (1024, 1024)
        Pixels outside flags, apertures and masks.
    darks : ndarray of float64, shape (1024, 1024)
        Mean rate of the darks, count/s/pixel.
    number : int
        Number of darks.

    Returns
    -------
    FrameDifference
        Where too few pixels are free to compare the glows, the error is the whole glow of the darks.
    """
    known = good_pixels()
    use = good & known
    rates, errors, dark_rates, free = [], [], [], []
    for region in (BOX, QUIET):
        inside = use[region.slices]
        pixels = int(inside.sum())
        free.append(pixels / inside.size)
        total = float(np.sum(counts[region.slices], where=inside, dtype=np.float64))
        scale = max(pixels, 1) * exptime_s
        rates.append(total / scale)
        errors.append(count_error(max(total, 0.0)) / scale)
        alike = inside if pixels else known[region.slices]
        dark_rates.append(float(darks[region.slices][alike].mean()))
    base_err = BASE_SCATTER * dark_rates[1] * math.sqrt(1.0 + 1.0 / number)
    contrast = dark_rates[0] - dark_rates[1]
    if min(free) < _ENOUGH_PIXELS:
        return FrameDifference(0.0, max(contrast, 0.0), base_err)
    return FrameDifference(rates[0] - rates[1] - contrast, math.hypot(*errors), base_err)


def difference_variance(differences: Sequence[FrameDifference], weights: Sequence[NDArray[np.float64]]) -> float:
    """Return the variance of a dark in an aperture that comes from the differences of its exposures.

    The glow differs with the shape of the glow, the base with that of the base (`detector.dark_shape`). The exposures
    of a product may share their darks, so that their differences add before they are squared.

    Parameters
    ----------
    differences : sequence of FrameDifference
        One per exposure.
    weights : sequence of ndarray, each of shape (1024, 1024)
        The aperture's weights on detector rates, one per exposure. They may be negative.

    Returns
    -------
    float
        In the unit of (weight x count/s/pixel)^2.
    """
    glows = [float(np.vdot(image, glow_map())) for image in weights]
    bases = [float(np.vdot(image, base_map())) for image in weights]
    glow = sum(one.glow * weight for one, weight in zip(differences, glows, strict=True))
    noise = sum((one.glow_err * weight) ** 2 for one, weight in zip(differences, glows, strict=True))
    base = sum(one.base_err * weight for one, weight in zip(differences, bases, strict=True))
    return glow**2 + noise + base**2
