"""The glow at a reference temperature is interpolated, or not given."""

from __future__ import annotations

import numpy as np
import pytest

from sbcdark.pipeline.detector.reference_glow import REFERENCE_C, WINDOW_C, reference_glow


def test_an_exponential_glow_is_found_exactly() -> None:
    temperature = np.array([20.0, 25.6, 26.2, 27.1, 28.4, 29.0])
    contrast = 3e-5 * np.exp(0.9 * (temperature - REFERENCE_C))
    contrast[[0, -1]] = 1.0  # outside the window
    found = reference_glow(temperature, contrast, 0.01 * contrast)
    assert found is not None
    assert found.darks == 4
    assert (found.contrast_count_s_pix, found.slope_per_c) == pytest.approx((3e-5, 0.9), rel=1e-12)
    assert found.scatter == pytest.approx(0.0, abs=1e-12)
    np.testing.assert_allclose((contrast * found.carried(temperature))[1:-1], 3e-5, rtol=1e-12)
    assert np.isnan(found.carried(temperature)[[0, -1]]).all()


def test_the_scatter_is_that_of_the_darks() -> None:
    """Darks that differ by 30 % at the same temperature: the mean of 200 catalogs of 12 darks has that scatter."""
    rng = np.random.default_rng(27)
    temperature = np.linspace(REFERENCE_C - WINDOW_C, REFERENCE_C + WINDOW_C, 12)
    squares, values = [], []
    for _ in range(200):
        contrast = 3e-5 * np.exp(0.9 * (temperature - REFERENCE_C) + rng.normal(0.0, 0.3, 12))
        found = reference_glow(temperature, contrast, np.zeros(12))
        assert found is not None
        assert found.low_count_s_pix < found.contrast_count_s_pix < found.high_count_s_pix
        squares.append(found.scatter**2)
        values.append(np.log(found.contrast_count_s_pix / 3e-5))
    # Ten degrees of freedom each: the mean square has a relative error of sqrt(2 / 2000); three of them.
    assert np.mean(squares) == pytest.approx(0.3**2, rel=3 * np.sqrt(2 / 2000))
    assert np.mean(values) == pytest.approx(0.0, abs=3 * 0.3 / np.sqrt(12 * 200))


@pytest.mark.parametrize(
    "temperature",
    [
        [],
        [26.9, 27.4],  # no scatter from two
        [25.6, 26.0, 26.5, 26.9],  # all below
        [27.1, 27.5, 28.4],  # all above
        [26.9, 27.0, 27.1],  # a range that gives no slope
        [18.0, 20.0, 27.0, 30.0],  # one in the window
    ],
)
def test_nothing_is_extrapolated(temperature: list[float]) -> None:
    contrast = np.full(len(temperature), 3e-5)
    assert reference_glow(np.array(temperature), contrast, 0.01 * contrast) is None


def test_contrasts_without_a_logarithm_are_left_out() -> None:
    temperature = np.array([26.0, 26.5, 27.5, 28.0])
    contrast = np.array([-1e-7, 2e-5, 4e-5, 6e-5])
    found = reference_glow(temperature, contrast, np.full(4, 1e-6))
    assert found is not None
    assert found.darks == 3
    assert np.isfinite(found.carried(temperature)).all()
