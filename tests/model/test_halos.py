"""Halos of large sources: what the fit leaves out, and the error of what lies beyond."""

from __future__ import annotations

import numpy as np
import pytest

from sbcdark.pipeline.detector.dark_shape import base_map, glow_map
from sbcdark.pipeline.detector.regions import DETECTOR_SHAPE
from sbcdark.pipeline.model.dark_error import aperture_dark
from sbcdark.pipeline.model.halos import HALO_RADII, halo_leak
from sbcdark.pipeline.model.sources import fit_dark_with_sources
from sbcdark.pipeline.model.templates import DarkFrame, Templates, build_templates

BASE = 7.5e-6  # count/s/pixel, as in the cold darks
APERTURE = 120.0  # pixels
GOOD = np.ones(DETECTOR_SHAPE, dtype=bool)
Y, X = np.indices(DETECTOR_SHAPE)
RADIUS = np.hypot(X - 512, Y - 512)


@pytest.fixture(scope="module")
def templates() -> Templates:
    rng = np.random.default_rng(51)
    amplitudes = [0, 0, 0, 0, 5e-6, 1e-5, 2e-5, 4e-5]
    return build_templates(
        [
            DarkFrame(
                f"dark{j}", rng.poisson((BASE * rng.normal(1, 0.08) * base_map() + a * glow_map()) * 1000), 1000.0
            )
            for j, a in enumerate(amplitudes)
        ]
    )


def measured(
    templates: Templates, counts: np.ndarray[tuple[int, int], np.dtype[np.int64]], radii: float
) -> list[float]:
    """Return the source, its error without and with that of the halo, counts."""
    fit, _ = fit_dark_with_sources(counts, 1000.0, templates, radii * APERTURE < RADIUS, sky=True)
    inside = (RADIUS <= APERTURE).astype(np.float64)
    dark = aperture_dark([(fit, inside)], templates, include_sky=True)
    leak = halo_leak(counts, GOOD, RADIUS / APERTURE, fit, templates)
    sums = [(inside * templates.base_map).sum(), (inside * templates.glow_map).sum(), inside.sum()]
    seen = float((counts * inside).sum())
    error = float(np.hypot(dark.error * 1000, np.sqrt(seen)))
    return [seen - dark.rate * 1000, error, float(np.hypot(error, leak @ sums * 1000))]


@pytest.mark.slow
@pytest.mark.parametrize("shape", ["disc", "de Vaucouleurs"])
def test_a_galaxy_keeps_its_counts(templates: Templates, shape: str) -> None:
    profile = (
        np.exp(-1.678 * RADIUS / APERTURE)
        if shape == "disc"
        else np.exp(-7.669 * ((np.maximum(RADIUS, 0.5) / APERTURE) ** 0.25 - 1))
    )
    galaxy = 6000 * profile / profile.sum()
    truth = float(galaxy[RADIUS <= APERTURE].sum())
    rng = np.random.default_rng(52)
    narrow, pulls = [], []
    for amplitude in (0.0, 1e-5, 3e-5):
        counts = rng.poisson((BASE * base_map() + amplitude * glow_map()) * 1000 + galaxy)
        narrow.append(measured(templates, counts, 1.0)[0] - truth)
        source, _, error = measured(templates, counts, HALO_RADII)
        pulls.append((source - truth) / error)
    assert np.mean(narrow) < -0.05 * truth  # what leaving out the aperture alone costs
    assert abs(np.mean(pulls)) < 1 + 3 / np.sqrt(3)  # a bias within one sigma, and the noise of three trials


def test_a_steeper_halo_leaks_less(templates: Templates) -> None:
    dark = BASE * base_map() * 1000
    leaks = []
    for power in (2.0, 4.0, 7.0):
        halo = 0.05 * (np.maximum(RADIUS / APERTURE, 0.5) / 2) ** -power
        fit, _ = fit_dark_with_sources(
            np.random.default_rng(53).poisson(dark), 1000.0, templates, HALO_RADII * APERTURE < RADIUS, sky=True
        )
        leak = halo_leak(dark + halo, GOOD, RADIUS / APERTURE, fit, templates)
        leaks.append(leak[2])
        outside = RADIUS > HALO_RADII * APERTURE
        assert 0 < leak[2] < halo[outside].max() / 1000
    assert leaks[0] > leaks[1] > leaks[2]
