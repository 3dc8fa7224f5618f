"""A source on an uncertain background, from few counts or many. Pure numbers.

N counts are observed where B +- sigma are expected from dark and sky. The estimate of the source is N - B, which may
be negative and is unbiased, so that results can be averaged; its significance follows from the Poisson distribution.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

DETECTION_SIGMA = 3.0
"""Minimum significance of a detected source; below it an upper limit replaces the magnitude."""

_TAIL = 0.5 * math.erfc(1 / math.sqrt(2))  # beyond 1 sigma, on one side
_LIMIT_TAIL = 0.5 * math.erfc(DETECTION_SIGMA / math.sqrt(2))
_LEAST_CHANCE = 1e-15  # smaller ones are lost in rounding


@dataclass(frozen=True, slots=True)
class SourceCounts:
    """A source in counts.

    Attributes
    ----------
    counts : float
        N - B.
    low, high : float
        Limits of the 68 % interval of the source's mean counts; `low` may be negative.
    significance : float
        Chance of N or more counts without a source, as the one-sided sigma of a normal distribution.
    upper_limit : float
        3-sigma upper limit of the source's mean counts, at least 0.
    """

    counts: float
    low: float
    high: float
    significance: float
    upper_limit: float

    @property
    def detected(self) -> bool:
        """Whether the significance reaches `DETECTION_SIGMA`."""
        return self.significance >= DETECTION_SIGMA


def source_counts(number: float, background: float, background_error: float) -> SourceCounts:
    """Return the source counts of N counts on an uncertain background.

    The interval of the mean of N ends halfway between the exact limits (Garwood 1936, Biometrika 28, 437), which cover
    too often, and the mid-P limits (Lancaster 1961, JASA 56, 223), which cover too rarely at a few counts. The error of
    the background is added in quadrature on each side. The significance is that of the negative binomial, which is
    Poisson's with a mean that has a Gamma distribution of the background's mean and error.

    Parameters
    ----------
    number : float
        Counts N in the aperture; weights at its edge make it non-integer.
    background : float
        Expected counts B of dark and sky.
    background_error : float
        1-sigma error of B, counts.

    Raises
    ------
    ValueError
        `number` or `background_error` is negative or not finite, or `background` is not finite.
    """
    if not (math.isfinite(number) and math.isfinite(background) and math.isfinite(background_error)):
        raise ValueError("counts and background must be finite")
    if number < 0 or background_error < 0:
        raise ValueError("counts and the background error must not be negative")
    low, high = _interval(number)
    source = number - background
    return SourceCounts(
        source,
        source - math.hypot(number - low, background_error),
        source + math.hypot(high - number, background_error),
        _significance(number, background, background_error),
        max(source + math.hypot(_exact_high(number, _LIMIT_TAIL) - number, DETECTION_SIGMA * background_error), 0.0),
    )


def _exact_high(number: float, tail: float) -> float:
    """Mean for which the chance of `number` counts or fewer is `tail` (Garwood 1936)."""
    from scipy.special import gammainccinv  # noqa: PLC0415  costly to import

    return float(gammainccinv(number + 1, tail))


def _interval(number: float) -> tuple[float, float]:
    """Limits of the mean of a Poisson number."""
    from scipy.special import gammaincc, gammaincinv  # noqa: PLC0415  costly to import

    def below(mean: float) -> float:
        """Chance of fewer counts plus half that of as many: gammaincc(n, mean) is the chance of fewer than n."""
        fewer = float(gammaincc(number, mean)) if number > 0 else 0.0
        return 0.5 * (fewer + float(gammaincc(number + 1, mean)))

    far = number + 10 + 10 * math.sqrt(number)
    high = _where(below, _TAIL, number, far)
    if number == 0:
        return 0.0, high
    mid = _where(below, 1 - _TAIL, 0.0, number + 1) if below(0.0) > 1 - _TAIL else 0.0
    return 0.5 * (float(gammaincinv(number, _TAIL)) + mid), high


def _where(falling: Callable[[float], float], value: float, low: float, high: float) -> float:
    """Return where a falling function has a value, to the last bit.

    It halves the interval: scipy.optimize would add 0.1 s and 20 MB to each process for a few calls.
    """
    while low < (middle := 0.5 * (low + high)) < high:
        low, high = (middle, high) if falling(middle) > value else (low, middle)
    return middle


def _significance(number: float, background: float, error: float) -> float:
    from scipy.special import betainc, gammainc, ndtri  # noqa: PLC0415  costly to import

    mean = max(background, 1e-12)
    if number <= 0:
        return -math.inf
    if error**2 <= 1e-9 * mean**2:
        chance = float(gammainc(number, mean))
    else:
        shape = (mean / error) ** 2
        chance = float(betainc(number, shape, mean / (mean + shape)))
    if chance > _LEAST_CHANCE:
        return float(-ndtri(chance))
    # The chance is too small for double precision: use the root of the likelihood ratio (Li & Ma 1983, ApJ 272, 317).
    best, prior = mean, 0.0
    if error > 0:
        without = mean - error**2
        best = 0.5 * (without + math.sqrt(without**2 + 4 * number * error**2))
        prior = ((best - mean) / error) ** 2
    return math.sqrt(2 * (best - number + number * math.log(number / best)) + prior)
