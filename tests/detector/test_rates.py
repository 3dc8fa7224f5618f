"""Counts, rates and errors: hand values, the exact Poisson interval and its coverage, counts above 32767."""

from __future__ import annotations

import gzip
import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
from helpers import taken
from scipy import stats

from sbcdark.pipeline.detector import rates
from sbcdark.pipeline.detector.rates import (
    Frame,
    count_error,
    count_hot_pixels,
    measure_regions,
    unwrapped_counts,
)
from sbcdark.pipeline.detector.regions import BOX, DEAD_ROWS, FRAME, HOT_PIXELS_XY, LODARK, QUIET, REGIONS, good_pixels
from sbcdark.pipeline.frames.exposure_files import parse, read_file

if TYPE_CHECKING:
    from pathlib import Path

CENTRAL = math.erf(1 / math.sqrt(2))
"""68.27 %: what lies within one sigma."""


def garwood(counts: float) -> tuple[float, float]:
    """Return the exact central interval by the chi-squared quantiles (Garwood 1936)."""
    tail = (1 - CENTRAL) / 2
    low = stats.chi2.ppf(tail, 2 * counts) / 2 if counts > 0 else 0.0
    return float(low), float(stats.chi2.ppf(1 - tail, 2 * counts + 2) / 2)


@pytest.mark.parametrize("counts", [0, 1, 2, 3, 5, 10, 0.5, 2.75, 9.999])
def test_few_counts_have_half_the_exact_interval(counts: float) -> None:
    low, high = garwood(counts)
    # Two ways to the same quantile agree to the precision of their iterations.
    assert count_error(counts) == pytest.approx((high - low) / 2, rel=1e-10)


def test_published_values_of_small_numbers() -> None:
    # Gehrels (1986), tables 1 and 2, one sigma: upper limits 1.841, 3.300, 4.638; lower 0, 0.173, 0.708.
    assert count_error(0) == pytest.approx(1.841 / 2, abs=0.0005)
    assert count_error(1) == pytest.approx((3.300 - 0.173) / 2, abs=0.0005)
    assert count_error(2) == pytest.approx((4.638 - 0.708) / 2, abs=0.001)


def test_many_counts_have_the_square_root() -> None:
    for counts in (20, 300, 2919, 1e6, 20.25):
        assert count_error(counts) == math.sqrt(counts)


def test_the_two_forms_are_blended_without_a_step() -> None:
    counts = np.linspace(0, 40, 4001)
    errors = np.array([count_error(value) for value in counts])
    steps = np.diff(errors)
    assert np.all(steps > 0)
    # Over a hundredth of a count sqrt(N) and half the exact interval rise by 0.006 at most (at the first count).
    assert steps.max() < 0.01
    for value in (12.0, 17.5):
        low, high = garwood(value)
        assert math.sqrt(value) < count_error(value) < (high - low) / 2


@pytest.mark.parametrize("mean", [0.3, 1.0, 3.7, 8.0, 15.0])
def test_exact_interval_covers_at_least_what_it_says(mean: float) -> None:
    # Not by trials but by summing the Poisson probabilities of every outcome whose interval holds the mean.
    outcomes = np.arange(0, 200)
    covered = [low <= mean <= high for low, high in map(garwood, outcomes.tolist())]
    assert stats.poisson.pmf(outcomes[covered], mean).sum() >= CENTRAL
    # The width that is kept is that of this very interval.
    widths = [high - low for low, high in map(garwood, range(11))]
    assert [2 * count_error(n) for n in range(11)] == pytest.approx(widths, rel=1e-10)


def test_regions_are_what_the_contract_says() -> None:
    assert (BOX.y0, BOX.y1, BOX.x0, BOX.x1, BOX.masked) == (650, 850, 580, 780, False)
    assert (QUIET.y0, QUIET.y1, QUIET.x0, QUIET.x1) == (0, 128, 0, 1024)
    assert (LODARK.y0, LODARK.y1, LODARK.x0, LODARK.x1) == (84, 284, 74, 274)
    assert (FRAME.y0, FRAME.y1, FRAME.x0, FRAME.x1) == (0, 1024, 0, 1024)
    assert np.count_nonzero(~good_pixels()) == 6 * 1024 + len(HOT_PIXELS_XY)


def test_every_pixel_is_counted_where_it_lies_and_bad_ones_are_not() -> None:
    rng = np.random.default_rng(20150303)
    counts = rng.poisson(3.0, (1024, 1024)).astype(np.uint16)
    for x, y in HOT_PIXELS_XY:
        counts[y, x] = 60_000
    counts[DEAD_ROWS] = 50_000
    good = good_pixels()
    measured = {one.region: one for one in measure_regions(counts, 500.0)}
    assert list(measured) == [region.name for region in REGIONS]
    for region in REGIONS:
        mask = good[region.slices] if region.masked else np.ones_like(good[region.slices])
        one = measured[region.name]
        total = int(counts[region.slices][mask].astype(np.int64).sum())
        assert one.counts == total
        assert one.good_pixels == np.count_nonzero(mask)
        assert one.rate_count_s_pix == total / (one.good_pixels * 500.0)
        assert one.rate_err_count_s_pix == math.sqrt(total) / (one.good_pixels * 500.0)
    assert measured["box"].good_pixels == 40_000
    assert measured["quiet"].good_pixels == 128 * 1024 - 1


def test_nothing_counted_still_has_an_error() -> None:
    for one in measure_regions(np.zeros((1024, 1024), np.uint16), 1000.0):
        assert one.counts == one.rate_count_s_pix == 0
        assert one.rate_err_count_s_pix == count_error(0) / (one.good_pixels * 1000.0) > 0


