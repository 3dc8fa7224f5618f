"""The errors of nearest and mean: the darks taken for a frame differ from it in glow and base."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from sbcdark.pipeline.detector.dark_shape import base_map, glow_map
from sbcdark.pipeline.detector.regions import BOX, DETECTOR_SHAPE, QUIET, good_pixels
from sbcdark.pipeline.model.combination import Exposure, combine_darks
from sbcdark.pipeline.model.frame_differences import FrameDifference, difference_variance, frame_difference
from sbcdark.pipeline.selection.rules import Combine

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sbcdark.pipeline.model.templates import DarkFrame

APERTURES = 10

ALIKE = FrameDifference(0.0, 0.0, 0.0)


def contrast(dark: DarkFrame) -> float:
    box, quiet = (dark.counts[one.slices][good_pixels()[one.slices]].mean() for one in (BOX, QUIET))
    return float((box - quiet) / dark.exptime_s)


def circles(rng: np.random.Generator) -> list[NDArray[np.bool_]]:
    """Return circles of 500 to 20,000 pixels, without hot pixels, whose rates vary from frame to frame."""
    y, x = np.indices(DETECTOR_SHAPE)
    found = []
    for radius in rng.uniform(13.0, 80.0, APERTURES):
        center = rng.uniform(radius, 1023.0 - radius, 2)
        found.append((np.hypot(x - center[0], y - center[1]) < radius) & good_pixels())
    return found


def test_differences_of_one_product_add_before_they_are_squared() -> None:
    first, second = (np.zeros(DETECTOR_SHAPE) for _ in range(2))
    first[600:700, 500:600], second[300:340, 200:260] = 2.0, -0.5
    glows, bases = ([float((image * shape()).sum()) for image in (first, second)] for shape in (glow_map, base_map))
    differences = [FrameDifference(3e-6, 4e-7, 5e-7), FrameDifference(-1e-6, 2e-7, 3e-7)]
    glow = 3e-6 * glows[0] - 1e-6 * glows[1]
    noise = (4e-7 * glows[0]) ** 2 + (2e-7 * glows[1]) ** 2  # independent, unlike the darks themselves
    base = 5e-7 * bases[0] + 3e-7 * bases[1]
    expected = glow**2 + noise + base**2
    assert difference_variance(differences, [first, second]) == pytest.approx(expected)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "number"), [(Combine.NEAREST, 1), pytest.param(Combine.MEAN, 3, marks=pytest.mark.long)]
)
def test_errors_hold_for_darks_left_out(darks: list[DarkFrame], how: Combine, number: int) -> None:
    rng = np.random.default_rng(1)
    squares, without = [], []
    for dark in darks:
        alike = sorted((one for one in darks if one is not dark), key=lambda one: abs(contrast(one) - contrast(dark)))
        of_frame, of_counts = [], []
        for shape in circles(rng):
            weights = [shape.astype(np.float64)]
            exposure = Exposure(dark.rootname, dark.counts, dark.exptime_s, ~shape, None, False, 0.0, 0.0)
            estimate = combine_darks(how, [exposure], [alike[:number]])
            predicted = float(np.vdot(estimate.exposures[0].rate, weights[0])) * dark.exptime_s
            bare = replace(
                estimate,
                exposures=tuple(replace(one, difference=ALIKE) for one in estimate.exposures),
            )
            for found, one in ((of_frame, estimate), (of_counts, bare)):
                error = one.aperture_error(weights) * dark.exptime_s
                found.append((predicted - float(dark.counts[shape].sum())) ** 2 / (error**2 + max(predicted, 1.0)))
        squares.append(np.mean(of_frame))
        without.append(np.mean(of_counts))
    # The apertures of a frame share its difference, so the scatter between frames gives the error.
    uncertain = np.std(squares, ddof=1) / np.sqrt(len(darks))
    assert np.mean(squares) == pytest.approx(1.0, abs=3 * uncertain)
    assert np.mean(without) > 2.0


def test_glow_that_differs_by_a_known_amount_is_found() -> None:
    flat_dark = np.full(DETECTOR_SHAPE, 1e-5)
    counts = np.full(DETECTOR_SHAPE, 0.02)
    counts[BOX.slices] += 0.05
    good = np.ones(DETECTOR_SHAPE, dtype=bool)
    found = frame_difference(counts, 1000.0, good, flat_dark, 1)
    assert found.glow == pytest.approx(5e-5, rel=1e-9)
    # 40,000 pixels of 0.07 counts; the quiet rows add 1 % to the error.
    assert found.glow_err == pytest.approx(np.sqrt(2800.0) / 4e7, rel=0.05)
    assert found.base_err == pytest.approx(0.08 * np.sqrt(2.0) * 1e-5, rel=1e-9)


def test_box_without_free_pixels_leaves_the_whole_glow_uncertain() -> None:
    dark = np.full(DETECTOR_SHAPE, 1e-5)
    dark[BOX.slices] = 6e-5
    good = np.ones(DETECTOR_SHAPE, dtype=bool)
    good[BOX.slices] = False
    found = frame_difference(np.zeros(DETECTOR_SHAPE), 1000.0, good, dark, 3)
    assert (found.glow, found.glow_err) == (0.0, pytest.approx(5e-5, rel=1e-9))
