"""Priors: the amplitude from exposures close in time, and how well the base is known."""

from __future__ import annotations

import numpy as np
import pytest
from dark_frames import masked_to, run_of_darks, tiles

from sbcdark.pipeline.detector.dark_shape import base_map, glow_map
from sbcdark.pipeline.detector.regions import DETECTOR_SHAPE
from sbcdark.pipeline.model.combination import DarkEstimate, Exposure, Surroundings, combine_darks
from sbcdark.pipeline.model.dark_error import aperture_dark
from sbcdark.pipeline.model.dark_fit import DarkFit, fit_dark
from sbcdark.pipeline.model.priors import Neighbour, amplitude_from_neighbours, base_variance
from sbcdark.pipeline.model.templates import DarkFrame, Templates, build_templates
from sbcdark.pipeline.selection.rules import Combine

BASE = 7.5e-6  # count/s/pixel, as in the cold darks
EVERYWHERE = np.ones(DETECTOR_SHAPE, dtype=bool)


def neighbour(mjd: float, temperature_c: float, amplitude: float) -> Neighbour:
    return Neighbour(f"at{mjd}", mjd, temperature_c, amplitude, 0.0)


def test_the_amplitude_grows_exponentially_between_two_neighbours() -> None:
    prior = amplitude_from_neighbours(1.0, 26.0, [neighbour(0.99, 25.5, 7e-6), neighbour(1.01, 26.5, 17e-6)])
    assert prior is not None
    assert prior.amplitude == pytest.approx(np.sqrt(8e-6 * 18e-6) - 1e-6)
    assert prior.neighbours == ("at0.99", "at1.01")
    assert prior.amplitude_error is not None
    # 5 %, more over the step of a factor 2.25, and the onset.
    relative = np.hypot(0.05, 0.04 * np.log(18 / 8) ** 2)
    assert prior.amplitude_error == pytest.approx(np.hypot(relative * 12e-6, 0.5e-6), rel=1e-6)


def test_time_decides_where_temperature_does_not() -> None:
    around = [neighbour(0.99, 26.0, 9e-6), neighbour(1.02, 26.0, 19e-6)]
    same = amplitude_from_neighbours(1.0, 26.0, around)
    outside = amplitude_from_neighbours(1.0, 26.3, [around[0], neighbour(1.02, 26.1, 19e-6)])
    assert same is not None
    assert outside is not None
    assert same.amplitude == pytest.approx(np.sqrt(10e-6 * 20e-6) - 1e-6)
    assert outside.amplitude == pytest.approx(10e-6 * 2 ** (1 / 3) - 1e-6)


def test_one_neighbour_is_scaled_and_a_far_one_is_not_used() -> None:
    prior = amplitude_from_neighbours(1.0, 26.5, [neighbour(0.99, 26.0, 9e-6), neighbour(1.2, 27.0, 50e-6)])
    assert prior is not None
    assert prior.neighbours == ("at0.99",)
    assert prior.amplitude == pytest.approx(10e-6 * np.exp(0.45) - 1e-6)
    assert prior.amplitude_error is not None
    assert prior.amplitude_error > 0.17 * prior.amplitude
    assert amplitude_from_neighbours(1.0, 26.5, [neighbour(1.2, 27.0, 50e-6)]) is None


def test_an_unknown_temperature_leaves_the_time() -> None:
    """As 0 C it made the glow of an exposure beside one warm neighbour vanish."""
    around = [neighbour(0.99, 26.0, 9e-6), neighbour(1.02, 27.0, 19e-6)]
    prior = amplitude_from_neighbours(1.0, np.nan, around)
    assert prior is not None
    assert prior.amplitude == pytest.approx(10e-6 * 2 ** (1 / 3) - 1e-6)
    assert amplitude_from_neighbours(1.0, np.nan, around[:1]) is None
    assert amplitude_from_neighbours(1.0, 26.0, [neighbour(0.99, np.nan, 9e-6)]) is None


def test_the_nearest_on_each_side_count() -> None:
    around = [
        neighbour(0.95, 24, 1e-6),
        neighbour(0.99, 25.5, 7e-6),
        neighbour(1.01, 26.5, 17e-6),
        neighbour(1.02, 27, 2),
    ]
    prior = amplitude_from_neighbours(1.0, 26.0, around)
    assert prior is not None
    assert prior.neighbours == ("at0.99", "at1.01")


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.parametrize("sky", [False, True])
def test_a_covered_frame_takes_its_glow_from_its_neighbours(darks: list[DarkFrame], *, sky: bool) -> None:
    run = run_of_darks(darks)
    corner = np.zeros(DETECTOR_SHAPE, dtype=bool)
    corner[:145, :145] = True  # 2 % of the frame, where the glow is weakest
    relative, pulls = [], []
    for place in range(8, 20):  # the warm ones
        others = [dark for number, dark in enumerate(darks) if number != place]

        def near(exposure: Exposure) -> tuple[list[Exposure], list[Exposure]]:
            before = [one for one in run if one.mjd < exposure.mjd]
            return before[::-1], [one for one in run if one.mjd > exposure.mjd]

        made = combine_darks(Combine.MODEL, [masked_to(run[place], corner, sky=sky)], [others], Surroundings(near))
        fit, truth = fitted(made), fit_dark(darks[place].counts, darks[place].exptime_s, shared(made))
        assert fit.tier == "model with neighbours"
        assert len(fit.neighbours) == (1 if place == 19 else 2)
        assert any("close in time" in text for text in made.exposures[0].cautions)
        relative.append(fit.amplitude / truth.amplitude - 1)
        pulls.append((fit.amplitude - truth.amplitude) / np.sqrt(fit.covariance[1, 1] + truth.covariance[1, 1]))
    # Measured: 5 %, widths 0.80 to 0.87.
    assert np.sqrt(np.mean(np.square(relative))) < 0.12
    assert 0.6 < np.sqrt(np.mean(np.square(pulls))) < 1.4  # 1 +- 2 / sqrt(2 n) for 12 frames


