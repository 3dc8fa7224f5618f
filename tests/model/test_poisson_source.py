"""A source on an uncertain background: coverage, false detections, limits, averages."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import pytest
from scipy.stats import gamma, norm, poisson

from sbcdark.pipeline.detector.rates import count_error
from sbcdark.pipeline.model.poisson_source import source_counts

TRIALS = 4000


@lru_cache(maxsize=4096)
def limits(number: int) -> tuple[float, float]:
    found = source_counts(number, 0.0, 0.0)
    return found.low, found.high


@pytest.mark.parametrize("mean", [3.0, 5.0, 8.0, 12.0, 24.0])
@pytest.mark.parametrize("relative", [0.1, 0.2])
def test_interval_covers_the_source(mean: float, relative: float) -> None:
    rng = np.random.default_rng(int(10 * mean))
    background = 0.4 * mean
    error, source = relative * background, mean - background
    covered = 0
    for number, expected in zip(rng.poisson(mean, TRIALS), rng.normal(background, error, TRIALS), strict=True):
        # The interval of N and the error of the background, as `source_counts` joins them.
        low, high = limits(int(number))
        below, above = math.hypot(number - low, error), math.hypot(high - number, error)
        covered += number - expected - below <= source <= number - expected + above
    noise = math.sqrt(0.25 / TRIALS)
    assert 0.64 - 2 * noise <= covered / TRIALS <= 0.74 + 2 * noise


@pytest.mark.parametrize("number", [1, 2, 3, 7, 40])
def test_limits_are_where_the_chance_is_that_of_one_sigma(number: int) -> None:
    tail = norm.sf(1.0)
    low, high = limits(number)
    # Half of the counts themselves belongs to each side.
    assert poisson.cdf(number, high) - 0.5 * poisson.pmf(number, high) == pytest.approx(tail)
    exact = gamma.ppf(tail, number)
    middle = 2 * low - exact
    assert poisson.sf(number - 1, middle) - 0.5 * poisson.pmf(number, middle) == pytest.approx(tail)
    assert low == pytest.approx(0.5 * (exact + middle))


def test_interval_joins_counts_and_background() -> None:
    found = source_counts(12, 5.0, 1.5)
    low, high = limits(12)
    assert found.counts == 7.0
    assert found.low == pytest.approx(7.0 - math.hypot(12 - low, 1.5))
    assert found.high == pytest.approx(7.0 + math.hypot(high - 12, 1.5))


def test_false_detections_are_as_rare_as_stated() -> None:
    rng = np.random.default_rng(5)
    numbers = rng.poisson(np.maximum(rng.normal(6.0, 0.6, 200_000), 0.0))
    detected = {int(n): source_counts(int(n), 6.0, 0.6).detected for n in np.unique(numbers)}
    rate = np.mean([detected[int(n)] for n in numbers])
    # Whole counts make it rarer than the chance of 3 sigma, never more frequent: 1.35e-3, with its own error.
    assert 2e-4 < rate < 1.35e-3 + 3 * math.sqrt(1.35e-3 / numbers.size)


def test_significance_of_many_counts_is_that_of_a_normal_distribution() -> None:
    # 1000 counts on 900 +- 10: 100 / sqrt(900 + 100) to the order of the skewness.
    assert source_counts(1000, 900.0, 10.0).significance == pytest.approx(100 / math.sqrt(1000), rel=0.03)
    # Where the chance is too small for a float the two ways agree.
    steps = [source_counts(n, 100.0, 5.0).significance for n in (190, 200, 210, 250, 400, 4000)]
    assert np.all(np.diff(steps) > 0)
    assert np.all(np.isfinite(steps))


def test_no_count_gives_a_limit() -> None:
    found = source_counts(0, 1.0, 0.2)
    assert not found.detected
    assert found.low < found.counts < found.high
    # No count excludes a mean of -ln(0.00135) = 6.6 at 3 sigma.
    assert found.upper_limit == pytest.approx(-1 + math.hypot(6.608, 0.6), abs=0.01)


@pytest.mark.parametrize(("number", "error"), [(-1.0, 1.0), (5.0, -1.0), (math.nan, 1.0), (5.0, math.inf)])
def test_wrong_counts_are_refused(number: float, error: float) -> None:
    with pytest.raises(ValueError, match=r"not be negative|finite"):
        source_counts(number, 3.0, error)


def test_error_of_counts_does_not_jump() -> None:
    counts = np.arange(0.0, 30.0, 0.01)
    errors = np.array([count_error(n) for n in counts])
    assert np.abs(np.diff(errors)).max() < 0.01
    assert errors[2000:] == pytest.approx(np.sqrt(counts[2000:]))
