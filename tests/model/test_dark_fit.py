"""The dark model: recovery, errors that can be believed, degradation, sources and hot pixels."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import pytest
from dark_frames import tiles

from sbcdark.catalog.errors import NothingMatchedError, UsageError
from sbcdark.pipeline.detector.regions import BOX, DETECTOR_SHAPE, HOT_PIXELS_XY
from sbcdark.pipeline.model.dark_error import aperture_dark, dark_rate_error
from sbcdark.pipeline.model.dark_fit import dark_rate, fit_dark
from sbcdark.pipeline.model.priors import Prior
from sbcdark.pipeline.model.sources import fit_dark_with_sources, source_mask
from sbcdark.pipeline.model.templates import DarkFrame, Templates, build_templates

if TYPE_CHECKING:
    from numpy.typing import NDArray

BASE = 7.5e-6  # count/s/pixel, as in the cold darks
Y, X = np.indices(DETECTOR_SHAPE)


@pytest.fixture(scope="module")
def templates(darks: list[DarkFrame]) -> Templates:
    return build_templates(darks)


def circle(x: float, y: float, radius: float) -> NDArray[np.float64]:
    return ((X - x) ** 2 + (Y - y) ** 2 <= radius**2).astype(np.float64)


def smooth_rate(templates: Templates, base: float, amplitude: float) -> NDArray[np.float64]:
    return np.maximum(base * templates.base_map + amplitude * templates.glow_map, 0.0)


def assert_pulls(pulls: NDArray[np.float64], sigmas: float = 4.0) -> None:
    """Mean 0 and width 1 within `sigmas` standard errors, 1/sqrt(n) and 1/sqrt(2n) for independent normal pulls."""
    assert abs(pulls.mean()) < sigmas / np.sqrt(pulls.size)
    assert abs(np.sqrt((pulls**2).mean()) - 1) < sigmas / np.sqrt(2 * pulls.size)


def test_gauge_and_maps(templates: Templates) -> None:
    good = templates.good
    assert templates.glow
    # Lines whose response is not 1 are no good pixels, so that the means are those of the smooth maps, exactly.
    assert templates.base_map[good].mean() == pytest.approx(1, rel=1e-12)
    assert templates.glow_map[BOX.slices][good[BOX.slices]].mean() == pytest.approx(1, rel=1e-12)
    assert templates.bases == pytest.approx(7.5e-6, rel=0.25)  # 8 to 10 % scatter, 20 darks: 2.5 sigma
    assert np.corrcoef(templates.bases, templates.amplitudes)[0, 1] == pytest.approx(0, abs=1e-6)
    assert np.all(templates.row_response[601:603] < 0.01)
    assert np.all(templates.row_response[[1, 604]] > 1.5)


def test_amplitudes_follow_the_box_sums(darks: list[DarkFrame], templates: Templates) -> None:
    area = templates.good[BOX.slices].sum()
    for dark, base, amplitude in zip(darks, templates.bases, templates.amplitudes, strict=True):
        seen = float((dark.counts * templates.good)[BOX.slices].sum())
        level = float(templates.base_map[BOX.slices][templates.good[BOX.slices]].mean())
        assert abs((base * level + amplitude) * area * dark.exptime_s - seen) < 4 * np.sqrt(seen)


def test_hot_pixels_are_found(templates: Templates) -> None:
    found = set(zip(templates.hot.x.tolist(), templates.hot.y.tolist(), strict=True))
    assert set(HOT_PIXELS_XY) <= found
    assert {(843, 81), (420, 698), (842, 82), (216, 556), (78, 654), (0, 1023)} <= found
    assert len(found) < 20  # of 2^20 pixels at a chance of 1e-9 each none is false
    assert np.all(templates.hot.scatter[templates.hot.rate > 1] > 0.1)  # counts/s: factors of 2.5 between frames


@pytest.mark.slow
@pytest.mark.parametrize("amplitude", [1e-6, 4e-5])
def test_recovers_base_and_amplitude(templates: Templates, amplitude: float) -> None:
    rng = np.random.default_rng(11)
    rate = smooth_rate(templates, BASE, amplitude) * 1000
    pulls, chi2 = [], []
    for _ in range(100):
        fit = fit_dark(rng.poisson(rate), 1000.0, templates)
        difference = np.array([fit.base - BASE, fit.amplitude - amplitude])
        pulls.append(
            [*difference / np.sqrt(np.diag(fit.covariance)), difference @ np.linalg.inv(fit.covariance) @ difference]
        )
        chi2.append(fit.chi2_per_dof)
        assert fit.tier == "model"
    each = np.array(pulls)
    assert_pulls(each[:, 0])
    assert_pulls(each[:, 1])
    # Mahalanobis distance squared: chi-square of 2 degrees, mean 2, variance 4.
    assert abs(each[:, 2].mean() - 2) < 4 * 2 / np.sqrt(len(each))
    # Pearson's chi-square per degree: variance (2 + 1/mean)/dof, the least mean being 6 counts a bin.
    assert abs(np.mean(chi2) - 1) < 4 * np.sqrt(2.2 / 1022 / len(chi2))


@pytest.mark.slow
def test_sky_does_not_bias_the_dark(templates: Templates) -> None:
    rng = np.random.default_rng(12)
    flat = 1 + 0.05 * np.sin(X / 97.0) * np.cos(Y / 61.0)
    (mean, _), variance = templates.prior()
    aperture, sky, amplitude = circle(558, 654, 42), 1e-5, 1e-5
    errors, pulls, totals, sky_counts = [], [], [], []
    same_run = Prior(base_scatter=0.0)  # the base scatters, and does not rise
    for base in rng.normal(mean, np.sqrt(variance[0, 0]), 60):
        rate = smooth_rate(templates, base, amplitude)
        fit = fit_dark(
            rng.poisson((rate + sky * flat) * 1000),
            1000.0,
            templates,
            aperture == 0,
            flat=flat,
            sky=True,
            prior=same_run,
        )
        assert fit.sky is not None
        assert fit.covariance.shape == (3, 3)
        found = aperture_dark([(fit, aperture)], templates)
        true = float((aperture * rate).sum())
        errors.append((found.rate - true) * 1000)
        pulls.append((found.rate - true) / found.fit_error)
        both = aperture_dark([(fit, aperture)], templates, include_sky=True)
        totals.append((both.rate - true - sky * (aperture * flat).sum()) / both.fit_error)
        sky_counts.append((true + sky * aperture.sum()) * 1000)
        assert both.fit_error < found.fit_error  # base and sky are each uncertain where their sum is not
    net_error = np.sqrt(np.mean(sky_counts))
    assert abs(np.mean(errors)) < 0.1 * net_error + 3 * np.std(errors) / np.sqrt(len(errors))
    assert_pulls(np.array(pulls))
    assert_pulls(np.array(totals))


@pytest.mark.slow
@pytest.mark.long
def test_template_noise_is_stated(templates: Templates) -> None:
    # A long exposure and few short darks: nearly all of the error is that of the templates.
    rng = np.random.default_rng(13)
    pairs = [(7e-6, 0.0), (8e-6, 0.0), (7.5e-6, 2e-5), (7e-6, 4e-5), (8e-6, 6e-5)]
    truth = smooth_rate(templates, BASE, 3e-5)
    apertures = [circle(558, 654, 42), circle(300, 300, 60), circle(850, 800, 30), circle(400, 850, 42)]
    pulls, shares = [], []
    for _ in range(24):
        frames = [
            DarkFrame(f"d{i}", rng.poisson(smooth_rate(templates, b, a) * 1000), 1000.0)
            for i, (b, a) in enumerate(pairs)
        ]
        made = build_templates(frames)
        fit = fit_dark(rng.poisson(truth * 20000), 20000.0, made)
        for aperture in apertures:
            found = aperture_dark([(fit, aperture)], made)
            # The simulated shape does not drift, so that the error has to be right without the term for that.
            error = np.hypot(found.fit_error, found.template_error)
            pulls.append((found.rate - float((truth * aperture).sum())) / error)
            shares.append(found.template_error / error)
    assert np.median(shares) > 0.9
    # 24 trials of 4 apertures far apart (several smoothing lengths): independent but for the fit's small share.
    assert_pulls(np.array(pulls))


@pytest.mark.slow
@pytest.mark.parametrize("sky", [False, True])
def test_thinned_exposures(darks: list[DarkFrame], sky: bool) -> None:
    rng = np.random.default_rng(14)
    apertures = tiles(96)
    chosen = (2, 9, 12, 15)
    left_out = [build_templates(darks[:j] + darks[j + 1 :]) for j in chosen]
    for exptime_s in (50.0, 100.0, 300.0):
        pulls = []
        for j, made in zip(chosen, left_out, strict=True):
            # Binomial thinning splits a Poisson frame into two independent ones: one to fit, one to tell the truth.
            kept = rng.binomial(darks[j].counts.astype(np.int64), exptime_s / 1000)
            rest, factor = darks[j].counts - kept, exptime_s / (1000 - exptime_s)
            fit = fit_dark(kept, exptime_s, made, sky=sky)
            rate = dark_rate(fit, made)
            assert rate.min() >= 0
            assert np.isfinite(dark_rate_error(fit, made)).all()
            for aperture in apertures:
                weights = aperture * made.good
                found = aperture_dark([(fit, weights)], made)
                true = float((weights * rest).sum()) * factor
                variance = (found.error * exptime_s) ** 2 + found.rate * exptime_s * factor
                pulls.append((found.rate * exptime_s - true) / np.sqrt(variance))
        values = np.array(pulls).reshape(len(chosen), -1)
        # Apertures of a frame share its fit: the mean is uncertain by the frames' scatter of at most 1 pull each.
        assert abs(values.mean()) < 3 / np.sqrt(len(values))
        # A frame's apertures scatter about their mean by no more than 1; with that mean, which is one number a frame
        # where a sky makes the base uncertain, the width is 1.
        own = values.mean(axis=1)
        within = ((values - own[:, None]) ** 2).mean() * values.shape[1] / (values.shape[1] - 1)
        assert within < (1 + 4 / np.sqrt(2 * values.size)) ** 2
        assert abs(np.sqrt((values**2).mean()) - 1) < 4 / np.sqrt(2 * (len(values) if sky else values.size))


@pytest.mark.slow
@pytest.mark.parametrize("exptime_s", [50.0, 100.0, 300.0])
def test_thinned_darks_make_templates(darks: list[DarkFrame], exptime_s: float) -> None:
    # Darks as short as that make noisy templates, and their noise has to be in the error of what they predict.
    rng = np.random.default_rng(19)
    short = [
        DarkFrame(one.rootname, rng.binomial(one.counts.astype(np.int64), exptime_s / 1000), exptime_s) for one in darks
    ]
    pulls = []
    for j in (2, 9, 12, 15):
        made = build_templates(short[:j] + short[j + 1 :])
        fit = fit_dark(darks[j].counts, 1000.0, made)
        assert dark_rate(fit, made).min() >= 0
        for aperture in tiles(96):
            weights = aperture * made.good
            found = aperture_dark([(fit, weights)], made)
            seen, expected = float((weights * darks[j].counts).sum()), found.rate * 1000
            pulls.append((expected - seen) / np.sqrt((found.error * 1000) ** 2 + expected))
    values = np.array(pulls).reshape(4, -1)
    assert abs(values.mean()) < 3 / np.sqrt(len(values))
    # The frames share templates: at worst 4 frames in one, so that only a frame's apertures are independent.
    assert abs(np.sqrt((values**2).mean()) - 1) < 4 / np.sqrt(2 * values.shape[1])


def test_an_exposure_without_counts(templates: Templates) -> None:
    fit = fit_dark(np.zeros(DETECTOR_SHAPE), 50.0, templates)
    assert fit.base >= 0
    assert dark_rate(fit, templates).min() >= 0
    assert np.isfinite(fit.covariance).all()
    assert (dark_rate(fit, templates) * templates.good).sum() * 50 < 1
    bright = templates.hot.rate > 0.5  # such a pixel cannot be hot here, whatever the other darks say of it
    assert np.all(fit.hot_rate[bright] == 0)


def test_no_negative_dark(templates: Templates) -> None:
    # Less than no glow: the box is empty. The amplitude stops where the first pixel of the dark reaches zero.
    rng = np.random.default_rng(15)
    counts = rng.poisson(smooth_rate(templates, BASE, 0.0) * 1000)
    counts[350:950, 250:900] = 0
    fit = fit_dark(counts, 1000.0, templates)
    smooth = fit.base * templates.base_map + fit.amplitude * templates.glow_map
    assert fit.amplitude < 0
    assert smooth.min() >= -1e-12 * BASE  # rounding of a difference of numbers of the size of BASE
    assert smooth[templates.good].min() < 0.01 * BASE


def test_only_cold_darks_give_no_glow(darks: list[DarkFrame]) -> None:
    made = build_templates([darks[j] for j in (0, 1, 2, 4, 5)])
    assert not made.glow
    fit = fit_dark(darks[3].counts, darks[3].exptime_s, made)
    assert fit.tier == "scaled mean"
    assert fit.amplitude == 0
    assert fit.covariance[1, 1] == 0
    pulls = []
    for aperture in tiles(96):
        weights = aperture * made.good
        found = aperture_dark([(fit, weights)], made)
        expected = found.rate * fit.exptime_s
        pulls.append(
            (expected - float((weights * darks[3].counts).sum()))
            / np.sqrt((found.error * fit.exptime_s) ** 2 + expected)
        )
    assert_pulls(np.array(pulls))


def test_one_dark_is_scaled(darks: list[DarkFrame]) -> None:
    made = build_templates(darks[-1:])
    assert not made.glow
    fit = fit_dark(darks[-2].counts, darks[-2].exptime_s, made)
    assert fit.tier == "scaled nearest"
    assert not fit.uses_prior
    # A scale fitted by maximum likelihood to one template makes the sum over the used pixels exact.
    used = float((darks[-2].counts * made.good).sum())
    assert (fit.base * made.base_map * made.good).sum() * fit.exptime_s == pytest.approx(used, rel=1e-6)
    assert np.sqrt(fit.covariance[0, 0]) / fit.base == pytest.approx(1 / np.sqrt(used), rel=1e-3)


def test_everything_masked_leaves_the_mean_of_the_darks(darks: list[DarkFrame], templates: Templates) -> None:
    nothing = np.zeros(DETECTOR_SHAPE, dtype=bool)
    for made in (templates, build_templates(darks[:6]), build_templates(darks[:1])):
        for sky in (False, True):
            fit = fit_dark(darks[0].counts, 1000.0, made, nothing, sky=sky)
            assert fit.uses_prior
            assert fit.bins == 0
            assert np.isnan(fit.chi2_per_dof)
            assert fit.base == pytest.approx(made.bases.mean(), rel=1e-6)
            # The scatter of the bases, with the error of their mean.
            number = len(made.bases)
            assert fit.covariance[0, 0] == pytest.approx(made.prior()[1][0, 0] * (1 + 1 / number), rel=1e-6)
            assert np.isfinite(aperture_dark([(fit, circle(500, 500, 30))], made).error)


def test_few_bins_use_the_prior(darks: list[DarkFrame], templates: Templates) -> None:
    corner = np.zeros(DETECTOR_SHAPE, dtype=bool)
    corner[:100, :100] = True
    fit = fit_dark(darks[0].counts, 1000.0, templates, corner)
    assert fit.uses_prior
    assert fit.bins == 16
    assert fit.covariance[0, 0] < templates.prior()[1][0, 0]
    assert not fit_dark(darks[0].counts, 1000.0, templates).uses_prior


@pytest.mark.slow
def test_a_galaxy_in_the_box_does_not_bias(templates: Templates) -> None:
    rng = np.random.default_rng(16)
    amplitude = 1e-5
    radius = np.hypot((X - 680) / 1.3, Y - 750)
    profile = np.exp(-radius / 22)  # exponential disk; inside 3 scale lengths it covers a third of the box
    inside = (radius < 66)[BOX.slices].mean()
    assert inside > 1 / 3
    galaxy = 6000 * profile / profile.sum()
    dark = smooth_rate(templates, BASE, amplitude) * 1000
    pulls, naive = [], []
    for _ in range(10):
        counts = rng.poisson(dark + galaxy)
        fit, sources = fit_dark_with_sources(counts, 1000.0, templates)
        assert sources[750, 680]
        pulls.append(
            [(fit.base - BASE) / fit.covariance[0, 0] ** 0.5, (fit.amplitude - amplitude) / fit.covariance[1, 1] ** 0.5]
        )
        plain = fit_dark(counts, 1000.0, templates)
        naive.append((plain.amplitude - amplitude) / plain.covariance[1, 1] ** 0.5)
    assert np.mean(naive) > 5
    # Beyond errors would be a bias of a whole sigma; 3 standard errors of the mean of 10 trials are allowed for noise.
    assert np.abs(np.mean(pulls, axis=0)).max() < 1 + 3 / np.sqrt(len(pulls))


def test_source_mask_is_quiet_on_a_dark(templates: Templates) -> None:
    rng = np.random.default_rng(17)
    expected = smooth_rate(templates, BASE, 2e-5) * 1000
    masked = [source_mask(rng.poisson(expected), expected, templates.good).mean() for _ in range(5)]
    assert np.mean(masked) < 0.005  # 0.05 false segments a frame, none larger than the widest kernel's 12,900 pixels
    star = expected + 60 * np.exp(-((X - 300.0) ** 2 + (Y - 400.0) ** 2) / 8) / (8 * np.pi)
    assert source_mask(rng.poisson(star), expected, templates.good)[400, 300]


def test_hot_pixel_is_the_exposures_own_but_a_star_is_not_eaten(darks: list[DarkFrame]) -> None:
    made = build_templates(darks[:10] + darks[11:])
    counts = darks[10].counts.astype(np.float64)
    index = int(np.flatnonzero((made.hot.x == 55) & (made.hot.y == 281))[0])
    fit = fit_dark(counts, 1000.0, made)
    assert fit.hot_own[index]
    assert fit.hot_error[index] == 0
    left = counts[281, 55] - dark_rate(fit, made)[281, 55] * 1000
    assert abs(left) < 1.5  # what the neighbours say of a source: none here, 8 pixels of 0.01 counts
    rng = np.random.default_rng(18)
    star = 40000 * np.exp(-((X - 55.0) ** 2 + (Y - 281.0) ** 2) / (2 * 1.2**2)) / (2 * np.pi * 1.2**2)
    with_star = fit_dark(counts + rng.poisson(star), 1000.0, made, circle(55, 281, 12) == 0)
    assert not with_star.hot_own[index]
    assert with_star.hot_rate[index] == pytest.approx(made.hot.rate[index])
    assert with_star.hot_error[index] * 1000 > 100


def test_exposures_add_template_errors_linearly_and_fit_errors_in_quadrature(
    darks: list[DarkFrame], templates: Templates
) -> None:
    fit = fit_dark(darks[14].counts, 1000.0, templates)
    aperture = circle(558, 654, 42)
    one = aperture_dark([(fit, aperture)], templates)
    four = aperture_dark([(fit, aperture)] * 4, templates)
    assert four.rate == pytest.approx(4 * one.rate, rel=1e-12)
    assert four.template_error == pytest.approx(4 * one.template_error, rel=1e-9)
    assert four.fit_error == pytest.approx(2 * one.fit_error, rel=1e-9)
    assert four.shape_error == pytest.approx(4 * one.shape_error, rel=1e-12)
    parts = [one.fit_error, one.template_error, one.shape_error, one.hot_error]
    assert one.error == pytest.approx(np.linalg.norm(parts), rel=1e-12)


def test_pixel_errors_agree_with_an_aperture_of_one_pixel(darks: list[DarkFrame], templates: Templates) -> None:
    # Without the (small) part that passes through the fit, which a map of errors leaves out.
    fit = fit_dark(darks[14].counts, 1000.0, templates)
    direct = dataclasses.replace(fit, influence=np.zeros_like(fit.influence))
    errors = dark_rate_error(fit, templates)
    for y, x in ((650, 560), (100, 100), (1010, 12), (300, 900)):
        pixel = np.zeros(DETECTOR_SHAPE)
        pixel[y, x] = 1
        # Blocks of 8 pixels widen a kernel of sigma 24 by 8^2/12 / 24^2 = 1 % in variance.
        assert aperture_dark([(direct, pixel)], templates).error == pytest.approx(errors[y, x], rel=0.02)
    assert np.all(errors[601] == 0)


def test_refuses_what_cannot_be_meant(templates: Templates) -> None:
    with pytest.raises(NothingMatchedError):
        build_templates([])
    with pytest.raises(UsageError, match="full frame"):
        build_templates([DarkFrame("small", np.zeros((10, 10)), 1.0)])
    with pytest.raises(NothingMatchedError, match="without any counts"):
        build_templates([DarkFrame("empty", np.zeros(DETECTOR_SHAPE), 1.0)])
    with pytest.raises(UsageError, match="full frame"):
        fit_dark(np.zeros((10, 10)), 1000.0, templates)
    with pytest.raises(UsageError, match="negative"):
        fit_dark(np.full(DETECTOR_SHAPE, -1.0), 1000.0, templates)
