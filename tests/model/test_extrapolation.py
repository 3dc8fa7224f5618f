"""Templates that do not fit the frame: a glow hotter than every dark, a glow elsewhere, two darks alone. Real darks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from dark_frames import tiles

from sbcdark.pipeline.detector.regions import BOX
from sbcdark.pipeline.model.dark_error import aperture_dark
from sbcdark.pipeline.model.sources import fit_dark_with_sources
from sbcdark.pipeline.model.templates import DarkFrame, Templates, build_templates

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sbcdark.pipeline.model.dark_fit import DarkFit


pytestmark = pytest.mark.slow


def pull_width(
    frames: list[DarkFrame], templates: Templates, *, sky: bool, good: NDArray[np.bool_] | None = None
) -> tuple[float, list[tuple[DarkFit, NDArray[np.bool_]]]]:
    """Width of the pulls of blank frames in disjoint apertures, and the fit and sources of each."""
    fits_of, pulls = [], []
    for dark in frames:
        fit, sources = fit_dark_with_sources(dark.counts, dark.exptime_s, templates, good, sky=sky)
        fits_of.append((fit, sources))
        for image in tiles(64):
            weights = image * templates.good * (1 if good is None else good)
            found = aperture_dark([(fit, weights)], templates, include_sky=sky)
            expected = max(found.rate * dark.exptime_s, 1.0)
            difference = expected - float((dark.counts * weights).sum())
            pulls.append(difference / np.sqrt((found.error * dark.exptime_s) ** 2 + expected))
    return float(np.sqrt(np.mean(np.square(pulls)))), fits_of


@pytest.mark.parametrize("sky", [False, True])
@pytest.mark.parametrize(
    ("number", "largest"),
    [(10, 1.5), *(pytest.param(*more, marks=pytest.mark.long) for more in ((11, 1.5), (12, 1.5), (13, 1.1)))],
)
def test_glow_hotter_than_every_dark_is_no_source(
    darks: list[DarkFrame], number: int, largest: float, *, sky: bool
) -> None:
    order = sorted(darks, key=lambda dark: float(dark.counts[BOX.slices].sum()))
    width, found = pull_width(order[number::2], build_templates(order[:number]), sky=sky)
    assert width < largest
    assert max(float(sources.mean()) for _, sources in found) < 0.01
    assert max(fit.chi2_per_dof for fit, _ in found) > 1.5  # nothing hides the misfit
    assert all(fit.beyond > 0 for fit, _ in found[1:])


@pytest.mark.parametrize("shift", [32, 64])
def test_errors_hold_for_a_shifted_glow(darks: list[DarkFrame], shift: int) -> None:
    templates = build_templates(darks)
    order = sorted(darks, key=lambda dark: float(dark.counts[BOX.slices].sum()))
    moved = [DarkFrame(d.rootname, np.roll(d.counts, shift, axis=1), d.exptime_s) for d in order[12::3]]
    good = np.roll(templates.good, shift, axis=1)  # the hot pixels move too
    width, found = pull_width(moved, templates, sky=False, good=good)
    assert width < 1.5
    assert max(float(sources.mean()) for _, sources in found) < 0.05


def test_errors_hold_with_one_cold_and_one_warm_dark(darks: list[DarkFrame]) -> None:
    order = sorted(darks, key=lambda dark: float(dark.counts[BOX.slices].sum()))
    rng = np.random.default_rng(13961)
    for cold, warm in zip(rng.permutation(8)[:3], rng.permutation(np.arange(8, 20))[:3], strict=True):
        frames = [dark for j, dark in enumerate(order) if j >= 8 and j != warm]
        width, _ = pull_width(frames[::3], build_templates([order[cold], order[warm]]), sky=False)
        assert width < 1.5
