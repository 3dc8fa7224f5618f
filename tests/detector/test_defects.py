"""Hot pixels of one exposure that no dark shows, and point sources, which are not hot pixels."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from sbcdark.pipeline.detector.defects import HotPixels, block_sum, find_spikes, hot_values, spike_values
from sbcdark.pipeline.detector.regions import DETECTOR_SHAPE
from sbcdark.pipeline.model.dark_error import dark_rate_error
from sbcdark.pipeline.model.dark_fit import dark_rate, fit_dark
from sbcdark.pipeline.model.templates import DarkFrame, build_templates

GOOD = np.ones(DETECTOR_SHAPE, dtype=bool)
LEVEL = 0.02  # counts per pixel


def test_a_spike_is_found_and_its_excess_is_what_the_neighbours_do_not_have() -> None:
    counts = np.random.default_rng(1).poisson(LEVEL, DETECTOR_SHAPE)
    counts[654, 78], counts[500:503, 500:503] = 9, 0
    counts[501, 501] = 12
    spikes = find_spikes(counts, GOOD)
    assert {(654, 78), (501, 501)} == set(zip(*(place.tolist() for place in np.nonzero(spikes)), strict=True))
    values = spike_values(counts.astype(np.float64), np.full(DETECTOR_SHAPE, LEVEL), spikes)
    assert values == pytest.approx([12 - LEVEL, 9 - LEVEL], abs=1.0)


@pytest.mark.parametrize("fwhm", [2.0, 3.0])
def test_point_sources_are_not_spikes(fwhm: float) -> None:
    rng = np.random.default_rng(2)
    stars = np.zeros(DETECTOR_SHAPE)
    places = np.arange(20, 1010, 25)  # 1,600 stars of 5 to 5,000 counts
    y, x = np.meshgrid(places, places, indexing="ij")
    stars[y, x] = np.exp(rng.uniform(np.log(5), np.log(5000), y.shape))
    counts = rng.poisson(gaussian_filter(stars, fwhm / 2.355) + LEVEL)
    # At most one star in 5,000: 0.3 expected.
    assert np.count_nonzero(find_spikes(counts, GOOD)) <= 2


def test_known_bad_pixels_and_pixels_without_data_are_no_spikes() -> None:
    counts = np.full(DETECTOR_SHAPE, LEVEL)
    counts[10, 10], counts[20, 20] = 50.0, np.nan
    good = GOOD.copy()
    good[10, 10] = False
    assert not find_spikes(counts, good).any()
    assert not find_spikes(np.zeros(DETECTOR_SHAPE), GOOD).any()


def test_a_spike_in_the_corner_is_found() -> None:
    counts = np.random.default_rng(3).poisson(LEVEL, DETECTOR_SHAPE)
    counts[:2, :2] = [[11, 0], [0, 0]]
    assert find_spikes(counts, GOOD)[0, 0]


def test_the_fit_subtracts_a_new_hot_pixel_without_error() -> None:
    rng = np.random.default_rng(4)
    darks = [DarkFrame(f"dark{j}", rng.poisson(0.0075, DETECTOR_SHAPE), 1000.0) for j in range(4)]
    templates = build_templates(darks)
    counts = rng.poisson(0.0075, DETECTOR_SHAPE)
    counts[300:303, 400:403] = 0
    counts[301, 401] = 40
    outside = np.ones(DETECTOR_SHAPE, dtype=bool)
    outside[250:350, 350:450] = False  # the pixel lies in an aperture that the fit leaves out
    fit = fit_dark(counts, 1000.0, templates, outside)
    assert fit.new_hot == 1
    assert (fit.hot_y[-1], fit.hot_x[-1]) == (301, 401)
    assert fit.hot_own[-1]
    assert dark_rate(fit, templates)[301, 401] * 1000 == pytest.approx(40, abs=0.1)
    errors = dark_rate_error(fit, templates)
    assert errors[301, 401] == pytest.approx(errors[301, 420], rel=0.01)


@pytest.mark.parametrize("size", [2, 4, 8, 32])
def test_block_sums_are_numpy_s_to_the_last_bit(size: int) -> None:
    image = np.random.default_rng(3).gamma(0.2, size=(128, 256))
    by_rows = image.reshape(128 // size, size, 256).sum(axis=1)
    np.testing.assert_array_equal(block_sum(image, size), by_rows.reshape(128 // size, 256 // size, size).sum(axis=2))
    whole = image.reshape(128 // size, size, 256 // size, size).sum(axis=(1, 3))
    np.testing.assert_allclose(block_sum(image, size), whole, rtol=1e-12)


@pytest.mark.parametrize(
    ("ring", "own"),
    [
        ([(-1, -1, 3), (1, 1, 2)], 300 - LEVEL - (5 - 8 * LEVEL) / 8),  # the neighbours' excess stays in the frame
        ([], 300 - LEVEL),  # neighbours below the dark are no source
        ([(y, x, 90) for y in (-1, 0, 1) for x in (-1, 0, 1) if y or x], None),  # a star on the hot pixel
    ],
)
def test_a_hot_pixel_that_changes_takes_its_own_counts_without_those_of_a_source(
    ring: list[tuple[int, int, int]], own: float | None
) -> None:
    counts, rates = np.zeros(DETECTOR_SHAPE), np.full(DETECTOR_SHAPE, LEVEL / 1000.0)
    counts[500, 600] = 300
    for y, x, value in ring:
        counts[500 + y, 600 + x] = value
    # In the darks 100 counts in 1000 s, with a scatter of 80.
    hot = HotPixels(np.array([500]), np.array([600]), np.array([0.1]), np.array([0.08]), np.array([0.02]))
    good = GOOD.copy()
    good[500, 600] = False
    rate, error, from_frame = hot_values(counts, 1000.0, rates, hot, good)
    assert from_frame.tolist() == [own is not None]
    assert rate[0] * 1000 == pytest.approx(100.0 if own is None else own)
    assert error[0] == (pytest.approx(np.hypot(0.08, 0.02)) if own is None else 0.0)


def test_a_hot_pixel_in_a_cluster_looks_at_a_wider_ring() -> None:
    counts, rates, good = np.zeros(DETECTOR_SHAPE), np.full(DETECTOR_SHAPE, LEVEL / 1000.0), GOOD.copy()
    good[499:502, 599:602] = False
    good[499, 599:601] = True  # two good pixels of eight are too few
    counts[500, 600], counts[498, 598] = 300, 9
    hot = HotPixels(np.array([500]), np.array([600]), np.array([0.1]), np.array([0.08]), np.array([0.02]))
    rate, _, from_frame = hot_values(counts, 1000.0, rates, hot, good)
    assert from_frame[0]
    assert rate[0] * 1000 == pytest.approx(300 - LEVEL - (9 - 18 * LEVEL) / 18)