def fitted(made: DarkEstimate) -> DarkFit:
    fit = made.exposures[0].fit
    assert fit is not None
    return fit


def shared(made: DarkEstimate) -> Templates:
    assert made.templates is not None
    return made.templates


def frame(name: str, base: float, amplitude: float, rng: np.random.Generator) -> DarkFrame:
    return DarkFrame(name, rng.poisson((base * base_map() + amplitude * glow_map()) * 1000), 1000.0)


@pytest.fixture(scope="module")
def some_darks() -> list[DarkFrame]:
    rng = np.random.default_rng(41)
    amplitudes = [0, 0, 0, 0, 0, 3e-6, 8e-6, 15e-6, 25e-6, 40e-6]
    return [frame(f"dark{j}", BASE * rng.normal(1, 0.08), a, rng) for j, a in enumerate(amplitudes)]


def test_an_own_fit_needs_no_neighbours(some_darks: list[DarkFrame]) -> None:
    dark = some_darks[7]
    exposure = Exposure("x", dark.counts, 1000.0, EVERYWHERE, None, sky=False, mjd=1.0, temperature_c=26.0)

    def near(_exposure: Exposure) -> tuple[list[Exposure], list[Exposure]]:
        raise AssertionError("neighbours are read though the frame is free")

    assert fitted(combine_darks(Combine.MODEL, [exposure], [some_darks], Surroundings(near))).tier == "model"


def test_neighbours_without_free_pixels_are_passed_over(some_darks: list[DarkFrame]) -> None:
    nothing = np.zeros(DETECTOR_SHAPE, dtype=bool)

    def one(name: str, number: int, mjd: float, free: np.ndarray[tuple[int, int], np.dtype[np.bool_]]) -> Exposure:
        return Exposure(name, some_darks[number].counts, 1000.0, free, None, False, mjd, 26.0)

    covered = one("covered", 7, 1.0, nothing)
    around = Surroundings(lambda _: ([one("also", 6, 0.99, nothing), one("free", 6, 0.98, EVERYWHERE)], []))
    assert fitted(combine_darks(Combine.MODEL, [covered], [some_darks], around)).neighbours == ("free",)
    alone = combine_darks(Combine.MODEL, [covered], [some_darks])
    assert fitted(alone).neighbours == ()
    assert any("mean of the darks" in text for text in alone.exposures[0].cautions)


def test_the_expected_base_does_not_depend_on_the_gauge(some_darks: list[DarkFrame]) -> None:
    templates = build_templates(some_darks)
    middle = float(templates.amplitudes.mean())
    scatter = templates.prior()[1][0, 0]
    assert base_variance(templates, middle) == pytest.approx(scatter * (1 + 1 / len(some_darks)))
    spread = np.sqrt(((templates.amplitudes - middle) ** 2).sum())
    assert base_variance(templates, middle + spread) == pytest.approx(scatter * (2 + 1 / len(some_darks)))


def test_warm_darks_do_not_invent_a_sky(some_darks: list[DarkFrame]) -> None:
    templates = build_templates(some_darks[6:])
    fit = fit_dark(some_darks[0].counts, 1000.0, templates, sky=True)
    assert fit.sky is not None
    assert fit.beyond > 0
    assert abs(fit.sky) <= np.sqrt(fit.covariance[2, 2])


@pytest.mark.slow
def test_a_raised_base_is_within_the_error_of_net_and_no_part_of_source(some_darks: list[DarkFrame]) -> None:
    templates = build_templates(some_darks)
    rng = np.random.default_rng(42)
    apertures = tiles(96)[::3]
    net, source = [], []
    for rise in np.linspace(0, 1, 5):
        counts = frame("x", BASE * (1 + rise), 1e-5, rng).counts
        for image in apertures:
            weights = image * templates.good
            fit = fit_dark(counts, 1000.0, templates, image == 0, sky=True)
            seen = float((counts * weights).sum())
            for found, include_sky in ((net, False), (source, True)):
                dark = aperture_dark([(fit, weights)], templates, include_sky=include_sky)
                error = np.hypot(dark.error * 1000, np.sqrt(seen))
                found.append((seen - dark.rate * 1000) / error)
    # Apertures of one frame share its fit: the standard error of a mean is at most that of the five frames.
    assert abs(np.mean(source)) < 3 / np.sqrt(5)
    assert np.sqrt(np.mean(np.square(source))) < 1.2
    assert np.sqrt(np.mean(np.square(net))) < 1.2


def test_the_scatter_between_programs_limits_the_rise(some_darks: list[DarkFrame]) -> None:
    rng = np.random.default_rng(43)
    counts = some_darks[0].counts + rng.poisson(2e-5 * 1000, DETECTOR_SHAPE)
    exposure = Exposure("x", counts, 1000.0, EVERYWHERE, None, sky=True, mjd=1.0, temperature_c=20.0)
    errors = []
    for scatter in (0.1, 1.0):
        around = Surroundings(lambda _: ([], []), scatter)
        fit = fitted(combine_darks(Combine.MODEL, [exposure], [some_darks], around))
        errors.append(np.sqrt(fit.covariance[0, 0]))
    assert errors[0] < 2e-6
    assert errors[1] > 4e-6
