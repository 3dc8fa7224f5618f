"""Statistics of the whole chain: the net rate of a dark is 0, a sky is no dark, and galaxies come out as they went in.

The benchmarks chain.py and sky.py print the same in full.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from benchmarks.chain import SMOOTH, apertures, pulls_of, run_chain, unpacked_flat
from benchmarks.sky import MODEL, Frame, load, mean_and_error

from sbcdark.pipeline.detector.regions import BOX, DETECTOR_SHAPE
from sbcdark.pipeline.model.dark_error import aperture_dark
from sbcdark.pipeline.model.sources import fit_dark_with_sources
from sbcdark.pipeline.model.templates import build_templates
from sbcdark.pipeline.selection.rules import Combine

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from sbcdark.catalog.result_records import PhotometryRecord

pytestmark = pytest.mark.slow


def _variances(records: Sequence[PhotometryRecord]) -> tuple[float, float]:
    """Return the variances of a frame's mean pull and of its mean squared pull, if its errors are right.

    A pull has variance 1. The apertures' counts are independent; their darks share a fit, and are taken as wholly
    correlated: with the dark's error a part d_i of the whole, the correlation of two pulls is at most d_i d_j, and that
    of their squares its square. A Poisson number's square adds 1 / mu to the 2 of a Gaussian's.
    """
    counts = np.array([one.dark_count_s for one in records]) * 1000 / 1.6  # drizzled to native, of 1000 s
    science = np.array([one.science_err_count_s**2 * one.dark_count_s / one.science_count_s for one in records])
    dark = np.array([one.dark_err_count_s**2 for one in records])
    d2 = dark / (science + dark)
    number = len(records)
    mean = (number - d2.sum() + np.sqrt(d2).sum() ** 2) / number**2
    square = (2 * (number - (d2**2).sum() + d2.sum() ** 2) + (1 / counts).sum()) / number**2
    return float(mean), float(square)


def test_net_rate_of_a_dark_is_zero(shared_data: Path, tmp_path: Path) -> None:
    """Every fourth dark is put into an FLT and goes through the whole job with the other 19 as its darks."""
    flat, specs = unpacked_flat(shared_data, tmp_path), apertures(shared_data, SMOOTH)
    pulls, variances = [], []
    for index in range(0, 20, 4):
        chain = run_chain(index, shared_data, flat, tmp_path / str(index), specs)[Combine.MODEL]
        assert chain.member.method == "model"
        assert chain.member.sky is not None
        pulls.append(pulls_of(chain.records)[1])
        variances.append(_variances(chain.records))
    values = np.array(pulls)
    of_mean, of_square = np.sqrt(np.sum(variances, axis=0)) / len(values)
    assert abs(values.mean()) < 3 * of_mean
    assert abs((values**2).mean() - 1) < 3 * of_square


@pytest.mark.long
def test_sky_does_not_bias_the_net_rate(shared_data: Path) -> None:
    """A sky above the base itself: `glow` and the model leave it in the net rate, `box` and `notebook` do not."""
    rng = np.random.default_rng(21)
    darks, measured, flat, native = load(shared_data)
    frames = [Frame(j, darks, measured, flat, native) for j in range(len(darks))]
    modelled = [frame.shifts(1e-5, 1, rng, (MODEL,)) for frame in frames[::2]]
    matched = [frame.shifts(1e-5, 3, rng, ("glow",)) for frame in frames]
    fooled = [frame.shifts(1e-5, 1, rng, ("box", "notebook")) for frame in frames]
    shift = {
        name: mean_and_error(np.array([one[name][0] for one in trials]))
        for trials in (modelled, matched, fooled)
        for name in trials[0]
    }
    assert abs(shift[MODEL][0]) < 0.1
    # Where two darks are about as near, the sky's noise decides between them, and their own noise is in the shift: what
    # frames scatter by is allowed for, at 2 standard errors.
    assert abs(shift["glow"][0]) < 0.1 + 2 * shift["glow"][1]
    # The sky is taken for glow: too bright a dark is subtracted, by far more than chance.
    for name in ("box", "notebook"):
        assert shift[name][0] < -1
        assert shift[name][0] < -5 * shift[name][1]


def _disc(rng: np.random.Generator, counts: float) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return an exponential disc that covers a third of the box within 3 scale lengths, and that part of it."""
    y, x = np.indices(DETECTOR_SHAPE, dtype=np.float64)
    dy, dx = y - 750 - rng.uniform(-25, 25), x - 680 - rng.uniform(-25, 25)
    angle, ratio = rng.uniform(0, np.pi), 0.76
    along, across = dx * np.cos(angle) + dy * np.sin(angle), dy * np.cos(angle) - dx * np.sin(angle)
    radius = np.hypot(along * np.sqrt(ratio), across / np.sqrt(ratio))
    profile = np.exp(-radius / 22)
    return counts * profile / profile.sum(), radius < 66


@pytest.mark.long
def test_galaxies_over_a_third_of_the_box_come_out(shared_data: Path) -> None:
    """60 discs, 60 counts (3 sigma) to 6000, on darks of any base and glow, seen through the flat, with a sky."""
    rng = np.random.default_rng(22)
    darks, _, flat, _ = load(shared_data)
    templates = build_templates(darks)
    (mean_base, _), scatter = templates.prior()
    seconds, sky, covered = 1000.0, 2e-6, []
    brightness = np.array([60.0, 200.0, 1000.0, 6000.0])
    pulls = np.empty((len(brightness), 15))
    for k, counts in enumerate(brightness):
        for trial in range(pulls.shape[1]):
            galaxy, inside = _disc(rng, counts)
            base, amplitude = rng.normal(mean_base, np.sqrt(scatter[0, 0])), rng.uniform(0, 4e-5)
            dark = np.maximum(base * templates.base_map + amplitude * templates.glow_map, 0) * seconds
            mean = dark + (galaxy + sky * seconds) * flat
            seen = rng.poisson(mean)
            fit, _ = fit_dark_with_sources(seen, seconds, templates, ~inside, flat=flat, sky=True)
            weights = inside / flat
            found = aperture_dark([(fit, weights)], templates)
            net = float((weights * seen).sum()) - found.rate * seconds
            true = float(galaxy[inside].sum()) + sky * seconds * inside.sum()
            # The dark is made of the templates themselves: their own noise and drift are no part of the error here.
            variance = float((weights**2 * mean).sum()) + (found.fit_error * seconds) ** 2
            pulls[k, trial] = (net - true) / np.sqrt(variance)
            covered.append(inside[BOX.slices].mean())
    assert np.mean(covered) > 1 / 3
    assert np.abs(pulls.mean(axis=1)).max() < 3 / np.sqrt(pulls.shape[1])
    assert abs(pulls.mean()) < 3 / np.sqrt(pulls.size)
    assert abs(np.sqrt((pulls**2).mean()) - 1) < 3 / np.sqrt(2 * pulls.size)