def test_pixels_that_are_no_number_are_left_out() -> None:
    counts = np.ones((1024, 1024), np.float32)
    counts[:64] = np.nan
    counts[700, 600] = np.inf
    measured = {one.region: one for one in measure_regions(counts, 100.0)}
    assert measured["quiet"].good_pixels == 64 * 1024 - 1
    assert measured["quiet"].rate_count_s_pix == 0.01
    assert measured["box"].counts == measured["box"].good_pixels == 39_999
    assert np.isnan(counts[0, 0])


def test_region_without_a_good_pixel_is_not_measured() -> None:
    counts = np.ones((1024, 1024), np.float64)
    counts[:128] = np.nan
    assert "quiet" not in {one.region for one in measure_regions(counts, 100.0)}


def test_negative_sums_of_flat_fielded_counts_have_the_error_of_none() -> None:
    measured = measure_regions(np.full((1024, 1024), -1e-4, np.float32), 100.0)
    assert all(one.rate_count_s_pix < 0 for one in measured)
    assert all(one.rate_err_count_s_pix == count_error(0) / (one.good_pixels * 100.0) for one in measured)


def test_hot_pixels_are_counted_against_the_local_level() -> None:
    """Each hot pixel that is put in is found, on a level that rises 40-fold across the frame, and no other."""
    rng = np.random.default_rng(9)
    level = np.broadcast_to(np.linspace(0.0075, 0.3, 1024), (1024, 1024))
    dark = rng.poisson(level).astype(np.uint16)
    assert count_hot_pixels(dark) == 0
    y, x = rng.choice(np.arange(0, 590, 7), 20, replace=False), rng.choice(np.arange(5, 1024, 9), 20, replace=False)
    hot = dark.copy()
    # The chance is under 1e-9 at twice the level of the place: squares of 64 pixels hold a range of it.
    hot[y, x] = stats.poisson.isf(1e-9, 2 * level[y, x]).astype(np.uint16) + 2
    assert count_hot_pixels(hot) == 20
    # A pixel of 60,000 counts in the same square hides none of the others, and dead rows count for nothing.
    hot[y[0] ^ 1, x[0]] = 60_000
    hot[DEAD_ROWS] = 1000
    assert count_hot_pixels(hot) == 21


@pytest.mark.parametrize("order", ["<u2", ">u2"])
@pytest.mark.parametrize("mean", [0.0, 0.0075, 0.06, 0.3, 30.0])
def test_few_counts_are_summed_as_many_are(mean: float, order: str) -> None:
    """The pixels that are not zero give what the whole array does, in either order of bytes."""
    rng = np.random.default_rng(4)
    counts = rng.poisson(mean, (1024, 1024)).astype(np.uint16)
    counts[np.arange(0, 1024, 41), 1023] = 65_535
    frame = Frame(counts.astype(order))
    assert (frame.y is None) == (mean > 0.1)
    native = Frame(counts)
    native.y = None
    assert measure_regions(frame, 1000.0) == measure_regions(native, 1000.0)
    assert count_hot_pixels(frame) == count_hot_pixels(native) > 0
    box = next(one for one in measure_regions(frame, 1000.0) if one.region == "box")
    assert box.counts == counts[650:850, 580:780].sum(dtype=np.int64)


@pytest.mark.parametrize("mean", [0.0, 1e-6, 1e-4, 1e-3, 0.0075, 0.1, 1.0, 99.0, 101.0, 400.0])
def test_frames_without_hot_pixels_have_none(mean: float) -> None:
    """One frame in a thousand has a false one, whatever its level: in 4 of them there is none."""
    rng = np.random.default_rng(round(1e6 * mean) + 1)
    assert sum(count_hot_pixels(rng.poisson(mean, (1024, 1024)).astype(np.uint16)) for _ in range(4)) == 0


def test_least_counts_of_a_hot_pixel_are_those_of_poisson() -> None:
    for mean in (2.4e-4, 1e-3, 0.0075, 0.03, 0.1, 1.0, 9.0, 50.0, 99.9, 100.1, 150.0, 1000.0, 10_000.0):
        (least,) = rates._least_counts(np.array([mean]))
        exact = stats.poisson.isf(1e-9, mean) + 1
        # P(N >= n) = sf(n - 1) < 1e-9; the expansion above a mean of 100 is right to a count.
        assert exact <= least <= exact + (1 if mean > 100 else 0)


def test_real_darks_have_six_to_nine_hot_pixels(shared_data: Path) -> None:
    """The six that are known, and one to three that come and go."""
    for path in sorted((shared_data / "darks_13961").glob("*_raw.fits.gz")):
        exposure = taken(read_file(path)).exposure
        assert exposure is not None
        assert exposure.hot_pixels is not None
        assert len(HOT_PIXELS_XY) <= exposure.hot_pixels <= 9
        # Of some rows alone it is not known; the core of a source is no hot pixel.
        part, _ = parse(gzip.decompress(path.read_bytes()), "RAW", (BOX, QUIET))
        assert part is not None
        assert part.hot_pixels is None
    science = taken(read_file(shared_data / "science_13655_standin" / "jcmc11e6q_flt.fits.gz")).exposure
    assert science is not None
    assert science.hot_pixels is None


@pytest.mark.parametrize("order", ["<", ">"])
def test_counts_above_32767_are_unwrapped(order: str) -> None:
    true = np.array([[0, 1, 32_767, 32_768, 65_535]], np.uint16)
    stored = true.view(np.int16).astype(f"{order}i2")
    assert stored.min() < 0
    assert unwrapped_counts(stored).tolist() == true.tolist()
    for untouched in (true, true.astype(np.float32), true.astype(np.int32)):
        assert unwrapped_counts(untouched) is untouched
