"""Sources and a glow beyond the darks: the mask does not take the glow for a source."""

from __future__ import annotations

import numpy as np
import pytest

from sbcdark.pipeline.detector.dark_shape import base_map, glow_map
from sbcdark.pipeline.detector.regions import DETECTOR_SHAPE
from sbcdark.pipeline.model.combination import Exposure, combine_darks
from sbcdark.pipeline.model.dark_error import aperture_dark
from sbcdark.pipeline.model.dark_fit import fit_dark
from sbcdark.pipeline.model.sources import source_mask
from sbcdark.pipeline.model.templates import DarkFrame, Templates, build_templates
from sbcdark.pipeline.selection.rules import Combine

BASE = 7.5e-6  # count/s/pixel, as in the cold darks


def frame(name: str, amplitude: float, rng: np.random.Generator) -> DarkFrame:
    return DarkFrame(name, rng.poisson((BASE * base_map() + amplitude * glow_map()) * 1000), 1000.0)


@pytest.fixture(scope="module")
def cool() -> list[DarkFrame]:
    rng = np.random.default_rng(31)
    return [frame(f"cool{j}", a, rng) for j, a in enumerate([0, 0, 0, 0, 0, 2e-6, 4e-6, 7e-6])]


@pytest.fixture(scope="module")
def templates(cool: list[DarkFrame]) -> Templates:
    return build_templates(cool)


def test_a_glow_beyond_the_darks_is_no_source(cool: list[DarkFrame]) -> None:
    hot = frame("hot", 5e-5, np.random.default_rng(32))
    everywhere = np.ones(DETECTOR_SHAPE, dtype=bool)
    exposure = Exposure(
        "hot", hot.counts.astype(np.float64), 1000.0, everywhere, None, sky=False, mjd=57084.0, temperature_c=28.0
    )
    one = combine_darks(Combine.MODEL, [exposure], [cool]).exposures[0]
    assert one.sources is not None
    assert one.masked_fraction is not None
    assert one.masked_fraction == one.sources.mean()
    # Poisson's chance alone takes the templates' noise, seven times as large as in the hottest dark, for sources.
    assert one.masked_fraction < 0.05
    assert any("times that of the hottest dark" in text for text in one.cautions)


def test_an_error_of_the_model_raises_the_threshold() -> None:
    expected = np.full(DETECTOR_SHAPE, 0.05)
    counts = np.random.default_rng(33).poisson(1.15 * expected)
    assert source_mask(counts, expected).mean() > 0.5
    assert source_mask(counts, expected, error=0.15 * expected).mean() < 0.01


def test_extrapolation_widens_the_error(templates: Templates) -> None:
    weights = np.zeros(DETECTOR_SHAPE)
    weights[600:700, 500:600] = 1
    errors = []
    for amplitude in (7e-6, 2e-5, 5e-5):
        fit = fit_dark(frame("x", amplitude, np.random.default_rng(34)).counts, 1000.0, templates)
        dark = aperture_dark([(fit, weights)], templates)
        errors.append(dark.shape_error / dark.rate)
        assert (fit.beyond > 0) == (amplitude > 7e-6)
    assert errors[0] == pytest.approx(templates.shape_scatter)
    assert errors[0] < errors[1] < errors[2]
