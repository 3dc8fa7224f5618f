"""The glow at a reference temperature: what makes darks of different temperatures comparable over the years."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

REFERENCE_C = 27.0
"""The reference temperature, C: the middle of the range in which the glow is strong and darks are taken."""

WINDOW_C = 1.5
"""Darks of a fit are within this of the reference. Over the whole range ln(glow) is not a straight line."""

LEAST_DARKS = 3
LEAST_SPREAD_C = 0.5
"""The fewest darks that show a scatter about a line, and the least range of temperature (two steps of the sensor)."""

_LEAST_SIGMA = 3.0


@dataclass(frozen=True, slots=True)
class ReferenceGlow:
    """The glow that darks have at `REFERENCE_C`.

    Attributes
    ----------
    contrast_count_s_pix : float
        Contrast at the reference temperature, count/s/pixel.
    scatter : float
        Standard deviation of ln(contrast) of single darks about the line: temperature alone does not tell the glow, so
        this is how far a dark at the reference temperature may be from `contrast_count_s_pix`.
    slope_per_c : float
        Change of ln(contrast) per C.
    darks : int
        Number of darks of the fit.
    """

    contrast_count_s_pix: float
    scatter: float
    slope_per_c: float
    darks: int

    @property
    def low_count_s_pix(self) -> float:
        """Lower end of the scatter, count/s/pixel."""
        return self.contrast_count_s_pix * math.exp(-self.scatter)

    @property
    def high_count_s_pix(self) -> float:
        """Upper end of the scatter, count/s/pixel."""
        return self.contrast_count_s_pix * math.exp(self.scatter)

    def carried(self, temperature_c: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the factors that carry contrasts along the line to the reference; NaN for darks outside the window."""
        away = REFERENCE_C - np.asarray(temperature_c, dtype=np.float64)
        return np.where(np.abs(away) <= WINDOW_C, np.exp(self.slope_per_c * away), np.nan)


def reference_glow(
    temperature_c: NDArray[np.float64], contrast: NDArray[np.float64], error: NDArray[np.float64]
) -> ReferenceGlow | None:
    """Fit a line to ln(contrast) against temperature, and read it at `REFERENCE_C`.

    Parameters
    ----------
    temperature_c : ndarray, shape (n,)
        Mean temperatures of darks, C.
    contrast, error : ndarray, shape (n,)
        Their contrasts and errors, count/s/pixel. Contrasts below three errors have no logarithm to speak of and are
        left out.

    Returns
    -------
    ReferenceGlow or None
        None where the line would not be an interpolation: without `LEAST_DARKS` darks within `WINDOW_C`, on both sides
        of the reference, and over `LEAST_SPREAD_C`.
    """
    use = (np.abs(temperature_c - REFERENCE_C) <= WINDOW_C) & (contrast > _LEAST_SIGMA * error)
    away, log = temperature_c[use] - REFERENCE_C, np.log(contrast[use])
    if len(away) < LEAST_DARKS or away.min() > 0 or away.max() < 0 or np.ptp(away) < LEAST_SPREAD_C:
        return None
    # Equal weights: darks differ by more than their counts explain.
    slope, value = np.polyfit(away, log, 1)
    residual = log - (value + slope * away)
    scatter = math.sqrt(float((residual**2).sum()) / (len(away) - 2))
    return ReferenceGlow(math.exp(value), scatter, float(slope), len(away))
